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
	// maxFrames is how many live messages may wait in memory: beyond it nothing is
	// read, and after heldUp the session is begun again and catches up.
	maxFrames = 20000
	heldUp    = 5 * time.Second
)

// A reader reads rooms as one account. Where it has a session, the rooms that
// talk are subscribed to ("hot"): what is said there arrives in its order. Of the
// others ("cold") the session only hears that something has happened, in no
// order, and they are read over REST then. What is subscribed to makes it fast;
// REST and the cursors make it right, for both.
type reader struct {
	*agenda
	*stream
	*subscriber
	parts   *parts
	account ids.MXUser // whose, "" for the bridge account

	// With readers.mu: stop ends the session, nil when there is none; leaving says
	// that it was stopped; used is when it was last of use; queued says that it
	// waits to be read over REST.
	stop            func()
	leaving, queued bool
	used            time.Time

	turn sync.Mutex // held by what reads: the session, or a pass over REST
}

// parts are what the readers use.
type parts struct {
	*accounts
	*server
	*inbox
	*emojis
	*changes
	relay      Ephemeral
	live       func() config.Live
	reconnects func() // nil is allowed
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
