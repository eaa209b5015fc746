package mxside

import (
	"context"
	"encoding/json"
	"sync"

	"appliance/bridge/ids"
)

// A strategy is how the bridge makes sure that it receives everything, in order. The
// homeserver's traits select one of three: pushed, holdback and followers.
type strategy interface {
	// run starts the background work in goroutines of running, until ctx ends.
	run(ctx context.Context, running *sync.WaitGroup)
	// lead starts what only the leading process does.
	lead(ctx context.Context, running *sync.WaitGroup)
	// keep makes sure that the homeserver is reachable, and returns when it is time to
	// do so again. An error means that it is not.
	keep(ctx context.Context) error
	// lost notes that the homeserver is unreachable.
	lost()
	// take stores the events of a transaction. status is the response to the
	// homeserver: 200 once they are on disk.
	take(ctx context.Context, txn string, events []json.RawMessage) (status int, why string)
	// follow reads what happens in the rooms of a ghost for a while, if transactions do
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
