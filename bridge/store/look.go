package store

import (
	"context"
	"errors"
	"strings"
)

// Look returns why the bridge cannot use the database at a PostgreSQL address, or nil. It
// changes nothing, and may be called while bridges run on the database.
func Look(ctx context.Context, dsn string) error {
	o, err := optionsOf(nil)
	if err != nil {
		return err
	}
	on, err := reachPostgres(ctx, dsn, o)
	if err != nil {
		return err
	}
	return errors.Join(explained(on.name, mayMakeTables(ctx, on.holder, on.session[searchPath])), on.close())
}

// Advice splits an error of Open, Move or Look into the problem and what to do about it,
// "" if that is not known.
func Advice(err error) (fact, hint string) {
	if u, ok := errors.AsType[*unusable](err); ok {
		return u.fact, u.hint
	}
	return strings.Join(strings.Fields(err.Error()), " "), ""
}
