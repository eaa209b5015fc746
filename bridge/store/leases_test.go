package store_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/url"
	"slices"
	"sync"
	"testing"
	"time"

	"appliance/bridge/queue"
	"appliance/bridge/store"
)

// pair is a database that two processes share.
type pair struct {
	url  string
	a, b *store.Store
}

func newPair(t *testing.T) pair {
	t.Helper()
	url := postgresURL(t)
	return pair{url, open(t, url), open(t, url)}
}

// exec changes the database behind the back of both.
func (p pair) exec(t *testing.T, query string) {
	t.Helper()
	db, err := sql.Open("pgx", p.url)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	if _, err := db.ExecContext(t.Context(), query); err != nil {
		t.Fatal(err)
	}
}

func add(t *testing.T, s *store.Store, items ...queue.Item) {
	t.Helper()
	if n, err := s.Add(t.Context(), time.Now(), items...); err != nil || n != len(items) {
		t.Fatalf("added %d, %v", n, err)
	}
}

// claimed waits until a store hands out an item.
func claimed(t *testing.T, s *store.Store, id string) queue.Item {
	t.Helper()
	for deadline := time.Now().Add(15 * time.Second); time.Now().Before(deadline); {
		s.LookNow()
		it, ok, err := s.Claim(t.Context(), queue.Messages, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		if ok {
			if it.ID != id {
				t.Fatalf("claimed %q, want %q", it.ID, id)
			}
			return it
		}
		<-time.After(20 * time.Millisecond)
	}
	t.Fatalf("%q was not given out", id)
	return queue.Item{}
}

// mustNotClaim fails if a store hands out an item.
func mustNotClaim(t *testing.T, s *store.Store) {
	t.Helper()
	s.LookNow()
	if it, ok, err := s.Claim(t.Context(), queue.Messages, time.Now()); ok || err != nil {
		t.Fatalf("claimed %q, %v", it.ID, err)
	}
}

// A process that was stopped for longer than its lease settles nothing: its result for
// the item is refused, and the item belongs to the process that took over.
func TestAProcessThatWasStoppedSettlesNothing(t *testing.T) {
	for name, settle := range map[string]func(s *store.Store, it queue.Item) error{
		"done": func(s *store.Store, it queue.Item) error {
			return s.Done(t.Context(), it, []queue.Receipt{{RCRoom: "r", RCMessage: "twice", MXRoom: "!r", MXEvent: "$twice"}}, nil)
		},
		"retry": func(s *store.Store, it queue.Item) error {
			return s.Retry(t.Context(), it, time.Now(), time.Hour, true, errors.New("late"))
		},
		"given up": func(s *store.Store, it queue.Item) error { return s.GiveUp(t.Context(), it, errors.New("late")) },
	} {
		t.Run(name, func(t *testing.T) {
			p := newPair(t)
			add(t, p.a, queue.Item{ID: "1", Lane: "l"}, queue.Item{ID: "2", Lane: "l"}, queue.Item{ID: "3", Lane: "l"})
			old := claimed(t, p.a, "1")
			mustNotClaim(t, p.b)
			p.a.Pause()
			travel(t, p.url, time.Now().Add(10*time.Second))
			it := claimed(t, p.b, "1")
			if it.Attempts != 1 || it.Lease.Fence <= old.Lease.Fence {
				t.Errorf("taken over with %d attempts under %d, before under %d", it.Attempts, it.Lease.Fence, old.Lease.Fence)
			}
			if err := settle(p.a, old); !errors.Is(err, queue.ErrLost) {
				t.Errorf("the process that was stopped: %v", err)
			}
			if err := p.b.Done(t.Context(), it, nil, nil); err != nil {
				t.Fatal(err)
			}
			if linked, err := p.b.MessageLinked(t.Context(), "$twice"); linked || err != nil {
				t.Errorf("its link was stored: %v, %v", linked, err)
			}
			if it := claimed(t, p.b, "2"); it.Attempts != 1 { // it may have been started too
				t.Errorf("the second item has %d attempts", it.Attempts)
			}
			if list, err := p.b.DeadLetters(t.Context(), 10); len(list) > 0 || err != nil {
				t.Errorf("dead letters: %+v, %v", list, err)
			}
		})
	}
}

// A delivery whose lane goes to another process is cancelled, may no longer send
// anything, and is not settled.
func TestADeliveryEndsWithItsLease(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	add(t, p.a, queue.Item{ID: "1", Lane: "l"})
	begun, ended := make(chan struct{}), make(chan error, 1)
	w := &queue.Worker{Backend: p.a, Lanes: 1, Log: slog.New(slog.DiscardHandler), Deliver: func(ctx context.Context, _ queue.Item) ([]queue.Receipt, error) {
		if err := queue.Held(ctx); err != nil {
			t.Errorf("at the beginning: %v", err)
		}
		close(begun)
		<-ctx.Done()
		ended <- queue.Held(ctx)
		return nil, ctx.Err()
	}}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- w.Run(ctx) }()
	<-begun
	p.exec(t, `UPDATE lanes SET owner = 'another', fence = fence + 1`)
	select {
	case err := <-ended:
		if !errors.Is(err, queue.ErrLost) {
			t.Errorf("the delivery may still send: %v", err)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("the delivery goes on under a lease that is lost")
	}
	stop()
	if err := <-done; err != nil {
		t.Errorf("the worker ended with %v", err)
	}
	travel(t, p.url, time.Now().Add(20*time.Second))
	if it := claimed(t, p.b, "1"); it.Failures != 0 {
		t.Errorf("it counts as %d failures", it.Failures)
	}
}

// What a process releases when it stops is taken over at once, and is not in doubt.
func TestAProcessThatStopsGivesItsLanesBack(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	add(t, p.a, queue.Item{ID: "1", Lane: "l"}, queue.Item{ID: "2", Lane: "l"})
	if err := p.a.Done(t.Context(), claimed(t, p.a, "1"), nil, nil); err != nil {
		t.Fatal(err)
	}
	_ = p.a.Close()
	start := time.Now()
	if it := claimed(t, p.b, "2"); it.Attempts != 0 {
		t.Errorf("it counts %d attempts", it.Attempts)
	}
	if took := time.Since(start); took > 3*time.Second {
		t.Errorf("it took %v", took)
	}
}

// The clocks of two processes are ten minutes fast and ten minutes slow: the database's
// time decides.
func TestClocksThatDifferByTenMinutesDoNotMatter(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	now := time.Now()
	travel(t, p.url, now)
	fast, slow := now.Add(10*time.Minute), now.Add(-10*time.Minute)
	if _, err := p.a.Add(t.Context(), fast, queue.Item{ID: "1", Lane: "l"}); err != nil {
		t.Fatal(err)
	}
	p.b.LookNow()
	travel(t, p.url, now.Add(time.Second)) // its turn by name is over
	it, ok, err := p.b.Claim(t.Context(), queue.Messages, slow)
	if err != nil || !ok {
		t.Fatalf("what a fast clock accepted waits for a slow one: %v, %v", ok, err)
	}
	if at := it.Accepted.Sub(now).Abs(); at > time.Minute {
		t.Errorf("it was accepted %v from now", at)
	}
	if err := p.b.Retry(t.Context(), it, slow, 5*time.Second, true, errors.New("502")); err != nil {
		t.Fatal(err)
	}
	travel(t, p.url, now.Add(5*time.Second))
	p.a.LookNow()
	if it, ok, err := p.a.Claim(t.Context(), queue.Messages, fast); ok || err != nil {
		t.Errorf("%q was tried too early, %v", it.ID, err)
	}
	travel(t, p.url, now.Add(7*time.Second))
	p.a.LookNow()
	if _, ok, err := p.a.Claim(t.Context(), queue.Messages, fast); !ok || err != nil {
		t.Errorf("it was not tried: %v, %v", ok, err)
	}
	p.b.LookNow()
	if it, ok, err := p.b.Claim(t.Context(), queue.Messages, slow); ok || err != nil {
		t.Errorf("%q was given out twice, %v", it.ID, err)
	}
}

// receiver accepts deliveries and checks that each item comes once and in its
// sender's order, even when it is offered again.
type receiver struct {
	mu    sync.Mutex
	lanes map[string][]string
	by    map[string]int // deliveries by process
	seen  map[string]bool
	wrong []string
}

func (r *receiver) worker(name string, s *store.Store, lanes int) *queue.Worker {
	w := &queue.Worker{Backend: s, Lanes: lanes, Log: slog.New(slog.DiscardHandler), Deliver: func(ctx context.Context, it queue.Item) ([]queue.Receipt, error) {
		r.mu.Lock()
		defer r.mu.Unlock()
		if err := queue.Held(ctx); err != nil {
			return nil, err
		}
		if r.seen[it.ID] {
			if it.Attempts == 0 {
				r.wrong = append(r.wrong, it.ID+" was offered again as new")
			}
		} else {
			r.seen[it.ID] = true
			r.lanes[it.Lane] = append(r.lanes[it.Lane], it.ID)
			r.by[name]++
		}
		return []queue.Receipt{{RCRoom: "r", RCMessage: it.ID, MXRoom: "!r", MXEvent: "$" + it.ID}}, nil
	}}
	s.OnWork(w.Wake)
	return w
}

func newReceiver() *receiver {
	return &receiver{lanes: map[string][]string{}, by: map[string]int{}, seen: map[string]bool{}}
}

func (r *receiver) byProcess(name string) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.by[name]
}

