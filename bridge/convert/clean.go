package convert

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// cleanText removes from a stranger's text the characters that only serve to show
// something other than what is there: those that change the direction of what
// follows, those that hide text in invisible letters, and control characters.
// Characters that scripts and emoji need stay: joiners, isolates, direction marks.
func cleanText(s string) string {
	if isASCIIText(s) {
		return s
	}
	flag := false // inside a flag made of letters, such as that of Wales
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\u2028' || r == '\u2029' || r == '\u0085' || r == '\v' || r == '\f':
			return '\n'
		case r == '\U0001F3F4':
			flag = true
			return r
		case isTag(r) && flag:
			flag = r != '\U000E007F'
			return r
		}
		flag = false
		if hidden(r) {
			return -1
		}
		return r
	}, strings.ToValidUTF8(s, "\ufffd"))
}

// cutText returns at most n bytes of s, whole characters only.
func cutText(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:max(n, 0)]
}

func isASCIIText(s string) bool {
	for i := range len(s) {
		if c := s[i]; c >= utf8.RuneSelf || c < ' ' && c != '\n' && c != '\t' || c == 0x7f {
			return false
		}
	}
	return true
}

func isTag(r rune) bool { return r >= 0xE0020 && r <= 0xE007F }

// hidden reports whether a character is invisible and harmful.
func hidden(r rune) bool {
	switch {
	case r == '\n' || r == '\t':
		return false
	case unicode.IsControl(r), isTag(r), r == 0xE0001:
		return true
	case r >= 0x202A && r <= 0x202E: // embeddings and overrides of direction
		return true
	case r >= 0x2061 && r <= 0x2064, r >= 0x206A && r <= 0x206F, r == 0xFEFF, r == 0x180E, r == 0x115F, r == 0x1160, r == 0x3164, r == 0xFFA0:
		return true
	case r >= 0xFFF9 && r <= 0xFFFB:
		return true
	}
	return false
}
