package convert

import (
	"slices"
	"strings"
	"unicode/utf8"

	"appliance/bridge/convert/internal/grammar"
)

// A cell is the smallest thing that a line shows: a character, or an equivalent
// such as a mention. Lines with the same cells look the same.
type cell struct {
	text   string
	style  style
	target string
	piece  int // the piece that it belongs to, and where in its text
	at     int
}

func (c cell) same(d cell) bool {
	return c.text == d.text && c.target == d.target && (c.style == d.style || c.text == " " || c.text == "\t" || c.text == "\u00a0")
}

// textCells appends the cells of ordinary text.
func textCells(cells []cell, s string, like cell) []cell {
	cells = slices.Grow(cells, utf8.RuneCountInString(s))
	for i := 0; i < len(s); {
		_, n := utf8.DecodeRuneInString(s[i:])
		if s[i:i+n] != zeroWidth {
			c := like
			c.text, c.at = s[i:i+n], i
			cells = append(cells, c)
		}
		i += n
	}
	return cells
}

// cells appends the cells that a piece shows.
func (p *piece) cells(cells []cell, n int) []cell {
	like := cell{style: p.style, piece: n}
	one := func(text string) []cell {
		like.text = text
		return append(cells, like)
	}
	switch {
	case p.label != nil:
		if !showsItself(p.text, p.target) {
			like.target = linkPart(p.target)
		}
		for _, r := range p.label {
			c := like
			c.style |= r.style
			cells = textCells(cells, r.text, c)
		}
		return cells
	case p.kind == inlineCode:
		return one("`" + p.text)
	case p.kind == inlineMath:
		return one(`\(` + p.text)
	case p.kind == userMention:
		return one("@" + p.target)
	case p.kind == roomMention:
		return one("@all")
	case p.kind == channelLink:
		return one("#" + p.target)
	case p.kind == emoticon:
		return one(":" + strings.Trim(p.text, ":"))
	}
	return textCells(cells, p.text, like)
}

// nodeCells appends the cells that nodes of the grammar show.
func nodeCells(cells []cell, nodes []grammar.Node, like cell) []cell {
	for _, n := range nodes {
		one := func(text string) {
			c := like
			c.text = text
			cells = append(cells, c)
		}
		switch n.Kind {
		case grammar.Bold, grammar.Italic, grammar.Strike, grammar.Spoiler:
			inside := like
			inside.style |= nodeStyles[n.Kind]
			cells = nodeCells(cells, n.Kids, inside)
		case grammar.Link:
			inside := like
			if !showsItself(nodesText(n.Kids), n.Target) {
				inside.target = linkPart(n.Target)
			}
			cells = nodeCells(cells, n.Kids, inside)
		case grammar.Code:
			one("`" + n.Text)
		case grammar.Math:
			one(`\(` + n.Text)
		case grammar.User:
			one("@" + n.Text)
		case grammar.Channel:
			one("#" + n.Text)
		case grammar.Emoji:
			if n.Target == "" {
				cells = textCells(cells, n.Text, like)
				continue
			}
			one(":" + n.Target)
		case grammar.Image, grammar.Time, grammar.Color:
			one("\x00" + n.Text + n.Target)
		default:
			if len(n.Kids) > 0 {
				cells = nodeCells(cells, n.Kids, like)
				continue
			}
			cells = textCells(cells, n.Text, like)
		}
	}
	return cells
}

// firstDifference returns the index of the first cells that differ.
func firstDifference(want, got []cell) int {
	for i := range min(len(want), len(got)) {
		if !want[i].same(got[i]) {
			return i
		}
	}
	return min(len(want), len(got))
}
