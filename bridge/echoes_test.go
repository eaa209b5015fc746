package bridge_test

import (
	"crypto/rand"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"appliance/bridge/mxside/mxtest"
)

// A Dendrite that is stopped while it accepts an event accepts it again five minutes later.
// By then the bridge has sent the message once more, under another event ID, and people would
// see both. Here the second copies are sent as the homeserver makes them: by the ghost, with
// everything that the first one had.
func TestFeatureSecondCopies(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.rc.Set("Message_MaxAllowedSize", 100_000)
	long := strings.Repeat("All work and no play makes Jack a dull boy. ", 1500)
	parts := s.rc.Say(s.room, "alice", long)
	said := s.rc.Say(s.room, "alice", "once")
	gone := s.rc.Say(s.room, "alice", "gone")
	s.rc.React(said, "alice", "smile")
	s.rc.Edit(said, "alice", "once and for all")
	once, content := s.findText("once")
	lost, deleted := s.findText("gone")
	s.rc.Delete(gone, "alice")
	_, smile := s.find("the reaction", func(kind string, _ map[string]any) bool { return kind == "m.reaction" })
	_, last := s.find("the last part", func(_ string, c map[string]any) bool { return c["org.appliance.source"] == parts+"#1" })
	mxtest.WaitFor(t, "the deletion", func() bool { return slices.Contains(s.redactions(), lost) })

	as := s.home.As("as-token-for-tests")
	want := []string{lost}
	again := func(kind string, content map[string]any) (refused error) {
		var out struct {
			Event string `json:"event_id"`
		}
		path := "/_matrix/client/v3/rooms/" + url.PathEscape(s.mxRoom) + "/send/" + kind + "/" + rand.Text() + "?user_id=" + url.QueryEscape(s.alice())
		if _, err := as.Call(t.Context(), http.MethodPut, path, content, &out); err != nil {
			return err
		}
		want = append(want, out.Event)
		return nil
	}
	for _, message := range []map[string]any{content, deleted, last} {
		if err := again("m.room.message", message); err != nil {
			t.Fatal(err)
		}
	}
	if err := again("m.reaction", smile); err != nil && !strings.Contains(err.Error(), "M_DUPLICATE_ANNOTATION") {
		t.Fatal(err) // some homeservers refuse a repeated reaction
	}
	mxtest.WaitFor(t, "all second copies to be taken back", func() bool {
		have := s.redactions()
		return !slices.ContainsFunc(want, func(id string) bool { return !slices.Contains(have, id) })
	})
	if have := s.redactions(); len(have) != len(want) {
		t.Errorf("taken back were %q, want %q; the first message is %s", have, want, once)
	}
}

// A second copy arrives just before the bridge is killed: it has not been examined by then,
// and is not pushed again. It is redacted all the same.
func TestASecondCopyOutlivesTheBridge(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.rc.Say(s.room, "alice", "once")
	_, content := s.findText("once")
	kill := s.spawnBridge()
	var out struct {
		Event string `json:"event_id"`
	}
	path := "/_matrix/client/v3/rooms/" + url.PathEscape(s.mxRoom) + "/send/m.room.message/" + rand.Text() + "?" +
		url.Values{"user_id": {s.alice()}, "ts": {strconv.FormatInt(time.Now().Add(-5*time.Minute).UnixMilli(), 10)}}.Encode()
	if _, err := s.home.As("as-token-for-tests").Call(t.Context(), http.MethodPut, path, content, &out); err != nil {
		t.Fatal(err)
	}
	s.bob.Send(s.mxRoom, "after") // earlier pushes are acknowledged when this one is
	s.rc.WaitFor(t, s.room, "after")
	kill()
	s.spawnBridge()
	mxtest.WaitFor(t, "the second copy to be taken back", func() bool { return slices.Contains(s.redactions(), out.Event) })
}

// redactions returns the events that were redacted in the stage's room.
func (s *stage) redactions() (all []string) {
	for _, e := range s.bob.Events(s.mxRoom) {
		if id, ok := redacted(e).(string); ok {
			all = append(all, id)
		}
	}
	return all
}
