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
// rows of the answers, the columns of a row parted by "|". The statements are read from
// standard input where a program runs them: nothing of them is in its arguments.
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

// used is whether a table has a row, and false when there is none of the name.
const used = `CASE WHEN to_regclass('%[1]s') IS NULL THEN false ELSE
(xpath('/row/c/text()', query_to_xml('SELECT count(*) AS c FROM (SELECT 1 FROM %[1]s LIMIT 1) AS one', false, true, '')))[1]::text = '1' END`

// state asks for one row: whether there is a table of events, whether it or that of accounts
// has any, and how many tables there are.
func state(kind *homeserver.Stack) string {
	return fmt.Sprintf("SELECT to_regclass('%s') IS NOT NULL, ", kind.Events) + fmt.Sprintf(used, kind.Events) + " OR " + fmt.Sprintf(used, kind.Accounts) +
		", (SELECT count(*) FROM information_schema.tables WHERE table_schema = current_schema())"
}

// Holds is what a database has before it is used.
type Holds int

// What a database may have.
const (
	Nothing    Holds = iota // no table
	Homeserver              // the tables of a homeserver of this kind, with an account or an event in them
	Unused                  // the same with nothing in them: it was begun and not used
	Other                   // tables of another program
)

// Usable refuses an external database that has the tables of another program, one that has a
// homeserver's data unless that was copied there for this installation, and one that was
// said to have it and has not.
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

// Look says what the external database of the homeserver has.
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
