package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
)

// A pooler such as PgBouncer may stand between this process and PostgreSQL. One that assigns
// a server connection per transaction (pool_mode=transaction) breaks everything tied to a
// session: LISTEN receives nothing, the lock that keeps an earlier release out stays with the
// next client of the server connection, and prepared statements belong to another client's
// session. So the bridge does not start behind one. pool_mode=session works.

const hintPooler = "name PostgreSQL itself in the address of the database, or a pool with pool_mode=session"

// pooledConns is how many connections are compared. With sessions, each has a server
// process to itself; otherwise some would have to share one.
const pooledConns = 5

// examinePooler refuses a database behind a pooler that does not keep sessions. It must
// be called before anything that depends on a session.
func examinePooler(ctx context.Context, db *sql.DB, holder *sql.Conn, name string) error {
	ctx, cancel := context.WithTimeout(ctx, examinePatience)
	defer cancel()
	direct, err := isDirect(ctx, holder)
	if err != nil || direct {
		return explained(name, err)
	}
	kept, err := keepsSessions(ctx, db)
	if err == nil && !kept {
		return refused(hintPooler, "%s is behind a pooler that keeps no sessions, as PgBouncer does with pool_mode=transaction; the bridge needs LISTEN, session locks and prepared statements", name)
	}
	return explained(name, err)
}

// isDirect reports whether the server process of a connection is the one that answered when it
// was opened: a pooler gives its clients a key of its own (BackendKeyData of the protocol).
func isDirect(ctx context.Context, conn *sql.Conn) (bool, error) {
	now, err := serverOf(ctx, conn)
	if err != nil {
		return false, err
	}
	var opened uint32
	err = conn.Raw(func(conn any) error {
		c, ok := conn.(interface{ Conn() *pgx.Conn })
		if !ok {
			return errors.New("the driver is not pgx")
		}
		opened = c.Conn().PgConn().PID()
		return nil
	})
	return now == opened, err
}

// keepsSessions reports whether each of several connections has a server process to
// itself. They are queried forwards and backwards, so that assigning servers in rotation
// does not look like sessions.
func keepsSessions(ctx context.Context, db *sql.DB) (bool, error) {
	conns := make([]*sql.Conn, 0, pooledConns)
	defer func() {
		for _, c := range conns {
			_ = c.Close()
		}
	}()
	servers, taken := make([]uint32, pooledConns), map[uint32]bool{}
	for i := range pooledConns {
		c, err := db.Conn(ctx)
		if err != nil {
			return false, err
		}
		conns = append(conns, c)
		if servers[i], err = serverOf(ctx, c); err != nil {
			return false, err
		}
		if taken[servers[i]] {
			return false, nil
		}
		taken[servers[i]] = true
	}
	for i := range conns {
		at := len(conns) - 1 - i
		if now, err := serverOf(ctx, conns[at]); err != nil || now != servers[at] {
			return false, err
		}
	}
	return true, nil
}

// serverOf returns the ID of the server process that currently answers on a connection.
// It prepares nothing, because a prepared statement would belong to a session.
func serverOf(ctx context.Context, conn *sql.Conn) (pid uint32, err error) {
	err = conn.QueryRowContext(ctx, `SELECT pg_backend_pid()`, pgx.QueryExecModeExec).Scan(&pid)
	return pid, err
}

// searchPath is the parameter that lists the schemas of a session.
const searchPath = "search_path"

// settings are the session parameters of a connection. They are set after it is open,
// because a pooler refuses to open one with parameters that it does not know.
type settings map[string]string

// takeSettings removes the parameters that poolers do not know from a configuration, and returns them.
func takeSettings(cfg *pgx.ConnConfig) settings {
	s := settings{}
	for key, value := range cfg.RuntimeParams {
		switch key {
		case "application_name", "client_encoding", "options": // known to every pooler
		default:
			s[key] = value
			delete(cfg.RuntimeParams, key)
		}
	}
	return s
}

// connector opens connections with these settings.
func (s settings) connector(cfg *pgx.ConnConfig) driver.Connector {
	return stdlib.GetConnector(*cfg, stdlib.OptionAfterConnect(s.apply))
}

// apply applies the settings to a new connection.
func (s settings) apply(ctx context.Context, conn *pgx.Conn) error {
	if len(s) == 0 {
		return nil
	}
	keys, values := make([]string, 0, len(s)), make([]string, 0, len(s))
	for key, value := range s {
		keys, values = append(keys, key), append(values, value)
	}
	_, err := conn.Exec(ctx, `SELECT set_config(s.key, s.value, false) FROM unnest($1::text[], $2::text[]) AS s (key, value)`, pgx.QueryExecModeExec, keys, values)
	return err
}
