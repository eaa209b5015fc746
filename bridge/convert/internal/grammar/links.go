package grammar

import "strings"

// link reads [text](address) and <address|text>.
func (p *parser) link(i int) (Node, int) {
	if p.skip&inLink != 0 {
		return none()
	}
	p.skip |= inLink
	defer func() { p.skip &^= inLink }()
	switch p.at(i) {
	case '[':
		return p.titled(i)
	case '<':
		return p.angled(i)
	}
	return none()
}

func (p *parser) titled(i int) (Node, int) {
	i++
	if !strings.Contains(p.s[i:], "](") {
		return none()
	}
	p.steps -= len(p.s[i:]) / 64
	var title []Node
	for {
		n, j := p.titlePiece(i)
		if j < 0 || !p.spend() {
			break
		}
		title, i = append(title, n), j
	}
	if !p.is(i, "](") {
		return none()
	}
	href, j := p.target(i + 2)
	if j < 0 || p.at(j) != ')' {
		return none()
	}
	if title = Join(title); len(title) == 0 {
		title = []Node{text(href)}
	}
	return Node{Kind: Link, Target: href, Kids: title}, j + 1
}

func (p *parser) titlePiece(i int) (Node, int) {
	n, j := p.first(i, p.whitespace, p.emphasis)
	if j >= 0 {
		return n, j
	}
	if p.d != V31 {
		if j = p.span(i, func(r rune) bool { return r >= 0x80 || strings.IndexByte("]()*_~ \t\r\n", byte(r)) < 0 }); j > i {
			return text(p.s[i:j]), j
		}
	}
	_, size := p.rune(i)
	if size == 0 || p.is(i, "](") && i+2 < len(p.s) || p.d != V31 && p.nextTitle(i) {
		return none()
	}
	return text(p.s[i : i+size]), i + size
}

// nextTitle reports whether "] [text](" stands here: then the next one is the link.
func (p *parser) nextTitle(i int) bool {
	if !p.is(i, "] [") {
		return false
	}
	n := strings.IndexByte(p.s[i+3:], ']')
	p.steps -= max(n, len(p.s)-i) / 64
	return n >= 0 && p.is(i+3+n, "](")
}

func (p *parser) angled(i int) (Node, int) {
	body := isURLBody
	if p.d == V31 {
		body = isOldURLBody
	}
	href, j := p.address(i+1, func(i int) int { return p.urlBody(i, body) })
	if j < 0 || p.at(j) != '|' {
		return none()
	}
	end := p.span(j+1, func(r rune) bool {
		if p.d == V31 && r == '|' || r == '<' || r == '>' || r == '|' {
			return false
		}
		return r >= 0x20
	})
	if end == j+1 || p.at(end) != '>' {
		return none()
	}
	return Node{Kind: Link, Target: href, Kids: []Node{text(p.s[j+1 : end])}}, end + 1
}

// target reads the address of [text](address).
func (p *parser) target(i int) (string, int) {
	if p.d == V31 {
		return p.address(i, func(i int) int { return p.urlBody(i, isOldURLBody) })
	}
	return p.address(i, p.bracketBody)
}

// address reads an address whose rest is read by body, or a telephone number.
func (p *parser) address(i int, body func(int) int) (string, int) {
	if j := p.addressHead(i); j >= 0 {
		if k := body(j); k >= 0 {
			j = k
		}
		return p.s[i:j], j
	}
	if j := p.scheme(i); j >= 0 {
		if k := body(j); k > j {
			return p.s[i:k], k
		}
	}
	if _, number, j := p.phone(i); j >= 0 {
		return "tel:" + number, j
	}
	return "", fail
}

// urlBody returns the end of an address that goes on at i, before the characters
// that end a sentence, or fail.
func (p *parser) urlBody(i int, in func(rune) bool) int {
	for {
		j := p.class(i, in)
		if j < 0 || p.isSpace(i) {
			break
		}
		if r, _ := p.rune(i); isExtra(r) {
			end := p.span(i, isExtra)
			if p.isSpace(end) || p.isEndOfLine(end) || p.d != V31 && end >= len(p.s) {
				break
			}
		}
		i = j
	}
	return i
}

