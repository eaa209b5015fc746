package external

import (
	"bytes"
	"context"
	"fmt"
	"strings"

	"appliance/provision/answers"
	"appliance/provision/homeserver"
	"appliance/provision/stack"
)

// InHomeserver runs statements in the homeserver's database, wherever that is, and returns the
// resulting rows, with their columns separated by "|". If a program runs the statements, it
// reads them from standard input: nothing of them is in its arguments.
func InHomeserver(ctx context.Context, on *stack.Stack, a answers.Answers, sql string) ([]string, error) {
	if !a.BundledPostgres() {
		return Query(ctx, a, sql)
	}
	var out bytes.Buffer
	err := on.Exec(ctx, "postgres", strings.NewReader(sql), &out,
		"psql", "-U", "homeserver", "-d", "homeserver", "--quiet", "--no-align", "--tuples-only", "-v", "ON_ERROR_STOP=1", "-f", "-")
	if err != nil {
		return nil, err
	}
	return strings.FieldsFunc(out.String(), func(r rune) bool { return r == '\n' }), nil
}

// used is an expression for whether a table has a row; it is false if there is no such table.
const used = `CASE WHEN to_regclass('%[1]s') IS NULL THEN false ELSE
(xpath('/row/c/text()', query_to_xml('SELECT count(*) AS c FROM (SELECT 1 FROM %[1]s LIMIT 1) AS one', false, true, '')))[1]::text = '1' END`

// state is a query for one row: whether there is a table of events, whether it or the table of
// accounts has any rows, and how many tables there are.
func state(kind *homeserver.Stack) string {
	return fmt.Sprintf("SELECT to_regclass('%s') IS NOT NULL, ", kind.Events) + fmt.Sprintf(used, kind.Events) + " OR " + fmt.Sprintf(used, kind.Accounts) +
		", (SELECT count(*) FROM information_schema.tables WHERE table_schema = current_schema())"
}

// Holds is what a database contains before it is used.
type Holds int

// What a database may contain.
const (
	Nothing    Holds = iota // no table
	Homeserver              // the tables of a homeserver of this kind, with an account or an event in them
	Unused                  // the same with nothing in them: it was set up but not used
	Other                   // tables of another program
)

// Usable refuses an external database that has the tables of another program, one that has a
// homeserver's data unless it was copied there for this installation, and one that should have
// the copied data but does not.
func Usable(ctx context.Context, a answers.Answers, copied bool) error {
	found, err := Look(ctx, a)
	if err != nil {
		return err
	}
	s := serviceOf(a)
	switch {
	case found == Other:
		return s.error("name an empty database in homeserver_database", "%s has tables of another program", a.HomeserverDatabaseAt())
	case copied && found != Homeserver:
		return s.error("copy it there first, see docs/external.md", "%s has nothing of the homeserver's data", a.HomeserverDatabaseAt())
	case !copied && found == Homeserver:
		return s.error("name an empty database in homeserver_database; if it has the data of this installation, run: appliance up --homeserver-database-copied",
			"%s has the data of a homeserver", a.HomeserverDatabaseAt())
	}
	return nil
}

// Look returns what the external database of the homeserver contains.
func Look(ctx context.Context, a answers.Answers) (Holds, error) {
	kind := homeserver.Of(a.Homeserver).Stack
	if kind == nil {
		return Other, fmt.Errorf("no bundled homeserver is called %q", a.Homeserver)
	}
	list, err := Query(ctx, a, state(kind))
	if err != nil {
		return Other, err
	}
	switch {
	case len(list) != 1:
		return Other, fmt.Errorf("the database answers with %d rows", len(list))
	case strings.HasSuffix(list[0], "|0"):
		return Nothing, nil
	case strings.HasPrefix(list[0], "t|t|"):
		return Homeserver, nil
	case strings.HasPrefix(list[0], "t|f|"):
		return Unused, nil
	}
	return Other, nil
}
