package store

import (
	"context"
	"crypto/rand"
	"fmt"
	"strings"

	"appliance/bridge/ids"
	"appliance/bridge/relay/model"
	"appliance/bridge/secret"
)

// peopleTable has the ghosts and the puppets.
type peopleTable struct {
	*database
	ghosts  recall[model.Ghost]
	puppets recall[model.Puppet]
}

const ghostColumns = `SELECT rc_user, mx_user, username, name FROM ghosts`

func scanGhost(row scanner) (g model.Ghost, err error) {
	err = row.Scan(&g.RCUser, &g.MXUser, &g.Username, &g.Name)
	return g, err
}

// GhostByRC implements relay.Store.
func (s *peopleTable) GhostByRC(ctx context.Context, user ids.RCUser) (model.Ghost, bool, error) {
	return s.ghosts.get("rc_user", string(user), func() (model.Ghost, error) {
		return scanGhost(s.queryRow(ctx, ghostColumns+` WHERE rc_user = $1`, user))
	})
}

// GhostByMX implements relay.Store.
func (s *peopleTable) GhostByMX(ctx context.Context, user ids.MXUser) (model.Ghost, bool, error) {
	return s.ghosts.get("mx_user", string(user), func() (model.Ghost, error) {
		return scanGhost(s.queryRow(ctx, ghostColumns+` WHERE mx_user = $1`, user))
	})
}

// GhostsAfter implements relay.Store.
func (s *peopleTable) GhostsAfter(ctx context.Context, after ids.MXUser, limit int) ([]model.Ghost, error) {
	rows, err := s.query(ctx, ghostColumns+` WHERE mx_user > $1 ORDER BY mx_user LIMIT $2`, after, limit)
	if err != nil {
		return nil, err
	}
	return all(rows, scanGhost)
}

// PutGhost implements relay.Store.
func (s *peopleTable) PutGhost(ctx context.Context, g model.Ghost) error {
	_, err := s.exec(ctx, `INSERT INTO ghosts (rc_user, mx_user, username, name) VALUES ($1, $2, $3, $4)
		ON CONFLICT (rc_user) DO UPDATE SET username = excluded.username, name = excluded.name`, g.RCUser, g.MXUser, g.Username, g.Name)
	s.ghosts.forget()
	return err
}

const puppetColumns = `SELECT mx_user, rc_user, username, name, token FROM puppets`

func scanPuppet(row scanner) (p model.Puppet, err error) {
	var token string
	err = row.Scan(&p.MXUser, &p.RCUser, &p.Username, &p.Name, &token)
	p.Token = secret.New(token)
	return p, err
}

// PuppetByMX implements relay.Store.
func (s *peopleTable) PuppetByMX(ctx context.Context, user ids.MXUser) (model.Puppet, bool, error) {
	return s.puppets.get("mx_user", string(user), func() (model.Puppet, error) {
		return scanPuppet(s.queryRow(ctx, puppetColumns+` WHERE mx_user = $1`, user))
	})
}

// PuppetByRC implements relay.Store.
func (s *peopleTable) PuppetByRC(ctx context.Context, user ids.RCUser) (model.Puppet, bool, error) {
	return s.puppets.get("rc_user", string(user), func() (model.Puppet, error) {
		return scanPuppet(s.queryRow(ctx, puppetColumns+` WHERE rc_user = $1`, user))
	})
}

// PuppetByUsername implements relay.Store. No two usernames differ only in case.
func (s *peopleTable) PuppetByUsername(ctx context.Context, username string) (model.Puppet, bool, error) {
	return s.puppets.get("username", strings.ToLower(username), func() (model.Puppet, error) {
		return scanPuppet(s.queryRow(ctx, puppetColumns+` WHERE username = $1`, strings.ToLower(username)))
	})
}

// PutPuppet implements relay.Store.
func (s *peopleTable) PutPuppet(ctx context.Context, p model.Puppet) error {
	if p.Own {
		return fmt.Errorf("%s is the account of a person and becomes no puppet", p.RCUser)
	}
	_, err := s.exec(ctx, `INSERT INTO puppets (mx_user, rc_user, username, name, token) VALUES ($1, $2, $3, $4, $5)
		ON CONFLICT (mx_user) DO UPDATE SET rc_user = excluded.rc_user, username = excluded.username, name = excluded.name, token = excluded.token`,
		p.MXUser, p.RCUser, strings.ToLower(p.Username), p.Name, p.Token.Reveal())
	s.puppets.forget()
	return err
}

