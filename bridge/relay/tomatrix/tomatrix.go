// Package tomatrix delivers what happens in Rocket.Chat to Matrix. There is one file for
// each kind of event: message.go, edit.go, file.go, delete.go, reaction.go, pin.go,
// room.go, role.go, member.go, person.go and so on. Each begins with its handler, named
// deliver, and is read from top to bottom; common.go has what several of them need.
package tomatrix

import (
	"context"
	"log/slog"

	"appliance/bridge/config"
	"appliance/bridge/ids"
	"appliance/bridge/relay/membership"
	"appliance/bridge/relay/model"
	"appliance/bridge/relay/notice"
	"appliance/bridge/relay/people"
	"appliance/bridge/relay/portal"
	"appliance/bridge/relay/roomstate"
)

// Parts are the dependencies of the handlers.
type Parts struct {
	Store  Store
	RC     RocketChat
	MX     Matrix
	Names  ids.Namespace
	Live   func() config.Live
	Log    *slog.Logger
	Accept model.Accept
	// Typed runs a slash command that reached Rocket.Chat as a message.
	Typed func(ctx context.Context, caller model.Caller, name, params string)

	People    *people.People
	Pictures  *people.Pictures
	Joined    *people.Joined
	Admission *people.Admission
	Notices   *notice.Notices
	State     *roomstate.State
	Portals   *portal.Portals
	Directs   *portal.Directs
	Members   *membership.Members
	Newcomers *membership.Newcomers
}

// Handlers returns the handler for each kind of Rocket.Chat event.
func Handlers(p Parts) []model.Entry {
	b := &base{
		Store: p.Store, RC: p.RC, MX: p.MX, Names: p.Names, Log: p.Log, Accept: p.Accept, People: p.People, Pictures: p.Pictures,
		Joined: p.Joined, Admission: p.Admission, Notices: p.Notices, State: p.State, Portals: p.Portals, Newcomers: p.Newcomers,
	}
	f := &files{b, p.Store, p.RC, p.MX}
	m := &messages{b, p.Store, p.MX, p.Typed, f}
	return []model.Entry{
		model.On(m.deliver),
		model.On(m.edit),
		model.On(f.late),
		model.OnSilent((&deletions{b, p.Store, p.RC}).deliver),
		model.OnSilent((&reactions{b, p.Store, p.RC, p.MX}).deliver),
		model.OnSilent((&echoes{b, p.Store, p.MX}).deliver),
		model.OnSilent((&pins{b, p.RC, p.MX}).deliver),
		model.OnSilent((&rooms{b, p.Store, p.RC, &roles{b, p.RC}}).deliver),
		model.OnSilent((&members{b, p.Store, p.RC, p.MX, p.Live, p.Members}).deliver),
		model.OnSilent((&memberships{b, p.Store, p.RC, p.MX, p.Members}).deliver),
		model.OnSilent((&persons{b, p.Store, p.RC, p.MX}).deliver),
		model.OnSilent((&encrypted{b, p.Store, p.RC}).deliver),
		model.OnSilent((&invites{b, p.Store}).deliver),
		model.OnSilent((&directs{b, p.Store, p.Directs}).deliver),
	}
}
