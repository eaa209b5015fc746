package console

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"sync"
	"time"
)

const (
	// maxSessions bounds how many people are signed in; beyond it, the longest idle session ends.
	maxSessions = 100
	// idleFor and sessionFor limit a session's idle time and its total time.
	idleFor    = 30 * time.Minute
	sessionFor = 12 * time.Hour
	// seenEvery is how precisely the last use of a session is recorded.
	seenEvery = time.Minute
	// rolesFor is how long a role confirmed by Rocket.Chat is trusted.
	rolesFor = 30 * time.Second

	// triesFor, triesOfAddress and triesOfAccount limit failed sign-ins.
	triesFor       = 5 * time.Minute
	triesOfAddress = 8
	triesOfAccount = 20
	maxTries       = 4096 // maximum number of addresses, and of accounts, remembered
)

// A Session is one sign-in of an administrator, as stored.
type Session struct {
	Key                string // the digest of its cookie
	UserID, Username   string
	Began, Seen, Asked time.Time // Asked is when Rocket.Chat was last asked about the role
}

// Sessions stores the sessions, for all processes that share the console.
type Sessions interface {
	// Begin stores a session. It drops sessions that began before beganAfter or were last
	// seen before seenAfter, and the longest idle ones if there are more than most.
	Begin(ctx context.Context, s Session, beganAfter, seenAfter time.Time, most int) error
	Find(ctx context.Context, key string) (s Session, ok bool, err error)
	// All returns all sessions; there are only few.
	All(ctx context.Context) ([]Session, error)
	Seen(ctx context.Context, key string, at time.Time) error
	Asked(ctx context.Context, key string, at time.Time) error
	End(ctx context.Context, key string) error
}

// session is the session of a request.
type session struct {
	Session
	userID, username string
	token            string // protects against forged forms
}

// keyOf returns the key under which a cookie's session is stored: reading the database
// does not reveal the cookie.
func keyOf(cookie string) string {
	sum := sha256.Sum256([]byte(cookie))
	return hex.EncodeToString(sum[:])
}

// tokenOf returns the token in the forms of a session. It is derived from the cookie,
// which no other site knows.
func tokenOf(cookie string) string {
	mac := hmac.New(sha256.New, []byte(cookie))
	mac.Write([]byte("forms of the console"))
	return hex.EncodeToString(mac.Sum(nil)[:16])
}

// begin starts a session and returns its cookie.
func (g *gate) begin(ctx context.Context, a Account, now time.Time) (cookie string, err error) {
	cookie = rand.Text() + rand.Text()
	s := Session{Key: keyOf(cookie), UserID: a.ID, Username: a.Username, Began: now, Seen: now, Asked: now}
	return cookie, g.sessions.Begin(ctx, s, now.Add(-sessionFor), now.Add(-idleFor), maxSessions)
}

// find returns the session of a cookie. used is false for requests that a page makes by
// itself.
func (g *gate) find(ctx context.Context, cookie string, now time.Time, used bool) (session, bool, error) {
	s, ok, err := g.sessions.Find(ctx, keyOf(cookie))
	if err != nil || !ok {
		return session{}, false, err
	}
	if now.Sub(s.Seen) > idleFor || now.Sub(s.Began) > sessionFor {
		return session{}, false, g.sessions.End(ctx, s.Key)
	}
	if used && now.Sub(s.Seen) > seenEvery {
		if err := g.sessions.Seen(ctx, s.Key, now); err != nil {
			return session{}, false, err
		}
	}
	return session{Session: s, userID: s.UserID, username: s.Username, token: tokenOf(cookie)}, true, nil
}

// tries counts failed attempts, in a table of bounded size.
type tries struct {
	mu   sync.Mutex
	most int
	by   map[string]failures
}

type failures struct {
	n     int
	until time.Time
}

// wait returns how long the next attempt has to wait; at 0 it may proceed and is counted.
func (t *tries) wait(who string, now time.Time) time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	f := t.by[who]
	if !now.Before(f.until) {
		f = failures{until: now.Add(triesFor)}
	}
	if f.n >= t.most {
		return f.until.Sub(now)
	}
	f.n++
	if t.by == nil {
		t.by = map[string]failures{}
	}
	t.trim(now)
	t.by[who] = f
	return 0
}

// trim makes room: expired entries go first, then any.
func (t *tries) trim(now time.Time) {
	if len(t.by) < maxTries {
		return
	}
	for who, f := range t.by {
		if now.After(f.until) {
			delete(t.by, who)
		}
	}
	for who := range t.by {
		if len(t.by) < maxTries {
			return
		}
		delete(t.by, who)
	}
}

// forgive takes back an attempt that did not fail.
func (t *tries) forgive(who string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if f, ok := t.by[who]; ok && f.n > 0 {
		f.n--
		t.by[who] = f
	}
}
