package convert_test

import (
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"

	"pgregory.net/rapid"

	"appliance/bridge/convert"
	"appliance/bridge/rocketchat"
)

func limited(n int) convert.Lookup { return convert.Lookup{Limit: n} }

func TestLongTextIsSplitAtTheEndsOfLines(t *testing.T) {
	line := strings.Repeat("wörd 😀 ", 60) + "end"
	long := strings.Repeat(line+"\n", 40) + "last"
	parts := convert.ToRocketChat(text(long), known)
	for _, p := range parts {
		if n := utf16Len(p); n > 5000 || n < 2500 && p != parts[len(parts)-1] {
			t.Errorf("a part has %d units", n)
		}
	}
	if got := strings.Join(parts, "\n"); got != long {
		t.Error("something was lost between the parts")
	}
}

func TestAnEmptyLineIsTheBestPlaceToSplit(t *testing.T) {
	parts := convert.ToRocketChat(text("one two\nthree\n\nfour\nfive six seven"), limited(30))
	if len(parts) != 2 || parts[0] != "one two\nthree" || parts[1] != "four\nfive six seven" {
		t.Errorf("%q", parts)
	}
}

func TestALineThatIsTooLongIsSplitBetweenWordsElseBetweenCharacters(t *testing.T) {
	long := strings.Repeat("😀", 6000)
	if got := strings.Join(convert.ToRocketChat(text(long), known), ""); got != long {
		t.Error("a character was cut in two")
	}
	family := strings.Repeat("👨\u200d👩\u200d👧", 30)
	for _, p := range convert.ToRocketChat(text(family), limited(50)) {
		if strings.HasPrefix(p, "\u200d") || strings.HasSuffix(p, "\u200d") {
			t.Errorf("an emoji was cut in two: %q", p)
		}
	}
	parts := convert.ToRocketChat(text("aaaa bbbb cccc dddd"), limited(10))
	if strings.Join(parts, "|") != "aaaa bbbb|cccc dddd" {
		t.Errorf("%q", parts)
	}
}

func TestACodeBlockThatIsSplitGoesOnInTheNextPart(t *testing.T) {
	var code []string
	for i := range 20 {
		code = append(code, fmt.Sprintf("\tline %02d", i))
	}
	parts := convert.ToRocketChat(html("see<pre><code class=\"language-go\">"+strings.Join(code, "\n")+"</code></pre>and <b>on</b>"), limited(80))
	if len(parts) < 3 {
		t.Fatalf("%q", parts)
	}
	var lines []string
	for i, p := range parts {
		if utf16Len(p) > 80 {
			t.Errorf("part %d has %d units", i, utf16Len(p))
		}
		if n := strings.Count(p, "```"); n != 2 || i > 0 && !strings.HasPrefix(p, "```go\n") {
			t.Errorf("part %d is not whole: %q", i, p)
		}
		for _, l := range strings.Split(p, "\n") {
			if strings.HasPrefix(l, "\t") {
				lines = append(lines, l)
			}
		}
	}
	if strings.Join(lines, "\n") != strings.Join(code, "\n") {
		t.Errorf("%q", lines)
	}
}

func TestAQuoteAndAListThatAreSplitGoOn(t *testing.T) {
	quote := "<blockquote>" + strings.Repeat("word ", 40) + "</blockquote>"
	for _, p := range convert.ToRocketChat(html(quote), limited(50)) {
		if !strings.HasPrefix(p, "> ") {
			t.Errorf("%q", p)
		}
	}
	parts := convert.ToRocketChat(html("<ol>"+strings.Repeat("<li>item</li>", 20)+"</ol>"), limited(50))
	if last := parts[len(parts)-1]; !strings.HasSuffix(last, "20. item") {
		t.Errorf("%q", last)
	}
}

