package difftest

import (
	"fmt"
	"strings"
	"testing"
)

// codes are code samples as on Matrix, with backticks and fences in them.
var codes = []string{
	"a`b", "`a", "a`", "`a`", "a``b", "```", "a```b", "``", "a `b` c", "`", "x`*y*`z", "a`_b_", "$(date `now`)", "\\`", "a\\`b", " `a", "a` ",
}

// TestCodeThatHoldsTicks: whatever is code on Matrix stays code in Rocket.Chat, and no
// character is lost. Only backticks, which inline code there cannot contain, may become text.
func TestCodeThatHoldsTicks(t *testing.T) {
	parsers(t)
	for _, d := range dialects {
		t.Run(d.String(), func(t *testing.T) {
			t.Parallel()
			var samples, want, sent []string
			for _, c := range codes {
				for _, form := range []string{"<code>%s</code>", "see <code>%s</code> now", "(<code>%s</code>)", "<b>so <code>%s</code></b>", "<ul><li><code>%s</code></li></ul>", "<code>%[1]s</code><code>%[1]s</code>",
					"<pre><code>%s</code></pre>", "<pre><code>a\n%s\nb</code></pre>", "<pre><code class=\"language-go\">%[1]s\n%[1]s</code></pre>"} {
					sample := "<html>" + fmt.Sprintf(form, c)
					text, shown := toRocketChat(sample, d)
					samples, sent, want = append(samples, sample), append(sent, text), append(want, shown)
				}
			}
			for i, tree := range official(t, d.String(), sent) {
				if got := ofTree(tree); ticksAside(got) != ticksAside(want[i]) {
					t.Errorf("of    %q\n  sent  %q\n  want  %s\n  got   %s", samples[i], sent[i], indent(want[i]), indent(got))
				}
			}
		})
	}
}

// ticksAside removes the looks of backticks and blanks, so that these do not interrupt a look.
func ticksAside(shape string) string {
	var b strings.Builder
	look, shown := "", ""
	for i := 0; i < len(shape); i++ {
		switch c := shape[i]; c {
		case '{':
			end := i + strings.IndexByte(shape[i:], '}')
			if look, i = shape[i:end+1], end; look == "{}" {
				look = ""
			}
		case '\n':
			b.WriteByte(c)
			look, shown = "", ""
		case '`', ' ':
			b.WriteByte(c)
		default:
			if look != shown {
				b.WriteString(look)
				shown = look
			}
			b.WriteByte(c)
		}
	}
	return b.String()
}

// TestMessagesWithTicks: what Rocket.Chat reads as code, and only that, is code on
// Matrix, whatever backticks it contains.
func TestMessagesWithTicks(t *testing.T) {
	parsers(t)
	for _, d := range dialects {
		t.Run(d.String(), func(t *testing.T) {
			t.Parallel()
			var texts []string
			for _, c := range codes {
				for _, form := range []string{"`%s`", "see `%s` now", "*so `%s`*", "- `%s`\n- b", "> `%s`", "``%s``", "`` %s ``", "```%s```", "```\n%s\n```", "```\na\n%s\n```", "```go\n%[1]s\n%[1]s\n```\nafter",
					"before\n```\n%s\n```", "```\n%s", "%s\n```", "\\`%s\\`"} {
					texts = append(texts, fmt.Sprintf(form, c))
				}
			}
			for i, tree := range official(t, d.String(), texts) {
				if got, sent := onMatrix(texts[i], d); got != ofTree(tree) {
					t.Errorf("of    %q\n  sent  %q\n  want  %s\n  got   %s", texts[i], sent, indent(ofTree(tree)), indent(got))
				}
			}
		})
	}
}
