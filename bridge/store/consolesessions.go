package store

import (
	"context"
	"time"
)

// consoleTable has the console sessions.
type consoleTable struct{ *database }

// A ConsoleSession is a sign-in to the console.
type ConsoleSession struct {
	Key                string // the digest of its cookie
	UserID, Username   string // in Rocket.Chat
	Began, Seen, Asked time.Time
}

// BeginConsoleSession stores a session. It removes sessions that began before beganAfter or
// were last used before seenAfter, and the longest idle ones if there are more than most.
func (s *consoleTable) BeginConsoleSession(ctx context.Context, cs ConsoleSession, beganAfter, seenAfter time.Time, most int) error {
	for _, q := range []struct {
		text string
		args []any
	}{
		{`DELETE FROM console_sessions WHERE began < $1 OR seen < $2`, []any{beganAfter.UnixMilli(), seenAfter.UnixMilli()}},
		{`INSERT INTO console_sessions (key, user_id, username, began, seen, asked) VALUES ($1, $2, $3, $4, $5, $6)`,
			[]any{cs.Key, cs.UserID, cs.Username, cs.Began.UnixMilli(), cs.Seen.UnixMilli(), cs.Asked.UnixMilli()}},
		{`DELETE FROM console_sessions WHERE key NOT IN (SELECT key FROM console_sessions ORDER BY seen DESC, began DESC LIMIT $1)`, []any{most}},
	} {
		if _, err := s.exec(ctx, q.text, q.args...); err != nil {
			return err
		}
	}
	return nil
}

const sessionColumns = `SELECT key, user_id, username, began, seen, asked FROM console_sessions`

func scanSession(row scanner) (cs ConsoleSession, err error) {
	var began, seen, asked int64
	err = row.Scan(&cs.Key, &cs.UserID, &cs.Username, &began, &seen, &asked)
	cs.Began, cs.Seen, cs.Asked = time.UnixMilli(began), time.UnixMilli(seen), time.UnixMilli(asked)
	return cs, err
}

// ConsoleSession returns the session with a key.
func (s *consoleTable) ConsoleSession(ctx context.Context, key string) (cs ConsoleSession, ok bool, err error) {
	return found(scanSession(s.queryRow(ctx, sessionColumns+` WHERE key = $1`, key)))
}

// ConsoleSessions returns all sessions; BeginConsoleSession keeps them few.
func (s *consoleTable) ConsoleSessions(ctx context.Context) ([]ConsoleSession, error) {
	rows, err := s.query(ctx, sessionColumns)
	if err != nil {
		return nil, err
	}
	return all(rows, scanSession)
}

// ConsoleSessionSeen records when a session was used, and ConsoleSessionAsked when
// Rocket.Chat confirmed the user's role.
func (s *consoleTable) ConsoleSessionSeen(ctx context.Context, key string, at time.Time) error {
	_, err := s.exec(ctx, `UPDATE console_sessions SET seen = $1 WHERE key = $2`, at.UnixMilli(), key)
	return err
}

// ConsoleSessionAsked is documented at ConsoleSessionSeen.
func (s *consoleTable) ConsoleSessionAsked(ctx context.Context, key string, at time.Time) error {
	_, err := s.exec(ctx, `UPDATE console_sessions SET asked = $1 WHERE key = $2`, at.UnixMilli(), key)
	return err
}

// EndConsoleSession removes a session.
func (s *consoleTable) EndConsoleSession(ctx context.Context, key string) error {
	_, err := s.exec(ctx, `DELETE FROM console_sessions WHERE key = $1`, key)
	return err
}