func (r *receiver) count() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.seen)
}

// check checks that all of each sender's items are there, in order.
func (r *receiver) check(t *testing.T, lanes, senders, each int) {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, w := range r.wrong {
		t.Error(w)
	}
	for l := range lanes {
		lane := fmt.Sprint("lane", l)
		next := make([]int, senders)
		for _, id := range r.lanes[lane] {
			var s, n int
			if _, err := fmt.Sscanf(id, lane+"-%d-%d", &s, &n); err != nil || n != next[s] {
				t.Fatalf("%s: %q came after %d of its sender", lane, id, next[s])
			}
			next[s]++
		}
		for s, n := range next {
			if n != each {
				t.Errorf("%s: %d items of sender %d, want %d", lane, n, s, each)
			}
		}
	}
}

// Three processes accept items of the same lanes at the same time and deliver them,
// while one dies and another is stopped past its leases and resumed.
func TestProcessesShareTheWorkInOrder(t *testing.T) {
	t.Parallel()
	url := postgresURL(t)
	const lanes, senders, each = 12, 3, 30
	all := []*store.Store{open(t, url), open(t, url), open(t, url)}
	r := newReceiver()
	ctx, stop := context.WithCancel(t.Context())
	var running sync.WaitGroup
	dying, die := context.WithCancel(ctx)
	defer die()
	dead := r.worker("2", all[2], 8)
	running.Go(func() { _ = dead.Run(dying) })
	for i, s := range all[:2] {
		w := r.worker(fmt.Sprint(i), s, 8)
		running.Go(func() {
			for r.byProcess("2") == 0 && ctx.Err() == nil { // by then the dying one has lanes
				<-time.After(10 * time.Millisecond)
			}
			if err := w.Run(ctx); err != nil {
				t.Error(err)
			}
		})
	}
	var sending sync.WaitGroup
	for s := range senders {
		sending.Go(func() {
			for n := range each {
				var items []queue.Item
				for l := range lanes {
					lane := fmt.Sprint("lane", l)
					items = append(items, queue.Item{ID: fmt.Sprintf("%s-%d-%d", lane, s, n), Lane: lane})
				}
				if s%2 == 1 { // not all in the same order
					slices.Reverse(items)
				}
				if _, err := all[s%2].Add(ctx, time.Now(), items...); err != nil {
					t.Error(err)
				}
				if s == 0 && n == each/2 {
					for deadline := time.Now().Add(10 * time.Second); r.byProcess("2") == 0 && time.Now().Before(deadline); {
						<-time.After(10 * time.Millisecond)
					}
					all[2].Pause()
					die()
				}
			}
		})
	}
	sending.Wait()
	for deadline := time.Now().Add(40 * time.Second); r.count() < lanes*senders*each && time.Now().Before(deadline); {
		<-time.After(20 * time.Millisecond)
	}
	stop()
	running.Wait()
	r.check(t, lanes, senders, each)
	t.Logf("delivered by each: %v", r.by)
	if len(r.by) < 2 { // who owns which lane depends on who is first
		t.Errorf("one process delivered everything: %v", r.by)
	}
}

