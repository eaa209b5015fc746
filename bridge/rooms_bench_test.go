package bridge_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"appliance/bridge/mxside/mxtest"
)

// signalled is an instant pair of servers that signals in which room each message came
// out, and counts the requests to either server.
type signalled struct {
	*instant
	url          string
	out          []chan struct{} // by room
	askMX, askRC atomic.Int64
}

func newSignalled(b *testing.B, rooms int) *signalled {
	s := &signalled{instant: newInstant(b)}
	for range rooms {
		s.out = append(s.out, make(chan struct{}, 1000))
	}
	s.first = s.note
	s.url = s.start(b, rooms, 0)
	return s
}

// note sees each request before it is answered; it answers none.
func (s *signalled) note(_ http.ResponseWriter, r *http.Request) bool {
	room := -1
	switch path := r.URL.Path; {
	case strings.Contains(path, "/send/"):
		_, _ = fmt.Sscanf(strings.Split(path, "/")[5], "!room%d:x", &room)
		s.askMX.Add(1)
	case strings.HasPrefix(path, "/_matrix/") && !strings.HasSuffix(path, "/sync"):
		s.askMX.Add(1)
	case strings.HasSuffix(path, "/chat.sendMessage"):
		data, _ := io.ReadAll(r.Body)
		r.Body = io.NopCloser(bytes.NewReader(data))
		var m struct{ Message struct{ RID string } }
		_ = json.Unmarshal(data, &m)
		_, _ = fmt.Sscanf(m.Message.RID, "room%d", &room)
		s.askRC.Add(1)
	case strings.HasPrefix(path, "/api/"):
		s.askRC.Add(1)
	}
	if room >= 0 && room < len(s.out) {
		s.out[room] <- struct{}{}
	}
	return false
}

// steadyRate is how many messages a second steady rooms get together.
const steadyRate = 200

// BenchmarkRooms sends one message at a time in each of 1, 8 and 64 rooms: how many come out
// per second, how long each takes, what processor time it costs, both test servers included,
// and how many requests either server gets. Steady is the same with messages that come at a
// fixed rate, because at full speed in many rooms each message mostly waits for the others.
// Straight is the same without a bridge: a client for each room calls the far server itself.
func BenchmarkRooms(b *testing.B) {
	s := newSignalled(b, busyRooms)
	n := 0
	ways := []struct {
		name string
		one  func(b *testing.B, room, n int)
	}{
		{"to-matrix", func(b *testing.B, room, n int) { s.say(b, room, fmt.Sprint("m", n), "") }},
		{"to-matrix,straight", func(b *testing.B, room, n int) { s.straight(b, s.mx.URL, true, room, n) }},
		{"to-rocketchat", func(b *testing.B, room, n int) { s.push(b, s.url, []string{matrixEvent(room, fmt.Sprint("$e", n))}) }},
		{"to-rocketchat,straight", func(b *testing.B, room, n int) { s.straight(b, s.rc.URL, false, room, n) }},
	}
	for room := range busyRooms { // everybody joins
		n++
		ways[0].one(b, room, n)
		<-s.out[room]
		ways[2].one(b, room, n)
		<-s.out[room]
	}
	settle(b)
	for _, rooms := range []int{1, 8, busyRooms} {
		for _, way := range ways {
			b.Run(fmt.Sprintf("rooms=%d,%s", rooms, way.name), func(b *testing.B) {
				s.load(b, rooms, 0, &n, way.one)
			})
		}
	}
	for _, way := range ways {
		b.Run(fmt.Sprintf("steady,rooms=%d,%s", busyRooms, way.name), func(b *testing.B) {
			s.load(b, busyRooms, steadyRate, &n, way.one)
		})
	}
}

// load sends b.N messages, in each room the next one when the last has come out. With a
// rate, so many messages a second are due, and their delay counts from then.
func (s *signalled) load(b *testing.B, rooms, rate int, n *int, one func(b *testing.B, room, n int)) {
	from, took := *n, make([][]time.Duration, rooms)
	*n += b.N
	used, askMX, askRC := processor(), s.askMX.Load(), s.askRC.Load()
	var next atomic.Int64
	var all sync.WaitGroup
	b.ResetTimer()
	begin := time.Now()
	for room := range rooms {
		all.Go(func() {
			for {
				i := int(next.Add(1))
				if i > b.N {
					return
				}
				start := time.Now()
				if rate > 0 {
					start = begin.Add(time.Duration(i) * time.Second / time.Duration(rate))
					time.Sleep(time.Until(start))
				}
				one(b, room, from+i)
				select {
				case <-s.out[room]:
				case <-time.After(time.Minute):
					b.Errorf("a message in room %d has not come out within a minute", room)
					return
				}
				took[room] = append(took[room], time.Since(start))
			}
		})
	}
	all.Wait()
	b.StopTimer()
	report(b, used)
	b.ReportMetric(float64(s.askMX.Load()-askMX)/float64(b.N), "calls-to-matrix/message")
	b.ReportMetric(float64(s.askRC.Load()-askRC)/float64(b.N), "calls-to-rocketchat/message")
	percentiles(b, slices.Concat(took...))
}

// percentiles reports percentiles of how long each of many things took.
func percentiles(b *testing.B, took []time.Duration) {
	b.Helper()
	slices.Sort(took)
	for _, p := range []int{50, 95, 99} {
		if len(took) > 0 {
			b.ReportMetric(float64(took[len(took)*p/100].Microseconds())/1000, fmt.Sprintf("p%d-ms", p))
		}
	}
}

// straight sends a message to a server without a bridge.
func (s *signalled) straight(b *testing.B, base string, matrix bool, room, n int) {
	method, path, body := http.MethodPost, "/api/v1/chat.sendMessage", fmt.Sprintf(`{"message":{"_id":"s%d","rid":"room%d","msg":"What a person says in a room."}}`, n, room)
	if matrix {
		method, path, body = http.MethodPut, fmt.Sprintf("/_matrix/client/v3/rooms/!room%d:x/send/m.room.message/s%d", room, n), `{"msgtype":"m.text","body":"What a person says in a room."}`
	}
	req, err := http.NewRequestWithContext(b.Context(), method, base+path, strings.NewReader(body))
	if err != nil {
		b.Error(err)
		return
	}
	res, err := straightClient.Do(req)
	if err != nil {
		b.Error(err)
		return
	}
	_, _ = io.Copy(io.Discard, res.Body)
	_ = res.Body.Close()
}

// straightClient keeps a connection for each room.
var straightClient = &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: busyRooms}}

// BenchmarkPortals measures what a message to Matrix costs as portals grow: 10 of them are
// active, whatever their number.
func BenchmarkPortals(b *testing.B) {
	for _, portals := range []int{10, 100, 1000, 10_000} {
		b.Run(fmt.Sprintf("portals=%d", portals), func(b *testing.B) {
			in := newInstant(b)
			in.start(b, portals, 0)
			mxtest.WaitFor(b, "every room to be read", func() bool { return in.synced.Load() >= int64(portals) })
			for room := range 10 {
				in.say(b, room, fmt.Sprint("first", room), "")
			}
			in.wait(b, 10)
			used := processor()
			b.ResetTimer()
			for i := range b.N {
				in.say(b, i%10, fmt.Sprint("m", i), "")
			}
			in.wait(b, b.N)
			report(b, used)
		})
	}
}
