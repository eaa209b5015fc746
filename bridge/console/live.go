package console

import (
	"context"
	"fmt"
	"hash/fnv"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/singleflight"
)

const (
	// maxLive bounds how many pages are kept up to date at the same time.
	maxLive = 32
	// lookEvery is how often an open page is compared with the current state.
	lookEvery = 5 * time.Second
	// liveFor is the lifetime of a stream; the browser reopens it, presenting its session again.
	liveFor = 10 * time.Minute
	// lookFor bounds how long one look may take.
	lookFor = 10 * time.Second
)

// live keeps open pages up to date: it notifies them when what they show has changed, and
// renders each of them only once for all viewers.
type live struct {
	often   time.Duration // between two looks
	gate    *gate
	state   *sharedState
	history *History
	fresh   *refreshes

	open    atomic.Int64 // open streams
	closing chan struct{}
	once    sync.Once

	mu     sync.Mutex
	last   glance
	checks singleflight.Group // role checks, by session
}

func newLive(often time.Duration, g *gate, v *views, s *sharedState, h *History) *live {
	return &live{often: often, gate: g, state: s, history: h, fresh: &refreshes{views: v}, closing: make(chan struct{})}
}

// ended is the final event: the session has ended.
const ended = "event: ended\ndata: \n\n"

// isStream reports whether a request is for the stream of an open page.
func isStream(r *http.Request) bool {
	return r.Method == http.MethodGet && strings.HasSuffix(r.URL.Path, "/events")
}

// refreshing reports whether htmx is reloading an open page, as opposed to a click.
func refreshing(r *http.Request) bool { return r.Header.Get("HX-Request") != "" }

func (l *live) routes(r routes) { r.get("events", l.events) }

// close ends the streams of open pages.
func (l *live) close() { l.once.Do(func() { close(l.closing) }) }

// events serves GET /_appliance/events?of=PAGE: a server-sent event whenever the content
// of that page has changed. It does not say what has changed; the page reloads itself.
func (l *live) events(w http.ResponseWriter, r *http.Request, _ session) {
	of, last := r.URL.Query().Get("of"), uint64(0)
	l.stream(w, r, l.often, func() {
		now := l.look(r.Context()).digest(of)
		if last != 0 && now != last {
			fmt.Fprint(w, "event: changed\ndata: \n\n")
		} else {
			fmt.Fprint(w, ": still here\n\n")
		}
		last = now
	})
}

// stream serves server-sent events, which tell writes at intervals, until the session or
// the console ends.
func (l *live) stream(w http.ResponseWriter, r *http.Request, often time.Duration, tell func()) {
	if l.open.Add(1) > maxLive {
		l.open.Add(-1)
		w.Header().Set("Retry-After", "60")
		http.Error(w, "Too many pages are open; reload this one by hand.", http.StatusServiceUnavailable)
		return
	}
	defer func() {
		if l.open.Add(-1) == 0 {
			l.fresh.forget()
		}
	}()
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
		case <-l.closing:
			return
		case <-end:
			return
		case <-tick.C:
		}
		if !l.goesOn(r) {
			fmt.Fprint(w, ended)
			_ = out.Flush()
			return
		}
	}
}

// A glance is the state of the bridge at one time as all open pages see it. One look serves
// them all, so that ten pages cost the database as much as one, and no pages cost nothing.
type glance struct {
	until    time.Time          // when the next look is due
	sessions map[string]Session // by key
	failed   bool               // the sessions could not be read
	counts   uint64             // changes when any amount has changed, and every minute
	all      uint64             // also changes with anything else that is shown
}

// digest returns a number that changes when the content of a page may have. Deliveries
// alone change only the overview and the servers page, which count them.
func (g glance) digest(of string) uint64 {
	switch of {
	case "queue", "rooms", "people":
		return g.counts
	}
	return g.all
}

// look returns the current glance. It does not end with the page that requested it.
func (l *live) look(ctx context.Context) glance {
	l.mu.Lock()
	defer l.mu.Unlock()
	if time.Now().Before(l.last.until) {
		return l.last
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lookFor)
	defer cancel()
	list, err := l.gate.sessions.All(ctx)
	g := glance{sessions: make(map[string]Session, len(list)), failed: err != nil}
	for _, s := range list {
		g.sessions[s.Key] = s
	}
	state, err := l.state.get(ctx)
	h := fnv.New64a()
	fmt.Fprint(h, state.Waiting, state.Rooms, state.Ghosts, state.Puppets, state.Configured, time.Now().Unix()/60, err)
	g.counts = h.Sum64() | 1
	if host := state.Host; host != nil {
		state.Host = nil // as a pointer it would differ at each look
		fmt.Fprint(h, *host)
	}
	fmt.Fprint(h, state)
	for d := range 2 {
		fmt.Fprint(h, l.history.Series(d, time.Now(), 1, minutes))
	}
	g.all = h.Sum64() | 1
	g.until = time.Now().Add(l.often * 9 / 10) // a page with the same interval gets each glance
	l.last = g
	l.fresh.forget()
	return g
}

// goesOn reports whether the session of an open page is still valid. While that cannot be
// determined, it counts as valid.
func (l *live) goesOn(r *http.Request) bool {
	sent, err := r.Cookie(cookieName)
	if err != nil {
		return false
	}
	g := l.look(r.Context())
	key, now := keyOf(sent.Value), time.Now()
	l.mu.Lock()
	s, ok := g.sessions[key]
	l.mu.Unlock()
	if g.failed || ok && now.Sub(s.Asked) < l.gate.rolesFor && now.Sub(s.Seen) <= idleFor && now.Sub(s.Began) <= sessionFor {
		return true
	}
	goes, _, _ := l.checks.Do(key, func() (any, error) {
		_, ok, err := l.gate.sessionOf(r)
		if ok {
			l.mu.Lock()
			defer l.mu.Unlock()
			s.Asked = now
			g.sessions[key] = s
		}
		return ok || err != nil, nil
	})
	return goes == true
}

// shared serves the reload of an open page from one already rendered for another viewer,
// if there is one. A page that a visitor opens is rendered for them.
func (l *live) shared(next handler) handler {
	return func(w http.ResponseWriter, r *http.Request, s session) {
		if !refreshing(r) {
			next(w, r, s)
			return
		}
		l.mu.Lock()
		if time.Now().After(l.last.until) {
			l.fresh.forget()
		}
		l.mu.Unlock()
		l.fresh.serve(w, r, s, next)
	}
}
