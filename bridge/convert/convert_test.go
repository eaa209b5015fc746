package convert_test

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf16"

	"github.com/rogpeppe/go-internal/txtar"
	"maunium.net/go/mautrix/id"

	"appliance/bridge/convert"
	"appliance/bridge/rocketchat"
)

// known is the lookup for the cases in testdata.
var known = convert.Lookup{
	User: func(name string) (id.UserID, string, bool) {
		users := map[string][2]string{"ada": {"@ada:example.org", "Ada Lovelace"}, "bob_matrix.org": {"@bob:matrix.org", "Bob"}, "jörg": {"@j=c3=b6rg:example.org", "Jörg"}}
		u, ok := users[name]
		return id.UserID(u[0]), u[1], ok
	},
	Username: func(mx id.UserID) (string, bool) {
		names := map[id.UserID]string{"@ada:example.org": "ada", "@bob:matrix.org": "bob_matrix.org"}
		name, ok := names[mx]
		return name, ok
	},
	Room: func(channel string) (string, bool) {
		return "#general:example.org", channel == "general"
	},
	Channel: func(room string) (string, bool) {
		return "general", room == "#general:example.org" || room == "!general:example.org"
	},
	Emoji: func(name string) (string, bool) {
		return "mxc://example.org/" + name, name == "p" || name == "party_parrot"
	},
	Event: func(message string) (id.EventID, bool) { return "$known", message == "known" },
	Permalink: func(event id.EventID) (string, bool) {
		return "https://chat.example.org/channel/general?msg=known", event == "$known"
	},
}

// cases calls f for each example in a folder: a sentence that says what is shown,
// the original, and the wanted result. With APPLIANCE_UPDATE=1 it writes the result
// instead, to be reviewed before it is committed.
func cases(t *testing.T, dir, want string, f func(t *testing.T, a *txtar.Archive) []byte) {
	files, err := filepath.Glob("testdata/" + dir + "/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("no cases: %v", err)
	}
	for _, name := range files {
		t.Run(strings.TrimSuffix(filepath.Base(name), ".txtar"), func(t *testing.T) {
			a, err := txtar.ParseFile(name)
			if err != nil {
				t.Fatal(err)
			}
			if len(bytes.TrimSpace(a.Comment)) == 0 {
				t.Error("a case begins with a sentence that says what it shows")
			}
			got := f(t, a)
			if os.Getenv("APPLIANCE_UPDATE") != "" {
				update(t, name, a, want, got)
			} else if w := file(a, want); string(got) != w {
				t.Errorf("%s\ngot:\n%s\nwant:\n%s", a.Comment, got, w)
			}
		})
	}
}

func update(t *testing.T, name string, a *txtar.Archive, want string, got []byte) {
	for i := range a.Files {
		if a.Files[i].Name == want {
			a.Files = append(a.Files[:i], a.Files[i+1:]...)
			break
		}
	}
	a.Files = append(a.Files, txtar.File{Name: want, Data: got})
	if err := os.WriteFile(name, txtar.Format(a), 0o644); err != nil {
		t.Fatal(err)
	}
}

func file(a *txtar.Archive, name string) string {
	for _, f := range a.Files {
		if f.Name == name {
			return string(f.Data)
		}
	}
	return ""
}

// TestToMatrix reads message.md, the text of a message, or message.json.
func TestToMatrix(t *testing.T) {
	cases(t, "tomatrix", "want.json", func(t *testing.T, a *txtar.Archive) []byte {
		m := rocketchat.Message{Text: strings.TrimSuffix(file(a, "message.md"), "\n")}
		if doc := file(a, "message.json"); doc != "" {
			var err error
			if err = json.Unmarshal([]byte(doc), &m); err != nil {
				t.Fatal(err)
			}
		}
		var b bytes.Buffer
		for _, c := range convert.ToMatrix(m, known) {
			enc := json.NewEncoder(&b)
			enc.SetEscapeHTML(false)
			enc.SetIndent("", "  ")
			if err := enc.Encode(c); err != nil {
				t.Fatal(err)
			}
		}
		return b.Bytes()
	})
}

// TestToRocketChat reads event.html or event.txt, the text of an event, or
// content.json.
func TestToRocketChat(t *testing.T) {
	cases(t, "torocketchat", "want.md", func(t *testing.T, a *txtar.Archive) []byte {
		content := map[string]any{"msgtype": "m.text", "body": strings.TrimSuffix(file(a, "event.txt"), "\n")}
		if html := file(a, "event.html"); html != "" {
			content["format"], content["formatted_body"] = convert.HTML, strings.TrimSuffix(html, "\n")
		}
		if doc := file(a, "content.json"); doc != "" {
			if err := json.Unmarshal([]byte(doc), &content); err != nil {
				t.Fatal(err)
			}
		}
		raw, err := json.Marshal(map[string]any{"event_id": "$1", "type": "m.room.message", "content": content})
		if err != nil {
			t.Fatal(err)
		}
		e, err := convert.ParseEvent(raw)
		if err != nil {
			t.Fatal(err)
		}
		return []byte(strings.Join(convert.ToRocketChat(e, known), "\n==== next message ====\n") + "\n")
	})
}

func text(body string) convert.Event {
	return convert.Event{Content: convert.EventContent{MsgType: "m.text", Body: body}}
}

