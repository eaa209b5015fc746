package preflight_test

import (
	"net"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"appliance/provision/finding"
	"appliance/provision/preflight"
)

// A zone is what DNS servers return: records by the address of the server.
type zone map[string]string

// open starts the servers on loopback addresses, all on the same port.
func (z zone) open(t *testing.T) (port string) {
	t.Helper()
	for range 20 {
		if port = z.try(t); port != "" {
			return port
		}
	}
	t.Fatal("no port is free on all addresses")
	return ""
}

func (z zone) try(t *testing.T) string {
	port := "0"
	var conns []net.PacketConn
	for address := range z {
		pc, err := net.ListenPacket("udp", net.JoinHostPort(address, port))
		if err != nil {
			for _, c := range conns {
				_ = c.Close()
			}
			return ""
		}
		conns = append(conns, pc)
		port = strconv.Itoa(pc.LocalAddr().(*net.UDPAddr).Port)
		srv := &dns.Server{PacketConn: pc, Handler: says(z[address])}
		go func() { _ = srv.ActivateAndServe() }()
		t.Cleanup(func() { _ = pc.Close() })
	}
	return port
}

// says answers a query with the matching records; the text "SERVFAIL" makes it refuse.
func says(records string) dns.HandlerFunc {
	return func(w dns.ResponseWriter, q *dns.Msg) {
		m := new(dns.Msg).SetReply(q)
		if records == "SERVFAIL" {
			m.Rcode = dns.RcodeServerFailure
		}
		for line := range strings.SplitSeq(records, "\n") {
			rr, err := dns.NewRR(strings.TrimSpace(line))
			if err == nil && rr != nil && rr.Header().Rrtype == q.Question[0].Qtype && strings.EqualFold(rr.Header().Name, q.Question[0].Name) {
				m.Answer = append(m.Answer, rr)
			}
		}
		_ = w.WriteMsg(m)
	}
}

// The doctor queries the servers of the zone and public resolvers, not only this host's resolver.
func TestTheDNSOfTheInternetIsAskedServerByServer(t *testing.T) {
	const delegation = "example.org. 60 NS ns1.example.org.\nexample.org. 60 NS ns2.example.org.\nns1.example.org. 60 A 127.0.1.11\nns2.example.org. 60 A 127.0.1.12\n"
	const here, old, six = "chat.example.org. 300 A 203.0.113.7\n", "chat.example.org. 300 A 198.51.100.9\n", "chat.example.org. 300 AAAA 2001:db8::7\n"
	for _, c := range []struct {
		what, one, two, first, second string
		want                          string
	}{
		{"all agree", here + six, here + six, here + six, here + six, "ok the zone and public resolvers say chat.example.org is 2001:db8::7 and 203.0.113.7"},
		{"no record in the zone", "", "", "", "", "warn chat.example.org has no address at 127.0.1.11:"},
		{"one server of the zone lags", here, old, here, here, "warn the servers of the zone of chat.example.org disagree"},
		{"a resolver remembers", here, here, here, old, "warn 127.0.1.22: still gives 198.51.100.9 for chat.example.org"},
		{"only version 6 is forgotten", here + six, here + six, here + six, here, "warn 127.0.1.22: still gives 203.0.113.7 for chat.example.org"},
		{"a resolver that validates", here, here, here, "SERVFAIL", "warn 127.0.1.22: does not resolve chat.example.org"},
		{"servers of the zone that are silent", "SERVFAIL", "SERVFAIL", here, here, "ok a public resolver says chat.example.org is 203.0.113.7"},
		{"nobody can be asked", "SERVFAIL", "SERVFAIL", "SERVFAIL", "SERVFAIL", "ok no public DNS server can be reached from here"},
	} {
		t.Run(c.what, func(t *testing.T) {
			full := func(records string) string {
				if records == "SERVFAIL" {
					return records
				}
				return delegation + records
			}
			port := zone{"127.0.1.11": c.one, "127.0.1.12": c.two, "127.0.1.21": full(c.first), "127.0.1.22": full(c.second)}.open(t)
			h := droplet()
			h.DNS = &preflight.DNS{Public: []string{"127.0.1.21:" + port, "127.0.1.22:" + port}, Port: port}
			got := "not checked"
			for _, f := range preflight.Run(t.Context(), h, ask(t), "/opt/appliance") {
				if f.Check == "public-dns" {
					got = f.Severity.String() + " " + strings.ReplaceAll(f.Summary, ":"+port, ":")
					if f.Severity > finding.OK && (f.Why == "" || f.Fix == "") {
						t.Errorf("%+v", f)
					}
				}
			}
			if !strings.HasPrefix(got, c.want) {
				t.Errorf("%s, want %s", got, c.want)
			}
		})
	}
}

// A firewall that drops queries costs one timeout, not one for each server.
func TestSilentServersOfTheDNSCostLittleTime(t *testing.T) {
	d := preflight.DNS{Port: "53"}
	for range 3 {
		pc, err := net.ListenPacket("udp", "127.0.0.1:0") // it never reads
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = pc.Close() }()
		d.Public = append(d.Public, pc.LocalAddr().String())
	}
	begin := time.Now()
	v := d.Look(t.Context(), "chat.example.org")
	if took := time.Since(begin); took > 2900*time.Millisecond || len(v.Public) != 3 || v.Public[0].Err == nil || v.Authoritative != nil {
		t.Errorf("it took %s to hear %+v", took, v)
	}
}

// Names of a closed network are not looked up outside, and the public addresses of a host are
// found even if its own resolver returns 127.0.1.1.
func TestNamesOfAClosedNetworkStayThere(t *testing.T) {
	port := zone{"127.0.1.31": "chat.example.org. 60 A 203.0.113.7\n"}.open(t)
	h := droplet()
	h.DNS = &preflight.DNS{Public: []string{"127.0.1.31:" + port}, Port: port}
	for _, set := range [][]string{{"tls=internal"}, {"domain=chat.office.internal"}} {
		for _, f := range preflight.Run(t.Context(), h, ask(t, set...), "/opt/appliance") {
			if f.Check == "public-dns" && f.Summary != "the names belong to a closed network" {
				t.Errorf("%v: %+v", set, f)
			}
		}
	}
	if ips, err := h.Public(t.Context(), "chat.example.org"); err != nil || len(ips) != 1 || ips[0].String() != "203.0.113.7" {
		t.Errorf("%v, %v", ips, err)
	}
}
