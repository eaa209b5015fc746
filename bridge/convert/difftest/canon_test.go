package difftest

import (
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"golang.org/x/net/html"
	"golang.org/x/net/html/atom"

	"appliance/bridge/convert"
)

// What both sides show is compared in one form: blocks, one per line, each with its
// kind and its contents with their look. Runs of blanks count as one, blanks and
// invisible text have no look, and empty lines do not count.

// A look is the style of a piece of text.
type look struct {
	bold, italic, strike, spoiler, code bool
	target                              string // of a link
}

// A shape collects blocks.
type shape struct {
	blocks []string
	kind   string // of the block being collected
	room   bool   // "@room" notifies everybody
	pieces []shapePiece
}

type shapePiece struct {
	text string
	look look
	atom bool // indivisible
}

func (s *shape) add(text string, l look) {
	s.pieces = append(s.pieces, shapePiece{text: text, look: l})
}

func (s *shape) atom(text string, l look) {
	s.pieces = append(s.pieces, shapePiece{text: text, look: l, atom: true})
}

// end ends a block.
func (s *shape) end() {
	var b strings.Builder
	last, blank := look{}, true
	write := func(text string, l look) {
		if l != last {
			b.WriteString(l.String())
			last = l
		}
		b.WriteString(text)
	}
	pending := false
	for _, p := range s.pieces {
		if p.atom {
			if pending {
				b.WriteByte(' ')
			}
			write("⟦"+p.text+"⟧", p.look)
			pending, blank = false, false
			continue
		}
		for _, r := range p.text {
			switch {
			case r == '\u200b':
			case unicode.IsSpace(r):
				pending = !blank
			default:
				if pending {
					b.WriteByte(' ')
				}
				pending, blank = false, false
				write(string(r), p.look)
			}
		}
	}
	if text := b.String(); text != "" {
		s.blocks = append(s.blocks, s.kind+"|"+text)
	}
	s.pieces = nil
}

func (l look) String() string {
	s := "{"
	for _, x := range []struct {
		on   bool
		mark string
	}{{l.bold, "b"}, {l.italic, "i"}, {l.strike, "s"}, {l.spoiler, "h"}, {l.code, "c"}} {
		if x.on {
			s += x.mark
		}
	}
	if l.target != "" {
		s += "→" + l.target
	}
	return s + "}"
}

func (s *shape) String() string { return strings.Join(s.blocks, "\n") }

// within collects blocks of the given kind.
func (s *shape) within(kind string, f func()) {
	before := s.kind
	s.kind = before + kind
	f()
	s.end()
	s.kind = before
}

// address normalizes the address of a link.
func address(s string) string {
	if strings.HasPrefix(s, "//") {
		s = "https:" + s
	}
	if !strings.Contains(s, ":") {
		s = "https://" + s
	}
	if plain, err := url.PathUnescape(s); err == nil {
		s = plain
	}
	return strings.TrimSuffix(s, "/")
}

// alone reports whether a link's text is its address.
func alone(label, target string) bool {
	short := func(s string) string {
		for _, p := range []string{"https://", "http://", "//", "mailto:", "tel:"} {
			s = strings.TrimPrefix(s, p)
		}
		return strings.TrimSuffix(strings.NewReplacer("(", "", ")", "", "-", "", "+", "").Replace(s), "/")
	}
	return label != "" && short(address(label)) == short(address(target))
}

// people are the people known to both sides.
var people = map[string]string{"ada": "@ada:example.org", "bob_matrix.org": "@bob:matrix.org"}

// ofTree returns what a tree from Rocket.Chat's parser shows.
func ofTree(tree []node) string {
	s := &shape{}
	s.tree(tree)
	s.end()
	return s.String()
}

