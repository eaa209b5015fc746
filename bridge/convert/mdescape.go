package convert

import (
	"slices"
	"strings"
	"unicode"
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

// A segment is a piece of a line in one style, escaped.
type segment struct {
	text    string
	style   style
	blank   bool // only blanks, which may be in any style
	address bool // goes on up to the next blank, whatever is written after it
	mention bool // notifies only after a blank
}

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

// linkLength returns how many runs share the link that the first one has.
func linkLength(runs []run) int {
	n := 0
	for n < len(runs) && runs[n].kind == plainText && runs[n].target != "" && runs[n].target == runs[0].target {
		n++
	}
	return n
}

// An escaper turns the runs of a line into segments.
type escaper struct {
	segments []segment
	left     [256]int // of each mark, how many more come
	prev     byte     // the last byte written
	prevFree bool     // it was an ordinary character, not an escaped one
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
	case preformatted:
		e.whole(r, r.text)
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
		start = !e.prevFree || isNameStop(s[i-1])
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

// word writes an address, or a word with an underscore after it, as it is, and
// returns its length, or 0 when there is none.
func (e *escaper) word(s string, st style) int {
	if n := emailSpan(s); n > 0 && st&emphasis == 0 {
		e.whole(run{text: s[:n], style: st}, s[:n])
		return n
	}
	if s[0] == '@' || s[0] == '#' && e.prev != '\\' { // underscores belong to a name
		n := nameSpan(s[1:])
		if n > 0 {
			n++
			e.whole(run{text: s[:n], style: st}, s[:n])
		}
		return n
	}
	n := autoSpan(s)
	switch {
	case e.breakDot:
		n = 0
	case n > 0 && st&emphasis == 0:
		return e.address(s, n, st)
	case n > 0 && linkable(s[:n]):
		e.linked(s[:n], st)
		return n
	}
	if st&italic == 0 {
		n = wordThenUnderscore(s)
		if n > 0 {
			e.whole(run{text: s[:n], style: st}, s[:n])
		}
		return n
	}
	return 0
}

// address writes an address of n bytes and what ends the sentence after it, which
// is found not to belong to it. When that could begin emphasis it has to be
// escaped, and then the address must not go on up to the next blank.
func (e *escaper) address(s string, n int, st style) int {
	end := n + len(s[n:]) - len(strings.TrimLeft(s[n:], addressEnd))
	if !e.opens(s[:end], s[n:end]) {
		e.whole(run{text: s[:end], style: st}, s[:end])
		e.segments[len(e.segments)-1].address = end == len(s)
		return end
	}
	if linkable(s[:n]) && linkPart(s[:n]) == s[:n] {
		e.linked(s[:n], st)
		return n
	}
	dot := strings.IndexByte(s, '.')
	if dot < 0 || dot > n { // localhost
		return 0
	}
	e.whole(run{text: s[:dot], style: st}, s[:dot])
	e.escaped('.', st)
	return dot + 1
}

// opens reports whether a mark at the end of text has another after it.
func (e *escaper) opens(text, end string) bool {
	for _, c := range []byte("*~") {
		if k := strings.Count(end, string(c)); k > 1 || k == 1 && e.left[c] > strings.Count(text, string(c)) {
			return true
		}
	}
	return false
}

// linkable reports whether an address can be written as <url|url>.
func linkable(s string) bool {
	_, ok := linkTarget(s)
	return ok && hasScheme(s) && !strings.ContainsAny(s, "<>|")
}

// linked writes an address in the form that ends where it ends.
func (e *escaper) linked(address string, st style) {
	e.whole(run{text: address, style: st}, "<"+linkPart(address)+"|"+address+">")
}

// isNameStop reports whether a token can start after c.
func isNameStop(c byte) bool { return c == 0 || strings.IndexByte(plainStop, c) >= 0 }

// char writes the next character of s, escaped if need be, and returns its length.
func (e *escaper) char(s string, i int, st style) int {
	c := s[i]
	switch {
	case strings.IndexByte(countedMarks, c) >= 0:
		e.left[c]--
		own := st&markStyles[c] != 0
		if own || e.left[c] > 0 || e.prev == '\\' {
			e.escaped(c, st)
			return 1
		}
	case c == '|':
		e.left[c]--
		if e.prev == '|' && e.prevFree && (e.left[c] > 1 || st&spoiler != 0) {
			e.add(zeroWidth, st)
		}
	case e.prev == '\\' && strings.IndexByte(escapable, c) >= 0:
		e.escaped(c, st)
		return 1
	case c == '(' && e.prev == '\\' && strings.Contains(s[i:min(len(s), i+maxFormula)], `\)`), c == '[' && e.prev == '\\':
		e.add(zeroWidth, st)
	case c == '(' && e.prev == ']' && looksLikeAddress(s[i+1:]):
		e.add(zeroWidth, st)
	case c == '<' && startsAngle(s[i:]):
		e.add("<", st)
		if hostSpan(s[i+1:]) > 0 {
			e.breakDot = true
		} else {
			e.add(zeroWidth, st)
		}
		return 1
	case c == '.' && e.breakDot:
		e.breakDot = false
		e.escaped(c, st)
		return 1
	}
	n := 1
	if c >= utf8.RuneSelf {
		_, n = utf8.DecodeRuneInString(s[i:])
	} else if isASCIIAlnum(c) {
		n = plainWord(s[i:])
	}
	e.add(s[i:i+n], st)
	return n
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

// looksLikeAddress reports whether a link's address stands before the next ")".
func looksLikeAddress(s string) bool {
	s, _, ok := strings.Cut(s[:min(len(s), maxURL)], ")")
	return ok && !strings.ContainsAny(s, " \t") && (strings.Contains(s, ":") || hostSpan(s) > 0 || strings.HasPrefix(s, "//") || strings.HasPrefix(s, "+"))
}

// startsAngle recognises <url|text> and <t:0123456789>.
func startsAngle(s string) bool {
	if strings.HasPrefix(s, "<t:") {
		return true
	}
	url, rest, ok := strings.Cut(s[1:min(len(s), maxURL)], "|")
	return ok && url != "" && !strings.ContainsAny(url, " \t<>") && strings.Contains(rest, ">")
}

// joinSegments writes segments with the marks of their styles around them. Marks
// open before a visible character and close after one, because Rocket.Chat takes
// "* a*" for an item of a list.
func joinSegments(segments []segment) string {
	settleBlanks(segments)
	settleMentions(segments)
	segments = endAddresses(segments)
	var w lineWriter
	for _, s := range segments {
		w.to(s)
		w.WriteString(s.text)
		w.last = s.text[len(s.text)-1]
		w.escaped = len(s.text) == 2 && s.text[0] == '\\'
	}
	w.to(segment{})
	return w.String()
}

// settleMentions lets no emphasis begin right before a mention: the mark would
// keep it from notifying anybody.
func settleMentions(segments []segment) {
	before := style(0)
	for i := range segments {
		if segments[i].mention {
			segments[i].style &= before | spoiler
		}
		before = segments[i].style
	}
}

// endAddresses keeps what follows an address directly, such as the end of a
// spoiler, from becoming part of it.
func endAddresses(segments []segment) []segment {
	var out []segment
	for i, s := range segments {
		next := segment{blank: true}
		if i+1 < len(segments) {
			next = segments[i+1]
		}
		if !s.address || next.blank && next.style == s.style {
			out = append(out, s)
			continue
		}
		if linkable(s.text) {
			s.text = "<" + linkPart(s.text) + "|" + s.text + ">"
			out = append(out, s)
			continue
		}
		out = append(out, s, segment{text: " ", blank: true, style: s.style & next.style})
		if s.style != next.style { // the blank has to come before what closes
			out[len(out)-1].style = s.style
		}
	}
	return out
}

// settleBlanks takes from blanks the styles that not both their neighbours have.
func settleBlanks(segments []segment) {
	before := style(0)
	for i := range segments {
		if !segments[i].blank {
			before = segments[i].style
			continue
		}
		j := i
		for j < len(segments) && segments[j].blank {
			j++
		}
		after := style(0)
		if j < len(segments) {
			after = segments[j].style
		}
		segments[i].style &= before & after
	}
}

// A lineWriter opens and closes marks.
type lineWriter struct {
	strings.Builder
	open    []style
	last    byte
	escaped bool // the last character was
}

var styleMarks = map[style]string{bold: "*", italic: "_", strike: "~", spoiler: "||"}

// to makes the open marks those of a segment that is written next.
func (w *lineWriter) to(next segment) {
	var want []style
	for _, s := range []style{spoiler, bold, italic, strike} {
		if next.style&s != 0 {
			want = append(want, s)
		}
	}
	keep := stays(w.open, want, func(s style) bool { return s == spoiler })
	closedItalic := false
	for len(w.open) > keep {
		s := w.open[len(w.open)-1]
		w.open = w.open[:len(w.open)-1]
		w.apart(w.last == '\\' && !w.escaped || s == italic && w.afterName())
		w.mark(s)
		closedItalic = s == italic
	}
	for _, s := range want {
		if slices.Contains(w.open, s) {
			continue
		}
		inWord := s == italic && (isASCIIAlnum(w.last) || w.last == '_' && !w.escaped)
		w.apart(inWord || w.last == '\\' && !w.escaped)
		w.mark(s)
		w.open = append(w.open, s)
		closedItalic = false
	}
	if next.mention && w.Len() > 0 && strings.IndexByte(" \t>", w.last) < 0 {
		w.WriteByte(' ')
		return
	}
	w.apart(closedItalic && next.text != "" && isASCIIAlnum(next.text[0]))
}

// afterName reports whether a name was written last, which an underscore would
// become part of.
func (w *lineWriter) afterName() bool {
	s := w.String()
	s = s[max(0, len(s)-maxNameSpan):]
	s = s[strings.LastIndexAny(s, " \t")+1:]
	return strings.ContainsAny(s, "@#") || w.last == everyone[0]
}

func (w *lineWriter) mark(s style) {
	m := styleMarks[s]
	w.WriteString(m)
	w.last, w.escaped = m[0], true
}

func (w *lineWriter) apart(needed bool) {
	if needed {
		w.WriteString(zeroWidth)
		w.last, w.escaped = zeroWidth[len(zeroWidth)-1], false
	}
}

// link writes [label](address), or the address alone when that is the label.
func (e *escaper) link(runs []run) {
	st, label := emphasis|spoiler, ""
	for _, r := range runs {
		e.uncount(r)
		st &= r.style
		label += r.text
	}
	all := run{text: label, style: st}
	target := linkPart(runs[0].target)
	switch {
	case strings.TrimSpace(label) == "":
		e.whole(all, label)
	case label == runs[0].target && st&emphasis == 0 && autoSpan(label) == len(label) && isNameStop(e.prev):
		e.whole(all, label)
	case quietLabel(label):
		e.whole(all, "["+label+"]("+target+")")
	case !strings.ContainsAny(label, "<>|"):
		e.whole(all, "<"+target+"|"+label+">")
	default:
		e.text(label+" ", st)
		e.whole(run{style: st}, "<"+target+"|"+target+">")
	}
}

// quietLabel reports whether nothing in a link's text would be taken for markup:
// nothing in it can be escaped.
func quietLabel(s string) bool {
	for _, c := range []string{"*", "~", "_", "||"} {
		if strings.Count(s, c) > 1 {
			return false
		}
	}
	return !strings.ContainsAny(s, "[]\n<>:") && !strings.HasSuffix(s, `\`)
}

// linkPart writes an address so that it ends where it should.
func linkPart(s string) string {
	var b strings.Builder
	for _, r := range s {
		if strings.ContainsRune(`()<>|[]\ "`+"`", r) || unicode.IsSpace(r) || unicode.IsControl(r) {
			for _, c := range []byte(string(r)) {
				b.WriteString("%" + string("0123456789ABCDEF"[c>>4]) + string("0123456789ABCDEF"[c&15]))
			}
			continue
		}
		b.WriteRune(r)
	}
	return b.String()
}