// door is a TCP proxy to PostgreSQL that can be closed, or stop forwarding.
type door struct {
	gate   sync.RWMutex // held while nothing is forwarded
	mu     sync.Mutex
	closed bool
	conns  []net.Conn
	to     string
}

func newDoor(t *testing.T, dsn string) (*door, string) {
	t.Helper()
	u, err := url.Parse(dsn)
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ln.Close() })
	d := &door{to: u.Host}
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go d.serve(c)
		}
	}()
	u.Host = ln.Addr().String()
	return d, u.String()
}

func (d *door) serve(c net.Conn) {
	defer func() { _ = c.Close() }()
	d.mu.Lock()
	closed := d.closed
	d.mu.Unlock()
	if closed {
		return
	}
	up, err := net.Dial("tcp", d.to)
	if err != nil {
		return
	}
	defer func() { _ = up.Close() }()
	d.mu.Lock()
	d.conns = append(d.conns, c, up)
	d.mu.Unlock()
	go func() { _, _ = io.Copy(up, gated{c, &d.gate}); _ = up.Close() }()
	_, _ = io.Copy(c, gated{up, &d.gate})
}

// gated is a connection from which nothing is read while a gate is held.
type gated struct {
	io.Reader
	gate *sync.RWMutex
}

// Read implements io.Reader.
func (g gated) Read(p []byte) (int, error) {
	n, err := g.Reader.Read(p)
	g.gate.RLock()
	defer g.gate.RUnlock()
	return n, err
}

