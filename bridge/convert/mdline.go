package convert

import (
	"slices"
	"strings"

	"appliance/bridge/convert/internal/grammar"
)

// What a Matrix user wrote has to mean the same in Rocket.Chat, and people there
// see the source when they quote or edit, so nothing is escaped unnecessarily. A
// line is written as it is, then read by Rocket.Chat's own grammar, piece by piece;
// where the result is not the intended one, the line is changed at that place and
// read again:
//
//   - a character that a backslash can escape gets one; inside emphasis
//     Rocket.Chat supports no escapes, so the emphasis is interrupted for it;
//   - other characters that are markup only together are kept apart by zeroWidth;
//   - emphasis is tried with doubled marks, links in their other form.
//
// What cannot be expressed at all loses its style, never its text.

// A piece is a part of a line that looks the same throughout.
type piece struct {
	run
	label  []run          // of a link
	insert map[int]string // what to insert before the byte of text at an offset
	double bool           // its marks are doubled
	form   int            // of a link
	tried  int            // how often it was changed as a whole
	spots  map[int]int    // how often it was changed at an offset
}

// isText reports whether a piece is ordinary text without any style.
func (p *piece) isText() bool { return p.kind == plainText && p.label == nil && p.style == 0 }

// source returns the written form of a piece from an offset of its text on.
func (p *piece) source(from int) string {
	switch {
	case p.label != nil:
		return linkSource(p.label, p.target, p.form)
	case p.kind == inlineCode:
		return "`" + p.text + "`"
	case p.kind == inlineMath:
		return `\(` + p.text + `\)`
	case p.kind == userMention:
		return "@" + p.target
	case p.kind == channelLink:
		return "#" + p.target
	case p.kind == roomMention:
		return "@all"
	case len(p.insert) == 0:
		return p.text[from:]
	}
	var b strings.Builder
	for i := from; i <= len(p.text); i++ {
		b.WriteString(p.insert[i])
		if i < len(p.text) {
			b.WriteByte(p.text[i])
		}
	}
	return b.String()
}

