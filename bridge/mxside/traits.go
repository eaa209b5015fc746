package mxside

import (
	"fmt"
	"time"

	"appliance/bridge/config"
)

// Traits are what a homeserver does otherwise than the specification says, as measured.
// The zero value is a homeserver without any: what the bridge does then is what the
// Client-Server and the Application Service API ask for. Nothing else in this package
// knows what software the homeserver is.
type Traits struct {
	// PushesPart: transactions lack redactions, ephemeral events, and invitations of other
	// servers to rooms that the homeserver is not in. The bridge reads those through the
	// /sync of its own user and of ghosts.
	PushesPart bool
	// HoldsBack: transactions have consecutive numbers, and one that was under way when
	// the homeserver stopped, or that it made just when the bridge came back, is kept until
	// there is another failure. The bridge then provokes one; see holdback.
	HoldsBack bool
	// Disorder is how long after a restart, of the homeserver or the bridge, a transaction
	// may come after later ones. For so long the bridge reads the rooms again in their own
	// order before it takes a transaction.
	Disorder time.Duration
	// FollowsAtMost is how many events of another server may wait in a room before the
	// homeserver drops what is in the middle, fetches it beside later, and never pushes it;
	// 0 where it never does.
	FollowsAtMost int
	// Rereads says how long after people of other servers spoke their room is read again,
	// because the homeserver may have left events out of what it pushed.
	Rereads []time.Duration
	// HidesRedactions: in rooms of version 11 and later the homeserver shows to nobody the
	// redactions that other software sent, until an event follows and a user reads at the
	// beginning of the room.
	HidesRedactions bool
	// SkipsInterrupted: an event that was being taken in when the homeserver was killed is
	// left out. The homeserver asks other servers for it when a user reads at the beginning
	// of the room, by itself after more than five minutes.
	SkipsInterrupted bool
	// PagesSkip: pages of /messages leave out events of one depth that stand on both sides
	// of the end of a page; see Earlier.
	PagesSkip bool
	// KeepsNotifications: the homeserver keeps a notification of each message for each of
	// our users in its room, and counts them all each time. Their notifications are
	// switched off.
	KeepsNotifications bool
	// FailsPingWhileBusy: a ping that has come through is answered with an error while the
	// homeserver is already sending what it held back.
	FailsPingWhileBusy bool
	// LeaksAnswers: the homeserver neither reads nor closes the body of the answer to a
	// transaction, so that each one with a body keeps a connection of it open for good, and
	// two of its goroutines. Such answers have no body.
	LeaksAnswers bool
	// DropsLeaveReason: POST /leave ignores the reason; the membership event takes one
	// from a user who has joined.
	DropsLeaveReason bool
	// RefusesToLeaveTwice: POST /leave of a user who has left, is banned or was never there is
	// answered with 400 M_UNKNOWN, as a malformed request would be.
	RefusesToLeaveTwice bool
	// ForbidsUnreachable: an invitation of a user whose server cannot be reached is answered
	// with 403 and the words of an HTTP client.
	ForbidsUnreachable bool
	// DisguisesErrors: a download that is refused because of too many requests is answered
	// with status 200 and {"Code":429,…} instead of the file.
	DisguisesErrors bool
}

// homeservers are the kinds that homeserver.kind in bridge.yaml may name. This is the one
// place that knows them; docs/homeservers.md says how to add one.
var homeservers = map[string]Traits{
	// Measured with Dendrite 0.15.2.
	config.Dendrite: {
		PushesPart: true,
		// It sends what it had under way again up to 64 s after what came later.
		Disorder: 2 * time.Minute,
		// It needs a while to ask other servers for what it hides, and takes in again after five
		// minutes what it had begun to take in when it was killed.
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
		// It may send one more before it notes that the one before was not taken.
		Disorder:      2 * time.Minute,
		FollowsAtMost: 100,
		Rereads:       []time.Duration{4 * time.Second, 20 * time.Second},
	},
	// A homeserver that does as the specification says.
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
