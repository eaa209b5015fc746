package answers

import (
	"errors"
	"fmt"
	"net"
	"net/mail"
	"net/netip"
	"net/url"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Each check returns what is wrong with a value as the end of a sentence that
// starts with the key.

var label = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`)

func checkHost(s string) error {
	switch {
	case s == "":
		return fmt.Errorf("is required")
	case strings.Contains(s, "://"):
		return fmt.Errorf("must be a bare name, without %s", s[:strings.Index(s, "://")+3])
	case strings.Contains(s, "@"):
		return fmt.Errorf("must be a name, not an address with @")
	case net.ParseIP(strings.Trim(s, "[]")) != nil:
		return fmt.Errorf("must be a DNS name, not an IP address: certificates and Matrix addresses need a name")
	case strings.Contains(s, "/"):
		return fmt.Errorf("must be a bare name, without a path")
	case strings.Contains(s, ":"):
		return fmt.Errorf("must be a bare name, without a port")
	case s != strings.ToLower(s):
		return fmt.Errorf("must be in lower case")
	case !strings.Contains(s, "."):
		return fmt.Errorf("must have at least two parts, such as chat.example.org")
	case len(s) > 253:
		return fmt.Errorf("is longer than the 253 characters that DNS allows")
	}
	if strings.HasPrefix(s, ".") || strings.HasSuffix(s, ".") || strings.Contains(s, "..") {
		return fmt.Errorf("has one dot too many")
	}
	for part := range strings.SplitSeq(s, ".") {
		if !label.MatchString(part) {
			return fmt.Errorf("is not a DNS name: %q is not a valid part of one", part)
		}
	}
	return nil
}

func checkEmail(s string) error {
	if a, err := mail.ParseAddress(s); err != nil || a.Address != s {
		return fmt.Errorf("is not an e-mail address")
	}
	return nil
}

var username = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]*$`)

func checkUsername(s string) error {
	if !username.MatchString(s) {
		return fmt.Errorf("must be lower-case letters, digits, dots, dashes and underscores, starting with a letter or digit")
	}
	if slices.Contains([]string{"administrator", "system", "user", "all", "here", "matrix-bridge", "rocket.cat"}, s) {
		return fmt.Errorf("is reserved")
	}
	return nil
}

func checkCollector(s string) error {
	u, err := url.Parse(s)
	switch {
	case err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "":
		return fmt.Errorf("must be an http or https URL such as http://collector:4318/v1/traces")
	case u.User != nil:
		return fmt.Errorf("must contain no password: put it in a header in traces_headers_file")
	case strings.HasSuffix(s, "/"):
		return fmt.Errorf("must not end in a slash: collectors of OpenTelemetry expect /v1/traces at its end")
	}
	return nil
}

func checkAbsolute(s string) error {
	if !filepath.IsAbs(s) {
		return fmt.Errorf("must be an absolute path")
	}
	return nil
}

func checkKeyID(s string) error {
	if strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return fmt.Errorf("must have no spaces and no characters beyond ASCII")
	}
	return nil
}

func checkHTTPS(s string) error {
	if u, err := url.Parse(s); err != nil || u.Scheme != "https" || u.Host == "" {
		return fmt.Errorf("must be an https URL")
	}
	return nil
}

// checkElsewhere accepts the address of a server that a container can reach.
func checkElsewhere(s string) error {
	u, err := url.Parse(s)
	switch {
	case err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "":
		return fmt.Errorf("must be an address such as https://chat.example.org")
	case u.User != nil || u.RawQuery != "" || strings.Trim(u.Path, "/") != "":
		return fmt.Errorf("must be an address without user, path and query")
	}
	if ip := net.ParseIP(u.Hostname()); u.Hostname() == "localhost" || ip != nil && ip.IsLoopback() {
		return fmt.Errorf("must be an address that a container reaches: %s would be the container itself", u.Hostname())
	}
	return nil
}

var userID = regexp.MustCompile(`^[A-Za-z0-9_.-]+$`)

func checkUserID(s string) error {
	if !userID.MatchString(s) {
		return fmt.Errorf("is not the ID of a user: letters and digits such as aobEdbYhXfu5hkeqG")
	}
	return nil
}

// checkBridgeDatabase accepts sqlite, bundled or the URL of a PostgreSQL.
func checkBridgeDatabase(s string) error {
	if s == SQLite || s == Bundled {
		return nil
	}
	u, err := url.Parse(s)
	if err != nil || u.Scheme != "postgres" && u.Scheme != "postgresql" || u.Host == "" || strings.Trim(u.Path, "/") == "" {
		return fmt.Errorf("must be sqlite, bundled or a URL such as postgres://user:password@host/name")
	}
	if strings.ContainsAny(s, " '\n") {
		return fmt.Errorf("must not contain spaces or quotes")
	}
	if ca := u.Query().Get("sslrootcert"); ca != "" && ca != "system" {
		return fmt.Errorf("must not have sslrootcert, which the container of the bridge does not see: name the file as bridge_database_ca_file")
	}
	return nil
}

// maxReplicas is how many bridge processes may share a database.
const maxReplicas = 8

