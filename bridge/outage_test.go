package bridge_test

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	_ "modernc.org/sqlite" // the driver "sqlite"

	"appliance/bridge"
	"appliance/bridge/mustrun"
	"appliance/bridge/mxside/mxtest"
)

// far is the side of an instant pair of servers that accepts no messages for a while. It takes
// some time for each message, one at a time in each room, and records what it accepted.
type far struct {
	*instant
	takes   time.Duration
	away    atomic.Bool
	refused atomic.Int64
	taken   atomic.Int64
	notices atomic.Int64
	mu      sync.Mutex
	busy    map[string]*sync.Mutex
	got     map[string][]string // texts, by room
	known   map[string]bool     // IDs of accepted messages: a repeat after a lost response counts once
}

func newFar(tb testing.TB) *far {
	f := &far{instant: newInstant(tb), takes: 10 * time.Millisecond, busy: map[string]*sync.Mutex{}, got: map[string][]string{}, known: map[string]bool{}}
	f.first = f.take
	return f
}

// take answers a request that brings a message, or a notice from the bridge itself.
func (f *far) take(w http.ResponseWriter, r *http.Request) bool {
	var room, text, id string
	switch path := r.URL.Path; {
	case strings.Contains(path, "/send/m.room.message/"):
		var c struct{ MsgType, Body string }
		if json.NewDecoder(r.Body).Decode(&c) != nil || c.MsgType == "m.notice" {
			f.notices.Add(1)
		}
		room, text, id = strings.Split(path, "/")[5], c.Body, path
	case strings.Contains(path, "/send/"): // the bridge checks whether this is shown
		parts := strings.Split(path, "/")
		id := fmt.Sprintf("$probe%d", f.toMX.Add(1))
		f.keep([]string{fmt.Sprintf(`{"type":%q,"event_id":%q,"room_id":%q,"sender":%q,"origin_server_ts":1,"content":{}}`, parts[7], id, parts[5], r.URL.Query().Get("user_id"))})
		_, _ = io.Copy(io.Discard, r.Body)
		_, _ = fmt.Fprintf(w, `{"event_id":%q}`, id)
		return true
	case strings.HasSuffix(path, "/chat.sendMessage"), strings.HasSuffix(path, "/chat.postMessage"):
		var m struct {
			Message struct {
				ID       string `json:"_id"`
				RID, Msg string
			}
		}
		if json.NewDecoder(r.Body).Decode(&m) != nil || strings.HasSuffix(path, "/chat.postMessage") {
			f.notices.Add(1)
		}
		room, text, id = m.Message.RID, m.Message.Msg, m.Message.ID
	default:
		return false
	}
	waits := strings.HasPrefix(text, "waits ")
	if waits && f.away.Load() {
		f.refused.Add(1)
		http.Error(w, `{"errcode":"M_UNKNOWN","error":"away"}`, http.StatusBadGateway)
		return true
	}
	f.mu.Lock()
	busy := f.busy[room]
	if busy == nil {
		busy = &sync.Mutex{}
		f.busy[room] = busy
	}
	f.mu.Unlock()
	busy.Lock()
	<-time.After(f.takes)
	busy.Unlock()
	f.mu.Lock()
	again := id != "" && f.known[id]
	if f.known[id] = true; !again {
		f.got[room] = append(f.got[room], text)
	}
	f.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	_, _ = fmt.Fprintf(w, `{"event_id":"$sent%d","success":true,"message":{"_id":"x","rid":"r","msg":"","u":{"_id":"u","username":"u"}}}`, f.toMX.Add(1))
	if waits && !again {
		f.taken.Add(1)
	}
	return true
}

// ownRate returns how many messages per second this side accepts from one client per room.
func (f *far) ownRate(tb testing.TB, rooms, each int) float64 {
	tb.Helper()
	start := time.Now()
	var all sync.WaitGroup
	for room := range rooms {
		all.Go(func() {
			for n := range each {
				req, _ := http.NewRequestWithContext(tb.Context(), http.MethodPut, fmt.Sprintf("%s/_matrix/client/v3/rooms/own%d/send/m.room.message/%d", f.mx.URL, room, n), strings.NewReader(`{"msgtype":"m.text","body":"straight"}`))
				res, err := http.DefaultClient.Do(req)
				if err != nil {
					tb.Error(err)
					return
				}
				_, _ = io.Copy(io.Discard, res.Body)
				_ = res.Body.Close()
			}
		})
	}
	all.Wait()
	return float64(rooms*each) / time.Since(start).Seconds()
}

