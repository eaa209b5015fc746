package preflight

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/miekg/dns"

	"appliance/provision/answers"
	"appliance/provision/finding"
)

// A DNS is queried server by server, because the answers of this host's resolver may be stale,
// or only valid here.
type DNS struct {
	Public []string // public resolvers: "1.1.1.1:53"
	Port   string   // of authoritative servers
}

// internet returns the resolvers that most people and authorities use.
func internet() *DNS {
	return &DNS{Public: []string{"1.1.1.1:53", "8.8.8.8:53", "9.9.9.9:53"}, Port: "53"}
}

// Limits on queries: one try of each server, and no more servers than this.
const (
	dnsPatience = 1500 * time.Millisecond
	mostServers = 4
	mostIPs     = 8
)

// A Told is the answer of one server about a name.
type Told struct {
	Server string
	IPs    []net.IP // sorted
	TTL    time.Duration
	Err    error // it did not answer, or refused
}

// A NameView is what the servers of a name's zone and public resolvers say about it.
type NameView struct{ Authoritative, Public []Told }

// Look queries the public resolvers concurrently, and then the servers of the zone, as known to
// a resolver that has answered. If none answers, it ends after dnsPatience.
func (d *DNS) Look(ctx context.Context, host string) NameView {
	v := NameView{Public: tell(ctx, d.Public, host, true)}
	for _, t := range v.Public {
		if t.Err == nil {
			v.Authoritative = tell(ctx, d.servers(ctx, t.Server, host), host, false)
			break
		}
	}
	return v
}

// tell asks each server for the addresses of a name.
func tell(ctx context.Context, servers []string, host string, recursive bool) []Told {
	out := make([]Told, len(servers))
	var wg sync.WaitGroup
	for i, server := range servers {
		wg.Go(func() { out[i] = addressesAt(ctx, server, host, recursive) })
	}
	wg.Wait()
	return out
}

func addressesAt(ctx context.Context, server, host string, recursive bool) Told {
	out := Told{Server: server}
	for _, kind := range []uint16{dns.TypeA, dns.TypeAAAA} {
		m, err := ask(ctx, server, host, kind, recursive)
		if err != nil {
			out.Err = err
			return out
		}
		for _, rr := range m.Answer {
			if ttl := time.Duration(rr.Header().Ttl) * time.Second; ttl > out.TTL {
				out.TTL = ttl
			}
			switch rr := rr.(type) {
			case *dns.A:
				out.IPs = append(out.IPs, rr.A)
			case *dns.AAAA:
				out.IPs = append(out.IPs, rr.AAAA)
			}
		}
	}
	slices.SortFunc(out.IPs, func(a, b net.IP) int { return strings.Compare(a.String(), b.String()) })
	out.IPs = out.IPs[:min(len(out.IPs), mostIPs)]
	return out
}

// ask sends one query. That a name does not exist is an answer.
func ask(ctx context.Context, server, host string, kind uint16, recursive bool) (*dns.Msg, error) {
	m := new(dns.Msg).SetQuestion(dns.Fqdn(host), kind)
	m.RecursionDesired = recursive
	answer, _, err := (&dns.Client{Timeout: dnsPatience}).ExchangeContext(ctx, m, server)
	if err != nil {
		return nil, err
	}
	if answer.Truncated {
		if answer, _, err = (&dns.Client{Net: "tcp", Timeout: dnsPatience}).ExchangeContext(ctx, m, server); err != nil {
			return nil, err
		}
	}
	if answer.Rcode != dns.RcodeSuccess && answer.Rcode != dns.RcodeNameError {
		return nil, errors.New("it answers " + dns.RcodeToString[answer.Rcode])
	}
	return answer, nil
}

// servers returns the addresses of the servers of the zone that a name is in, as known to a
// resolver.
func (d *DNS) servers(ctx context.Context, resolver, host string) []string {
	names, err := zoneServers(ctx, resolver, host)
	if err != nil {
		return nil
	}
	out := make([]string, len(names))
	var wg sync.WaitGroup
	for i, name := range names {
		wg.Go(func() {
			if m, err := ask(ctx, resolver, name, dns.TypeA, true); err == nil {
				for _, rr := range m.Answer {
					if a, ok := rr.(*dns.A); ok {
						out[i] = net.JoinHostPort(a.A.String(), d.Port)
					}
				}
			}
		})
	}
	wg.Wait()
	return slices.DeleteFunc(out, func(s string) bool { return s == "" })
}

