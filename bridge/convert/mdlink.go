package convert

import (
	"net/url"
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxURL bounds a link: what is longer is text.
const maxURL = 4096

// linkEnds remembers where a link's address that begins at some place ends, since
// several brackets may lead to the same address.
type linkEnds struct {
	middle int // where "](" was found last; -1 when there is none from there on
	known  bool
	end    int
	target string
	ok     bool
}

// link reads [text](url) and ![text](url).
func (l *lexer) link(s string) int {
	from := l.i + 1
	if s[0] == '!' {
		from++
	}
	if !l.links.known || l.links.middle >= 0 && l.links.middle < from {
		l.links = linkEnds{known: true, middle: -1}
		if n := strings.Index(l.s[from:], "]("); n >= 0 {
			l.links.middle = from + n
			l.links.target, l.links.end, l.links.ok = linkAddress(l.s, from+n+2)
		}
	}
	e := l.links
	if e.middle < 0 || !e.ok {
		return 0
	}
	label := lexer{p: l.p, s: l.s[from:e.middle], start: true, inLabel: true}
	if strings.TrimSpace(label.s) == "" {
		label.s = e.target
	}
	l.atom(labelled(&label, e.target)...)
	return e.end - l.i
}

// labelled reads the text of a link, in which only emphasis counts.
func labelled(label *lexer, target string) []run {
	runs := label.matched()
	for i := range runs {
		runs[i].target = target
	}
	return runs
}

// linkAddress reads an address and the bracket after it.
func linkAddress(s string, from int) (target string, end int, ok bool) {
	if strings.IndexByte(s[from:min(len(s), from+maxURL)], ')') < 0 {
		return "", 0, false
	}
	depth := 0
	for i := from; i < len(s) && i < from+maxURL; i++ {
		switch c := s[i]; {
		case c == ' ' || c == '\t' || c == '<' || c == '>':
			return "", 0, false
		case c == '(':
			depth++
		case c == ')' && depth > 0:
			depth--
		case c == ')':
			target, ok := linkTarget(s[from:i])
			return target, i + 1, ok
		}
	}
	return "", 0, false
}

// schemes are those that the Matrix specification lets a link have.
var schemes = []string{"https:", "http:", "ftp:", "mailto:", "magnet:"}

// linkTarget returns an address in a form that is safe to link to. Addresses
// without a scheme get one when they begin like the name of a server.
func linkTarget(s string) (string, bool) {
	if strings.HasPrefix(s, "//") {
		s = "https:" + s
	} else if n := hostSpan(s); n > 0 && !strings.Contains(s[:n], ":") && !hasScheme(s) {
		s = "https://" + s
	}
	if !hasScheme(s) || len(s) > maxURL {
		return "", false
	}
	u, err := url.Parse(s)
	if err != nil || u.Opaque == "" && u.Host == "" && u.Scheme != "magnet" {
		return "", false
	}
	return strings.Map(func(r rune) rune {
		if r == utf8.RuneError || unicode.IsSpace(r) || unicode.IsControl(r) || strings.ContainsRune("<>\"`", r) || hidden(r) {
			return -1
		}
		return r
	}, s), true
}

func hasScheme(s string) bool {
	for _, scheme := range schemes {
		if len(s) > len(scheme) && strings.EqualFold(s[:len(scheme)], scheme) {
			return true
		}
	}
	return false
}

// autoSpan returns the length of the address, of a page or of a person, at the
// beginning of s. Rocket.Chat looks for no markup in one, also where it makes no
// link of it because nobody can own such a name: "obj.field_a" is one word.
func autoSpan(s string) int {
	s = s[:min(len(s), maxURL)]
	if n := emailSpan(s); n > 0 {
		return n
	}
	head := 0
	if n := schemeSpan(s); n > 0 {
		head = n
	}
	host := hostSpan(s[head:])
	if host == 0 && head > 0 {
		head = 0
		host = hostSpan(s)
	}
	if host == 0 {
		return 0
	}
	end := head + host
	if n := strings.IndexAny(s[end:], " \t\n"); n >= 0 {
		end += n
	} else {
		end = len(s)
	}
	return max(len(strings.TrimRight(s[:end], addressEnd)), head+host)
}

// addressEnd are the characters that do not end an address: they belong to the
// sentence around it.
const addressEnd = ".,!%~*\"':;()="

// schemeSpan returns the length of "https://" and its like.
func schemeSpan(s string) int {
	n := 0
	for n < len(s) && n < 32 && (isASCIIAlnum(s[n]) || s[n] == '+' || s[n] == '-') {
		n++
	}
	if n == 0 || !strings.HasPrefix(s[n:], "://") {
		return 0
	}
	return n + 3
}

// maxHost bounds the name of a server.
const maxHost = 255

// hostSpan returns the length of "example.org" or "localhost" at the beginning.
func hostSpan(s string) int {
	if strings.HasPrefix(s, "localhost") {
		return len("localhost")
	}
	s = s[:min(len(s), maxHost)]
	if strings.HasPrefix(s, "_") || strings.IndexByte(s, '.') < 0 {
		return 0
	}
	dot, n := false, 0
	for i, r := range s {
		if r == '.' {
			if i == 0 || s[i-1] == '_' && !dot { // "_end of italic_.next"
				return 0
			}
			next, _ := utf8.DecodeRuneInString(s[i+1:])
			if !isHostChar(next) {
				break
			}
			dot = true
		} else if !isHostChar(r) {
			break
		}
		n = i + utf8.RuneLen(r)
	}
	if !dot {
		return 0
	}
	return n
}

func isHostChar(r rune) bool {
	if r < utf8.RuneSelf {
		return isASCIIAlnum(byte(r)) || strings.IndexByte("_-{}^", byte(r)) >= 0
	}
	return r != utf8.RuneError && !unicode.IsSpace(r)
}

// emailSpan returns the length of "name@example.org" at the beginning.
func emailSpan(s string) int {
	n := 0
	for n < len(s) && n < 64 && (isASCIIAlnum(s[n]) || s[n] >= utf8.RuneSelf || n > 0 && strings.IndexByte("!#$%&'+/=?^_{}-.", s[n]) >= 0) {
		n++
	}
	if n == 0 || n == len(s) || s[n] != '@' {
		return 0
	}
	host := hostSpan(s[n+1:])
	if host == 0 {
		return 0
	}
	return n + 1 + host
}
