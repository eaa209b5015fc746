package mxside_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"appliance/bridge/config"
	"appliance/bridge/convert"
	"appliance/bridge/ids"
	"appliance/bridge/mxside/mxtest"
	"appliance/bridge/relay/model"
)

// The errors of a homeserver that has lost its database, or is killed in mid-response,
// are not refusals: a message given up because of one would be lost.
func TestFailuresAreNotRefusals(t *testing.T) {
	for _, text := range []string{
		"r.InputRoomEvents: r.DB.RoomInfo: dial tcp 172.25.0.2:5432: connect: connection refused",
		"r.Queryer.QueryStateAfterEvents: driver: bad connection", "context deadline exceeded",
	} {
		s := sideOf(t, config.Dendrite, &asked{answers: map[string]func(http.ResponseWriter){
			"/leave": refuses(400, "M_UNKNOWN", text), "/join": refuses(400, "M_UNKNOWN", text),
		}})
		if err := s.Leave(t.Context(), "!r:home", "@alice:home"); !errors.Is(err, model.ErrUnavailable) {
			t.Errorf("leave, answered with %q: %v", text, err)
		}
		if _, err := s.Join(t.Context(), "!r:home", "@bot:home", "@alice:home"); !errors.Is(err, model.ErrUnavailable) {
			t.Errorf("join, answered with %q: %v", text, err)
		}
	}
	refused := sideOf(t, config.Dendrite, &asked{answers: map[string]func(http.ResponseWriter){"/leave": refuses(400, "M_UNKNOWN", "the request is malformed")}})
	if err := refused.Leave(t.Context(), "!r:home", "@alice:home"); !errors.Is(err, model.ErrRefused) {
		t.Errorf("a refusal: %v", err)
	}
	const of = `Failed to download: file with media ID "f" could not be downloaded from elsewhere: `
	for text, want := range map[string]error{
		of + "dial tcp 192.0.2.1:8448: connect: connection refused":              model.ErrUnavailable,
		"Failed to download: context deadline exceeded":                          model.ErrUnavailable,
		`Failed to download: File with media ID "f" does not exist on elsewhere`: model.ErrNotFound,
		"File not found": model.ErrNotFound,
	} {
		s := sideOf(t, config.Dendrite, &asked{answers: map[string]func(http.ResponseWriter){"/elsewhere/f": refuses(404, "M_NOT_FOUND", text)}})
		if _, err := s.Download(t.Context(), "mxc://elsewhere/f", 100, time.Minute); !errors.Is(err, want) {
			t.Errorf("a file, answered with %q: %v, want %v", text, err, want)
		}
	}
	cut := sideOf(t, config.Dendrite, &asked{answers: map[string]func(http.ResponseWriter){"": func(w http.ResponseWriter) {
		w.Header().Set("Content-Length", "1000")
		_, _ = io.WriteString(w, `{"event_id":`)
	}}})
	if _, err := cut.Send(t.Context(), "!r:home", "@alice:home", "t1", time.Time{}, convert.Content{}); !errors.Is(err, model.ErrUnavailable) {
		t.Errorf("an answer that ends early: %v", err)
	}
}

// slow is a homeserver that stores what it is sent and shows it later.
type slow struct {
	mu            sync.Mutex
	probes        []string // transaction IDs in the room "again", each once
	shown         bool
	reading, most atomic.Int64
}

func (s *slow) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if _, txn, ok := strings.Cut(r.URL.Path, "/send/org.appliance.checkpoint/"); ok {
		s.mu.Lock()
		if strings.Contains(r.URL.Path, "again") && !slices.Contains(s.probes, txn) {
			s.probes = append(s.probes, txn)
		}
		s.mu.Unlock()
		_, _ = io.WriteString(w, `{"event_id":"$`+txn+`"}`)
		return
	}
	now := s.reading.Add(1)
	defer s.reading.Add(-1)
	for most := s.most.Load(); now > most && !s.most.CompareAndSwap(most, now); most = s.most.Load() {
	}
	select {
	case <-time.After(5 * time.Millisecond): // as long as one search takes
	case <-r.Context().Done():
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.shown {
		_, _ = io.WriteString(w, `{"chunk":[]}`)
		return
	}
	var events []string
	for _, txn := range s.probes {
		events = append(events, `{"type":"org.appliance.checkpoint","event_id":"$`+txn+`","sender":"@bot:home","room_id":"!r:home","content":{}}`)
	}
	_, _ = io.WriteString(w, `{"chunk":[`+strings.Join(events, ",")+`]}`)
}

func (s *slow) sent() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.probes
}

// After a failure every room is searched for messages that may have been sent. If the
// homeserver is slow to show them, the search must not be what keeps it slow.
func TestASlowHomeserverIsSearchedGently(t *testing.T) {
	server := &slow{}
	s := sideOn(t, config.Dendrite, server)
	look := func(room, source string, limit time.Duration) error {
		ctx, cancel := context.WithTimeout(t.Context(), limit)
		defer cancel()
		_, _, err := s.FindSent(ctx, ids.MXRoom(room), "@bot:home", source)
		return err
	}
	var all sync.WaitGroup
	for i := range 20 {
		all.Go(func() { _ = look("!r"+strconv.Itoa(i)+":home", "m", time.Second) })
	}
	all.Wait()
	if most := server.most.Load(); most > 8 { // including searches that nobody waits for any more
		t.Errorf("%d rooms were searched at once", most)
	}
	mxtest.WaitFor(t, "the last of these searches to end", func() bool { return server.reading.Load() == 0 })
	server.most.Store(0)
	for i := range 20 { // it does not show what it has: once that is known, one room is searched
		all.Go(func() {
			if err := look("!r"+strconv.Itoa(i)+":home", "m", 100*time.Millisecond); !errors.Is(err, model.ErrUnavailable) && !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("room %d: %v", i, err)
			}
		})
	}
	all.Wait()
	if most := server.most.Load(); most > 2 {
		t.Errorf("%d rooms were searched at once, and the homeserver was known to be behind", most)
	}
	for range 3 {
		if err := look("!again:home", "m", 200*time.Millisecond); !errors.Is(err, model.ErrUnavailable) && !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("a message that is not shown: %v", err)
		}
	}
	if n := len(server.sent()); n != 1 {
		t.Errorf("%d probe events were sent for three looks at one message", n)
	}
	server.mu.Lock()
	server.shown = true
	server.mu.Unlock()
	if err := look("!again:home", "m", 10*time.Second); err != nil {
		t.Errorf("once the homeserver shows what it has: %v", err)
	}
	// Messages sent since then need a probe that was sent later still.
	if err := look("!again:home", "m", 10*time.Second); err != nil || len(server.sent()) != 2 {
		t.Errorf("the next search: %v, after %d probe events", err, len(server.sent()))
	}
}
