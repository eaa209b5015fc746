package grammar

import "strings"

// emoji reads a shortcode or a Unicode emoji.
func (p *parser) emoji(i int) (Node, int) {
	if p.at(i) == ':' {
		if j := p.span(i+1, isShortcode); j > i+1 && p.at(j) == ':' {
			return Node{Kind: Emoji, Text: p.s[i : j+1], Target: p.s[i+1 : j]}, j + 1
		}
		return none()
	}
	if r, _ := p.rune(i); r < 0x80 && (p.d != V32 || !isDigit(r) && r != '#' && r != '*') {
		return none()
	}
	read := p.oldPicture
	if p.d == V32 {
		read = p.picture
	}
	j := read(i)
	if j < 0 {
		return none()
	}
	return Node{Kind: Emoji, Text: p.s[i:j]}, j
}

func in(lo, hi rune) func(rune) bool { return func(r rune) bool { return r >= lo && r <= hi } }

var (
	isVariation = in(0xfe00, 0xfe0f)
	isTone      = in(0x1f3fb, 0x1f3ff)
)

// varied reads a character of a set and its variation selector.
func (p *parser) varied(i int, set func(rune) bool) int {
	j := p.class(i, set)
	if j < 0 {
		return fail
	}
	if k := p.class(j, isVariation); k >= 0 {
		return k
	}
	return j
}

func isSymbol(r rune) bool { return r >= 0x1f300 && r <= 0x1f5ff }

// oldPicture reads a Unicode emoji as V31 and V36 define it.
func (p *parser) oldPicture(i int) int {
	if j := p.class(i, in(0x1f600, 0x1f64f)); j >= 0 {
		return j
	}
	if j := p.class(i, in(0x1f900, 0x1f9ff)); j >= 0 {
		if k := p.joined(j, func(i int) int { return p.varied(i, isSymbol) }); k >= 0 {
			return k
		}
		return j
	}
	if j := p.joined(i, func(i int) int {
		j := p.varied(i, isSymbol)
		if j >= 0 {
			if k := p.class(j, isTone); k >= 0 {
				return k
			}
		}
		return j
	}); j >= 0 {
		return j
	}
	if j := p.class(i, in(0x1f680, 0x1f6fa)); j >= 0 {
		return j
	}
	if j := p.varied(i, func(r rune) bool { return r >= 0x2300 && r <= 0x23ff || r >= 0x2600 && r <= 0x27bf }); j >= 0 {
		return j
	}
	return p.pair(i, in(0x1f100, 0x1f1ff))
}

const joiner = "\u200d"

// joined reads pictures that joiners combine into one.
func (p *parser) joined(i int, one func(int) int) int {
	j := one(i)
	if j < 0 {
		return fail
	}
	for p.is(j, joiner) {
		k := one(j + len(joiner))
		if k < 0 {
			break
		}
		j = k
	}
	return j
}

// pair reads the two letters of a flag.
func (p *parser) pair(i int, letter func(rune) bool) int {
	j := p.class(i, letter)
	if j < 0 {
		return fail
	}
	return p.class(j, letter)
}

// picture reads a Unicode emoji as V32 defines it.
func (p *parser) picture(i int) int {
	if j := p.letterFlag(i); j >= 0 {
		return j
	}
	if j := p.class(i, func(r rune) bool { return isDigit(r) || r == '#' || r == '*' }); j >= 0 {
		if p.is(j, "\ufe0f") {
			j += len("\ufe0f")
		}
		return p.class(j, in(0x20e3, 0x20e3))
	}
	if j := p.joined(i, p.toned); j >= 0 {
		return j
	}
	for _, set := range []func(rune) bool{in(0x2300, 0x23ff), isBoxedLetter} {
		if j := p.varied(i, set); j >= 0 {
			return j
		}
	}
	if j := p.class(i, isOnlyVaried); j >= 0 && p.is(j, "\ufe0f") {
		return j + len("\ufe0f")
	}
	return p.pair(i, in(0x1f1e6, 0x1f1ff))
}

// toned reads a picture that may be part of a joined one, with a skin tone.
func (p *parser) toned(i int) int {
	j := p.varied(i, func(r rune) bool {
		return isSymbol(r) || r >= 0x1f600 && r <= 0x1f64f || r >= 0x1f680 && r <= 0x1f6ff || r >= 0x2600 && r <= 0x27bf ||
			r == 0x2194 || r == 0x2195 || r == 0x2b1b || r == 0x2b1c || r >= 0x1f7e0 && r <= 0x1f7eb || r == 0x1f7f0
	})
	if j < 0 {
		if j = p.class(i, in(0x1f900, 0x1fbff)); j < 0 {
			return fail
		}
	}
	if k := p.class(j, isTone); k >= 0 {
		return k
	}
	return j
}

// letterFlag reads a flag that is spelt in letters, such as that of Wales.
func (p *parser) letterFlag(i int) int {
	j := p.class(i, in(0x1f3f4, 0x1f3f4))
	if j < 0 {
		return fail
	}
	end := p.span(j, in(0xe0020, 0xe007e))
	if end == j {
		return fail
	}
	return p.class(end, in(0xe007f, 0xe007f))
}

func isBoxedLetter(r rune) bool {
	return r == 0x1f0cf || r == 0x1f18e || r >= 0x1f191 && r <= 0x1f19a || r == 0x1f201 || r >= 0x1f232 && r <= 0x1f23a || r == 0x1f250 || r == 0x1f251
}

// isOnlyVaried reports whether a character is an emoji only with a selector.
func isOnlyVaried(r rune) bool {
	if r >= 0x2196 && r <= 0x2199 || r >= 0x25fb && r <= 0x25fe {
		return true
	}
	return strings.ContainsRune("©®‼⁉™ℹ↩↪Ⓜ▪▫▶◀⤴⤵⬅⬆⬇⭐⭕〰〽㊗㊙🀄🅰🅱🅾🅿🈂🈚🈯", r)
}

// surrogateEmoji reports whether a character is among those by which V36 recognises
// emoji, which are more than emoji.
func surrogateEmoji(r rune) bool { return r >= 0x1f000 && r <= 0x1fbff }
