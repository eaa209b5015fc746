package grammar

import (
	"slices"
	"strings"
	"unicode/utf8"
)

// fail is the position returned if nothing was found.
const fail = -1

// Marks that are not looked for inside themselves.
const (
	inBold uint8 = 1 << iota
	inItalic
	inStrike
	inLink
)

// A parser reads one text.
type parser struct {
	s     string
	d     Dialect
	skip  uint8 // what must not begin now
	steps int   // how many more rules may be tried
	depth int
	memo  map[memoKey]memoEntry
	marks struct{ from, to int } // where a mark was last found repeated
}

// budget is how many rules may be tried per byte. Honest texts need a few dozen.
const (
	budget   = 100
	maxDepth = 400
)

func newParser(s string, d Dialect) *parser {
	if d == 0 {
		d = Default
	}
	return &parser{s: s, d: d, steps: budget*len(s) + 20_000}
}

// spend reports whether another rule may be tried.
func (p *parser) spend() bool {
	p.steps--
	return p.steps > 0
}

func (p *parser) at(i int) byte {
	if i < len(p.s) {
		return p.s[i]
	}
	return 0
}

func (p *parser) is(i int, s string) bool { return strings.HasPrefix(p.s[min(i, len(p.s)):], s) }

// rune returns the character at i and its length, 0 at the end.
func (p *parser) rune(i int) (rune, int) {
	if i >= len(p.s) {
		return 0, 0
	}
	if c := p.s[i]; c < utf8.RuneSelf {
		return rune(c), 1
	}
	return utf8.DecodeRuneInString(p.s[i:])
}

// span returns the end of the characters from i on that are in a set.
func (p *parser) span(i int, in func(rune) bool) int {
	for {
		r, n := p.rune(i)
		if n == 0 || !in(r) {
			return i
		}
		i += n
	}
}

// upTo returns the position of the first of some characters, or the end.
func (p *parser) upTo(i int, set string) int {
	n := strings.IndexAny(p.s[i:], set)
	if n < 0 {
		n = len(p.s) - i
	}
	p.steps -= n / 32
	return i + n
}

// class returns the position after a character of a set.
func (p *parser) class(i int, in func(rune) bool) int {
	r, n := p.rune(i)
	if n == 0 || !in(r) {
		return fail
	}
	return i + n
}

func (p *parser) endOfLine(i int) int {
	switch {
	case i >= len(p.s):
		return fail
	case p.is(i, "\r\n"):
		return i + 2
	case p.s[i] == '\n' || p.s[i] == '\r':
		return i + 1
	}
	return fail
}

func (p *parser) isEndOfLine(i int) bool { return p.endOfLine(i) >= 0 }

func isSpace(r rune) bool { return r == ' ' || r == '\t' }

func (p *parser) spaces(i int) int {
	for i < len(p.s) && (p.s[i] == ' ' || p.s[i] == '\t') {
		i++
	}
	return i
}

func (p *parser) isSpace(i int) bool { return i < len(p.s) && (p.s[i] == ' ' || p.s[i] == '\t') }

func (p *parser) whitespace(i int) (Node, int) {
	j := p.spaces(i)
	if j == i {
		return Node{}, fail
	}
	return Node{Text: p.s[i:j]}, j
}

// any reads one character of a line. V31 also reads a telephone number and an
// address after it.
func (p *parser) any(i int) (Node, int) {
	_, n := p.rune(i)
	if n == 0 || p.s[i] == '\n' || p.s[i] == '\r' {
		return none()
	}
	j := i + n
	if p.d == V31 && p.spend() {
		if _, _, k := p.phone(j); k >= 0 {
			j = k
		}
		if k := p.addressHead(j); k >= 0 {
			j = p.urlBody(k, isOldURLBody)
		}
	}
	return text(p.s[i:j]), j
}

func text(s string) Node { return Node{Text: s} }

func none() (Node, int) { return Node{}, fail }

// Join merges neighbouring texts, and turns shortcodes and emoticons into text if
// they are directly beside text or other emoji.
func Join(nodes []Node) []Node {
	flat := ungroup(nodes)
	out := make([]Node, 0, len(flat))
	var pending strings.Builder // the text of the last node, while it grows
	for i, n := range flat {
		if n.Kind == Emoji && n.Target != "" && (i > 0 && Crowds(flat[i-1]) || i+1 < len(flat) && Crowds(flat[i+1])) {
			n = text(n.Text)
		}
		last := len(out) - 1
		if n.Kind != Text || last < 0 || out[last].Kind != Text {
			if pending.Len() > 0 {
				out[last].Text = pending.String()
				pending.Reset()
			}
			out = append(out, n)
			continue
		}
		if pending.Len() == 0 {
			pending.WriteString(out[last].Text)
		}
		pending.WriteString(n.Text)
	}
	if pending.Len() > 0 {
		out[len(out)-1].Text = pending.String()
	}
	return out
}

// ungroup replaces groups by their members.
func ungroup(nodes []Node) []Node {
	first := slices.IndexFunc(nodes, func(n Node) bool { return n.Kind == group })
	if first < 0 {
		return nodes
	}
	flat := slices.Clone(nodes[:first])
	for _, n := range nodes[first:] {
		if n.Kind == group {
			flat = append(flat, n.Kids...)
		} else {
			flat = append(flat, n)
		}
	}
	return flat
}

// Crowds reports whether a node turns a shortcode beside it into text.
func Crowds(n Node) bool {
	return n.Kind == Emoji || n.Kind == Text && strings.TrimSpace(n.Text) != ""
}
