package convert

import (
	"slices"
	"strconv"
	"strings"

	"appliance/bridge/convert/internal/grammar"
)

// maxDepth bounds how deep quotes and lists may be nested in input and output.
// Anything deeper is shown at this depth.
const maxDepth = 20

// An mdPrinter writes a document as Rocket.Chat reads it. It writes the last line
// first, because the meaning of a line depends on what follows it.
type mdPrinter struct {
	d        Dialect
	after    string // what follows the line being written
	effort   int    // how much work is left
	brackets bool   // ordinary text has some, which a link after them may end
}

// maxEffort bounds the work on one message, in rules tried: a few tenths of a second.
// Honest messages of the largest size take a fraction of it.
const maxEffort = 2_500_000

// printMarkdown writes a document as a Rocket.Chat message.
func printMarkdown(doc []block, d Dialect) string {
	p := mdPrinter{d: d, effort: maxEffort, brackets: hasBrackets(doc)}
	text := strings.Join(p.lines(doc, false), "\n")
	for _, face := range grammar.Emoticons(text, d) { // emoji if the message has nothing else
		if !hasKind(doc, emoticon) {
			text = strings.Replace(text, face, face[:1]+zeroWidth+face[1:], 1)
		}
	}
	return quietEveryone(text)
}

func hasKind(doc []block, kind runKind) bool {
	for _, b := range doc {
		if hasKind(b.kids, kind) || slices.ContainsFunc(b.runs, func(r run) bool { return r.kind == kind }) {
			return true
		}
	}
	return false
}

// hasBrackets reports whether ordinary text contains a bracket that may begin a link.
func hasBrackets(doc []block) bool {
	for _, b := range doc {
		if hasBrackets(b.kids) {
			return true
		}
		for _, r := range b.runs {
			if r.kind == plainText && strings.Contains(r.text, "[") {
				return true
			}
		}
	}
	return false
}

// maxAfter is how much of what follows a line is considered.
const maxAfter = 1 << 10

// lines writes blocks. inQuote means that they are in a quote, where Rocket.Chat
// supports no blocks.
func (p *mdPrinter) lines(doc []block, inQuote bool) []string {
	var parts [][]string
	after := p.after
	for i := len(doc) - 1; i >= 0; i-- {
		lines := p.block(doc[i], inQuote)
		parts = append(parts, lines)
		p.after = cutText("\n"+strings.Join(lines, "\n")+p.after, maxAfter)
	}
	p.after = after
	var out []string
	for i := len(parts) - 1; i >= 0; i-- {
		out = append(out, parts[i]...)
	}
	return out
}

func (p *mdPrinter) block(b block, inQuote bool) []string {
	switch b.kind {
	case line:
		return []string{p.line(b.runs, inQuote)}
	case heading:
		return []string{p.heading(b, inQuote)}
	case quote:
		return p.quote(b)
	case list:
		return p.list(b, inQuote, 0)
	case item:
		return p.item(b, "- ", inQuote, 0)
	case fence:
		return p.fence(b, inQuote)
	case math:
		return p.math(b, inQuote)
	case rule:
		return []string{"---"}
	case table:
		return p.table(b, inQuote)
	case tableRow:
		return p.lines(b.kids, inQuote)
	}
	return nil
}

// line writes a line of text that must not begin a block.
func (p *mdPrinter) line(runs []run, inQuote bool) string {
	s := p.write(runs)
	if inQuote || !beginsBlock(s+p.after, p.d) {
		return s
	}
	trimmed := strings.TrimLeft(s, "0123456789")
	switch {
	case s[0] == '#' || s[0] == '*' && len(runs) > 0 && runs[0].style&emphasis == 0:
		return `\` + s
	case trimmed != s && strings.HasPrefix(trimmed, "."):
		return s[:len(s)-len(trimmed)] + `\` + trimmed
	}
	return zeroWidth + s
}

// write writes runs as a line.
func (p *mdPrinter) write(runs []run) string {
	if s, ok := harmless(runs); ok {
		return s
	}
	return writePieces(makePieces(runs, p.d, p.brackets), p.d, p.after, false, &p.effort)
}

// cell writes runs as a cell of a table.
func (p *mdPrinter) cell(runs []run) string {
	return writePieces(makePieces(runs, p.d, true), p.d, " |", true, &p.effort)
}

// beginsBlock reports whether a text begins with something other than a line.
func beginsBlock(s string, d Dialect) bool {
	if s == "" || strings.IndexByte("#*>|`-0123456789\\ \t", s[0]) < 0 {
		return false
	}
	if strings.HasPrefix(s, "```") { // whether it ends or not
		return true
	}
	k := grammar.First(s, d)
	return k != grammar.Paragraph && k != grammar.LineBreak
}

// heading writes a heading; Rocket.Chat has four levels. Headings are bold anyway,
// and some versions show marks in them literally.
func (p *mdPrinter) heading(b block, inQuote bool) string {
	runs := append([]run{}, b.runs...)
	for i := range runs {
		runs[i].style &^= bold
		if inQuote {
			runs[i].style |= bold
		}
	}
	if inQuote {
		return p.line(runs, true)
	}
	var text string
	if p.d == grammar.V31 {
		text = runsText(runs)
	} else {
		text = strings.TrimLeft(p.write(runs), " ")
	}
	return strings.Repeat("#", min(b.n, 4)) + " " + text
}