// hold makes the door accept everything and forward nothing, or resume.
func (d *door) hold(on bool) {
	if on {
		d.gate.Lock()
	} else {
		d.gate.Unlock()
	}
}

// shut closes the door, or opens it again.
func (d *door) shut(closed bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed = closed; closed {
		for _, c := range d.conns {
			_ = c.Close()
		}
		d.conns = nil
	}
}

// PostgreSQL goes away in the middle of deliveries, and comes back: the worker resumes on
// its own, and nothing is lost or delivered twice.
func TestPostgreSQLGoesAwayAndComesBack(t *testing.T) {
	t.Parallel()
	direct := postgresURL(t)
	d, url := newDoor(t, direct)
	s := open(t, url)
	r := newReceiver()
	w := r.worker("0", s, 4)
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- w.Run(ctx) }()
	const lanes, each = 4, 60
	for n := range each {
		for l := range lanes {
			it := queue.Item{ID: fmt.Sprintf("lane%d-0-%d", l, n), Lane: fmt.Sprint("lane", l)}
			for {
				if _, err := s.Add(ctx, time.Now(), it); err == nil {
					break
				}
				<-time.After(20 * time.Millisecond)
			}
			w.Wake()
		}
		switch n {
		case each / 3:
			d.shut(true)
			go func() {
				<-time.After(1500 * time.Millisecond)
				d.shut(false)
			}()
		}
	}
	for deadline := time.Now().Add(30 * time.Second); r.count() < lanes*each && time.Now().Before(deadline); {
		<-time.After(20 * time.Millisecond)
	}
	stop()
	if err := <-done; err != nil {
		t.Errorf("the worker ended with %v", err)
	}
	r.check(t, lanes, 1, each)
}

