package store

import (
	"cmp"
	"context"
	"fmt"
	"strings"
	"time"
)

// The operator's pages list the stored data a page at a time, by key: a page costs the
// same at the beginning and at the end, and in a large store as in a small one.

// holding returns a condition that one of the columns contains words, and the LIKE
// pattern to pass as argument number. Case is ignored: only of ASCII letters in SQLite,
// whose lower() knows no others, and of all letters in PostgreSQL.
func (s *database) holding(words string, number int, columns ...string) (condition, pattern string) {
	form := `%s LIKE $%d ESCAPE '!'`
	if !s.folds {
		words, form = strings.ToLower(words), `lower(%s) LIKE $%d ESCAPE '!'`
	}
	var all []string
	for _, column := range columns {
		all = append(all, fmt.Sprintf(form, column, number))
	}
	return " AND (" + strings.Join(all, " OR ") + ")", likeExactly(words)
}

// likeExactly returns a LIKE pattern for texts containing a literal text. Its escape character is "!".
func likeExactly(text string) string {
	return "%" + strings.NewReplacer("!", "!!", "%", "!%", "_", "!_").Replace(text) + "%"
}

// A LaneSummary sums up what is stored of one lane, without content.
type LaneSummary struct {
	Waiting, Dead int64
	Oldest        time.Time // when the oldest waiting item was accepted; zero when none waits
	// LastError is the error of the first waiting item, or else of the newest dead letter.
	LastError string
}

// lanesAsked is how many lanes are summed up at once. The query always has that many
// placeholders, so that it is always the same one.
const lanesAsked = 200

var (
	lanePlaces   = places(lanesAsked)
	waitingLanes = `SELECT lane, COUNT(*), MIN(seq) FROM items WHERE buried = 0 AND lane IN ` + lanePlaces + ` GROUP BY lane`
	deadLanes    = `SELECT lane, COUNT(*), MAX(seq) FROM items WHERE buried > 0 AND lane IN ` + lanePlaces + ` GROUP BY lane`
)

// LanesNamed sums up lanes by their names, the first 200 of them. Empty lanes are left
// out.
func (s *operatorView) LanesNamed(ctx context.Context, names []string) (map[string]LaneSummary, error) {
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

// laneCount is the number of items in a lane, and the number of one of them.
type laneCount struct{ count, seq int64 }

func (s *operatorView) laneCounts(ctx context.Context, query string, names []string) (map[string]laneCount, error) {
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

// ofItem reads the last error of an item and, if requested, when it was accepted. An item
// that is gone in the meantime has none.
func (s *operatorView) ofItem(ctx context.Context, seq int64, sum *LaneSummary, accepted *time.Time) error {
	var at int64
	err := s.queryRow(ctx, `SELECT cause, accepted FROM items WHERE seq = $1`, seq).Scan(&sum.LastError, &at)
	if _, ok, err := found(at, err); err != nil || !ok || accepted == nil {
		return err
	}
	*accepted = time.UnixMilli(at).UTC()
	return nil
}

// A StoredItem is a waiting item or a dead letter, with its content.
type StoredItem struct {
	ID, Lane, Kind, Cause string
	Payload               []byte
	Accepted              time.Time
	Attempts              int
	Dead                  bool
}

// ItemsHolding lists the items from one side, "rc" or "mx", whose stored form contains
// bytes, oldest first and at most limit of them, among lookAt items starting at number
// from. The content of an item serves to find out whose it is, and is never shown on a
// page. next is the number of the first item not looked at, or 0 if there is none.
func (s *operatorView) ItemsHolding(ctx context.Context, side string, bytes []byte, from int64, lookAt, limit int) (list []StoredItem, next int64, err error) {
	err = s.queryRow(ctx, `SELECT seq FROM items WHERE seq >= $1 ORDER BY seq LIMIT 1 OFFSET $2`, from, lookAt).Scan(&next)
	if _, _, err = found(next, err); err != nil {
		return nil, 0, err
	}
	end := next
	if next == 0 {
		end = int64(1) << 62
	}
	holds := `instr(payload, $2) > 0`
	if s.Shared() {
		holds = `position($2::bytea IN payload) > 0`
	}
	rows, err := s.query(ctx, `SELECT id, lane, kind, cause, payload, accepted, attempts, buried FROM items
		WHERE seq >= $5 AND seq < $1 AND substr(lane, 1, 2) = $3 AND `+holds+` ORDER BY seq LIMIT $4`, end, bytes, side, limit, from)
	if err != nil {
		return nil, 0, err
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var it StoredItem
		var accepted, buried int64
		if err := rows.Scan(&it.ID, &it.Lane, &it.Kind, &it.Cause, &it.Payload, &accepted, &it.Attempts, &buried); err != nil {
			return nil, 0, err
		}
		it.Accepted, it.Dead = time.UnixMilli(accepted).UTC(), buried > 0
		list = append(list, it)
	}
	return list, next, rows.Err()
}

// A DeadGroup counts dead letters that have something in common.
type DeadGroup struct {
	Side, Kind, Cause string // Side is the one they come from: "rc" or "mx"
	Count             int
	Fitting           int // those of them whose lane contains the text searched for
}

// deadGroups counts the dead letters by kind and cause, and those of them that come from
// Matrix, each also with only the ones that meet a condition.
const deadGroups = `SELECT kind, cause, COUNT(*), SUM(mx), SUM(fits), SUM(mx * fits) FROM (
	SELECT kind, cause, CASE WHEN substr(lane, 1, 2) = 'mx' THEN 1 ELSE 0 END AS mx, CASE WHEN %s THEN 1 ELSE 0 END AS fits
	FROM items WHERE buried > 0) AS dead GROUP BY kind, cause LIMIT $1`

// DeadGroups counts the dead letters by what they have in common, and those of them whose
// lane contains a text, in one pass in index order, so that nothing is sorted.
func (s *operatorView) DeadGroups(ctx context.Context, lane string) ([]DeadGroup, error) {
	fits, args := `1 = 1`, []any{maxCauses}
	if lane != "" {
		fits = `lane LIKE $2 ESCAPE '!'`
		args = append(args, likeExactly(lane))
	}
	rows, err := s.query(ctx, fmt.Sprintf(deadGroups, fits), args...)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }()
	var out []DeadGroup
	for rows.Next() {
		var both, mx DeadGroup
		if err := rows.Scan(&both.Kind, &both.Cause, &both.Count, &mx.Count, &both.Fitting, &mx.Fitting); err != nil {
			return nil, err
		}
		mx.Side, mx.Kind, mx.Cause = "mx", both.Kind, both.Cause
		rc := DeadGroup{Side: "rc", Kind: both.Kind, Cause: both.Cause, Count: both.Count - mx.Count, Fitting: both.Fitting - mx.Fitting}
		for _, g := range []DeadGroup{mx, rc} {
			if g.Count > 0 {
				out = append(out, g)
			}
		}
	}
	return out, rows.Err()
}

// DeadLettersWhere passes dead letters to each, oldest first, until it returns false:
// those of one kind and with a text in the name of their lane, where these are not "".
func (s *operatorView) DeadLettersWhere(ctx context.Context, kind, lane string, each func(DeadLetter) (more bool)) error {
	query, args := deadColumns+` WHERE buried > 0 AND ($1 = '' OR kind = $1)`, []any{kind}
	if lane != "" { // an index covers this search
		query += ` AND seq IN (SELECT d.seq FROM items d WHERE d.buried > 0 AND d.lane LIKE $2 ESCAPE '!')`
		args = append(args, likeExactly(lane))
	}
	rows, err := s.query(ctx, query+` ORDER BY seq`, args...)
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
