package convert

import (
	"slices"
	"strings"
	"unicode/utf8"

	"appliance/bridge/convert/internal/grammar"
)

// escapable are the characters that a backslash escapes.
const escapable = "*_~`"

// maxChanges is how many changes a line gets before everything in it is escaped.
const maxChanges = 100

// text writes the next part of ordinary text, and changes it where it would be read
// as something else.
func (w *lineWriter) text() {
	p := &w.pieces[w.k]
	if w.from == 0 && w.skip == 0 {
		w.mark()
	}
	end := w.end(w.k)
	if end == 0 {
		w.goTo(w.k + 1)
		return
	}
	if w.cell && w.from < len(p.text) && p.text[w.from] == '|' && len(p.insert[w.from]) == w.skip {
		w.out = append(w.out, '\\')
		w.take(1, grammar.Node{Text: "|"})
		w.from++
		return
	}
	node, n := w.inline(w.rest)
	if n > end {
		if w.goesOn && w.k == len(w.pieces)-1 && node.Kind == grammar.Text {
			n = end
			node.Text = w.rest[:n]
		} else if isWords(node) || w.from >= len(p.text) || !w.escape(w.from, n) {
			w.separate(node)
			return
		} else {
			return
		}
	}
	if w.from == len(p.text) { // what was inserted to separate it
		n = end
	}
	to, skip := p.advance(w.from, w.skip+n)
	at, ok := w.shows(node, n, p.text[w.from:to])
	if !ok && w.from < len(p.text) && (w.endLink(node) || w.escape(min(w.from+at, len(p.text)-1), n)) {
		return
	}
	source := w.rest[:n]
	w.take(n, node)
	w.from, w.skip = to, skip
	switch {
	case strings.Trim(source, " \t") == "" && !w.open:
		w.mark()
	case !strings.HasPrefix(source, `\`) && strings.ContainsAny(source, "*_~`[<|"):
		w.open = true
	}
}

// A textSpot is a place in ordinary text to which the writer may return.
type textSpot struct {
	out, from, skip int
	crowded         bool
}

// mark remembers a place before which nothing depends on what comes after it.
func (w *lineWriter) mark() {
	w.back = textSpot{len(w.out), w.from, w.skip, w.crowded}
	w.open = false
}

// rewind returns to that place, because a change may give what was written since
// another meaning: an open mark may find its end, and an address may continue.
func (w *lineWriter) rewind() {
	w.out = w.out[:w.back.out]
	w.from, w.skip, w.crowded = w.back.from, w.back.skip, w.back.crowded
	w.open = false
}

// goTo goes to the beginning of a piece.
func (w *lineWriter) goTo(k int) { w.k, w.from, w.skip = k, 0, 0 }

// advance returns the offset in the text that n bytes of its written form reach, and
// how much is then written of what is inserted before the next character.
func (p *piece) advance(from, n int) (to, skip int) {
	if len(p.insert) == 0 {
		return min(from+n, len(p.text)), 0
	}
	for i := from; ; i++ {
		insert := p.insert[i]
		if n <= len(insert) || i == len(p.text) {
			return i, min(n, len(insert))
		}
		n -= len(insert) + 1
	}
}

// endLink turns an address that extends over what is inserted after it into a link, in
// the form that ends where the address ends.
func (w *lineWriter) endLink(node grammar.Node) bool {
	p := &w.pieces[w.k]
	if node.Kind != grammar.Link || len(p.insert) == 0 || w.noLinks {
		return false
	}
	plain, n := w.inline(p.text[w.from:])
	if plain.Kind != grammar.Link || !isWords(plain) {
		return false
	}
	address := p.text[w.from : w.from+n]
	target, ok := linkTarget(address)
	if !ok || !showsItself(address, linkPart(target)) || strings.ContainsAny(address, "<>|") {
		return false
	}
	w.split(w.k, w.from, n, &piece{run: run{text: address, target: target}, label: []run{{text: address}}, form: 2})
	w.rewind()
	w.emit()
	return true
}

// shows reports whether a node shows exactly a text, or else where they first differ.
func (w *lineWriter) shows(node grammar.Node, n int, text string) (at int, ok bool) {
	if node.Kind == grammar.Text && node.Text == text && len(node.Kids) == 0 {
		return 0, true
	}
	if node.Kind == grammar.Emoji && node.Target != "" && w.isCrowded(n) {
		return 0, strings.ReplaceAll(node.Text, zeroWidth, "") == strings.ReplaceAll(text, zeroWidth, "")
	}
	want := textCells(nil, text, cell{})
	got := nodeCells(nil, []grammar.Node{node}, cell{})
	i := firstDifference(want, got)
	if i == len(want) && i == len(got) {
		return 0, true
	}
	if i < len(want) && node.Kind == grammar.Text {
		return want[i].at, false
	}
	return 0, false
}

// isCrowded reports whether a shortcode or an emoticon of n bytes is text because
// of what is directly beside it.
func (w *lineWriter) isCrowded(n int) bool {
	if w.crowded {
		return true
	}
	if n >= w.end(w.k) {
		return false
	}
	next, _ := w.inline(w.rest[n:])
	return grammar.Crowds(next)
}

// isWords reports whether a node is text, or a bare address.
func isWords(n grammar.Node) bool {
	return n.Kind == grammar.Text || n.Kind == grammar.Link && len(n.Kids) == 1 && showsItself(n.Kids[0].Text, n.Target)
}

// separate keeps ordinary text apart from the next piece.
func (w *lineWriter) separate(node grammar.Node) {
	p := &w.pieces[w.k]
	if w.patience--; w.patience < 0 {
		w.take(w.end(w.k), node)
		w.goTo(w.k + 1)
		return
	}
	switch rest := p.text[w.from:]; {
	case p.insert[len(p.text)] == "" && !strings.ContainsAny(rest, ".:@"):
		p.put(len(p.text), zeroWidth)
	case node.Kind == grammar.Link && w.link(rest):
	case p.spot(w.from) && strings.Contains(rest, "."):
		p.put(w.from+strings.IndexByte(rest, '.'), `\`)
	case p.insert[len(p.text)] == "":
		p.put(len(p.text), zeroWidth)
	case p.insert[len(p.text)] == zeroWidth:
		p.put(len(p.text), " ")
	default:
		w.take(w.end(w.k), node)
		w.goTo(w.k + 1)
		return
	}
	w.emit()
}

// spot counts a change at an offset, and reports whether it is the first one there.
func (p *piece) spot(at int) bool {
	if p.spots == nil {
		p.spots = map[int]int{}
	}
	p.spots[at]++
	return p.spots[at] == 1
}

// link turns the rest of a text, which is an address, into a link, in the form that
// ends where the address ends.
func (w *lineWriter) link(address string) bool {
	target, ok := linkTarget(address)
	if !ok || w.noLinks || strings.ContainsAny(address, "<>|") {
		return false
	}
	p := &w.pieces[w.k]
	p.text = p.text[:w.from]
	next := piece{run: run{text: address, target: target}, label: []run{{text: address}}, form: 2}
	w.pieces = slices.Insert(w.pieces, w.k+1, next)
	return true
}

// escape changes a text at an offset where an unintended node of n bytes begins. It
// returns false if there is nothing left to try.
func (w *lineWriter) escape(at, n int) bool {
	p := &w.pieces[w.k]
	if w.changes++; w.changes > maxChanges {
		if w.changes > maxChanges+1 {
			return false
		}
		w.rewind()
		w.escapeAll()
		return true
	}
	p.spot(at)
	_, size := utf8.DecodeRuneInString(p.text[at:])
	c := p.text[at]
	switch tried := p.spots[at]; {
	case tried == 1:
		switch {
		case strings.IndexByte(escapable, c) >= 0:
			p.put(at, `\`)
		case c == '\\' && at+1 < len(p.text) && strings.IndexByte(escapable+".", p.text[at+1]) >= 0:
			p.put(at+1, `\`)
		case c == '[' && w.breakLink(at, n):
		default:
			p.put(at+size, zeroWidth)
		}
	case w.escapeDot(n):
		p.spots[at]--
	case tried == 2:
		p.put(at+size, zeroWidth)
	case tried == 3:
		p.put(at, zeroWidth)
	default:
		return false
	}
	w.rewind()
	w.emit()
	return true
}

// escapeDot escapes the next dot of what might be an address of n bytes.
func (w *lineWriter) escapeDot(n int) bool {
	p := &w.pieces[w.k]
	for i := w.from; i < len(p.text) && i <= w.from+n; i++ {
		if p.text[i] == '.' && !strings.HasSuffix(p.insert[i], `\`) {
			p.put(i, `\`)
			return true
		}
	}
	return false
}

// breakLink finds what turns a bracket in ordinary text into a link: its own end,
// or that of a link after it, which is then written in its other form.
func (w *lineWriter) breakLink(at, n int) bool {
	p := &w.pieces[w.k]
	end, _ := p.advance(w.from, w.skip+n)
	found := false
	for i := at; i+1 < end; i++ {
		if p.text[i] == ']' && p.text[i+1] == '(' {
			p.put(i+1, zeroWidth)
			found = true
		}
	}
	for i := w.k + 1; !found && i < len(w.pieces) && w.starts[i]-w.done < n; i++ {
		if q := &w.pieces[i]; q.label != nil && q.form == 1 {
			q.form = 2
			return true
		}
	}
	return found
}

// escapeAll escapes all of the remaining ordinary text.
func (w *lineWriter) escapeAll() {
	for k := w.k; k < len(w.pieces); k++ {
		p := &w.pieces[k]
		if !p.isText() {
			continue
		}
		from := 0
		if k == w.k {
			from = w.from
		}
		p.insert = escapes(p.text, from)
	}
	w.emit()
}

// escapes returns what to insert into a text from an offset on, so that nothing in it
// is markup.
func escapes(text string, from int) map[int]string {
	insert := map[int]string{}
	for i := from; i < len(text); i++ {
		switch c := text[i]; {
		case strings.IndexByte(escapable, c) >= 0:
			insert[i] = `\`
		case c < 0x80 && !isASCIIAlnum(c) && strings.IndexByte(" \t,?\"&/.", c) < 0:
			insert[i] += zeroWidth
			if i+1 < len(text) && strings.IndexByte(escapable, text[i+1]) < 0 {
				insert[i+1] = zeroWidth
			}
		}
	}
	return insert
}

// flatten turns pieces for which there is no other way into ordinary text.
func (w *lineWriter) flatten(last int) {
	for i := w.k; i <= last; i++ {
		p := &w.pieces[i]
		text := p.text
		switch p.kind {
		case userMention:
			text = "@" + p.target
		case channelLink:
			text = "#" + p.target
		default:
		}
		*p = piece{run: run{text: text}}
	}
}

// split puts a piece into another one, in place of n bytes of its text.
func (w *lineWriter) split(i, at, n int, between *piece) {
	p := w.pieces[i]
	parts := []piece{p, *between, p}
	parts[0].text, parts[2].text = p.text[:at], p.text[at+n:]
	parts[0].insert, parts[2].insert = nil, nil
	parts[0].spots, parts[2].spots = nil, nil
	for x, s := range p.insert {
		if x < at {
			parts[0].put(x, s)
		} else if x >= at+n {
			parts[2].put(x-at-n, s)
		}
	}
	parts = slices.DeleteFunc(parts, func(p piece) bool { return p.kind == plainText && p.text == "" })
	w.pieces = slices.Replace(w.pieces, i, i+1, parts...)
}
