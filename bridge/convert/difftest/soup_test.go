package difftest

import (
	"math/rand/v2"
	"strings"
)

// pieces are the elements of markup, and the text around it.
var pieces = []string{
	"*", "_", "~", "`", "||", "|", "**", "__", "~~", " ", " ", " ", " ", "  ", "\n", "\n", "word", "a", "B", "1", "42", "(", ")", "[", "]", "](", "\\", ".", "#", "<", ">", "é", "日本", "foo_",
	",", "-", "!", ":", ";", "'", "=", "+", "@", "&", "%", "/", "?", "@bob", "@ada", "@all", "#general", ":smile:", ":tada:", ":)", ":(", "8)", "<3", ":D", "*)", "-_-", "😀", "👍🏽", "❤️", "🇩🇪", "👨‍👩‍👧",
	"https://example.org/a_b", "http://x.y/z?a=b&c=d#e", "example.com", "x.y", "_config.yml", "node.js", "a@b.org", "mailto:x@y.com", "+491234567", "+(49)123-456", "localhost:3000", "127.0.0.1", "ftp://a.b.c",
	"[text](https://example.org/x)", "[a *b* c](http://a.io)", "<https://a.io|label>", "![pic](https://a.io/p.png)", "<t:1630360800:R>", "<t:2021-08-31T00:00:00.000+00:00:R>", "`code`", "`a_b`", `\(x^2\)`, `\*`, `\_`,
	"color:#ff0000", "snake_case", "*bold*", "_it_", "~no~", "**b**", "__i__", "||hid||", "~~s~~", "2*3*4", "\\<t:1630360800>",
}

// starts are the strings that begin a line.
var starts = []string{"- ", "* ", "+ ", "1. ", "2. ", "> ", ">", "# ", "## ", "#### ", "##### ", "- [ ] ", "- [x] ", "```\n", "```js\n", "```", "```\na`\n```", "```\n``\n\n```", "---", "|a|b|\n|-|-|\n", "| x |", "||\n", "\\[x\\]", "  - ", "  ", "\t"}

// soup returns texts of random pieces.
func soup(seed uint64, n int) []string {
	r := rand.New(rand.NewPCG(seed, 7))
	texts := make([]string, n)
	for i := range texts {
		var b strings.Builder
		for range 1 + r.IntN(10) {
			if (b.Len() == 0 || strings.HasSuffix(b.String(), "\n")) && r.IntN(4) == 0 {
				b.WriteString(starts[r.IntN(len(starts))])
			}
			b.WriteString(pieces[r.IntN(len(pieces))])
		}
		texts[i] = b.String()
	}
	return texts
}
