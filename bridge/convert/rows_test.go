package convert_test

import (
	"strings"
	"testing"

	"appliance/bridge/convert"
	"appliance/bridge/rocketchat"
)

// newest is the lookup known, for a server with the newest dialect.
var newest = func() convert.Lookup {
	look := known
	look.Dialect = convert.DialectFor("8.8.0")
	return look
}()

// matrixHTML returns what Matrix is sent for a message: HTML, or text if that is
// enough.
func matrixHTML(t *testing.T, message string, look convert.Lookup) string {
	t.Helper()
	c := convert.ToMatrix(rocketchat.Message{Text: message}, look)
	if len(c) != 1 {
		t.Fatalf("%q became %d events", message, len(c))
	}
	if c[0].MsgType != "m.text" {
		t.Errorf("%q became an %s", message, c[0].MsgType)
	}
	if c[0].FormattedBody == "" {
		return c[0].Body
	}
	return c[0].FormattedBody
}

// TestRocketChatsTextIsReadAsItsPeopleSeeIt lists the classes of text that were once
// read differently from what Rocket.Chat's clients show.
func TestRocketChatsTextIsReadAsItsPeopleSeeIt(t *testing.T) {
	for _, tc := range []struct{ class, message, want string }{
		{"C1 emoticons", "thx :)", "thx 🙂"},
		{"C2 shortcodes beside punctuation", "nice :tada:!", "nice :tada:!"},
		{"C2 shortcodes", "nice :tada:", "nice 🎉"},
		{"C3 the full stop is part of a name", "thanks @ada.", "thanks @ada."},
		{"C3 the bracket is not", "(@ada)", `(<a href="https://matrix.to/#/@ada:example.org">Ada Lovelace</a>)`},
		{"C4 lists are flat", "- a\n  - b", "<ul><li>a</li></ul>\u00a0\u00a0- b"},
		{"C4 plus is no bullet", "+ a", "+ a"},
		{"C4 a task in a plain list", "- a\n- [x] b", "<ul><li>a</li><li>[x] b</li></ul>"},
		{"C5 quotes hold no blocks", "> - a", "<blockquote>- a</blockquote>"},
		{"C6 tables", "|a|b|\n|-|-|\n|1|*2*|", "<table><thead><tr><th>a</th><th>b</th></tr></thead><tbody><tr><td>1</td><td><strong>2</strong></td></tr></tbody></table>"},
		{"C7 text after a fence", "```\na\n``` b", "<pre><code>a\n</code></pre>\u00a0b"},
		{"C8 other fences", "```c++\na\n```", "```c++\na\n```"},
		{"C9 times", "<t:2021-08-31T00:00:00.000+00:00:R>", "2021-08-31 00:00 UTC"},
		{"C10 a star and a bracket wink", "(see *above*)", "(see *above*)"},
		{"C11 crossed marks", "*a _b* c_", "*a <em>b* c</em>"},
		{"C12 schemes", "[a](tel:+491234)", `<a href="tel:+491234">a</a>`},
		{"C13 no escapes in emphasis", `*a\*b*`, `<strong>a\</strong>b*`},
		{"C14 a dotted word in italics", "see _config.yml_ for details", "see <em>config.yml</em> for details"},
		{"C14 a version in italics", "_Version 2.0_ is out", "<em>Version 2.0</em> is out"},
		{"C15 marks inside marks", "_*foo_bar*_", "<strong><em>foo_bar</em></strong>"},
		{"C16 code glued inside emphasis", "**a/`a_b`**", "<strong>a/`a_b`</strong>"},
		{"C17 a message in italics", "_see README.md_", "<em>see README.md</em>"},
	} {
		t.Run(tc.class, func(t *testing.T) {
			if got := matrixHTML(t, tc.message, newest); got != tc.want {
				t.Errorf("%q\ngot  %s\nwant %s", tc.message, got, tc.want)
			}
		})
	}
}

