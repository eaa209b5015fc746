package relay

import (
	"slices"

	"appliance/bridge/queue"
	"appliance/bridge/relay/ephemeral"
	"appliance/bridge/relay/membership"
	"appliance/bridge/relay/model"
	"appliance/bridge/relay/notice"
	"appliance/bridge/relay/people"
	"appliance/bridge/relay/portal"
	"appliance/bridge/relay/roomstate"
	"appliance/bridge/relay/tomatrix"
	"appliance/bridge/relay/torocketchat"
)

// parts holds the components of a relay.
type parts struct {
	people     *people.People
	admission  *people.Admission
	audit      *people.Audit
	ephemeral  *ephemeral.Events
	reconciler *membership.Reconciler
	public     *portal.PublicChannels
	commands   *portal.Commands
	handlers   map[string]model.Handler
}

// init connects the parts and the queue's workers, once.
func (r *Relay) init() {
	r.ready.Do(func() {
		r.parts = r.wire()
		for w, class := range map[*queue.Worker]queue.Class{&r.worker: queue.Messages, &r.files: queue.Files} {
			w.Backend = r.Trace.Backend(r.Store)
			w.Class = class
			w.Deliver = r.Deliver
			w.GaveUp = r.deadLetter
			w.Paused = func() bool { return !r.Live().Enabled }
			w.Log = r.Log
		}
		r.worker.Lanes, r.files.Lanes = model.Lanes, model.FileLanes
	})
}

// wire creates the parts, each after its dependencies.
func (r *Relay) wire() parts {
	var (
		locks     = &model.Locks{Across: r.Lock}
		admission = &people.Admission{RC: r.RC, Names: r.Names, Live: r.Live}
		everybody = &people.People{
			Store: r.Store, RC: r.RC, MX: r.MX, Names: r.Names, Accept: r.Accept, Admission: admission, Locks: locks,
		}
		pictures = &people.Pictures{Store: r.Store, RC: r.RC, MX: r.MX, Names: r.Names, Log: r.Log}
		joined   = &people.Joined{RC: r.RC, MX: r.MX, Names: r.Names, People: everybody}
		doubles  = &people.Doubles{Store: r.Store, RC: r.RC, Joined: joined, Admission: admission, Log: r.Log, Now: r.Now}
		notices  = &notice.Notices{Store: r.Store, RC: r.RC, MX: r.MX, Names: r.Names, Log: r.Log}
		state    = &roomstate.State{Store: r.Store, RC: r.RC, MX: r.MX, Names: r.Names, Joined: joined, Pictures: pictures, People: everybody}
		portals  = &portal.Portals{
			Store: r.Store, RC: r.RC, MX: r.MX, Names: r.Names, Site: r.Site, Log: r.Log, Wake: r.Wake, Now: r.Now, Locks: locks,
			People: everybody, Joined: joined, Notices: notices, State: state,
		}
		upgrades = &portal.Upgrades{
			Store: r.Store, RC: r.RC, MX: r.MX, Names: r.Names, Log: r.Log, Wake: r.Wake, Locks: locks, Joined: joined, Notices: notices,
		}
		arrivals = &portal.Arrivals{
			Store: r.Store, RC: r.RC, MX: r.MX, Names: r.Names, Site: r.Site, Log: r.Log, Locks: locks,
			People: everybody, Joined: joined, Portals: portals, Upgrades: upgrades,
		}
		directs = &portal.Directs{
			Store: r.Store, RC: r.RC, MX: r.MX, Site: r.Site, Live: r.Live, Log: r.Log, Locks: locks,
			People: everybody, Admission: admission, Joined: joined, Portals: portals, Notices: notices,
		}
		members   = &membership.Members{Store: r.Store, MX: r.MX, Names: r.Names, Joined: joined, Portals: portals}
		newcomers = &membership.Newcomers{MX: r.MX, Names: r.Names, Log: r.Log, Shared: r.Lock != nil}
		events    = ephemeral.New(ephemeral.Parts{Store: r.Store, RC: r.RC, MX: r.MX, Names: r.Names, Live: r.Live, Log: r.Log, People: everybody})
	)
	fromRocketChat := tomatrix.Handlers(tomatrix.Parts{
		Store: r.Store, RC: r.RC, MX: r.MX, Names: r.Names, Live: r.Live, Log: r.Log, Accept: r.Accept, Typed: r.typed,
		People: everybody, Pictures: pictures, Joined: joined, Admission: admission, Notices: notices, State: state,
		Portals: portals, Directs: directs, Members: members, Newcomers: newcomers,
	})
	fromMatrix := torocketchat.Handlers(torocketchat.Parts{
		Store: r.Store, RC: r.RC, MX: r.MX, Names: r.Names, Site: r.Site, Live: r.Live, Log: r.Log, Accept: r.Accept,
		People: everybody, Joined: joined, Admission: admission, Notices: notices, State: state, Portals: portals,
		Doubles: doubles, Directs: directs, Arrivals: arrivals, Upgrades: upgrades, Newcomers: newcomers, Ephemeral: events,
	})
	return parts{
		people: everybody, admission: admission, ephemeral: events, handlers: model.Handlers(slices.Concat(fromRocketChat, fromMatrix)...),
		audit: &people.Audit{Store: r.Store, RC: r.RC, Accept: r.Accept, Log: r.Log, Every: r.ReconcileEvery},
		reconciler: &membership.Reconciler{
			Store: r.Store, RC: r.RC, MX: r.MX, Names: r.Names, Live: r.Live, Log: r.Log, Every: r.ReconcileEvery,
			People: everybody, Joined: joined, Admission: admission, Members: members, Portals: portals,
			Tightening: &portal.Tightening{Store: r.Store, MX: r.MX, Names: r.Names},
		},
		public: portal.NewPublicChannels(&portal.PublicChannels{
			Store: r.Store, RC: r.RC, MX: r.MX, Names: r.Names, Live: r.Live, Log: r.Log, Locks: locks, Portals: portals,
		}),
		commands: &portal.Commands{
			Store: r.Store, RC: r.RC, MX: r.MX, Names: r.Names, Live: r.Live, Log: r.Log, Locks: locks,
			People: everybody, Joined: joined, Admission: admission, State: state, Portals: portals, Arrivals: arrivals,
			Doubles: doubles, Directs: directs, Backfill: &portal.Backfill{Store: r.Store, RC: r.RC, Accept: r.Accept, Locks: locks, Portals: portals},
		},
	}
}
