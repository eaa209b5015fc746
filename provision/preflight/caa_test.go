package preflight

import (
	"net"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/miekg/dns"
)

// nameServer answers queries for CAA records from a zone, by name. A query for a name that
// is not in the zone fails with failure.
func nameServer(t *testing.T, zone map[string][]string, failure int) (address string, asked *atomic.Int32) {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	asked = new(atomic.Int32)
	s := &dns.Server{PacketConn: conn, Handler: dns.HandlerFunc(func(w dns.ResponseWriter, r *dns.Msg) {
		asked.Add(1)
		m := new(dns.Msg).SetReply(r)
		records, ok := zone[r.Question[0].Name]
		if !ok || r.Question[0].Qtype != dns.TypeCAA {
			m.Rcode = failure
		}
		for _, text := range records {
			rr, err := dns.NewRR(r.Question[0].Name + " 60 IN " + text)
			if err != nil {
				t.Error(err)
			}
			m.Answer = append(m.Answer, rr)
		}
		_ = w.WriteMsg(m)
	})}
	go func() { _ = s.ActivateAndServe() }()
	t.Cleanup(func() { _ = s.Shutdown() })
	return conn.LocalAddr().String(), asked
}

// CAA records are looked up at real name servers, and interpreted as authorities do.
func TestCAARecordsAreLookedUp(t *testing.T) {
	const host = "chat.example.org"
	for name, c := range map[string]struct {
		zone    map[string][]string
		failure int
		want    []string
		err     string
	}{
		"none":                   {nil, dns.RcodeNameError, nil, ""},
		"another authority":      {map[string][]string{"chat.example.org.": {`CAA 0 issue "pki.goog"`}}, dns.RcodeNameError, []string{"pki.goog"}, ""},
		"of the domain above":    {map[string][]string{"chat.example.org.": nil, "example.org.": {`CAA 0 issue "pki.goog"`, `CAA 0 issue "letsencrypt.org; validationmethods=http-01"`}}, dns.RcodeNameError, []string{"pki.goog", "letsencrypt.org"}, ""},
		"the nearest decides":    {map[string][]string{"chat.example.org.": {`CAA 0 iodef "mailto:a@example.org"`}, "example.org.": {`CAA 0 issue "pki.goog"`}}, dns.RcodeNameError, nil, ""},
		"nobody may":             {map[string][]string{"chat.example.org.": {`CAA 0 issue ";"`}}, dns.RcodeNameError, []string{""}, ""},
		"in capitals":            {map[string][]string{"chat.example.org.": {`CAA 0 ISSUE "pki.goog"`}}, dns.RcodeNameError, []string{"pki.goog"}, ""},
		"wildcards do not count": {map[string][]string{"chat.example.org.": {`CAA 0 issuewild "pki.goog"`}}, dns.RcodeNameError, nil, ""},
		"the server fails":       {nil, dns.RcodeServerFailure, nil, "answers SERVFAIL"},
		"fails above":            {map[string][]string{"chat.example.org.": nil}, dns.RcodeServerFailure, nil, "example.org.: "},
	} {
		t.Run(name, func(t *testing.T) {
			server, _ := nameServer(t, c.zone, c.failure)
			got, err := issuersAt(t.Context(), []string{server}, host)
			if !slices.Equal(got, c.want) || (err != nil) != (c.err != "") || err != nil && !strings.Contains(err.Error(), c.err) {
				t.Errorf("%q, %v; want %q, %q", got, err, c.want, c.err)
			}
		})
	}
}

// If a name server fails or cannot be reached, the next one is asked.
func TestTheNextNameServerIsAsked(t *testing.T) {
	broken, _ := nameServer(t, nil, dns.RcodeServerFailure)
	knows, asked := nameServer(t, map[string][]string{"chat.example.org.": {`CAA 0 issue "pki.goog"`}}, dns.RcodeNameError)
	got, err := issuersAt(t.Context(), []string{broken, "127.0.0.1:1", knows}, "chat.example.org")
	if err != nil || !slices.Equal(got, []string{"pki.goog"}) || asked.Load() != 1 {
		t.Errorf("%q, %v after %d questions", got, err, asked.Load())
	}
	if _, err := issuersAt(t.Context(), nil, "chat.example.org"); err == nil {
		t.Error("without a name server there is no answer")
	}
}
