package convert

import (
	"strings"
	"unicode"
)

// linkLength returns how many runs share the link that the first one has.
func linkLength(runs []run) int {
	n := 0
	for n < len(runs) && runs[n].kind == plainText && runs[n].target != "" && runs[n].target == runs[0].target {
		n++
	}
	return n
}

// word writes an address, or a word with an underscore after it, as it is, and
// returns its length, or 0 when there is none.
func (e *escaper) word(s string, st style) int {
	if n := emailSpan(s); n > 0 && st&emphasis == 0 {
		e.whole(run{text: s[:n], style: st}, s[:n])
		return n
	}
	if s[0] == '@' || s[0] == '#' && e.prev != '\\' { // underscores belong to a name
		n := nameSpan(s[1:])
		if n > 0 {
			n++
			e.whole(run{text: s[:n], style: st}, s[:n])
		}
		return n
	}
	n := autoSpan(s)
	switch {
	case e.breakDot:
		n = 0
	case n > 0 && st&emphasis == 0:
		return e.address(s, n, st)
	case n > 0 && linkable(s[:n]):
		e.linked(s[:n], st)
		return n
	}
	if st&italic == 0 {
		n = wordThenUnderscore(s)
		if n > 0 {
			e.whole(run{text: s[:n], style: st}, s[:n])
		}
		return n
	}
	return 0
}

// address writes an address of n bytes and what ends the sentence after it, which
// is found not to belong to it. When that could begin emphasis it has to be
// escaped, and then the address must not go on up to the next blank.
func (e *escaper) address(s string, n int, st style) int {
	end := n + len(s[n:]) - len(strings.TrimLeft(s[n:], addressEnd))
	if !e.opens(s[:end], s[n:end]) {
		text := s[:end]
		if k := strings.Index(text, "]("); k >= 0 && e.bracket && looksLikeAddress(s[k+2:]) {
			text = strings.ReplaceAll(text, "](", "]"+zeroWidth+"(") // a link is looked for first
		}
		e.whole(run{text: s[:end], style: st}, text)
		e.segments[len(e.segments)-1].address = end == len(s)
		return end
	}
	if linkable(s[:n]) && linkPart(s[:n]) == s[:n] {
		e.linked(s[:n], st)
		return n
	}
	dot := strings.IndexByte(s, '.')
	if dot < 0 || dot > n { // localhost
		return 0
	}
	e.breakDot = true // and then the underscores before it are marks again
	return 0
}

// opens reports whether a mark at the end of text has another after it.
func (e *escaper) opens(text, end string) bool {
	for _, c := range []byte("*~") {
		if k := strings.Count(end, string(c)); k > 1 || k == 1 && e.left[c] > strings.Count(text, string(c)) {
			return true
		}
	}
	return false
}

// linkable reports whether an address can be written as <url|url>.
func linkable(s string) bool {
	_, ok := linkTarget(s)
	return ok && hasScheme(s) && !strings.ContainsAny(s, "<>|")
}

// linked writes an address in the form that ends where it ends.
func (e *escaper) linked(address string, st style) {
	e.whole(run{text: address, style: st}, "<"+linkPart(address)+"|"+address+">")
}

// looksLikeAddress reports whether a link's address stands before the next ")".
func looksLikeAddress(s string) bool {
	s, _, ok := strings.Cut(s[:min(len(s), maxURL)], ")")
	return ok && !strings.ContainsAny(s, " \t") && (strings.Contains(s, ":") || hostSpan(s) > 0 || strings.HasPrefix(s, "//") || strings.HasPrefix(s, "+"))
}

// startsAngle recognises <url|text> and <t:0123456789>.
func startsAngle(s string) bool {
	if strings.HasPrefix(s, "<t:") {
		return true
	}
	url, rest, ok := strings.Cut(s[1:min(len(s), maxURL)], "|")
	return ok && url != "" && !strings.ContainsAny(url, " \t<>") && strings.Contains(rest, ">")
}

// link writes [label](address), or the address alone when that is the label.
func (e *escaper) link(runs []run) {
	st, label := emphasis|spoiler, ""
	for _, r := range runs {
		e.uncount(r)
		st &= r.style
		label += r.text
	}
	all := run{text: label, style: st}
	target := linkPart(runs[0].target)
	switch {
	case strings.TrimSpace(label) == "":
		e.whole(all, label)
	case label == runs[0].target && st&emphasis == 0 && autoSpan(label) == len(label) && isNameStop(e.prev):
		e.whole(all, label)
	case quietLabel(label):
		e.whole(all, "["+label+"]("+target+")")
	case !strings.ContainsAny(label, "<>|"):
		e.whole(all, "<"+target+"|"+label+">")
	default:
		e.text(label+" ", st)
		e.whole(run{style: st}, "<"+target+"|"+target+">")
	}
}

// quietLabel reports whether nothing in a link's text would be taken for markup:
// nothing in it can be escaped.
func quietLabel(s string) bool {
	for _, c := range []string{"*", "~", "_", "||"} {
		if strings.Count(s, c) > 1 {
			return false
		}
	}
	return !strings.ContainsAny(s, "[]\n<>:") && !strings.HasSuffix(s, `\`)
}

// linkPart writes an address so that it ends where it should.
func linkPart(s string) string {
	var b strings.Builder
	for _, r := range s {
		if strings.ContainsRune(`()<>|[]\ "`+"`", r) || unicode.IsSpace(r) || unicode.IsControl(r) {
			for _, c := range []byte(string(r)) {
				b.WriteString("%" + string("0123456789ABCDEF"[c>>4]) + string("0123456789ABCDEF"[c&15]))
			}
			continue
		}
		b.WriteRune(r)
	}
	return b.String()
}
