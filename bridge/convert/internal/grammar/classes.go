package grammar

import (
	"strings"
	"unicode"
)

func isDigit(r rune) bool { return r >= '0' && r <= '9' }

func isAlpha(r rune) bool { return r|0x20 >= 'a' && r|0x20 <= 'z' && r < 0x80 }

func isAlnum(r rune) bool { return isAlpha(r) || isDigit(r) }

func isHex(r rune) bool { return isDigit(r) || r|0x20 >= 'a' && r|0x20 <= 'f' && r < 0x80 }

// isExtra reports whether a character ends a sentence rather than an address.
func isExtra(r rune) bool { return r < 0x80 && strings.IndexByte(".,!%~*\"':;()=", byte(r)) >= 0 }

// isLinkExtra is the same inside [text](address).
func isLinkExtra(r rune) bool { return r < 0x80 && strings.IndexByte(".,!%*\"':;=", byte(r)) >= 0 }

func isSafe(r rune) bool { return r < 0x80 && strings.IndexByte("$@&+_#?-", byte(r)) >= 0 }

// isAnyText reports whether a character is ordinary text, which cannot be markup.
func isAnyText(r rune) bool {
	return r >= 0x20 && r <= 0x27 || r >= 0x2b && r <= 0x5a || r >= 0x61 && r <= 0x7a || r >= 0x80
}

// isTextUnit reports whether a character is one UTF-16 unit of that; pictures have two.
func isTextUnit(r rune) bool { return isAnyText(r) && r <= 0xffff }

// isNameChar is a letter or digit of any script; names are of the basic plane.
func isNameChar(r rune) bool {
	if r < 0x80 {
		return isAlnum(r)
	}
	return r <= 0xffff && (unicode.IsLetter(r) || unicode.Is(unicode.Nd, r))
}

func isUserName(r rune) bool { return isNameChar(r) || r == '-' || r == '_' || r == '.' }

// isLocalPart reports whether an email address may begin with a character: letters,
// digits, accents and all kinds of pictures.
func isLocalPart(r rune) bool {
	if isNameChar(r) {
		return true
	}
	switch {
	case r < 0x80:
		return false
	case r > 0xffff, unicode.IsMark(r):
		return true
	case r >= 0x2190 && r <= 0x21ff, r >= 0x2600 && r <= 0x27bf, r >= 0x20d0 && r <= 0x20f0, r >= 0x23e9 && r <= 0x23f3, r >= 0x23f8 && r <= 0x23fa:
		return true
	}
	return strings.ContainsRune("©®™ℹ\u200d\ufe0f\ufe0e㊙㊗〽〰Ⓜ‼⁉▪▫▶◀◻◼◽◾⬅⬆⬇⬛⬜⭐⭕⌚⌛⌨⏏⤴⤵", r)
}

func isLocalSpecial(r rune) bool {
	return r < 0x80 && strings.IndexByte("!#$%&'*+/=?^_`{|}~-", byte(r)) >= 0
}

func isScheme(r rune) bool { return isAlnum(r) || r == '+' || r == '-' }

func isShortcode(r rune) bool { return isAlnum(r) || r == '-' || r == '_' || r == '+' || r == '.' }

func isLanguage(r rune) bool { return isAlnum(r) || r == ' ' || r == '_' || r == '-' || r == '.' }

// isURLBody reports whether a character may be part of the address in <address|text>.
func isURLBody(r rune) bool {
	return r >= 0x20 && r <= 0x28 || r >= 0x2a && r <= 0x5b || r >= 0x5d && r <= 0x7b || r == '}' || r == '~' || r >= 0x80
}

// isOldURLBody is the same for all links of V31.
func isOldURLBody(r rune) bool { return isAnyText(r) || strings.ContainsRune("*[/]^_`{}~(", r) }