// quote writes a quote. A quote within a quote is text that begins with the mark.
func (p *mdPrinter) quote(b block) []string {
	out := p.lines(b.kids, true)
	for i, l := range out {
		out[i] = strings.TrimRight("> "+l, " ")
	}
	return out
}

func (p *mdPrinter) list(b block, inQuote bool, depth int) []string {
	var parts [][]string
	after := p.after
	tasks := 0 // at the beginning of the list: Rocket.Chat supports no others
	for tasks < len(b.kids) && b.kids[tasks].task != noTask && !b.ordered {
		tasks++
	}
	for i := len(b.kids) - 1; i >= 0; i-- {
		bullet := "- "
		if b.ordered {
			bullet = strconv.Itoa(b.n+i) + ". "
		}
		it := b.kids[i]
		if i >= tasks {
			bullet += taskBox(it.task)
			it.task = noTask
		}
		lines := p.item(it, bullet, inQuote, depth)
		parts = append(parts, lines)
		p.after = cutText("\n"+strings.Join(lines, "\n")+p.after, maxAfter)
	}
	p.after = after
	var out []string
	for i := len(parts) - 1; i >= 0; i-- {
		out = append(out, parts[i]...)
	}
	return out
}

// emSpace indents an item that is below another: Rocket.Chat's lists are flat.
const emSpace = "\u2003"

// item writes an item, followed by what is below it.
func (p *mdPrinter) item(b block, bullet string, inQuote bool, depth int) []string {
	switch b.task {
	case openTask:
		bullet = "- [ ] "
	case doneTask:
		bullet = "- [x] "
	case noTask:
	}
	var kids []block
	for _, k := range b.kids {
		if k.kind != line || len(k.runs) > 0 {
			kids = append(kids, k)
		}
	}
	if len(kids) > 0 && kids[0].kind == list { // without a line of its own
		return p.below(kids, inQuote, depth)
	}
	var runs []run
	if len(kids) > 0 && (kids[0].kind == line || kids[0].kind == heading) {
		runs, kids = kids[0].runs, kids[1:]
	}
	rest := p.below(kids, inQuote, depth)
	after := p.after
	if len(rest) > 0 {
		p.after = cutText("\n"+strings.Join(rest, "\n")+p.after, maxAfter)
	}
	first := strings.TrimLeft(p.write(runs), " \t")
	p.after = after
	if first == "" || strings.HasPrefix(first, "[x] ") || strings.HasPrefix(first, "[ ] ") {
		first = zeroWidth + first
	}
	return append([]string{bullet + strings.Repeat(emSpace, depth) + first}, rest...)
}

// below writes what is below an item.
func (p *mdPrinter) below(kids []block, inQuote bool, depth int) []string {
	var out []string
	for _, k := range kids {
		switch k.kind {
		case list:
			out = append(out, p.list(k, inQuote, min(depth+1, 4))...)
		case line:
			out = append(out, emSpace+p.write(k.runs))
		default:
			out = append(out, p.block(k, inQuote)...)
		}
	}
	return out
}

// fence writes preformatted text. Quotes cannot contain any: there each line
// becomes code of its own.
func (p *mdPrinter) fence(b block, inQuote bool) []string {
	lines := strings.Split(b.text, "\n")
	if inQuote {
		for i, s := range lines {
			lines[i] = p.write([]run{{kind: inlineCode, text: s}})
		}
		return lines
	}
	if lines[0] == "" { // would not be shown
		lines[0] = zeroWidth
	}
	out := []string{"```" + fenceLang(b.lang)}
	for _, s := range lines {
		for strings.Contains(s, "```") { // would end it
			s = strings.ReplaceAll(s, "```", "``"+zeroWidth+"`")
		}
		if (p.d == grammar.V36 || p.d == 0) && strings.HasSuffix(s, "`") { // would not be a code block there
			s += zeroWidth
		}
		out = append(out, s)
	}
	return append(out, "```")
}

// fenceLang returns a language in a form that Rocket.Chat accepts: with any other
// character it would not recognise a code block at all.
func fenceLang(lang string) string {
	return strings.NewReplacer("+", "p", "#", "sharp").Replace(lang)
}

func isLangChar(r rune) bool {
	return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("_-.+#", r)
}

func (p *mdPrinter) math(b block, inQuote bool) []string {
	if inQuote || strings.Contains(b.text, `\]`) || strings.TrimSpace(b.text) == "" {
		return p.fence(b, inQuote)
	}
	return strings.Split(`\[`+b.text+`\]`, "\n")
}

// table writes a table, or aligns it as preformatted text where Rocket.Chat
// supports no tables.
func (p *mdPrinter) table(b block, inQuote bool) []string {
	if inQuote || p.d != grammar.V32 || len(b.kids) == 0 {
		return p.fence(block{text: tableText(b)}, inQuote)
	}
	width := 1
	for _, row := range b.kids {
		width = max(width, len(row.kids))
	}
	var out []string
	for i, row := range b.kids {
		s := "|"
		for j := range width {
			cell := ""
			if j < len(row.kids) {
				cell = p.cell(row.kids[j].runs)
			}
			s += " " + cell + " |"
		}
		if out = append(out, s); i == 0 {
			out = append(out, "|"+strings.Repeat(" --- |", width))
		}
	}
	return out
}

// zeroWidth separates characters that would be markup together and cannot be
// escaped. It is invisible.
const zeroWidth = "\u200b"
