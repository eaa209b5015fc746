package convert

import (
	"strings"
	"unicode/utf8"

	"golang.org/x/net/html/atom"
)

// A table collects the text of its cells. It is shown as preformatted text, the
// one form that every version of Rocket.Chat and every client lines up.
type table struct {
	caption string
	rows    [][]string
	headed  bool // the first row has headings
}

// Limits of what is lined up; a larger table is not, its text stays.
const (
	maxColumns   = 32
	maxCellWidth = 60
)

func (h *htmlParser) startTable(t *openTag) {
	h.flush()
	if h.table != nil { // in a cell: its text belongs to the cell
		t.shut = func() {}
		return
	}
	h.table = &table{}
	t.shut = func() {
		h.flush()
		tb := h.table
		h.table = nil
		if tb.caption != "" {
			h.add(block{kind: line, runs: []run{{text: tb.caption, style: bold}}})
		}
		if text := tb.String(); text != "" {
			h.add(block{kind: fence, text: text})
		}
	}
}

// startCell handles the tags inside a table. Blocks in cells are only text.
func (h *htmlParser) startCell(name atom.Atom, t *openTag) bool {
	t.shut = func() {}
	switch name {
	case atom.Tr:
		h.flush()
		h.table.rows = append(h.table.rows, nil)
	case atom.Td, atom.Th:
		h.flush()
		h.table.cell(name == atom.Th)
		t.shut = h.flush
	case atom.Caption:
		h.flush()
		t.shut = func() {
			h.table.caption = runsText(h.runs)
			h.runs = nil
		}
	case atom.P, atom.Div, atom.Li, atom.Pre, atom.Blockquote:
		h.flush()
	case atom.Script, atom.Style, atom.Title, atom.Template, atom.Iframe, atom.Textarea, mxReply:
		h.hide(t)
	case atom.Thead, atom.Tbody:
	default:
		return false
	}
	return true
}

func (t *table) cell(head bool) {
	if len(t.rows) == 0 {
		t.rows = append(t.rows, nil)
	}
	last := len(t.rows) - 1
	if len(t.rows[last]) < maxColumns {
		t.rows[last] = append(t.rows[last], "")
	}
	t.headed = t.headed || head && last == 0
}

// add puts text into the last cell; text outside of cells makes one.
func (t *table) add(runs []run) {
	text := runsText(runs)
	if text == "" {
		return
	}
	if len(t.rows) == 0 || len(t.rows[len(t.rows)-1]) == 0 {
		t.cell(false)
	}
	row := t.rows[len(t.rows)-1]
	row[len(row)-1] = strings.TrimSpace(row[len(row)-1] + " " + text)
}

// runsText returns the text of runs on one line.
func runsText(runs []run) string {
	var b strings.Builder
	for _, r := range runs {
		b.WriteString(r.text)
	}
	return strings.Join(strings.Fields(b.String()), " ")
}

// String lines the columns up.
func (t *table) String() string {
	var widths [maxColumns]int
	for _, row := range t.rows {
		for i, c := range row {
			widths[i] = max(widths[i], min(utf8.RuneCountInString(c), maxCellWidth))
		}
	}
	var b strings.Builder
	for n, row := range t.rows {
		if len(row) == 0 {
			continue
		}
		writeRow(&b, row, widths[:], " ")
		if n == 0 && t.headed {
			writeRow(&b, make([]string, len(row)), widths[:], "-")
		}
	}
	return strings.TrimSuffix(b.String(), "\n")
}

func writeRow(b *strings.Builder, row []string, widths []int, fill string) {
	for i, c := range row {
		b.WriteString("|" + fill + c + strings.Repeat(fill, max(0, widths[i]-utf8.RuneCountInString(c))) + fill)
	}
	b.WriteString("|\n")
}
