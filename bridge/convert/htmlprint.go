package convert

import (
	"html"
	"strconv"
	"strings"

	"maunium.net/go/mautrix/id"
)

// printHTML writes a document as the HTML that Matrix clients show. Lines are
// separated by <br>; a block separates itself from its neighbours, so that empty
// lines next to one take one <br> each.
func printHTML(doc []block) string {
	w := &htmlPrinter{}
	w.blocks(doc)
	return w.String()
}

type htmlPrinter struct {
	strings.Builder
	space bool // the last character was a blank, so another would not be seen
}

func (w *htmlPrinter) blocks(doc []block) {
	for i := 0; i < len(doc); {
		if doc[i].kind != line {
			w.block(doc[i])
			i++
			continue
		}
		first := i
		for ; i < len(doc) && doc[i].kind == line; i++ {
			if i > first {
				w.WriteString("<br>")
			}
			w.runs(doc[i].runs)
		}
		if len(doc[i-1].runs) == 0 && i < len(doc) {
			w.WriteString("<br>")
		}
	}
}

func (w *htmlPrinter) block(b block) {
	switch b.kind {
	case heading:
		tag := "h" + strconv.Itoa(b.n)
		w.WriteString("<" + tag + ">")
		w.runs(b.runs)
		w.WriteString("</" + tag + ">")
	case quote:
		w.WriteString("<blockquote>")
		w.blocks(b.kids)
		w.WriteString("</blockquote>")
	case list:
		w.list(b)
	case item:
		w.item(b)
	case fence:
		w.WriteString("<pre><code")
		if b.lang != "" {
			w.WriteString(` class="language-` + html.EscapeString(b.lang) + `"`)
		}
		w.WriteString(">" + escapeText(b.text) + "\n</code></pre>")
	case math:
		w.WriteString(`<div data-mx-maths="` + html.EscapeString(b.text) + `"><pre><code>` + escapeText(b.text) + "\n</code></pre></div>")
	case rule:
		w.WriteString("<hr>")
	case table:
		w.table(b)
	case line, tableRow: // blocks and table write them
	}
}

// table writes a table, whose first row has the headings.
func (w *htmlPrinter) table(b block) {
	w.WriteString("<table>")
	for i, row := range b.kids {
		part, cell := "", "td"
		switch i {
		case 0:
			part, cell = "thead", "th"
			w.WriteString("<thead>")
		case 1:
			w.WriteString("<tbody>")
		}
		w.WriteString("<tr>")
		for _, c := range row.kids {
			w.WriteString("<" + cell + ">")
			w.runs(c.runs)
			w.WriteString("</" + cell + ">")
		}
		w.WriteString("</tr>")
		if part != "" {
			w.WriteString("</thead>")
		}
	}
	if len(b.kids) > 1 {
		w.WriteString("</tbody>")
	}
	w.WriteString("</table>")
}

func (w *htmlPrinter) list(b block) {
	tag := "ul"
	if b.ordered {
		tag = "ol"
	}
	w.WriteString("<" + tag)
	if b.ordered && b.n != 1 {
		w.WriteString(` start="` + strconv.Itoa(b.n) + `"`)
	}
	w.WriteString(">")
	w.blocks(b.kids)
	w.WriteString("</" + tag + ">")
}

func (w *htmlPrinter) item(b block) {
	w.WriteString("<li>")
	w.WriteString(taskBox(b.task))
	w.blocks(b.kids)
	w.WriteString("</li>")
}

// taskBox returns the checkbox before a task item.
func taskBox(t taskState) string {
	switch t {
	case openTask:
		return "☐ "
	case doneTask:
		return "☑ "
	case noTask:
	}
	return ""
}

func (w *htmlPrinter) runs(runs []run) {
	w.space = true
	writeMarked(&w.Builder, runs, openHTML, shutHTML, w.run)
}

var htmlTags = map[style]string{bold: "strong", italic: "em", strike: "del"}

func openHTML(m mark) string {
	switch {
	case m.target != "":
		return `<a href="` + html.EscapeString(m.target) + `">`
	case m.style == spoiler:
		return "<span data-mx-spoiler>"
	}
	return "<" + htmlTags[m.style] + ">"
}

func shutHTML(m mark) string {
	switch {
	case m.target != "":
		return "</a>"
	case m.style == spoiler:
		return "</span>"
	}
	return "</" + htmlTags[m.style] + ">"
}

func (w *htmlPrinter) run(r run) {
	switch r.kind {
	case plainText:
		w.text(r.text)
	case inlineCode:
		w.WriteString("<code>")
		w.text(r.text)
		w.WriteString("</code>")
	case userMention:
		w.anchor(id.UserID(r.target).URI().MatrixToURL(), r.text)
	case channelLink:
		w.anchor(roomURL(r.target), r.text)
	case roomMention:
		w.text("@room")
	case emoticon:
		name := html.EscapeString(r.text)
		w.WriteString(`<img data-mx-emoticon src="` + html.EscapeString(r.target) + `" alt="` + name + `" title="` + name + `" height="32">`)
		w.space = false
	case inlineMath:
		w.WriteString(`<span data-mx-maths="` + html.EscapeString(r.text) + `"><code>`)
		w.text(r.text)
		w.WriteString("</code></span>")
	}
}

func (w *htmlPrinter) anchor(href, text string) {
	w.WriteString(`<a href="` + html.EscapeString(href) + `">`)
	w.text(text)
	w.WriteString("</a>")
}

// roomURL returns the address of a room by its ID or alias.
func roomURL(room string) string {
	if strings.HasPrefix(room, "#") {
		return id.RoomAlias(room).URI().MatrixToURL()
	}
	return id.RoomID(room).URI().MatrixToURL()
}

// text writes text so that all of its blanks are visible: browsers show one of
// several, and none at the beginning of a line, unless they are no-break spaces.
func (w *htmlPrinter) text(s string) {
	for _, r := range s {
		switch r {
		case '&', '<', '>':
			w.WriteString(escapeText(string(r)))
			w.space = false
		case '\t':
			for range 4 {
				w.blank()
			}
		case ' ':
			w.blank()
		default:
			w.WriteRune(r)
			w.space = false
		}
	}
}

var escapeText = strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;").Replace

func (w *htmlPrinter) blank() {
	if w.space {
		w.WriteRune('\u00a0')
	} else {
		w.WriteByte(' ')
	}
	w.space = true
}
