package convert

import (
	"slices"
	"strconv"
	"strings"
)

// printBody writes a document as the text shown where HTML is not: in notifications
// and by simple clients. It is markdown as Matrix users know it.
func printBody(doc []block) string {
	return strings.Join(bodyLines(doc), "\n")
}

func bodyLines(doc []block) []string {
	var out []string
	for _, b := range doc {
		switch b.kind {
		case line:
			out = append(out, bodyLine(b.runs))
		case heading:
			out = append(out, strings.Repeat("#", b.n)+" "+bodyLine(b.runs))
		case quote:
			for _, s := range bodyLines(b.kids) {
				out = append(out, "> "+s)
			}
		case list:
			out = append(out, bodyList(b)...)
		case item:
			out = append(out, bodyItem(b, "- ")...)
		case fence:
			out = append(out, "```"+b.lang)
			out = append(out, strings.Split(b.text, "\n")...)
			out = append(out, "```")
		case math:
			out = append(out, strings.Split("$$"+b.text+"$$", "\n")...)
		case rule:
			out = append(out, "---")
		case table:
			out = append(out, bodyTable(b)...)
		case tableRow: // bodyTable writes it
		}
	}
	return out
}

func bodyTable(b block) []string {
	var out []string
	for i, row := range b.kids {
		s := "|"
		for _, c := range row.kids {
			s += " " + bodyLine(c.runs) + " |"
		}
		if out = append(out, s); i == 0 && b.n > 0 {
			out = append(out, "|"+strings.Repeat(" --- |", len(row.kids)))
		}
	}
	return out
}

func bodyList(b block) []string {
	var out []string
	for i, it := range b.kids {
		bullet := "- "
		if b.ordered {
			bullet = strconv.Itoa(b.n+i) + ". "
		}
		out = append(out, bodyItem(it, bullet)...)
	}
	return out
}

func bodyItem(b block, bullet string) []string {
	switch b.task {
	case openTask:
		bullet += "[ ] "
	case doneTask:
		bullet += "[x] "
	case noTask:
	}
	out := bodyLines(b.kids)
	for i := range out {
		if i == 0 {
			out[i] = bullet + out[i]
		} else {
			out[i] = strings.Repeat(" ", 4) + out[i]
		}
	}
	return out
}

var bodyMarks = map[style]string{bold: "**", italic: "_", strike: "~~", spoiler: "||"}

func bodyLine(runs []run) string {
	var w strings.Builder
	open := func(m mark) string {
		if m.target != "" {
			return "["
		}
		return bodyMarks[m.style]
	}
	shut := func(m mark) string {
		if m.target != "" {
			return "](" + m.target + ")"
		}
		return bodyMarks[m.style]
	}
	shown := slices.Clone(runs)
	for i := range shown {
		if shown[i].target == shown[i].text { // a link that shows its own address
			shown[i].target = ""
		}
	}
	writeMarked(&w, shown, open, shut, func(r run) {
		switch r.kind {
		case inlineCode:
			w.WriteString("`" + r.text + "`")
		case inlineMath:
			w.WriteString("$" + r.text + "$")
		case roomMention:
			w.WriteString("@room")
		default:
			w.WriteString(r.text)
		}
	})
	return w.String()
}
