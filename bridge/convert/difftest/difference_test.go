package difftest

import (
	"bufio"
	"encoding/json"
	"os"
	"strings"
	"testing"

	"maunium.net/go/mautrix/id"

	"appliance/bridge/convert"
	"appliance/bridge/convert/internal/grammar"
	"appliance/bridge/mustrun"
	"appliance/bridge/rocketchat"
)

func unmarshal(data []byte, to any) error { return json.Unmarshal(data, to) }

// lookup returns the people and the room used in the comparison.
func lookup(d grammar.Dialect) convert.Lookup {
	return convert.Lookup{
		Dialect: d,
		User: func(name string) (id.UserID, string, bool) {
			mx, ok := people[name]
			return id.UserID(mx), name, ok
		},
		Username: func(mx id.UserID) (string, bool) {
			for name, user := range people {
				if user == string(mx) {
					return name, true
				}
			}
			return "", false
		},
		Room:    func(channel string) (string, bool) { return "#general:example.org", channel == "general" },
		Channel: func(room string) (string, bool) { return "general", room == "#general:example.org" },
		Emoji:   func(name string) (string, bool) { return "mxc://example.org/p", name == "party_parrot" },
	}
}

// committed reads the texts in a file: one per line, written as JSON.
func committed(t *testing.T, name string) []string {
	t.Helper()
	f, err := os.Open("testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var texts []string
	for lines := bufio.NewScanner(f); lines.Scan(); {
		var s string
		if err := json.Unmarshal(lines.Bytes(), &s); err != nil {
			t.Fatalf("%s: %v", lines.Text(), err)
		}
		texts = append(texts, s)
	}
	return texts
}

// A rate counts agreement, and reports some of the differences.
type rate struct {
	t           *testing.T
	name        string
	most        int // that may differ
	all, agreed int
	shown       int
}

func (r *rate) count(text, sent, want, got string) {
	if r.all++; want == got {
		r.agreed++
		return
	}
	if r.shown++; r.shown <= 8 || os.Getenv("APPLIANCE_ALL_DIFFERENCES") != "" {
		r.t.Logf("%s\n  of    %q\n  sent  %q\n  want  %s\n  got   %s", r.name, text, sent, indent(want), indent(got))
	}
}

func indent(s string) string { return strings.ReplaceAll(s, "\n", "\n        ") }

func (r *rate) end() {
	r.t.Logf("%s: %d of %d agree, %.2f %%", r.name, r.agreed, r.all, 100*float64(r.agreed)/float64(max(r.all, 1)))
	if differ := r.all - r.agreed; differ > r.most || r.all == 0 {
		r.t.Errorf("%s: %d of %d texts differ, more than %d", r.name, differ, r.all, r.most)
	}
}

// generated is the number of generated texts.
var generated = mustrun.Sized(5000, 300)

// TestMatrixShowsWhatRocketChatShows compares what Rocket.Chat's parser sees in a
// text with the HTML that is sent to Matrix for it.
func TestMatrixShowsWhatRocketChatShows(t *testing.T) {
	parsers(t)
	for _, d := range dialects {
		t.Run(d.String(), func(t *testing.T) {
			t.Parallel()
			texts := committed(t, "texts.jsonl")
			n := len(texts)
			texts = append(texts, messages(1, generated)...)
			trees := official(t, d.String(), texts)
			kept := &rate{t: t, name: d.String() + " committed"}
			drawn := &rate{t: t, name: d.String() + " generated"}
			for i, text := range texts {
				r := kept
				if i >= n {
					r = drawn
				}
				got, sent := onMatrix(text, d)
				r.count(text, sent, ofTree(trees[i]), got)
			}
			kept.end()
			drawn.end()
		})
	}
}

// onMatrix returns what Matrix shows for a message, and what it was sent.
func onMatrix(text string, d grammar.Dialect) (shown, sent string) {
	var shapes []string
	for _, c := range convert.ToMatrix(rocketchat.Message{Text: text}, lookup(d)) {
		if c.FormattedBody != "" {
			shapes = append(shapes, ofHTML(c.FormattedBody, c.Mentions.Room))
			sent += c.FormattedBody
			continue
		}
		shapes = append(shapes, ofText(c.Body, c.Mentions.Room))
		sent += c.Body
	}
	return strings.Join(shapes, "\n"), sent
}

// onPurpose is the number of samples that Rocket.Chat shows differently from Matrix
// because its language cannot express them: see docs/text.md.
var onPurpose = map[string]struct{ committed, generated int }{
	"0.31.32": {14, mustrun.Sized(33, 1)}, "0.31.36": {12, mustrun.Sized(36, 3)}, "0.32.0": {8, mustrun.Sized(36, 3)},
}

// TestRocketChatShowsWhatMatrixShows compares what a Matrix message shows with what
// Rocket.Chat's parser sees in its conversion. Samples that begin with "<" are HTML,
// the others plain text.
func TestRocketChatShowsWhatMatrixShows(t *testing.T) {
	parsers(t)
	for _, d := range dialects {
		t.Run(d.String(), func(t *testing.T) {
			t.Parallel()
			samples := append(committed(t, "html.jsonl"), committed(t, "texts.jsonl")...)
			n := len(samples)
			samples = append(samples, documents(2, generated)...)
			sent, want := make([]string, len(samples)), make([]string, len(samples))
			for i, s := range samples {
				sent[i], want[i] = toRocketChat(s, d)
			}
			trees := official(t, d.String(), sent)
			kept := &rate{t: t, name: d.String() + " committed", most: onPurpose[d.String()].committed}
			drawn := &rate{t: t, name: d.String() + " generated", most: onPurpose[d.String()].generated}
			for i, s := range samples {
				r := kept
				if i >= n {
					r = drawn
				}
				r.count(s, sent[i], want[i], ofTree(trees[i]))
			}
			kept.end()
			drawn.end()
		})
	}
}

// toRocketChat returns what Rocket.Chat is sent for a sample, and what it should
// show.
func toRocketChat(sample string, d grammar.Dialect) (sent, want string) {
	content := convert.EventContent{MsgType: "m.text", Body: sample}
	if html, ok := strings.CutPrefix(sample, "<html>"); ok {
		content.Body, content.FormattedBody, want = "fallback", html, ofHTML(html, false)
	} else {
		want = ofText(sample, false)
	}
	return strings.Join(convert.ToRocketChat(convert.Event{Content: content}, lookup(d)), "\n"), want
}