// TestMatrixTextMeansTheSameInRocketChat lists the classes of text that once changed
// their meaning on the way there.
func TestMatrixTextMeansTheSameInRocketChat(t *testing.T) {
	const zero = "\u200b"
	for _, tc := range []struct{ class, html, want string }{
		{"C20 a heart that was typed", "&lt;3", "<" + zero + "3"},
		{"C20 a face that was typed", "a 8) b", "a 8" + zero + ") b"},
		{"C20 a name that was typed", "@bob typed", "@" + zero + "bob typed"},
		{"C20 a list that was typed", "- a", zero + "- a"},
		{"C21 names are called after a blank", `(<a href="https://matrix.to/#/@ada:example.org">Ada</a>)`, "( @ada)"},
		{"C22 lists are flat", "<ul><li>a<ul><li>b</li></ul></li></ul>", "- a\n- \u2003b"},
		{"C23 a bracket before a link", `[1] see <a href="https://e.x/a">doc</a>`, "[1] see <https://e.x/a|doc>"},
		{"C24 bold before a bracket", "(<strong>new</strong>)", "(*new*" + zero + ")"},
		{"C25 a mark inside its own emphasis", "<em>a_b</em>", `_a_\__b_`},
		{"C26 tables", "<table><tr><th>a</th><th>b</th></tr><tr><td>1</td><td><b>2</b></td></tr></table>", "| a | b |\n| --- | --- |\n| 1 | *2* |"},
		{"C27 a list in a quote", "<blockquote><ul><li>a</li></ul></blockquote>", "> - a"},
		{"C28 a language", `<pre><code class="language-c++">x</code></pre>`, "```cpp\nx\n```"},
		{"C29 code that holds a fence", "<pre><code>a\n```\nb</code></pre>", "```\na\n``" + zero + "`\nb\n```"},
		{"C30 a blank in an address", `<a href="https://e.x/x y">doc</a>`, "[doc](https://e.x/x%20y)"},
		{"C30 code that is a link", `<a href="https://e.x/a"><code>c</code></a>`, "[c](https://e.x/a)"},
		{"C31 a dotted word in italics", "<em>node.js is great</em>", "__node.js is great__"},
		{"C32 struck text before an underscore", "<del>my_var</del> and other_var", `~~my~~\_~~var~~ and other\_var`},
	} {
		t.Run(tc.class, func(t *testing.T) {
			if got := strings.Join(convert.ToRocketChat(html(tc.html), newest), "\n===\n"); got != tc.want {
				t.Errorf("%s\ngot  %q\nwant %q", tc.html, got, tc.want)
			}
		})
	}
}

// A dialect is used from a certain version on.
func TestDialectsFollowTheVersion(t *testing.T) {
	table := "|a|b|\n|-|-|"
	for version, want := range map[string]string{"7.2": "0.31.32", "7.13.9": "0.31.32", "8.0.0": "0.31.32", "8.3": "0.31.36", "8.6.1": "0.31.36", "8.8": "0.32.0", "9.0.0": "0.32.0", "": "0.31.36", "soon": "0.31.36"} {
		if got := convert.DialectFor(version).String(); got != want {
			t.Errorf("%q reads as %s, want %s", version, got, want)
		}
	}
	old := known
	old.Dialect = convert.DialectFor("8.6.1")
	if got := matrixHTML(t, table, old); strings.Contains(got, "<table>") {
		t.Errorf("8.6 knows no tables: %s", got)
	}
	if got := convert.ToRocketChat(html("<table><tr><th>a</th></tr></table>"), old); !strings.HasPrefix(got[0], "```") {
		t.Errorf("%q", got)
	}
}

// A link whose text is the address of another server shows its real target.
func TestALinkIsNotDisguised(t *testing.T) {
	evil := `<a href="https://evil.example.net/login">https://chat.example.org</a>`
	for _, version := range []string{"7.2", "8.6", "8.8"} {
		look := known
		look.Dialect = convert.DialectFor(version)
		if got := convert.ToRocketChat(html(evil), look); len(got) != 1 || got[0] != "https://evil.example.net/login" {
			t.Errorf("%s: %q", version, got)
		}
		if got := matrixHTML(t, "[chat.example.org](https://evil.example.net/login)", look); strings.Contains(got, "chat.example.org") {
			t.Errorf("%s: %s", version, got)
		}
	}
	same := `<a href="https://www.example.org/a">example.org</a>`
	if got := convert.ToRocketChat(html(same), known); got[0] != "[example.org](https://www.example.org/a)" {
		t.Errorf("%q", got)
	}
}

// If the bridge does not know the message that is replied to, only the sender
// vouches for its text, so it is attributed to nobody.
func TestAReplyCannotMakeOthersSayThings(t *testing.T) {
	e := text("> <@ada:example.org> I quit\n\nwow")
	e.Content.ReplyTo = "$unknown"
	got := convert.ToRocketChat(e, known)
	if len(got) != 1 || got[0] != "> I quit\nwow" {
		t.Errorf("%q", got)
	}
	typed := convert.ToRocketChat(text("> *ada* I quit\nwow"), known)
	if len(typed) != 1 || strings.HasPrefix(typed[0], ">") || strings.Contains(typed[0], "*ada*") && !strings.Contains(typed[0], `\*ada`) {
		t.Errorf("%q", typed)
	}
}

// Text chosen by strangers, such as a file name, notifies nobody.
func TestTextAsTypedNotifiesNobody(t *testing.T) {
	for _, name := range []string{"@here", "x @all.png", "@ada", "*b* :) [a](https://b.org)"} {
		for _, version := range []string{"7.2", "8.6", "8.8"} {
			got := convert.AsTyped("["+name+"]: too large", convert.DialectFor(version))
			look := known
			look.Dialect = convert.DialectFor(version)
			c := convert.ToMatrix(rocketchat.Message{Text: got}, look)
			if strings.ReplaceAll(c[0].Body, "\u200b", "") != "["+name+"]: too large" || c[0].Mentions.Room || len(c[0].Mentions.UserIDs) > 0 || strings.Contains(got, "@here") || strings.Contains(got, "@all") {
				t.Errorf("%s: %q was sent as %q", version, name, got)
			}
		}
	}
}
