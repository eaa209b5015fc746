package main

import (
	"fmt"
	"testing"
	"time"
)

// People wait once the homeserver is far behind, until it has nearly caught up; what it never
// received does not keep them waiting.
func TestPeopleWaitForAHomeserverThatIsFarBehind(t *testing.T) {
	l, now := newLag(), time.Now()
	name := func(i int) string { return fmt.Sprint("$", i) }
	l.show(name(0)) // before its sender had the response
	for i := range lagMost + 2 {
		l.send(name(i), now)
	}
	if l.behind(now.Add(lagYoung)) {
		t.Error("events that are seconds old count")
	}
	begun := now.Add(lagYoung + time.Second)
	if !l.behind(begun) {
		t.Errorf("%d events were not shown, and nobody waits", lagMost+1)
	}
	for i := 1; i <= lagMost+1-lagLeast; i++ {
		l.show(name(i))
	}
	if !l.behind(begun.Add(time.Second)) {
		t.Errorf("%d events were not shown, and nobody waits any more", lagLeast)
	}
	l.show(name(lagMost + 1))
	if l.behind(begun.Add(5 * time.Second)) {
		t.Errorf("%d events were not shown, and people still wait", lagLeast-1)
	}
	if waited := l.total(begun.Add(time.Hour)); waited != 5*time.Second {
		t.Errorf("people waited for %s", waited)
	}
	for i := range lagMost + 1 {
		l.send(fmt.Sprint("lost ", i), now)
	}
	if !l.behind(begun) || l.behind(now.Add(lagOld+time.Second)) {
		t.Error("events that were lost 15 minutes ago keep people waiting")
	}
}
