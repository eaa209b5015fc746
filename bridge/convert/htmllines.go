package convert

import (
	"slices"
	"strings"
)

// splitRuns splits runs at line breaks; the last break only ends the last line.
// Blanks at the ends of lines are invisible in HTML; no-break spaces are not, and
// become blanks where they stand in for them.
func splitRuns(runs []run) [][]run {
	if len(runs) == 0 {
		return nil
	}
	lines := [][]run{nil}
	broken := false
	for _, r := range runs {
		for i, part := range strings.Split(r.text, "\n") {
			if i > 0 {
				lines = append(lines, nil)
				broken = true
			}
			if part != "" {
				p := r
				p.text = part
				n := len(lines) - 1
				lines[n] = append(lines[n], p)
			}
		}
	}
	for i := range lines {
		lines[i] = tidyLine(lines[i])
	}
	if last := len(lines) - 1; broken && len(lines[last]) == 0 {
		lines = lines[:last]
	}
	if !broken && len(lines[0]) == 0 {
		return nil
	}
	return lines
}

// tidyLine removes the blanks at both ends and merges runs that look the same.
func tidyLine(runs []run) []run {
	runs = trimRuns(runs)
	var out runBuilder
	blank := true
	for i, r := range runs {
		if r.kind == plainText || r.kind == inlineCode {
			r.text, blank = blanks(r.text, blank, i+1 < len(runs) && !startsBlank(runs[i+1].text))
		} else {
			blank = false
		}
		out.add(r)
	}
	return joinCode(out.take())
}

// joinCode merges pieces of code that came from the same tag.
func joinCode(runs []run) []run {
	if !slices.ContainsFunc(runs, func(r run) bool { return r.kind == inlineCode }) {
		return runs
	}
	var out []run
	for i := 0; i < len(runs); {
		r, n := runs[i], 1
		for r.kind == inlineCode && i+n < len(runs) && runs[i+n].kind == inlineCode && runs[i+n].target == r.target && runs[i+n].style == r.style {
			n++
		}
		if n > 1 {
			var b strings.Builder
			for _, piece := range runs[i : i+n] {
				b.WriteString(piece.text)
			}
			r.text = b.String()
		}
		if r.kind == inlineCode {
			r.target = ""
		}
		out = append(out, r)
		i += n
	}
	return out
}

func trimRuns(runs []run) []run {
	for len(runs) > 0 && runs[0].kind == plainText {
		runs[0].text = strings.TrimLeft(runs[0].text, " \t")
		if runs[0].text != "" {
			break
		}
		runs = runs[1:]
	}
	for len(runs) > 0 && runs[len(runs)-1].kind == plainText {
		last := &runs[len(runs)-1]
		last.text = strings.TrimRight(last.text, " \t")
		if last.text != "" {
			break
		}
		runs = runs[:len(runs)-1]
	}
	return runs
}

func startsBlank(s string) bool {
	return strings.HasPrefix(s, " ") || strings.HasPrefix(s, "\u00a0")
}

const noBreak = '\u00a0'

// blanks turns no-break spaces into ordinary blanks if they only keep several
// blanks apart or begin a line. One between two words stays: it is intentional.
func blanks(s string, blankBefore, textAfter bool) (string, bool) {
	if !strings.ContainsRune(s, noBreak) {
		return s, strings.HasSuffix(s, " ")
	}
	rs := []rune(s)
	for i, r := range rs {
		if r == noBreak {
			next := !textAfter
			if i+1 < len(rs) {
				next = rs[i+1] == ' ' || rs[i+1] == noBreak
			}
			if blankBefore || next {
				rs[i] = ' '
			}
		}
		blankBefore = rs[i] == ' '
	}
	return string(rs), blankBefore
}
