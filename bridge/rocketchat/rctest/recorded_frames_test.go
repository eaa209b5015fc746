package rctest_test

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"testing"

	"appliance/bridge/rocketchat/rctest"
	"appliance/bridge/rocketchat/rctest/sim"
)

// TestFramesAreThoseOfAGenuineServer holds a session like the one recorded from a
// genuine 7.2, and compares the frames that the server sends.
func TestFramesAreThoseOfAGenuineServer(t *testing.T) {
	recorded, served := map[string]*form{}, map[string]*form{}
	add := func(to map[string]*form, frame object) {
		k := kindOfFrame(frame)
		if to[k] == nil {
			to[k] = &form{}
		}
		to[k].add(frame)
	}
	for _, f := range recordedFrames(t) {
		add(recorded, f)
	}
	for _, f := range framesOfASession(t) {
		if recorded[kindOfFrame(f)] != nil {
			add(served, f)
		}
	}
	var found []string
	for k, want := range recorded {
		if served[k] == nil {
			found = append(found, k+": never sent")
			continue
		}
		for _, d := range want.differences(served[k], "") {
			found = append(found, k+": "+d)
		}
	}
	slices.Sort(found)
	judge(t, "testdata/recorded/differences-frames.txt", found)
}

func recordedFrames(t *testing.T) (l []object) {
	t.Helper()
	b, err := os.ReadFile("testdata/recorded/ddp-frames-7.2.json")
	if err != nil {
		t.Fatal(err)
	}
	var all []struct {
		From  string
		Frame object
	}
	if err := json.Unmarshal(b, &all); err != nil {
		t.Fatal(err)
	}
	for _, f := range all {
		if f.From == "server" {
			l = append(l, f.Frame)
		}
	}
	return l
}

// kindOfFrame distinguishes frames that have different fields by design.
func kindOfFrame(f object) string {
	k := fmt.Sprint(f["msg"])
	if c, ok := f["collection"]; ok {
		k += fmt.Sprint(" ", c)
	}
	m, _ := dig(f, "fields", "args", 0).(object)
	switch {
	case m["t"] != nil:
		k += fmt.Sprint(" ", m["t"])
	case m["parseUrls"] != nil:
		k += " posted"
	}
	return k
}

// framesOfASession signs the bridge's account in and lets it see a message that it
// posts, an invitation of its own, and what people say.
func framesOfASession(t *testing.T) []object {
	t.Helper()
	s := &rctest.Server{Polite: true, Version: "7.2", Env: map[string]string{"INITIAL_USER": initialUser}}
	s.Start(t)
	alice, bob := s.CreateUser("alice"), s.CreateUser("bob")
	bridge := client{t, s, sim.Person{ID: "rcmxbridge0000001", Token: bridgeToken}}
	rid := s.CreateRoom("p", "plans", "alice", "matrix-bridge")
	client{t, s, alice}.post("groups.addOwner", object{"roomId": rid, "userId": bridge.who.ID})
	d := bridge.dial()
	d.sub("stream-room-messages", rid)
	bridge.post("chat.postMessage", object{"roomId": rid, "text": "Alice invited @bob from Matrix", "parseUrls": false})
	bridge.post("groups.invite", object{"roomId": rid, "userId": bob.ID})
	s.Say(rid, "alice", "warming up")
	s.SayWith(rid, "bob", "m 0", map[string]any{"_id": "mxl6qfrDqbUS8bNKvhPk741l"})
	d.event("stream-room-messages", rid)
	d.say(object{"msg": "ping"})
	d.until("the last message", func(f object) bool { return dig(f, "fields", "args", 0, "msg") == "m 0" })
	d.say(object{"msg": "ping"})
	d.until("pong", func(f object) bool { return f["msg"] == "pong" })
	return d.seen
}
