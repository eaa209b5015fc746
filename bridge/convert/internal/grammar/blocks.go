package grammar

import (
	"strconv"
	"strings"
	"unicode"
)

// block reads what stands on lines of its own, except a paragraph.
func (p *parser) block(i int) (Block, int) {
	var rules []func(int) (Block, int)
	switch c := p.at(i); {
	case c == '>':
		rules = []func(int) (Block, int){p.quote}
	case c == '|':
		rules = []func(int) (Block, int){p.spoilerBlock, p.table}
	case c == '`':
		rules = []func(int) (Block, int){p.fence}
	case c == '#':
		rules = []func(int) (Block, int){p.heading}
	case c == '-':
		rules = []func(int) (Block, int){p.rule, p.tasks, p.unordered}
	case c == '*':
		rules = []func(int) (Block, int){p.unordered}
	case c >= '0' && c <= '9':
		rules = []func(int) (Block, int){p.ordered}
	case c == '\\':
		rules = []func(int) (Block, int){p.mathBlock}
	case c == ' ', c == '\t', c == '\n', c == '\r':
		rules = []func(int) (Block, int){p.rule, p.lineBreak}
	}
	for _, r := range rules {
		if b, j := r(i); j >= 0 {
			return b, j
		}
	}
	return Block{}, fail
}

func (p *parser) lineBreak(i int) (Block, int) {
	return Block{Kind: LineBreak}, p.endOfLine(p.spaces(i))
}

func (p *parser) paragraph(i int) (Block, int) {
	nodes, j := p.line(i)
	return Block{Kind: Paragraph, Nodes: nodes}, j
}

// line reads pieces up to and including the end of the line.
func (p *parser) line(i int) ([]Node, int) {
	nodes, j := p.pieces(i, nil)
	if j < 0 {
		return nil, fail
	}
	if k := p.endOfLine(j); k >= 0 {
		j = k
	}
	return Join(nodes), j
}

// pieces reads the pieces of a line, at least one, until stop returns true.
func (p *parser) pieces(i int, stop func(int) bool) ([]Node, int) {
	var nodes []Node
	for i < len(p.s) && (stop == nil || !stop(i)) {
		n, j := p.item(i)
		if j < 0 {
			if n, j = p.any(i); j < 0 {
				break
			}
		}
		nodes = append(nodes, n)
		i = j
	}
	if len(nodes) == 0 {
		return nil, fail
	}
	return nodes, i
}

func (p *parser) quote(i int) (Block, int) {
	b := Block{Kind: Quote}
	for p.at(i) == '>' {
		j := p.spaces(i + 1)
		if k := p.endOfLine(j); k >= 0 && p.d != V31 {
			b.Blocks, i = append(b.Blocks, Block{Kind: Paragraph}), k
			continue
		}
		line, k := p.paragraph(j)
		if k < 0 {
			break
		}
		b.Blocks, i = append(b.Blocks, line), k
	}
	if len(b.Blocks) == 0 {
		return Block{}, fail
	}
	return b, i
}

func (p *parser) spoilerBlock(i int) (Block, int) {
	if p.d == V31 || !p.is(i, "||") {
		return Block{}, fail
	}
	j := p.endOfLine(i + 2)
	if j < 0 {
		return Block{}, fail
	}
	b := Block{Kind: SpoilerBlock}
	for !p.is(j, "||") {
		line, k := p.paragraph(j)
		if k < 0 {
			break
		}
		b.Blocks, j = append(b.Blocks, line), k
	}
	if k := p.endOfLine(j); k >= 0 {
		j = k
	}
	if len(b.Blocks) == 0 || !p.is(j, "||") {
		return Block{}, fail
	}
	return b, j + 2
}

