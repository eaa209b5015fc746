package grammar

import "strings"

// A memoKey identifies where and how the inside of some emphasis was read.
type memoKey struct {
	at         int
	mark, skip uint8
}

type memoEntry struct {
	nodes []Node
	end   int
}

// emphasis reads bold, italic and struck text.
func (p *parser) emphasis(i int) (Node, int) { return p.first(i, p.bold, p.italic, p.strike) }

// lonelyMarks reads marks around nothing but blanks, which are text.
func (p *parser) lonelyMarks(i int) (Node, int) {
	c := p.at(i)
	if c != '*' && c != '_' && c != '~' {
		return none()
	}
	if i < p.marks.from || i >= p.marks.to {
		p.marks.from, p.marks.to = i, p.repeated(i)
	}
	blank := p.marks.to
	end := p.spaces(blank)
	if end > blank && p.at(end) == c {
		j := p.repeated(end)
		return text(p.s[i:j]), j
	}
	return none()
}

// repeated returns the end of a sequence of the same character.
func (p *parser) repeated(i int) int {
	c := p.s[i]
	for i < len(p.s) && p.s[i] == c {
		i++
	}
	return i
}

func (p *parser) bold(i int) (Node, int)   { return p.paired(i, '*', inBold, Bold) }
func (p *parser) strike(i int) (Node, int) { return p.paired(i, '~', inStrike, Strike) }

// paired reads what stands between two marks, doubled or not.
func (p *parser) paired(i int, mark byte, flag uint8, kind Kind) (Node, int) {
	if p.skip&flag != 0 || p.at(i) != mark {
		return none()
	}
	p.skip |= flag
	defer func() { p.skip &^= flag }()
	for _, width := range []int{2, 1} {
		marks := strings.Repeat(string(mark), width)
		if !p.is(i, marks) {
			continue
		}
		if nodes, j := p.inside(i+width, mark); j >= 0 && p.is(j, marks) {
			return Node{Kind: kind, Kids: nodes}, j + width
		}
	}
	return none()
}

// italic reads what stands between underscores. They belong to words if letters
// precede the first or follow the last.
func (p *parser) italic(i int) (Node, int) {
	if p.skip&inItalic != 0 {
		return none()
	}
	if j := p.span(i, isAlnum); j > i {
		if p.at(j) != '_' {
			return none()
		}
		if j++; p.at(j) == '_' {
			j++
		}
		return text(p.s[i:j]), j
	}
	if p.at(i) != '_' {
		return none()
	}
	p.skip |= inItalic
	defer func() { p.skip &^= inItalic }()
	if n, j := p.inWord(i, "__", isAlnum); j >= 0 {
		return n, j
	}
	if n, j := p.inWord(i, "_", isAlpha); j >= 0 {
		return n, j
	}
	for _, marks := range []string{"__", "_"} {
		if !p.is(i, marks) {
			continue
		}
		if nodes, j := p.inside(i+len(marks), '_'); j >= 0 && p.is(j, marks) {
			return Node{Kind: Italic, Kids: nodes}, j + len(marks)
		}
	}
	return none()
}

// inWord reads what stands between underscores that are followed by a letter.
func (p *parser) inWord(i int, marks string, letter func(rune) bool) (Node, int) {
	if !p.is(i, marks) {
		return none()
	}
	nodes, j := p.inside(i+len(marks), '_')
	if j < 0 || !p.is(j, marks) {
		return none()
	}
	end := p.span(j+len(marks), letter)
	if end == j+len(marks) {
		return none()
	}
	kids := append([]Node{text(marks)}, nodes...)
	return Node{Kind: group, Kids: Join(append(kids, text(marks), text(p.s[j+len(marks):end])))}, end
}

// inside reads what stands between marks. The same place is read several times,
// with the marks doubled or not.
func (p *parser) inside(i int, mark byte) ([]Node, int) {
	key := memoKey{i, mark, p.skip}
	if e, ok := p.memo[key]; ok {
		return e.nodes, e.end
	}
	if p.depth > maxDepth {
		return nil, fail
	}
	p.depth++
	piece := p.inStrike
	switch mark {
	case '*':
		piece = p.inBold
	case '_':
		piece = p.inItalic
	}
	var nodes []Node
	for p.spend() {
		n, j := piece(i)
		if j < 0 {
			break
		}
		nodes, i = append(nodes, n), j
	}
	p.depth--
	e := memoEntry{end: fail}
	if len(nodes) > 0 {
		e.nodes, e.end = Join(nodes), i
	}
	if p.memo == nil {
		p.memo = map[memoKey]memoEntry{}
	}
	p.memo[key] = e
	return e.nodes, e.end
}

