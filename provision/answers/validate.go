package answers

import (
	"cmp"
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strings"

	"appliance/provision/homeserver"
)

// A Problem is one answer that the operator has to change.
type Problem struct {
	Key    string `json:"key"`
	Value  string `json:"value"`
	Reason string `json:"reason"`           // the end of a sentence that starts with the key
	Origin string `json:"origin,omitempty"` // where the value came from: "answers.yaml line 3"
	Line   int    `json:"line,omitempty"`   // of the file that Key names, when it is no YAML; 0 when it is not known
	Hint   string `json:"hint,omitempty"`   // what to type, where there is something
}

func (p Problem) String() string {
	s := p.Key + ": " + p.Reason
	if p.Value != "" {
		s += fmt.Sprintf(" (got %q)", p.Value)
	}
	if p.Origin != "" {
		s += " in " + p.Origin
	}
	return s
}

// shown returns the value of an answer in a form that may be shown: a URL without its
// password, and nothing of one that may hold a secret and is not a URL.
func shown(key, value string) string {
	f, ok := Lookup(key)
	u, err := url.Parse(value)
	switch {
	case (!ok || !f.Secret) && (err != nil || u.User == nil): // holds no password
		return value
	case err != nil:
		return ""
	case u.Host == "":
		return bare(value)
	}
	return u.Redacted()
}

// bare returns a value that is one word, such as the name of a choice, and "" for anything else.
func bare(value string) string {
	if len(value) > 16 || strings.ContainsFunc(value, func(r rune) bool { return r < 'a' || r > 'z' }) {
		return ""
	}
	return value
}

// An InvalidError lists everything that is wrong with the answers, so that it can be
// fixed in one go.
type InvalidError struct{ Problems []Problem }

func (e *InvalidError) Error() string {
	parts := make([]string, len(e.Problems))
	for i, p := range e.Problems {
		parts[i] = p.String()
	}
	return strings.Join(parts, "; ")
}

// Missing returns the keys of required answers that have no value.
func (a Answers) Missing() []string {
	var keys []string
	for _, f := range Fields {
		if f.Required && f.matters(a) && f.Get(&a) == "" {
			keys = append(keys, f.Key)
		}
	}
	return keys
}

// Normalize fills the answers that default to another answer.
func (a Answers) Normalize() Answers {
	if a.ServerName == "" {
		a.ServerName = a.Domain
	}
	if a.Namespace == "" {
		a.Namespace = Native
		if !a.BundledHomeserver() { // its own users have the unprefixed addresses
			a.Namespace = Prefixed
		}
	}
	if a.TLS == NoTLS {
		a.ListenAddress = cmp.Or(a.ListenAddress, loopback)
		if a.ListenAddress == loopback {
			a.TrustedProxies = cmp.Or(a.TrustedProxies, loopback)
		}
	}
	if a.AdminEmail == "" && a.Domain != "" {
		a.AdminEmail = a.AdminUsername + "@" + a.Domain
	}
	return a
}

// Validate returns every problem, in the order of Fields.
func (a Answers) Validate() []Problem {
	var problems []Problem
	for _, f := range Fields {
		if f.Check == nil {
			continue
		}
		if err := f.Check(f.Get(&a)); err != nil {
			problems = append(problems, Problem{Key: f.Key, Value: shown(f.Key, f.Get(&a)), Reason: err.Error()})
		}
	}
	return append(problems, a.consistent()...)
}

// consistent checks answers that depend on each other.
func (a Answers) consistent() []Problem {
	var problems []Problem
	if a.HTTPPort == a.HTTPSPort {
		problems = append(problems, Problem{Key: "https_port", Value: fmt.Sprint(a.HTTPSPort), Reason: "must differ from http_port"})
	}
	if a.FederationPort != 0 && a.FederationPort == a.HTTPPort {
		problems = append(problems, Problem{Key: "federation_port", Value: fmt.Sprint(a.FederationPort), Reason: "must differ from http_port"})
	}
	if stack := homeserver.Of(a.Homeserver).Stack; a.SynapseAdmin && (stack == nil || !stack.AdminPage) {
		problems = append(problems, Problem{Key: "synapse_admin", Value: "true", Reason: "is for homeserver: synapse only: others have no such interface"})
	}
	if a.BridgeReplicas > 1 && a.BridgeDatabase == SQLite {
		problems = append(problems, Problem{Key: "bridge_replicas", Value: fmt.Sprint(a.BridgeReplicas), Reason: "needs bridge_database: bundled or a PostgreSQL: one process at a time can use sqlite"})
	}
	problems = append(problems, a.DatabaseAnswers.consistent(a)...)
	problems = append(problems, a.UploadAnswers.consistent(a.ForcedSettings())...)
	if p := a.SynapseAdminPort; a.SynapseAdmin && (p == a.HTTPPort || p == a.HTTPSPort || p == a.FederationPort) {
		problems = append(problems, Problem{Key: "synapse_admin_port", Value: fmt.Sprint(p), Reason: "must differ from the other ports"})
	}
	if (a.ACMEEABKeyID == "") != (a.ACMEEABHMACFile == "") {
		key := "acme_eab_hmac_file"
		if a.ACMEEABKeyID == "" {
			key = "acme_eab_key_id"
		}
		problems = append(problems, Problem{Key: key, Reason: "is required too: a key ID and its key belong together"})
	}
	problems = append(problems, slices.Concat(a.inFront(), mailServer(a), numbers(a))...)
	for _, f := range []struct{ key, value string }{{"tls_cert_file", a.TLSCertFile}, {"tls_key_file", a.TLSKeyFile}} {
		if a.TLS == Files && f.value == "" {
			problems = append(problems, Problem{Key: f.key, Reason: "is required with tls: files"})
		}
	}
	problems = append(problems, a.AlarmAnswers.consistent(a.AlarmWays())...)
	return append(problems, a.OffsiteAnswers.consistent()...)
}

