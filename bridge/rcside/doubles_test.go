package rcside

import (
	"log/slog"
	"path/filepath"
	"testing"
	"time"

	"appliance/bridge/relay/model"
	"appliance/bridge/rocketchat"
	"appliance/bridge/secret"
	"appliance/bridge/store"
)

// A file that the bridge posted with a person's account comes back as a message of that
// person, with an unknown ID. It is the bridge's all the same; a file of the person's own, or
// the same file posted by another person, is not.
func TestAFileThatTheBridgeBroughtComesBack(t *testing.T) {
	db, err := store.Open(t.Context(), "sqlite:"+filepath.Join(t.TempDir(), "bridge.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	claim := model.Claim{RCUser: "bobby", MXUser: "@bob:far", Digest: "d", Expires: time.Now().Add(time.Hour)}
	if err := db.PutClaim(t.Context(), claim); err != nil {
		t.Fatal(err)
	}
	if ok, err := db.PutDouble(t.Context(), model.Double{RCUser: "bobby", MXUser: "@bob:far", Token: secret.New("t"), Since: time.Now()}, claim); err != nil || !ok {
		t.Fatal(ok, err)
	}
	if err := db.PutFile(t.Context(), model.File{Source: model.MXFile("$picture"), Target: "brought", At: time.Now()}); err != nil {
		t.Fatal(err)
	}
	s := New(Options{Client: rocketchat.New("http://127.0.0.1:1", "bridge", secret.New("t")), Store: db, Log: slog.New(slog.DiscardHandler)})
	for _, c := range []struct {
		who, file string
		items     int
	}{{"bobby", "brought", 0}, {"bobby", "own", 1}, {"alice", "brought", 1}} {
		m := rocketchat.Message{ID: "m", RoomID: "r", User: rocketchat.UserRef{ID: c.who}, File: &rocketchat.File{ID: c.file}, Time: rocketchat.Time{Time: time.Now()}}
		items, err := s.items(t.Context(), m, model.Seen{Items: map[string]bool{}})
		if err != nil || len(items) != c.items {
			t.Errorf("%s shows the file %q: %d items, want %d (%v)", c.who, c.file, len(items), c.items, err)
		}
	}
}
