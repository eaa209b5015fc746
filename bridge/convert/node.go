package convert

import "strings"

// Between the two forms is a small document: blocks, and lines of runs. Both
// parsers make one and all printers take one, so each form is read in one place and
// written in one place. Runs are deliberately flat: what is nested in the original
// (bold in italic in a link) is a set of properties of a run, so nothing below this
// needs recursion over inline text, and hostile nesting has nothing to nest.

// A style is a set of ways in which text looks.
type style uint8

const (
	bold style = 1 << iota
	italic
	strike
	spoiler
)

const emphasis = bold | italic | strike

type runKind uint8

const (
	plainText   runKind = iota
	inlineCode          // text is shown as it is
	userMention         // of the person named by target
	roomMention         // everybody
	channelLink         // a room; target is where it leads
	inlineMath          // LaTeX
	emoticon            // a custom emoji; text is its shortcode, target its picture
)

// A run is a piece of a line whose text looks the same throughout. In lines that
// are not split yet, text may hold "\n".
type run struct {
	kind   runKind
	text   string
	target string // plain text: where a link leads; mentions: who; emoticons: mxc://
	style  style
}

type blockKind uint8

const (
	line    blockKind = iota // runs without a line break; no runs at all is an empty line
	heading                  // like a line, of level n
	quote                    // of kids
	list                     // of items; numbered from n when ordered
	item                     // of kids
	fence                    // preformatted text
	math                     // LaTeX of its own
	rule
	table    // of rows, the first one of headings
	tableRow // of lines
)

type taskState uint8

const (
	noTask taskState = iota
	openTask
	doneTask
)

type block struct {
	kind    blockKind
	runs    []run
	kids    []block
	text    string // of a fence or math
	lang    string // of a fence
	n       int
	ordered bool
	task    taskState
}

// A runBuilder collects runs, and merges neighbours that look the same.
type runBuilder struct {
	runs []run
	last run // plain text that may grow, in text
	text strings.Builder
}

func (b *runBuilder) add(r run) {
	if r.text == "" {
		return
	}
	same := r.kind == plainText && r.style == b.last.style && r.target == b.last.target
	if b.text.Len() > 0 && !same || r.kind != plainText {
		b.flush()
	}
	if r.kind != plainText {
		b.runs = append(b.runs, r)
		return
	}
	b.last = r
	b.text.WriteString(r.text)
}

func (b *runBuilder) flush() {
	if b.text.Len() > 0 {
		b.last.text = b.text.String()
		b.runs = append(b.runs, b.last)
		b.text.Reset()
	}
}

// take returns the runs and empties the builder.
func (b *runBuilder) take() []run {
	b.flush()
	runs := b.runs
	b.runs = nil
	return runs
}

// isPlain reports whether a document can be shown without any markup.
func isPlain(doc []block) bool {
	for _, b := range doc {
		if b.kind != line {
			return false
		}
		for _, r := range b.runs {
			if r.kind == roomMention && r.style == 0 || r.kind == plainText && r.style == 0 && (r.target == "" || r.target == r.text) {
				continue
			}
			return false
		}
	}
	return true
}

// visible reports whether a document shows anything at all.
func visible(doc []block) bool {
	for _, b := range doc {
		if b.kind == rule || strings.TrimFunc(b.text, invisible) != "" || visible(b.kids) {
			return true
		}
		for _, r := range b.runs {
			if strings.TrimFunc(r.text, invisible) != "" {
				return true
			}
		}
	}
	return false
}

// trimLines drops empty lines at both ends.
func trimLines(doc []block) []block {
	empty := func(b block) bool { return b.kind == line && len(b.runs) == 0 }
	for len(doc) > 0 && empty(doc[0]) {
		doc = doc[1:]
	}
	for len(doc) > 0 && empty(doc[len(doc)-1]) {
		doc = doc[:len(doc)-1]
	}
	return doc
}
