// Package relay joins the two sides. It owns the interfaces that the sides and
// the store implement, and the decisions that concern both: what becomes of an
// event, who speaks for whom, which rooms are one conversation, how a delivery
// whose outcome is unknown is settled, and what is our own echo. The sides speak
// to their networks and know nothing of each other; the queue decides when.
//
// Events flow in through Accept, which stores them, and out through the queue,
// which calls Deliver.
package relay

import (
	"cmp"
	"context"
	"log/slog"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"appliance/bridge/config"
	"appliance/bridge/ids"
	"appliance/bridge/queue"
)

// Kinds of items. The payload of each is the event as its side received it.
const (
	KindRCMessage = "rc.message" // what somebody wrote in a bridged room: rocketchat.Message
	KindRCMember  = "rc.member"  // a system message about membership: rocketchat.Message
	KindRCPerson  = "rc.person"  // something about a Rocket.Chat user may have changed: the user's ID
	KindMXPerson  = "mx.person"  // something about a Matrix user may have changed: the user's ID
	KindRCRoster  = "rc.roster"  // a room has just been bridged: its members join on Matrix; no payload
	KindRCEdit    = "rc.edit"    // a message was edited: rocketchat.Message as it is now
	KindRCDelete  = "rc.delete"  // a message was deleted: rocketchat.Message of which only IDs are known
	KindRCFiles   = "rc.files"   // files of a message that follow later: rocketchat.Message with these alone
	KindRCRoom    = "rc.room"    // a system message about the room itself: rocketchat.Message
	KindRCInvite  = "rc.invite"  // an invitation that waits until the past of a room is carried: invitee
	KindRCDirect  = "rc.direct"  // somebody seems to write to a puppet in a direct room that is no portal: NewDirect
	KindRCReact   = "rc.react"   // a message's reactions have changed: rocketchat.Message as it is now
	KindRCPin     = "rc.pin"     // a message was pinned or taken off: rocketchat.Message as it is now
	KindRCSecret  = "rc.secret"  // a message that is encrypted in Rocket.Chat: rocketchat.Message
	KindMXMessage = "mx.message" // m.room.message
	KindMXFile    = "mx.file"    // a file that follows later: m.room.message
	KindMXRoom    = "mx.room"    // a state event about the room itself
	KindMXSecret  = "mx.secret"  // m.room.encrypted, which cannot be read
	KindMXCall    = "mx.call"    // somebody begins or joins a call
	KindMXPoll    = "mx.poll"    // the beginning or the end of a poll
	KindMXReact   = "mx.react"   // m.reaction
	KindMXRedact  = "mx.redact"  // m.room.redaction
	KindMXMember  = "mx.member"  // m.room.member of somebody who is not ours
	KindMXInvite  = "mx.invite"  // an invitation of a ghost: Invitation
	KindMXDecline = "mx.decline" // an invitation that is to be declined: refusal
	KindMXRoster  = "mx.roster"  // a room has just been bridged: its members join in Rocket.Chat; no payload
)

// RCLane and MXLane name the lanes of one portal: what happened on that side,
// waiting for the other.
func RCLane(room ids.RCRoom) string { return "rc:" + string(room) }

// MXLane is RCLane for the other direction.
func MXLane(room ids.MXRoom) string { return "mx:" + string(room) }

// A Portal is a Rocket.Chat room and a Matrix room that are one conversation.
type Portal struct {
	RCRoom ids.RCRoom
	MXRoom ids.MXRoom
	RCType string // rocketchat.Channel, Group or Direct
	// RCReader is the puppet through which the Rocket.Chat room is read: the
	// bridge account cannot see direct rooms. Empty for the bridge account.
	RCReader ids.MXUser
	// MXReader is the ghost through which the Matrix room is read when the
	// bridge's own user is not in it. Empty for the bridge's own user.
	MXReader ids.MXUser
	Created  time.Time
}

// ReadAs returns the Matrix user through which the portal is read, given the
// bridge's own.
func (p Portal) ReadAs(bot ids.MXUser) ids.MXUser { return cmp.Or(p.MXReader, bot) }

