// Package torocketchat delivers what happens on Matrix to Rocket.Chat. There is one file
// for each kind of event: message.go, edit.go, file.go, redaction.go, reaction.go, pin.go,
// room.go, role.go, member.go, invitation.go, poll.go, call.go and so on. Each begins with
// its handler, named deliver, and is read from top to bottom; common.go has what several
// of them need.
package torocketchat

import (
	"context"
	"log/slog"

	"appliance/bridge/config"
	"appliance/bridge/ids"
	"appliance/bridge/relay/ephemeral"
	"appliance/bridge/relay/membership"
	"appliance/bridge/relay/model"
	"appliance/bridge/relay/notice"
	"appliance/bridge/relay/people"
	"appliance/bridge/relay/portal"
	"appliance/bridge/relay/roomstate"
	"appliance/bridge/relay/transfer"
)

// Parts are the dependencies of the handlers.
type Parts struct {
	Store  Store
	RC     RocketChat
	MX     Matrix
	Names  ids.Namespace
	Site   string // Rocket.Chat's address as people see it
	Live   func() config.Live
	Log    *slog.Logger
	Accept model.Accept

	People    *people.People
	Joined    *people.Joined
	Admission *people.Admission
	Notices   *notice.Notices
	State     *roomstate.State
	Portals   *portal.Portals
	Doubles   *people.Doubles
	Directs   *portal.Directs
	Arrivals  *portal.Arrivals
	Upgrades  *portal.Upgrades
	Newcomers *membership.Newcomers
	Ephemeral *ephemeral.Events
}

// Handlers returns the handler for each kind of Matrix event.
func Handlers(p Parts) []model.Entry {
	b := &base{
		Store: p.Store, RC: p.RC, MX: p.MX, Early: newEarly(), Names: p.Names, Site: p.Site, Log: p.Log, Accept: p.Accept, People: p.People, Joined: p.Joined,
		Admission: p.Admission, Notices: p.Notices, State: p.State, Portals: p.Portals, Doubles: p.Doubles,
	}
	e := &edits{b, p.Store, p.RC}
	f := &files{b, p.Store, p.RC, p.MX, newTransfers(func(ctx context.Context) error { return transfer.Away(ctx, 0, p.MX, p.RC) })}
	m := &messages{b, p.Store, p.MX, p.Ephemeral, e, f}
	re := &reactions{b, p.Store, p.RC}
	ro := &rooms{b, p.RC, p.MX, p.Upgrades, &pins{b, p.RC}, &roles{b, p.RC}}
	i := &invitations{b, p.Store, p.MX, p.Live, p.Arrivals}
	return []model.Entry{
		model.On(m.deliver),
		model.On(f.late),
		model.OnSilent(re.deliver),
		model.OnSilent((&redactions{b, p.Store, &unedits{b, p.Store, p.MX, e}, re}).deliver),
		model.OnSilent(ro.deliver),
		model.OnSilent((&members{b, p.Store, p.RC, p.Directs, p.Newcomers}).deliver),
		model.OnSilent((&memberships{b, p.Store, p.RC, p.MX, ro}).deliver),
		model.OnSilent((&persons{b, p.Store, p.RC, p.MX}).deliver),
		model.OnSilent(i.deliver),
		model.OnSilent(i.declineNow),
		model.OnSilent((&encrypted{b}).deliver),
		model.On((&polls{b, p.MX}).deliver),
		model.On((&calls{b, p.Store}).deliver),
	}
}
