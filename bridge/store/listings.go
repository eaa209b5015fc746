package store

import (
	"cmp"
	"context"
	"fmt"
	"strings"
	"time"

	"appliance/bridge/ids"
	"appliance/bridge/relay/model"
)

// The operator's pages list what is stored a page at a time, by key: a page costs the
// same at the beginning and at the end, and with a large store as with a small one.

// likeOf returns a pattern of LIKE for texts in lower case that hold some words. Its
// escape character is "!".
func likeOf(words string) string { return likeExactly(strings.ToLower(words)) }

// likeExactly is likeOf for texts as they are.
func likeExactly(text string) string {
	return "%" + strings.NewReplacer("!", "!!", "%", "!%", "_", "!_").Replace(text) + "%"
}

// A PortalKey is a place in the list of portals: before the portal of a room that began
// then. The zero value is the beginning of the list, which has the newest first.
type PortalKey struct {
	Created time.Time
	RCRoom  ids.RCRoom
}

// PortalsBefore lists the portals from a place on, the newest first, at most limit of
// them. With words it lists those whose title or identifiers hold them.
func (s *Store) PortalsBefore(ctx context.Context, words string, from PortalKey, limit int) ([]model.Portal, error) {
	created := int64(1) << 62
	if !from.Created.IsZero() {
		created = from.Created.UnixMilli()
	}
	query, args := portalColumns+` WHERE (created < $1 OR created = $1 AND rc_room < $2)`, []any{created, from.RCRoom, limit}
	if words != "" {
		query += ` AND (lower(title) LIKE $4 ESCAPE '!' OR lower(rc_room) LIKE $4 ESCAPE '!' OR lower(mx_room) LIKE $4 ESCAPE '!')`
		args = append(args, likeOf(words))
	}
	rows, err := s.query(ctx, query+` ORDER BY created DESC, rc_room DESC LIMIT $3`, args...)
	if err != nil {
		return nil, err
	}
	return all(rows, scanPortal)
}

// SetTitle notes what a room is called in Rocket.Chat.
func (s *Store) SetTitle(ctx context.Context, room ids.RCRoom, title string) error {
	_, err := s.db.ExecContext(ctx, `UPDATE portals SET title = $2 WHERE rc_room = $1 AND title <> $2`, room, title)
	return err
}

// A LaneSummary is what is stored of one lane, without what it says.
type LaneSummary struct {
	Waiting, Dead int64
	Oldest        time.Time // acceptance of the oldest item that waits; zero when none does
	// LastError is of the first item that waits, or else of the newest dead letter.
	LastError string
}

// lanesAsked is how many lanes are summed up at once. A query has so many places, so that
// it is always the same one.
const lanesAsked = 200

var (
	lanePlaces = "($1" + func() string {
		var b strings.Builder
		for i := 2; i <= lanesAsked; i++ {
			fmt.Fprintf(&b, ", $%d", i)
		}
		return b.String()
	}() + ")"
	waitingLanes = `SELECT lane, COUNT(*), MIN(seq) FROM items WHERE buried = 0 AND lane IN ` + lanePlaces + ` GROUP BY lane`
	deadLanes    = `SELECT lane, COUNT(*), MAX(seq) FROM items WHERE buried > 0 AND lane IN ` + lanePlaces + ` GROUP BY lane`
)

// LanesNamed sums up lanes by their names, the first 200 of them. Lanes in which nothing
// is are left out.
func (s *Store) LanesNamed(ctx context.Context, names []string) (map[string]LaneSummary, error) {
	out := map[string]LaneSummary{}
	dead, err := s.laneCounts(ctx, deadLanes, names)
	if err != nil {
		return nil, err
	}
	for lane, n := range dead {
		sum := LaneSummary{Dead: n.count}
		if err := s.ofItem(ctx, n.seq, &sum, nil); err != nil {
			return nil, err
		}
		out[lane] = sum
	}
	waiting, err := s.laneCounts(ctx, waitingLanes, names)
	if err != nil {
		return nil, err
	}
	for lane, n := range waiting {
		sum, first := out[lane], LaneSummary{}
		if err := s.ofItem(ctx, n.seq, &first, &sum.Oldest); err != nil {
			return nil, err
		}
		sum.Waiting, sum.LastError = n.count, cmp.Or(first.LastError, sum.LastError)
		out[lane] = sum
	}
	return out, nil
}

// laneCount is how many items of a lane there are, and one of them.
type laneCount struct{ count, seq int64 }

func (s *Store) laneCounts(ctx context.Context, query string, names []string) (map[string]laneCount, error) {
	args := make([]any, lanesAsked)
	for i := range args {
		if args[i] = ""; i < len(names) {
			args[i] = names[i]
		}
	}
	rows, err := s.query(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }()
	out := map[string]laneCount{}
	for rows.Next() {
		var lane string
		var n laneCount
		if err := rows.Scan(&lane, &n.count, &n.seq); err != nil {
			return nil, err
		}
		out[lane] = n
	}
	return out, rows.Err()
}

// ofItem reads the last error of an item and, where it is asked for, when it was accepted.
// An item that is gone in the meantime has none.
func (s *Store) ofItem(ctx context.Context, seq int64, sum *LaneSummary, accepted *time.Time) error {
	var at int64
	err := s.queryRow(ctx, `SELECT cause, accepted FROM items WHERE seq = $1`, seq).Scan(&sum.LastError, &at)
	if _, ok, err := found(at, err); err != nil || !ok || accepted == nil {
		return err
	}
	*accepted = time.UnixMilli(at).UTC()
	return nil
}

// CountPortals returns how many portals there are.
func (s *Store) CountPortals(ctx context.Context) (n int64, err error) {
	err = s.queryRow(ctx, `SELECT COUNT(*) FROM portals`).Scan(&n)
	return n, err
}

