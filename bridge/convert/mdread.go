package convert

import (
	"strconv"
	"strings"
	"time"

	"appliance/bridge/convert/internal/grammar"
)

// A Dialect is how a version of Rocket.Chat reads messages. The zero value is for a
// server whose version is unknown.
type Dialect = grammar.Dialect

// DialectFor returns the dialect of a Rocket.Chat server by its version from
// /api/info, such as "8.6.1".
func DialectFor(version string) Dialect { return grammar.DialectOf(version) }

// parseMarkdown reads a message as people in Rocket.Chat see it.
func parseMarkdown(text string, look Lookup) []block {
	text = strings.NewReplacer("\r\n", "\n", "\r", "\n").Replace(strings.ToValidUTF8(text, "\ufffd"))
	r := mdReader{look: look}
	var doc []block
	open := false // the last block extends to the end of its line
	for _, b := range grammar.Parse(text, look.Dialect) {
		if open && b.Kind == grammar.LineBreak {
			open = false
			continue
		}
		doc = append(doc, r.block(b)...)
		open = b.Kind == grammar.Fence || b.Kind == grammar.MathBlock || b.Kind == grammar.SpoilerBlock || b.Kind == grammar.Heading && look.Dialect == grammar.V31
	}
	return trimLines(doc)
}

// An mdReader turns what the grammar found into a document.
type mdReader struct{ look Lookup }

func (r mdReader) block(b grammar.Block) []block {
	switch b.Kind {
	case grammar.Quote:
		return []block{{kind: quote, kids: trimLines(r.blocks(b.Blocks))}}
	case grammar.SpoilerBlock:
		hidden := r.blocks(b.Blocks)
		for i := range hidden {
			for j := range hidden[i].runs {
				hidden[i].runs[j].style |= spoiler
			}
		}
		return hidden
	case grammar.Fence:
		lang, _, _ := strings.Cut(b.Lang, " ")
		return []block{{kind: fence, lang: lang, text: b.Text}}
	case grammar.Rule:
		return []block{{kind: rule}}
	case grammar.Table:
		return []block{r.table(b)}
	case grammar.Heading:
		return []block{{kind: heading, n: b.Level, runs: r.line(b.Nodes)}}
	case grammar.Tasks, grammar.Unordered:
		return []block{{kind: list, kids: r.items(b)}}
	case grammar.Ordered:
		return r.ordered(b)
	case grammar.MathBlock:
		if strings.TrimSpace(b.Text) != "" {
			return []block{{kind: math, text: strings.TrimSpace(b.Text)}}
		}
		return []block{{kind: line, runs: []run{{text: `\[` + strings.Join(strings.Fields(b.Text), " ") + `\]`}}}}
	case grammar.Paragraph, grammar.LineBreak, grammar.BigEmoji:
	}
	return []block{{kind: line, runs: r.line(b.Nodes)}}
}

func (r mdReader) blocks(list []grammar.Block) []block {
	var doc []block
	for _, b := range list {
		doc = append(doc, r.block(b)...)
	}
	return doc
}

func (r mdReader) items(b grammar.Block) []block {
	var items []block
	for _, it := range b.Blocks {
		item := block{kind: item, kids: []block{{kind: line, runs: r.line(it.Nodes)}}}
		if b.Kind == grammar.Tasks {
			if item.task = openTask; it.Done {
				item.task = doneTask
			}
		}
		items = append(items, item)
	}
	return items
}

// ordered makes lists whose items are numbered consecutively: a missing number
// starts another list.
func (r mdReader) ordered(b grammar.Block) []block {
	var lists []block
	items := r.items(b)
	for i, it := range b.Blocks {
		last := len(lists) - 1
		if last < 0 || it.Level != lists[last].n+len(lists[last].kids) {
			lists = append(lists, block{kind: list, ordered: true, n: it.Level})
			last++
		}
		lists[last].kids = append(lists[last].kids, items[i])
	}
	return lists
}

func (r mdReader) table(b grammar.Block) block {
	t := block{kind: table, n: 1}
	for _, row := range b.Blocks {
		cells := block{kind: tableRow}
		for _, c := range row.Blocks {
			cells.kids = append(cells.kids, block{kind: line, runs: r.line(c.Nodes)})
		}
		t.kids = append(t.kids, cells)
	}
	return t
}

func (r mdReader) line(nodes []grammar.Node) []run {
	var b runBuilder
	r.nodes(&b, nodes, run{})
	return b.take()
}

