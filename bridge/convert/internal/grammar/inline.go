package grammar

import "strings"

// item reads a piece of a line that is more than a character.
func (p *parser) item(i int) (Node, int) {
	if i >= len(p.s) || !p.spend() || p.depth > maxDepth {
		return none()
	}
	p.depth++
	defer func() { p.depth-- }()
	if j := p.words(i); j > i {
		return text(p.s[i:j]), j
	}
	if p.d == V31 {
		return p.oldItem(i)
	}
	if n, j := p.marked(i); j >= 0 {
		return n, j
	}
	return p.unmarked(i)
}

// words returns the end of the words from i on that have only blanks between and
// after them. All rules agree that they are text, and most lines consist of them.
func (p *parser) words(i int) int {
	end := i
	for j := i; j < len(p.s); {
		word := j
		for j < len(p.s) && isAlnum(rune(p.s[j])) {
			j++
		}
		if j == word || j < len(p.s) && strings.IndexByte(" \t\n\r", p.s[j]) < 0 || strings.HasPrefix(p.s[word:j], "localhost") {
			return end
		}
		end = j
		for j < len(p.s) && p.s[j] == ' ' {
			j++
		}
	}
	return end
}

type rule func(int) (Node, int)

// first returns the result of the first rule that finds something.
func (p *parser) first(i int, rules ...rule) (Node, int) {
	for _, r := range rules {
		if n, j := r(i); j >= 0 {
			return n, j
		}
	}
	return none()
}

// marked reads a piece that is identified by its first character.
func (p *parser) marked(i int) (Node, int) {
	switch p.s[i] {
	case ' ', '\t':
		return p.whitespace(i)
	case '\\':
		return p.first(i, p.escapedTime, p.math, p.escaped)
	case '[':
		return p.link(i)
	case '<':
		return p.first(i, p.time, p.link, p.emoticonInLine)
	case '!':
		return p.image(i)
	case '|':
		return p.spoiler(i)
	case '@':
		return p.user(i)
	case '`':
		return p.code(i)
	case '+':
		return p.phoneLink(i)
	case ':':
		return p.first(i, p.emoji, p.emoticonInLine)
	case '*':
		return p.first(i, p.lonelyMarks, p.emphasis, p.emoticonInLine)
	case '~':
		return p.first(i, p.lonelyMarks, p.emphasis)
	case '-':
		return p.first(i, p.dashBeforeItalic, p.emoticonInLine)
	}
	return none()
}

// unmarked reads a piece that may begin with any character.
func (p *parser) unmarked(i int) (Node, int) {
	n, j := p.first(i, p.mailLink, p.underscoreDomain, p.autoLink)
	if j >= 0 {
		return n, j
	}
	return p.first(i, p.lonelyMarks, p.emphasis, p.channel, p.emoji, p.dashBeforeItalic, p.emoticonInLine, p.color, p.plain)
}

// plain reads ordinary text.
func (p *parser) plain(i int) (Node, int) {
	j := p.span(i, func(r rune) bool { return r >= 0x80 || strings.IndexByte("*_~`:\n<[]! \t()\\|", byte(r)) < 0 })
	if j == i {
		return none()
	}
	return text(p.s[i:j]), j
}

// dashBeforeItalic keeps "-_-" from being an emoticon if more text follows.
func (p *parser) dashBeforeItalic(i int) (Node, int) {
	if p.is(i, "-_-") && i+3 < len(p.s) {
		return text("-"), i + 1
	}
	return none()
}

// oldItem is item for V31.
func (p *parser) oldItem(i int) (Node, int) {
	return p.first(i, p.whitespace, p.time, p.link, p.phoneLink, p.mailLink, p.autoLink, p.lonelyMarks, p.emphasis, p.userInWord, p.channel,
		p.emoji, p.code, p.image, p.emoticon, p.color, p.math, p.escaped)
}

// escaped reads a character that is escaped by a backslash.
func (p *parser) escaped(i int) (Node, int) {
	if p.at(i) == '\\' && i+1 < len(p.s) && strings.IndexByte("*_~`#.", p.s[i+1]) >= 0 {
		return text(p.s[i+1 : i+2]), i + 2
	}
	return none()
}

func (p *parser) math(i int) (Node, int) {
	if !p.is(i, `\(`) {
		return none()
	}
	n := strings.Index(p.s[i+2:], `\)`)
	if n < 0 {
		return none()
	}
	p.steps -= n / 8
	return Node{Kind: Math, Text: p.s[i+2 : i+2+n]}, i + n + 4
}

func (p *parser) code(i int) (Node, int) {
	if p.at(i) != '`' {
		return none()
	}
	n := strings.IndexAny(p.s[i+1:], "`\n")
	if n <= 0 || p.s[i+1+n] != '`' {
		return none()
	}
	return Node{Kind: Code, Text: p.s[i+1 : i+1+n]}, i + n + 2
}

func (p *parser) spoiler(i int) (Node, int) {
	if !p.is(i, "||") {
		return none()
	}
	kids, j := p.pieces(i+2, func(i int) bool { return p.is(i, "||") })
	if j < 0 || !p.is(j, "||") {
		return none()
	}
	return Node{Kind: Spoiler, Kids: Join(kids)}, j + 2
}

// color reads color:#ff0000 and color:#f00, with or without transparency.
func (p *parser) color(i int) (Node, int) {
	const prefix = "color:#"
	if !p.is(i, prefix) {
		return none()
	}
	j := i + len(prefix)
	digits := 0
	for digits < 8 && j+digits < len(p.s) && isHex(rune(p.s[j+digits])) {
		digits++
	}
	switch {
	case digits >= 6:
		j += digits &^ 1
	case digits >= 3:
		j += min(digits, 4)
	default:
		return none()
	}
	if p.class(j, isAnyText) >= 0 {
		return none()
	}
	return Node{Kind: Color, Text: p.s[i:j]}, j
}

// user reads @name and @name:server.
func (p *parser) user(i int) (Node, int) {
	j := i
	for p.at(j) == '@' {
		j++
	}
	end := p.span(j, isUserName)
	if j == i || end == j {
		return none()
	}
	if c := p.at(end); c == ':' || c == '@' {
		if more := p.span(end+1, isUserName); more > end+1 {
			end = more
		}
	}
	if p.d != V31 && strings.HasSuffix(p.s[j:end], "__") {
		return none()
	}
	return Node{Kind: User, Text: p.s[j:end]}, end
}

// userInWord is user where a character may precede the sign, which turns it into
// text.
func (p *parser) userInWord(i int) (Node, int) {
	if before := p.class(i, isTextUnit); before >= 0 && p.at(before) == '@' {
		j := before
		for p.at(j) == '@' {
			j++
		}
		if end := p.class(j, isNameChar); end >= 0 {
			return text(p.s[i:before] + "@" + p.s[j:end]), end
		}
	}
	return p.user(i)
}

// channel reads #name; a character before the sign turns it into text.
func (p *parser) channel(i int) (Node, int) {
	if before := p.class(i, isTextUnit); before >= 0 && p.at(before) == '#' {
		if end := p.class(before+1, isNameChar); end >= 0 {
			return text(p.s[i:end]), end
		}
	}
	if p.at(i) != '#' {
		return none()
	}
	end := p.span(i+1, isUserName)
	if end == i+1 {
		return none()
	}
	return Node{Kind: Channel, Text: p.s[i+1 : end]}, end
}
