package grammar

import "strings"

// autoLink reads a bare address.
func (p *parser) autoLink(i int) (Node, int) {
	if r, _ := p.rune(i); !isScheme(r) && p.domainChar(i) < 0 {
		return none()
	}
	if p.d != V31 {
		if j := p.upTo(i, " \t\r\n:./@"); !p.is(j, "://") && p.at(j) != '.' {
			return none()
		}
	}
	j := p.addressHead(i)
	if j < 0 {
		return none()
	}
	for j < len(p.s) {
		r, n := p.rune(j)
		if isSpace(r) || r == '\r' || r == '\n' {
			break
		}
		if isExtra(r) {
			end := p.span(j, isExtra)
			if p.isSpace(end) || p.isEndOfLine(end) || p.d != V31 && end >= len(p.s) {
				break
			}
		}
		j += n
	}
	p.steps -= (j - i) / 8
	s := p.s[i:j]
	if !KnownHost(s, p.d) {
		return text(s), j
	}
	href := s
	if !strings.HasPrefix(s, "//") && !isURL(s) {
		href = "//" + s
	}
	return Node{Kind: Link, Target: href, Kids: []Node{text(s)}}, j
}

// isURL reports whether s is a whole address, as browsers see it.
func isURL(s string) bool {
	scheme, _, ok := strings.Cut(s, ":")
	if !ok || scheme == "" || !isAlpha(rune(scheme[0])) {
		return false
	}
	for _, r := range scheme {
		if !isScheme(r) && r != '.' {
			return false
		}
	}
	return true
}

// underscoreDomain turns an underscore before a server name into text, unless
// another one ends italic text after it.
func (p *parser) underscoreDomain(i int) (Node, int) {
	if p.at(i) != '_' {
		return none()
	}
	j := p.domain(i + 1)
	if j < 0 || p.at(j) == '_' {
		return none()
	}
	return text(p.s[i:j]), j
}

// mailLink reads an email address.
func (p *parser) mailLink(i int) (Node, int) {
	if p.class(i, isLocalPart) < 0 || p.d != V31 && p.at(p.upTo(i, " \t\r\n@")) != '@' {
		return none()
	}
	if p.is(i, "mailto:") {
		i += len("mailto:")
	}
	at := p.localPart(i)
	if at < 0 || p.at(at) != '@' {
		return none()
	}
	j := p.domain(at + 1)
	if j < 0 {
		return none()
	}
	s := p.s[i:j]
	if !KnownHost("mailto:"+s, p.d) {
		return text(s), j
	}
	return Node{Kind: Link, Target: "mailto:" + s, Kids: []Node{text(s)}}, j
}

// localPart reads what stands before the "@" of an address.
func (p *parser) localPart(i int) int {
	piece := func(i int) int {
		j := i
		for {
			k := p.span(j, isLocalPart)
			if k == j {
				break
			}
			j = p.span(k, isLocalSpecial)
		}
		if j == i {
			return fail
		}
		return j
	}
	j := piece(i)
	if j < 0 {
		return fail
	}
	for p.at(j) == '.' {
		k := piece(j + 1)
		if k < 0 {
			break
		}
		j = k
	}
	p.steps -= (j - i) / 8
	return j
}

// phone reads +49123456 and +(49)123-456, and returns the number as written and as
// dialled.
func (p *parser) phone(i int) (written, number string, end int) {
	if p.at(i) != '+' {
		return "", "", fail
	}
	i++
	var prefix, digits string
	j := p.span(i, isDigit)
	if j > i {
		prefix, digits = p.s[i:j], p.s[i:j]
	} else if p.at(i) == '(' {
		k := p.span(i+1, isDigit)
		if k == i+1 || p.at(k) != ')' {
			return "", "", fail
		}
		j, prefix, digits = k+1, p.s[i:k+1], p.s[i+1:k]
	} else {
		return "", "", fail
	}
	bracketed := prefix[0] == '('
	if p.at(j) == '-' {
		if k := p.span(j+1, isDigit); k > j+1 {
			return "+" + p.s[i:k], digits + p.s[j+1:k], k
		}
	}
	if k := p.span(j, isDigit); bracketed && k > j {
		if p.at(k) == '-' {
			if l := p.span(k+1, isDigit); l > k+1 {
				return "+" + p.s[i:l], digits + p.s[j:k] + p.s[k+1:l], l
			}
		}
		return "+" + p.s[i:k], digits + p.s[j:k], k
	}
	if bracketed {
		return "", "", fail
	}
	return "+" + prefix, digits, j
}

func (p *parser) phoneLink(i int) (Node, int) {
	written, number, j := p.phone(i)
	if j < 0 {
		return none()
	}
	if len(number) < 5 {
		return text(written), j
	}
	return Node{Kind: Link, Target: "tel:" + number, Kids: []Node{text(written)}}, j
}