func checkReplicas(s string) error {
	if n, _ := strconv.Atoi(s); n < 1 || n > maxReplicas {
		return fmt.Errorf("must be a number from 1 to %d", maxReplicas)
	}
	return nil
}

func checkPort(s string) error {
	if n, _ := strconv.Atoi(s); n < 1 || n > 65535 {
		return fmt.Errorf("must be a port between 1 and 65535")
	}
	return nil
}

func checkFederationPort(s string) error {
	if s == "0" {
		return nil
	}
	return checkPort(s)
}

// private networks are the ones that the homeserver never connects to.
var private = []netip.Prefix{
	netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("172.16.0.0/12"), netip.MustParsePrefix("192.168.0.0/16"), netip.MustParsePrefix("100.64.0.0/10"),
}

// checkSubnet accepts a network that can be split in four with room in each part.
func checkSubnet(s string) error {
	p, err := netip.ParsePrefix(s)
	switch {
	case err != nil || !p.Addr().Is4():
		return fmt.Errorf("must be a network such as 10.213.0.0/24")
	case p != p.Masked():
		return fmt.Errorf("must be the first address of the network: %s", p.Masked())
	case !slices.ContainsFunc(private, func(n netip.Prefix) bool { return n.Bits() <= p.Bits() && n.Contains(p.Addr()) }):
		return fmt.Errorf("must be in a private network, such as 10.0.0.0/8")
	case p.Bits() < 8 || p.Bits() > 26:
		return fmt.Errorf("must be between /8 and /26")
	}
	return nil
}

// checkPlain accepts what fits on one line between quotes.
func checkPlain(s string) error {
	if strings.ContainsAny(s, "'\n\r") {
		return fmt.Errorf("must not contain quotes or line breaks")
	}
	return nil
}

// checkAddress accepts one address of this host.
func checkAddress(s string) error {
	if a, err := netip.ParseAddr(s); err != nil || a.Zone() != "" {
		return fmt.Errorf("must be an address such as 127.0.0.1")
	}
	return nil
}

// parseNetwork parses an address or a network.
func parseNetwork(s string) (netip.Prefix, error) {
	if a, err := netip.ParseAddr(s); err == nil {
		return a.Prefix(a.BitLen())
	}
	return netip.ParsePrefix(s)
}

// checkProxies accepts addresses and networks, separated by commas.
func checkProxies(s string) error {
	if s == "" {
		return nil
	}
	for one := range strings.SplitSeq(s, ",") {
		p, err := parseNetwork(strings.TrimSpace(one))
		if err != nil || p.Addr().Zone() != "" {
			return fmt.Errorf("must be addresses or networks such as 10.0.0.5 or 192.168.7.0/24, separated by commas: %q is none", strings.TrimSpace(one))
		}
		if p.Bits() < 8 {
			return fmt.Errorf("must be the web servers in front of this one: %s would let anyone claim any address", p)
		}
	}
	return nil
}

// reachable reports whether only this host, or a private network, can connect.
func reachable(address string) bool {
	a, err := netip.ParseAddr(address)
	return err == nil && (a.IsLoopback() || a.IsPrivate() || slices.ContainsFunc(private, func(n netip.Prefix) bool { return n.Contains(a) }))
}

func checkNatural(s string) error {
	if n, _ := strconv.Atoi(s); n < 0 {
		return fmt.Errorf("must not be negative")
	}
	return nil
}

func oneOf(choices []string) func(string) error {
	return func(s string) error {
		if !slices.Contains(choices, s) {
			return fmt.Errorf("must be one of %s", strings.Join(choices, ", "))
		}
		return nil
	}
}

func optional(check func(string) error) func(string) error {
	return func(s string) error {
		if s == "" {
			return nil
		}
		return check(s)
	}
}

func portSuffix(port int) string {
	if port == 443 || port == 0 {
		return ""
	}
	return ":" + strconv.Itoa(port)
}

// Unusable returns an error that an answer cannot be used because of err; nil stays nil.
func Unusable(key string, err error) error {
	if err == nil {
		return nil
	}
	reason := "cannot be used: " + err.Error()
	var hinted interface{ Hint() string }
	if errors.As(err, &hinted) {
		reason += "; " + hinted.Hint()
	}
	return &InvalidError{Problems: []Problem{{Key: key, Reason: reason}}}
}

// checkAppServiceID restricts the ID to what every homeserver accepts, in its
// registration and in the path of a ping.
func checkAppServiceID(s string) error {
	if !regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$`).MatchString(s) {
		return fmt.Errorf("must have 1 to 64 letters, digits and ._- (got %q)", s)
	}
	return nil
}

// checkBot accepts localparts that Matrix allows for new users (spec, appendices, "User
// Identifiers"), without the "=" and "/" that are used for escaping.
func checkBot(s string) error {
	if !regexp.MustCompile(`^[a-z0-9][a-z0-9._+-]{0,63}$`).MatchString(s) {
		return fmt.Errorf("must have 1 to 64 lower-case letters, digits and ._+- (got %q)", s)
	}
	return nil
}
