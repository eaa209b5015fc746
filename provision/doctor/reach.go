package doctor

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"syscall"

	"appliance/provision/answers"
	"appliance/provision/finding"
)

// mostAddresses is how many addresses of one name are tried.
const mostAddresses = 8

// reach connects to each address that DNS gives for the domain, IPv4 and IPv6, as a visitor
// does. The server that answers has to show the certificate of this host's front door, and
// signs the nonce of the handshake with its key (RFC 8446, CertificateVerify), which no other
// host has: that identifies this host. If an address belongs to a router, a failure may be the
// router's: many do not lead back inside (hairpin NAT).
func reach(ctx context.Context, t Target) finding.Finding {
	domain := t.Answers.Domain
	if t.Answers.TLS == answers.NoTLS || t.Answers.TrustedProxies != "" {
		return finding.Good("another web server is in front, so its certificate proves nothing")
	}
	ours, err := served(ctx, t, domain)
	if err != nil {
		return finding.Good("the front door shows no certificate to tell this host by") // another check says why
	}
	ips, err := t.Resolve(ctx, domain)
	ips = slices.DeleteFunc(ips, func(ip net.IP) bool { return ip.IsUnspecified() || ip.IsMulticast() })
	if err != nil || len(ips) == 0 {
		why := "there is no A or AAAA record"
		if err != nil {
			why = err.Error()
		}
		return finding.Warning(domain+" does not resolve here", why, "create an A record for "+domain+" that points to this host")
	}
	ips = ips[:min(len(ips), mostAddresses)]
	own, _ := t.Addresses()
	found := make([]finding.Finding, len(ips))
	var wg sync.WaitGroup
	for i, ip := range ips {
		wg.Go(func() { found[i] = knock(ctx, t, ip, ours, slices.ContainsFunc(own, ip.Equal)) })
	}
	wg.Wait()
	var good []string
	for i, f := range found {
		if f.Severity > finding.OK {
			return f.Without("nginx")
		}
		good = append(good, ips[i].String())
	}
	return finding.Good("%s leads to this host at %s", domain, strings.Join(good, " and "))
}

// knock checks which host answers at an address.
func knock(ctx context.Context, t Target, ip net.IP, own *x509.Certificate, ours bool) finding.Finding {
	domain, port := t.Answers.Domain, t.Answers.HTTPSPort
	kind := map[bool]string{true: "A", false: "AAAA"}[ip.To4() != nil]
	got, err := shown(ctx, domain, net.JoinHostPort(ip.String(), fmt.Sprint(port)))
	switch {
	case err == nil && got.Equal(own):
		return finding.Good("it leads here")
	case err == nil:
		return finding.Warning("another host answers for "+domain+" at "+ip.String(), "it shows another certificate than the one of this installation",
			fmt.Sprintf("point the %s record to this host, or forward port %d of %s to it; behind a proxy such as Cloudflare set the answer trusted_proxies", kind, port, ip))
	case ours:
		return finding.Warning(domain+" cannot be reached at "+ip.String(), err.Error(), fmt.Sprintf("allow port %d in the firewall of this host, or remove the %s record with %s", port, kind, ip))
	case kind == "AAAA" && errors.Is(err, syscall.ENETUNREACH):
		return finding.Warning(domain+" has an AAAA record, and this host has no IPv6", ip.String()+": "+err.Error(),
			fmt.Sprintf("give this host the address %s, or remove the AAAA record: most clients try it first", ip))
	}
	return finding.Warning("this host cannot reach "+domain+" at "+ip.String(), "the address is not one of this host, so a router is in between: "+err.Error(),
		fmt.Sprintf("connect to https://%s from another network: if that works, the router only lacks hairpin NAT, which affects nobody outside; if not, forward port %d to this host or remove the %s record", domain, port, kind))
}

// shown returns the certificate that a server shows, within a time limit.
func shown(ctx context.Context, host, address string) (*x509.Certificate, error) {
	ctx, cancel := context.WithTimeout(ctx, limit/2)
	defer cancel()
	d := tls.Dialer{Config: &tls.Config{ServerName: host, InsecureSkipVerify: true}} //nolint:gosec // to look at it, whoever issued it
	conn, err := d.DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	defer func() { _ = conn.Close() }()
	tlsConn, ok := conn.(*tls.Conn)
	if !ok || len(tlsConn.ConnectionState().PeerCertificates) == 0 {
		return nil, errors.New("no certificate was shown")
	}
	return tlsConn.ConnectionState().PeerCertificates[0], nil
}