// A Person is a ghost or a puppet, as the operator sees them.
type Person struct {
	MXUser   ids.MXUser
	RCUser   ids.RCUser
	Username string
	Name     string
	Puppet   bool // stands for a Matrix user; a ghost stands for a Rocket.Chat user
}

// lookedThrough bounds how many people one search looks at.
const lookedThrough = 20_000

// tableOf returns where people of one kind are. The queries are made of nothing that
// comes from outside.
func tableOf(puppets bool) string {
	if puppets {
		return "puppets"
	}
	return "ghosts"
}

// PeopleAfter lists puppets, or ghosts, after a Matrix address in the order of addresses,
// at most limit of them. With words it lists those whose address, username or name holds
// them, among the 20,000 that come next. next is where the list goes on, "" at its end.
func (s *Store) PeopleAfter(ctx context.Context, puppets bool, words string, after ids.MXUser, limit int) (list []Person, next ids.MXUser, err error) {
	table, stop := tableOf(puppets), ids.MXUser("")
	query, args := fmt.Sprintf(`SELECT mx_user, rc_user, username, name FROM %s WHERE mx_user > $1`, table), []any{after, limit + 1}
	if words != "" {
		err := s.queryRow(ctx, fmt.Sprintf(`SELECT mx_user FROM %s WHERE mx_user > $1 ORDER BY mx_user LIMIT 1 OFFSET %d`, table, lookedThrough), after).Scan(&stop)
		var more bool
		if _, more, err = found(stop, err); err != nil {
			return nil, "", err
		}
		query += ` AND (lower(mx_user) LIKE $3 ESCAPE '!' OR lower(username) LIKE $3 ESCAPE '!' OR lower(name) LIKE $3 ESCAPE '!')`
		args = append(args, likeOf(words))
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

// PeopleNamed lists the puppets, or ghosts, that have an address, an identifier or a
// username, which are few.
func (s *Store) PeopleNamed(ctx context.Context, puppets bool, name string) ([]Person, error) {
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

// countAtOnce is how many addresses are read at once to count them.
const countAtOnce = 5000

// PuppetsByServer counts the puppets of each server, of at most maxServers servers: those
// that come later are left out.
func (s *Store) PuppetsByServer(ctx context.Context, maxServers int) (map[string]int64, error) {
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

// A StoredItem is an item that waits or is a dead letter, with what it says.
type StoredItem struct {
	ID, Lane, Kind, Cause string
	Payload               []byte
	Accepted              time.Time
	Attempts              int
	Dead                  bool
}

// ItemsHolding lists the items from one side, "rc" or "mx", whose stored form holds some
// bytes, oldest first and at most limit of them, among the oldest items that there are,
// lookAt of them. What an item says is for finding out whose it is, never for a page.
func (s *Store) ItemsHolding(ctx context.Context, side string, bytes []byte, lookAt, limit int) ([]StoredItem, error) {
	end := int64(1) << 62
	err := s.queryRow(ctx, `SELECT seq FROM items ORDER BY seq LIMIT 1 OFFSET $1`, lookAt).Scan(&end)
	if _, _, err = found(end, err); err != nil {
		return nil, err
	}
	holds := `instr(payload, $2) > 0`
	if s.Shared() {
		holds = `position($2::bytea IN payload) > 0`
	}
	rows, err := s.query(ctx, `SELECT id, lane, kind, cause, payload, accepted, attempts, buried FROM items
		WHERE seq < $1 AND substr(lane, 1, 2) = $3 AND `+holds+` ORDER BY seq LIMIT $4`, end, bytes, side, limit)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }()
	var out []StoredItem
	for rows.Next() {
		var it StoredItem
		var accepted, buried int64
		if err := rows.Scan(&it.ID, &it.Lane, &it.Kind, &it.Cause, &it.Payload, &accepted, &it.Attempts, &buried); err != nil {
			return nil, err
		}
		it.Accepted, it.Dead = time.UnixMilli(accepted).UTC(), buried > 0
		out = append(out, it)
	}
	return out, rows.Err()
}

// A DeadGroup is how many dead letters have something in common.
type DeadGroup struct {
	Side, Kind, Cause string // Side is where they come from: "rc" or "mx"
	Count             int
}

// DeadGroups counts the dead letters whose lane holds a text, by what they have in common.
func (s *Store) DeadGroups(ctx context.Context, lane string) ([]DeadGroup, error) {
	query, args := `SELECT substr(lane, 1, 2), kind, cause, COUNT(*) FROM items WHERE buried > 0`, []any{maxCauses}
	if lane != "" {
		query += ` AND lane LIKE $2 ESCAPE '!'`
		args = append(args, likeExactly(lane))
	}
	rows, err := s.query(ctx, query+` GROUP BY 1, 2, 3 LIMIT $1`, args...)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }()
	var out []DeadGroup
	for rows.Next() {
		var g DeadGroup
		if err := rows.Scan(&g.Side, &g.Kind, &g.Cause, &g.Count); err != nil {
			return nil, err
		}
		out = append(out, g)
	}
	return out, rows.Err()
}

// DeadLettersWhere lists what was given up, oldest first, of one kind and with a text in
// the name of its lane, where they are not "", until each wants no more.
func (s *Store) DeadLettersWhere(ctx context.Context, kind, lane string, each func(DeadLetter) (more bool)) error {
	rows, err := s.query(ctx, deadColumns+` WHERE buried > 0 AND ($1 = '' OR kind = $1) AND lane LIKE $2 ESCAPE '!' ORDER BY seq`, kind, likeExactly(lane))
	if err != nil {
		return err
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		d, err := scanDead(rows)
		if err != nil {
			return err
		}
		if !each(d) {
			break
		}
	}
	return rows.Err()
}