// outage is a period in which one side accepts nothing.
type outage struct {
	*far
	tb        testing.TB
	file, url string
	stop      func()
	rooms     int
	toMatrix  bool // the backlog comes from Rocket.Chat
}

func newOutage(tb testing.TB, rooms int, toMatrix bool) *outage {
	tb.Helper()
	dir := tb.TempDir()
	filled(tb, filepath.Join(dir, "bridge.db"), rooms, rooms, 0)
	o := &outage{far: newFar(tb), tb: tb, rooms: rooms, toMatrix: toMatrix}
	o.file, o.url = o.configure(tb, dir, mxtest.FreePort(tb))
	o.run()
	return o
}

// run starts the bridge.
func (o *outage) run() {
	o.tb.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	want := o.subscribed.Load() + 3*int64(o.rooms)
	go func() {
		log := slog.New(slog.NewTextHandler(o.tb.Output(), &slog.HandlerOptions{Level: slog.LevelError}))
		done <- bridge.Run(ctx, bridge.Options{ConfigFile: o.file, Log: log, Version: "test"})
	}()
	o.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			o.tb.Error(err)
		}
	})
	o.tb.Cleanup(o.stop)
	waitUntil(o.tb, "the bridge to listen", time.Minute, func() bool { return o.subscribed.Load() >= want })
}

// speak sends numbered messages in each room, in the given direction.
func (o *outage) speak(word string, from, to int, toMatrix bool) {
	o.tb.Helper()
	var events []string
	for n := from; n < to; n++ {
		for room := range o.rooms {
			text := fmt.Sprintf("%s %06d", word, n)
			if toMatrix {
				o.frame(o.tb, room, fmt.Sprint(word, room, "-", n), text, "")
				continue
			}
			events = append(events, strings.NewReplacer("What a person says in a room, with some marks.", text, `,"format":"org.matrix.custom.html",`, ``,
				`"formatted_body":"What a person says in a room, with <em>some</em> marks."`, ``).Replace(matrixEvent(room, fmt.Sprint("$", word, room, "-", n))))
			if len(events) == 100 {
				o.push(o.tb, o.url, events)
				events = nil
			}
		}
	}
	if len(events) > 0 {
		o.push(o.tb, o.url, events)
	}
}

// said returns what one side accepted that begins with a word, by room.
func (o *outage) said(word string) map[string][]string {
	o.mu.Lock()
	defer o.mu.Unlock()
	out := map[string][]string{}
	for room, texts := range o.got {
		for _, text := range texts {
			if strings.HasPrefix(text, word+" ") {
				out[room] = append(out[room], text)
			}
		}
	}
	return out
}

// complete checks that every message with a word arrived in each room, once and in order.
func (o *outage) complete(word string, each int) {
	o.tb.Helper()
	all := o.said(word)
	if len(all) != o.rooms {
		o.tb.Errorf("%q arrived in %d rooms of %d", word, len(all), o.rooms)
	}
	for room, texts := range all {
		for n := range max(each, len(texts)) {
			if n >= len(texts) || n >= each || texts[n] != fmt.Sprintf("%s %06d", word, n) {
				o.tb.Errorf("%s: %d of %d; the first that is wrong is number %d: %s", room, len(texts), each, n, around(texts, n))
				break
			}
		}
	}
}

// pass lets time pass for what is stored: the bridge is stopped, and everything is
// older when it starts again.
func (o *outage) pass(d time.Duration) {
	o.tb.Helper()
	o.stop()
	db, err := sql.Open("sqlite", "file:"+filepath.Join(filepath.Dir(o.file), "bridge.db"))
	if err != nil {
		o.tb.Fatal(err)
	}
	for _, q := range []string{`UPDATE items SET accepted = accepted - $1`, `UPDATE lanes SET due = due - $1`, `UPDATE done SET at = at - $1`} {
		if _, err := db.ExecContext(o.tb.Context(), q, d.Milliseconds()); err != nil {
			o.tb.Fatal(err)
		}
	}
	if err := db.Close(); err != nil {
		o.tb.Fatal(err)
	}
	o.run()
}

// heap returns the number of bytes in use after a collection.
func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc) //nolint:gosec // it is no larger than the machine
}

// drained is the result of an outage.
type drained struct {
	rate, own      float64 // messages per second, and those of the far side without us
	grown          int64   // bytes of heap that the backlog took, without the test's own
	worst          time.Duration
	refused, words int64
}