func TestLongMessagesFitIntoEvents(t *testing.T) {
	for name, msg := range map[string]string{
		"tabs": strings.Repeat("\t*x*", 1500), "bold": strings.Repeat("*a*_b_", 900), "mentions": strings.Repeat("@ada ", 1000),
		"raised limit": strings.Repeat("a line of *text* that goes on\n", 10_000), "code": "```\n" + strings.Repeat("x < y && \"z\"\n", 8_000) + "```",
	} {
		contents := convert.ToMatrix(rocketchat.Message{Text: msg}, known)
		total := 0
		for _, c := range contents {
			if n := size(c); n > 50<<10 {
				t.Errorf("%s: an event of %d bytes", name, n)
			}
			total += len(c.Body)
			checkHTML(t, c.FormattedBody)
		}
		if total < len(msg)*3/4 || len(msg) < 5000 && len(contents) > 2 {
			t.Errorf("%s: %d of %d bytes in %d events", name, total, len(msg), len(contents))
		}
	}
}

// However a text is split, each part fits, and only blanks at the cuts are lost.
func TestSplittingLosesNothing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := rapid.StringOfN(rapid.SampledFrom([]rune("abc de\n\n😀é>-1.`")), 1, 300, -1).Draw(t, "text")
		limit := rapid.IntRange(30, 100).Draw(t, "limit")
		parts := convert.ToRocketChat(html("<p>"+strings.ReplaceAll(strings.ReplaceAll(s, ">", "&gt;"), "\n", "<br>")+"</p>"), limited(limit))
		whole := convert.ToRocketChat(html("<p>"+strings.ReplaceAll(strings.ReplaceAll(s, ">", "&gt;"), "\n", "<br>")+"</p>"), convert.Lookup{})
		for _, p := range parts {
			if utf16Len(p) > limit || !utf8.ValidString(p) {
				t.Fatalf("%q has %d units", p, utf16Len(p))
			}
		}
		squeeze := func(s string) string { return strings.Join(strings.Fields(strings.ReplaceAll(s, ">", " ")), "") }
		if squeeze(strings.Join(parts, "")) != squeeze(strings.Join(whole, "")) {
			t.Fatalf("%q\nwas split into %q", whole, parts)
		}
	})
}

func TestQuotesAreTakenOffAndPutOn(t *testing.T) {
	const link = "https://chat.example.org/group/a-b?msg=X1"
	ids, rest := convert.SplitQuotes("[ ](" + link + ") [ ](https://chat.example.org/direct/r?msg=X2)\nyes *no*")
	if len(ids) != 2 || ids[0] != "X1" || ids[1] != "X2" || rest != "yes *no*" {
		t.Errorf("%q, %q", ids, rest)
	}
	for _, s := range []string{"plain", "[ ](https://x.org/)", "[a](" + link + ")", "[ ](nowhere?msg=X)", "[ ](", "see [ ](" + link + ")"} {
		if ids, rest := convert.SplitQuotes(s); ids != nil || rest != s {
			t.Errorf("%q: %q, %q", s, ids, rest)
		}
	}
	if ids, rest := convert.SplitQuotes(convert.Quote(link, "- item")); len(ids) != 1 || rest != "- item" {
		t.Errorf("%q, %q", ids, rest)
	}
}

func TestReplyFallbacksAreTakenOff(t *testing.T) {
	for body, want := range map[string][2]string{
		"> <@a:x> one\n> two\n\nyes":  {"<@a:x> one\ntwo", "yes"},
		"> * <@a:x> waves\n\nyes":     {"* <@a:x> waves", "yes"},
		"> a quote of mine\n\nyes":    {"", "> a quote of mine\n\nyes"},
		"> <@a:x> one\nyes\n\nand no": {"<@a:x> one", "yes\n\nand no"},
		"> <@a:x> one":                {"<@a:x> one", ""},
	} {
		if quoted, rest := convert.SplitReplyFallback(body); quoted != want[0] || rest != want[1] {
			t.Errorf("%q: %q, %q", body, quoted, rest)
		}
	}
}
