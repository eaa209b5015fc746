package convert_test

import (
	"bytes"
	"encoding/json"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	xhtml "golang.org/x/net/html"

	"appliance/bridge/convert"
	"appliance/bridge/rocketchat"
)

// allowed holds the tags and attributes that the Matrix specification permits, as
// far as we write them.
var allowed = map[string][]string{
	"h1": nil, "h2": nil, "h3": nil, "h4": nil, "blockquote": nil, "ul": nil, "ol": {"start"}, "li": nil, "pre": nil, "hr": nil, "br": nil,
	"code": {"class"}, "strong": nil, "em": nil, "del": nil, "a": {"href"}, "span": {"data-mx-spoiler", "data-mx-maths"}, "div": {"data-mx-maths"},
	"table": nil, "thead": nil, "tbody": nil, "tr": nil, "th": nil, "td": nil,
	"img": {"data-mx-emoticon", "src", "alt", "title", "height"},
}

// checkHTML reports what a Matrix client should not be sent: other tags or
// attributes, unclosed tags, harmful addresses.
func checkHTML(t *testing.T, s string) {
	t.Helper()
	var open []string
	z := xhtml.NewTokenizer(strings.NewReader(s))
	for {
		switch z.Next() {
		case xhtml.ErrorToken:
			if len(open) > 0 {
				t.Errorf("%q are not closed in %q", open, s)
			}
			return
		case xhtml.StartTagToken:
			tok := z.Token()
			attrs, ok := allowed[tok.Data]
			if !ok {
				t.Errorf("<%s> in %q", tok.Data, s)
			}
			for _, a := range tok.Attr {
				if !slices.Contains(attrs, a.Key) {
					t.Errorf("<%s %s> in %q", tok.Data, a.Key, s)
				}
				if a.Key == "src" && !strings.HasPrefix(a.Val, "mxc://") {
					t.Errorf("a picture of %q in %q", a.Val, s)
				}
				if a.Key == "href" {
					checkAddress(t, a.Val)
				}
			}
			if tok.Data != "br" && tok.Data != "hr" && tok.Data != "img" {
				open = append(open, tok.Data)
			}
		case xhtml.EndTagToken:
			tok := z.Token()
			if len(open) == 0 || open[len(open)-1] != tok.Data {
				t.Errorf("</%s> after %q in %q", tok.Data, open, s)
				return
			}
			open = open[:len(open)-1]
		case xhtml.CommentToken, xhtml.DoctypeToken, xhtml.SelfClosingTagToken:
			t.Errorf("%q in %q", z.Raw(), s)
		}
	}
}

func checkAddress(t *testing.T, s string) {
	t.Helper()
	u, err := url.Parse(s)
	if err != nil || !slices.Contains([]string{"http", "https", "ftp", "mailto", "magnet", "tel", "sms", "geo", "matrix", "xmpp", "sip", "sftp", "ssh", "irc", "ircs", "news", "webcal"}, u.Scheme) {
		t.Errorf("a link to %q: %v", s, err)
	}
}

// seeds gives the fuzzer the originals of all cases in testdata.
func seeds(f *testing.F, dir string) {
	files, err := filepath.Glob("testdata/" + dir + "/*.txtar")
	if err != nil {
		f.Fatal(err)
	}
	for _, name := range files {
		data, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		_, rest, _ := strings.Cut(string(data), " --\n")
		original, _, _ := strings.Cut(rest, "-- want")
		f.Add(original)
	}
}

// size returns the number of bytes of c in the JSON that homeservers measure.
func size(c convert.Content) int {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if enc.Encode(c) != nil {
		return 1 << 30
	}
	return b.Len()
}

// Whatever is written in Rocket.Chat, Matrix gets events that fit and contain only
// what is allowed.
func FuzzToMatrix(f *testing.F) {
	seeds(f, "tomatrix")
	f.Fuzz(func(t *testing.T, text string) {
		m := rocketchat.Message{Text: text, Attachments: []rocketchat.Attachment{{Title: text, TitleLink: "/x", Description: text}}}
		for _, c := range convert.ToMatrix(m, known) {
			checkHTML(t, c.FormattedBody)
			if n := size(c); n > 64<<10 {
				t.Errorf("an event of %d bytes", n)
			}
			if c.Body == "" || !utf8.ValidString(c.Body) || !utf8.ValidString(c.FormattedBody) {
				t.Errorf("body %q, html %q", c.Body, c.FormattedBody)
			}
		}
	})
}

// Whatever is sent on Matrix, Rocket.Chat gets messages that fit and do not notify
// everybody.
func FuzzToRocketChat(f *testing.F) {
	seeds(f, "torocketchat")
	f.Fuzz(func(t *testing.T, formatted string) {
		for _, e := range []convert.Event{html(formatted), text(formatted)} {
			for _, p := range convert.ToRocketChat(e, known) {
				if n := utf16Len(p); n > 5000 || n == 0 || !utf8.ValidString(p) {
					t.Errorf("a part of %d units: %q", n, p)
				}
				if callsEveryone(p) {
					t.Errorf("%q calls everybody", p)
				}
			}
		}
	})
}

// callsEveryone searches for mentions as Rocket.Chat's server does.
func callsEveryone(s string) bool {
	for _, field := range strings.FieldsFunc(s, func(r rune) bool {
		return r == '>' || r == ' ' || r == '\n' || r == '\t' || r == '\u00a0' || r == '\u3000'
	}) {
		for _, name := range []string{"@all", "@here"} {
			rest, ok := strings.CutPrefix(field, name)
			if ok && (rest == "" || !strings.ContainsAny(rest[:1], "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-_.@:")) {
				return true
			}
		}
	}
	return false
}

// A message from Rocket.Chat that is sent back there is never lost on the way.
func FuzzThereAndBack(f *testing.F) {
	seeds(f, "tomatrix")
	f.Fuzz(func(t *testing.T, md string) {
		for _, c := range convert.ToMatrix(rocketchat.Message{Text: md}, known) {
			e := convert.Event{Content: convert.EventContent{MsgType: c.MsgType, Body: c.Body, FormattedBody: c.FormattedBody, Mentions: c.Mentions}}
			if len(convert.ToRocketChat(e, known)) == 0 {
				t.Errorf("%q became %+v became nothing", md, c)
			}
		}
	})
}

// Events can be anything, because anybody can send them.
func FuzzParseEvent(f *testing.F) {
	f.Add([]byte(`{"event_id":"$1","content":{"msgtype":"m.text","body":"x","m.mentions":{"user_ids":["@a:x"],"room":true},"m.relates_to":{"rel_type":"m.replace","event_id":"$0","m.in_reply_to":{"event_id":"$x"}},"m.new_content":{"body":"y","format":"org.matrix.custom.html","formatted_body":"<b>y</b>"}}}`))
	f.Add([]byte(`{"content":{"msgtype":"m.location","body":"x","geo_uri":"geo:1,2;u=3"}}`))
	f.Add([]byte(`{"content":{"msgtype":"m.image","body":"x","filename":"y.png"}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		e, err := convert.ParseEvent(data)
		if err != nil {
			return
		}
		for _, p := range convert.ToRocketChat(e, known) {
			if utf16Len(p) > 5000 {
				t.Errorf("a part is too long for Rocket.Chat")
			}
		}
	})
}
