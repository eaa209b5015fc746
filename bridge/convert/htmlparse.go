package convert

import (
	"strconv"
	"strings"

	"golang.org/x/net/html"
	"golang.org/x/net/html/atom"
)

// Limits on what is read from HTML. An event has 65,536 bytes at most, so no honest
// one comes near them; beyond them text is still read, markup is not.
const (
	maxTags     = 20_000
	maxOpenTags = 100 // as the Matrix specification recommends
	maxText     = 256 << 10
)

// parseHTML reads the HTML of a Matrix message: the tags and attributes that the
// specification lists (Client-Server API, m.room.message msgtypes) and nothing
// else. The text inside other tags is kept. It uses only the tokenizer and builds
// no tree, so nesting costs nothing.
func parseHTML(s string, look Lookup) []block {
	h := &htmlParser{look: look}
	h.containers = []*block{{}}
	z := html.NewTokenizer(strings.NewReader(s))
	for h.length < maxText {
		kind := z.Next()
		switch kind {
		case html.ErrorToken:
			return h.finish()
		case html.TextToken:
			h.text(string(z.Text()))
		case html.StartTagToken, html.SelfClosingTagToken:
			h.startTag(z) // "<b/>" opens, as in browsers
		case html.EndTagToken:
			name, _ := z.TagName()
			h.endTag(atom.Lookup(name))
		case html.CommentToken, html.DoctypeToken: // show nothing
		}
	}
	return h.finish()
}

// An htmlParser builds a document.
type htmlParser struct {
	htmlTree
	look   Lookup
	open   []openTag
	tags   int
	length int
	styles [4]int // how many open tags set each style
	code   int    // how many code tags are open
	codes  int    // how many there were, to tell which pieces belong together
	pre    *strings.Builder
	preTag block
	raised atom.Atom
}

// An htmlTree is the document so far. The content of the innermost block collects in
// runs, with line breaks as "\n", until a block begins or ends.
type htmlTree struct {
	containers []*block // the document, and the blocks that are open
	runs       []run
	hidden     int  // inside something whose text is not shown
	paragraph  bool // the last block was a paragraph: text after it is set apart
	table      *tableReader
}

type openTag struct {
	name  atom.Atom
	shut  func() // undoes what the tag did
	block bool
}

// finish closes everything and returns the document.
func (h *htmlParser) finish() []block {
	h.closeTo(0)
	h.flush()
	return trimLines(h.containers[0].kids)
}

// attributes reads the first 16 attributes of a tag. The first of a repeated name counts.
func attributes(z *html.Tokenizer) map[string]string {
	attrs := map[string]string{}
	for range 16 {
		key, value, more := z.TagAttr()
		if k := string(key); k != "" {
			if _, ok := attrs[k]; !ok {
				attrs[k] = string(value)
			}
		}
		if !more {
			break
		}
	}
	return attrs
}

func (h *htmlParser) startTag(z *html.Tokenizer) {
	raw, hasAttr := z.TagName()
	name := atom.Lookup(raw)
	if string(raw) == "mx-reply" {
		name = mxReply
	}
	if h.tags++; h.tags > maxTags {
		return
	}
	var attrs map[string]string
	if hasAttr {
		attrs = attributes(z)
	}
	if h.void(name, attrs) {
		return
	}
	if len(h.open) >= maxOpenTags || h.pre != nil && name != atom.Code {
		return
	}
	h.closeImplied(name)
	t := openTag{name: name}
	switch {
	case h.startBlock(name, attrs, &t), h.startInline(name, attrs, &t):
		h.open = append(h.open, t)
	}
}

// mxReply stands for <mx-reply>, which package atom does not define.
const mxReply atom.Atom = 1<<32 - 1

