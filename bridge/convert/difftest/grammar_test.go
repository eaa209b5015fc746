package difftest

import (
	"strconv"
	"strings"
	"testing"

	"appliance/bridge/convert/internal/grammar"
	"appliance/bridge/mustrun"
)

// theirs formats a tree from Rocket.Chat's parser on one line.
func theirs(list []node) string {
	var b strings.Builder
	for _, n := range list {
		switch n.Type {
		case "PLAIN_TEXT":
			b.WriteString(strconv.Quote(n.text()))
		case "EMOJI":
			b.WriteString("E" + strconv.Quote(n.text()+n.Unicode) + n.ShortCode)
		case "LINK":
			target, label := n.link()
			b.WriteString("LINK<" + target + ">(" + theirs(label) + ")")
		case "IMAGE":
			target, label := n.link()
			b.WriteString("IMAGE<" + target + ">(" + theirs(label) + ")")
		case "INLINE_CODE", "MENTION_USER", "MENTION_CHANNEL", "INLINE_KATEX", "KATEX":
			b.WriteString(n.Type + strconv.Quote(n.text()))
		case "TIMESTAMP":
			seconds, format := n.time()
			b.WriteString("TIME" + seconds + format)
		case "COLOR", "LINE_BREAK", "HORIZONTAL_RULE":
			b.WriteString(n.Type)
		case "HEADING":
			b.WriteString("H" + strconv.Itoa(n.Level) + "(" + theirs(n.kids()) + ")")
		case "CODE":
			var lines []string
			for _, l := range n.kids() {
				lines = append(lines, l.text())
			}
			b.WriteString("CODE" + strconv.Quote(strings.Join(lines, "\n")))
		case "LIST_ITEM":
			b.WriteString("ITEM" + strconv.Itoa(n.Number) + "(" + theirs(n.kids()) + ")")
		case "TASK":
			b.WriteString("TASK" + strconv.FormatBool(n.Status) + "(" + theirs(n.kids()) + ")")
		case "TABLE":
			b.WriteString("TABLE(")
			for _, row := range n.table() {
				for _, cell := range row {
					b.WriteString(theirs(cell.kids()) + "|")
				}
				b.WriteString(";")
			}
			b.WriteString(")")
		default:
			b.WriteString(n.Type + "(" + theirs(n.kids()) + ")")
		}
	}
	return b.String()
}

// ours formats nodes of our grammar in the same way.
func ours(list []grammar.Node) string {
	var b strings.Builder
	names := map[grammar.Kind]string{grammar.Bold: "BOLD", grammar.Italic: "ITALIC", grammar.Strike: "STRIKE", grammar.Spoiler: "SPOILER",
		grammar.Code: "INLINE_CODE", grammar.User: "MENTION_USER", grammar.Channel: "MENTION_CHANNEL", grammar.Math: "INLINE_KATEX"}
	for _, n := range list {
		switch n.Kind {
		case grammar.Text:
			b.WriteString(strconv.Quote(n.Text))
		case grammar.Emoji:
			written := n.Text
			if n.Target != "" && written == ":"+n.Target+":" {
				written = n.Target
			}
			b.WriteString("E" + strconv.Quote(written) + n.Target)
		case grammar.Link:
			b.WriteString("LINK<" + n.Target + ">(" + ours(n.Kids) + ")")
		case grammar.Image:
			label := n.Text
			if label == "" {
				label = n.Target
			}
			b.WriteString("IMAGE<" + n.Target + ">(" + strconv.Quote(label) + ")")
		case grammar.Time:
			b.WriteString("TIME" + n.Target + n.Text)
		case grammar.Color:
			b.WriteString("COLOR")
		case grammar.Code, grammar.User, grammar.Channel, grammar.Math:
			b.WriteString(names[n.Kind] + strconv.Quote(n.Text))
		default:
			b.WriteString(names[n.Kind] + "(" + ours(n.Kids) + ")")
		}
	}
	return b.String()
}

func ourBlocks(list []grammar.Block) string {
	var b strings.Builder
	names := map[grammar.BlockKind]string{grammar.Quote: "QUOTE", grammar.SpoilerBlock: "SPOILER_BLOCK", grammar.Tasks: "TASKS", grammar.Ordered: "ORDERED_LIST", grammar.Unordered: "UNORDERED_LIST"}
	for _, k := range list {
		switch k.Kind {
		case grammar.Paragraph:
			nodes := k.Nodes
			if len(nodes) == 0 {
				nodes = []grammar.Node{{}}
			}
			b.WriteString("PARAGRAPH(" + ours(nodes) + ")")
		case grammar.BigEmoji:
			b.WriteString("BIG_EMOJI(" + ours(k.Nodes) + ")")
		case grammar.LineBreak:
			b.WriteString("LINE_BREAK")
		case grammar.Rule:
			b.WriteString("HORIZONTAL_RULE")
		case grammar.Heading:
			b.WriteString("H" + strconv.Itoa(k.Level) + "(" + ours(k.Nodes) + ")")
		case grammar.Fence:
			b.WriteString("CODE" + strconv.Quote(k.Text))
		case grammar.MathBlock:
			b.WriteString("KATEX" + strconv.Quote(k.Text))
		case grammar.Table:
			b.WriteString("TABLE(")
			for _, row := range k.Blocks {
				for _, cell := range row.Blocks {
					b.WriteString(ours(cell.Nodes) + "|")
				}
				b.WriteString(";")
			}
			b.WriteString(")")
		default:
			b.WriteString(names[k.Kind] + "(")
			for _, item := range k.Blocks {
				switch k.Kind {
				case grammar.Ordered, grammar.Unordered:
					b.WriteString("ITEM" + strconv.Itoa(item.Level) + "(" + ours(item.Nodes) + ")")
				case grammar.Tasks:
					b.WriteString("TASK" + strconv.FormatBool(item.Done) + "(" + ours(item.Nodes) + ")")
				default:
					b.WriteString(ourBlocks([]grammar.Block{item}))
				}
			}
			b.WriteString(")")
		}
	}
	return b.String()
}

var dialects = []grammar.Dialect{grammar.V31, grammar.V36, grammar.V32}

// TestTheGrammarIsThatOfRocketChat compares whole trees, for random sequences of
// markup.
func TestTheGrammarIsThatOfRocketChat(t *testing.T) {
	texts := soup(1, mustrun.Sized(4000, 300))
	texts = append(texts, committed(t, "texts.jsonl")...)
	for _, d := range dialects {
		t.Run(d.String(), func(t *testing.T) {
			t.Parallel()
			wrong := 0
			for i, tree := range official(t, d.String(), texts) {
				want, got := theirs(tree), ourBlocks(grammar.Parse(texts[i], d))
				if got != want {
					if wrong++; wrong <= 12 {
						t.Errorf("%q\n  theirs %s\n  ours   %s", texts[i], want, got)
					}
				}
			}
			t.Logf("%d of %d differ", wrong, len(texts))
		})
	}
}