func (s *shape) tree(list []node) {
	for _, n := range list {
		switch n.Type {
		case "PARAGRAPH", "BIG_EMOJI":
			s.nodes(n.kids(), look{})
			s.end()
		case "QUOTE":
			s.within("quote/", func() { s.tree(n.kids()) })
		case "SPOILER_BLOCK":
			for _, p := range n.kids() {
				s.nodes(p.kids(), look{spoiler: true})
				s.end()
			}
		case "HEADING":
			s.within("h"+strconv.Itoa(n.Level), func() { s.nodes(n.kids(), look{}) })
		case "CODE":
			for _, l := range n.kids() {
				s.within("code", func() { s.add(l.text(), look{}) })
			}
		case "UNORDERED_LIST":
			for _, it := range n.kids() {
				s.within("item", func() { s.nodes(it.kids(), look{}) })
			}
		case "ORDERED_LIST":
			for _, it := range n.kids() {
				s.within(strconv.Itoa(it.Number)+".", func() { s.nodes(it.kids(), look{}) })
			}
		case "TASKS":
			for _, it := range n.kids() {
				s.within("task"+strconv.FormatBool(it.Status), func() { s.nodes(it.kids(), look{}) })
			}
		case "TABLE":
			for _, row := range n.table() {
				s.within("row", func() {
					for _, cell := range row {
						s.nodes(cell.kids(), look{})
						s.atom("|", look{})
					}
				})
			}
		case "KATEX":
			s.within("math", func() { s.add(n.text(), look{}) })
		case "HORIZONTAL_RULE":
			s.within("rule", func() { s.atom("-", look{}) })
		}
	}
}

func (s *shape) nodes(list []node, l look) {
	for _, n := range list {
		inside := l
		switch n.Type {
		case "BOLD":
			inside.bold = true
			s.nodes(n.kids(), inside)
		case "ITALIC":
			inside.italic = true
			s.nodes(n.kids(), inside)
		case "STRIKE":
			inside.strike = true
			s.nodes(n.kids(), inside)
		case "SPOILER":
			inside.spoiler = true
			s.nodes(n.kids(), inside)
		case "INLINE_CODE":
			inside.code = true
			s.add(n.text(), inside)
		case "LINK", "IMAGE":
			target, label := n.link()
			if !alone(plainText(label), target) {
				inside.target = address(target)
			}
			if strings.TrimSpace(plainText(label)) == "" {
				s.add(target, l)
				continue
			}
			s.nodes(label, inside)
		case "MENTION_USER":
			switch name := n.text(); {
			case name == "all" || name == "here":
				s.atom("@room", l)
			case people[name] != "":
				s.atom("@"+people[name], l)
			default:
				s.add("@"+name, l)
			}
		case "MENTION_CHANNEL":
			if n.text() == "general" {
				s.atom("#general", l)
				continue
			}
			s.add("#"+n.text(), l)
		case "EMOJI":
			s.emoji(n, l)
		case "INLINE_KATEX":
			if strings.TrimSpace(n.text()) == "" {
				s.add(`\( \)`, l)
				continue
			}
			s.atom("$"+strings.TrimSpace(n.text()), l)
		case "TIMESTAMP":
			sec, _ := n.time()
			at, _ := strconv.ParseInt(sec, 10, 64)
			s.add(time.Unix(at, 0).UTC().Format("2006-01-02 15:04 UTC"), l)
		case "COLOR":
			var c struct{ R, G, B int }
			_ = unmarshal(n.Value, &c)
			s.add(fmt.Sprintf("color:#%02x%02x%02x", c.R, c.G, c.B), l)
		default:
			s.add(n.text(), l)
		}
	}
}

func (s *shape) emoji(n node, l look) {
	switch {
	case n.Unicode != "":
		s.add(n.Unicode, l)
	case n.ShortCode == "party_parrot":
		s.atom(":party_parrot:", l)
	default:
		if e, ok := convert.Unicode(n.ShortCode); ok {
			s.add(e, l)
		} else if n.text() == n.ShortCode {
			s.add(":"+n.ShortCode+":", l)
		} else {
			s.add(n.text(), l)
		}
	}
}

func plainText(list []node) string {
	var b strings.Builder
	for _, n := range list {
		b.WriteString(n.text())
		b.WriteString(plainText(n.kids()))
	}
	return b.String()
}

// ofText returns what plain text shows.
func ofText(text string, room bool) string {
	s := &shape{room: room}
	for _, l := range strings.Split(text, "\n") {
		s.words(l, look{})
		s.end()
	}
	return s.String()
}

// words adds text, in which "@room" may notify everybody.
func (s *shape) words(text string, l look) {
	for s.room {
		before, after, ok := strings.Cut(text, "@room")
		if !ok {
			break
		}
		s.add(before, l)
		s.atom("@room", l)
		text = after
	}
	s.add(text, l)
}

// ofHTML returns what the HTML of a Matrix message shows.
func ofHTML(source string, room bool) string {
	tree, err := html.ParseFragment(strings.NewReader(source), &html.Node{Type: html.ElementNode, Data: "body", DataAtom: atom.Body})
	if err != nil {
		return err.Error()
	}
	s := &shape{room: room}
	for _, n := range tree {
		s.element(n, look{})
	}
	s.end()
	return s.String()
}