// nodes adds what nodes show; like has the style and link of all of it.
func (r mdReader) nodes(b *runBuilder, nodes []grammar.Node, like run) {
	for _, n := range nodes {
		r.node(b, n, like)
	}
}

var nodeStyles = map[grammar.Kind]style{grammar.Bold: bold, grammar.Italic: italic, grammar.Strike: strike, grammar.Spoiler: spoiler}

func (r mdReader) node(b *runBuilder, n grammar.Node, like run) {
	add := func(kind runKind, text, target string) {
		b.add(run{kind: kind, text: oneLine(text), target: target, style: like.style})
	}
	switch n.Kind {
	case grammar.Bold, grammar.Italic, grammar.Strike, grammar.Spoiler:
		like.style |= nodeStyles[n.Kind]
		r.nodes(b, n.Kids, like)
	case grammar.Link:
		r.link(b, n, like)
	case grammar.Image:
		if n.Text == "" {
			n.Text = n.Target
		}
		n.Kids = []grammar.Node{{Text: n.Text}}
		r.link(b, n, like)
	case grammar.Code:
		add(inlineCode, n.Text, "")
	case grammar.Math:
		if strings.TrimSpace(n.Text) == "" {
			add(plainText, `\(`+n.Text+`\)`, like.target)
			return
		}
		add(inlineMath, strings.TrimSpace(n.Text), "")
	case grammar.User:
		r.user(add, n.Text)
	case grammar.Channel:
		if room, ok := r.look.room(n.Text); ok {
			add(channelLink, "#"+n.Text, room)
			return
		}
		add(plainText, "#"+n.Text, like.target)
	case grammar.Emoji:
		r.emoji(add, n, like.target)
	case grammar.Time:
		add(plainText, moment(n), like.target)
	default:
		add(plainText, n.Text, like.target)
	}
}

// oneLine replaces line breaks by blanks: a link's text may contain some.
func oneLine(s string) string {
	if !strings.ContainsAny(s, "\r\n") {
		return s
	}
	return strings.NewReplacer("\r\n", " ", "\r", " ", "\n", " ").Replace(s)
}

func (r mdReader) user(add func(runKind, string, string), name string) {
	if name == "all" || name == "here" {
		add(roomMention, "@"+name, "")
		return
	}
	if user, display, ok := r.look.user(name); ok {
		add(userMention, display, string(user))
		return
	}
	add(plainText, "@"+name, "")
}

// emoji shows an emoji as its character, or as its picture if it is one of the
// server's own. An unknown emoji is text.
func (r mdReader) emoji(add func(runKind, string, string), n grammar.Node, target string) {
	if n.Target == "" {
		add(plainText, n.Text, target)
		return
	}
	if e, ok := Unicode(n.Target); ok {
		add(plainText, e, target)
		return
	}
	if mxc, ok := r.look.emoji(n.Target); ok {
		add(emoticon, n.Text, mxc)
		return
	}
	add(plainText, n.Text, target)
}

// link adds a link. A bare address is left to Matrix clients, and one that they do
// not follow is shown after the text of its link.
func (r mdReader) link(b *runBuilder, n grammar.Node, like run) {
	written := nodesText(n.Kids)
	target, ok := linkTarget(n.Target)
	if ok && !showsItself(written, n.Target) {
		if like.target = target; looksElsewhere(written, target) {
			n.Kids = []grammar.Node{{Text: target}}
		}
	}
	if strings.TrimSpace(written) == "" {
		n.Kids = []grammar.Node{{Text: n.Target}}
	}
	r.nodes(b, n.Kids, like)
	if !ok && !strings.Contains(n.Target, written) {
		b.add(run{text: " (" + n.Target + ")", style: like.style})
	}
}

func nodesText(nodes []grammar.Node) string {
	var b strings.Builder
	for _, n := range nodes {
		b.WriteString(n.Text + nodesText(n.Kids))
	}
	return b.String()
}

// moment formats a point in time. Rocket.Chat clients show it in their own time
// zone; here it is in UTC, and says so.
func moment(n grammar.Node) string {
	sec, err := strconv.ParseInt(n.Target, 10, 64)
	if err != nil { // a time of today, as written
		return nodesText(n.Kids)
	}
	return time.Unix(sec, 0).UTC().Format("2006-01-02 15:04 UTC")
}
