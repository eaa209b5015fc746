package convert

import (
	"slices"
	"strings"
	"unicode/utf8"

	"appliance/bridge/convert/internal/grammar"
)

// A lineChanger changes the pieces of a line until the written form is read as
// intended.
type lineChanger struct{ *lineWriter }

// group writes pieces that have a style, or are not text, up to where no mark is open.
func (w lineChanger) group() {
	node, n := w.inline(w.rest)
	last := w.k
	for w.closed[last] < 0 {
		last++
	}
	var want []cell
	for i := w.k; i <= last; i++ {
		want = w.pieces[i].cells(want, i)
	}
	got := nodeCells(nil, []grammar.Node{node}, cell{})
	at := firstDifference(want, got)
	if at == len(want) && at == len(got) && n == w.end(last) {
		w.accept(n, node, last)
		return
	}
	if w.patience--; w.patience < 0 {
		w.flatten(last)
	} else {
		w.change(last, want, got, at)
	}
	w.merge()
	w.emit()
}

func (w lineChanger) accept(n int, node grammar.Node, last int) {
	w.take(n, node)
	w.goTo(last + 1)
}

// change tries another way of writing a group that does not show what it should
// from some cell on.
func (w lineChanger) change(last int, want, got []cell, at int) {
	if at < len(want) {
		c := want[at]
		p := &w.pieces[c.piece]
		switch {
		case p.label != nil:
			w.changeLink(c.piece)
			return
		case p.kind != plainText && p.style == 0 || p.kind != plainText && at > 0:
			w.changeWhole(c.piece)
			return
		case at > 0 || len(got) > 0 && got[0].style&c.style == c.style:
			if w.changeInside(c) {
				return
			}
		}
	}
	w.changeGroup(last)
}

// changeLink tries the next form of a link; the last one is its text, followed by
// the address.
func (w lineChanger) changeLink(i int) {
	p := &w.pieces[i]
	if p.form++; p.form == 1 && showsItself(p.text, p.target) {
		p.form = 2
	}
	if p.form < linkForms {
		return
	}
	w.noLinks = true // what failed as a link would be made one again
	text := runsText(p.label)
	if !strings.Contains(text, p.target) {
		text += " " + p.target
	}
	*p = piece{run: run{text: text, style: p.style}}
}

// changeWhole tries another way of writing something that is not text, such as a
// mention: what follows it might be read as a part of it.
func (w lineChanger) changeWhole(i int) {
	p := &w.pieces[i]
	switch p.tried++; p.tried {
	case 1:
		w.pieces = slices.Insert(w.pieces, i+1, piece{run: run{text: zeroWidth, style: p.style}})
	case 2:
		p.style = 0
	default:
		*p = piece{run: run{text: strings.TrimPrefix(p.source(0), "`")}}
		if q := &w.pieces[i]; strings.HasSuffix(q.text, "`") {
			q.text = strings.TrimSuffix(q.text, "`")
		}
	}
}

