package convert_test

import (
	"fmt"
	"strings"
	"testing"

	"maunium.net/go/mautrix/id"
	"pgregory.net/rapid"

	"appliance/bridge/convert"
	"appliance/bridge/rocketchat"
)

// both knows ada on both sides, and uses the newest dialect, which has the most features.
var both = convert.Lookup{Dialect: convert.DialectFor("8.8.0"), User: known.User, Room: known.Room, Channel: known.Channel, Username: func(mx id.UserID) (string, bool) {
	return "ada", mx == "@ada:example.org"
}}

var word = rapid.StringMatching(`[a-zA-Zäπ日]{1,6}`)

// words draws ordinary text, with a varying number of blanks between the words.
func words(t *rapid.T) string {
	var b strings.Builder
	for i := range rapid.IntRange(1, 4).Draw(t, "words") {
		if i > 0 {
			b.WriteString(strings.Repeat(" ", rapid.IntRange(1, 3).Draw(t, "blanks")))
		}
		b.WriteString(word.Draw(t, "word"))
	}
	return b.String()
}

// piece draws part of a line, as Rocket.Chat's own editor writes it.
func piece(t *rapid.T) string {
	switch rapid.IntRange(0, 12).Draw(t, "piece") {
	case 0:
		return "*" + words(t) + "*"
	case 1:
		return "_" + words(t) + "_"
	case 2:
		return "~" + words(t) + "~"
	case 3:
		return "*" + words(t) + " _" + words(t) + "_*"
	case 4:
		return "`" + rapid.StringMatching(`[a-z*_~@#\\]{1,8}`).Draw(t, "code") + "`"
	case 5:
		return "[" + words(t) + "](https://example.org/" + rapid.StringMatching(`[a-z_~*]{0,6}`).Draw(t, "path") + ")"
	case 6:
		return "@ada"
	case 7:
		return "||" + words(t) + "||"
	case 8:
		return "😀"
	case 9:
		return `\(` + word.Draw(t, "formula") + `\)`
	case 10:
		return "#general"
	}
	return words(t)
}

func mdLine(t *rapid.T) string {
	var parts []string
	for range rapid.IntRange(1, 4).Draw(t, "pieces") {
		parts = append(parts, piece(t))
	}
	return strings.Join(parts, " ")
}

// mdBlock draws lines that belong together.
func mdBlock(t *rapid.T, depth int) []string {
	switch rapid.IntRange(0, 8).Draw(t, "block") {
	case 0:
		return []string{strings.Repeat("#", rapid.IntRange(1, 4).Draw(t, "level")) + " " + words(t)}
	case 1:
		out := []string{"```" + rapid.SampledFrom([]string{"", "go", "objective-c"}).Draw(t, "lang")}
		for range rapid.IntRange(1, 4).Draw(t, "lines") {
			// Not three backticks, nor one at the end: Rocket.Chat 8.3 to 8.6 does not read those as code.
			out = append(out, rapid.StringMatching("x([ \ta-z*_<&>@#]`{0,2}){0,12}x").Draw(t, "code line"))
		}
		return append(out, "```")
	case 2:
		if depth > 2 {
			break
		}
		var out []string
		for _, l := range append(mdBlock(t, 3), mdLine(t)) {
			if strings.HasPrefix(l, "`") || strings.HasPrefix(l, "#") || strings.HasPrefix(l, "x") || strings.HasPrefix(l, "-") {
				continue
			}
			out = append(out, "> "+l)
		}
		return out
	case 3:
		return mdList(t)
	case 4:
		return []string{"---"}
	}
	return []string{mdLine(t)}
}

func mdList(t *rapid.T) []string {
	var out []string
	kind := rapid.IntRange(0, 2).Draw(t, "kind of list") // Rocket.Chat has no mixed ones
	for i := range rapid.IntRange(1, 3).Draw(t, "items") {
		bullet := "- "
		switch kind {
		case 1:
			bullet = fmt.Sprintf("%d. ", i+1)
		case 2:
			bullet = "- [x] "
		}
		out = append(out, bullet+words(t)+" "+piece(t))
	}
	return out
}

// Common Rocket.Chat text is the same after a round trip through Matrix: nothing is
// lost, nothing moves.
func TestTheRoundTripOfTheCommonSubsetIsTheIdentity(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var lines []string
		list := false
		for i := range rapid.IntRange(1, 5).Draw(t, "blocks") {
			b := mdBlock(t, 0)
			isQuote := len(b) > 0 && strings.HasPrefix(b[0], ">")
			if i > 0 {
				for range rapid.IntRange(0, 2).Draw(t, "empty lines") {
					lines, list = append(lines, ""), false
				}
			}
			if isQuote || list { // adjacent ones of the same kind would be one block
				lines = append(lines, "between")
			}
			list = len(b) > 0 && (strings.HasPrefix(b[0], "-") || strings.HasPrefix(b[0], "1"))
			if list {
				lines = append(lines, "before")
			}
			lines = append(lines, b...)
			if isQuote || list {
				lines, list = append(lines, "behind"), false
			}
		}
		md := strings.Trim(strings.Join(lines, "\n"), "\n")
		contents := convert.ToMatrix(rocketchat.Message{Text: md}, both)
		if len(contents) != 1 {
			t.Skip("nothing to show")
		}
		c := contents[0]
		e := convert.Event{Content: convert.EventContent{MsgType: c.MsgType, Body: c.Body, FormattedBody: c.FormattedBody, Mentions: c.Mentions}}
		back := convert.ToRocketChat(e, both)
		if len(back) != 1 || back[0] != md {
			t.Fatalf("%q\nhtml %q\nback %q", md, c.FormattedBody, back)
		}
	})
}

// Plain text on Matrix is plain text in Rocket.Chat: as Rocket.Chat's clients read
// it, it says the same.
func FuzzPlainTextLooksTheSame(f *testing.F) {
	f.Fuzz(rapid.MakeFuzz(plainTextLooksTheSame))
}

func plainTextLooksTheSame(t *rapid.T) {
	var b strings.Builder
	for range rapid.IntRange(1, 12).Draw(t, "pieces") {
		b.WriteString(rapid.SampledFrom([]string{"*", "_", "~", "`", "||", "|", " ", "  ", "word", "a", "1", "(", ")", "[", "](", "\\", ".", "#", "<", ">", "é", "foo_", ",", "-", "https://example.org/a_b", "x.y"}).Draw(t, "piece"))
	}
	typed := "x " + b.String()
	for _, version := range []string{"7.2.0", "8.3.0", "8.8.0"} { // one of each dialect
		l := convert.Lookup{Dialect: convert.DialectFor(version)}
		parts := convert.ToRocketChat(text(typed), l)
		if len(parts) != 1 {
			t.Fatalf("%q for %s", parts, version)
		}
		shown := convert.ToMatrix(rocketchat.Message{Text: parts[0]}, l)
		if len(shown) != 1 || strings.ReplaceAll(shown[0].Body, "\u200b", "") != typed || shown[0].FormattedBody != "" {
			t.Fatalf("%q was sent to %s as %q and shown as %+v", typed, version, parts[0], shown)
		}
	}
}
