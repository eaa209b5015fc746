package preflight

import (
	"context"
	"net"
	"net/http"
	"strings"
	"syscall"
	"time"

	"github.com/miekg/dns"
)

// freeInodes looks at the nearest directory that exists.
func freeInodes(path string) (free, total uint64, err error) {
	var st syscall.Statfs_t
	err = nearest(path, func(p string) error { return syscall.Statfs(p, &st) })
	return st.Ffree, st.Files, err
}

// clockAhead asks a web server for the time. Its certificate does not matter: a
// clock that is wrong makes every certificate look wrong.
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

// addresses are those of this host's interfaces.
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

// caaIssuers looks for CAA records of a name and of those above it (RFC 8659).
func caaIssuers(ctx context.Context, host string) ([]string, error) {
	config, err := dns.ClientConfigFromFile("/etc/resolv.conf")
	if err != nil {
		return nil, err
	}
	client := &dns.Client{Timeout: 3 * time.Second}
	for name := dns.Fqdn(host); strings.Count(name, ".") > 1; {
		m := new(dns.Msg).SetQuestion(name, dns.TypeCAA)
		for _, server := range config.Servers {
			var answer *dns.Msg
			if answer, _, err = client.ExchangeContext(ctx, m, net.JoinHostPort(server, config.Port)); err != nil {
				continue
			}
			if issuers := issue(answer); len(issuers) > 0 {
				return issuers, nil
			}
			break
		}
		_, name, _ = strings.Cut(name, ".")
	}
	return nil, err
}

func issue(m *dns.Msg) []string {
	var out []string
	for _, rr := range m.Answer {
		if caa, ok := rr.(*dns.CAA); ok && caa.Tag == "issue" {
			value, _, _ := strings.Cut(caa.Value, ";")
			out = append(out, strings.TrimSpace(value))
		}
	}
	return out
}
