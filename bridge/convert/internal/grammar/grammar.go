// Package grammar reads Rocket.Chat's messages as Rocket.Chat itself does. Its
// rules have the names, the order and the quirks of the parsing expression grammar
// of @rocket.chat/message-parser, because only then does it find what people see
// there; compose/stage/parsers compares the two.
//
// A rule is a method that takes a position and returns what it found there and
// where that ends, or -1. Rules look ahead and never back, so the meaning of a text
// from some position on does not depend on anything before it.
package grammar

import (
	"strconv"
	"strings"
)

// A Dialect is how one range of Rocket.Chat's versions reads messages.
type Dialect uint8

// The dialects, with the version of the parser that each belongs to. The zero value
// stands for Default.
const (
	V31 Dialect = iota + 1 // 0.31.32: no spoilers, tables or rules
	V36                    // 0.31.36: spoilers, times in ISO form, words found whole
	V32                    // 0.32.0: tables, rules, markup in headings
)

// Default is the dialect of servers whose version is unknown.
const Default = V36

// dialects lists from which version of Rocket.Chat on each dialect is used.
var dialects = []struct {
	major, minor int
	dialect      Dialect
}{{8, 8, V32}, {8, 3, V36}, {0, 0, V31}}

// DialectOf returns the dialect of a server by its version, such as "8.6.1" or
// "8.6", as reported by /api/info; Default if it is not a version.
func DialectOf(version string) Dialect {
	parts := strings.SplitN(version, ".", 3)
	if len(parts) < 2 {
		return Default
	}
	major, err := strconv.Atoi(parts[0])
	minor, err2 := strconv.Atoi(parts[1])
	if err != nil || err2 != nil {
		return Default
	}
	for _, d := range dialects {
		if major > d.major || major == d.major && minor >= d.minor {
			return d.dialect
		}
	}
	return Default
}

// String returns the version of the parser.
func (d Dialect) String() string {
	switch d {
	case V31:
		return "0.31.32"
	case V32:
		return "0.32.0"
	default:
		return "0.31.36"
	}
}

// A Kind is what a node is.
type Kind uint8

// The kinds of nodes inside a line.
const (
	Text    Kind = iota // Text
	Bold                // of Kids
	Italic              // of Kids
	Strike              // of Kids
	Spoiler             // of Kids
	Code                // Text
	Link                // to Target, shown as Kids
	Image               // at Target, described by Text
	User                // the name Text
	Channel             // the name Text
	Emoji               // the shortcode Target, written as Text
	Math                // Text
	Color               // Text
	Time                // Target seconds since 1970, or today at Kids, in the format Text
	group               // Kids that do not form one node
)

// A Node is a piece of a line.
type Node struct {
	Kind   Kind
	Text   string
	Target string
	Kids   []Node
}

// A BlockKind is what a block is.
type BlockKind uint8

// The kinds of blocks.
const (
	Paragraph    BlockKind = iota // Nodes
	Quote                         // of Blocks, all paragraphs
	SpoilerBlock                  // of Blocks, all paragraphs
	Fence                         // Text, in the language Lang
	Rule                          // a line across
	Table                         // Blocks are rows, their Blocks are cells
	Heading                       // Nodes, of Level
	Tasks                         // of Blocks with Nodes and Done
	Ordered                       // of Blocks with Nodes and Level, their number
	Unordered                     // of Blocks with Nodes
	MathBlock                     // Text
	LineBreak                     // an empty line
	BigEmoji                      // Nodes, nothing but emoji
)

// A Block is an element on lines of its own.
type Block struct {
	Kind   BlockKind
	Nodes  []Node
	Blocks []Block
	Text   string
	Lang   string
	Level  int
	Done   bool
}

// Parse parses a message. It takes time proportional to its length: markup that
// would take more is text.
func Parse(text string, d Dialect) []Block {
	p := newParser(text, d)
	if b, ok := p.bigEmoji(); ok {
		return []Block{b}
	}
	var blocks []Block
	for i := 0; i < len(text); {
		b, j := p.block(i)
		if j <= i {
			if b, j = p.paragraph(i); j <= i {
				b, j = Block{Kind: Paragraph}, p.endOfLine(i)
			}
		}
		blocks = append(blocks, b)
		i = j
	}
	return blocks
}

// InlineCost reads the first piece of a line, as it stands outside of other markup,
// and returns its length in bytes and its cost: about the number of rules that were
// tried. Shortcodes and emoticons are emoji here, even if text beside them will turn
// them into text: see Join.
func InlineCost(text string, d Dialect) (n Node, length, cost int) {
	p := newParser(text, d)
	all := p.steps
	n, j := p.item(0)
	if j < 0 {
		n, j = p.any(0)
	}
	return n, max(j, 0), all - p.steps + len(text)/64
}

// First returns the kind of the block that a text begins with.
func First(text string, d Dialect) BlockKind {
	p := newParser(text, d)
	b, j := p.block(0)
	if j <= 0 {
		return Paragraph
	}
	return b.Kind
}