func html(formatted string) convert.Event {
	return convert.Event{Content: convert.EventContent{MsgType: "m.text", Body: "fallback", FormattedBody: formatted}}
}

func utf16Len(s string) int { return len(utf16.Encode([]rune(s))) }

func TestNothingToShowIsNoMessage(t *testing.T) {
	for _, body := range []string{"", " \n", "\u200b\u200d", "\u202e"} {
		if got := convert.ToRocketChat(text(body), known); got != nil {
			t.Errorf("%q -> %q", body, got)
		}
		if got := convert.ToMatrix(rocketchat.Message{Text: body}, known); got != nil {
			t.Errorf("%q -> %+v", body, got)
		}
	}
	if got := convert.ToRocketChat(convert.Event{Content: convert.EventContent{FormattedBody: "<b></b>"}}, known); got != nil {
		t.Errorf("%q", got)
	}
}

func TestTheZeroLookupKnowsNobody(t *testing.T) {
	c := convert.ToMatrix(rocketchat.Message{Text: "@ada #general [ ](https://x.org/channel/general?msg=known)"}, convert.Lookup{})
	if len(c) != 1 || c[0].RelatesTo != nil || len(c[0].Mentions.UserIDs) > 0 || !strings.HasPrefix(c[0].Body, "@ada #general") {
		t.Errorf("%+v", c)
	}
	got := convert.ToRocketChat(html(`<a href="https://matrix.to/#/@ada:example.org">Ada</a>`), convert.Lookup{})
	if len(got) != 1 || got[0] != "Ada" {
		t.Errorf("%q", got)
	}
}

func TestWrongTypesAreTakenAsAbsent(t *testing.T) {
	e, err := convert.ParseEvent([]byte(`{"event_id":"$1","sender":7,"content":{"body":["x"],"membership":"join","displayname":{},"m.mentions":[],"m.relates_to":"x","format":1,"m.new_content":3},"origin_server_ts":"soon"}`))
	if err != nil || e.ID != "$1" || e.Sender != "" || e.Content.Body != "" || e.Content.Membership != "join" || e.Timestamp != 0 {
		t.Errorf("%+v, %v", e, err)
	}
	if _, err := convert.ParseEvent([]byte(`{"content":[]}`)); err != nil {
		t.Error(err)
	}
}

func TestRelationsAreRead(t *testing.T) {
	e, err := convert.ParseEvent([]byte(`{"content":{"msgtype":"m.text","body":"* b","m.relates_to":{"rel_type":"m.replace","event_id":"$old"},"m.new_content":{"msgtype":"m.text","body":"b","m.mentions":{"user_ids":["@a:x",3],"room":true}}}}`))
	if err != nil || e.Content.Replaces != "$old" || e.Content.New == nil || e.Content.New.Body != "b" || !e.Content.New.Mentions.Room || len(e.Content.New.Mentions.UserIDs) != 1 {
		t.Errorf("%+v, %v", e.Content, err)
	}
	e, err = convert.ParseEvent([]byte(`{"content":{"m.relates_to":{"rel_type":"m.thread","event_id":"$root","is_falling_back":true,"m.in_reply_to":{"event_id":"$last"}}}}`))
	if c := e.Content; err != nil || c.Thread != "$root" || c.ReplyTo != "$last" || !c.FallsBack {
		t.Errorf("%+v, %v", c, err)
	}
}

func TestNamesAreMadeAcceptable(t *testing.T) {
	for in, want := range map[string]string{
		"Bob": "Bob", "  B  o\tb ": "B o b", "<b>Bob</b>": "bBobb", "\u200b\u202e": "bob_x.org", "": "bob_x.org",
		strings.Repeat("x", 500): strings.Repeat("x", 120), "50%": "50", "\u3164": "bob_x.org", strings.Repeat("\u200b", 10_000) + "x": "bob_x.org",
	} {
		if got := convert.Name(in, "bob_x.org"); got != want {
			t.Errorf("Name(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestContentIsMadeIntoRepliesThreadsAndEdits(t *testing.T) {
	c := convert.ToMatrix(rocketchat.Message{Text: "*hi* @ada @all"}, known)[0]
	thread := c.Thread("$root", "$latest")
	if r := thread.RelatesTo; r.Type != "m.thread" || r.EventID != "$root" || r.InReplyTo.EventID != "$latest" || !r.IsFallingBack {
		t.Errorf("%+v", r)
	}
	if r := c.Reply("$x").Thread("$root", "$latest").RelatesTo; r.InReplyTo.EventID != "$x" || r.IsFallingBack {
		t.Errorf("%+v", r)
	}
	if r := thread.Reply("$x").RelatesTo; r.InReplyTo.EventID != "$x" || r.IsFallingBack || r.EventID != "$root" {
		t.Errorf("%+v", r)
	}
	edit := thread.Edit("$old", &convert.Mentions{UserIDs: []string{"@ada:example.org"}})
	if edit.Body != "* **hi** Ada Lovelace @room" || edit.NewContent.RelatesTo != nil || edit.RelatesTo.Type != "m.replace" || len(edit.Mentions.UserIDs) != 0 || !edit.Mentions.Room || len(edit.NewContent.Mentions.UserIDs) != 1 {
		t.Errorf("%+v", edit)
	}
}
