package sim

import "testing"

// The trees match those of the genuine parser for the same texts.
func TestPlainTextLinksAndMentionsAreParsed(t *testing.T) {
	for text, want := range map[string]string{
		"hello": `[{"type":"PARAGRAPH","value":[{"type":"PLAIN_TEXT","value":"hello"}]}]`,
		"a\n\nb": `[{"type":"PARAGRAPH","value":[{"type":"PLAIN_TEXT","value":"a"}]},{"type":"LINE_BREAK"},` +
			`{"type":"PARAGRAPH","value":[{"type":"PLAIN_TEXT","value":"b"}]}]`,
		"see [it](https://e.x/a) now": `[{"type":"PARAGRAPH","value":[{"type":"PLAIN_TEXT","value":"see "},` +
			`{"type":"LINK","value":{"label":[{"type":"PLAIN_TEXT","value":"it"}],"src":{"type":"PLAIN_TEXT","value":"https://e.x/a"}}},` +
			`{"type":"PLAIN_TEXT","value":" now"}]}]`,
		"hi @bob, in #dev": `[{"type":"PARAGRAPH","value":[{"type":"PLAIN_TEXT","value":"hi "},` +
			`{"type":"MENTION_USER","value":{"type":"PLAIN_TEXT","value":"bob"}},{"type":"PLAIN_TEXT","value":", in "},` +
			`{"type":"MENTION_CHANNEL","value":{"type":"PLAIN_TEXT","value":"dev"}}]}]`,
		"": "null",
	} {
		if got := string(restJSON(parsedText(text))); got != want {
			t.Errorf("%q\n got %s\nwant %s", text, got, want)
		}
	}
}
