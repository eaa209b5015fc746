package convert

import (
	"slices"
	"strings"

	"appliance/bridge/convert/internal/grammar"
)

// makePieces cuts runs into pieces that can be written one by one. brackets means
// that links are better written without brackets.
func makePieces(runs []run, d Dialect, brackets bool) []piece {
	pieces := make([]piece, 0, len(runs))
	for i := 0; i < len(runs); {
		if n := linkLength(runs[i:]); n > 0 {
			pieces = append(pieces, linkPieces(runs[i:i+n], brackets)...)
			i += n
			continue
		}
		pieces = append(pieces, runPieces(runs[i])...)
		i++
	}
	if d == grammar.V31 {
		pieces = showSpoilers(pieces)
	}
	settleBlanks(pieces)
	pieces = settleMentions(pieces)
	if brackets {
		breakEnds(pieces)
	}
	return pieces
}

// breakEnds breaks what could end a link that a bracket on another line begins.
func breakEnds(pieces []piece) {
	for i := range pieces {
		p := &pieces[i]
		if !p.isText() {
			continue
		}
		for at := 0; ; {
			n := strings.Index(p.text[at:], "](")
			if n < 0 {
				break
			}
			if at += n + 1; !strings.Contains(p.text[:at-1], "[") {
				p.put(at, zeroWidth)
			}
		}
	}
}

// linkLength returns how many runs share the link of the first one.
func linkLength(runs []run) int {
	n := 0
	for n < len(runs) && runs[n].kind == plainText && runs[n].target != "" && runs[n].target == runs[0].target {
		n++
	}
	return n
}

// linkPieces turns a link into one piece. A text that looks like the address of
// another server is replaced by the address itself.
func linkPieces(runs []run, brackets bool) []piece {
	all := style(0xff)
	for _, r := range runs {
		all &= r.style
	}
	label := make([]run, len(runs))
	for i, r := range runs {
		label[i] = run{text: r.text, style: r.style &^ all &^ spoiler}
	}
	text, target := runsText(label), runs[0].target
	if strings.TrimSpace(text) == "" {
		return []piece{{run: run{text: text, style: all}}}
	}
	if looksElsewhere(text, target) {
		text, label = target, []run{{text: target}}
	}
	p := piece{run: run{text: text, target: target, style: all}, label: label}
	if !showsItself(text, target) {
		if p.form = 1; brackets && len(label) == 1 && label[0].style == 0 && !strings.ContainsAny(text, "<>|") {
			p.form = 2
		}
	}
	return []piece{p}
}

// runPieces turns a run into pieces. Blanks at the ends of styled text become
// pieces of their own.
func runPieces(r run) []piece {
	switch r.kind {
	case inlineCode:
		if r.text == "" || strings.Contains(r.text, "\n") {
			return runPieces(run{text: r.text, style: r.style})
		}
		if strings.Contains(r.text, "`") {
			return codePieces(r)
		}
	case inlineMath:
		if r.style &^= emphasis; strings.TrimSpace(r.text) == "" || strings.Contains(r.text, `\)`) {
			return runPieces(run{text: r.text, style: r.style})
		}
	case plainText:
		if r.style != 0 && strings.Contains(r.text, "://") {
			if pieces := addressPieces(r); pieces != nil {
				return pieces
			}
		}
		core := strings.Trim(r.text, " \t")
		if r.style == 0 || core == r.text || core == "" {
			break
		}
		n := strings.Index(r.text, core)
		var pieces []piece
		for _, s := range []string{r.text[:n], core, r.text[n+len(core):]} {
			if s != "" {
				pieces = append(pieces, piece{run: run{text: s, style: r.style}})
			}
		}
		return pieces
	default:
	}
	return []piece{{run: r}}
}

