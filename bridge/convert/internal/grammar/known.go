package grammar

import (
	"strings"

	"golang.org/x/net/idna"
	"golang.org/x/net/publicsuffix"
)

// KnownHost reports whether the host of an address may exist: its last part is one
// under which names are registered, or it is this machine, or, for V36 and later, it
// is numeric.
func KnownHost(address string, d Dialect) bool {
	host, ok := hostOf(address)
	if !ok {
		return false
	}
	mail := strings.HasPrefix(address, "mailto:")
	if isNumbers(host) {
		return d != V31 && !mail
	}
	if !isHostname(host) || d == V31 && host[0] == '_' {
		return false
	}
	if host == "localhost" || strings.HasSuffix(host, ".localhost") {
		return !mail
	}
	if ascii, err := idna.Punycode.ToASCII(host); err == nil {
		host = ascii
	}
	suffix, registered := publicsuffix.PublicSuffix(host)
	return registered || strings.Contains(suffix, ".")
}

// hostOf extracts the host from an address.
func hostOf(s string) (string, bool) {
	s = strings.TrimSpace(s)
	if strings.HasPrefix(s, "data:") {
		return "", false
	}
	if rest, ok := strings.CutPrefix(s, "//"); ok {
		s = rest
	} else if n := strings.Index(s, ":/"); n >= 0 {
		for _, r := range s[:n] {
			if !isScheme(r) && r != '.' {
				return "", false
			}
		}
		s = strings.TrimLeft(s[n+2:], "/")
	}
	if n := strings.IndexAny(s, "#/?"); n >= 0 {
		s = s[:n]
	}
	if n := strings.LastIndexByte(s, '@'); n > 0 {
		s = s[n+1:]
	}
	if n := strings.LastIndexByte(s, ':'); n > 0 {
		s = s[:n]
	}
	for len(s) > 1 && s[len(s)-1] == '.' {
		s = s[:len(s)-1]
	}
	return strings.ToLower(s), s != ""
}

// isNumbers reports whether a host looks like an IPv4 address: four numbers of any
// size.
func isNumbers(s string) bool {
	return len(s) >= len("1.1.1.1") && len(s) <= len("255.255.255.255") && strings.Count(s, ".") == 3 && strings.Trim(s, "0123456789.") == ""
}

// isHostname reports whether a name could be that of a server.
func isHostname(s string) bool {
	valid := func(c byte) bool { return c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c >= 0x80 }
	if s == "" || len(s) > 255 || !valid(s[0]) && s[0] != '.' && s[0] != '_' {
		return false
	}
	dot := -1
	for i := range len(s) {
		switch c := s[i]; {
		case c == '.':
			if i-dot > 64 || i > 0 && strings.IndexByte(".-_", s[i-1]) >= 0 {
				return false
			}
			dot = i
		case !valid(c) && c != '-' && c != '_':
			return false
		}
	}
	return len(s)-dot-1 <= 63 && s[len(s)-1] != '-'
}