// A Ghost is a Matrix user that stands for a Rocket.Chat user.
type Ghost struct {
	RCUser   ids.RCUser
	MXUser   ids.MXUser
	Username string // as last seen
	Name     string // the display name last set on Matrix
}

// A Puppet is a Rocket.Chat user that stands for a Matrix user.
type Puppet struct {
	MXUser   ids.MXUser
	RCUser   ids.RCUser
	Username string
	Name     string
	Token    Token
}

// A Reaction is one person's reaction to a message, on both sides.
type Reaction struct {
	Message  ids.RCMessage
	Emoji    string // Rocket.Chat's key: ":smile:"
	User     ids.RCUser
	Event    ids.MXEvent
	MXRoom   ids.MXRoom
	MXSender ids.MXUser
}

// An RCPerson is a Rocket.Chat user as an event shows them.
type RCPerson struct {
	ID       ids.RCUser
	Username string
	Name     string
}

// Display returns the name people see.
func (p RCPerson) Display() string {
	if p.Name != "" {
		return p.Name
	}
	return p.Username
}

// A Caller is somebody who typed a command.
type Caller struct {
	RCPerson
	Room ids.RCRoom
}

// An Invitation is a ghost's invitation to a Matrix room.
type Invitation struct {
	Room    ids.MXRoom `json:"room_id"`
	Ghost   ids.MXUser `json:"ghost"`
	Inviter ids.MXUser `json:"inviter"`
	Direct  bool       `json:"is_direct"`
	Name    string     `json:"name,omitempty"` // of the room, as far as the invitation tells
	Insists bool       `json:"-"`              // a room that it seems to replace is not waited for
	Via     string     `json:"-"`              // a server that is in the room, where there is no inviter
}

// server returns a server that is in the room.
func (inv Invitation) server() string { return cmp.Or(inv.Via, inv.Inviter.Homeserver()) }

// Relay carries events between the sides. Its methods are safe for concurrent
// use.
type Relay struct {
	Store Store
	RC    RocketChat
	MX    Matrix
	Names ids.Namespace
	Site  string             // Rocket.Chat's address as people see it
	Live  func() config.Live // the configuration in force; a delivery reads it once
	Log   *slog.Logger
	// Delivered is told of each delivery: how long the item waited to be tried
	// and how long the last attempt took. nil is allowed.
	Delivered func(kind string, waited, took time.Duration)

	// Typed is told of a command that reached Rocket.Chat as a message. nil is
	// allowed.
	Typed func(ctx context.Context, caller Caller, name, params string)

	// ReconcileEvery is between two looks at all rooms; 0 is the usual.
	ReconcileEvery time.Duration

	worker queue.Worker
	files  queue.Worker // for files that follow their messages

	people sync.Map // *sync.Mutex by ghost or puppet: one creates, the others wait
	joined sync.Map // struct{} by membership: what we know to be joined
	spoke  sync.Map // time.Time by Matrix room: when a message was last sent there
	ready  sync.Once
	signs  signs
	gate   gate
	chosen chan struct{} // has an element when the public channels may be other ones
	audit  audit

	transfers transfers
}

// Run delivers what is stored until ctx ends.
func (r *Relay) Run(ctx context.Context) error {
	r.init()
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return r.worker.Run(ctx) })
	g.Go(func() error { return r.files.Run(ctx) })
	g.Go(func() error { return r.runSigns(ctx) })
	g.Go(func() error { return r.reconcileAll(ctx) })
	g.Go(func() error { return r.runPublic(ctx) })
	g.Go(func() error { return r.auditPuppets(ctx) })
	return g.Wait()
}

// Wake makes the relay look for work now, for when Live has changed.
func (r *Relay) Wake() {
	r.init()
	r.worker.Wake()
	r.files.Wake()
}

// Follow makes the sides read what Live says now is to be read, and Matrix see the
// channels that are chosen now.
func (r *Relay) Follow() {
	r.init()
	r.RC.Follow()
	r.choose()
}

const (
	// lanes is how many portals and directions are served at once. Each waits for
	// the network most of the time.
	lanes = 64
	// fileLanes is how many files that follow their messages are carried at once.
	fileLanes = 16
)

