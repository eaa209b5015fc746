package mxside

import (
	"fmt"
	"time"

	"appliance/bridge/config"
)

// Traits are the ways in which a homeserver deviates from the specification, as
// measured. The zero value is a homeserver without any: the bridge then does what the
// Client-Server and the Application Service API require. Nothing else in this package
// knows which software the homeserver is.
type Traits struct {
	// PushesPart: transactions lack redactions, ephemeral events, and invitations from
	// other servers to rooms that the homeserver is not in. The bridge reads those through
	// the /sync of its own user and of ghosts.
	PushesPart bool
	// HoldsBack: transactions have consecutive numbers, and one that was in flight when the
	// homeserver stopped, or that it created just when the bridge came back, is kept until
	// there is another failure. The bridge then provokes one; see holdback.
	HoldsBack bool
	// Disorder is how long after a restart, of the homeserver or the bridge, a transaction
	// may arrive after later ones. During that time the bridge rereads the rooms in their
	// own order before it takes a transaction.
	Disorder time.Duration
	// FollowsAtMost is how many events of another server may be queued in a room before the
	// homeserver drops those in the middle, fetches them separately later, and never pushes
	// them; 0 if it never does that.
	FollowsAtMost int
	// Rereads lists how long after users of other servers spoke their room is read again,
	// because the homeserver may have left out events in its pushes.
	Rereads []time.Duration
	// HidesRedactions: in rooms of version 11 and later the homeserver shows redactions by
	// other software to nobody, until an event follows and a user reads at the beginning
	// of the room.
	HidesRedactions bool
	// SkipsInterrupted: an event that was being processed when the homeserver was killed is
	// skipped. The homeserver asks other servers for it when a user reads at the beginning
	// of the room, or on its own after more than five minutes.
	SkipsInterrupted bool
	// PagesSkip: pages of /messages leave out events of one depth that are on both sides
	// of a page boundary; see Earlier.
	PagesSkip bool
	// KeepsNotifications: the homeserver keeps a notification of each message for each of
	// our users in its room, and counts all of them each time. These notifications are
	// switched off.
	KeepsNotifications bool
	// FailsPingWhileBusy: a ping that has come through is answered with an error if the
	// homeserver is already sending what it held back.
	FailsPingWhileBusy bool
	// LeaksAnswers: the homeserver neither reads nor closes the body of the response to a
	// transaction, so each response with a body keeps one of its connections open forever,
	// and two of its goroutines. The bridge sends such responses without a body.
	LeaksAnswers bool
	// DropsLeaveReason: POST /leave ignores the reason; the membership event accepts
	// one from a user who has joined.
	DropsLeaveReason bool
	// RefusesToLeaveTwice: POST /leave of a user who has left, is banned or was never there is
	// answered with 400 M_UNKNOWN, as a malformed request would be.
	RefusesToLeaveTwice bool
	// ForbidsUnreachable: an invitation of a user whose server cannot be reached is answered
	// with 403 and the error text of an HTTP client.
	ForbidsUnreachable bool
	// DisguisesErrors: a download that is refused because of rate limiting is answered
	// with status 200 and {"Code":429,…} instead of the file.
	DisguisesErrors bool
}

// homeservers are the kinds that homeserver.kind in bridge.yaml may name. They are known
// only here; docs/homeservers.md says how to add one.
var homeservers = map[string]Traits{
	// Measured with Dendrite 0.15.2.
	config.Dendrite: {
		PushesPart: true,
		// It resends what was in flight up to 64 s after later transactions.
		Disorder: 2 * time.Minute,
		// It needs a while to ask other servers for what it hides, and after five minutes
		// reprocesses what it was processing when it was killed.
		Rereads:             []time.Duration{2 * time.Second, 20 * time.Second, 3 * time.Minute, 6 * time.Minute},
		HidesRedactions:     true,
		SkipsInterrupted:    true,
		PagesSkip:           true,
		KeepsNotifications:  true,
		LeaksAnswers:        true,
		DropsLeaveReason:    true,
		RefusesToLeaveTwice: true,
		ForbidsUnreachable:  true,
		DisguisesErrors:     true,
	},
	// Measured with Synapse 1.157 to 1.160.
	config.Synapse: {
		HoldsBack:          true,
		FailsPingWhileBusy: true,
		// It may send one more before it records that the previous one was not taken.
		Disorder:      2 * time.Minute,
		FollowsAtMost: 100,
		Rereads:       []time.Duration{4 * time.Second, 20 * time.Second},
	},
	// A homeserver that follows the specification.
	config.Generic: {},
}

// TraitsOf returns the traits of a kind of homeserver.
func TraitsOf(kind string) (Traits, error) {
	t, ok := homeservers[kind]
	if !ok {
		return Traits{}, fmt.Errorf("the bridge knows no kind of homeserver %q", kind)
	}
	return t, nil
}
