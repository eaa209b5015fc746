package bridge_test

import (
	"database/sql"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"appliance/bridge/rocketchat/rctest"
	"appliance/bridge/store"
)

// People talk while the bridge moves from SQLite to PostgreSQL, and back later. Messages from
// before, messages stored but not delivered, messages sent while there was no bridge, and
// later ones all arrive once and in order.
func TestAConversationGoesOnAcrossAMoveOfTheDatabase(t *testing.T) {
	t.Parallel()
	server := postgresDatabase(t)
	w := newWorld(t, &rctest.Server{Polite: true})
	room, mxRoom, bob := w.bridged()
	talk := &flood{fleet: &fleet{world: w}, bob: bob, rooms: []string{room}, mxRoom: []string{mxRoom}}
	file := "sqlite:" + filepath.Join(w.dir, "bridge.db")
	const n = 15 // each way, at each point
	talk.more(n)
	talk.move(file, server, n)
	talk.more(n)
	talk.move(server, file, n)
	talk.more(n)
	talk.check(2 * time.Minute)
}

// more sends n more messages each way.
func (fl *flood) more(n int) {
	fl.t.Helper()
	for i := fl.each; i < fl.each+n; i++ {
		if err := fl.rcSayAs(fl.rooms[0], fmt.Sprintf("talk%012d", i), fmt.Sprint("r ", i)); err != nil {
			fl.t.Fatal(err)
		}
		fl.bob.Send(fl.mxRoom[0], fmt.Sprint("m ", i))
	}
	fl.each += n
}

// move moves the bridge's database while n messages each way wait in it, and as many are sent
// while the bridge is down.
func (fl *flood) move(from, to string, n int) {
	fl.t.Helper()
	fl.configure("enabled: false\n") // messages from now on are stored, and wait
	fl.more(n)
	waits := 0
	waitUntil(fl.t, "messages to wait", time.Minute, func() bool {
		waits = waitingItems(fl.t, from)
		return waits >= 2*n
	})
	fl.stop()
	fl.more(n)
	done, err := store.Move(fl.t.Context(), store.Moving{From: from, To: to})
	if err != nil {
		fl.t.Fatal(err)
	}
	for _, table := range done.Tables {
		if table.Name == "items" && table.Rows < int64(waits) {
			fl.t.Errorf("%d items waited, and %d were moved", waits, table.Rows)
		}
	}
	fl.t.Logf("moved %d rows, at least %d of them of waiting messages, to %s in %.2f s", done.Rows, waits, done.To, done.Took)
	text, err := os.ReadFile(filepath.Join(fl.dir, "bridge.yaml"))
	if err != nil {
		fl.t.Fatal(err)
	}
	if !strings.Contains(string(text), fmt.Sprintf("%q", from)) {
		fl.t.Fatalf("bridge.yaml does not name %s:\n%s", from, text)
	}
	fl.base = ""
	fl.write("bridge.yaml", strings.NewReplacer(fmt.Sprintf("%q", from), fmt.Sprintf("%q", to), "enabled: false\n", "").Replace(string(text)))
	fl.startBridge()
}

// waitingItems counts the waiting items in a database.
func waitingItems(t testing.TB, database string) (n int) {
	t.Helper()
	driver, address := "pgx", database
	if file, ok := strings.CutPrefix(database, "sqlite:"); ok {
		driver, address = "sqlite", "file:"+file+"?mode=ro&_pragma=busy_timeout(10000)"
	}
	db, err := sql.Open(driver, address)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	if err := db.QueryRowContext(t.Context(), `SELECT COUNT(*) FROM items WHERE buried = 0`).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}
