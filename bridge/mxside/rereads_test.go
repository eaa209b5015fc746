package mxside

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"appliance/bridge/event"
	"appliance/bridge/ids"
	"appliance/bridge/queue"
	"appliance/bridge/relay/model"
	"appliance/bridge/store"
)

// A room in which people never stop talking must still be re-read: it is while they talk,
// and like any other once they have stopped.
func TestARoomThatIsNeverQuietIsReadAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		traits, err := TraitsOf("dendrite")
		if err != nil {
			t.Fatal(err)
		}
		g := &rereads{client: &client{traits: traits, names: ids.Namespace{Server: "home"}}, gaps: map[ids.MXRoom]*gap{}}
		start := time.Now()
		talk := func(after time.Duration) (looks []look) {
			for ; time.Since(start) < after; time.Sleep(time.Second) {
				g.note([]arrival{{head: event.MXHead{Room: "!r:far", Sender: "@bob:far", Time: time.Now().UnixMilli()}, event: event.MXRedacted{}}}, time.Since(start) < time.Minute)
				for _, l := range g.due() {
					looks = append(looks, l)
				}
			}
			return looks
		}
		looks := talk(11 * time.Minute)
		if len(looks) != 2 || !looks[0].skipped || looks[1].skipped {
			t.Fatalf("in 11 minutes of talk: %+v", looks)
		}
		for i, l := range looks {
			if until := start.Add(time.Duration(i+1)*talkFor - talkSlack).UnixMilli(); l.until != until {
				t.Errorf("look %d takes what is older than %d, want %d", i, l.until, until)
			}
		}
		if since := looks[1].since.UnixMilli(); since > looks[0].until {
			t.Errorf("what came between %d and %d is never looked at", looks[0].until, since)
		}
		time.Sleep(3 * time.Second)
		if l, ok := g.due()["!r:far"]; !ok || l.until != 0 || l.since.UnixMilli() > looks[1].until {
			t.Errorf("when it is quiet: %+v %v", l, ok)
		}
	})
}

// A look at a busy room leaves alone what the homeserver may still push.
func TestALookTakesWhatIsOldEnough(t *testing.T) {
	now := time.Now()
	said := func(id string, at time.Time) string {
		return fmt.Sprintf(`{"type":"m.room.message","event_id":%q,"sender":"@bob:far","origin_server_ts":%d,"content":{"msgtype":"m.text","body":"x"}}`, id, at.UnixMilli())
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, `{"chunk":[%s,%s]}`, said("$new", now.Add(-time.Second)), said("$old", now.Add(-3*time.Minute)))
	}))
	defer server.Close()
	base, err := url.Parse(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	db, err := store.Open(t.Context(), "sqlite:"+filepath.Join(t.TempDir(), "bridge.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	if err := db.PutPortal(t.Context(), model.Portal{RCRoom: "r", MXRoom: "!r:far", Created: now.Add(-time.Hour)}, nil, nil); err != nil {
		t.Fatal(err)
	}
	var taken []string
	c := &client{base: base, http: server.Client(), names: ids.Namespace{Server: "home", Bot: "bot"}, log: slog.New(slog.DiscardHandler)}
	g := &rereads{client: c, history: &history{c, &contact{}}, inbox: &inbox{names: c.names, store: db, accept: func(_ context.Context, items []queue.Item, _ map[string]string) error {
		for _, it := range items {
			taken = append(taken, it.ID)
		}
		return nil
	}}}
	for _, want := range []struct {
		until int64
		taken string
	}{{now.Add(-talkSlack).UnixMilli(), "[$old]"}, {0, "[$old $new]"}} {
		taken = nil
		if err := g.readGap(t.Context(), "!r:far", look{since: now.Add(-talkFor), until: want.until}); err != nil {
			t.Fatal(err)
		}
		if fmt.Sprint(taken) != want.taken {
			t.Errorf("until %d: %v, want %s", want.until, taken, want.taken)
		}
	}
}
