package sim

import (
	"context"
	"sync"
)

// A delivery is one frame on its way to one connection.
type delivery struct {
	lane  string // order is kept within a lane
	loose bool   // not even there: __my_messages__ (facts 7.3)
	conn  *conn
	frame []byte
}

// A dispatcher sends frames in the order they were queued, each only once the
// changes it announces are on disk.
type dispatcher struct {
	journal *journal
	rude    *Rude

	mu     sync.Mutex
	cond   *sync.Cond
	queue  []batch
	closed bool
}

type batch struct {
	seq    uint64
	frames []delivery
}

func newDispatcher(j *journal, r *Rude) *dispatcher {
	d := &dispatcher{journal: j, rude: r}
	d.cond = sync.NewCond(&d.mu)
	return d
}

func (d *dispatcher) push(seq uint64, frames []delivery) {
	if len(frames) == 0 {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.queue = append(d.queue, batch{seq, frames})
	d.cond.Broadcast()
}

// run sends until close.
func (d *dispatcher) run(ctx context.Context) {
	m := newMixer(d.rude)
	for {
		b, ok := d.next(m)
		if !ok {
			return
		}
		if d.journal.wait(b.seq) != nil {
			continue // never sent: it is not on disk
		}
		for _, f := range b.frames {
			m.pass(f)
		}
		if ctx.Err() != nil {
			return
		}
	}
}

// next waits for a batch; the mixer releases the frames it holds back when there is
// nothing else to do.
func (d *dispatcher) next(m *mixer) (batch, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for len(d.queue) == 0 && !d.closed {
		if m.flush() {
			continue
		}
		d.cond.Wait()
	}
	if len(d.queue) == 0 {
		return batch{}, false
	}
	b := d.queue[0]
	d.queue = d.queue[1:]
	return b, true
}

func (d *dispatcher) close() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.closed = true
	d.queue = nil
	d.cond.Broadcast()
}
