package main

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/rogpeppe/go-internal/testscript"

	"appliance/bridge/queue"
	"appliance/bridge/store"
)

// storeData is the command "storedata fill DATABASE N", which stores items as a bridge
// does, and "storedata holds DATABASE N", which fails unless N items are queued there.
// DATABASE can also be a file that contains the URL of the database.
func storeData(ts *testscript.TestScript, _ bool, args []string) {
	database := args[1]
	if !strings.Contains(database, ":") {
		database = strings.TrimSpace(ts.ReadFile(database))
	}
	n, err := strconv.Atoi(args[2])
	ts.Check(err)
	ctx := context.Background()
	s, err := store.Open(ctx, database)
	ts.Check(err)
	defer func() { ts.Check(s.Close()) }()
	if args[0] == "fill" {
		var items []queue.Item
		for i := range n {
			items = append(items, queue.Item{ID: fmt.Sprint("$", i), Lane: fmt.Sprint("mx:!r", i%3), Kind: "k"})
		}
		_, err = s.Add(ctx, time.Now(), items...)
		ts.Check(err)
		return
	}
	backlog, err := s.Backlog(ctx)
	ts.Check(err)
	if backlog.Waiting != int64(n) {
		ts.Fatalf("%d items wait, want %d", backlog.Waiting, n)
	}
}

// newPostgres is the command "postgres FILE", which creates a database and writes its
// URL to a file, and "postgres fill FILE TABLE", which creates a table with one row in it.
func newPostgres(ts *testscript.TestScript, _ bool, args []string) {
	if args[0] == "fill" {
		fillTable(ts, args[1], args[2])
		return
	}
	address, err := url.Parse(os.Getenv("APPLIANCE_TEST_POSTGRES"))
	ts.Check(err)
	ctx := context.Background()
	admin, err := pgx.Connect(ctx, address.String())
	ts.Check(err)
	name := fmt.Sprintf("story_%d", time.Now().UnixNano())
	_, err = admin.Exec(ctx, "CREATE DATABASE "+name)
	ts.Check(err)
	ts.Defer(func() {
		_, _ = admin.Exec(ctx, "DROP DATABASE "+name+" WITH (FORCE)")
		_ = admin.Close(ctx)
	})
	address.Path = "/" + name
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(address.String()+"\n"), 0o600))
}

// fillTable creates a table with one row in the database whose URL is in a file.
func fillTable(ts *testscript.TestScript, file, table string) {
	ctx := context.Background()
	conn, err := pgx.Connect(ctx, strings.TrimSpace(ts.ReadFile(file)))
	ts.Check(err)
	_, err = conn.Exec(ctx, "CREATE TABLE "+table+" AS SELECT 1 AS n")
	ts.Check(errors.Join(err, conn.Close(ctx)))
}
