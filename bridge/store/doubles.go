package store

import (
	"context"
	"errors"
	"fmt"
	"time"

	"appliance/bridge/ids"
	"appliance/bridge/relay/model"
	"appliance/bridge/secret"
)

// doubleTable has the Matrix users' own accounts, and the claims to such accounts.
type doubleTable struct {
	*database
	seen recall[model.Double]
}

const doubleColumns = `SELECT mx_user, rc_user, username, token, since FROM doubles`

func scanDouble(row scanner) (d model.Double, err error) {
	var token string
	var since int64
	err = row.Scan(&d.MXUser, &d.RCUser, &d.Username, &token, &since)
	d.Token, d.Since = secret.New(token), time.UnixMilli(since).UTC()
	return d, err
}

// DoubleByMX implements relay.Store.
func (s *doubleTable) DoubleByMX(ctx context.Context, user ids.MXUser) (model.Double, bool, error) {
	return s.seen.get("mx_user", string(user), func() (model.Double, error) {
		return scanDouble(s.queryRow(ctx, doubleColumns+` WHERE mx_user = $1`, user))
	})
}

// DoubleByRC implements relay.Store.
func (s *doubleTable) DoubleByRC(ctx context.Context, user ids.RCUser) (model.Double, bool, error) {
	return s.seen.get("rc_user", string(user), func() (model.Double, error) {
		return scanDouble(s.queryRow(ctx, doubleColumns+` WHERE rc_user = $1`, user))
	})
}

// Doubles returns the newest doubles, at most limit of them.
func (s *doubleTable) Doubles(ctx context.Context, limit int) ([]model.Double, error) {
	rows, err := s.query(ctx, doubleColumns+` ORDER BY since DESC, mx_user LIMIT $1`, limit)
	if err != nil {
		return nil, err
	}
	return all(rows, scanDouble)
}

// RenewDouble implements relay.Store.
func (s *doubleTable) RenewDouble(ctx context.Context, d model.Double) error {
	_, err := s.exec(ctx, `UPDATE doubles SET token = $1, username = $2 WHERE mx_user = $3 AND rc_user = $4`, d.Token.Reveal(), d.Username, d.MXUser, d.RCUser)
	s.seen.forget()
	return err
}

// DropDouble implements relay.Store.
func (s *doubleTable) DropDouble(ctx context.Context, d model.Double) error {
	_, err := s.exec(ctx, `DELETE FROM doubles WHERE mx_user = $1 AND rc_user = $2`, d.MXUser, d.RCUser)
	s.seen.forget()
	return err
}

// PutClaim implements relay.Store.
func (s *doubleTable) PutClaim(ctx context.Context, c model.Claim) error {
	_, err := s.exec(ctx, `INSERT INTO double_claims (rc_user, username, mx_user, digest, expires) VALUES ($1, $2, $3, $4, $5)
		ON CONFLICT (rc_user) DO UPDATE SET username = excluded.username, mx_user = excluded.mx_user, digest = excluded.digest, expires = excluded.expires, attempts = 0`,
		c.RCUser, c.Username, c.MXUser, c.Digest, c.Expires.UnixMilli())
	return err
}

// ClaimOf implements relay.Store. It also deletes expired claims.
func (s *doubleTable) ClaimOf(ctx context.Context, user ids.MXUser, digest string, now time.Time, most int) (c model.Claim, ok bool, err error) {
	if _, err := s.exec(ctx, `DELETE FROM double_claims WHERE expires <= $1`, now.UnixMilli()); err != nil {
		return c, false, err
	}
	var expires int64
	c, ok, err = found(c, s.queryRow(ctx, `SELECT rc_user, username, mx_user, digest, expires FROM double_claims WHERE mx_user = $1 AND digest = $2`, user, digest).
		Scan(&c.RCUser, &c.Username, &c.MXUser, &c.Digest, &expires))
	if err != nil || ok {
		c.Expires = time.UnixMilli(expires).UTC()
		return c, ok, err
	}
	if _, err := s.exec(ctx, `UPDATE double_claims SET attempts = attempts + 1 WHERE mx_user = $1`, user); err != nil {
		return c, false, err
	}
	_, err = s.exec(ctx, `DELETE FROM double_claims WHERE mx_user = $1 AND attempts >= $2`, user, most)
	return c, false, err
}

// DropClaim implements relay.Store.
func (s *doubleTable) DropClaim(ctx context.Context, user ids.RCUser) error {
	_, err := s.exec(ctx, `DELETE FROM double_claims WHERE rc_user = $1`, user)
	return err
}

// errClaimed: the claim was already used, or one of the two sides already has a double.
var errClaimed = errors.New("the claim was used, or one of the two has a double already")

// PutDouble implements relay.Store.
func (s *doubleTable) PutDouble(ctx context.Context, d model.Double, c model.Claim) (bool, error) {
	defer s.seen.forget()
	ctx, cancel := s.bounded(ctx)
	defer cancel()
	tx, err := s.db.BeginTx(ctx, nil)
	if err != nil {
		return false, err
	}
	defer func() { _ = tx.Rollback() }() // does nothing after Commit
	one := func(query string, args ...any) error {
		res, err := tx.ExecContext(ctx, query, args...)
		if err != nil {
			return err
		}
		if n, err := res.RowsAffected(); err != nil || n != 1 {
			return errors.Join(errClaimed, err)
		}
		return nil
	}
	err = one(`DELETE FROM double_claims WHERE rc_user = $1 AND mx_user = $2 AND digest = $3`, c.RCUser, c.MXUser, c.Digest)
	if err == nil {
		err = one(`INSERT INTO doubles (mx_user, rc_user, username, token, since) VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING`,
			d.MXUser, d.RCUser, d.Username, d.Token.Reveal(), d.Since.UnixMilli())
	}
	if errors.Is(err, errClaimed) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("store the double of %s: %w", d.MXUser, err)
	}
	return true, tx.Commit()
}
