package sim

import (
	"math/rand/v2"
	"net/http"
	"sync"
	"time"
)

// Rude makes a server unpleasant in the ways real ones are (habit 19): it refuses
// with 429 and 502, loses one response in twenty after doing the work, repeats
// events, announces messages again as if a preview had arrived, reorders across
// rooms, and drops websockets. All choices come from one seed. A nil *Rude is polite.
type Rude struct {
	mu  sync.Mutex
	rng *rand.Rand
}

// NewRude returns a Rude whose choices follow from seed.
func NewRude(seed uint64) *Rude { return &Rude{rng: rand.New(rand.NewPCG(seed, 0))} }

// in returns true once in n times.
func (r *Rude) in(n int) bool {
	if r == nil {
		return false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.rng.IntN(n) == 0
}

// refuse refuses some requests before anything is done.
func (r *Rude) refuse(w http.ResponseWriter) bool {
	switch {
	case r.in(50):
		faultAnswer(tooManyREST(1)).write(w)
	case r.in(50):
		w.Header().Set("Content-Type", "text/html")
		w.WriteHeader(http.StatusBadGateway)
		w.Write([]byte("<html><head><title>502 Bad Gateway</title></head></html>\n"))
	default:
		return false
	}
	return true
}

// loses reports whether this response gets lost.
func (r *Rude) loses() bool { return r.in(20) }

// race reads the message of a chat.react some time before it is changed, as the
// real server does without a lock: of two concurrent reactions one can be lost
// (facts 4.3, 12.6.8).
func (e *Engine) race(c *call) {
	if e.opts.Rude == nil {
		return
	}
	e.look(func() { c.seen = e.message(c.body.str("messageId")) })
	select {
	case <-time.After(e.opts.Rude.pause()):
	case <-c.r.Context().Done():
	}
}

// pause returns up to five milliseconds.
func (r *Rude) pause() time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	return time.Duration(r.rng.IntN(5000)) * time.Microsecond
}

// A mixer sends frames; a rude one repeats, delays and drops. It is used by one
// goroutine.
type mixer struct {
	rude *Rude
	held []delivery // of one lane, waiting until other lanes have overtaken it
}

func newMixer(r *Rude) *mixer { return &mixer{rude: r} }

// pass sends f, or holds it back.
func (m *mixer) pass(f delivery) {
	if m.rude == nil || f.lane == "" {
		f.conn.send(f)
		return
	}
	switch holding := len(m.held) > 0; {
	case holding && m.held[0].lane == f.lane && !f.loose:
		m.held = append(m.held, f) // keeps the order within a room
	case !holding && m.rude.in(4):
		m.held = append(m.held, f)
	default:
		m.deliver(f)
		if holding && m.rude.in(2) {
			m.flush()
		}
	}
}

// flush sends the frames that were held back and reports whether there were any.
func (m *mixer) flush() bool {
	held := m.held
	m.held = nil
	for _, f := range held {
		m.deliver(f)
	}
	return len(held) > 0
}

func (m *mixer) deliver(f delivery) {
	if m.rude.in(200) {
		f.conn.drop() // and with it everything that was on its way
		return
	}
	f.conn.send(f)
	if m.rude.in(10) {
		f.conn.send(f)
	}
}
