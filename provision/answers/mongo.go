package answers

import (
	"fmt"
	"maps"
	"net"
	"net/url"
	"slices"
	"strings"
)

// A Mongo is a parsed MongoDB URL. Unlike any other URL here, it may name several hosts.
type Mongo struct {
	Lookup         bool     // mongodb+srv: DNS knows the hosts of the one that is named
	User, Password string   // unescaped
	Hosts          []string // with ports where the URL has them
	Database       string   // "" where the URL names none
	Options        url.Values
}

// DatabaseOrDefault is the database that the URL selects.
func (m Mongo) DatabaseOrDefault() string {
	if m.Database == "" {
		return "test" // as every driver does
	}
	return m.Database
}

// TLS reports whether connections are encrypted, and whether the URL sets that explicitly.
func (m Mongo) TLS() (on, said bool) {
	for key, values := range m.Options {
		if k := strings.ToLower(key); k == "tls" || k == "ssl" {
			return values[0] == "true", true
		}
	}
	return m.Lookup, false
}

// Option is the value of an option; names of options are case-insensitive.
func (m Mongo) Option(name string) string {
	for key, values := range m.Options {
		if strings.EqualFold(key, name) {
			return values[0]
		}
	}
	return ""
}

// ParseMongo parses the URL of a MongoDB. Its errors complete a sentence that begins with
// the key, and contain nothing of the password.
func ParseMongo(s string) (m Mongo, err error) {
	rest, ok := strings.CutPrefix(s, "mongodb://")
	if !ok {
		if rest, m.Lookup = strings.CutPrefix(s, "mongodb+srv://"); !m.Lookup {
			return m, fmt.Errorf("must start with mongodb:// or mongodb+srv://")
		}
	}
	if strings.ContainsAny(s, " '\"\r\n") {
		return m, fmt.Errorf("must not contain spaces or quotes")
	}
	rest, query, _ := strings.Cut(rest, "?")
	at := strings.LastIndex(rest, "@")
	user, password, _ := strings.Cut(rest[:max(at, 0)], ":")
	hosts, database, _ := strings.Cut(rest[at+1:], "/")
	if strings.ContainsAny(user+password, "@/:") {
		return m, fmt.Errorf("must have the special characters of its user and password escaped, such as %%40 for @, %%2F for / and %%3A for a colon")
	}
	var errs [4]error
	m.User, errs[0] = url.PathUnescape(user)
	m.Password, errs[1] = url.PathUnescape(password)
	m.Database, errs[2] = url.PathUnescape(database)
	m.Options, errs[3] = url.ParseQuery(query)
	switch {
	case slices.ContainsFunc(errs[:], func(err error) bool { return err != nil }):
		return m, fmt.Errorf("has a %% that escapes nothing: write %%25 for one")
	case hosts == "":
		return m, fmt.Errorf("must name a host: mongodb://user:password@host/rocketchat?replicaSet=rs0")
	case m.Lookup && strings.ContainsAny(hosts, ",:"):
		return m, fmt.Errorf("must name one host without a port when it begins with mongodb+srv://")
	}
	m.Hosts = strings.Split(hosts, ",")
	return m, nil
}

// MongoHost is a host of a URL without its port.
func MongoHost(host string) string {
	if name, _, err := net.SplitHostPort(host); err == nil {
		return name
	}
	return strings.Trim(host, "[]")
}

// Itself reports whether an address refers to whichever host connects to it.
func Itself(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && (ip.IsLoopback() || ip.IsUnspecified())
}

// notForMongo are options that a container cannot use, or that are ours, with what to do instead.
var notForMongo = map[string]string{
	"tlscafile": "which Rocket.Chat's container cannot see: name the file as mongo_ca_file", "sslca": "which Rocket.Chat's container cannot see: name the file as mongo_ca_file",
	"tlscertificatekeyfile": "which Rocket.Chat's container cannot see", "tlscertificatekeyfilepassword": "as Rocket.Chat has no certificate of its own there",
	"tlscrlfile": "which Rocket.Chat's container cannot see", "sslcert": "which Rocket.Chat's container cannot see", "sslkey": "which Rocket.Chat's container cannot see",
	"tlsallowinvalidcertificates": "say tlsInsecure=true to skip all verification of the certificate",
}

func checkMongo(s string) error {
	m, err := ParseMongo(s)
	if err != nil {
		return err
	}
	for _, host := range m.Hosts {
		if name := MongoHost(host); Itself(name) {
			return fmt.Errorf("must name hosts that a container reaches: %s would be the container itself", name)
		}
	}
	for _, key := range slices.Sorted(maps.Keys(m.Options)) {
		k, values := strings.ToLower(key), m.Options[key]
		if why := notForMongo[k]; why != "" {
			return fmt.Errorf("must not have %s, %s", key, why)
		}
		if slices.Contains([]string{"tls", "ssl", "tlsinsecure", "tlsallowinvalidhostnames", "directconnection"}, k) && (len(values) > 1 || values[0] != "true" && values[0] != "false") {
			return fmt.Errorf("must have %s once, as true or false", key)
		}
	}
	return nil
}

// mongo checks the answers about an external MongoDB together.
func (d DatabaseAnswers) mongo() []Problem {
	const key = "mongo_ca_file"
	m, err := ParseMongo(d.MongoURL)
	switch {
	case d.MongoCAFile == "":
		return nil
	case d.MongoURL == "":
		return []Problem{{Key: key, Value: d.MongoCAFile, Reason: "applies only together with mongo_url"}}
	case err != nil: // reported as a problem of its own
		return nil
	}
	on, said := m.TLS()
	switch {
	case said && !on:
		return []Problem{{Key: key, Value: d.MongoCAFile, Reason: "is for connections with TLS, and the URL in mongo_url turns it off"}}
	case m.Option("tlsInsecure") == "true":
		return []Problem{{Key: key, Value: d.MongoCAFile, Reason: "is for a certificate that is verified, and the URL in mongo_url has tlsInsecure=true"}}
	}
	return nil
}
