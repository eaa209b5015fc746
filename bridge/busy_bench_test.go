package bridge_test

import (
	"fmt"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"appliance/bridge/mxside/mxtest"
)

// busyFor is how long people talk in BenchmarkBusy.
const busyFor = 30 * time.Second

// BenchmarkBusy measures the resident memory of a bridge that is a process of its own,
// with 64 rooms: some seconds after its start, and the peak while each room carries one
// message at a time in each direction for half a minute.
func BenchmarkBusy(b *testing.B) {
	program := buildProgram(b)
	b.Run(fmt.Sprintf("rooms=%d", busyRooms), func(b *testing.B) {
		for range b.N {
			s, dir := &signalled{instant: newInstant(b)}, b.TempDir()
			for range busyRooms {
				s.out = append(s.out, make(chan struct{}, 1000))
			}
			s.first = s.note
			filled(b, filepath.Join(dir, "bridge.db"), busyRooms, busyRooms, 0)
			var file string
			file, s.url = s.configure(b, dir, mxtest.FreePort(b))
			pid, stop := runProgram(b, program, file, s.url, asInstalled)
			mxtest.WaitFor(b, "every room to be read", func() bool {
				return s.subscribed.Load() >= 3*busyRooms && s.synced.Load() >= busyRooms
			})
			idle := settledMemory(b, pid)
			most := mostMemory(b, pid)
			rate := s.talk(b, busyFor)
			busy := most()
			stop()
			b.ReportMetric(idle.all, "idle-MB")
			b.ReportMetric(idle.file, "idle-of-files-MB")
			b.ReportMetric(busy.all, "busy-MB")
			b.ReportMetric(busy.file, "busy-of-files-MB")
			b.ReportMetric(rate, "messages/s")
		}
	})
}

// talk sends one message in each direction in each room, over and over, and returns the number
// of messages per second.
func (s *signalled) talk(b *testing.B, length time.Duration) (rate float64) {
	var n atomic.Int64
	var all sync.WaitGroup
	start := time.Now()
	for room := range s.out {
		all.Go(func() {
			for time.Since(start) < length {
				for _, say := range []func(id string){
					func(id string) { s.say(b, room, id, "") },
					func(id string) { s.push(b, s.url, []string{matrixEvent(room, "$"+id)}) },
				} {
					say(fmt.Sprint("busy", n.Add(1)))
					select {
					case <-s.out[room]:
					case <-time.After(time.Minute):
						b.Errorf("a message in room %d has not come out within a minute", room)
						return
					}
				}
			}
		})
	}
	all.Wait()
	return float64(n.Load()) / time.Since(start).Seconds()
}
