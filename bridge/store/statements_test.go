package store_test

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/stdlib"

	"appliance/bridge/ids"
	"appliance/bridge/queue"
	"appliance/bridge/relay/model"
	"appliance/bridge/store"
)

// A single message costs PostgreSQL one statement to accept it, one to read it and one to
// settle it, including its cursor, its link and the checks of the lease. Its sender and its
// portal are cached.
func TestAMessageCostsThreeStatements(t *testing.T) {
	var n counter
	s, err := store.Open(t.Context(), postgresURL(t), store.Through(func(c driver.Connector) driver.Connector { return counting{c, &n} }))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	const rooms, each = 20, 20
	carry := func(id string, room int) {
		t.Helper()
		lane := fmt.Sprint("rc:room", room)
		if _, err := s.Accept(t.Context(), time.Now(), []queue.Item{{ID: id, Lane: lane}}, map[string]string{lane: id}); err != nil {
			t.Fatal(err)
		}
		it := claimed(t, s, id)
		for range 2 { // as a delivery does
			if _, ok, err := s.PortalByRC(t.Context(), ids.RCRoom(fmt.Sprint("room", room))); !ok || err != nil {
				t.Fatal(ok, err)
			}
			if _, ok, err := s.GhostByRC(t.Context(), "u"); !ok || err != nil {
				t.Fatal(ok, err)
			}
			if _, ok, err := s.DoubleByMX(t.Context(), "@bob:y"); ok || err != nil {
				t.Fatal(ok, err)
			}
		}
		if err := s.Done(t.Context(), it, []queue.Receipt{{RCRoom: lane, RCMessage: id, MXRoom: lane, MXEvent: "$" + id}}, nil); err != nil {
			t.Fatal(err)
		}
	}
	mustWrite(t, s.PutGhost(t.Context(), model.Ghost{RCUser: "u", MXUser: "@alice:x", Username: "alice", Name: "Alice"}))
	for room := range rooms {
		name := fmt.Sprint("room", room)
		mustWrite(t, s.PutPortal(t.Context(), model.Portal{RCRoom: ids.RCRoom(name), MXRoom: ids.MXRoom("!" + name), RCType: "p", Created: time.Now()}, nil, nil))
		carry(fmt.Sprint("first", room), room)
	}
	before := n.Load()
	for i := range rooms * each {
		carry(fmt.Sprint("m", i), i%rooms)
	}
	if got := float64(n.Load()-before) / (rooms * each); got > 3.5 { // including the periodic work
		t.Errorf("%.1f statements for a message", got)
	}
}

// counter counts requests to the database, including BEGIN and COMMIT.
type counter struct{ atomic.Int64 }

type counting struct {
	driver.Connector
	n *counter
}

// Connect implements driver.Connector.
func (c counting) Connect(ctx context.Context) (driver.Conn, error) {
	conn, err := c.Connector.Connect(ctx)
	if err != nil {
		return nil, err
	}
	whole, ok := conn.(*stdlib.Conn)
	if !ok {
		return nil, fmt.Errorf("a connection of %T", conn)
	}
	return countedConn{whole, c.n}, nil
}

// pgxConn has a name of its own because a connection must keep its method Conn.
type pgxConn = stdlib.Conn

type countedConn struct {
	*pgxConn
	n *counter
}

// BeginTx implements driver.ConnBeginTx.
func (c countedConn) BeginTx(ctx context.Context, opts driver.TxOptions) (driver.Tx, error) {
	c.n.Add(2) // including its end
	return c.pgxConn.BeginTx(ctx, opts)
}

// ExecContext implements driver.ExecerContext.
func (c countedConn) ExecContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Result, error) {
	c.n.Add(1)
	return c.pgxConn.ExecContext(ctx, query, args)
}

// QueryContext implements driver.QueryerContext.
func (c countedConn) QueryContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Rows, error) {
	c.n.Add(1)
	return c.pgxConn.QueryContext(ctx, query, args)
}

// PrepareContext implements driver.ConnPrepareContext.
func (c countedConn) PrepareContext(ctx context.Context, query string) (driver.Stmt, error) {
	stmt, err := c.pgxConn.PrepareContext(ctx, query)
	if err != nil {
		return nil, err
	}
	whole, ok := stmt.(*stdlib.Stmt)
	if !ok {
		return nil, fmt.Errorf("a statement of %T", stmt)
	}
	return countedStmt{whole, c.n}, nil
}

type countedStmt struct {
	*stdlib.Stmt
	n *counter
}

// ExecContext implements driver.StmtExecContext.
func (s countedStmt) ExecContext(ctx context.Context, args []driver.NamedValue) (driver.Result, error) {
	s.n.Add(1)
	return s.Stmt.ExecContext(ctx, args)
}

// QueryContext implements driver.StmtQueryContext.
func (s countedStmt) QueryContext(ctx context.Context, args []driver.NamedValue) (driver.Rows, error) {
	s.n.Add(1)
	return s.Stmt.QueryContext(ctx, args)
}