func attribute(n *html.Node, key string) (string, bool) {
	for _, a := range n.Attr {
		if a.Key == key {
			return a.Val, true
		}
	}
	return "", false
}

func (s *shape) children(n *html.Node, l look) {
	for c := n.FirstChild; c != nil; c = c.NextSibling {
		s.element(c, l)
	}
}

func (s *shape) element(n *html.Node, l look) {
	if n.Type == html.TextNode {
		s.words(n.Data, l)
		return
	}
	if n.Type != html.ElementNode {
		return
	}
	if math, ok := attribute(n, "data-mx-maths"); ok {
		if n.Data == "div" {
			s.end()
			s.within("math", func() { s.add(math, look{}) })
		} else {
			s.atom("$"+math, l)
		}
		return
	}
	switch n.Data {
	case "b", "strong":
		l.bold = true
	case "i", "em":
		l.italic = true
	case "s", "del", "strike":
		l.strike = true
	case "span":
		if _, ok := attribute(n, "data-mx-spoiler"); ok {
			l.spoiler = true
		}
	case "code":
		l.code = true
	case "img":
		alt, _ := attribute(n, "alt")
		if alt == ":party_parrot:" {
			s.atom(alt, l)
		} else {
			s.add(alt, l)
		}
	case "a":
		s.anchor(n, l)
		return
	case "br":
		s.end()
	default:
		s.element2(n, l)
		return
	}
	s.children(n, l)
}

// element2 handles blocks.
func (s *shape) element2(n *html.Node, l look) {
	switch n.Data {
	case "p", "div":
		s.end()
		s.children(n, l)
		s.end()
	case "blockquote":
		s.end()
		s.within("quote/", func() { s.children(n, l) })
	case "h1", "h2", "h3", "h4", "h5", "h6":
		s.end()
		s.within("h"+strconv.Itoa(min(4, int(n.Data[1]-'0'))), func() { s.children(n, l) })
	case "pre":
		s.end()
		for _, line := range strings.Split(content(n), "\n") {
			s.within("code", func() { s.add(line, look{}) })
		}
	case "ul", "ol":
		s.end()
		s.list(n, l)
	case "table":
		s.end()
		s.rows(n)
	case "hr":
		s.end()
		s.within("rule", func() { s.atom("-", look{}) })
	default:
		s.children(n, l)
	}
}

func (s *shape) list(n *html.Node, l look) {
	number := 1
	if start, ok := attribute(n, "start"); ok {
		number, _ = strconv.Atoi(start)
	}
	for c := n.FirstChild; c != nil; c = c.NextSibling {
		if c.Data != "li" {
			continue
		}
		kind := "item"
		if n.Data == "ol" {
			kind = strconv.Itoa(number) + "."
			number++
		}
		if text := c.FirstChild; text != nil && text.Type == html.TextNode && n.Data == "ul" {
			for box, task := range map[string]string{"☐ ": "taskfalse", "☑ ": "tasktrue"} {
				if rest, ok := strings.CutPrefix(text.Data, box); ok {
					kind, text.Data = task, rest
				}
			}
		}
		s.within(kind, func() { s.children(c, l) })
	}
}

func (s *shape) rows(n *html.Node) {
	for c := n.FirstChild; c != nil; c = c.NextSibling {
		if c.Data != "tr" {
			s.rows(c)
			continue
		}
		s.within("row", func() {
			for cell := c.FirstChild; cell != nil; cell = cell.NextSibling {
				if cell.Data == "td" || cell.Data == "th" {
					s.children(cell, look{})
					s.atom("|", look{})
				}
			}
		})
	}
}

func content(n *html.Node) string {
	if n.Type == html.TextNode {
		return n.Data
	}
	var b strings.Builder
	for c := n.FirstChild; c != nil; c = c.NextSibling {
		b.WriteString(content(c))
	}
	return b.String()
}

// anchor handles links, including mentions.
func (s *shape) anchor(n *html.Node, l look) {
	href, _ := attribute(n, "href")
	if to, ok := strings.CutPrefix(href, "https://matrix.to/#/"); ok {
		to, _ = url.PathUnescape(to)
		switch {
		case slices.Contains([]string{people["ada"], people["bob_matrix.org"]}, to):
			s.atom("@"+to, l)
			return
		case strings.HasPrefix(to, "#general:"):
			s.atom("#general", l)
			return
		case strings.HasPrefix(to, "@"):
			s.children(n, l)
			return
		}
	}
	if !alone(content(n), href) {
		l.target = address(href)
	}
	s.children(n, l)
}
