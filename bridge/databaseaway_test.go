package bridge_test

import (
	"io"
	"net"
	"net/url"
	"sync"
	"testing"
	"time"
)

// door is a proxy to a database that can be shut.
type door struct {
	to     string
	mu     sync.Mutex
	closed bool
	conns  []net.Conn
}

// newDoor opens a door, and returns the address of the database behind it.
func newDoor(t *testing.T, database string) (*door, string) {
	t.Helper()
	u, err := url.Parse(database)
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	d := &door{to: u.Host}
	t.Cleanup(func() { _ = ln.Close(); d.shut(true) })
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go d.pass(c)
		}
	}()
	u.Host = ln.Addr().String()
	return d, u.String()
}

// pass lets one connection through while the door is open.
func (d *door) pass(c net.Conn) {
	defer func() { _ = c.Close() }()
	d.mu.Lock()
	to := d.to
	d.mu.Unlock()
	up, err := net.Dial("tcp", to)
	if err != nil {
		return
	}
	defer func() { _ = up.Close() }()
	d.mu.Lock()
	closed := d.closed
	d.conns = append(d.conns, c, up)
	d.mu.Unlock()
	if closed {
		return
	}
	go func() { _, _ = io.Copy(up, c); _ = up.Close() }()
	_, _ = io.Copy(c, up)
}

// shut drops all connections and lets none through, or opens the door again.
func (d *door) shut(closed bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.closed = closed
	for _, c := range d.conns {
		if closed {
			_ = c.Close()
		}
	}
	d.conns = nil
}

// PostgreSQL is unreachable for two bridges for longer than a lease lasts, while people
// write on both sides: afterwards every message is there exactly once and in order.
func TestNothingIsLostWhenPostgreSQLIsAwayForLongerThanALease(t *testing.T) {
	t.Parallel()
	direct := postgresDatabase(t)
	d, through := newDoor(t, direct)
	fl := newFlood(newFleetOn(t, 2, through, direct), 3, 60)
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		fl.send(100 * time.Millisecond) // so that people write before, during and after the outage
	}()
	<-time.After(2 * time.Second)
	d.shut(true)
	<-time.After(awayFor)
	d.shut(false)
	<-sent
	fl.check(2 * time.Minute)
}

// awayFor is longer than the 15 seconds after which another bridge takes over.
const awayFor = 18 * time.Second
