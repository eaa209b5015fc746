package convert

import (
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// A token is a piece of a line before emphasis is looked for.
type token struct {
	mark byte  // '*', '_', '~', or '|' for "||"; 0 for what has runs
	word bool  // the mark ends a word, as in "snake_": it can close, not open
	runs []run // text, or something whole that no mark inside belongs to
}

// inline reads one line. It takes time in proportion to the line: tokens are
// found from left to right, then each mark is paired with the next of its kind.
func (p *mdParser) inline(s string) []run {
	l := lexer{p: p, s: s, start: true}
	return l.matched()
}

// A lexer finds the tokens of a line. Most markup counts only where a token can
// start: at the beginning, and after blanks and punctuation that might be markup.
type lexer struct {
	p       *mdParser
	s       string
	i       int
	start   bool
	inLabel bool // of a link: no links, no code, no escapes
	tokens  []token
	pending strings.Builder // text for the next token
	noTick  bool            // there is no "`" from here on
	links   linkEnds
}

// matched reads everything and returns the runs.
func (l *lexer) matched() []run {
	l.run()
	l.flush()
	m := newMatcher(l.tokens)
	m.match(0, len(l.tokens), 0)
	return m.runs.take()
}

// plainStop are the characters that end a run of ordinary text.
const plainStop = "*_~`:<[]! \t()\\|"

// escapable are the characters that a backslash makes ordinary.
const escapable = "*_~`#."

func (l *lexer) run() {
	for l.i < len(l.s) {
		if n := l.special(); n > 0 {
			l.i += n
			l.start = true
			continue
		}
		if l.start {
			if n := autoSpan(l.s[l.i:]); n > 0 {
				l.text(l.s[l.i : l.i+n])
				l.i += n
				continue
			}
			if n := wordThenUnderscore(l.s[l.i:]); n > 0 {
				l.wordAndMarks(l.s[l.i : l.i+n])
				l.i += n
				continue
			}
		}
		n := plainSpan(l.s[l.i:])
		l.text(l.s[l.i : l.i+n])
		l.start = n == 1 && strings.IndexByte(plainStop, l.s[l.i]) >= 0
		l.i += n
	}
}

// plainSpan returns the length of the ordinary text at the beginning, at least
// one character.
func plainSpan(s string) int {
	if n := strings.IndexAny(s, plainStop); n > 0 {
		return n
	} else if n == 0 {
		return 1
	}
	return len(s)
}

// wordThenUnderscore finds "snake_", whose underscore begins nothing.
func wordThenUnderscore(s string) int {
	n := 0
	for n < len(s) && isASCIIAlnum(s[n]) {
		n++
	}
	if n == 0 || n == len(s) || s[n] != '_' {
		return 0
	}
	if n+1 < len(s) && s[n+1] == '_' {
		return n + 2
	}
	return n + 1
}

func (l *lexer) wordAndMarks(s string) {
	word := strings.TrimRight(s, "_")
	l.text(word)
	for range len(s) - len(word) {
		l.add(token{mark: '_', word: true})
	}
}

func isASCIIAlpha(c byte) bool { return c|0x20 >= 'a' && c|0x20 <= 'z' }
func isASCIIAlnum(c byte) bool { return isASCIIAlpha(c) || c >= '0' && c <= '9' }

func (l *lexer) text(s string) { l.pending.WriteString(s) }

func (l *lexer) flush() {
	if l.pending.Len() > 0 {
		l.tokens = append(l.tokens, token{runs: []run{{text: l.pending.String()}}})
		l.pending.Reset()
	}
}

func (l *lexer) add(t token) {
	l.flush()
	l.tokens = append(l.tokens, t)
}

func (l *lexer) atom(runs ...run) { l.add(token{runs: runs}) }

func (l *lexer) mark(c byte) { l.add(token{mark: c}) }

// special reads something other than ordinary text and returns its length, or 0.
func (l *lexer) special() int {
	rest := l.s[l.i:]
	switch c := rest[0]; {
	case c == '*' || c == '_' || c == '~':
		l.mark(c)
		return 1
	case c == '|' && strings.HasPrefix(rest, "||"):
		l.mark('|')
		return 2
	case c == ':':
		return l.emoji(rest)
	case l.inLabel:
		return 0
	case c == '\\':
		return l.escape(rest)
	case c == '`':
		return l.code(rest)
	case c == '[' || c == '!' && strings.HasPrefix(rest, "!["):
		return l.link(rest)
	case c == '<':
		return l.angle(rest)
	case c == '@' && l.start:
		return l.mention(rest)
	case c == '#' && l.start:
		return l.channel(rest)
	}
	return 0
}

func (l *lexer) escape(s string) int {
	if len(s) > 1 && strings.IndexByte(escapable, s[1]) >= 0 {
		l.text(s[1:2])
		return 2
	}
	if !strings.HasPrefix(s, `\(`) {
		return 0
	}
	end := strings.Index(s[:min(len(s), maxFormula)], `\)`)
	if end < 3 {
		return 0
	}
	l.atom(run{kind: inlineMath, text: s[2:end]})
	return end + 2
}

// maxFormula bounds a formula inside a line, and so the search for its end.
const maxFormula = 500

func (l *lexer) code(s string) int {
	if l.noTick {
		return 0
	}
	end := strings.IndexByte(s[1:], '`')
	if end < 0 {
		l.noTick = true
	}
	if end <= 0 {
		return 0
	}
	l.atom(run{kind: inlineCode, text: s[1 : end+1]})
	return end + 2
}

// emoji reads a shortcode that stands for itself: not the middle of 10:30:20.
func (l *lexer) emoji(s string) int {
	end := 1
	for end < len(s) && end < 64 && (isASCIIAlnum(s[end]) || strings.IndexByte("-_+.", s[end]) >= 0) {
		end++
	}
	if end < 2 || end == len(s) || s[end] != ':' || l.i > 0 && isASCIIAlnum(l.s[l.i-1]) || end+1 < len(s) && isASCIIAlnum(s[end+1]) {
		return 0
	}
	e, ok := Unicode(s[1:end])
	if mxc, custom := "", false; !ok {
		e = s[:end+1] // its name may hold marks
		if mxc, custom = l.p.look.emoji(s[1:end]); custom {
			l.atom(run{kind: emoticon, text: e, target: mxc})
			return end + 1
		}
	}
	l.text(e)
	return end + 1
}

// mention reads @name. A name that is unknown stays text, whole, because
// underscores in it are not marks.
func (l *lexer) mention(s string) int {
	n := nameSpan(s[1:])
	if n == 0 {
		return 0
	}
	name := s[1 : n+1]
	if name == "all" || name == "here" {
		l.atom(run{kind: roomMention, text: "@" + name})
		return n + 1
	}
	for _, name := range candidates(s[1:], n) {
		if user, display, ok := l.p.look.user(name); ok {
			l.atom(run{kind: userMention, text: display, target: string(user)})
			return len(name) + 1
		}
	}
	l.text(s[:n+1])
	return n + 1
}

// candidates returns the names that a text may begin with, the longest first:
// with a server, whole, and without the punctuation after it.
func candidates(s string, n int) []string {
	var out []string
	if n < len(s) && (s[n] == ':' || s[n] == '@') {
		if m := nameSpan(s[n+1:]); m > 0 {
			out = append(out, s[:n+1+m])
		}
	}
	out = append(out, s[:n])
	if t := strings.TrimRight(s[:n], "-_."); t != s[:n] && t != "" {
		out = append(out, t)
	}
	return out
}

func (l *lexer) channel(s string) int {
	n := nameSpan(s[1:])
	if n == 0 {
		return 0
	}
	for _, name := range candidates(s[1:], n) {
		if target, ok := l.p.look.room(name); ok {
			l.atom(run{kind: channelLink, text: "#" + name, target: target})
			return len(name) + 1
		}
	}
	l.text(s[:n+1])
	return n + 1
}

// nameSpan returns the length of the username or channel name at the beginning.
func nameSpan(s string) int {
	for i, r := range s {
		if !isNameChar(r) || i > maxNameSpan {
			return i
		}
	}
	return len(s)
}

const maxNameSpan = 255

func isNameChar(r rune) bool {
	if r < utf8.RuneSelf {
		return isASCIIAlnum(byte(r)) || r == '-' || r == '_' || r == '.'
	}
	return unicode.IsLetter(r) || unicode.IsDigit(r)
}

// angle reads <url|text> and <t:1630360800:f>.
func (l *lexer) angle(s string) int {
	end := strings.IndexByte(s[:min(len(s), maxURL)], '>')
	if end < 0 {
		return 0
	}
	if text, ok := timestamp(s[1:end]); ok {
		l.text(text)
		return end + 1
	}
	url, label, ok := strings.Cut(s[1:end], "|")
	if !ok || label == "" || strings.ContainsAny(label, "<|") || strings.ContainsAny(url, " \t<") {
		return 0
	}
	target, ok := linkTarget(url)
	if !ok {
		return 0
	}
	l.atom(run{text: label, target: target})
	return end + 1
}

// timestamp reads t:SECONDS or t:SECONDS:FORMAT, which clients show in their own
// time zone. Here it is in UTC, and says so.
func timestamp(s string) (string, bool) {
	s, ok := strings.CutPrefix(s, "t:")
	if !ok {
		return "", false
	}
	digits, format, _ := strings.Cut(s, ":")
	sec, err := strconv.ParseInt(digits, 10, 64)
	if err != nil || len(digits) != 10 || len(format) > 1 {
		return "", false
	}
	return time.Unix(sec, 0).UTC().Format("2006-01-02 15:04 UTC"), true
}