// PuppetMark implements relay.Store.
func (s *peopleTable) PuppetMark(ctx context.Context, user ids.MXUser) (string, error) {
	if _, err := s.exec(ctx, `INSERT INTO puppet_marks (mx_user, mark) VALUES ($1, $2) ON CONFLICT (mx_user) DO NOTHING`,
		user, strings.ToLower(rand.Text())); err != nil {
		return "", err
	}
	var mark string
	err := s.queryRow(ctx, `SELECT mark FROM puppet_marks WHERE mx_user = $1`, user).Scan(&mark)
	return mark, err
}

// PuppetsAfter implements relay.Store.
func (s *peopleTable) PuppetsAfter(ctx context.Context, after ids.MXUser, limit int) ([]ids.MXUser, error) {
	rows, err := s.query(ctx, `SELECT mx_user FROM puppets WHERE mx_user > $1 ORDER BY mx_user LIMIT $2`, after, limit)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }()
	var out []ids.MXUser
	for rows.Next() {
		var user ids.MXUser
		if err := rows.Scan(&user); err != nil {
			return nil, err
		}
		out = append(out, user)
	}
	return out, rows.Err()
}

// A Person is a ghost or a puppet, as the operator sees them.
type Person struct {
	MXUser   ids.MXUser
	RCUser   ids.RCUser
	Username string
	Name     string
	Puppet   bool // stands for a Matrix user; a ghost stands for a Rocket.Chat user
}

// lookedThrough bounds how many people one search examines.
const lookedThrough = 12_000

// tableOf returns the table of people of one kind. The queries contain no outside input.
func tableOf(puppets bool) string {
	if puppets {
		return "puppets"
	}
	return "ghosts"
}

// PeopleAfter lists puppets, or ghosts, after a Matrix address in address order, at most
// limit of them. If words is not empty, it lists only those of the next 12,000 whose
// address, username or name contains it. next is where the list continues, "" at its end.
func (s *peopleTable) PeopleAfter(ctx context.Context, puppets bool, words string, after ids.MXUser, limit int) (list []Person, next ids.MXUser, err error) {
	table, stop := tableOf(puppets), ids.MXUser("")
	query, args := fmt.Sprintf(`SELECT mx_user, rc_user, username, name FROM %s WHERE mx_user > $1`, table), []any{after, limit + 1}
	if words != "" {
		err := s.queryRow(ctx, fmt.Sprintf(`SELECT mx_user FROM %s WHERE mx_user > $1 ORDER BY mx_user LIMIT 1 OFFSET %d`, table, lookedThrough), after).Scan(&stop)
		var more bool
		if _, more, err = found(stop, err); err != nil {
			return nil, "", err
		}
		holds, pattern := s.holding(words, 3, "mx_user", "username", "name")
		query += holds
		args = append(args, pattern)
		if more {
			query += ` AND mx_user <= $4`
			args = append(args, stop)
		}
	}
	rows, err := s.query(ctx, query+` ORDER BY mx_user LIMIT $2`, args...)
	if err != nil {
		return nil, "", err
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		p := Person{Puppet: puppets}
		if err := rows.Scan(&p.MXUser, &p.RCUser, &p.Username, &p.Name); err != nil {
			return nil, "", err
		}
		list = append(list, p)
	}
	if len(list) > limit {
		return list[:limit], list[limit-1].MXUser, rows.Err()
	}
	return list, stop, rows.Err()
}

// PeopleNamed lists the few puppets, or ghosts, with an address, an identifier or a
// username.
func (s *peopleTable) PeopleNamed(ctx context.Context, puppets bool, name string) ([]Person, error) {
	rows, err := s.query(ctx, fmt.Sprintf(`SELECT mx_user, rc_user, username, name FROM %s WHERE mx_user = $1 OR rc_user = $1 OR username = $2 LIMIT 20`, tableOf(puppets)),
		name, strings.TrimPrefix(name, "@"))
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }()
	var list []Person
	for rows.Next() {
		p := Person{Puppet: puppets}
		if err := rows.Scan(&p.MXUser, &p.RCUser, &p.Username, &p.Name); err != nil {
			return nil, err
		}
		list = append(list, p)
	}
	return list, rows.Err()
}

// countAtOnce is how many addresses are read at once for counting.
const countAtOnce = 5000

// PuppetsByServer counts the puppets of each server, for at most maxServers servers:
// those found later are left out.
func (s *peopleTable) PuppetsByServer(ctx context.Context, maxServers int) (map[string]int64, error) {
	out := map[string]int64{}
	for after := ids.MXUser(""); ; {
		list, err := s.PuppetsAfter(ctx, after, countAtOnce)
		if err != nil || len(list) == 0 {
			return out, err
		}
		for _, user := range list {
			server := user.Homeserver()
			if _, known := out[server]; known || len(out) < maxServers {
				out[server]++
			}
		}
		after = list[len(list)-1]
	}
}