// codePieces cuts code at its backticks. Rocket.Chat's code cannot contain any: they
// become text between pieces of code.
func codePieces(r run) []piece {
	var pieces []piece
	for i, code := range strings.Split(r.text, "`") {
		if i > 0 {
			pieces = append(pieces, piece{run: run{text: "`", style: r.style &^ emphasis}})
		}
		if code != "" {
			pieces = append(pieces, piece{run: run{kind: inlineCode, text: code, style: r.style}})
		}
	}
	return pieces
}

// addressPieces turns the addresses in styled text into links: there they are no
// longer recognised, or not up to their end.
func addressPieces(r run) []piece {
	var pieces []piece
	rest := r.text
	add := func(text string) {
		if text != "" {
			pieces = append(pieces, runPieces(run{text: text, style: r.style})...)
		}
	}
	for _, word := range strings.Fields(r.text) {
		target, ok := linkTarget(word)
		if !ok || !strings.Contains(word, "://") || strings.ContainsAny(word, "<>|") {
			continue
		}
		before, after, _ := strings.Cut(rest, word)
		add(before)
		pieces = append(pieces, piece{run: run{text: word, target: target, style: r.style}, label: []run{{text: word}}, form: 2})
		rest = after
	}
	if pieces != nil {
		add(rest)
	}
	return pieces
}

// showSpoilers writes the marks of hidden text where Rocket.Chat cannot hide it:
// they show what was meant.
func showSpoilers(pieces []piece) []piece {
	var out []piece
	hidden := false
	mark := piece{run: run{text: "||"}}
	for _, p := range pieces {
		if is := p.style&spoiler != 0; is != hidden {
			out, hidden = append(out, mark), is
		}
		p.style &^= spoiler
		out = append(out, p)
	}
	if hidden {
		out = append(out, mark)
	}
	return out
}

func (p *piece) isBlank() bool {
	return p.kind == plainText && p.label == nil && strings.Trim(p.text, " \t") == ""
}

// settleBlanks removes from blanks the styles that not both of their neighbours have.
func settleBlanks(pieces []piece) {
	before := style(0)
	for i := range pieces {
		if !pieces[i].isBlank() {
			before = pieces[i].style
			continue
		}
		j := i
		for j < len(pieces) && pieces[j].isBlank() {
			j++
		}
		after := style(0)
		if j < len(pieces) {
			after = pieces[j].style
		}
		pieces[i].style &= before & after
	}
}

// settleMentions puts a blank before mentions, and no mark: Rocket.Chat notifies
// only users named after a blank, whatever its clients show. It merges neighbouring
// texts without a style.
func settleMentions(pieces []piece) []piece {
	if !slices.ContainsFunc(pieces, isMention) && !haveNeighbours(pieces) {
		return pieces
	}
	out := make([]piece, 0, len(pieces)+1)
	before := style(0)
	for _, p := range pieces {
		last := len(out) - 1
		if isMention(p) {
			p.style &= before | spoiler
			if last >= 0 && !endsBlank(&out[last]) {
				out = append(out, piece{run: run{text: " ", style: p.style & out[last].style}})
				last++
			}
		}
		if p.isText() && last >= 0 && out[last].isText() {
			out[last].text += p.text
			continue
		}
		out, before = append(out, p), p.style
	}
	for i := 1; i < len(out); i++ { // blanks that came in between may be text now
		if out[i].isText() && out[i-1].isText() {
			out[i-1].text += out[i].text
			out = append(out[:i], out[i+1:]...)
			i--
		}
	}
	return out
}

func isMention(p piece) bool { return p.kind == userMention || p.kind == roomMention }

// haveNeighbours reports whether two pieces of ordinary text are adjacent.
func haveNeighbours(pieces []piece) bool {
	for i := 1; i < len(pieces); i++ {
		if pieces[i].isText() && pieces[i-1].isText() {
			return true
		}
	}
	return false
}

func endsBlank(p *piece) bool {
	return p.kind == plainText && p.label == nil && p.text != "" && strings.IndexByte(" \t", p.text[len(p.text)-1]) >= 0
}
