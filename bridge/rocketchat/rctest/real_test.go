package rctest

import (
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

func TestEveryVersionIsExpectedToDoSomething(t *testing.T) {
	for version, fits := range map[string]func(Expect) bool{
		"7.2": func(e Expect) bool {
			return !e.TokenSecret && !e.Bans && e.NoteOfInvited == "uj" && e.ArchivedIsHidden && !e.Limiter
		},
		"7.10":  func(e Expect) bool { return !e.TokenSecret && !e.Bans && e.NoteOfInvited == "uj" && e.Limiter },
		"8.0.1": func(e Expect) bool { return e.TokenSecret && !e.TokenPermission && !e.Bans },
		"8.3": func(e Expect) bool {
			return e.Bans && e.StrangerIsOneself && e.ArchivedIsHidden
		},
		"8.6.1":  func(e Expect) bool { return !e.ArchivedIsHidden && e.TokenPermission },
		"8.8":    func(e Expect) bool { return !e.ArchivedIsHidden && e.Bans },
		"9.1-rc": func(e Expect) bool { return !e.ArchivedIsHidden && e.Bans }, // as the newest known version
	} {
		if e, err := expectation(version); err != nil || e.Version != version || !fits(e) {
			t.Errorf("%s: %+v, %v", version, e, err)
		}
	}
	for _, version := range []string{"6.13.0", "7.1", "", "latest"} {
		if e, err := expectation(version); err == nil {
			t.Errorf("%q: %+v", version, e)
		}
	}
	for i, c := range changes[1:] {
		if !changes[i].since.before(c.since) {
			t.Errorf("row %d of the table is out of order", i+1)
		}
	}
}

// Naming a workspace in which people work does not empty it.
func TestAWorkspaceWithPeopleIsNotEmptied(t *testing.T) {
	mail := func(address string) []any { return []any{map[string]any{"address": address}} }
	r := &real{admin: Person{Username: "root"}}
	nobody := []doc{{"username": "root", "emails": mail("root@example.org")}, {"username": "rocket.cat"}, {"username": BotName},
		{"username": "alice", "emails": mail("alice" + testDomain)}, {"username": "bob_example.org", "emails": mail("bob_example.org@matrix.invalid")}}
	t.Setenv("ROCKETCHAT_EMPTY", "")
	if err := r.mayEmpty(nobody); err != nil {
		t.Error(err)
	}
	for _, u := range []doc{{"username": "carol", "emails": mail("carol@example.org")}, {"username": "dave"}} {
		people := append(nobody[:len(nobody):len(nobody)], u)
		if err := r.mayEmpty(people); err == nil || !strings.Contains(err.Error(), text(u, "username")) {
			t.Errorf("%v: %v", u, err)
		}
		t.Setenv("ROCKETCHAT_EMPTY", "yes")
		if err := r.mayEmpty(people); err != nil {
			t.Errorf("although it was said: %v", err)
		}
		t.Setenv("ROCKETCHAT_EMPTY", "")
	}
}

// Tests that need the server alone have it alone; the others share it.
func TestTurns(t *testing.T) {
	url := "http://" + t.TempDir()
	var alone, together atomic.Int32
	t.Run("all", func(t *testing.T) {
		for i := range 12 {
			t.Run("", func(t *testing.T) {
				t.Parallel()
				takeTurn(t, url, i%3 == 0)
				mine, others := &together, &alone
				if i%3 == 0 {
					mine, others = &alone, &together
				}
				n := mine.Add(1)
				defer mine.Add(-1)
				if others.Load() > 0 || i%3 == 0 && n > 1 {
					t.Error("another process has it")
				}
				<-time.After(10 * time.Millisecond)
			})
		}
	})
	if has := turns.take("TestOne"); has != "" {
		t.Errorf("%s has it still", has)
	}
	defer turns.give("TestOne")
	if has := turns.take("TestOne/part"); has != "TestOne" {
		t.Errorf("a test that would wait for itself may: %q", has)
	}
	if has := turns.take("TestOneMore"); has != "" {
		t.Errorf("another test may not wait because of %q", has)
	}
	turns.give("TestOneMore")
}

func TestHowLongALimiterWantsOneToWait(t *testing.T) {
	t.Parallel()
	at := func(d time.Duration) http.Header {
		return http.Header{"X-Ratelimit-Reset": {strconv.FormatInt(time.Now().Add(d).UnixMilli(), 10)}}
	}
	for _, c := range []struct {
		header   http.Header
		min, max time.Duration
	}{
		{at(10 * time.Second), 9 * time.Second, 10 * time.Second},
		{at(time.Hour), time.Minute, time.Minute},
		{at(-time.Hour), 100 * time.Millisecond, 100 * time.Millisecond},
		{http.Header{}, 5 * time.Second, 5 * time.Second},
	} {
		if got := until(c.header); got < c.min || got > c.max {
			t.Errorf("%v: %v", c.header, got)
		}
	}
}
