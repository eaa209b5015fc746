package convert

import (
	"strconv"
	"strings"
)

// maxDepth bounds how deep quotes and lists may be nested in what we read and
// write. What is deeper is shown at this depth.
const maxDepth = 20

// parseMarkdown reads what people write in Rocket.Chat. The dialect is that of
// Rocket.Chat's own message-parser, and a little wider where people mean
// something that it does not know yet: nested quotes and lists, code blocks in
// languages such as c++.
func parseMarkdown(text string, look Lookup) []block {
	text = strings.NewReplacer("\r\n", "\n", "\r", "\n").Replace(strings.ToValidUTF8(text, "\ufffd"))
	p := &mdParser{look: look}
	return trimLines(p.blocks(strings.Split(text, "\n"), 0))
}

type mdParser struct{ look Lookup }

// blocks reads lines that stand at the same depth.
func (p *mdParser) blocks(lines []string, depth int) []block {
	var doc []block
	fences := fenceEnds(lines)
	for i := 0; i < len(lines); {
		if hidden, n := p.spoilers(lines[i:]); n > 2 {
			doc = append(doc, hidden...)
			i += n
			continue
		}
		b, n := p.block(lines, i, fences, depth)
		doc = append(doc, b)
		i += n
	}
	return doc
}

// block reads the block that begins at line i and returns how many lines it took.
func (p *mdParser) block(lines []string, i int, fences []int, depth int) (block, int) {
	s := lines[i]
	if lang, ok := fenceStart(s); ok && fences[i+1] < len(lines) {
		end := fences[i+1]
		return block{kind: fence, lang: lang, text: strings.Join(lines[i+1:end], "\n")}, end + 1 - i
	}
	if depth < maxDepth && strings.HasPrefix(s, ">") && strings.Trim(s, "> \t") != "" {
		return p.quote(lines, i, depth)
	}
	if depth < maxDepth {
		if m, ok := parseMarker(s); ok {
			return p.list(lines, i, m, depth)
		}
	}
	if level := headingLevel(s); level > 0 {
		return block{kind: heading, n: level, runs: p.inline(strings.TrimLeft(s[level:], " \t"))}, 1
	}
	if t := strings.TrimSpace(s); len(t) >= 3 && strings.Trim(t, "-") == "" {
		return block{kind: rule}, 1
	}
	if n := tableRows(lines[i:]); n > 0 {
		return block{kind: fence, text: strings.Join(lines[i:i+n], "\n")}, n
	}
	if text, n := mathBlock(lines[i:]); n > 0 {
		return block{kind: math, text: text}, n
	}
	return block{kind: line, runs: p.inline(s)}, 1
}

// fenceStart reads the first line of a code block.
func fenceStart(s string) (lang string, ok bool) {
	lang, ok = strings.CutPrefix(s, "```")
	if !ok || strings.ContainsFunc(lang, func(r rune) bool { return !isLangChar(r) }) {
		return "", false
	}
	lang, _, _ = strings.Cut(strings.TrimSpace(lang), " ")
	return lang, true
}

func isLangChar(r rune) bool {
	return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune(" _-.+#", r)
}

// fenceEnds returns for each line the next one, it included, that ends a code
// block.
func fenceEnds(lines []string) []int {
	ends := make([]int, len(lines)+1)
	ends[len(lines)] = len(lines)
	for i := len(lines) - 1; i >= 0; i-- {
		ends[i] = ends[i+1]
		if strings.HasPrefix(lines[i], "```") && strings.Trim(lines[i][3:], " \t") == "" {
			ends[i] = i
		}
	}
	return ends
}

// quote reads the lines that begin with ">", which may be quotes themselves.
func (p *mdParser) quote(lines []string, i, depth int) (block, int) {
	var inner []string
	n := 0
	for ; i+n < len(lines) && strings.HasPrefix(lines[i+n], ">"); n++ {
		s := lines[i+n][1:]
		if strings.HasPrefix(s, " ") || strings.HasPrefix(s, "\t") {
			s = s[1:]
		}
		inner = append(inner, s)
	}
	return block{kind: quote, kids: trimLines(p.blocks(inner, depth+1))}, n
}

// A marker is what a list item begins with.
type marker struct {
	indent  int
	bullet  byte // '.' for a number
	n       int
	content string
}