// fence reads preformatted text between lines of three backticks.
func (p *parser) fence(i int) (Block, int) {
	if !p.is(i, "```") {
		return Block{}, fail
	}
	lang := p.span(i+3, isLanguage)
	j := p.endOfLine(lang)
	if j < 0 {
		return Block{}, fail
	}
	var lines []string
	for {
		k := p.codeChunk(j)
		switch {
		case k > j:
			lines, j = append(lines, p.s[j:k]), k
			continue
		case p.at(j) != '\n':
		case p.codeChunk(j+1) > j+1:
			k := p.codeChunk(j + 1)
			lines, j = append(lines, p.s[j+1:k]), k
			continue
		case !p.is(j+1, "```"):
			lines, j = append(lines, ""), j+1
			continue
		}
		break
	}
	end := p.endOfLine(j)
	if len(lines) == 0 || end < 0 || !p.is(end, "```") {
		return Block{}, fail
	}
	return Block{Kind: Fence, Lang: strings.TrimSpace(p.s[i+3 : lang]), Text: strings.Join(lines, "\n")}, end + 3
}

// codeChunk returns the end of a line of preformatted text. V36 allows no backtick
// at the end of one.
func (p *parser) codeChunk(i int) int {
	for i < len(p.s) && p.s[i] != '\n' && p.s[i] != '\r' && !p.is(i, "```") {
		if p.d == V36 && p.s[i] == '`' {
			end := i
			for p.at(end) == '`' {
				end++
			}
			if end-i > 2 || end == len(p.s) || p.isEndOfLine(end) {
				return i
			}
		}
		i++
	}
	return i
}

func (p *parser) rule(i int) (Block, int) {
	i = p.spaces(i)
	j := i
	for p.at(j) == '-' {
		j++
	}
	if p.d != V32 || j-i < 3 {
		return Block{}, fail
	}
	if j = p.spaces(j); j < len(p.s) {
		j = p.endOfLine(j)
	}
	return Block{Kind: Rule}, j
}

func (p *parser) heading(i int) (Block, int) {
	j := i
	for j < i+4 && p.at(j) == '#' {
		j++
	}
	b := Block{Kind: Heading, Level: j - i}
	k := p.spaces(j)
	if k == j {
		return Block{}, fail
	}
	if p.d == V31 { // literally, and the break after it is a line of its own
		end := p.span(k, func(r rune) bool { return r != '\n' && r != '\r' })
		b.Nodes = []Node{text(p.s[k:end])}
		if end == k {
			return Block{}, fail
		}
		return b, end
	}
	nodes, k := p.line(k)
	b.Nodes = nodes
	return b, k
}

// items reads lines whose beginning is read by a rule.
func (p *parser) items(kind BlockKind, i int, item func(int) (Block, int)) (Block, int) {
	list := Block{Kind: kind}
	for i < len(p.s) {
		b, j := item(i)
		if j < 0 {
			break
		}
		list.Blocks, i = append(list.Blocks, b), j
	}
	if len(list.Blocks) == 0 {
		return Block{}, fail
	}
	return list, i
}

// itemLine reads a line after a bullet that ends at i.
func (p *parser) itemLine(b Block, i int) (Block, int) {
	j := p.spaces(i)
	if j == i {
		return Block{}, fail
	}
	b.Nodes, j = p.line(j)
	return b, j
}

func (p *parser) tasks(i int) (Block, int) {
	return p.items(Tasks, i, func(i int) (Block, int) {
		if !p.is(i, "- [x]") && !p.is(i, "- [ ]") {
			return Block{}, fail
		}
		return p.itemLine(Block{Done: p.s[i+3] == 'x'}, i+5)
	})
}

func (p *parser) ordered(i int) (Block, int) {
	return p.items(Ordered, i, func(i int) (Block, int) {
		j := p.span(i, isDigit)
		if j == i || p.at(j) != '.' {
			return Block{}, fail
		}
		n, err := strconv.Atoi(p.s[i:j])
		if err != nil {
			n = 1
		}
		return p.itemLine(Block{Level: n}, j+1)
	})
}

func (p *parser) unordered(i int) (Block, int) {
	b, j := p.items(Unordered, i, func(i int) (Block, int) {
		if p.at(i) != '-' {
			return Block{}, fail
		}
		return p.itemLine(Block{}, i+1)
	})
	if j >= 0 {
		return b, j
	}
	return p.items(Unordered, i, p.starItem)
}

