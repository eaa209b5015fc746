package mxside

import (
	"context"
	"encoding/json"
	"sync"

	"appliance/bridge/ids"
)

// A strategy is how the bridge makes sure that it hears of everything, in order. The
// homeserver's traits choose one of three: pushed, holdback and followers.
type strategy interface {
	// run does what runs beside, in goroutines of running, until ctx ends.
	run(ctx context.Context, running *sync.WaitGroup)
	// lead is run for the process that leads.
	lead(ctx context.Context, running *sync.WaitGroup)
	// keep makes sure that the homeserver is there, and returns when it is time to do so
	// again. An error means that it is not.
	keep(ctx context.Context) error
	// lost notes that the homeserver is not there.
	lost()
	// take stores the events of a transaction. status is what the homeserver is to be
	// answered: 200 once they are on disk.
	take(ctx context.Context, txn string, events []json.RawMessage) (status int, why string)
	// follow reads what happens in the rooms of a ghost for a while, where transactions do
	// not bring all of it.
	follow(ghost ids.MXUser)
}

// choose returns the strategy for a homeserver.
func choose(t Traits, p parts) strategy {
	base := &pushed{pings: p.pings, transactions: p.transactions, rereads: p.rereads}
	switch {
	case t.PushesPart:
		return newFollowers(base, p)
	case t.HoldsBack:
		return newHoldback(base, p)
	}
	return base
}
