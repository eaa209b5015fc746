package rcside

import (
	"sync"
	"time"

	"golang.org/x/time/rate"

	"appliance/bridge/config"
	"appliance/bridge/ids"
)

const (
	// maxBatch is how many live messages are stored in one transaction.
	maxBatch = 200
	// maxFrames is how many live messages may wait in memory: beyond it reading
	// stops, and after heldUp the session is restarted and catches up.
	maxFrames = 20000
	heldUp    = 5 * time.Second
)

// A reader reads rooms as one account. If it has a session, the active rooms are
// subscribed to ("hot"): their messages arrive in order. For the others ("cold")
// the session only gets hints, in no order, that something has happened, and they
// are then read over REST. Subscriptions make it fast; REST and the cursors make it
// correct, for both.
type reader struct {
	*agenda
	*stream
	*subscriber
	parts   *parts
	account ids.MXUser // whose, "" for the bridge account

	// Guarded by readers.mu: stop ends the session, nil when there is none; leaving
	// means that it was stopped; used is when it was last used; queued means that
	// it is waiting to be read over REST.
	stop            func()
	leaving, queued bool
	used            time.Time

	turn sync.Mutex // held while reading, by the session or a pass over REST
}

// parts holds what the readers use.
type parts struct {
	*accounts
	*server
	*inbox
	*emojis
	*changes
	relay      Ephemeral
	live       func() config.Live
	reconnects func() // may be nil
}

func newReader(p *parts, account ids.MXUser) *reader {
	a := &agenda{
		rooms: map[ids.RCRoom]*room{},
		more:  make(chan struct{}, 1), work: make(chan struct{}, 1), news: make(chan struct{}, 1), space: make(chan struct{}, 1),
	}
	return &reader{
		agenda: a, stream: &stream{a, p}, subscriber: &subscriber{a, p, account, rate.NewLimiter(subsPerSecond, subsAtOnce)},
		parts: p, account: account,
	}
}