func (r *Relay) init() {
	r.ready.Do(func() {
		r.chosen = make(chan struct{}, 1)
		for w, class := range map[*queue.Worker]queue.Class{&r.worker: queue.Messages, &r.files: queue.Files} {
			w.Backend = r.Store
			w.Class = class
			w.Deliver = r.Deliver
			w.GaveUp = r.tellSender
			w.Paused = func() bool { return !r.Live().Enabled }
			w.Log = r.Log
		}
		r.worker.Lanes, r.files.Lanes = lanes, fileLanes
		r.signs.init()
		r.transfers.init()
	})
}

// Accept stores items and cursors in one transaction. Only when it has returned
// nil may a side acknowledge them to its network. Handing over an event twice is
// fine.
func (r *Relay) Accept(ctx context.Context, items []queue.Item, cursors map[string]string) error {
	n, err := r.Store.Accept(ctx, time.Now(), items, cursors)
	if err != nil {
		return err
	}
	if n > 0 {
		r.Wake()
	}
	return nil
}

// Deliver sends one item to the other side. The queue calls it, and calls it
// again when it cannot know whether the last call arrived.
func (r *Relay) Deliver(ctx context.Context, item queue.Item) ([]queue.Receipt, error) {
	start := time.Now()
	receipts, err := r.route(ctx, item)
	if err == nil {
		waited, took := start.Sub(item.Accepted), time.Since(start)
		r.Log.Info("delivered", "item", item.ID, "lane", item.Lane, "kind", item.Kind, "attempts", item.Attempts+1, "waited", waited, "took", took)
		if r.Delivered != nil {
			r.Delivered(item.Kind, waited, took)
		}
	}
	return receipts, err
}

func (r *Relay) route(ctx context.Context, item queue.Item) ([]queue.Receipt, error) {
	switch item.Kind {
	case KindRCMessage:
		return r.messageToMatrix(ctx, item)
	case KindRCMember:
		return nil, r.memberToMatrix(ctx, item)
	case KindRCRoster:
		return nil, r.rosterToMatrix(ctx, item)
	case KindRCEdit:
		return r.editToMatrix(ctx, item)
	case KindRCRoom:
		return nil, r.roomToMatrix(ctx, item)
	case KindMXRoom:
		return nil, r.roomToRocketChat(ctx, item)
	case KindMXSecret:
		return nil, r.encryptedToRocketChat(ctx, item)
	case KindRCPin:
		return nil, r.pinToMatrix(ctx, item)
	case KindRCSecret:
		return nil, r.secretToMatrix(ctx, item)
	case KindMXCall:
		return r.callToRocketChat(ctx, item)
	case KindMXPoll:
		return r.pollToRocketChat(ctx, item)
	case KindRCDirect:
		return nil, r.newDirect(ctx, item)
	case KindRCInvite:
		return nil, r.inviteNow(ctx, item)
	case KindRCFiles:
		return r.lateFilesToMatrix(ctx, item)
	case KindMXFile:
		return r.lateFileToRocketChat(ctx, item)
	case KindRCDelete:
		return nil, r.deleteOnMatrix(ctx, item)
	case KindRCReact:
		return nil, r.reactionsToMatrix(ctx, item)
	case KindRCPerson:
		return nil, r.personToMatrix(ctx, item)
	case KindMXPerson:
		return nil, r.personToRocketChat(ctx, item)
	case KindMXReact:
		return nil, r.reactionToRocketChat(ctx, item)
	case KindMXRedact:
		return nil, r.redactionToRocketChat(ctx, item)
	case KindMXMessage:
		return r.messageToRocketChat(ctx, item)
	case KindMXMember:
		return nil, r.memberToRocketChat(ctx, item)
	case KindMXInvite:
		return nil, r.acceptInvitation(ctx, item)
	case KindMXDecline:
		return nil, r.declineNow(ctx, item)
	case KindMXRoster:
		return nil, r.rosterToRocketChat(ctx, item)
	}
	return nil, queue.Permanent("this kind of event is not known to the bridge", errUnknownKind)
}
