package membership

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"appliance/bridge/ids"
	"appliance/bridge/relay/model"
)

const (
	// nudgeWithin is how long before a join a message may have been sent for the joining
	// server to have missed it.
	nudgeWithin = 2 * time.Minute
	// nudgeAfter gives a server time to complete its join: Dendrite rejects events that
	// arrive meanwhile, and then everything that builds on them.
	nudgeAfter = 3 * time.Second
)

// Newcomers helps servers that join a room get all of its messages.
type Newcomers struct {
	MX     newcomerMatrix
	spoke  sync.Map // when a message was last sent: time.Time by Matrix room
	Names  ids.Namespace
	Log    *slog.Logger
	Shared bool // other processes send messages too
}

// NoteSpoken records that a message is being sent to a room.
func (n *Newcomers) NoteSpoken(room ids.MXRoom) { n.spoke.Store(room, time.Now()) }

// Nudge helps a server from which a person has just joined: a message sent at the same
// moment has no later event that would make the server request it.
func (n *Newcomers) Nudge(ctx context.Context, p model.Portal) {
	at, ok := n.spoke.Load(p.MXRoom)
	t, _ := at.(time.Time)
	if recent := ok && time.Since(t) <= nudgeWithin; !recent && !n.Shared {
		return
	}
	time.AfterFunc(nudgeAfter, func() {
		if later, _ := n.spoke.Load(p.MXRoom); later != at || ctx.Err() != nil {
			return // a later message has the same effect
		}
		if err := n.MX.Probe(ctx, p.MXRoom, p.Reader(n.Names)); err != nil && ctx.Err() == nil {
			n.Log.Warn("a server may have missed messages while it joined", "mx_room", p.MXRoom, "err", err)
		}
	})
}
