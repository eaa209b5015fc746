package rcside_test

import (
	"errors"
	"fmt"
	"net/http"
	"testing"
	"time"

	"appliance/bridge/ids"
	"appliance/bridge/relay/model"
	"appliance/bridge/rocketchat/rctest"
)

// A token that becomes invalid soon after it was created is replaced at once.
func TestTokensThatEndAgainAndAgain(t *testing.T) {
	b := newBed(t, &rctest.Server{Polite: true})
	bob := b.puppet("bob")
	room := b.direct(bob)
	b.start()
	for n := range 3 {
		b.rc.Logout("bob")
		if err := b.side.Send(t.Context(), b.stored(bob.MXUser), room, ids.RCMessage(fmt.Sprint("m", n)), "", "still here"); err != nil {
			t.Fatal(err)
		}
	}
}

// A server that refuses new tokens too is not asked for one after another, and a
// puppet's actions wait for as long as that takes.
func TestNewTokensThatAreRefused(t *testing.T) {
	b := newBed(t, &rctest.Server{Polite: true})
	bob := b.puppet("bob")
	room := b.direct(bob)
	b.start()
	send := func() error {
		return b.side.Send(t.Context(), b.stored(bob.MXUser), room, "m", "", "hello")
	}
	const what = "POST /api/v1/chat.sendMessage"
	for n := range 3 {
		for range 2 {
			b.rc.FailNext(what, http.StatusUnauthorized, "You must be logged in to do this.")
		}
		if err := send(); !errors.Is(err, model.ErrUnavailable) {
			t.Fatalf("with new token %d, which is refused: %v", n, err)
		}
	}
	b.rc.FailNext(what, http.StatusUnauthorized, "You must be logged in to do this.")
	err := send()
	if w, ok := errors.AsType[*model.WaitError](err); !ok || w.After <= 0 || w.After > time.Minute {
		t.Fatalf("refused again: %v", err)
	}
	if made := b.rc.Count("POST /api/v1/users.createToken"); made != 3 {
		t.Errorf("%d tokens were made", made)
	}
}

// stored returns a puppet as the store has it now.
func (b *bed) stored(user ids.MXUser) model.Puppet {
	b.t.Helper()
	p, ok, err := b.store.PuppetByMX(b.t.Context(), user)
	if err != nil || !ok {
		b.t.Fatal(ok, err)
	}
	return p
}