// sit keeps a side away for eight hours while messages are sent in each room, and lets
// it come back.
func (o *outage) sit(each, meanwhile int) (d drained) {
	o.tb.Helper()
	d.own = o.ownRate(o.tb, o.rooms, max(20, each/10))
	o.away.Store(true)
	before := heap()
	o.speak("waits", 0, each, o.toMatrix)
	o.waiting(each * o.rooms)
	d.grown = heap() - before
	for n := range meanwhile { // the other direction
		start := time.Now()
		o.speak("meanwhile", n, n+1, !o.toMatrix)
		waitUntil(o.tb, "the other direction", time.Minute, func() bool {
			o.mu.Lock()
			defer o.mu.Unlock()
			done := 0
			for _, texts := range o.got {
				if len(texts) > 0 && texts[len(texts)-1] == fmt.Sprintf("meanwhile %06d", n) {
					done++
				}
			}
			return done == o.rooms
		})
		d.worst = max(d.worst, time.Since(start))
	}
	o.pass(8 * time.Hour)
	o.waiting(each * o.rooms)
	d.refused = o.refused.Load()
	o.away.Store(false)
	first := time.Now()
	waitUntil(o.tb, "the first item of the backlog", 2*time.Minute, func() bool {
		first = time.Now()
		return o.taken.Load() > 0
	})
	began := o.taken.Load()
	waitUntil(o.tb, "the whole backlog", 30*time.Minute, func() bool { return o.taken.Load() >= int64(each*o.rooms) })
	d.rate = float64(int64(each*o.rooms)-began) / time.Since(first).Seconds()
	d.words = o.notices.Load()
	return d
}

// waiting waits until n items are waiting.
func (o *outage) waiting(n int) {
	o.tb.Helper()
	db, err := sql.Open("sqlite", "file:"+filepath.Join(filepath.Dir(o.file), "bridge.db")+"?mode=ro&_pragma=busy_timeout(10000)")
	if err != nil {
		o.tb.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	got := 0
	waitUntil(o.tb, fmt.Sprint(n, " items to wait"), 5*time.Minute, func() bool {
		return db.QueryRowContext(o.tb.Context(), `SELECT COUNT(*) FROM items WHERE buried = 0`).Scan(&got) == nil && got == n
	})
}

// One side accepts nothing for eight hours. Messages sent meanwhile wait, and are delivered
// when it is back, in order and once, nearly as fast as that side accepts them. The other
// direction goes on, and nobody is notified, because nothing was lost.
func TestEightHoursInWhichASideTakesNothing(t *testing.T) {
	if !mustrun.Full { // in parallel, the rates that it logs mean nothing
		t.Parallel()
	}
	each := mustrun.Sized(625, 60) // in each of eight rooms
	for _, toMatrix := range []bool{true, false} {
		t.Run(map[bool]string{true: "Matrix", false: "Rocket.Chat"}[toMatrix], func(t *testing.T) {
			o := newOutage(t, 8, toMatrix)
			d := o.sit(each, 5)
			o.complete("waits", each)
			o.complete("meanwhile", 5)
			t.Logf("%d items: %.0f a second of %.0f that this side takes; the other direction took %v at most; %d attempts while it was away", each*o.rooms, d.rate, d.own, d.worst, d.refused)
			if d.words > 0 {
				t.Errorf("people were told %d times", d.words)
			}
			if most := int64(o.rooms * 30); d.refused > most {
				t.Errorf("%d attempts while it was away, at most %d wanted", d.refused, most)
			}
		})
	}
}

// BenchmarkDrain measures how fast 100,000 items that waited for eight hours are delivered,
// compared with what the far side accepts without us, and how much memory they take.
func BenchmarkDrain(b *testing.B) {
	for _, toMatrix := range []bool{true, false} {
		b.Run(map[bool]string{true: "ToMatrix", false: "ToRocketChat"}[toMatrix], func(b *testing.B) {
			for range b.N {
				const rooms, each = 8, 12_500
				o := newOutage(b, rooms, toMatrix)
				d := o.sit(each, 5)
				o.complete("waits", each)
				b.ReportMetric(d.rate, "messages/s")
				b.ReportMetric(d.rate/d.own, "of-own-rate")
				b.ReportMetric(float64(d.grown)/(1<<20), "backlog-MB")
				o.stop()
			}
		})
	}
}
