package bridge_test

import (
	"testing"

	"github.com/jackc/pgx/v5"

	"appliance/bridge/mustrun"
	"appliance/bridge/mxside/mxtest"
)

// Synapse keeps a transaction for good if it creates it between finding that it has
// sent everything it held back and recording that the bridge is up again. This test
// prolongs that moment by locking the record.
func TestATransactionThatSynapseHoldsBack(t *testing.T) {
	t.Parallel()
	if !mxtest.Traits(t).HoldsBack {
		mustrun.Skip(t, "the homeserver sends again what was not taken; `make test` demands this with Synapse")
	}
	s := newStage(t)
	db, err := pgx.Connect(t.Context(), s.home.Database())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close(t.Context()) }()
	is := func(question string) func() bool {
		return func() bool {
			var yes bool
			if err := db.QueryRow(t.Context(), question).Scan(&yes); err != nil {
				t.Fatal(err)
			}
			return yes
		}
	}
	nothingHeld := is(`SELECT count(*) = 0 FROM application_services_txns`)

	s.stop()
	s.bob.Send(s.mxRoom, "while the bridge is away")
	mxtest.WaitFor(t, "Synapse to see that the bridge is away", is(`SELECT state = 'down' FROM application_services_state`))
	locks, err := pgx.Connect(t.Context(), s.home.Database())
	if err != nil {
		t.Fatal(err)
	}
	held, err := locks.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := held.Exec(t.Context(), `SELECT 1 FROM application_services_state FOR UPDATE`); err != nil {
		t.Fatal(err)
	}
	s.startBridge()
	s.messageText("while the bridge is away")
	mxtest.WaitFor(t, "Synapse to note that the bridge is back", is(`SELECT count(*) > 0 FROM pg_stat_activity
		WHERE datname = current_database() AND wait_event_type = 'Lock' AND query LIKE '%application_services_state%(as_id, state)%'`))
	room := s.bob.CreateRoom("At the wrong moment", false, s.alice())
	mxtest.WaitFor(t, "Synapse to keep the invitation", is(`SELECT count(*) > 0 FROM application_services_txns t
		JOIN events e ON t.event_ids LIKE '%' || e.event_id || '%' WHERE e.type = 'm.room.member'`))
	if err := held.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	_ = locks.Close(t.Context())

	mxtest.WaitFor(t, "alice to join", func() bool { return s.bob.Members(room)[s.alice()] == "join" })
	mxtest.WaitFor(t, "nothing to be held back", nothingHeld)
}
