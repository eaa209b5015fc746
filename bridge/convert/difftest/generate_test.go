package difftest

import (
	"html"
	"math/rand/v2"
	"strconv"
	"strings"
)

// A drawer generates random texts as people write them.
type drawer struct{ *rand.Rand }

func (d drawer) of(list ...string) string { return list[d.IntN(len(list))] }

func (d drawer) word() string {
	return d.of("we", "the", "build", "is", "green", "again", "today", "please", "look", "at", "it", "meeting", "tomorrow", "v2", "10", "ok", "thanks",
		"ça", "va", "größer", "日本", "café", "see", "README", "a", "I", "that", "failed", "why", "not", "now", "later", "lunch", "server", "deploy")
}

func (d drawer) words() string {
	n := 1 + d.IntN(4)
	list := make([]string, n)
	for i := range list {
		list[i] = d.word()
	}
	return strings.Join(list, " ")
}

// oddity draws a word with characters that are markup elsewhere.
func (d drawer) oddity() string {
	return d.of("snake_case", "my_var_name", "node.js", "config.yml", "_private", "2*3*4", "~5", "a|b", "C:\\new", "10:30:20", "#1", "a@b", "x_y@example.org", "foo()", "[1]", "(a)", "50%",
		"don't", "e.g.", "...", "!", "?", "->", "=>", "<-", "{x}", "a/b", "--flag", "$HOME", "&", "1.", "v1.2.3", "_config.yml", "a_b", "*", "_", "`", "**", "#", "@", "~", "||", "a*b")
}

func (d drawer) link() string {
	return d.of("https://example.org", "https://example.org/a_b", "http://example.com/x?y=1&z=2#top", "https://example.org/wiki/Foo_(bar)", "example.com", "https://example.org/a,b")
}

// messagePiece draws part of a line of a Rocket.Chat message.
func (d drawer) messagePiece() string {
	w := d.words
	switch d.IntN(30) {
	case 0:
		return "*" + w() + "*"
	case 1:
		return "_" + w() + "_"
	case 2:
		return "~" + w() + "~"
	case 3:
		return "**" + w() + "**"
	case 4:
		return "*" + w() + " _" + w() + "_*"
	case 5:
		return "_" + d.oddity() + " " + w() + "_"
	case 6:
		return "`" + d.of("code", "a_b", "x*y*z", "ls -la") + "`"
	case 7:
		return "[" + w() + "](" + d.link() + ")"
	case 8:
		return "<" + d.link() + "|" + w() + ">"
	case 9:
		return d.of("@ada", "@bob_matrix.org", "@nobody", "@ada.", "(@ada)", "@ada,", "@ada:", "@all", "@here", "#general", "#nowhere")
	case 10:
		return d.of(":smile:", ":tada:", ":tada:!", "(:+1:)", ":party_parrot:", ":nope:", "😀", "👍🏽", "❤️")
	case 11:
		return d.of(":)", ":(", ";)", ":D", "8)", "<3", ":P", ":/", "(:", "XD")
	case 12:
		return d.link()
	case 13, 14:
		return d.oddity()
	case 15:
		return "||" + w() + "||"
	case 16:
		return d.of("<t:1630360800:R>", "<t:1630360800>", "<t:2021-08-31T00:00:00.000+00:00:R>")
	case 17:
		return d.of(`\*no\*`, `\_no\_`, `a\.b`, `\(x^2\)`)
	case 18:
		return "(*" + w() + "*)"
	case 19:
		return "*" + d.oddity() + "*"
	}
	return w()
}

func (d drawer) messageLine() string {
	n := 1 + d.IntN(5)
	list := make([]string, n)
	for i := range list {
		list[i] = d.messagePiece()
	}
	return strings.Join(list, d.of(" ", " ", " ", " ", ", ", ""))
}

func (d drawer) message() string {
	switch d.IntN(24) {
	case 0:
		return "- " + d.messageLine() + "\n- " + d.messageLine()
	case 1:
		return "1. " + d.messageLine() + "\n2. " + d.messageLine()
	case 2:
		return "> " + d.messageLine() + "\n" + d.messageLine()
	case 3:
		return strings.Repeat("#", 1+d.IntN(5)) + " " + d.messageLine()
	case 4:
		return "```" + d.of("", "go", "c++") + "\n" + d.messageLine() + "\n```" + d.of("", "\n", " ", "\n\n") + d.words()
	case 5:
		return d.messageLine() + "\n" + d.messageLine()
	case 6:
		return "- [x] " + d.messageLine() + "\n- [ ] " + d.messageLine()
	case 7:
		return "| " + d.words() + " | " + d.messagePiece() + " |\n|---|:-:|\n| " + d.messagePiece() + " | " + d.words() + " |"
	case 8:
		return "> " + d.of("- ", "1. ", "> ", "# ", "") + d.words() + "\n>\n> " + d.messageLine()
	}
	return d.messageLine()
}