// An earlier release has the database to itself: the two do not run at the same time,
// and the items that it left are delivered.
func TestWhatAnEarlierReleaseLeftIsDelivered(t *testing.T) {
	t.Parallel()
	url := postgresURL(t)
	first := open(t, url)
	add(t, first, queue.Item{ID: "1", Lane: "l"})
	if err := first.Done(t.Context(), claimed(t, first, "1"), nil, nil); err != nil {
		t.Fatal(err)
	}
	_ = first.Close()
	p := pair{url: url}
	p.exec(t, `INSERT INTO items (seq, id, lane, kind, payload, accepted) VALUES (1000, 'old', 'l', 'k', '', 1), (1001, 'old2', 'old lane', 'k', '', 1)`)
	db, err := sql.Open("pgx", url)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	conn, err := db.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	if _, err := conn.ExecContext(t.Context(), `SELECT pg_advisory_lock($1)`, 0x726f636b6d78); err != nil {
		t.Fatal(err)
	}
	if _, err := store.Open(t.Context(), url); !errors.Is(err, store.ErrInUse) {
		t.Errorf("beside an earlier release: %v", err)
	}
	if _, err := conn.ExecContext(t.Context(), `SELECT pg_advisory_unlock($1)`, 0x726f636b6d78); err != nil {
		t.Fatal(err)
	}
	s := open(t, url)
	add(t, s, queue.Item{ID: "new", Lane: "l"})
	var got []string
	for range 3 {
		s.LookNow()
		it, ok, err := s.Claim(t.Context(), queue.Messages, time.Now())
		if err != nil || !ok {
			t.Fatal(ok, err)
		}
		got = append(got, it.ID)
		if err := s.Done(t.Context(), it, nil, nil); err != nil {
			t.Fatal(err)
		}
	}
	if slices.Index(got, "old") > slices.Index(got, "new") || !slices.Contains(got, "old2") {
		t.Errorf("delivered %q", got)
	}
}

// A role belongs to one process at a time: the next one has it soon after it is released, or when
// the role of a process that died has expired, and the work of a process that lost it ends.
func TestARoleIsHandedOver(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	var mu sync.Mutex
	now, takes := 0, 0
	lead := func(ctx context.Context, s *store.Store) {
		_ = s.Lead(ctx, "reader", func(ctx context.Context) error {
			mu.Lock()
			takes++
			if now++; now > 1 {
				t.Error("two processes have the role")
			}
			mu.Unlock()
			<-ctx.Done()
			mu.Lock()
			now--
			mu.Unlock()
			return ctx.Err()
		})
	}
	wait := func(n int, d time.Duration) {
		t.Helper()
		start := time.Now()
		for ; time.Since(start) < d; <-time.After(10 * time.Millisecond) {
			mu.Lock()
			ok := takes >= n
			mu.Unlock()
			if ok {
				t.Logf("taken after %v", time.Since(start).Round(10*time.Millisecond))
				return
			}
		}
		t.Fatalf("the role was not taken within %v", d)
	}
	first, stop := context.WithCancel(t.Context())
	go lead(first, p.a)
	wait(1, 5*time.Second)
	second, end := context.WithCancel(t.Context())
	defer end()
	go lead(second, p.b)
	stop()
	wait(2, 5*time.Second)
	p.exec(t, `UPDATE roles SET owner = 'another'`) // b was stopped, another process took the role, and died
	wait(3, 20*time.Second)
	if led, err := p.a.Led(t.Context(), "reader"); !led || err != nil {
		t.Errorf("it is led: %v, %v", led, err)
	}
}

// Two processes that do the same thing at the same moment do it one after the other.
func TestALockIsSharedByAllProcesses(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	unlock, err := p.a.Lock("room r")
	if err != nil {
		t.Fatal(err)
	}
	other, err := p.b.Lock("room other")
	if err != nil {
		t.Fatal(err)
	}
	other()
	got := make(chan error, 1)
	go func() {
		unlock, err := p.b.Lock("room r")
		if err == nil {
			unlock()
		}
		got <- err
	}()
	select {
	case err := <-got:
		t.Fatalf("both have it: %v", err)
	case <-time.After(300 * time.Millisecond):
	}
	unlock()
	select {
	case err := <-got:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(5 * time.Second):
		t.Error("it was not unlocked")
	}
}