// preferred tries the rules inside bold and italic text that take precedence over text.
func (p *parser) preferred(i int, other rule, next func(int) bool) (Node, int) {
	n, j := p.first(i, p.whitespace, p.code)
	if j < 0 && p.d != V31 {
		n, j = p.time(i)
	}
	if j < 0 {
		n, j = p.first(i, p.link, p.userInWord, p.channel, other, p.strike, p.emoji, p.emoticon)
		if n.Kind == Emoji && n.Text != ":"+n.Target+":" && n.Target != "" && p.d != V31 && !p.emoticonEnds(j) && !next(j) {
			return none()
		}
	}
	return n, j
}

func (p *parser) preferredInBold(i int) (Node, int) {
	return p.preferred(i, p.italic, func(i int) bool {
		return p.nested(func() bool { _, j := p.preferredInBold(i); return j >= 0 })
	})
}

func (p *parser) preferredInItalic(i int) (Node, int) {
	return p.preferred(i, p.bold, func(i int) bool {
		return p.nested(func() bool { _, j := p.preferredInItalic(i); return j >= 0 }) || p.at(i) == '_'
	})
}

// nested bounds how deep rules look ahead.
func (p *parser) nested(f func() bool) bool {
	if p.depth > maxDepth || !p.spend() {
		return false
	}
	p.depth++
	defer func() { p.depth-- }()
	return f()
}

func (p *parser) inBold(i int) (Node, int) {
	if n, j := p.preferredInBold(i); j >= 0 {
		return n, j
	}
	return p.ordinary(i, '*')
}

func (p *parser) inItalic(i int) (Node, int) {
	if n, j := p.preferredInItalic(i); j >= 0 {
		return n, j
	}
	return p.ordinary(i, '_')
}

// ordinary reads text inside bold and italic text, up to a mark.
func (p *parser) ordinary(i int, mark rune) (Node, int) {
	j := i
	if p.d != V31 {
		j = p.span(i, func(r rune) bool {
			return r != '\n' && r != '*' && r != '_' && r != '~' && r != ' ' && (mark == '_' || r != '\u00a0')
		})
	}
	if j == i {
		j = p.class(i, func(r rune) bool { return r != '\n' && r != mark && r != ' ' })
	}
	if j > i {
		return text(p.s[i:j]), j
	}
	return p.anyText(i)
}

// anyText reads ordinary text with the blanks around it.
func (p *parser) anyText(i int) (Node, int) {
	j := p.spaces(i)
	end := p.span(j, isAnyText)
	if end == j {
		return none()
	}
	end = p.spaces(end)
	return text(p.s[i:end]), end
}

func (p *parser) inStrike(i int) (Node, int) {
	if p.d == V31 {
		return p.first(i, p.time, p.whitespace, p.code, p.link, p.userInWord, p.channel, p.italic, p.bold, p.emoji, p.emoticon, p.struck, p.anyText)
	}
	j := p.span(i, func(r rune) bool {
		return r < 0x80 && strings.IndexByte("\n~ *_:`@#[]\\<!|", byte(r)) < 0 || r >= 0x80 && r <= 0xffff && (r < 0x2300 || r > 0x27bf) || r > 0xffff && !surrogateEmoji(r)
	})
	if j > i {
		return text(p.s[i:j]), j
	}
	return p.first(i, p.escapedTime, p.time, p.whitespace, p.code, p.link, p.userInWord, p.channel, p.italic, p.bold, p.emoji, p.emoticon, p.struck, p.anyText)
}

func (p *parser) struck(i int) (Node, int) {
	j := p.class(i, func(r rune) bool { return r != '\n' && r != '~' && r != ' ' })
	if j < 0 {
		return none()
	}
	return text(p.s[i:j]), j
}
