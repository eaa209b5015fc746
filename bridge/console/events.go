package console

import (
	"fmt"
	"hash/fnv"
	"net/http"
	"time"
)

const (
	// maxLive bounds how many pages are kept up to date at one time.
	maxLive = 32
	// lookEvery is how often a page that is open is compared with what is.
	lookEvery = 3 * time.Second
	// liveFor ends a stream; the browser opens it again, and shows its session.
	liveFor = 10 * time.Minute
)

// events serves GET /_appliance/events: a server-sent event whenever what the pages show
// has changed. It says nothing of what; the page reads itself again.
func (c *Console) events(w http.ResponseWriter, r *http.Request, _ session) {
	last := uint64(0)
	c.stream(w, r, lookEvery, func() {
		now := c.digest(r)
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
		if _, ok, err := c.sessionOf(r); err == nil && !ok {
			fmt.Fprint(w, "event: ended\ndata: \n\n")
			_ = out.Flush()
			return
		}
	}
}

// digest changes when what the pages show has.
func (c *Console) digest(r *http.Request) uint64 {
	h := fnv.New64a()
	state, err := c.state(r.Context())
	fmt.Fprint(h, state, err)
	for d := range 2 {
		fmt.Fprint(h, c.History.Series(d, time.Now(), 1, minutes))
	}
	return h.Sum64() | 1
}
