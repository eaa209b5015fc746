package console

import (
	"sync"
	"time"
)

// minutes is how many minutes a History keeps.
const minutes = 24 * 60

// History records the deliveries of the last day, minute by minute. It takes 50 kB.
// Methods are safe for concurrent use; the zero value is ready.
type History struct {
	mu   sync.Mutex
	all  [minutes]minute
	last [2]time.Time // time of the last delivery
}

type minute struct {
	at    int64 // in minutes since 1970
	n     [2]int32
	delay [2]float32 // sum, in seconds
}

// Delivered records a delivery in one direction.
func (h *History) Delivered(direction int, now time.Time, delay time.Duration) {
	at := now.Unix() / 60
	h.mu.Lock()
	defer h.mu.Unlock()
	m := &h.all[at%minutes]
	if m.at != at {
		*m = minute{at: at}
	}
	m.n[direction]++
	m.delay[direction] += float32(delay.Seconds())
	h.last[direction] = now
}

// A Series is the past of one direction: the number of messages and their mean delay in
// seconds, for each of several steps, oldest first.
type Series struct {
	Last    time.Time
	Total   int64
	Numbers []int64
	Delays  []float64
}

// Series returns the past of a direction as a number of steps, of step minutes each.
func (h *History) Series(direction int, now time.Time, steps, step int64) Series {
	h.mu.Lock()
	defer h.mu.Unlock()
	s := Series{Last: h.last[direction], Numbers: make([]int64, steps), Delays: make([]float64, steps)}
	current := now.Unix() / 60
	for back := range min(steps*step, minutes) {
		m := h.all[(current-back)%minutes]
		if m.at != current-back {
			continue
		}
		at := steps - 1 - back/step
		s.Numbers[at] += int64(m.n[direction])
		s.Delays[at] += float64(m.delay[direction])
		s.Total += int64(m.n[direction])
	}
	for i, n := range s.Numbers {
		if n > 0 {
			s.Delays[i] /= float64(n)
		}
	}
	return s
}
