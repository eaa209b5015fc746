package mxside

import (
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"

	"appliance/bridge/config"
	"appliance/bridge/ids"
)

// listing returns a side whose homeserver answers every request with write.
func listing(t *testing.T, write func(io.Writer)) *Side {
	t.Helper()
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { write(w) }))
	t.Cleanup(srv.Close)
	s, err := New(Options{URL: srv.URL, Kind: "dendrite", Names: ids.Namespace{Server: "home", Bot: "bot"}, Live: func() config.Live { return config.Live{} }, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// Other servers decide how large a room's state is. Reading it must end, and cost no
// memory.
func TestStateWithoutEnd(t *testing.T) {
	filler := `{"type":"x","state_key":"","content":{"a":"` + strings.Repeat("b", 60_000) + `"}},`
	s := listing(t, func(w io.Writer) {
		_, err := fmt.Fprint(w, `[{"type":"m.bridge","content":{"bridgebot":"@b:x","protocol":{"id":"irc"},"channel":{"id":"c"}}},`)
		for err == nil {
			_, err = fmt.Fprint(w, filler)
		}
	})
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	found, err := s.Bridges(t.Context(), "!r:x", "@bot:home")
	runtime.ReadMemStats(&after)
	if err != nil || len(found) != 1 || found[0].Protocol != "irc" || found[0].Channel != "c" {
		t.Errorf("found %+v, %v", found, err)
	}
	if grown := int64(after.HeapSys) - int64(before.HeapSys); grown > 32<<20 {
		t.Errorf("the heap grew by %d MB", grown>>20)
	}
}

func TestMembersWithoutEnd(t *testing.T) {
	s := listing(t, func(w io.Writer) {
		_, err := fmt.Fprint(w, `{"other":{"a":[1]},"chunk":[`)
		for n := 0; err == nil; n++ {
			_, err = fmt.Fprintf(w, `{"type":"m.room.member","state_key":"@u%d:x","content":{"membership":"join","displayname":"U"}},`, n)
		}
	})
	members, err := s.Members(t.Context(), "!r:x", "@bot:home")
	if err != nil || len(members) != maxMembers || members[7].User != "@u7:x" || members[7].Membership != "join" {
		t.Errorf("%d members, %v", len(members), err)
	}
}

// People choose their own names, and a server can have any number of people: little of
// them is kept.
func TestMembersWithNamesWithoutEnd(t *testing.T) {
	for _, name := range []string{strings.Repeat("é", 30_000), "éé" + strings.Repeat(" ", 60_000) + "b"} {
		namesWithoutEnd(t, name)
	}
}

func namesWithoutEnd(t *testing.T, name string) {
	t.Helper()
	s := listing(t, func(w io.Writer) {
		_, err := fmt.Fprint(w, `{"chunk":[`)
		for n := 0; err == nil; n++ {
			_, err = fmt.Fprintf(w, `{"type":"m.room.member","state_key":"@u%d:x","content":{"membership":"join","displayname":%q}},`, n, name)
		}
	})
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	members, err := s.Members(t.Context(), "!r:x", "@bot:home")
	runtime.GC()
	runtime.ReadMemStats(&after)
	if err != nil || len(members) < 1000 || !strings.HasPrefix(members[7].Name, "éé") || !strings.HasPrefix(name, members[7].Name) {
		t.Fatalf("%d members, %v", len(members), err)
	}
	if kept := int64(after.HeapAlloc) - int64(before.HeapAlloc); kept > 8<<20 {
		t.Errorf("%d MB are kept of %d members", kept>>20, len(members))
	}
	runtime.KeepAlive(members)
}

func TestAListThatIsNone(t *testing.T) {
	for _, answer := range []string{``, `{`, `{"chunk":5}`, `{"chunk":`, `[{"type":"m.bridge"`, `"x"`, `{"errcode":"M_X"}`} {
		s := listing(t, func(w io.Writer) { _, _ = io.WriteString(w, answer) })
		if members, err := s.Members(t.Context(), "!r:x", "@bot:home"); err == nil {
			t.Errorf("%q: %v", answer, members)
		}
	}
}
