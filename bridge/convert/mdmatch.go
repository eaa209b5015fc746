package convert

import "strings"

// A matcher pairs the marks of a line.
type matcher struct {
	tokens []token
	next   map[byte][]int32 // the position of the next mark of a kind, at or after each token
	runs   runBuilder
}

var markStyles = map[byte]style{'*': bold, '_': italic, '~': strike, '|': spoiler}

func newMatcher(tokens []token) *matcher {
	m := &matcher{tokens: tokens, next: map[byte][]int32{}}
	for _, t := range tokens {
		if t.mark != 0 && m.next[t.mark] == nil {
			m.next[t.mark] = make([]int32, len(tokens)+1)
		}
	}
	for c, next := range m.next {
		next[len(tokens)] = int32(len(tokens))
		for i := len(tokens) - 1; i >= 0; i-- {
			next[i] = next[i+1]
			if tokens[i].mark == c {
				next[i] = int32(i)
			}
		}
	}
	return m
}

// match emits the tokens from lo to hi in a style. What it calls itself for is
// inside of marks of another kind, so that it is never deeper than there are
// kinds.
func (m *matcher) match(lo, hi int, st style) {
	for i := lo; i < hi; {
		t := m.tokens[i]
		if t.mark == 0 {
			for _, r := range t.runs {
				r.style |= st
				m.runs.add(r)
			}
			i++
			continue
		}
		open, end, width, literal := m.pair(i, hi, st)
		if width == 0 {
			m.literal(t.mark, 1, st)
			i++
			continue
		}
		inner := st | markStyles[t.mark]
		if literal {
			m.literal(t.mark, width, st)
			m.match(open, end, st)
			m.literal(t.mark, width, st)
		} else {
			m.match(open, end, inner)
		}
		i = end + width
		if i < hi && t.mark == '_' && !literal {
			m.tokens[i].word = false // it was not the word's: that ended before
		}
	}
}

func (m *matcher) literal(mark byte, width int, st style) {
	s := strings.Repeat(string(mark), width)
	if mark == '|' {
		s = "||"
	}
	m.runs.add(run{text: s, style: st})
}

// pair finds what the mark at i begins: the tokens from open to end, between
// marks of that width. width is 0 when it begins nothing; literal says that it is
// a pair, but of ordinary characters, as in "_a_b".
func (m *matcher) pair(i, hi int, st style) (open, end, width int, literal bool) {
	c := m.tokens[i].mark
	if st&markStyles[c] != 0 || m.tokens[i].word {
		return 0, 0, 0, false
	}
	if c != '|' && i+1 < hi && m.tokens[i+1].mark == c {
		if end := m.nextMark(c, i+2); end > i+2 && end+1 < hi && m.tokens[end+1].mark == c && !m.blank(i+2, end) {
			return i + 2, end, 2, c == '_' && m.letterAt(end+2, hi, true)
		}
	}
	if end := m.nextMark(c, i+1); end > i+1 && end < hi && (c == '|' || !m.blank(i+1, end)) {
		return i + 1, end, 1, c == '_' && m.letterAt(end+1, hi, false)
	}
	return 0, 0, 0, false
}

func (m *matcher) nextMark(c byte, i int) int { return int(m.next[c][min(i, len(m.tokens))]) }

// blank reports whether only blanks stand between two marks.
func (m *matcher) blank(lo, hi int) bool {
	return hi == lo+1 && m.tokens[lo].mark == 0 && len(m.tokens[lo].runs) == 1 &&
		m.tokens[lo].runs[0].kind == plainText && strings.Trim(m.tokens[lo].runs[0].text, " \t") == ""
}

// letterAt reports whether a word goes on at token i.
func (m *matcher) letterAt(i, hi int, digits bool) bool {
	if i >= hi || m.tokens[i].mark != 0 || m.tokens[i].runs[0].kind != plainText || m.tokens[i].runs[0].target != "" {
		return false
	}
	c := m.tokens[i].runs[0].text[0]
	return isASCIIAlpha(c) || digits && isASCIIAlnum(c)
}
