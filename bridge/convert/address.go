package convert

import (
	"net/url"
	"strings"
	"unicode"
	"unicode/utf8"

	"appliance/bridge/convert/internal/grammar"
)

// maxURL bounds a link: anything longer is text.
const maxURL = 4096

// schemes are the ones that a link may have: those that the Matrix specification
// lists, and others that clients of both sides open.
var schemes = []string{"https:", "http:", "ftp:", "mailto:", "magnet:", "tel:", "sms:", "geo:", "matrix:", "xmpp:", "sip:", "sftp:", "ssh:", "irc:", "ircs:", "news:", "webcal:"}

func hasScheme(s string) bool {
	for _, scheme := range schemes {
		if len(s) > len(scheme) && strings.EqualFold(s[:len(scheme)], scheme) {
			return true
		}
	}
	return false
}

// linkTarget returns an address in a form that is safe to link to. Addresses
// without a scheme get one if they begin like a server name.
func linkTarget(s string) (string, bool) {
	s = strings.TrimSpace(s)
	if strings.HasPrefix(s, "//") {
		s = "https:" + s
	} else if !hasScheme(s) && grammar.KnownHost(s, grammar.Default) {
		s = "https://" + s
	}
	if !hasScheme(s) || len(s) > maxURL {
		return "", false
	}
	clean := strings.Map(func(r rune) rune {
		if r == utf8.RuneError || unicode.IsControl(r) || hidden(r) {
			return -1
		}
		return r
	}, s)
	clean = escapeAddress(clean, "<>\"`")
	u, err := url.Parse(clean)
	if err != nil || u.Opaque == "" && u.Host == "" && u.Scheme != "magnet" && u.Scheme != "matrix" {
		return "", false
	}
	return clean, true
}

// linkPart writes an address so that it ends where it should.
func linkPart(s string) string { return escapeAddress(s, "()<>|[]\\\"`") }

// escapeAddress percent-encodes some characters of an address, and blanks.
func escapeAddress(s, set string) string {
	special := func(r rune) bool {
		return strings.ContainsRune(set, r) || unicode.IsSpace(r) || unicode.IsControl(r)
	}
	if !strings.ContainsFunc(s, special) {
		return s
	}
	const hex = "0123456789ABCDEF"
	var b strings.Builder
	for _, r := range s {
		if !special(r) {
			b.WriteRune(r)
			continue
		}
		for _, c := range []byte(string(r)) {
			b.Write([]byte{'%', hex[c>>4], hex[c&15]})
		}
	}
	return b.String()
}

// showsItself reports whether a link's text is its address, as in the links that
// both sides make of bare addresses.
func showsItself(label, target string) bool {
	switch {
	case label == "":
		return false
	case target == label, target == "mailto:"+label:
		return true
	}
	if number, ok := strings.CutPrefix(target, "tel:"); ok {
		digits := func(s string) string {
			return strings.Map(func(r rune) rune {
				if r < '0' || r > '9' {
					return -1
				}
				return r
			}, s)
		}
		return digits(number) == digits(label) && strings.Trim(label, "+-()0123456789 ") == ""
	}
	for _, prefix := range []string{"//", "https://", "http://"} {
		if rest, ok := strings.CutPrefix(target, prefix); ok && (rest == label || rest == label+"/") {
			return true
		}
	}
	return false
}

// looksElsewhere reports whether a link's text looks like the address of a
// different server than the one it leads to.
func looksElsewhere(label, target string) bool {
	label = strings.TrimSpace(label)
	if !strings.Contains(label, ".") || strings.ContainsAny(label, " \t\n") || !grammar.KnownHost(label, grammar.Default) {
		return false
	}
	shown := hostOf(label)
	return shown != "" && shown != hostOf(target) && "www."+shown != hostOf(target) && shown != "www."+hostOf(target)
}

func hostOf(s string) string {
	if !strings.Contains(s, "://") {
		s = "https://" + strings.TrimPrefix(s, "//")
	}
	u, err := url.Parse(s)
	if err != nil {
		return ""
	}
	return strings.ToLower(u.Hostname())
}
