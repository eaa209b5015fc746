package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
)

// A pooler such as PgBouncer stands between this process and PostgreSQL. One that gives a
// client a server for a transaction only (pool_mode=transaction) takes away what belongs to a
// session: LISTEN hears nothing, the lock that keeps an earlier release out stays with
// the client that gets the server next, and prepared statements are those of another client's
// session. So the bridge does not start behind one. With pool_mode=session it works.

const hintPooler = "name PostgreSQL itself in the address of the database, or a pool with pool_mode=session"

// pooledConns is how many connections are compared. In a session each has a server to
// itself; else some would have to share one.
const pooledConns = 5

// examinePooler refuses a database behind a pooler that keeps no sessions. It must come
// before anything that belongs to one.
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

// isDirect reports whether the server of a connection is the one that answered when it was
// opened: a pooler gives its clients a key of its own (BackendKeyData of the protocol).
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

// keepsSessions reports whether each of several connections has a server to itself. They
// are asked forwards and backwards, so that servers that are given out in turns do not look
// like sessions.
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

// serverOf is the process of the server that answers on a connection now. It prepares
// nothing, because that would belong to a session.
func serverOf(ctx context.Context, conn *sql.Conn) (pid uint32, err error) {
	err = conn.QueryRowContext(ctx, `SELECT pg_backend_pid()`, pgx.QueryExecModeExec).Scan(&pid)
	return pid, err
}

// searchPath is the parameter with the schemas of a session.
const searchPath = "search_path"

// settings are the parameters of a session that a connection is opened with. They are set after it
// is open: a pooler refuses to open one with parameters that it does not know.
type settings map[string]string

// takeSettings takes the parameters out of a configuration that poolers do not know.
func takeSettings(cfg *pgx.ConnConfig) settings {
	s := settings{}
	for key, value := range cfg.RuntimeParams {
		switch key {
		case "application_name", "client_encoding", "options": // any pooler knows these
		default:
			s[key] = value
			delete(cfg.RuntimeParams, key)
		}
	}
	return s
}

// connector opens connections that have them.
func (s settings) connector(cfg *pgx.ConnConfig) driver.Connector {
	return stdlib.GetConnector(*cfg, stdlib.OptionAfterConnect(s.apply))
}

// apply sets them on a new connection.
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
