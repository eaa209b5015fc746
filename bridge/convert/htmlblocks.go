package convert

import (
	"strings"

	"golang.org/x/net/html/atom"
)

func isBlockTag(name atom.Atom) bool {
	switch name {
	case atom.P, atom.Div, atom.Blockquote, atom.Ul, atom.Ol, atom.Li, atom.Pre, atom.Details, atom.Summary, atom.Table, atom.Thead, atom.Tbody,
		atom.Caption, atom.Tr, atom.Td, atom.Th, atom.H1, atom.H2, atom.H3, atom.H4, atom.H5, atom.H6, mxReply:
		return true
	}
	return false
}

// startBlock opens a block and sets what closes it.
func (h *htmlParser) startBlock(name atom.Atom, attrs map[string]string, t *openTag) bool {
	t.block = true
	if h.table != nil && name != atom.Table {
		return h.startCell(name, t)
	}
	switch name {
	case atom.P:
		h.flush()
		h.paragraph = h.paragraph || h.afterLine()
		t.shut = func() { h.flush(); h.paragraph = true }
	case atom.Div:
		h.flush()
		if latex := attrs["data-mx-maths"]; latex != "" && h.hidden == 0 {
			h.add(block{kind: math, text: cleanText(strings.TrimSpace(latex))})
			h.hide(t)
			return true
		}
		t.shut = h.flush
	case atom.Blockquote:
		h.push(block{kind: quote}, t)
	case atom.Ul:
		h.push(block{kind: list}, t)
	case atom.Ol:
		h.push(block{kind: list, ordered: true, n: number(attrs["start"], 1)}, t)
	case atom.Li:
		h.push(block{kind: item}, t)
	case atom.Pre:
		h.startPre(t)
	case atom.H1, atom.H2, atom.H3, atom.H4, atom.H5, atom.H6:
		h.startHeading(int(name.String()[1]-'0'), t)
	case atom.Details:
		h.flush()
		t.shut = h.flush
	case atom.Summary:
		h.startSummary(t)
	case atom.Table:
		h.startTable(t)
	case mxReply, atom.Script, atom.Style, atom.Title, atom.Template, atom.Iframe, atom.Noembed, atom.Noframes, atom.Textarea:
		h.flush()
		h.hide(t)
	default:
		t.block = false
		return false
	}
	return true
}

// push opens a block that holds others. Lists hold only items, and only lists hold
// items, so missing levels in between are opened too.
func (h *htmlTree) push(b block, t *openTag) {
	h.flush()
	depth := len(h.containers)
	if h.hidden > 0 || depth > maxDepth {
		t.shut = h.flush
		return
	}
	parent := h.containers[depth-1]
	switch inList := parent.kind == list; {
	case b.kind == item && !inList:
		h.containers = append(h.containers, &block{kind: list})
	case b.kind != item && inList:
		it := block{kind: item}
		if n := len(parent.kids); n > 0 {
			it, parent.kids = parent.kids[n-1], parent.kids[:n-1]
		}
		h.containers = append(h.containers, &it)
	}
	h.containers = append(h.containers, &b)
	h.paragraph = false
	t.shut = func() {
		h.flush()
		for len(h.containers) > depth {
			h.pop()
		}
	}
}

// pop closes the innermost block and adds it to the one around it.
func (h *htmlTree) pop() {
	n := len(h.containers) - 1
	b := h.containers[n]
	h.containers = h.containers[:n]
	b.kids = trimLines(b.kids)
	if b.kind == item && len(b.kids) > 0 && b.task == noTask {
		b.task = takeTask(b.kids)
	}
	if len(b.kids) > 0 || b.kind == item {
		h.add(*b)
	}
}

// takeTask reads the checkbox before an item, as the bridge itself writes it.
func takeTask(kids []block) taskState {
	if kids[0].kind != line || len(kids[0].runs) == 0 || kids[0].runs[0].kind != plainText {
		return noTask
	}
	for _, s := range []taskState{openTask, doneTask} {
		if rest, ok := strings.CutPrefix(kids[0].runs[0].text, taskBox(s)); ok && rest != "" {
			kids[0].runs[0].text = rest
			return s
		}
	}
	return noTask
}

// add adds a block at the current place. Text directly in a list becomes an item.
func (h *htmlTree) add(b block) {
	parent := h.containers[len(h.containers)-1]
	if parent.kind == list && b.kind != item {
		b = block{kind: item, kids: []block{b}}
	}
	parent.kids = append(parent.kids, b)
	h.paragraph = false
}

// flush turns the text so far into lines, because a block begins or ends.
func (h *htmlTree) flush() {
	runs := h.runs
	h.runs = nil
	if h.table != nil {
		h.table.add(runs)
		return
	}
	lines := splitRuns(runs)
	if len(lines) == 0 {
		return
	}
	if h.paragraph {
		h.addLine(nil)
	}
	for _, l := range lines {
		h.addLine(l)
	}
}

// afterLine reports whether the text directly before is a line.
func (h *htmlTree) afterLine() bool {
	kids := h.containers[len(h.containers)-1].kids
	return len(kids) > 0 && kids[len(kids)-1].kind == line
}

func (h *htmlTree) addLine(runs []run) {
	parent := h.containers[len(h.containers)-1]
	if parent.kind == list && len(runs) == 0 {
		return
	}
	h.add(block{kind: line, runs: runs})
}

// hide omits the text up to the end of the tag.
func (h *htmlTree) hide(t *openTag) {
	h.hidden++
	t.shut = func() { h.hidden-- }
}

func (h *htmlParser) startPre(t *openTag) {
	h.flush()
	h.pre, h.preTag = &strings.Builder{}, block{kind: fence}
	t.shut = func() {
		b := h.preTag
		b.text = strings.TrimSuffix(strings.TrimPrefix(cleanText(h.pre.String()), "\n"), "\n")
		h.pre = nil
		if h.hidden == 0 && strings.Trim(b.text, "\n") != "" {
			h.add(b)
		}
	}
}

func (h *htmlParser) startHeading(level int, t *openTag) {
	h.flush()
	t.shut = func() {
		runs := h.runs
		h.runs = nil
		var joined runBuilder
		for i, l := range splitRuns(runs) {
			if i > 0 && len(l) > 0 {
				joined.add(run{text: " "})
			}
			for _, r := range l {
				joined.add(r)
			}
		}
		if one := trimRuns(joined.take()); len(one) > 0 {
			h.add(block{kind: heading, n: level, runs: one})
		}
	}
}

// startSummary begins the line that stands for folded text; the text itself follows
// unfolded.
func (h *htmlParser) startSummary(t *openTag) {
	h.flush()
	h.addRun(run{text: "▸ "})
	h.styles[styleIndex(bold)]++
	t.shut = func() {
		h.styles[styleIndex(bold)]--
		h.flush()
	}
}