// bracketBody is the same inside round brackets, and counts pairs of them.
func (p *parser) bracketBody(i int) int {
	for i < len(p.s) && p.s[i] != ')' && !p.isSpace(i) {
		r, size := p.rune(i)
		if isLinkExtra(r) {
			if end := p.span(i, isLinkExtra); p.isSpace(end) || p.isEndOfLine(end) {
				return i
			}
		}
		switch {
		case r == '(':
			end := p.span(i+1, func(r rune) bool { return r != ')' && isURLBody(r) && !isSpace(r) })
			if p.at(end) != ')' {
				return i
			}
			i = end + 1
		case isURLBody(r):
			i += size
		default:
			return i
		}
	}
	return i
}

func (p *parser) image(i int) (Node, int) {
	if !p.is(i, "![") {
		return none()
	}
	i += 2
	title, j := p.anyText(i)
	if j < 0 {
		j = i
	}
	if !p.is(j, "](") {
		return none()
	}
	href, k := p.target(j + 2)
	if k < 0 || p.at(k) != ')' {
		return none()
	}
	return Node{Kind: Image, Target: href, Text: title.Text}, k + 1
}

// addressHead reads the beginning of an address: a scheme and a host, or a host.
func (p *parser) addressHead(i int) int {
	if j := p.scheme(i); j >= 0 && p.is(j, "//") {
		j += 2
		if k := p.userInfo(j); k >= 0 {
			if h := p.host(k); h >= 0 {
				return h
			}
		} else if h := p.host(j); h >= 0 {
			return h
		}
	}
	return p.host(i)
}

// scheme reads "https:".
func (p *parser) scheme(i int) int {
	j := i
	for j < len(p.s) && j < i+32 && isScheme(rune(p.s[j])) {
		j++
	}
	if j == i || p.at(j) != ':' {
		return fail
	}
	return j + 1
}

// userInfo reads "name:password@".
func (p *parser) userInfo(i int) int {
	in := func(r rune) bool { return isAlnum(r) || isSafe(r) && r != '@' }
	j := p.span(i, in)
	if j == i {
		return fail
	}
	if p.at(j) == ':' {
		if k := p.span(j+1, in); k > j+1 {
			j = k
		}
	}
	if p.at(j) != '@' {
		return fail
	}
	return j + 1
}

// host reads a server name and a port.
func (p *parser) host(i int) int {
	j := p.domain(i)
	if j < 0 {
		if j = p.fourNumbers(i); j < 0 {
			return fail
		}
	}
	if p.at(j) == ':' {
		if k := p.span(j+1, isDigit); k > j+1 {
			j = k
		}
	}
	return j
}

func (p *parser) fourNumbers(i int) int {
	for n := range 4 {
		if n > 0 {
			if p.at(i) != '.' {
				return fail
			}
			i++
		}
		j := p.span(i, isDigit)
		if j == i {
			return fail
		}
		i = j
	}
	return i
}

// domain reads a name with at least one dot, or localhost.
func (p *parser) domain(i int) int {
	if p.is(i, "localhost") {
		return i + len("localhost")
	}
	if p.d != V31 && p.at(i) == '_' {
		return fail
	}
	j := p.label(i)
	if j < 0 {
		return fail
	}
	dots := 0
	for p.at(j) == '.' {
		k := p.domainChar(j + 1)
		if k < 0 {
			break
		}
		for {
			if l := p.label(k); l >= 0 {
				k = l
				continue
			}
			break
		}
		j = k
		dots++
	}
	if dots == 0 {
		return fail
	}
	return j
}

// label reads characters of a domain; a dash may stand between them.
func (p *parser) label(i int) int {
	j := p.domainChars(i)
	if j < 0 {
		return fail
	}
	for p.at(j) == '-' {
		k := p.domainChars(j + 1)
		if k < 0 {
			break
		}
		j = k
	}
	return j
}

func (p *parser) domainChars(i int) int {
	j := p.domainChar(i)
	if j < 0 {
		return fail
	}
	for {
		p.steps--
		k := p.domainChar(j)
		if k < 0 {
			return j
		}
		j = k
	}
}

// domainChar reads a character of a domain. An underscore or a dash takes the next
// character along, whatever that is.
func (p *parser) domainChar(i int) int {
	r, n := p.rune(i)
	switch {
	case n == 0:
		return fail
	case isAlnum(r):
		return i + n
	case isExtra(r):
		return fail
	case r == '_' || r == '-':
		i++
		if r, n = p.rune(i); n == 0 {
			return fail
		}
	case isSafe(r):
		return fail
	}
	if r == '\r' || r == '\n' || isSpace(r) || r < 0x80 && strings.IndexByte(`\/|><%`+"`", byte(r)) >= 0 || p.d != V31 && (r == '[' || r == ']') {
		return fail
	}
	return i + n
}
