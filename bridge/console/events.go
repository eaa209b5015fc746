package console

import (
	"context"
	"fmt"
	"hash/fnv"
	"net/http"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"
)

const (
	// maxLive bounds how many pages are kept up to date at one time.
	maxLive = 32
	// lookEvery is how often a page that is open is compared with what is.
	lookEvery = 5 * time.Second
	// liveFor ends a stream; the browser opens it again, and shows its session.
	liveFor = 10 * time.Minute
)

// events serves GET /_appliance/events: a server-sent event whenever what the pages show
// has changed. It says nothing of what; the page reads itself again.
func (c *Console) events(w http.ResponseWriter, r *http.Request, _ session) {
	last := uint64(0)
	c.stream(w, r, c.LookEvery, func() {
		now, _ := c.look(r.Context())
		if last != 0 && now != last {
			fmt.Fprint(w, "event: changed\ndata: \n\n")
		} else {
			fmt.Fprint(w, ": still here\n\n")
		}
		last = now
	})
}

// stream serves server-sent events, which tell writes once in a while, until the session
// or the console ends.
func (c *Console) stream(w http.ResponseWriter, r *http.Request, often time.Duration, tell func()) {
	if c.live.Add(1) > maxLive {
		c.live.Add(-1)
		w.Header().Set("Retry-After", "60")
		http.Error(w, "Too many pages are open; reload this one by hand.", http.StatusServiceUnavailable)
		return
	}
	defer c.live.Add(-1)
	out := http.NewResponseController(w)
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("X-Accel-Buffering", "no")
	fmt.Fprint(w, "retry: 5000\n\n")
	if out.Flush() != nil {
		return
	}
	end, tick := time.After(liveFor), time.NewTicker(often)
	defer tick.Stop()
	for {
		tell()
		if out.Flush() != nil {
			return
		}
		select {
		case <-r.Context().Done():
			return
		case <-c.closing:
			return
		case <-end:
			return
		case <-tick.C:
		}
		if !c.goesOn(r) {
			fmt.Fprint(w, "event: ended\ndata: \n\n")
			_ = out.Flush()
			return
		}
	}
}

// A glance is what all open pages see of the bridge at one time. One look serves them all, so
// that ten pages cost the database what one costs, and none costs nothing.
type glance struct {
	mu       sync.Mutex
	until    time.Time
	digest   uint64             // changes when what the pages show has
	sessions map[string]Session // by key
	failed   bool               // the sessions could not be read

	checks singleflight.Group // of roles, by session
}

// lookFor bounds how long one look may take.
const lookFor = 10 * time.Second

// look returns the glance of now. It is not given up with the page that asks for it.
func (c *Console) look(ctx context.Context) (digest uint64, sessions map[string]Session) {
	g := &c.glance
	g.mu.Lock()
	defer g.mu.Unlock()
	if time.Now().Before(g.until) {
		return g.digest, g.sessions
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lookFor)
	defer cancel()
	list, err := c.Sessions.All(ctx)
	g.sessions, g.failed = make(map[string]Session, len(list)), err != nil
	for _, s := range list {
		g.sessions[s.Key] = s
	}
	g.digest = c.digest(ctx)
	g.until = time.Now().Add(c.LookEvery * 9 / 10) // a page that looks as often sees each one
	return g.digest, g.sessions
}

// goesOn reports whether the session of an open page is one still. While that cannot be
// said it goes on.
func (c *Console) goesOn(r *http.Request) bool {
	sent, err := r.Cookie(cookieName)
	if err != nil {
		return false
	}
	_, sessions := c.look(r.Context())
	key, now := keyOf(sent.Value), time.Now()
	c.glance.mu.Lock()
	s, ok := sessions[key]
	failed := c.glance.failed
	c.glance.mu.Unlock()
	if failed || ok && now.Sub(s.Asked) < c.RolesFor && now.Sub(s.Seen) <= idleFor && now.Sub(s.Began) <= sessionFor {
		return true
	}
	goes, _, _ := c.glance.checks.Do(key, func() (any, error) {
		_, ok, err := c.sessionOf(r)
		if ok {
			c.glance.mu.Lock()
			defer c.glance.mu.Unlock()
			s.Asked = now
			c.glance.sessions[key] = s
		}
		return ok || err != nil, nil
	})
	return goes == true
}

// digest changes when what the pages show has.
func (c *Console) digest(ctx context.Context) uint64 {
	h := fnv.New64a()
	state, err := c.state(ctx)
	fmt.Fprint(h, state, err)
	for d := range 2 {
		fmt.Fprint(h, c.History.Series(d, time.Now(), 1, minutes))
	}
	return h.Sum64() | 1
}