// starItem reads "* item", which may not contain a lone star: "* a * b" is not an item.
func (p *parser) starItem(i int) (Block, int) {
	j := p.spaces(i + 1)
	if p.at(i) != '*' || j == i+1 {
		return Block{}, fail
	}
	var nodes []Node
	for j < len(p.s) {
		n, k := p.item(j)
		if k < 0 && p.s[j] != '*' {
			n, k = p.any(j)
		}
		if k < 0 {
			break
		}
		nodes, j = append(nodes, n), k
	}
	if len(nodes) == 0 || p.at(j) == '*' {
		return Block{}, fail
	}
	if k := p.endOfLine(j); k >= 0 {
		j = k
	}
	return Block{Nodes: Join(nodes)}, j
}

func (p *parser) mathBlock(i int) (Block, int) {
	if !p.is(i, `\[`) {
		return Block{}, fail
	}
	n := strings.Index(p.s[i+2:], `\]`)
	if n < 0 {
		return Block{}, fail
	}
	return Block{Kind: MathBlock, Text: p.s[i+2 : i+2+n]}, i + n + 4
}

func (p *parser) table(i int) (Block, int) {
	if p.d != V32 {
		return Block{}, fail
	}
	head, j := p.row(i)
	if j >= 0 {
		j = p.delimiters(j)
	}
	if j < 0 {
		return Block{}, fail
	}
	b := Block{Kind: Table, Blocks: []Block{head}}
	for {
		row, k := p.row(j)
		if k < 0 {
			return b, j
		}
		for len(row.Blocks) < len(head.Blocks) {
			row.Blocks = append(row.Blocks, Block{})
		}
		row.Blocks = row.Blocks[:len(head.Blocks)]
		b.Blocks, j = append(b.Blocks, row), k
	}
}

func (p *parser) row(i int) (Block, int) {
	if p.at(i) != '|' {
		return Block{}, fail
	}
	var row Block
	for i++; ; i++ {
		nodes, j := p.cell(i)
		if p.at(j) != '|' {
			break
		}
		row.Blocks, i = append(row.Blocks, Block{Nodes: trimCell(Join(nodes))}), j
	}
	if len(row.Blocks) == 0 {
		return Block{}, fail
	}
	if j := p.endOfLine(i); j >= 0 {
		i = j
	}
	return row, i
}

// cell reads up to the bar that ends a cell.
func (p *parser) cell(i int) ([]Node, int) {
	var nodes []Node
	for i < len(p.s) && p.s[i] != '|' && !p.isEndOfLine(i) {
		if p.is(i, `\|`) {
			nodes, i = append(nodes, text("|")), i+2
			continue
		}
		n, j := p.item(i)
		if j < 0 {
			n, j = p.any(i)
		}
		nodes, i = append(nodes, n), j
	}
	return nodes, i
}

// trimCell removes the blanks at both ends.
func trimCell(nodes []Node) []Node {
	if len(nodes) > 0 && nodes[0].Kind == Text {
		if nodes[0].Text = strings.TrimLeftFunc(nodes[0].Text, unicode.IsSpace); nodes[0].Text == "" {
			nodes = nodes[1:]
		}
	}
	if last := len(nodes) - 1; last >= 0 && nodes[last].Kind == Text {
		if nodes[last].Text = strings.TrimRightFunc(nodes[last].Text, unicode.IsSpace); nodes[last].Text == "" {
			nodes = nodes[:last]
		}
	}
	return nodes
}

// delimiters reads the line under the headings of a table.
func (p *parser) delimiters(i int) int {
	if p.at(i) != '|' {
		return fail
	}
	n := 0
	for i++; ; i++ {
		j := p.spaces(i)
		if p.at(j) == ':' {
			j++
		}
		dashes := j
		for p.at(j) == '-' {
			j++
		}
		if j == dashes {
			break
		}
		if p.at(j) == ':' {
			j++
		}
		if j = p.spaces(j); p.at(j) != '|' {
			break
		}
		n, i = n+1, j
	}
	if n == 0 {
		return fail
	}
	if j := p.endOfLine(i); j >= 0 {
		i = j
	}
	return i
}