// messages draws Rocket.Chat messages.
func messages(seed uint64, n int) []string {
	d := drawer{rand.New(rand.NewPCG(seed, 1))}
	out := make([]string, n)
	for i := range out {
		out[i] = d.message()
	}
	return out
}

// inline draws part of a line of HTML.
func (d drawer) inline(depth int) string {
	inside := func() string {
		if depth > 1 {
			return html.EscapeString(d.words())
		}
		return d.inline(depth + 1)
	}
	switch d.IntN(26) {
	case 0, 1:
		return "<strong>" + inside() + "</strong>"
	case 2, 3:
		return "<em>" + inside() + "</em>"
	case 4:
		return "<del>" + inside() + "</del>"
	case 5:
		return "<strong>" + html.EscapeString(d.words()) + " <em>" + html.EscapeString(d.words()) + "</em></strong>"
	case 6:
		return "<code>" + d.of("code", "a_b", "x*y*z", "ls -la", "@ada") + "</code>"
	case 7:
		return `<a href="` + html.EscapeString(d.of("https://example.org/a_b", "http://example.com/x?y=1", "https://example.org/wiki/Foo_(bar)", "mailto:ada@example.org")) + `">` + html.EscapeString(d.words()) + "</a>"
	case 8:
		if depth > 0 {
			return html.EscapeString(d.words())
		}
		return `<a href="https://matrix.to/#/@ada:example.org">ada</a>`
	case 9:
		return d.of("😀", "👍🏽", "❤️", "🇩🇪")
	case 10:
		return html.EscapeString(d.of(":)", ":D", "8)", "<3", ":P", ":tada:"))
	case 11, 12:
		if depth > 0 && d.IntN(4) > 0 { // emphasis mostly holds words
			return html.EscapeString(d.words())
		}
		return html.EscapeString(d.oddity())
	case 13:
		return html.EscapeString(d.link())
	case 14:
		if depth > 0 && d.IntN(4) > 0 {
			return html.EscapeString(d.words())
		}
		return html.EscapeString(d.of("@bob", "@ada", "#general", "*not bold*", "_not italic_", "~not struck~", "`no code`", "[a](https://b.org)"))
	case 15:
		return "<em>" + html.EscapeString(d.of("node.js is great", "config.yml", "see example.org", "a.b", "it's ok")) + "</em>"
	}
	return html.EscapeString(d.words())
}

func (d drawer) htmlLine() string {
	n := 1 + d.IntN(5)
	list := make([]string, n)
	for i := range list {
		list[i] = d.inline(0)
	}
	return strings.Join(list, d.of(" ", " ", " ", " ", ", "))
}

// typed draws plain Matrix text.
func (d drawer) typed() string {
	n := 1 + d.IntN(5)
	list := make([]string, n)
	for i := range list {
		list[i] = d.of(d.words(), d.oddity(), d.words(), d.messagePiece())
	}
	return d.of("", "", "", "", "- ", "1. ", "> ", "# ") + strings.Join(list, " ")
}

func (d drawer) document() string {
	switch d.IntN(20) {
	case 0:
		return "<html><ul><li>" + d.htmlLine() + "</li><li>" + d.htmlLine() + "</li></ul>"
	case 1:
		return "<html><ol start=\"" + strconv.Itoa(1+d.IntN(3)) + "\"><li>" + d.htmlLine() + "</li><li>" + d.htmlLine() + "</li></ol>"
	case 2:
		return "<html><blockquote><p>" + d.htmlLine() + "</p></blockquote><p>" + d.htmlLine() + "</p>"
	case 3:
		return "<html><h2>" + html.EscapeString(d.words()) + "</h2><p>" + d.htmlLine() + "</p>"
	case 4:
		return "<html><pre><code class=\"language-go\">" + html.EscapeString(d.messageLine()) + "\n</code></pre>" + d.htmlLine()
	case 5:
		return "<html>" + d.htmlLine() + "<br>" + d.htmlLine()
	case 6, 7, 8, 9, 10:
		return d.typed()
	}
	return "<html>" + d.htmlLine()
}

// documents draws Matrix messages.
func documents(seed uint64, n int) []string {
	d := drawer{rand.New(rand.NewPCG(seed, 2))}
	out := make([]string, n)
	for i := range out {
		out[i] = d.document()
	}
	return out
}
