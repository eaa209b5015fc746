package convert

import (
	"strings"
	"unicode/utf8"
)

// What a Matrix person wrote as plain text has to look the same in Rocket.Chat,
// and people there see the source when they quote or edit, so characters are
// escaped only where they would change the look:
//
//   - "*", "_", "~" and "`" when another of the kind follows in the line and this
//     one could begin something: "2*3" stays, "2*3*4" becomes "2\*3*4";
//   - a backslash only together with what follows it;
//   - "||", "](", "<url|" and "\(" cannot be escaped: zeroWidth comes between.
//
// Inside of emphasis Rocket.Chat knows no escapes, so the emphasis is interrupted
// for the character.

// line writes runs as one line of markdown.
func (p mdPrinter) line(runs []run) string {
	e := escaper{}
	e.count(runs)
	for i := 0; i < len(runs); {
		n := linkLength(runs[i:])
		if n > 0 {
			e.link(runs[i : i+n])
			i += n
			continue
		}
		e.run(runs[i])
		i++
	}
	return joinSegments(e.segments)
}

// An escaper turns the runs of a line into segments.
type escaper struct {
	segments []segment
	left     [256]int // of each mark, how many more come
	prev     byte     // the last byte written
	prevFree bool     // it was an ordinary character, not an escaped one
	bracket  bool     // a "[" was written
	breakDot bool     // the next dot has to be escaped, to make no address of a word
}

const countedMarks = "*_~`"

// count finds out which marks the line will hold.
func (e *escaper) count(runs []run) {
	for _, r := range runs {
		for i := range len(r.text) {
			if c := r.text[i]; strings.IndexByte(countedMarks, c) >= 0 || c == '|' {
				e.left[c]++
			}
		}
		for c, s := range markStyles {
			if r.style&s != 0 {
				e.left[c] += 2
			}
		}
		if r.kind == inlineCode {
			e.left['`'] += 2
		}
	}
}

// uncount takes the marks of a run's style off, once it is being written.
func (e *escaper) uncount(r run) {
	for c, s := range markStyles {
		if r.style&s != 0 {
			e.left[c] -= 2
		}
	}
	if r.kind == inlineCode {
		e.left['`'] -= 2
	}
}

func (e *escaper) add(text string, st style) {
	if text == "" {
		return
	}
	e.segments = append(e.segments, segment{text: text, style: st, blank: strings.Trim(text, " \t") == ""})
	e.bracket = e.bracket || strings.IndexByte(text, '[') >= 0
	e.prev, e.prevFree = text[len(text)-1], true
}

// whole writes something whose marks are not looked at.
func (e *escaper) whole(r run, text string) {
	for i := range len(r.text) {
		if c := r.text[i]; strings.IndexByte(countedMarks, c) >= 0 || c == '|' {
			e.left[c]--
		}
	}
	e.add(text, r.style)
}

func (e *escaper) run(r run) {
	e.uncount(r)
	switch r.kind {
	case inlineCode:
		if strings.TrimSpace(r.text) != "" && !strings.Contains(r.text, "`") {
			e.whole(r, "`"+r.text+"`")
			return
		}
		e.text(r.text, r.style)
	case inlineMath:
		if strings.Contains(r.text, `\)`) || strings.TrimSpace(r.text) == "" {
			e.text(r.text, r.style)
			return
		}
		r.style &^= emphasis
		e.whole(r, `\(`+r.text+`\)`)
	case userMention, channelLink:
		e.mention(r)
	case roomMention:
		e.whole(r, everyone)
		e.segments[len(e.segments)-1].mention = true
		e.prev = nameEnd
	default:
		e.text(r.text, r.style)
	}
}

// mention writes @name or #name.
func (e *escaper) mention(r run) {
	sigil := "@"
	if r.kind == channelLink {
		sigil = "#"
	}
	e.whole(r, sigil+r.target)
	e.segments[len(e.segments)-1].mention = true
	e.prev = nameEnd
}

// nameEnd stands for the last character of a mention.
const nameEnd = '@'

// text writes ordinary text.
func (e *escaper) text(s string, st style) {
	start := true
	for i := 0; i < len(s); {
		if e.prev == nameEnd && i == 0 {
			i += e.afterName(s, st)
			start = false
			continue
		}
		n := 0
		if start {
			n = e.word(s[i:], st)
		}
		if n == 0 {
			n = e.char(s, i, st)
		}
		i += n
		start = (!e.prevFree || isNameStop(s[i-1])) && e.prev != zeroWidth[len(zeroWidth)-1]
	}
}

// afterName keeps text apart from the mention before it.
func (e *escaper) afterName(s string, st style) int {
	e.prev = ' '
	r, size := utf8.DecodeRuneInString(s)
	next, _ := utf8.DecodeRuneInString(s[size:])
	switch {
	case r == '.' || r == '_':
		if r == '_' {
			e.left['_']--
		}
		e.escaped(byte(r), st)
		return 1
	case isNameChar(r), (r == ':' || r == '@') && isNameChar(next):
		e.add(" ", 0)
	}
	return 0
}

// isNameStop reports whether a token can start after c.
func isNameStop(c byte) bool { return c == 0 || strings.IndexByte(plainStop, c) >= 0 }

// char writes the next character of s, escaped if need be, and returns its length.
func (e *escaper) char(s string, i int, st style) int {
	switch c := s[i]; {
	case strings.IndexByte(countedMarks, c) >= 0:
		e.left[c]--
		if st&markStyles[c] != 0 || e.left[c] > 0 || e.prev == '\\' {
			e.escaped(c, st)
			return 1
		}
	case e.prev == '\\' && strings.IndexByte(escapable, c) >= 0, c == '.' && e.breakDot:
		e.breakDot = e.breakDot && c != '.'
		e.escaped(c, st)
		return 1
	case c == '<' && startsAngle(s[i:]):
		e.angle(s[i:], st)
		return 1
	default:
		if e.joins(s, i, st) {
			e.add(zeroWidth, st)
		}
	}
	n := 1
	if c := s[i]; c >= utf8.RuneSelf {
		_, n = utf8.DecodeRuneInString(s[i:])
	} else if isASCIIAlnum(c) {
		n = plainWord(s[i:])
	}
	e.add(s[i:i+n], st)
	return n
}

// joins reports whether the character at i would be markup together with the one
// before it.
func (e *escaper) joins(s string, i int, st style) bool {
	switch c := s[i]; {
	case c == '|':
		e.left[c]--
		return e.prev == '|' && e.prevFree && (e.left[c] > 1 || st&spoiler != 0)
	case c == '(' && e.prev == '\\':
		return strings.Contains(s[i:min(len(s), i+maxFormula)], `\)`)
	case c == '(' && e.prev == ']':
		return looksLikeAddress(s[i+1:])
	case c == '[':
		return e.prev == '\\'
	}
	return false
}

// angle writes a "<" that would begin a link, so that it does not. A name without
// a scheme is an address as long as there is a dot in it; what keeps other things
// apart from the "<" would itself be part of a name.
func (e *escaper) angle(s string, st style) {
	e.add("<", st)
	if hostSpan(s[1:]) > 0 || hostSpan(zeroWidth+s[1:]) > 0 {
		e.breakDot = true
	} else {
		e.add(zeroWidth, st)
	}
}

// plainWord returns the length of the letters and digits at the beginning.
func plainWord(s string) int {
	n := 1
	for n < len(s) && isASCIIAlnum(s[n]) {
		n++
	}
	return n
}

func (e *escaper) escaped(c byte, st style) {
	e.add(`\`+string(c), st&^emphasis)
	e.prevFree = false
}
