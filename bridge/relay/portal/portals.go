// Package portal opens, changes and ends portals: open.go, direct.go and arrival.go open
// them, invite.go invites people, widen.go turns a direct room into a group, backfill.go
// carries the history, upgrade.go follows to a new Matrix room, handover.go changes the
// reader, teardown.go ends them. public.go publishes public channels on Matrix, and
// commands.go implements the slash commands.
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
	placed  sync.Map // people found in direct rooms: struct{} by room and username
	Log     *slog.Logger
	Wake    func()
	Now     func() time.Time // shared by all processes; nil is this process's clock
	Locks   *model.Locks
	Names   ids.Namespace
	Joined  *people.Joined
	State   *roomstate.State
	People  *people.People
	Site    string
	Notices *notice.Notices
}

// now returns the time at which a portal begins: earlier messages are not carried, and
// another process may be the one that reads the room.
func (ps *Portals) now() time.Time {
	if ps.Now == nil {
		return time.Now().UTC()
	}
	return ps.Now().UTC()
}
