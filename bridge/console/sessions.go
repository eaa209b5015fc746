package console

import (
	"crypto/rand"
	"crypto/sha256"
	"sync"
	"time"
)

const (
	// maxSessions bounds how many people are signed in; the one that was idle longest goes.
	maxSessions = 100
	// idleFor and sessionFor end a session.
	idleFor    = 30 * time.Minute
	sessionFor = 12 * time.Hour
	// rolesFor is how long an answer of Rocket.Chat about a role holds.
	rolesFor = 30 * time.Second

	// triesFor, triesOfAddress and triesOfAccount bound how often signing in may fail.
	triesFor       = 5 * time.Minute
	triesOfAddress = 8
	triesOfAccount = 20
	maxTries       = 4096 // how many addresses, and how many accounts, are remembered
)

// A session is one sign-in of an administrator.
type session struct {
	key      [sha256.Size]byte
	userID   string
	username string
	token    string // against forged forms
	began    time.Time
	seen     time.Time
	asked    time.Time // when Rocket.Chat was asked for the role
}

// sessions are all sessions, by the digest of their cookies.
type sessions struct {
	mu  sync.Mutex
	all map[[sha256.Size]byte]session
}

// begin returns the cookie of a new session.
func (ss *sessions) begin(a Account, now time.Time) (cookie string) {
	cookie = rand.Text() + rand.Text()
	key := sha256.Sum256([]byte(cookie))
	ss.mu.Lock()
	defer ss.mu.Unlock()
	if ss.all == nil {
		ss.all = map[[sha256.Size]byte]session{}
	}
	for len(ss.all) >= maxSessions {
		var idle session
		for _, s := range ss.all {
			if idle.seen.IsZero() || s.seen.Before(idle.seen) {
				idle = s
			}
		}
		delete(ss.all, idle.key)
	}
	ss.all[key] = session{key: key, userID: a.ID, username: a.Username, token: rand.Text(), began: now, seen: now, asked: now}
	return cookie
}

// find returns the session of a cookie. It counts as used when it is not the page itself
// that asks.
func (ss *sessions) find(cookie string, now time.Time, used bool) (session, bool) {
	key := sha256.Sum256([]byte(cookie))
	ss.mu.Lock()
	defer ss.mu.Unlock()
	s, ok := ss.all[key]
	if !ok || now.Sub(s.seen) > idleFor || now.Sub(s.began) > sessionFor {
		delete(ss.all, key)
		return session{}, false
	}
	if used {
		s.seen = now
		ss.all[key] = s
	}
	return s, true
}

// confirm notes that Rocket.Chat has confirmed the role.
func (ss *sessions) confirm(s session, now time.Time) {
	ss.mu.Lock()
	defer ss.mu.Unlock()
	if old, ok := ss.all[s.key]; ok {
		old.asked = now
		ss.all[s.key] = old
	}
}

// end ends a session.
func (ss *sessions) end(s session) {
	ss.mu.Lock()
	defer ss.mu.Unlock()
	delete(ss.all, s.key)
}

// tries counts attempts that failed, in a table that does not grow without end.
type tries struct {
	mu   sync.Mutex
	most int
	by   map[string]failures
}

type failures struct {
	n     int
	until time.Time
}

// wait says how long the next attempt has to wait; 0 lets it happen, and counts it.
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

// trim makes room: what is over goes first, and then any.
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
