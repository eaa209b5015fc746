package answers

import (
	"net/url"
	"strings"

	"golang.org/x/net/idna"
)

// Each of these functions returns the value meant by what was typed. Input that cannot be
// a value is returned as it is, so that the check that follows names what was typed.

// normalHost extracts the name from an address and writes it as DNS does: in lower case,
// without the trailing dot, and with non-ASCII letters in Punycode (RFC 5891).
func normalHost(s string) string {
	name := s
	for _, scheme := range []string{"https://", "http://"} {
		if len(name) > len(scheme) && strings.EqualFold(name[:len(scheme)], scheme) {
			name = strings.TrimSuffix(name[len(scheme):], "/")
			break
		}
	}
	name = strings.TrimSuffix(strings.ToLower(name), ".")
	if ascii(name) {
		return name
	}
	if punycode, err := idna.Lookup.ToASCII(name); err == nil {
		return punycode
	}
	return s
}

// normalURL removes the slash at the end of an address; the default scheme is https.
func normalURL(s string) string {
	if !strings.Contains(s, "://") {
		s = "https://" + s
	}
	u, err := url.Parse(s)
	if err != nil || u.Host == "" {
		return s
	}
	u.Scheme, u.Host = strings.ToLower(u.Scheme), strings.ToLower(u.Host)
	return strings.TrimRight(u.String(), "/")
}

// normalEmail writes the domain in lower case; the local part may be case-sensitive.
func normalEmail(s string) string {
	at := strings.LastIndexByte(s, '@')
	if at < 0 {
		return s
	}
	return s[:at+1] + normalHost(s[at+1:])
}

func ascii(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r > '~' })
}
