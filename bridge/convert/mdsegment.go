package convert

import (
	"slices"
	"strings"
)

// A segment is a piece of a line in one style, escaped.
type segment struct {
	text    string
	style   style
	blank   bool // only blanks, which may be in any style
	address bool // goes on up to the next blank, whatever is written after it
	mention bool // notifies only after a blank
}

// joinSegments writes segments with the marks of their styles around them. Marks
// open before a visible character and close after one, because Rocket.Chat takes
// "* a*" for an item of a list.
func joinSegments(segments []segment) string {
	settleBlanks(segments)
	settleMentions(segments)
	segments = endAddresses(segments)
	var w lineWriter
	for _, s := range segments {
		w.to(s)
		w.WriteString(s.text)
		w.last = s.text[len(s.text)-1]
		w.escaped = len(s.text) == 2 && s.text[0] == '\\'
	}
	w.to(segment{})
	return w.String()
}

// settleMentions lets no emphasis begin right before a mention: the mark would
// keep it from notifying anybody.
func settleMentions(segments []segment) {
	before := style(0)
	for i := range segments {
		if segments[i].mention {
			segments[i].style &= before | spoiler
		}
		before = segments[i].style
	}
}

// endAddresses keeps what follows an address directly, such as the end of a
// spoiler, from becoming part of it.
func endAddresses(segments []segment) []segment {
	var out []segment
	for i, s := range segments {
		next := segment{blank: true}
		if i+1 < len(segments) {
			next = segments[i+1]
		}
		if !s.address || next.blank && next.style == s.style {
			out = append(out, s)
			continue
		}
		if linkable(s.text) {
			s.text = "<" + linkPart(s.text) + "|" + s.text + ">"
			out = append(out, s)
			continue
		}
		out = append(out, s, segment{text: " ", blank: true, style: s.style & next.style})
		if s.style != next.style { // the blank has to come before what closes
			out[len(out)-1].style = s.style
		}
	}
	return out
}

// settleBlanks takes from blanks the styles that not both their neighbours have.
func settleBlanks(segments []segment) {
	before := style(0)
	for i := range segments {
		if !segments[i].blank {
			before = segments[i].style
			continue
		}
		j := i
		for j < len(segments) && segments[j].blank {
			j++
		}
		after := style(0)
		if j < len(segments) {
			after = segments[j].style
		}
		segments[i].style &= before & after
	}
}

// A lineWriter opens and closes marks.
type lineWriter struct {
	strings.Builder
	open    []style
	last    byte
	escaped bool // the last character was
}

var styleMarks = map[style]string{bold: "*", italic: "_", strike: "~", spoiler: "||"}

// to makes the open marks those of a segment that is written next.
func (w *lineWriter) to(next segment) {
	var want []style
	for _, s := range []style{spoiler, bold, italic, strike} {
		if next.style&s != 0 {
			want = append(want, s)
		}
	}
	keep := stays(w.open, want, func(s style) bool { return s == spoiler })
	closedItalic := false
	for len(w.open) > keep {
		s := w.open[len(w.open)-1]
		w.open = w.open[:len(w.open)-1]
		w.apart(w.last == '\\' && !w.escaped || s == italic && w.afterName())
		w.mark(s)
		closedItalic = s == italic
	}
	for _, s := range want {
		if slices.Contains(w.open, s) {
			continue
		}
		inWord := s == italic && (isASCIIAlnum(w.last) || w.last == '_' && !w.escaped)
		w.apart(inWord || w.last == '\\' && !w.escaped)
		w.mark(s)
		w.open = append(w.open, s)
		closedItalic = false
	}
	if next.mention && w.Len() > 0 && strings.IndexByte(" \t>", w.last) < 0 {
		w.WriteByte(' ')
		return
	}
	w.apart(closedItalic && next.text != "" && isASCIIAlnum(next.text[0]))
}

// afterName reports whether a name was written last, which an underscore would
// become part of.
func (w *lineWriter) afterName() bool {
	s := w.String()
	s = s[max(0, len(s)-maxNameSpan):]
	s = s[strings.LastIndexAny(s, " \t")+1:]
	return strings.ContainsAny(s, "@#") || w.last == everyone[0]
}

func (w *lineWriter) mark(s style) {
	m := styleMarks[s]
	w.WriteString(m)
	w.last, w.escaped = m[0], true
}

func (w *lineWriter) apart(needed bool) {
	if needed {
		w.WriteString(zeroWidth)
		w.last, w.escaped = zeroWidth[len(zeroWidth)-1], false
	}
}
