package bridge_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"appliance/bridge/event"
	"appliance/bridge/mxside/mxtest"
	"appliance/bridge/queue"
	"appliance/bridge/store"
)

// Between an upgrade and a rollback each release finds what the other has stored. Items
// of the previous release are delivered. Items of a newer one, in a form or of a kind
// that this one does not know, become dead letters that say so; the next item goes on,
// and they can be retried.
func TestWhatOtherReleasesHaveStored(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.bob.Send(s.mxRoom, "before")
	s.messageText("before")
	s.stop()
	event0 := func(id, body string) []byte {
		data, err := json.Marshal(map[string]any{"event_id": id, "type": "m.room.message", "sender": s.bob.ID, "room_id": s.mxRoom,
			"origin_server_ts": time.Now().UnixMilli(), "content": map[string]any{"msgtype": "m.text", "body": body}})
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	newer := func(payload []byte) []byte {
		return []byte(strings.TrimSuffix(string(payload), "}") + `,"org.appliance.v":9}`)
	}
	message := func(id, text string) []byte {
		return []byte(fmt.Sprintf(`{"_id":%q,"rid":%q,"msg":%q,"ts":%q,"_updatedAt":%[4]q,"u":{"_id":%[5]q,"username":"alice"}}`,
			id, s.room, text, time.Now().UTC().Format("2006-01-02T15:04:05.000Z"), fmt.Sprint(s.rc.User("alice")["_id"])))
	}
	mx, rc := "mx:"+s.mxRoom, "rc:"+s.room
	st, err := store.Open(t.Context(), "sqlite:"+filepath.Join(s.dir, "bridge.db"))
	if err != nil {
		t.Fatal(err)
	}
	_, err = st.Add(t.Context(), time.Now(),
		queue.Item{ID: "$newer", Lane: mx, Kind: event.KindMXMessage, Payload: newer(event0("$newer", "of a newer release"))},
		queue.Item{ID: "$hologram", Lane: mx, Kind: "mx.hologram", Payload: newer(event0("$hologram", "of a newer kind"))},
		queue.Item{ID: "$earlier", Lane: mx, Kind: event.KindMXMessage, Payload: event0("$earlier", "of the release before")},
		queue.Item{ID: "rc:newer", Lane: rc, Kind: event.KindRCMessage, Payload: newer(message("newer", "of a newer release"))},
		queue.Item{ID: "rc:earlier", Lane: rc, Kind: event.KindRCMessage, Payload: message("earlier", "of the release before")},
	)
	if err != nil {
		t.Fatal(err)
	}
	if err := st.Close(); err != nil {
		t.Fatal(err)
	}
	s.startBridge()
	s.messageText("of the release before")
	s.findText("of the release before")
	list := s.deadLetters(3)
	for id, cause := range map[string]string{
		"$newer":    "it was stored by a newer release: version 9 of mx.message, and this release reads versions up to 1",
		"rc:newer":  "it was stored by a newer release: version 9 of rc.message, and this release reads versions up to 1",
		"$hologram": "this kind of event is not known",
	} {
		if !strings.Contains(list[id], cause) {
			t.Errorf("the cause of %s is %q, want %q", id, list[id], cause)
		}
	}
	// The operator retries too early: nothing is lost.
	if got := s.asked(http.MethodPost, "/queue/dead/retry", `{"all":true}`); !strings.Contains(got, "$newer") {
		t.Errorf("retried: %s", got)
	}
	s.deadLetters(3)
	for _, said := range s.saidInRC(s.room) {
		if strings.Contains(said, "newer") {
			t.Errorf("it was said: %s", said)
		}
	}
}

// deadLetters waits for n dead letters and returns their causes by ID.
func (s *stage) deadLetters(n int) map[string]string {
	s.t.Helper()
	causes := map[string]string{}
	mxtest.WaitFor(s.t, fmt.Sprintf("%d dead letters", n), func() bool {
		var list []struct{ ID, Cause string }
		text := s.asked(http.MethodGet, "/queue/dead", "")
		if json.Unmarshal([]byte(text), &list) != nil || len(list) != n {
			return false
		}
		for _, l := range list {
			causes[l.ID] = l.Cause
		}
		return true
	})
	return causes
}
