package external

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"net"
	"net/url"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"

	"appliance/provision/answers"
	"appliance/provision/homeserver"
	"appliance/provision/render"
)

// Query runs statements in the homeserver's external database and returns the rows of the last
// one, with their columns separated by "|".
func Query(ctx context.Context, a answers.Answers, sql string) ([]string, error) {
	conn, err := connect(ctx, a)
	if err != nil {
		return nil, explainPostgres(serviceOf(a), err)
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	return rows(ctx, conn, sql)
}

func connect(ctx context.Context, a answers.Answers) (*pgconn.PgConn, error) {
	c, err := pgconn.ParseConfig(render.HomeserverDatabase(a, a.HomeserverDatabaseCAFile))
	if err != nil {
		return nil, err
	}
	c.ConnectTimeout = cmp.Or(c.ConnectTimeout, patience)
	return pgconn.ConnectConfig(ctx, c)
}

func rows(ctx context.Context, conn *pgconn.PgConn, sql string) ([]string, error) {
	results, err := conn.Exec(ctx, sql).ReadAll()
	if err != nil || len(results) == 0 {
		return nil, err
	}
	var out []string
	for _, row := range results[len(results)-1].Rows {
		out = append(out, string(bytes.Join(row, []byte("|"))))
	}
	return out, nil
}

func serviceOf(a answers.Answers) service {
	host := "the database"
	if u, err := url.Parse(a.HomeserverDatabase); err == nil {
		host = net.JoinHostPort(u.Hostname(), cmp.Or(u.Port(), "5432"))
	}
	return service{
		summary: "the homeserver cannot use the PostgreSQL of homeserver_database",
		key:     "homeserver_database", caKey: "homeserver_database_ca_file", caFile: a.HomeserverDatabaseCAFile, host: host,
	}
}

// properties is a query for the properties that a homeserver requires of its database, in one row.
const properties = `SELECT current_setting('server_version_num'), current_setting('server_version'), current_setting('server_encoding'), datcollate, datctype,
pg_is_in_recovery(), coalesce(has_schema_privilege(current_schema(), 'CREATE'), false), current_user, datname FROM pg_database WHERE datname = current_database()`

// HomeserverDatabase checks the PostgreSQL of homeserver_database and returns its version.
func HomeserverDatabase(ctx context.Context, a answers.Answers) (version string, err error) {
	s := serviceOf(a)
	list, err := Query(ctx, a, properties)
	if err != nil {
		return "", explainPostgres(s, err)
	}
	if len(list) != 1 || strings.Count(list[0], "|") != 8 {
		return "", s.error("name the server itself, not a proxy for it", "%s does not answer as PostgreSQL does", s.host)
	}
	p := strings.Split(list[0], "|")
	number, _ := strconv.Atoi(p[0])
	user, database := quoted(p[7]), quoted(p[8])
	// The template must allow every locale, which template1 may not.
	create := "CREATE DATABASE " + database + " OWNER " + user + " TEMPLATE template0 ENCODING 'UTF8' LC_COLLATE 'C' LC_CTYPE 'C'"
	least := 12
	if stack := homeserver.Of(a.Homeserver).Stack; stack != nil {
		least = stack.Postgres
		if stack.LocaleC && (p[3] != "C" || p[4] != "C") {
			return "", s.error("recreate the database while it is empty, as its administrator: "+create,
				"the database %s has the collation %s and the character type %s; %s needs C for both", p[8], p[3], p[4], a.Homeserver)
		}
	}
	switch {
	case p[2] != "UTF8":
		return "", s.error("recreate the database while it is empty, as its administrator: "+create, "the database %s has the encoding %s, and not UTF8", p[8], p[2])
	case number < least*10_000:
		return "", s.error("upgrade that server, or name another one in homeserver_database", "%s is PostgreSQL %s; %s needs %d or later", s.host, p[1], a.Homeserver, least)
	case p[5] == "t":
		return "", s.error("name the primary server in homeserver_database", "%s is a standby, in which nothing can be written", s.host)
	case p[6] != "t":
		return "", s.error("make it the owner, as the administrator of that server: ALTER DATABASE "+database+" OWNER TO "+user,
			"%s may not create tables in the database %s", p[7], p[8])
	}
	return p[1], nil
}

// quoted returns a name as a quoted SQL identifier.
func quoted(name string) string { return `"` + strings.ReplaceAll(name, `"`, `""`) + `"` }

// explainPostgres describes what is wrong with a connection to PostgreSQL.
func explainPostgres(s service, err error) error {
	if _, ok := errors.AsType[*Error](err); ok {
		return err
	}
	if e, ok := errors.AsType[*pgconn.PgError](err); ok {
		switch e.Code {
		case "28P01":
			return s.error("correct the user and the password in homeserver_database: appliance config edit", "%s does not accept the user or the password: %s", s.host, e.Message)
		case "28000":
			if strings.HasSuffix(e.Message, "no encryption") {
				return s.error("leave sslmode=disable out of homeserver_database", "%s takes no connections without TLS: %s", s.host, e.Message)
			}
			return s.error("let the user in from this host, in pg_hba.conf of that server", "%s does not let the user in: %s", s.host, e.Message)
		case "3D000":
			return s.error("create it there, as its administrator: CREATE DATABASE name OWNER user TEMPLATE template0 ENCODING 'UTF8' LC_COLLATE 'C' LC_CTYPE 'C'", "%s has no such database: %s", s.host, e.Message)
		case "53300":
			return s.error("let it have more connections, in max_connections of that server: the homeserver opens up to 40", "%s has no connection left: %s", s.host, e.Message)
		}
		return s.error("see the log of that server", "%s says: %s (%s)", s.host, e.Message, e.Code)
	}
	if strings.Contains(err.Error(), "server refused TLS connection") {
		return s.error("turn TLS on in that server (ssl=on), or go without it: add ?sslmode=disable to homeserver_database", "%s has no TLS", s.host)
	}
	if found := s.connection(err); found != nil {
		return found
	}
	return err
}
