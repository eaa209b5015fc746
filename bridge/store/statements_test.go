package store_test

import (
	"context"
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

// A message that is alone costs PostgreSQL one statement to accept it, one to read it and one
// to settle it, with what they bring: its cursor, its link and the checks of the lease. Who
// speaks and in which portal is recalled.
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
	if got := float64(n.Load()-before) / (rooms * each); got > 3.5 { // what is done by the clock is in it
		t.Errorf("%.1f statements for a message", got)
	}
}

// counter counts what the database is asked, BEGIN and COMMIT too.
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
	c.n.Add(2) // its end too
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