// The bridge may have a schema of its own in another program's database, such as the
// homeserver's. It is created if it does not exist.
func TestASchemaOfItsOwn(t *testing.T) {
	t.Parallel()
	direct := postgresURL(t)
	u, err := url.Parse(direct)
	if err != nil {
		t.Fatal(err)
	}
	u.RawQuery = "sslmode=disable&search_path=bridge"
	for n := range 2 {
		s, err := store.Open(t.Context(), u.String())
		if err != nil {
			t.Fatal(err)
		}
		if n == 0 {
			add(t, s, queue.Item{ID: "1", Lane: "l"})
		} else {
			claimed(t, s, "1")
		}
		_ = s.Close()
	}
	db, err := sql.Open("pgx", direct)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	var tables, others int
	if err := db.QueryRowContext(t.Context(), `SELECT COUNT(*) FILTER (WHERE schemaname = 'bridge'), COUNT(*) FILTER (WHERE schemaname = 'public')
		FROM pg_tables`).Scan(&tables, &others); err != nil || tables < 10 || others > 0 {
		t.Errorf("%d tables in the schema, %d outside, %v", tables, others, err)
	}
}

// An item that another process delivered while it was being added a second time is not
// delivered again, and the items after it are.
func TestAnItemThatIsDoneIsNotGivenOut(t *testing.T) {
	p := newPair(t)
	add(t, p.a, queue.Item{ID: "1", Lane: "l"})
	if err := p.a.Done(t.Context(), claimed(t, p.a, "1"), nil, nil); err != nil {
		t.Fatal(err)
	}
	p.exec(t, `INSERT INTO items (seq, id, lane, kind, payload, accepted) VALUES (nextval('items_seq'), '1', 'l', '', '', 0)`)
	add(t, p.a, queue.Item{ID: "2", Lane: "l"})
	if err := p.a.Done(t.Context(), claimed(t, p.a, "2"), nil, nil); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(15 * time.Second); ; <-time.After(20 * time.Millisecond) {
		b, err := p.a.Backlog(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if b.Waiting == 0 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d items wait", b.Waiting)
		}
	}
}

// An item that is done does not stand in for one that the previous process may have delivered.
func TestADoneItemTakesNoDoubtAway(t *testing.T) {
	p := newPair(t)
	add(t, p.a, queue.Item{ID: "0", Lane: "l"})
	if err := p.a.Done(t.Context(), claimed(t, p.a, "0"), nil, nil); err != nil {
		t.Fatal(err)
	}
	add(t, p.a, queue.Item{ID: "1", Lane: "l"}, queue.Item{ID: "2", Lane: "l"})
	claimed(t, p.a, "1")
	p.exec(t, `INSERT INTO items (seq, id, lane, kind, payload, accepted) VALUES (1, '0', 'l', '', '', 0)`)
	p.a.Pause()
	travel(t, p.url, time.Now().Add(10*time.Second))
	for _, id := range []string{"1", "2"} {
		it := claimed(t, p.b, id)
		if it.Attempts != 1 {
			t.Errorf("item %s has %d attempts", id, it.Attempts)
		}
		if err := p.b.Done(t.Context(), it, nil, nil); err != nil {
			t.Fatal(err)
		}
	}
}

// A server, or a pooler in front of it, that accepts connections but no longer answers is given
// up: nothing waits for it for ever.
func TestAServerThatDoesNotAnswerIsGivenUp(t *testing.T) {
	t.Parallel()
	d, url := newDoor(t, postgresURL(t))
	s := open(t, url)
	d.hold(true)
	errs := make(chan error)
	for _, ask := range []func() error{
		func() error { _, err := s.Cursor(t.Context(), "c"); return err },
		func() error { return s.MoveCursor(t.Context(), "c", "1") },
		func() error { _, err := s.Portals(t.Context()); return err },
	} {
		go func() { errs <- ask() }()
	}
	for range 3 {
		select {
		case err := <-errs:
			if err == nil {
				t.Error("a server that does not answer has answered")
			}
		case <-time.After(store.QueryPatience + 20*time.Second):
			t.Fatal("a question waits for ever")
		}
	}
	d.hold(false)
	if err := s.MoveCursor(t.Context(), "c", "2"); err != nil {
		t.Error(err)
	}
}
