package command

import (
	"context"
	"crypto/sha256"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"appliance/bridge/rocketchat"
	"appliance/bridge/secret"
)

const (
	// rememberedFor is how long Rocket.Chat's verdict on a token is cached: long enough
	// for a person in a hurry, short enough for a token that has expired.
	rememberedFor = 20 * time.Second
	// remembered bounds how many tokens and how many addresses are cached.
	remembered = 4096
	// attemptsFor and maxAttempts limit how often an address may present a wrong token
	// for a user. Rocket.Chat itself allows ten such requests a minute, shared by all
	// behind one address: with each other, or with the bridge if Rocket.Chat does not
	// accept the caller's address from it.
	attemptsFor = time.Minute
	maxAttempts = 4
)

// A busyError means that the caller has to wait.
type busyError struct{ wait time.Duration }

func (e *busyError) Error() string { return fmt.Sprintf("too many requests, wait %d s", e.seconds()) }

func (e *busyError) seconds() int { return max(1, int((e.wait+time.Second-1)/time.Second)) }

// callers caches for a moment which token belongs to whom, so that Rocket.Chat is not
// asked again for each command and not at all for those who guess.
type callers struct {
	mu       sync.Mutex
	tokens   map[[sha256.Size]byte]verdict
	attempts map[string]attempts // by address and user
}

type verdict struct {
	user  rocketchat.User
	known bool
	until time.Time
}

type attempts struct {
	n     int // attempts that failed or have no result yet
	until time.Time
}

// who finds out whose request it is. ok is false if Rocket.Chat does not know the token.
// The error is a *busyError for an address that has guessed too often. The bridge itself
// checks whether the user exists, without a limit, so strangers who know no user use up
// no one's attempts.
func (c *callers) who(ctx context.Context, bridge, client *rocketchat.Client, address string) (user rocketchat.User, ok bool, err error) {
	key := sha256.Sum256([]byte(client.UserID() + "\x00" + client.Token().Reveal()))
	now := time.Now()
	c.mu.Lock()
	if v, found := c.tokens[key]; found && now.Before(v.until) {
		c.mu.Unlock()
		return v.user, v.known, nil
	}
	c.mu.Unlock()
	if _, exists, err := bridge.UserByID(ctx, client.UserID()); err != nil {
		return user, false, err
	} else if exists {
		if user, ok, err = c.ask(ctx, client, address+" "+client.UserID(), now); err != nil {
			return user, false, err
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.tokens == nil {
		c.tokens = map[[sha256.Size]byte]verdict{}
	}
	trim(c.tokens, func(v verdict) bool { return now.After(v.until) })
	c.tokens[key] = verdict{user, ok, now.Add(rememberedFor)}
	return user, ok, nil
}

// ask asks Rocket.Chat whose token it is.
func (c *callers) ask(ctx context.Context, client *rocketchat.Client, by string, now time.Time) (user rocketchat.User, ok bool, err error) {
	c.mu.Lock()
	wait := c.attempt(by, now)
	c.mu.Unlock()
	if wait > 0 {
		return user, false, &busyError{wait}
	}
	user, err = client.Me(ctx)
	if rocketchat.Status(err) == http.StatusUnauthorized {
		return user, false, nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.forgive(by)
	return user, err == nil, err
}

// attempt counts an attempt, or returns how long the next one has to wait.
func (c *callers) attempt(by string, now time.Time) time.Duration {
	a := c.attempts[by]
	if !now.Before(a.until) {
		a = attempts{until: now.Add(attemptsFor)}
	}
	if a.n >= maxAttempts {
		return a.until.Sub(now)
	}
	a.n++
	if c.attempts == nil {
		c.attempts = map[string]attempts{}
	}
	trim(c.attempts, func(a attempts) bool { return now.After(a.until) })
	c.attempts[by] = a
	return 0
}

// forgive takes back an attempt that was not a guess.
func (c *callers) forgive(by string) {
	if a, ok := c.attempts[by]; ok && a.n > 0 {
		a.n--
		c.attempts[by] = a
	}
}

// trim makes room in a full map: old entries go first, then any.
func trim[K comparable, V any](m map[K]V, old func(V) bool) {
	if len(m) < remembered {
		return
	}
	for k, v := range m {
		if old(v) {
			delete(m, k)
		}
	}
	for k := range m {
		if len(m) < remembered {
			return
		}
		delete(m, k)
	}
}

// callerOf returns a client with the credentials of a request, and its address, which the
// web server has set in place of what the visitor claimed.
func callerOf(r *http.Request, bridge *rocketchat.Client) (client *rocketchat.Client, address string) {
	userID, token := r.Header.Get("X-User-Id"), r.Header.Get("X-Auth-Token")
	if userID == "" || token == "" || len(userID)+len(token) > 1024 {
		return nil, ""
	}
	address = r.Header.Get("X-Real-Ip")
	ip, err := netip.ParseAddr(address)
	if err != nil {
		address, _, _ = net.SplitHostPort(r.RemoteAddr)
		ip, _ = netip.ParseAddr(address)
	}
	client = bridge.As(userID, secret.New(token)).From(address)
	if ip.Is6() && !ip.Is4In6() { // the smallest network that a provider assigns
		if half, err := ip.Prefix(64); err == nil {
			address = half.String()
		}
	}
	return client, address
}
