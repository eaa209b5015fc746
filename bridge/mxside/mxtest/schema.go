package mxtest

import (
	"context"
	"fmt"
	"hash/fnv"
	"net/url"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// The first start of a homeserver creates its tables, which takes a Synapse four seconds. So
// that happens once for each program, and each server's database is a copy of that one.

// emptyDatabase is the template of a database without any table.
const emptyDatabase = "template0"

// schemas are the templates that are known to exist, by name.
var schemas struct {
	sync.Mutex
	made map[string]bool
}

// schema returns the database with the tables of a kind of software. It is made by the first
// test that needs it, and remains on the database server for other processes.
func schema(tb testing.TB, kind string) string {
	tb.Helper()
	name := schemaName(tb, SoftwareOf(kind))
	schemas.Lock()
	defer schemas.Unlock()
	if schemas.made[name] {
		return name
	}
	ctx, cancel := context.WithTimeout(tb.Context(), 3*time.Minute)
	defer cancel()
	conn, err := pgx.Connect(ctx, os.Getenv("APPLIANCE_TEST_POSTGRES"))
	if err != nil {
		tb.Fatal(err)
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }() // and with it the lock
	var exists bool
	if _, err := conn.Exec(ctx, "SELECT pg_advisory_lock(hashtext($1))", name); err != nil {
		tb.Fatal(err)
	}
	if err := conn.QueryRow(ctx, "SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1)", name).Scan(&exists); err != nil {
		tb.Fatal(err)
	}
	if !exists {
		first := prepare(tb, kind, emptyDatabase)
		first.Start("")
		first.settle()
		first.Kill()
		database := first.databaseName()
		for _, statement := range []string{
			"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '" + database + "'",
			"ALTER DATABASE " + database + " ALLOW_CONNECTIONS false",
			"ALTER DATABASE " + database + " RENAME TO " + name,
		} {
			if _, err := conn.Exec(ctx, statement); err != nil {
				tb.Fatalf("%s: %v", statement, err)
			}
		}
	}
	if schemas.made == nil {
		schemas.made = map[string]bool{}
	}
	schemas.made[name] = true
	return name
}

// schemaName names the template for a program as it is on this machine: another build may have
// other tables.
func schemaName(tb testing.TB, software Software) string {
	tb.Helper()
	program := software.run.program()
	info, err := os.Stat(program)
	if err != nil {
		tb.Fatal(err)
	}
	sum := fnv.New64a()
	_, _ = fmt.Fprint(sum, program, info.Size(), info.ModTime().UnixNano())
	return fmt.Sprintf("schema_%s_%x", software.Kind, sum.Sum64())
}

// settle waits until a server has done in its database what it does after its first start.
func (s *Server) settle() {
	s.tb.Helper()
	query := s.Software.run.unsettled()
	if query == "" {
		return
	}
	conn, err := pgx.Connect(s.tb.Context(), s.database)
	if err != nil {
		s.tb.Fatal(err)
	}
	defer func() { _ = conn.Close(s.tb.Context()) }()
	WaitFor(s.tb, s.Kind+" to prepare its database", func() bool {
		var left int
		if err := conn.QueryRow(s.tb.Context(), query).Scan(&left); err != nil {
			s.tb.Fatal(err)
		}
		return left == 0
	})
}

// databaseName returns the name of the server's database.
func (s *Server) databaseName() string {
	address, _ := url.Parse(s.database) // made by us: parses
	return strings.TrimPrefix(address.Path, "/")
}
