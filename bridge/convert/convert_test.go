package convert_test

import (
	"strings"
	"testing"
	"unicode/utf16"

	"appliance/bridge/convert"
	"appliance/bridge/rocketchat"
)

func TestTextKeepsItsWhitespace(t *testing.T) {
	const text = "  two  blanks\n\n\ttab and *stars*"
	if c := convert.ToMatrix(rocketchat.Message{Text: text}); c.Body != text || c.MsgType != "m.text" {
		t.Errorf("%+v", c)
	}
	e := convert.Event{Content: convert.EventContent{MsgType: "m.text", Body: text}}
	if got := convert.ToRocketChat(e); len(got) != 1 || got[0] != text {
		t.Errorf("%q", got)
	}
}

func TestEmotesCross(t *testing.T) {
	if c := convert.ToMatrix(rocketchat.Message{Text: "_waves_"}); c.MsgType != "m.emote" || c.Body != "waves" {
		t.Errorf("%+v", c)
	}
	e := convert.Event{Content: convert.EventContent{MsgType: "m.emote", Body: "waves"}}
	if got := convert.ToRocketChat(e); got[0] != "_waves_" {
		t.Errorf("%q", got)
	}
}

func TestNothingToShowIsNoMessage(t *testing.T) {
	for _, body := range []string{"", " \n", "\u200b\u200d"} {
		e := convert.Event{Content: convert.EventContent{MsgType: "m.text", Body: body}}
		if got := convert.ToRocketChat(e); got != nil {
			t.Errorf("%q -> %q", body, got)
		}
	}
}

func TestLongMessagesAreSplitAtSensiblePoints(t *testing.T) {
	line := strings.Repeat("wörd 😀 ", 60) + "\n"
	long := strings.Repeat(line, 40)
	e := convert.Event{Content: convert.EventContent{MsgType: "m.text", Body: long}}
	parts := convert.ToRocketChat(e)
	for _, p := range parts {
		if n := len(utf16.Encode([]rune(p))); n > 5000 {
			t.Errorf("a part has %d units", n)
		}
	}
	if got := strings.Join(parts, "\n"); got != long {
		t.Error("something was lost between the parts")
	}
	e.Content.Body = strings.Repeat("😀", 6000)
	if got := strings.Join(convert.ToRocketChat(e), ""); got != e.Content.Body {
		t.Error("a character was cut in two")
	}
}

func TestWrongTypesAreTakenAsAbsent(t *testing.T) {
	e, err := convert.ParseEvent([]byte(`{"event_id":"$1","sender":7,"content":{"body":["x"],"membership":"join","displayname":{}},"origin_server_ts":"soon"}`))
	if err != nil || e.ID != "$1" || e.Sender != "" || e.Content.Body != "" || e.Content.Membership != "join" || e.Timestamp != 0 {
		t.Errorf("%+v, %v", e, err)
	}
	if _, err := convert.ParseEvent([]byte(`{"content":[]}`)); err != nil {
		t.Error(err)
	}
}

func TestNamesAreMadeAcceptable(t *testing.T) {
	for in, want := range map[string]string{
		"Bob": "Bob", "  B  o\tb ": "B o b", "<b>Bob</b>": "bBobb", "\u200b\u202e": "bob_x.org", "": "bob_x.org",
		strings.Repeat("x", 500): strings.Repeat("x", 120), "50%": "50",
	} {
		if got := convert.Name(in, "bob_x.org"); got != want {
			t.Errorf("Name(%q) = %q, want %q", in, got, want)
		}
	}
}

func FuzzParseEvent(f *testing.F) {
	f.Add([]byte(`{"event_id":"$1","content":{"msgtype":"m.text","body":"x"}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		e, err := convert.ParseEvent(data)
		if err != nil {
			return
		}
		for _, p := range convert.ToRocketChat(e) {
			if len(utf16.Encode([]rune(p))) > 5000 {
				t.Errorf("a part is too long for Rocket.Chat")
			}
		}
	})
}
