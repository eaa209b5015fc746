package preflight

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"syscall"
	"time"

	"github.com/miekg/dns"
)

// freeInodes measures at the nearest directory that exists.
func freeInodes(path string) (free, total uint64, err error) {
	var st syscall.Statfs_t
	err = nearest(path, func(p string) error { return syscall.Statfs(p, &st) })
	return st.Ffree, st.Files, err
}

// clockAhead asks a web server for the time. Its certificate does not matter, because a wrong
// clock makes every certificate look wrong.
func clockAhead(ctx context.Context, url string) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodHead, url, nil)
	if err != nil {
		return 0, err
	}
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: anyCertificate(), DisableKeepAlives: true}}
	res, err := client.Do(req)
	if err != nil {
		return 0, err
	}
	_ = res.Body.Close()
	there, err := http.ParseTime(res.Header.Get("Date"))
	if err != nil {
		return 0, errNoClock
	}
	return time.Since(there), nil
}

// reach opens a connection and closes it again.
func reach(ctx context.Context, address string) error {
	conn, err := (&net.Dialer{Timeout: 3 * time.Second}).DialContext(ctx, "tcp", address)
	if err != nil {
		return err
	}
	return conn.Close()
}

// addresses returns the addresses of this host's interfaces.
func addresses() ([]net.IP, error) {
	list, err := net.InterfaceAddrs()
	var out []net.IP
	for _, a := range list {
		if n, ok := a.(*net.IPNet); ok {
			out = append(out, n.IP)
		}
	}
	return out, err
}

// caaIssuers looks up the CAA records of a name and of its parents (RFC 8659), with the name
// servers of this host.
func caaIssuers(ctx context.Context, host string) ([]string, error) {
	config, err := dns.ClientConfigFromFile("/etc/resolv.conf")
	if err != nil {
		return nil, err
	}
	servers := make([]string, len(config.Servers))
	for i, server := range config.Servers {
		servers[i] = net.JoinHostPort(server, config.Port)
	}
	return issuersAt(ctx, servers, host)
}

// issuersAt is caaIssuers with the given name servers. The nearest name that has CAA records
// decides. An authority refuses a certificate if it cannot look them up, so a failure is not
// permission.
func issuersAt(ctx context.Context, servers []string, host string) ([]string, error) {
	for name := dns.Fqdn(host); strings.Count(name, ".") > 1; {
		records, err := caaRecords(ctx, servers, name)
		if err != nil {
			return nil, fmt.Errorf("look up the CAA records of %s: %w", name, err)
		}
		if len(records) > 0 {
			return issuers(records), nil
		}
		_, name, _ = strings.Cut(name, ".")
	}
	return nil, nil
}

// caaRecords asks the name servers in turn until one has an answer.
func caaRecords(ctx context.Context, servers []string, name string) (out []*dns.CAA, err error) {
	client := &dns.Client{Timeout: 3 * time.Second}
	err = errors.New("no name server is configured")
	for _, server := range servers {
		var answer *dns.Msg
		if answer, _, err = client.ExchangeContext(ctx, new(dns.Msg).SetQuestion(name, dns.TypeCAA), server); err != nil {
			continue
		}
		if answer.Rcode != dns.RcodeSuccess && answer.Rcode != dns.RcodeNameError {
			err = fmt.Errorf("%s answers %s", server, dns.RcodeToString[answer.Rcode])
			continue
		}
		for _, rr := range answer.Answer {
			if caa, ok := rr.(*dns.CAA); ok {
				out = append(out, caa)
			}
		}
		return out, nil
	}
	return nil, err
}

// issuers returns the authorities that the records allow.
func issuers(records []*dns.CAA) (out []string) {
	for _, caa := range records {
		if strings.EqualFold(caa.Tag, "issue") {
			value, _, _ := strings.Cut(caa.Value, ";")
			out = append(out, strings.TrimSpace(value))
		}
	}
	return out
}
