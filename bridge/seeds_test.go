package bridge_test

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"appliance/bridge/mxside/mxtest"
	"appliance/bridge/rocketchat/rctest"
)

// seeds returns the number of differently rude servers on which the conversation is
// held: APPLIANCE_SEEDS, or two. APPLIANCE_SEED is the first of them.
func seeds(t *testing.T) (first, n uint64) {
	t.Helper()
	read := func(name string, otherwise uint64) uint64 {
		value := os.Getenv(name)
		if value == "" {
			return otherwise
		}
		n, err := strconv.ParseUint(value, 10, 32)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		return n
	}
	return read("APPLIANCE_SEED", 1), read("APPLIANCE_SEEDS", 2)
}

// TestEverythingOnRudeServers holds one conversation, with everything people do to
// messages, on servers that repeat, reorder, drop, refuse and lose responses.
func TestEverythingOnRudeServers(t *testing.T) {
	t.Parallel()
	first, n := seeds(t)
	for seed := first; seed < first+n; seed++ {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			w := newWorld(t, &rctest.Server{Seed: seed})
			s := &stage{world: w}
			s.room, s.mxRoom, s.bob = w.bridged()
			for _, m := range w.rc.Members(s.room) {
				if strings.HasPrefix(m, "bob_") {
					s.puppet = m
				}
			}
			s.everything()
		})
	}
}

const lines = 8

func (s *stage) everything() {
	s.t.Helper()
	var here, there []string // IDs of what alice and bob said
	for i := range lines {
		here = append(here, s.rc.Say(s.room, "alice", fmt.Sprint("r ", i)))
		there = append(there, s.bob.Send(s.mxRoom, fmt.Sprint("m ", i)))
	}
	events := make([]string, lines)   // of alice's
	messages := make([]string, lines) // of bob's
	for i := range lines {
		events[i], _ = s.findText(fmt.Sprint("r ", i))
		messages[i] = s.messageText(fmt.Sprint("m ", i)).ID
	}
	// Edits, reactions, replies in threads and deletions, without waiting in between.
	s.rc.Edit(here[1], "alice", "r 1 edited")
	s.rc.Edit(here[1], "alice", "r 1 edited again")
	s.rc.React(here[2], "alice", "smile")
	s.rc.React(messages[2], "alice", "heart")
	s.rc.Delete(here[3], "alice")
	s.rc.Reply(s.room, "alice", here[4], "r in the thread")
	s.bobEdits(there[1], "m 1 edited")
	s.bobEdits(there[1], "m 1 edited again")
	s.bobReacts(events[2], "👍️")
	s.bobReacts(there[2], "🎉")
	s.bob.Redact(s.mxRoom, there[3])
	s.bob.SendEvent(s.mxRoom, "m.room.message", map[string]any{
		"msgtype": "m.text", "body": "m in the thread",
		"m.relates_to": map[string]any{"rel_type": "m.thread", "event_id": there[4], "is_falling_back": true, "m.in_reply_to": map[string]any{"event_id": there[4]}},
	})
	s.rc.Say(s.room, "alice", "r end")
	s.bob.Send(s.mxRoom, "m end")
	s.findText("r end")
	s.messageText("m end")

	wanted := func(prefix string) []string {
		var out []string
		for i := range lines {
			switch i {
			case 1:
				out = append(out, prefix+" 1 edited again")
			case 3: // deleted
			default:
				out = append(out, fmt.Sprint(prefix, " ", i))
			}
		}
		return append(out, prefix+" in the thread", prefix+" end")
	}
	var got []string
	settle := func(what string, now func() []string, want []string) {
		s.t.Helper()
		defer func() {
			if s.t.Failed() {
				s.t.Logf("%s: %q\nwant: %q", what, got, want)
			}
		}()
		mxtest.WaitFor(s.t, what, func() bool { got = now(); return slices.Equal(got, want) })
	}
	settle("what bob said, in Rocket.Chat", func() []string { return only(s.saidInRC(s.room), "bob_") }, wanted("m"))
	settle("what alice said, on Matrix", s.aliceOnMatrix, wanted("r"))
	settle("the reactions in Rocket.Chat", func() []string { return s.reactionsInRC() }, []string{
		"m 2 :heart: alice", "m 2 :tada: " + s.puppet, "r 2 :smile: alice", "r 2 :thumbsup: " + s.puppet,
	})
	settle("alice's reactions on Matrix", func() []string { return s.reactionsOnMatrix(s.alice()) }, sorted(events[2]+" 😄", there[2]+" ❤️"))
}

func sorted(s ...string) []string { slices.Sort(s); return s }

func (s *stage) bobEdits(event, text string) {
	s.bob.SendEvent(s.mxRoom, "m.room.message", map[string]any{
		"msgtype": "m.text", "body": "* " + text, "m.new_content": map[string]any{"msgtype": "m.text", "body": text},
		"m.relates_to": map[string]any{"rel_type": "m.replace", "event_id": event},
	})
}

func (s *stage) bobReacts(event, key string) {
	s.bob.SendEvent(s.mxRoom, "m.reaction", map[string]any{"m.relates_to": map[string]any{"rel_type": "m.annotation", "event_id": event, "key": key}})
}

// aliceOnMatrix returns alice's messages as they are now, in order: the last edit of
// each, without redacted ones.
func (s *stage) aliceOnMatrix() []string {
	var order []string
	text := map[string]string{}
	for _, e := range s.bob.Events(s.mxRoom) {
		c, _ := e["content"].(map[string]any)
		id := fmt.Sprint(e["event_id"])
		if gone, ok := redacted(e).(string); ok {
			delete(text, gone)
		}
		if e["type"] != "m.room.message" || e["sender"] != s.alice() || c["body"] == nil || strings.HasPrefix(fmt.Sprint(c["body"]), "warming up") {
			continue
		}
		if r := relation(c); r["rel_type"] == "m.replace" {
			fresh, _ := c["m.new_content"].(map[string]any)
			text[fmt.Sprint(r["event_id"])] = fmt.Sprint(fresh["body"])
			continue
		}
		order = append(order, id)
		text[id] = fmt.Sprint(c["body"])
	}
	var out []string
	for _, id := range order {
		if t, ok := text[id]; ok {
			out = append(out, t)
		}
	}
	return out
}

func (s *stage) reactionsInRC() []string {
	var out []string
	for _, m := range s.rc.Messages(s.room) {
		for emoji, r := range m.Reactions {
			for _, u := range r.Usernames {
				out = append(out, m.Text+" "+emoji+" "+u)
			}
		}
	}
	slices.Sort(out)
	return out
}

func (s *stage) reactionsOnMatrix(sender string) []string {
	var out []string
	for _, e := range s.bob.Events(s.mxRoom) {
		if c, _ := e["content"].(map[string]any); e["type"] == "m.reaction" && e["sender"] == sender {
			out = append(out, fmt.Sprint(relation(c)["event_id"], " ", relation(c)["key"]))
		}
	}
	slices.Sort(out)
	return out
}
