package store

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/binary"
	"fmt"
	"strings"
)

// movedTables are the tables that a move copies: all except those of running processes
// (roles, replicas) and those specific to one database (moves, compatible, goose_db_version).
var movedTables = []string{
	"items", "lanes", "done", "links", "reactions", "media", "edits", "portals", "ghosts", "puppets", "puppet_marks",
	"doubles", "double_claims", "console_sessions", "cursors",
}

// column is a column of a table, and how its values are read.
type column struct {
	name string
	kind columnKind
}

type columnKind byte

const (
	textColumn   columnKind = 't'
	numberColumn columnKind = 'n'
	bytesColumn  columnKind = 'b'
)

// kinds maps the drivers' names of column types.
var kinds = map[string]columnKind{
	"TEXT": textColumn, "BIGINT": numberColumn, "INTEGER": numberColumn, "INT8": numberColumn, "INT4": numberColumn, "BYTEA": bytesColumn,
}

// columnsOf reads the columns of a table.
func columnsOf(ctx context.Context, tx *sql.Tx, table string) ([]column, error) {
	rows, err := tx.QueryContext(ctx, `SELECT * FROM `+table+` LIMIT 0`) //nolint:gosec // one of movedTables
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }()
	types, err := rows.ColumnTypes()
	if err != nil {
		return nil, err
	}
	var out []column
	for _, t := range types {
		kind, ok := kinds[t.DatabaseTypeName()]
		if !ok {
			return nil, fmt.Errorf("the column %s has a type that is not known here: %s", t.Name(), t.DatabaseTypeName())
		}
		out = append(out, column{t.Name(), kind})
	}
	return out, rows.Err()
}

func namesOf(columns []column) []string {
	out := make([]string, len(columns))
	for i, c := range columns {
		out[i] = c.name
	}
	return out
}

// tableRows iterates over the rows of a table.
type tableRows struct {
	*sql.Rows
	columns []column
}

// readTable reads a table. The owners and leases of lanes are left out.
func readTable(ctx context.Context, tx *sql.Tx, table string, columns []column) (*tableRows, error) {
	names := namesOf(columns)
	for i, name := range names {
		if table == "lanes" && name == "owner" {
			names[i] = "'' AS owner"
		}
		if table == "lanes" && name == "held" {
			names[i] = "CAST(0 AS BIGINT) AS held"
		}
	}
	rows, err := tx.QueryContext(ctx, `SELECT `+strings.Join(names, ", ")+` FROM `+table) //nolint:gosec,rowserrcheck // names of our own schema; next checks
	return &tableRows{rows, columns}, err
}

// next returns the next row, or nil at the end.
func (r *tableRows) next() ([]any, error) {
	if !r.Next() {
		return nil, r.Err()
	}
	row, into := make([]any, len(r.columns)), make([]any, len(r.columns))
	for i, c := range r.columns {
		switch c.kind {
		case textColumn:
			into[i] = new(string)
		case numberColumn:
			into[i] = new(int64)
		case bytesColumn:
			into[i] = new([]byte)
		}
	}
	if err := r.Scan(into...); err != nil {
		return nil, err
	}
	for i := range into {
		switch v := into[i].(type) {
		case *string:
			row[i] = *v
		case *int64:
			row[i] = *v
		case *[]byte:
			if *v == nil {
				*v = []byte{}
			}
			row[i] = *v
		}
	}
	return row, nil
}

// clean removes from texts what PostgreSQL cannot store, and returns how many texts it changed.
func clean(columns []column, row []any) (changed int64) {
	for i, c := range columns {
		text, ok := row[i].(string)
		if !ok || c.kind != textColumn {
			continue
		}
		if fit := strings.ReplaceAll(strings.ToValidUTF8(text, "\uFFFD"), "\x00", ""); fit != text {
			row[i] = fit
			changed++
		}
	}
	return changed
}

// digest is the number of rows and a checksum that does not depend on their order: the
// sum of the SHA-256 hashes of the rows.
type digest struct {
	rows, changed int64
	sum           [4]uint64
}

func (d *digest) add(columns []column, row []any) {
	h := sha256.New()
	var size [9]byte
	part := func(kind columnKind, n uint64, data []byte) {
		size[0] = byte(kind)
		binary.BigEndian.PutUint64(size[1:], n)
		h.Write(size[:])
		h.Write(data)
	}
	for i, c := range columns {
		switch v := row[i].(type) {
		case string:
			part(c.kind, uint64(len(v)), []byte(v))
		case int64:
			part(c.kind, uint64(v), nil) //nolint:gosec // every number has another pattern of bits
		case []byte:
			part(c.kind, uint64(len(v)), v)
		}
	}
	sum := h.Sum(nil)
	for i := range d.sum {
		d.sum[i] += binary.BigEndian.Uint64(sum[8*i:])
	}
	d.rows++
}

func (d digest) String() string {
	return fmt.Sprintf("%016x%016x%016x%016x", d.sum[0], d.sum[1], d.sum[2], d.sum[3])
}
