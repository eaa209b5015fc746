package main

import (
	"context"
	"sync"
	"time"
)

const (
	// People wait while more than lagMost events that are older than lagYoung have not been
	// shown, until there are fewer than lagLeast: some 100 and 15 seconds of a storm's talk.
	// What a few seconds without a homeserver leave behind is less.
	lagMost, lagLeast = 300, 50
	lagYoung          = 20 * time.Second
	// lagOld is when an event no longer counts: the homeserver never received it.
	lagOld = 15 * time.Minute
)

// A lag tells how far the bridge's homeserver is behind with what people on the other one have
// sent. On a small machine, two Dendrites may fall behind a storm for good, and a storm tests
// the bridge. Its methods are safe for concurrent use; a nil lag is never behind.
type lag struct {
	mu     sync.Mutex
	sent   map[string]time.Time // events that were not shown, by ID
	shown  map[string]bool
	since  time.Time // when people began to wait; zero if they do not
	waited time.Duration
}

func newLag() *lag { return &lag{sent: map[string]time.Time{}, shown: map[string]bool{}} }

// send records that an event was sent, and show that the bridge's homeserver has shown it.
func (l *lag) send(event string, now time.Time) {
	if l == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.shown[event] { // a client may be shown it before its sender has the response
		l.sent[event] = now
	}
}

func (l *lag) show(event string) {
	if l == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.shown[event] = true
	delete(l.sent, event)
}

// behind reports whether people have to wait.
func (l *lag) behind(now time.Time) bool {
	if l == nil {
		return false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	n := 0
	for event, at := range l.sent {
		switch age := now.Sub(at); {
		case age > lagOld:
			delete(l.sent, event)
		case age > lagYoung:
			n++
		}
	}
	switch {
	case l.since.IsZero() && n > lagMost:
		l.since = now
	case !l.since.IsZero() && n < lagLeast:
		l.waited += now.Sub(l.since)
		l.since = time.Time{}
	}
	return !l.since.IsZero()
}

// total returns how long people have had to wait.
func (l *lag) total(now time.Time) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.since.IsZero() {
		return l.waited
	}
	return l.waited + now.Sub(l.since)
}

// wait returns when people may go on, or over ends.
func (l *lag) wait(over context.Context) {
	for l.behind(time.Now()) {
		select {
		case <-over.Done():
			return
		case <-time.After(time.Second):
		}
	}
}
