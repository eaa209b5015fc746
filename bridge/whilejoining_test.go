package bridge_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"appliance/bridge/mustrun"
	"appliance/bridge/mxside/mxtest"
	"appliance/bridge/rocketchat/rctest"
)

// An event that arrives while one of our users joins makes Dendrite lose the room for
// good; templates/dendrite.sql prevents it. This test prolongs that moment by locking
// what Dendrite records when the other server has accepted the join.
func TestSpokenToWhileJoining(t *testing.T) {
	t.Parallel()
	if amendment(t, mxtest.Kind(t)) == "" {
		mustrun.Skip(t, "this homeserver does not lose rooms; `make test` demands this with Dendrite")
	}
	w := newWorld(t, &rctest.Server{Polite: true})
	locks, err := pgx.Connect(t.Context(), w.home.Database())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = locks.Close(t.Context()) }()
	db, err := pgx.Connect(t.Context(), w.home.Database())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close(t.Context()) }()
	held, err := locks.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := held.Exec(t.Context(), `LOCK TABLE federationsender_joined_hosts IN EXCLUSIVE MODE`); err != nil {
		t.Fatal(err)
	}

	w.rc.CreateUser("alice", "user", "bot") // bot: no rate limit
	bob := w.far.Register("bob", "Bob Builder")
	room := bob.CreateRoom("", true, w.alice())
	w.hint(room, w.alice(), bob.ID)
	mxtest.WaitFor(t, "bob to see alice", func() bool { return bob.Members(room)[w.alice()] == "join" })
	bob.Send(room, "in that very moment")
	mxtest.WaitFor(t, "our homeserver to hear bob", func() (heard bool) {
		if err := db.QueryRow(t.Context(), `SELECT count(*) > 0 FROM roomserver_event_json WHERE event_json LIKE '%in that very moment%'`).Scan(&heard); err != nil {
			t.Fatal(err)
		}
		return heard
	})
	if err := held.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}

	w.waitForGhost(bob, room, w.alice())
	dm := w.directWith("alice", "bob_localhost")
	mxtest.WaitFor(t, "bob's word in Rocket.Chat", func() bool {
		bob.Send(room, "afterwards")
		return slices.ContainsFunc(w.saidInRC(dm), func(s string) bool { return strings.HasSuffix(s, ": afterwards") })
	})
	w.rc.Say(dm, "alice", "hello bob")
	mxtest.WaitFor(t, "alice's word on Matrix", func() bool { return slices.Contains(saidOnMatrix(bob, room), w.alice()+": hello bob") })
}
