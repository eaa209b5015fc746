package convert

import (
	"strconv"
	"strings"

	"golang.org/x/net/html/atom"
	"maunium.net/go/mautrix/id"
)

func styleIndex(s style) int {
	switch s {
	case bold:
		return 0
	case italic:
		return 1
	case strike:
		return 2
	default:
		return 3
	}
}

// startInline opens an inline element and sets what closes it.
func (h *htmlParser) startInline(name atom.Atom, attrs map[string]string, t *openTag) bool {
	switch name {
	case atom.B, atom.Strong:
		h.startStyle(bold, t)
	case atom.I, atom.Em:
		h.startStyle(italic, t)
	case atom.S, atom.Del, atom.Strike:
		h.startStyle(strike, t)
	case atom.Span:
		h.startSpan(attrs, t)
	case atom.Code:
		h.startCode(attrs, t)
	case atom.A:
		h.startLink(attrs["href"], t)
	case atom.Sup, atom.Sub:
		before := h.raised
		h.raised = name
		t.shut = func() { h.raised = before }
	default:
		return false
	}
	return true
}

func (h *htmlParser) startStyle(s style, t *openTag) {
	h.styles[styleIndex(s)]++
	t.shut = func() { h.styles[styleIndex(s)]-- }
}

func (h *htmlParser) startSpan(attrs map[string]string, t *openTag) {
	if latex := strings.TrimSpace(attrs["data-mx-maths"]); latex != "" && !strings.ContainsAny(latex, "\n\r") {
		h.addRun(run{kind: inlineMath, text: cleanText(latex)})
		h.hide(t)
		return
	}
	reason, ok := attrs["data-mx-spoiler"]
	if !ok {
		t.shut = func() {}
		return
	}
	if reason = strings.Join(strings.Fields(cleanText(reason)), " "); reason != "" {
		h.addRun(run{text: "(" + reason + ") "})
	}
	h.startStyle(spoiler, t)
}

func (h *htmlParser) startCode(attrs map[string]string, t *openTag) {
	if h.pre != nil {
		for _, class := range strings.Fields(attrs["class"]) {
			if lang, ok := strings.CutPrefix(class, "language-"); ok && lang != "" && len(lang) < 40 && !strings.ContainsFunc(lang, func(r rune) bool { return !isLangChar(r) }) {
				h.preTag.lang = lang
			}
		}
		t.shut = func() {}
		return
	}
	h.code++
	h.codes++
	t.shut = func() { h.code-- }
}

// startLink begins a link. Links to people and rooms become mentions if Rocket.Chat
// knows these; links to unknown people become text.
func (h *htmlParser) startLink(href string, t *openTag) {
	from := len(h.runs)
	t.shut = func() {
		from := min(from, len(h.runs))
		linked := h.runs[from:]
		if len(linked) == 0 {
			return
		}
		mention, target := h.resolve(href)
		if mention.kind != plainText {
			mention.style = linked[0].style
			h.runs = append(h.runs[:from], mention)
			return
		}
		for i := range linked {
			if linked[i].kind == inlineCode && target != "" { // Rocket.Chat's links cannot contain code
				linked[i].kind, linked[i].target = plainText, ""
			}
			if linked[i].kind == plainText && linked[i].target == "" {
				linked[i].target = target
			}
		}
	}
}

// resolve determines what a link leads to.
func (h *htmlParser) resolve(href string) (mention run, target string) {
	href = strings.TrimSpace(href)
	uri, err := id.ParseMatrixURIOrMatrixToURL(href)
	if err != nil || uri == nil {
		target, ok := linkTarget(href)
		if !ok || !hasScheme(href) {
			return run{}, ""
		}
		return run{}, target
	}
	if uri.Sigil1 == '@' {
		if name, ok := h.look.username(uri.UserID()); ok {
			return run{kind: userMention, text: "@" + name, target: name}, ""
		}
		return run{}, ""
	}
	if uri.Sigil2 == 0 {
		room := uri.PrimaryIdentifier()
		if channel, ok := h.look.channel(room); ok {
			return run{kind: channelLink, text: "#" + channel, target: channel}, ""
		}
	}
	return run{}, uri.MatrixToURL()
}

// addRun adds a run to the text of the innermost block.
func (h *htmlParser) addRun(r run) {
	if h.hidden > 0 {
		return
	}
	h.length += len(r.text) + 8
	if r.text != "\n" {
		for _, s := range []style{bold, italic, strike, spoiler} {
			if h.styles[styleIndex(s)] > 0 {
				r.style |= s
			}
		}
	}
	if h.code > 0 && r.kind == plainText && r.text != "\n" {
		r.kind, r.target = inlineCode, strconv.Itoa(h.codes)
	}
	h.runs = append(h.runs, r)
}

// text reads text between tags.
func (h *htmlParser) text(s string) {
	if h.hidden > 0 || s == "" {
		return
	}
	s = cutText(s, maxText-h.length)
	if h.pre != nil {
		h.length += len(s)
		h.pre.WriteString(strings.NewReplacer("\r\n", "\n", "\r", "\n").Replace(s))
		return
	}
	s = joinLines(cleanText(s))
	switch h.raised {
	case atom.Sup:
		s = raise(s, superscripts)
	case atom.Sub:
		s = raise(s, subscripts)
	}
	h.addRun(run{text: s})
}

// joinLines replaces each line break in the source, and the blanks around it, by
// one blank. Other blanks stay, even where browsers would show only one of several:
// a person typed them.
func joinLines(s string) string {
	if !strings.ContainsAny(s, "\n\r") {
		return s
	}
	parts := strings.FieldsFunc(s, func(r rune) bool { return r == '\n' || r == '\r' })
	for i, p := range parts {
		if i > 0 {
			p = strings.TrimLeft(p, " \t")
		}
		if i < len(parts)-1 {
			p = strings.TrimRight(p, " \t")
		}
		parts[i] = p
	}
	joined := strings.Join(parts, " ")
	if strings.HasPrefix(strings.TrimLeft(s, " \t"), "\n") {
		joined = " " + strings.TrimLeft(joined, " \t")
	}
	if strings.HasSuffix(strings.TrimRight(s, " \t"), "\n") {
		joined = strings.TrimRight(joined, " \t") + " "
	}
	return joined
}

var (
	superscripts = strings.NewReplacer("0", "⁰", "1", "¹", "2", "²", "3", "³", "4", "⁴", "5", "⁵", "6", "⁶", "7", "⁷", "8", "⁸", "9", "⁹", "+", "⁺", "-", "⁻", "=", "⁼", "(", "⁽", ")", "⁾", "n", "ⁿ", "i", "ⁱ")
	subscripts   = strings.NewReplacer("0", "₀", "1", "₁", "2", "₂", "3", "₃", "4", "₄", "5", "₅", "6", "₆", "7", "₇", "8", "₈", "9", "₉", "+", "₊", "-", "₋", "=", "₌", "(", "₍", ")", "₎")
)

// raise writes text in superscript or subscript characters, if all of it can be.
func raise(s string, r *strings.Replacer) string {
	small := r.Replace(s)
	if strings.ContainsFunc(small, func(r rune) bool { return r < 0x80 }) && small != s && strings.IndexFunc(small, func(r rune) bool { return r < 0x80 && r != ' ' }) >= 0 {
		return s
	}
	return small
}