// zoneServers returns the names of the servers of the closest zone above a name.
func zoneServers(ctx context.Context, resolver, host string) (names []string, err error) {
	for zone := dns.Fqdn(host); strings.Count(zone, ".") > 1; _, zone, _ = strings.Cut(zone, ".") {
		m, err := ask(ctx, resolver, zone, dns.TypeNS, true)
		if err != nil {
			return nil, err
		}
		for _, rr := range m.Answer {
			if ns, ok := rr.(*dns.NS); ok && len(names) < mostServers {
				names = append(names, ns.Ns)
			}
		}
		if len(names) > 0 {
			slices.Sort(names)
			return names, nil
		}
	}
	return nil, nil
}

// reserved are endings that do not exist in the public DNS.
var reserved = []string{"test", "internal", "local", "localhost", "invalid", "lan", "home.arpa"}

// outside reports whether a name should be in the public DNS.
func outside(a answers.Answers, host string) bool {
	return a.TLS != answers.Internal && !slices.ContainsFunc(reserved, func(end string) bool { return strings.HasSuffix(host, "."+end) })
}

// Public resolves a name through the public DNS if its servers can be reached, and otherwise as
// this host does, whose /etc/hosts may point to itself.
func (h Host) Public(ctx context.Context, host string) ([]net.IP, error) {
	if outside(answers.Answers{}, host) && h.DNS != nil {
		v := h.DNS.Look(ctx, host)
		for _, t := range append(v.Authoritative, v.Public...) {
			if t.Err == nil && len(t.IPs) > 0 {
				return t.IPs, nil
			}
		}
	}
	return h.Resolve(ctx, host)
}

// publicDNS compares what the servers of the zone and public resolvers say about the names
// of an installation.
func publicDNS(ctx context.Context, h Host, a answers.Answers) finding.Finding {
	var good []string
	for _, host := range a.Hosts() {
		if h.DNS == nil || !outside(a, host) {
			continue
		}
		f := judgeNames(host, h.DNS.Look(ctx, host))
		if f.Severity > finding.OK {
			return f
		}
		good = append(good, f.Summary)
	}
	if len(good) == 0 {
		return finding.Good("the names belong to a closed network")
	}
	return finding.Good("%s", strings.Join(good, "; "))
}

// judgeNames finds the first problem in what the servers say.
func judgeNames(host string, v NameView) finding.Finding {
	heard := func(list []Told) []Told {
		return slices.DeleteFunc(slices.Clone(list), func(t Told) bool { return t.Err != nil })
	}
	zone, public := heard(v.Authoritative), heard(v.Public)
	create := "create an A record for " + host + " that points to this host"
	for _, t := range zone {
		if len(t.IPs) == 0 {
			return finding.Warning(host+" has no address at "+t.Server, "it is one of the zone's name servers, and resolvers ask any of them", create+"; if it is there, wait until all servers of the zone have it")
		}
		if said(t) != said(zone[0]) {
			return finding.Warning("the servers of the zone of "+host+" disagree", fmt.Sprintf("%s says %s, and %s says %s", zone[0].Server, said(zone[0]), t.Server, said(t)),
				"wait until the change has reached all of them; if it does not within an hour, ask who hosts the zone")
		}
	}
	for _, t := range public {
		switch {
		case len(zone) > 0 && said(t) != said(zone[0]):
			return finding.Warning(fmt.Sprintf("%s still gives %s for %s", t.Server, said(t), host), "the zone says "+said(zone[0])+" by now",
				fmt.Sprintf("wait until it has forgotten the old answer, %s at most", max(t.TTL, time.Minute)))
		case len(zone) == 0 && len(t.IPs) == 0:
			return finding.Warning(host+" has no address at "+t.Server, "the name does not exist on the internet", create)
		}
	}
	for _, t := range v.Public {
		if t.Err != nil && len(public) > 0 && strings.HasPrefix(t.Err.Error(), "it answers ") {
			return finding.Warning(t.Server+" does not resolve "+host, t.Err.Error()+": often a broken DNSSEC signature", "check the zone at https://dnsviz.net, and sign it again or remove its DS record")
		}
	}
	if len(zone) == 0 && len(public) == 0 {
		return finding.Good("no public DNS server can be reached from here")
	}
	who := map[bool]string{true: "a public resolver says", false: "the zone and public resolvers say"}[len(zone) == 0]
	return finding.Good("%s %s is %s", who, host, said(append(zone, public...)[0]))
}

// said formats a list of addresses for people.
func said(t Told) string {
	if len(t.IPs) == 0 {
		return "no address"
	}
	names := map[string]bool{}
	for _, ip := range t.IPs {
		names[ip.String()] = true
	}
	return strings.Join(slices.Sorted(maps.Keys(names)), " and ")
}