// What a message costs, and what the periodic work costs, does not grow with the number of
// rooms, people and messages: no table is read from its beginning.
func TestNoStatementGrowsWithTheRooms(t *testing.T) {
	url := postgresURL(t)
	s := open(t, url)
	db, err := sql.Open("pgx", url)
	mustWrite(t, err)
	defer func() { _ = db.Close() }()
	const rows = 20_000
	for _, fill := range []string{
		`INSERT INTO lanes (lane, waiting, due, held) SELECT 'rc:old' || n, 0, n, 0 FROM generate_series(1, $1::int) AS n`,
		`INSERT INTO portals (rc_room, mx_room, rc_type, rc_reader, mx_reader, created, title) SELECT 'old' || n, '!old' || n, 'p', '', '', n, 'room' || n FROM generate_series(1, $1::int) AS n`,
		`INSERT INTO ghosts (rc_user, mx_user, username, name) SELECT 'u' || n, '@u' || n || ':x', 'u' || n, 'U' FROM generate_series(1, $1::int) AS n`,
		`INSERT INTO puppets (mx_user, rc_user, username, name, token) SELECT '@p' || n || ':y', 'p' || n, 'p' || n, 'P', '' FROM generate_series(1, $1::int) AS n`,
		`INSERT INTO links (item, part, rc_room, rc_message, mx_room, mx_event, mx_sender) SELECT 'old' || n, 0, 'r', 'm' || n, '!m', '$e' || n, '' FROM generate_series(1, $1::int) AS n`,
		`INSERT INTO done (id, at) SELECT 'old' || n, n FROM generate_series(1, $1::int) AS n`,
		`INSERT INTO cursors (name, value) SELECT 'rc:old' || n, '1' FROM generate_series(1, $1::int) AS n`,
	} {
		if _, err := db.ExecContext(t.Context(), fill, rows); err != nil {
			t.Fatal(fill, err)
		}
	}
	_, err = db.ExecContext(t.Context(), `ANALYZE`)
	mustWrite(t, err)
	read := func() (out map[string]int64) {
		t.Helper()
		_, err := db.ExecContext(t.Context(), `SELECT pg_stat_clear_snapshot()`)
		mustWrite(t, err)
		all, err := db.QueryContext(t.Context(), `SELECT relname, seq_tup_read FROM pg_stat_user_tables`)
		mustWrite(t, err)
		defer func() { _ = all.Close() }()
		out = map[string]int64{}
		for all.Next() {
			var table string
			var n int64
			mustWrite(t, all.Scan(&table, &n))
			out[table] = n
		}
		mustWrite(t, all.Err())
		return out
	}
	before := read()
	for n := range 40 {
		id := fmt.Sprint("m", n)
		_, err := s.Accept(t.Context(), time.Now(), []queue.Item{{ID: id, Lane: fmt.Sprint("rc:old", n%4+1)}}, map[string]string{"rc:old1": id})
		mustWrite(t, err)
		_, err = s.Seen(t.Context(), []string{id}, []string{"rc:old1"}, []ids.RCMessage{"m1"})
		mustWrite(t, err)
		it := next(t.Context(), t, s)
		for _, get := range []func() error{
			func() error { _, _, err := s.PortalByRC(t.Context(), ids.RCRoom(fmt.Sprint("old", n))); return err },
			func() error { _, _, err := s.PortalByMX(t.Context(), ids.MXRoom(fmt.Sprint("!old", n))); return err },
			func() error { _, _, err := s.GhostByRC(t.Context(), ids.RCUser(fmt.Sprint("u", n))); return err },
			func() error { _, _, err := s.GhostByMX(t.Context(), ids.MXUser(fmt.Sprintf("@u%d:x", n))); return err },
			func() error { _, _, err := s.PuppetByMX(t.Context(), ids.MXUser(fmt.Sprintf("@p%d:y", n))); return err },
			func() error { _, _, err := s.PuppetByRC(t.Context(), ids.RCUser(fmt.Sprint("p", n))); return err },
			func() error { _, err := s.EventLinked(t.Context(), ids.RCMessage(fmt.Sprint("m", n))); return err },
			func() error { _, err := s.MessageLinked(t.Context(), ids.MXEvent(fmt.Sprint("$e", n))); return err },
			func() error { _, err := s.Reactions(t.Context(), ids.RCMessage(fmt.Sprint("m", n))); return err },
			func() error { _, err := s.EventsLinked(t.Context(), []ids.MXEvent{"$e1", "$e2"}); return err },
		} {
			mustWrite(t, get())
		}
		mustWrite(t, s.Done(t.Context(), it, []queue.Receipt{{RCRoom: "r", RCMessage: id, MXRoom: "!m", MXEvent: "$" + id}}, nil))
	}
	// Beside another process there is more periodic work.
	_, err = db.ExecContext(t.Context(), `INSERT INTO replicas (id, until) SELECT 'other', 2 * until FROM replicas LIMIT 1`)
	mustWrite(t, err)
	s.Renew(t.Context(), t)
	_ = s.Close() // the connections report what they have read
	for table, n := range read() {
		if table != "clock" && n-before[table] > rows/4 {
			t.Errorf("%d rows of %s were read from its beginning", n-before[table], table)
		}
	}
}