const loopback = "127.0.0.1"

// inFront checks the answers about a web server in front of this one, and about that of
// the server name.
func (a Answers) inFront() []Problem {
	var problems []Problem
	if a.TLS == NoTLS { // unless said otherwise, the web server in front is on this host
		a.ListenAddress = cmp.Or(a.ListenAddress, loopback)
	}
	if a.TLS == NoTLS && !reachable(a.ListenAddress) {
		problems = append(problems, Problem{Key: "listen_address", Value: a.ListenAddress, Reason: "must be 127.0.0.1 or a private address with tls: none: passwords would cross the internet unencrypted"})
	}
	if a.TLS == NoTLS && a.TrustedProxies == "" && a.ListenAddress != loopback {
		problems = append(problems, Problem{Key: "trusted_proxies", Reason: "is required when the web server in front is on another host: without it every visitor has the address of the web server in front"})
	}
	listen, _ := netip.ParseAddr(a.ListenAddress)
	for one := range strings.SplitSeq(a.TrustedProxies, ",") {
		if p, err := parseNetwork(strings.TrimSpace(one)); err == nil && p.Addr().IsLoopback() && !listen.IsLoopback() {
			problems = append(problems, Problem{Key: "trusted_proxies", Value: a.TrustedProxies, Reason: "may name this host only with listen_address: 127.0.0.1: otherwise others could pass for it"})
		}
	}
	if a.Delegation == DelegationSRV && a.TLS != Files {
		problems = append(problems, Problem{Key: "delegation", Value: a.Delegation, Reason: "needs tls: files: other servers want a certificate of server_name, which this host cannot obtain"})
	}
	if a.Delegation != DelegationHere && !a.BundledHomeserver() {
		problems = append(problems, Problem{Key: "delegation", Value: a.Delegation, Reason: "is for a bundled homeserver"})
	}
	return problems
}

// mailServer checks the answers about Rocket.Chat's mail server.
func mailServer(a Answers) []Problem {
	var problems []Problem
	if (a.SMTPUsername == "") != (a.SMTPPasswordFile == "") {
		problems = append(problems, Problem{Key: "smtp_password_file", Value: a.SMTPPasswordFile, Reason: "belongs to smtp_username: set both or neither"})
	}
	if a.SMTPUsername != "" && a.SMTPHost == "" {
		problems = append(problems, Problem{Key: "smtp_host", Reason: "is required with smtp_username"})
	}
	return problems
}

// numbers checks the answers about metrics and traces.
func numbers(a Answers) []Problem {
	var problems []Problem
	taken := []int{a.HTTPPort, a.HTTPSPort, a.FederationPort}
	if a.SynapseAdmin {
		taken = append(taken, a.SynapseAdminPort)
	}
	if a.Metrics && slices.Contains(taken, a.MetricsPort) {
		problems = append(problems, Problem{Key: "metrics_port", Value: fmt.Sprint(a.MetricsPort), Reason: "must differ from the other ports"})
	}
	if a.Metrics {
		taken = append(taken, a.MetricsPort)
	}
	if a.Monitoring && slices.Contains(taken, a.MonitoringPort) {
		problems = append(problems, Problem{Key: "monitoring_port", Value: fmt.Sprint(a.MonitoringPort), Reason: "must differ from the other ports"})
	}
	if a.TracesHeadersFile != "" && a.TracesEndpoint == "" {
		problems = append(problems, Problem{Key: "traces_headers_file", Value: a.TracesHeadersFile, Reason: "belongs to traces_endpoint: set both or neither"})
	}
	return problems
}