// put inserts something at an offset of the text. A backslash stays right before what
// it escapes, and is never doubled.
func (p *piece) put(at int, s string) {
	if p.insert == nil {
		p.insert = map[int]string{}
	}
	switch had := p.insert[at]; {
	case !strings.HasSuffix(had, `\`):
		p.insert[at] = had + s
	case s != `\`:
		p.insert[at] = s + had
	}
}

// A lineWriter writes one line.
type lineWriter struct {
	d      Dialect
	after  string // what follows the line
	pieces []piece
	out    []byte

	k, from  int      // the piece that comes next, and where in its text
	skip     int      // how much of what is inserted there is written
	back     textSpot // in the ordinary text at k, to return to after a change
	open     bool     // since then something was written that may be a mark
	rest     string   // the written form of everything from there on
	closed   []int    // for each piece, where it ends and no mark is open; -1 while one is
	starts   []int    // for each piece, where it begins
	done     int      // how much of what closed and starts count is written
	crowded  bool     // what was written last turns an emoticon into text
	patience int      // how many changes are left
	effort   *int     // how much work is left for the whole message
	cell     bool     // of a table
	changes  int      // how often ordinary text was changed
	goesOn   bool     // after is the rest of the same line
	noLinks  bool     // no form of link worked for an address
}

// maxLine bounds what is written in one go.
const maxLine = 2 << 10

// writePieces writes a line, or a table cell, that is followed by after.
func writePieces(pieces []piece, d Dialect, after string, cell bool, effort *int) string {
	parts := chunks(pieces)
	out := make([]string, len(parts))
	for i := len(parts) - 1; i >= 0; i-- {
		w := lineWriter{d: d, after: after, pieces: parts[i], cell: cell, effort: effort, patience: 60 + 4*len(parts[i]), goesOn: i+1 < len(parts)}
		out[i] = w.write()
		after = cutText(out[i]+after, maxAfter)
	}
	return strings.Join(out, "")
}

// harmless returns the text of runs if nothing in it could be markup.
func harmless(runs []run) (string, bool) {
	if len(runs) == 0 {
		return "", true
	}
	if len(runs) > 1 || runs[0].kind != plainText || runs[0].style != 0 || runs[0].target != "" {
		return "", false
	}
	s := runs[0].text
	for i := range len(s) {
		if c := s[i]; c < 0x80 && !isASCIIAlnum(c) && strings.IndexByte(" ,.?\"&/$^{}", c) < 0 {
			return "", false
		}
	}
	return s, true
}

func isASCIIAlpha(c byte) bool { return c|0x20 >= 'a' && c|0x20 <= 'z' }
func isASCIIAlnum(c byte) bool { return isASCIIAlpha(c) || c >= '0' && c <= '9' }

// chunks splits a line that is too long to be written in one go.
func chunks(pieces []piece) [][]piece {
	var out [][]piece
	size, first := 0, 0
	for i := 0; i < len(pieces); i++ {
		p := &pieces[i]
		if p.kind == plainText && p.label == nil && len(p.text) > maxLine {
			n := strings.LastIndexByte(p.text[:maxLine], ' ') + 1
			if n == 0 || p.style != 0 {
				n = len(cutText(p.text, maxLine))
			}
			rest := piece{run: run{text: p.text[n:], style: p.style}}
			p.text = p.text[:n]
			pieces = slices.Insert(pieces, i+1, rest)
			p = &pieces[i]
		}
		if size += len(p.text) + 16; size > maxLine {
			out = append(out, slices.Clone(pieces[first:i+1]))
			size, first = 0, i+1
		}
	}
	if first < len(pieces) {
		out = append(out, slices.Clone(pieces[first:]))
	}
	return out
}

// write writes the line.
func (w *lineWriter) write() string {
	if *w.effort > 0 {
		w.emit()
	}
	for w.k < len(w.pieces) {
		if *w.effort <= 0 {
			w.plainly()
			break
		}
		if w.pieces[w.k].isText() {
			w.text()
		} else {
			lineChanger{w}.group()
		}
	}
	return string(w.out)
}

// emit determines the written form of everything that is left.
func (w *lineWriter) emit() {
	m := markWriter{}
	w.starts, w.closed, w.done = w.starts[:0], w.closed[:0], 0
	for range w.k {
		w.starts, w.closed = append(w.starts, -1), append(w.closed, -1)
	}
	if w.k < len(w.pieces) {
		w.skip = min(w.skip, len(w.pieces[w.k].insert[w.from]))
	}
	from, skip := w.from, w.skip
	for i := w.k; i < len(w.pieces); i++ {
		p := &w.pieces[i]
		m.to(p.style, p.double)
		w.starts = append(w.starts, m.Len())
		m.WriteString(p.source(from)[skip:])
		from, skip = 0, 0
		next := style(0)
		if i+1 < len(w.pieces) {
			next = w.pieces[i+1].style
		}
		if p.style&next == 0 {
			m.to(0, false)
		}
		end := -1
		if len(m.open) == 0 {
			end = m.Len()
		}
		w.closed = append(w.closed, end)
	}
	m.WriteString(w.after)
	w.rest = m.String()
	*w.effort -= len(w.rest)/8 + len(w.pieces)
}

// inline reads the node that a text begins with.
func (w *lineWriter) inline(text string) (grammar.Node, int) {
	node, n, cost := grammar.InlineCost(text, w.d)
	*w.effort -= cost
	return node, n
}

// plainly writes what is left without any style, and with all marks escaped, which
// requires no reading. It is for texts that are designed to be hard to write.
func (w *lineWriter) plainly() {
	if p := &w.pieces[w.k]; w.from > 0 {
		p.text, p.insert, w.from, w.skip = p.text[min(w.from, len(p.text)):], nil, 0, 0
	}
	for i := w.k; i < len(w.pieces); i++ {
		p := &w.pieces[i]
		if p.label != nil && !strings.Contains(p.text, p.target) {
			p.text += " " + p.target
		}
	}
	w.flatten(len(w.pieces) - 1)
	for ; w.k < len(w.pieces); w.k++ {
		p := &w.pieces[w.k]
		p.insert = escapes(p.text, 0)
		s := p.source(0)
		if w.cell {
			s = strings.ReplaceAll(s, "|", `\|`)
		}
		w.out = append(w.out, s...)
	}
}

// take writes the first n bytes of what is left, which belong to piece k.
func (w *lineWriter) take(n int, node grammar.Node) {
	s := w.rest[:n]
	if p := &w.pieces[w.k]; p.kind == roomMention {
		s = strings.Replace(s, "@all", everyone, 1)
	}
	w.out = append(w.out, s...)
	w.rest = w.rest[n:]
	w.done += n
	w.crowded = grammar.Crowds(node)
}

// end returns where piece i ends in what is left.
func (w *lineWriter) end(i int) int { return w.closed[i] - w.done }

// A markWriter opens and closes marks.
type markWriter struct {
	strings.Builder
	open []openMark
}

type openMark struct {
	style  style
	double bool
}

func (m openMark) String() string {
	s := styleMarks[m.style]
	if m.double && m.style != spoiler {
		s += s
	}
	return s
}

var styleMarks = map[style]string{bold: "*", italic: "_", strike: "~", spoiler: "||"}

// to opens and closes marks so that those of a style are open.
func (m *markWriter) to(st style, double bool) {
	var want []openMark
	for _, s := range []style{spoiler, bold, italic, strike} {
		if st&s != 0 {
			want = append(want, openMark{s, double && len(want) == 0})
		}
	}
	keep := 0
	for keep < len(m.open) && st&m.open[keep].style != 0 {
		keep++
	}
	if st&spoiler != 0 && (keep == 0 || m.open[0].style != spoiler) {
		keep = 0
	}
	for len(m.open) > keep {
		m.WriteString(m.open[len(m.open)-1].String())
		m.open = m.open[:len(m.open)-1]
	}
	for _, o := range want {
		if !slices.ContainsFunc(m.open, func(x openMark) bool { return x.style == o.style }) {
			m.WriteString(o.String())
			m.open = append(m.open, o)
		}
	}
}

// linkSource writes a link in one of its forms.
func linkSource(label []run, target string, form int) string {
	target = linkPart(target)
	text := runsText(label)
	switch form {
	case 0:
		return text
	case 1:
		m := markWriter{}
		m.WriteString("[")
		for _, r := range label {
			m.to(r.style, false)
			m.WriteString(r.text)
		}
		m.to(0, false)
		return m.String() + "](" + target + ")"
	case 2:
		return "<" + target + "|" + text + ">"
	}
	return "<" + target + "|" + strings.NewReplacer("<", "‹", ">", "›", "|", "¦").Replace(text) + ">"
}

// linkForms is the number of forms of a link.
const linkForms = 4
