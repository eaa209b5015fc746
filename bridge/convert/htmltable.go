package convert

import (
	"strings"
	"unicode/utf8"

	"golang.org/x/net/html/atom"
)

// A tableReader collects the cells of a table.
type tableReader struct {
	caption string
	rows    [][][]run
	headed  bool // the first row has headings
}

// Limits for aligning a table that is shown as preformatted text; a larger one is
// not aligned, but keeps its text.
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
	h.table = &tableReader{}
	t.shut = func() {
		h.flush()
		tb := h.table
		h.table = nil
		if tb.caption != "" {
			h.add(block{kind: line, runs: []run{{text: tb.caption, style: bold}}})
		}
		if b := tb.block(); visible(b.kids) {
			h.add(b)
		}
	}
}

// startCell handles the tags inside a table. Blocks in cells become plain text.
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

func (t *tableReader) cell(head bool) {
	if len(t.rows) == 0 {
		t.rows = append(t.rows, nil)
	}
	last := len(t.rows) - 1
	if len(t.rows[last]) < maxColumns {
		t.rows[last] = append(t.rows[last], nil)
	}
	t.headed = t.headed || head && last == 0
}

// add puts text into the last cell; text outside of cells creates one.
func (t *tableReader) add(runs []run) {
	var cell runBuilder
	for _, l := range splitRuns(runs) {
		for _, r := range trimRuns(l) {
			cell.add(r)
		}
		cell.add(run{text: " "})
	}
	text := trimRuns(cell.take())
	if len(text) == 0 {
		return
	}
	if len(t.rows) == 0 || len(t.rows[len(t.rows)-1]) == 0 {
		t.cell(false)
	}
	row := t.rows[len(t.rows)-1]
	if c := &row[len(row)-1]; len(*c) > 0 {
		*c = append(append(*c, run{text: " "}), text...)
	} else {
		*c = text
	}
}

// block returns the table as a block, without rows that have no cells.
func (t *tableReader) block() block {
	b := block{kind: table}
	if t.headed {
		b.n = 1
	}
	for _, row := range t.rows {
		if len(row) == 0 {
			continue
		}
		cells := block{kind: tableRow}
		for _, c := range row {
			cells.kids = append(cells.kids, block{kind: line, runs: c})
		}
		b.kids = append(b.kids, cells)
	}
	return b
}

// runsText returns the text of runs on one line.
func runsText(runs []run) string {
	var b strings.Builder
	for _, r := range runs {
		b.WriteString(r.text)
	}
	return strings.Join(strings.Fields(b.String()), " ")
}

// tableText aligns the columns of a table.
func tableText(t block) string {
	var widths [maxColumns]int
	rows := make([][]string, len(t.kids))
	for n, row := range t.kids {
		for i, c := range row.kids[:min(len(row.kids), maxColumns)] {
			text := runsText(c.runs)
			widths[i] = max(widths[i], min(utf8.RuneCountInString(text), maxCellWidth))
			rows[n] = append(rows[n], text)
		}
	}
	var b strings.Builder
	for n, row := range rows {
		writeRow(&b, row, widths[:], " ")
		if n == 0 && t.n > 0 {
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
