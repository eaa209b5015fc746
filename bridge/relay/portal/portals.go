// Package portal opens, changes and ends portals: open.go, direct.go and arrival.go open
// them, invite.go lets people in, widen.go turns a direct room into a group, backfill.go
// brings the past along, upgrade.go follows to a new Matrix room, handover.go changes who
// reads, teardown.go ends them. public.go shows public channels to Matrix, and commands.go
// is what slash commands call.
package portal

import (
	"log/slog"
	"sync"
	"time"

	"appliance/bridge/ids"
	"appliance/bridge/relay/model"
	"appliance/bridge/relay/notice"
	"appliance/bridge/relay/people"
	"appliance/bridge/relay/roomstate"
)

// Portals opens portals, lets people in, and tears portals down.
type Portals struct {
	Store   portalsStore
	RC      portalsRocketChat
	MX      portalsMatrix
	placed  sync.Map // who was found in a direct room: struct{} by room and username
	Log     *slog.Logger
	Wake    func()
	Now     func() time.Time // as all processes have it; nil is the time of this one
	Locks   *model.Locks
	Names   ids.Namespace
	Joined  *people.Joined
	State   *roomstate.State
	People  *people.People
	Site    string
	Notices *notice.Notices
}

// now is when a portal begins: what was said before is not carried, and another process
// may be the one that reads the room.
func (ps *Portals) now() time.Time {
	if ps.Now == nil {
		return time.Now().UTC()
	}
	return ps.Now().UTC()
}
