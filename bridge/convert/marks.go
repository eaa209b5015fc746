package convert

import (
	"slices"
	"strings"
)

// A mark is something that is open while runs are written: a style, or a link to
// somewhere.
type mark struct {
	style  style
	target string
}

// marksOf returns the marks of a run, the outermost first: spoilers, because
// Rocket.Chat supports them nowhere else, then the styles that all of its link has,
// the link, and the styles that only a part of it has.
func marksOf(r run, outside style) []mark {
	var marks []mark
	if r.style&spoiler != 0 {
		marks = append(marks, mark{style: spoiler})
	}
	linked := r.target != "" && r.kind == plainText
	for _, s := range []style{bold, italic, strike} {
		if r.style&s != 0 && (!linked || outside&s != 0) {
			marks = append(marks, mark{style: s})
		}
	}
	if !linked {
		return marks
	}
	marks = append(marks, mark{target: r.target})
	for _, s := range []style{bold, italic, strike} {
		if r.style&s&^outside != 0 {
			marks = append(marks, mark{style: s})
		}
	}
	return marks
}

// linkStyles returns for each run the styles common to all runs of its link.
func linkStyles(runs []run) []style {
	styles := make([]style, len(runs))
	for i := 0; i < len(runs); {
		n := max(linkLength(runs[i:]), 1)
		common := bold | italic | strike | spoiler
		for _, r := range runs[i : i+n] {
			common &= r.style
		}
		for j := range n {
			styles[i+j] = common
		}
		i += n
	}
	return styles
}

// stays returns how many of the open marks can stay open while want is written: the
// outermost ones that are also wanted, in any order. A new spoiler has to be
// outermost, so in that case none of them can stay.
func stays[M comparable](open, want []M, isSpoiler func(M) bool) int {
	for _, m := range want {
		if isSpoiler(m) && !slices.Contains(open, m) {
			return 0
		}
	}
	n := 0
	for n < len(open) && slices.Contains(want, open[n]) {
		n++
	}
	return n
}

// writeMarked writes runs with opening and closing marks around them.
func writeMarked(w *strings.Builder, runs []run, open, shut func(mark) string, write func(run)) {
	var stack []mark
	to := func(want []mark) {
		keep := stays(stack, want, func(m mark) bool { return m.style == spoiler })
		for len(stack) > keep {
			w.WriteString(shut(stack[len(stack)-1]))
			stack = stack[:len(stack)-1]
		}
		for _, m := range want {
			if !slices.Contains(stack, m) {
				w.WriteString(open(m))
				stack = append(stack, m)
			}
		}
	}
	outside := linkStyles(runs)
	for i, r := range runs {
		to(marksOf(r, outside[i]))
		write(r)
	}
	to(nil)
}
