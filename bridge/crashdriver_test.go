package bridge_test

import (
	"bufio"
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"

	"github.com/jackc/pgx/v5"

	"appliance/bridge/store"
)

// fuse kills this process at a write to its database. It is lit over standard input,
// by a line with the number of the kill point at which to die, counted from then on.
// Each write has two kill points, one before its commit and one after.
type fuse struct {
	mu   sync.Mutex
	left int // points to go; 0 while not lit
}

// listen lights the fuse with each number read from in, until in ends.
func (f *fuse) listen(in io.Reader) {
	lines := bufio.NewScanner(in)
	for lines.Scan() {
		if n, err := strconv.Atoi(lines.Text()); err == nil {
			f.mu.Lock()
			f.left = n
			f.mu.Unlock()
			fmt.Fprintln(os.Stderr, "fuse: lit for", n)
		}
	}
}

// point passes a kill point, or dies at it.
func (f *fuse) point(where, what string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.left == 0 {
		return
	}
	if f.left--; f.left == 0 {
		fmt.Fprintln(os.Stderr, "fuse: dies", where, what)
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {}
	}
}

// upkeep matches what processes that share a database write on a schedule, whatever people do.
var upkeep = regexp.MustCompile(`pg_notify|\b(roles|replicas)\b|^(LISTEN|SET|PRAGMA|SELECT)`)

// during passes the two kill points of one write.
func (f *fuse) during(what string, write func() error) error {
	if upkeep.MatchString(what) {
		return write()
	}
	f.point("before", what)
	err := write()
	if err == nil {
		f.point("after", what)
	}
	return err
}

// options puts the fuse between a store and its driver.
func (f *fuse) options() []store.Option {
	return []store.Option{store.Through(func(c driver.Connector) driver.Connector { return fusedConnector{c, f} })}
}

type fusedConnector struct {
	driver.Connector
	fuse *fuse
}

// Connect implements driver.Connector.
func (c fusedConnector) Connect(ctx context.Context) (driver.Conn, error) {
	conn, err := c.Connector.Connect(ctx)
	if err != nil {
		return nil, err
	}
	d, ok := conn.(wholeConn)
	if !ok {
		return nil, fmt.Errorf("a connection of %T cannot do what the store asks of it", conn)
	}
	fused := &fusedConn{wholeConn: d, fuse: c.fuse}
	if p, ok := conn.(interface{ Conn() *pgx.Conn }); ok {
		return struct {
			*fusedConn
			postgres
		}{fused, postgres{p}}, nil
	}
	return fused, nil
}

// postgres lets the store receive notifications.
type postgres struct{ conn interface{ Conn() *pgx.Conn } }

// Conn returns the connection of the driver.
func (p postgres) Conn() *pgx.Conn { return p.conn.Conn() }

// wholeConn is what connections of both drivers implement.
type wholeConn interface {
	driver.Conn
	driver.ConnBeginTx
	driver.ConnPrepareContext
	driver.ExecerContext
	driver.QueryerContext
	driver.Pinger
	driver.SessionResetter
}

type fusedConn struct {
	wholeConn
	fuse *fuse
	tx   *fusedTx // the open transaction
}

// CheckNamedValue implements driver.NamedValueChecker.
func (c *fusedConn) CheckNamedValue(v *driver.NamedValue) error {
	if check, ok := c.wholeConn.(driver.NamedValueChecker); ok {
		return check.CheckNamedValue(v)
	}
	return driver.ErrSkip
}

// IsValid implements driver.Validator.
func (c *fusedConn) IsValid() bool {
	v, ok := c.wholeConn.(driver.Validator)
	return !ok || v.IsValid()
}

// BeginTx implements driver.ConnBeginTx.
func (c *fusedConn) BeginTx(ctx context.Context, opts driver.TxOptions) (driver.Tx, error) {
	tx, err := c.wholeConn.BeginTx(ctx, opts)
	if err != nil {
		return nil, err
	}
	c.tx = &fusedTx{Tx: tx, conn: c}
	return c.tx, nil
}

// ExecContext implements driver.ExecerContext.
func (c *fusedConn) ExecContext(ctx context.Context, query string, args []driver.NamedValue) (res driver.Result, err error) {
	return c.exec(query, func() (driver.Result, error) { return c.wholeConn.ExecContext(ctx, query, args) })
}

// exec runs a write of its own, or one that is part of a transaction.
func (c *fusedConn) exec(query string, write func() (driver.Result, error)) (res driver.Result, err error) {
	query = strings.Join(strings.Fields(query), " ")
	if c.tx != nil {
		c.tx.wrote = append(c.tx.wrote, query[:min(60, len(query))])
		return write()
	}
	err = c.fuse.during(query, func() error { res, err = write(); return err })
	return res, err
}

// PrepareContext implements driver.ConnPrepareContext.
func (c *fusedConn) PrepareContext(ctx context.Context, query string) (driver.Stmt, error) {
	stmt, err := c.wholeConn.PrepareContext(ctx, query)
	if err != nil {
		return nil, err
	}
	whole, ok := stmt.(wholeStmt)
	if !ok {
		return nil, errors.Join(fmt.Errorf("a statement of %T cannot do what the store asks of it", stmt), stmt.Close())
	}
	return &fusedStmt{whole, c, query}, nil
}

type wholeStmt interface {
	driver.Stmt
	driver.StmtExecContext
	driver.StmtQueryContext
}

type fusedStmt struct {
	wholeStmt
	conn  *fusedConn
	query string
}

// ExecContext implements driver.StmtExecContext.
func (s *fusedStmt) ExecContext(ctx context.Context, args []driver.NamedValue) (driver.Result, error) {
	return s.conn.exec(s.query, func() (driver.Result, error) { return s.wholeStmt.ExecContext(ctx, args) })
}

// QueryContext implements driver.StmtQueryContext. A statement that adds and removes items
// is a transaction of its own, which ends once its rows have been read.
func (s *fusedStmt) QueryContext(ctx context.Context, args []driver.NamedValue) (driver.Rows, error) {
	if s.conn.tx != nil || !strings.Contains(s.query, "INSERT INTO items") {
		return s.wholeStmt.QueryContext(ctx, args)
	}
	what := strings.Join(strings.Fields(s.query), " ")[:60]
	s.conn.fuse.point("before", what)
	rows, err := s.wholeStmt.QueryContext(ctx, args)
	if err != nil {
		return nil, err
	}
	return &fusedRows{rows, func() { s.conn.fuse.point("after", what) }}, nil
}

type fusedRows struct {
	driver.Rows
	read func()
}

// Close implements driver.Rows.
func (r *fusedRows) Close() error {
	err := r.Rows.Close()
	if err == nil {
		r.read()
	}
	return err
}

type fusedTx struct {
	driver.Tx
	conn  *fusedConn
	wrote []string
}

// Commit implements driver.Tx.
func (t *fusedTx) Commit() error {
	t.conn.tx = nil
	if len(t.wrote) == 0 {
		return t.Tx.Commit()
	}
	return t.conn.fuse.during(fmt.Sprintf("a commit of %d: %q", len(t.wrote), t.wrote[:min(4, len(t.wrote))]), t.Tx.Commit)
}

// Rollback implements driver.Tx.
func (t *fusedTx) Rollback() error {
	t.conn.tx = nil
	return t.Tx.Rollback()
}
