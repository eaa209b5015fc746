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
	// nudgeWithin is how long before a person joins a message may have been sent
	// for their server to have missed it.
	nudgeWithin = 2 * time.Minute
	// nudgeAfter gives a server time for its own joining: Dendrite refuses what
	// comes meanwhile, and then everything that builds on it.
	nudgeAfter = 3 * time.Second
)

// Newcomers helps servers that join a room to all of its messages.
type Newcomers struct {
	MX     newcomerMatrix
	spoke  sync.Map // when a message was last sent: time.Time by Matrix room
	Names  ids.Namespace
	Log    *slog.Logger
	Shared bool // other processes send messages too
}

// NoteSpoken notes that a message is sent to a room now.
func (n *Newcomers) NoteSpoken(room ids.MXRoom) { n.spoke.Store(room, time.Now()) }

// Nudge helps a server that a person has just joined from: what was sent in the
// same moment has nothing after it that would make the server ask for it.
func (n *Newcomers) Nudge(ctx context.Context, p model.Portal) {
	at, ok := n.spoke.Load(p.MXRoom)
	t, _ := at.(time.Time)
	if recent := ok && time.Since(t) <= nudgeWithin; !recent && !n.Shared {
		return
	}
	time.AfterFunc(nudgeAfter, func() {
		if later, _ := n.spoke.Load(p.MXRoom); later != at || ctx.Err() != nil {
			return // what was said since does the same
		}
		if err := n.MX.Probe(ctx, p.MXRoom, p.Reader(n.Names)); err != nil && ctx.Err() == nil {
			n.Log.Warn("a server may lack what was said while it joined", "mx_room", p.MXRoom, "err", err)
		}
	})
}