func parseMarker(s string) (marker, bool) {
	rest := strings.TrimLeft(s, " \t")
	m := marker{indent: len(s) - len(rest)}
	if rest == "" {
		return m, false
	}
	if c := rest[0]; c == '-' || c == '*' || c == '+' {
		m.bullet, rest = c, rest[1:]
	} else {
		digits := len(rest) - len(strings.TrimLeft(rest, "0123456789"))
		if digits == 0 || digits > 9 || digits >= len(rest) || rest[digits] != '.' {
			return m, false
		}
		m.bullet, m.n = '.', atoi(rest[:digits])
		rest = rest[digits+1:]
	}
	m.content = strings.TrimLeft(rest, " \t")
	if m.content == "" || m.content == rest {
		return m, false
	}
	// "* a * b" is bold text after all.
	return m, m.bullet != '*' || strings.Count(m.content, "*")%2 == 0
}

func atoi(s string) int {
	n, _ := strconv.Atoi(s)
	return n
}

// list reads the items from line i on that are as deep as the first, with those
// below them. A change of the kind of bullet, or a gap in the numbers, begins
// another list.
func (p *mdParser) list(lines []string, i int, first marker, depth int) (block, int) {
	b := block{kind: list, ordered: first.bullet == '.', n: first.n}
	n, want := 0, first
	for i+n < len(lines) {
		m, ok := parseMarker(lines[i+n])
		if !ok || m.indent < first.indent {
			break
		}
		if m.indent > first.indent+1 && len(b.kids) > 0 && depth < maxDepth {
			sub, took := p.list(lines, i+n, m, depth+1)
			last := &b.kids[len(b.kids)-1]
			last.kids = append(last.kids, sub)
			n += took
			continue
		}
		if m.bullet != want.bullet || m.n != want.n {
			break
		}
		b.kids = append(b.kids, p.item(m))
		n++
		if b.ordered {
			want.n++
		}
	}
	return b, n
}

func (p *mdParser) item(m marker) block {
	it := block{kind: item}
	if m.bullet == '-' {
		for _, t := range []struct {
			mark  string
			state taskState
		}{{"[ ]", openTask}, {"[x]", doneTask}} {
			if rest, ok := strings.CutPrefix(m.content, t.mark); ok && strings.TrimLeft(rest, " \t") != rest {
				it.task, m.content = t.state, strings.TrimLeft(rest, " \t")
			}
		}
	}
	it.kids = []block{{kind: line, runs: p.inline(m.content)}}
	return it
}

func headingLevel(s string) int {
	n := len(s) - len(strings.TrimLeft(s, "#"))
	if n < 1 || n > 4 || n == len(s) || s[n] != ' ' && s[n] != '\t' || strings.TrimSpace(s[n:]) == "" {
		return 0
	}
	return n
}

// tableRows returns how many lines of a table stand at the beginning.
func tableRows(lines []string) int {
	if len(lines) < 2 || !isRow(lines[0]) || !isRow(lines[1]) || strings.Trim(lines[1], "|-: \t") != "" || !strings.Contains(lines[1], "-") {
		return 0
	}
	n := 2
	for n < len(lines) && isRow(lines[n]) {
		n++
	}
	return n
}

func isRow(s string) bool {
	t := strings.TrimSpace(s)
	return len(t) > 1 && t[0] == '|' && t[len(t)-1] == '|'
}

// mathBlock reads \[ ... \], which may span lines.
func mathBlock(lines []string) (text string, n int) {
	if !strings.HasPrefix(lines[0], `\[`) {
		return "", 0
	}
	for i, s := range lines[:min(len(lines), maxMathLines)] {
		if before, ok := strings.CutSuffix(strings.TrimRight(s, " \t"), `\]`); ok && (i > 0 || len(before) >= 2) {
			all := append(append([]string{}, lines[:i]...), before)
			return strings.TrimSpace(strings.Join(all, "\n")[2:]), i + 1
		}
	}
	return "", 0
}

// maxMathLines bounds how far the end of a formula is looked for.
const maxMathLines = 50

// spoilers reads lines between two that are "||" alone.
func (p *mdParser) spoilers(lines []string) (doc []block, n int) {
	if lines[0] != "||" {
		return nil, 0
	}
	for i, s := range lines[1:min(len(lines), maxMathLines)] {
		if s == "||" {
			return doc, i + 2
		}
		runs := p.inline(s)
		for j := range runs {
			runs[j].style |= spoiler
		}
		doc = append(doc, block{kind: line, runs: runs})
	}
	return nil, 0
}