// changeInside changes a character inside emphasis.
func (w lineChanger) changeInside(c cell) bool {
	p := &w.pieces[c.piece]
	p.spot(c.at)
	mark := strings.Contains("*_~`", c.text)
	switch n := p.spots[c.at]; {
	case n == 1 && mark && p.style&emphasis == 0: // hidden text supports escapes
		p.put(c.at, `\`)
	case n == 1 && !mark:
		p.put(c.at+len(c.text), zeroWidth)
	case n <= 2 && mark:
		w.hoist(c.piece, c.at, `\`)
	case n == 2:
		p.put(c.at, zeroWidth)
	case n == 3:
		w.hoist(c.piece, c.at, "")
	default:
		return false
	}
	return true
}

// hoist takes a character out of the surrounding emphasis.
func (w lineChanger) hoist(i, at int, before string) {
	p := w.pieces[i]
	_, n := utf8.DecodeRuneInString(p.text[at:])
	out := piece{run: run{text: p.text[at : at+n], style: p.style &^ emphasis}}
	if before != "" {
		out.put(0, before)
		out.spots = map[int]int{0: 1}
	}
	w.split(i, at, n, &out)
}

// changeGroup tries another way of writing emphasis that is not recognised as such,
// and finally gives it up.
func (w lineChanger) changeGroup(last int) {
	ways := []func(int) bool{w.hoistOwnMarks, w.partFromNext, w.quietNames, w.linkAddresses, w.doubleMarks, w.escapeLater, w.splitAddress, w.hoistMarks}
	for {
		first := &w.pieces[w.k]
		if first.tried >= len(ways) {
			w.dropStyle(last)
			return
		}
		way := ways[first.tried]
		if first.tried++; way(last) {
			return
		}
	}
}

// partFromNext separates emphasis from what follows it.
func (w lineChanger) partFromNext(last int) bool {
	if last+1 < len(w.pieces) && w.pieces[last+1].isText() {
		w.pieces[last+1].put(0, zeroWidth)
	} else if last+1 < len(w.pieces) {
		w.pieces = slices.Insert(w.pieces, last+1, piece{run: run{text: zeroWidth}})
	} else {
		return false
	}
	return true
}

// quietNames keeps names and emoji in a text from taking effect.
func (w lineChanger) quietNames(last int) (found bool) {
	for i := w.k; i <= last; i++ {
		p := &w.pieces[i]
		for j := 0; p.kind == plainText && p.label == nil && j < len(p.text); j++ {
			if strings.IndexByte("@#:", p.text[j]) >= 0 && p.insert[j+1] == "" {
				p.put(j+1, zeroWidth)
				found = true
			}
		}
	}
	return found
}

// joinNext undoes partFromNext.
func (w lineChanger) joinNext(last int) {
	if last+1 < len(w.pieces) && w.pieces[last+1].isText() {
		if next := &w.pieces[last+1]; next.insert[0] == zeroWidth {
			delete(next.insert, 0)
		} else if next.text == zeroWidth {
			w.pieces = slices.Delete(w.pieces, last+1, last+2)
		}
	}
}

// doubleMarks writes each mark twice.
func (w lineChanger) doubleMarks(last int) bool {
	w.joinNext(last)
	for i := w.k; i <= last; i++ {
		w.pieces[i].double = true
	}
	return true
}

// splitAddress interrupts emphasis in text that would be an address together with
// its mark.
func (w lineChanger) splitAddress(last int) bool {
	for i := w.k; i <= last; i++ {
		p := w.pieces[i]
		if n := strings.IndexAny(p.text, ".@:/"); p.kind == plainText && p.label == nil && n > 0 {
			for j := w.k; j <= last; j++ {
				w.pieces[j].double = false
			}
			w.split(i, n, 0, &piece{run: run{text: zeroWidth}})
			return true
		}
	}
	return false
}

// escapeLater escapes the marks that follow emphasis in ordinary text.
func (w lineChanger) escapeLater(last int) (found bool) {
	for i := last + 1; i < len(w.pieces); i++ {
		p := &w.pieces[i]
		for j := 0; p.isText() && j < len(p.text); j++ {
			if strings.IndexByte("*_~", p.text[j]) >= 0 && !inAddress(p.text, j) && p.spot(j) {
				p.put(j, `\`)
				found = true
			}
		}
	}
	return found
}

// inAddress reports whether the word around an offset may be an address.
func inAddress(s string, at int) bool {
	from := strings.LastIndexAny(s[:at], " \t") + 1
	to := strings.IndexAny(s[at:], " \t")
	if to < 0 {
		to = len(s) - at
	}
	return strings.ContainsAny(s[from:at+to], ".:@/")
}

// hoistOwnMarks takes marks that would end the emphasis out of it.
func (w lineChanger) hoistOwnMarks(last int) (found bool) {
	for i := last; i >= w.k; i-- {
		own := ""
		for _, s := range []style{bold, italic, strike} {
			if w.pieces[i].style&s != 0 {
				own += styleMarks[s]
			}
		}
		found = w.hoistThose(i, own) || found
	}
	return found
}

func (w lineChanger) hoistMarks(last int) (found bool) {
	for i := last; i >= w.k; i-- {
		found = w.hoistThose(i, "*_~") || found
	}
	return found
}

// hoistThose takes the given marks in a text out of the surrounding emphasis.
func (w lineChanger) hoistThose(i int, marks string) bool {
	p := w.pieces[i]
	if p.kind != plainText || p.label != nil || p.style&emphasis == 0 || !strings.ContainsAny(p.text, marks) {
		return false
	}
	var parts []piece
	for rest := p.text; rest != ""; {
		n := strings.IndexAny(rest, marks)
		if n < 0 {
			n = len(rest)
		}
		if n > 0 {
			inside := p
			inside.text, inside.insert, inside.spots = rest[:n], nil, nil
			parts, rest = append(parts, inside), rest[n:]
			continue
		}
		out := piece{run: run{text: rest[:1], style: p.style &^ emphasis}}
		out.put(0, `\`)
		out.spots = map[int]int{0: 1}
		parts, rest = append(parts, out), rest[1:]
	}
	w.pieces = slices.Replace(w.pieces, i, i+1, parts...)
	return true
}

// linkAddresses turns the addresses in hidden text into links, since they would
// extend over the mark at its end.
func (w lineChanger) linkAddresses(last int) (found bool) {
	if w.pieces[w.k].style&spoiler == 0 {
		return false
	}
	w.joinNext(last)
	for i := last; i >= w.k; i-- {
		p := w.pieces[i]
		if p.kind != plainText || p.label != nil {
			continue
		}
		for _, word := range strings.Fields(p.text) {
			target, ok := linkTarget(word)
			if ok && !strings.ContainsAny(word, "<>|") {
				at := strings.Index(p.text, word)
				w.split(i, at, len(word), &piece{run: run{text: word, target: target, style: p.style}, label: []run{{text: word}}, form: 2})
				found = true
				break
			}
		}
	}
	return found
}

// dropStyle gives up the outermost style of a group.
func (w lineChanger) dropStyle(last int) {
	for _, s := range []style{strike, italic, bold, spoiler} {
		if w.pieces[w.k].style&s == 0 {
			continue
		}
		for i := w.k; i <= last; i++ {
			w.pieces[i].style &^= s
			w.pieces[i].double, w.pieces[i].tried = false, 0
		}
		return
	}
	w.flatten(last)
}

// merge merges neighbouring texts without a style.
func (w lineChanger) merge() {
	for i := w.k; i+1 < len(w.pieces); {
		p, q := &w.pieces[i], &w.pieces[i+1]
		if !p.isText() || !q.isText() {
			i++
			continue
		}
		for x, s := range q.insert {
			p.put(len(p.text)+x, s)
		}
		for x, n := range q.spots {
			p.spot(len(p.text) + x)
			p.spots[len(p.text)+x] = n
		}
		p.text += q.text
		w.pieces = slices.Delete(w.pieces, i+1, i+2)
	}
}
