package convert

import (
	"strconv"
	"strings"
)

// A mdPrinter writes a document in Rocket.Chat's dialect.
type mdPrinter struct {
	// typed says that the text was typed as it is, not marked up as HTML: what
	// looks like a quote or a list in it was meant to look like one.
	typed bool
}

// printMarkdown writes a document as a Rocket.Chat message.
func printMarkdown(doc []block, typed bool) string {
	p := mdPrinter{typed: typed}
	var out []string
	for _, l := range p.lines(doc, false) {
		out = append(out, l.text)
	}
	return quietEveryone(strings.Join(out, "\n"))
}

// A printedLine may have to stand at the left margin: code blocks do.
type printedLine struct {
	text string
	left bool
}

func (p mdPrinter) lines(doc []block, inQuote bool) []printedLine {
	var out []printedLine
	add := func(s string) { out = append(out, printedLine{text: s}) }
	for _, b := range doc {
		switch b.kind {
		case line:
			add(p.start(p.line(b.runs), inQuote))
		case heading:
			add(p.heading(b, inQuote))
		case quote:
			for _, l := range p.lines(b.kids, true) {
				add(strings.TrimRight("> "+l.text, " "))
			}
		case list:
			out = append(out, p.list(b, inQuote)...)
		case item:
			out = append(out, p.item(b, "- ", inQuote)...)
		case fence:
			out = append(out, p.fence(b, inQuote)...)
		case math:
			out = append(out, p.math(b, inQuote)...)
		case rule:
			add("---")
		}
	}
	return out
}

// heading writes a heading; Rocket.Chat has four levels. They are bold anyway, and
// older clients show marks in them as they are.
func (p mdPrinter) heading(b block, inQuote bool) string {
	runs := append([]run{}, b.runs...)
	for i := range runs {
		runs[i].style &^= emphasis
		if inQuote {
			runs[i].style |= bold
		}
	}
	if inQuote {
		return p.line(runs)
	}
	return strings.Repeat("#", min(b.n, 4)) + " " + strings.TrimLeft(p.line(runs), " ")
}

func (p mdPrinter) list(b block, inQuote bool) []printedLine {
	var out []printedLine
	for i, it := range b.kids {
		bullet := "- "
		if b.ordered {
			bullet = strconv.Itoa(b.n+i) + ". "
		}
		out = append(out, p.item(it, bullet, inQuote)...)
	}
	return out
}

// item writes an item and, indented, what is below it.
func (p mdPrinter) item(b block, bullet string, inQuote bool) []printedLine {
	indent := strings.Repeat(" ", len(bullet))
	switch b.task {
	case openTask:
		bullet += "[ ] "
	case doneTask:
		bullet += "[x] "
	}
	var kids []block
	for _, k := range b.kids {
		if k.kind != line || len(k.runs) > 0 {
			kids = append(kids, k)
		}
	}
	if len(kids) > 0 && kids[0].kind == list { // without a line of its own
		return p.lines(kids, inQuote)
	}
	inner := mdPrinter{typed: true} // nothing begins a block after a bullet
	var first []printedLine
	if len(kids) > 0 && kids[0].kind == line {
		first = []printedLine{{text: inner.line(kids[0].runs)}}
		kids = kids[1:]
	} else {
		first = []printedLine{{}}
	}
	first[0].text = strings.TrimRight(bullet+strings.TrimLeft(first[0].text, " \t"), " ")
	for _, l := range p.lines(kids, inQuote) {
		if !l.left {
			l.text = indent + l.text
		}
		first = append(first, l)
	}
	return first
}

// fence writes preformatted text. Quotes cannot hold any: there each line is code
// of its own.
func (p mdPrinter) fence(b block, inQuote bool) []printedLine {
	lines := strings.Split(b.text, "\n")
	var out []printedLine
	if inQuote {
		for _, s := range lines {
			out = append(out, printedLine{text: p.line([]run{{kind: inlineCode, text: s}})})
		}
		return out
	}
	out = append(out, printedLine{"```" + fenceLang(b.lang), true})
	for _, s := range lines {
		if strings.HasPrefix(s, "```") { // would end it
			s = "\u200b" + s
		}
		out = append(out, printedLine{s, true})
	}
	return append(out, printedLine{"```", true})
}

// fenceLang returns a language in a form that Rocket.Chat reads: with another
// character it would not see a code block at all.
func fenceLang(lang string) string {
	return strings.NewReplacer("+", "p", "#", "sharp").Replace(lang)
}

func (p mdPrinter) math(b block, inQuote bool) []printedLine {
	if inQuote || strings.Contains(b.text, `\]`) || strings.TrimSpace(b.text) == "" {
		return p.fence(b, inQuote)
	}
	var out []printedLine
	for _, s := range strings.Split(`\[`+b.text+`\]`, "\n") {
		out = append(out, printedLine{s, true})
	}
	return out
}

// start keeps a line of text from beginning a block.
func (p mdPrinter) start(s string, inQuote bool) string {
	if headingLevel(s) > 0 {
		return `\` + s
	}
	if s == "||" {
		return "|" + zeroWidth + "|"
	}
	if p.typed || inQuote {
		return s
	}
	trimmed := strings.TrimLeft(s, " \t")
	if m, ok := parseMarker(s); ok && m.bullet == '.' {
		return strings.Replace(s, ".", `\.`, 1)
	} else if ok || strings.HasPrefix(s, ">") || len(trimmed) > 2 && strings.Trim(trimmed, "- \t") == "" {
		return zeroWidth + s
	}
	return s
}

// zeroWidth keeps characters apart that would be markup together and cannot be
// escaped. Nobody sees it.
const zeroWidth = "\u200b"