// void handles tags without an end tag.
func (h *htmlParser) void(name atom.Atom, attrs map[string]string) bool {
	switch name {
	case atom.Br:
		h.lineBreak()
	case atom.Hr:
		h.flush()
		if h.hidden == 0 && h.pre == nil {
			h.add(block{kind: rule})
		}
	case atom.Img:
		h.image(attrs)
	case atom.Input, atom.Link, atom.Meta, atom.Base, atom.Col, atom.Area, atom.Embed, atom.Source, atom.Track, atom.Wbr, atom.Param:
	default:
		return false
	}
	return true
}

func (h *htmlParser) lineBreak() {
	if h.pre != nil {
		h.pre.WriteByte('\n')
		return
	}
	h.addRun(run{text: "\n"})
}

// image shows the text for an image. For a custom emoji that is its shortcode,
// which may exist in Rocket.Chat too.
func (h *htmlParser) image(attrs map[string]string) {
	words := attrs["alt"]
	if _, ok := attrs["data-mx-emoticon"]; ok && isShortcode(words) && h.pre == nil && h.table == nil {
		h.addRun(run{kind: emoticon, text: words})
		return
	}
	if strings.TrimSpace(words) == "" {
		words = attrs["title"]
	}
	if strings.TrimSpace(words) == "" {
		words = "[image]"
	}
	h.text(strings.Join(strings.Fields(words), " "))
}

// closeImplied closes what cannot contain the new tag: an item before the next, a
// paragraph before a block.
func (h *htmlParser) closeImplied(name atom.Atom) {
	switch name {
	case atom.Li:
		h.closeWithin(atom.Li, atom.Ul, atom.Ol)
	case atom.Tr:
		h.closeWithin(atom.Tr, atom.Table)
	case atom.Td, atom.Th:
		h.closeWithin(atom.Td, atom.Tr, atom.Table)
		h.closeWithin(atom.Th, atom.Tr, atom.Table)
	case atom.P, atom.Blockquote, atom.Ul, atom.Ol, atom.Pre, atom.Div, atom.Table, atom.Details, atom.H1, atom.H2, atom.H3, atom.H4, atom.H5, atom.H6:
		h.closeWithin(atom.P, atom.Blockquote, atom.Li, atom.Td, atom.Th, atom.Details, atom.Div)
	}
}

// closeWithin closes the innermost tag with a name, unless one of limits is nearer.
func (h *htmlParser) closeWithin(name atom.Atom, limits ...atom.Atom) {
	for i := len(h.open) - 1; i >= 0; i-- {
		if h.open[i].name == name {
			h.closeTo(i)
			return
		}
		for _, l := range limits {
			if h.open[i].name == l {
				return
			}
		}
	}
}

// endTag closes the matching tag and those inside it that were left open. An inline
// tag does not close blocks; end tags without a start tag are ignored.
func (h *htmlParser) endTag(name atom.Atom) {
	if name == 0 {
		name = mxReply
	}
	if name == atom.P && !h.isOpen(atom.P) && h.pre == nil {
		h.flush()
		return
	}
	for i := len(h.open) - 1; i >= 0; i-- {
		if h.open[i].name == name {
			h.closeTo(i)
			return
		}
		if h.open[i].block && !isBlockTag(name) {
			return
		}
	}
}

func (h *htmlParser) isOpen(name atom.Atom) bool {
	for _, t := range h.open {
		if t.name == name {
			return true
		}
	}
	return false
}

func (h *htmlParser) closeTo(i int) {
	for len(h.open) > i {
		t := h.open[len(h.open)-1]
		h.open = h.open[:len(h.open)-1]
		t.shut()
	}
}

func number(s string, otherwise int) int {
	n, err := strconv.Atoi(strings.TrimSpace(s))
	if err != nil || n < 0 || n > 1_000_000 {
		return otherwise
	}
	return n
}

// isShortcode reports whether s is the name of an emoji between colons.
func isShortcode(s string) bool {
	return len(s) > 2 && len(s) < 100 && s[0] == ':' && s[len(s)-1] == ':' && !strings.ContainsFunc(s[1:len(s)-1], func(r rune) bool {
		return r >= 0x80 || !isASCIIAlnum(byte(r)) && strings.IndexByte("-_+.", byte(r)) < 0
	})
}
