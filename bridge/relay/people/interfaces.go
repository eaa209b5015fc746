package people

import (
	"context"
	"encoding/json"
	"time"

	"appliance/bridge/ids"
	"appliance/bridge/relay/model"
)

// admissionRocketChat is what Admission needs from Rocket.Chat.
type admissionRocketChat interface {
	// Profile describes a user; ok is false when the account is gone.
	Profile(ctx context.Context, user ids.RCUser) (p model.RCProfile, ok bool, err error)
	// Roles returns everybody with a role in a room.
	Roles(ctx context.Context, p model.Portal) (map[ids.RCUser]model.Role, error)
}

// auditRocketChat is what Audit needs from Rocket.Chat.
type auditRocketChat interface {
	// Profile describes a user; ok is false when the account is gone.
	Profile(ctx context.Context, user ids.RCUser) (p model.RCProfile, ok bool, err error)
}

// auditStore is what Audit needs from the store.
type auditStore interface {
	// PuppetByMX returns the puppet of a Matrix user.
	PuppetByMX(ctx context.Context, user ids.MXUser) (model.Puppet, bool, error)
	// PuppetsAfter returns up to limit Matrix users with a puppet that follow the given
	// address, in address order.
	PuppetsAfter(ctx context.Context, after ids.MXUser, limit int) ([]ids.MXUser, error)
}

// doubleRocketChat is what Doubles needs from Rocket.Chat.
type doubleRocketChat interface {
	// Add adds a user to a room, as the bridge account.
	Add(ctx context.Context, p model.Portal, who ids.RCUser) error
	// CloseAccount ends the session that OpenAccount opened.
	CloseAccount(ctx context.Context, d model.Double) error
	// IsBridge reports whether a user is the bridge account itself.
	IsBridge(user ids.RCUser) bool
	// IsIn reports whether an account is in a room.
	IsIn(ctx context.Context, p model.Puppet, room ids.RCRoom) (bool, error)
	// OpenAccount opens a session as a user, with the privileges of the bridge account.
	OpenAccount(ctx context.Context, user ids.RCUser) (model.Token, error)
	// Profile describes a user; ok is false when the account is gone.
	Profile(ctx context.Context, user ids.RCUser) (p model.RCProfile, ok bool, err error)
}

// doubleStore is what Doubles needs from the store.
type doubleStore interface {
	// ClaimOf returns the unexpired claim for a Matrix user with the digest of a code. A
	// digest that matches none counts as an attempt: after most attempts, all claims for
	// the user are dropped.
	ClaimOf(ctx context.Context, user ids.MXUser, digest string, now time.Time, most int) (c model.Claim, ok bool, err error)
	// Cursor returns the value of a cursor, "" if it was never set.
	Cursor(ctx context.Context, name string) (string, error)
	// DoubleByMX returns the double of a Matrix user.
	DoubleByMX(ctx context.Context, user ids.MXUser) (model.Double, bool, error)
	// DoubleByRC returns the double with the given Rocket.Chat user ID.
	DoubleByRC(ctx context.Context, user ids.RCUser) (model.Double, bool, error)
	// DropClaim removes the claim of a Rocket.Chat user.
	DropClaim(ctx context.Context, user ids.RCUser) error
	// DropDouble removes a double.
	DropDouble(ctx context.Context, d model.Double) error
	// MoveCursor sets the value of a cursor.
	MoveCursor(ctx context.Context, name, value string) error
	// PuppetByRC returns the puppet with the given Rocket.Chat user ID.
	PuppetByRC(ctx context.Context, user ids.RCUser) (model.Puppet, bool, error)
	// PutClaim stores a claim, replacing an earlier one of the same account.
	PutClaim(ctx context.Context, c model.Claim) error
	// PutDouble stores a double and removes the claim that led to it, in one transaction.
	// It returns false when the claim is gone, or when either side already has a double.
	PutDouble(ctx context.Context, d model.Double, c model.Claim) (bool, error)
}

// joinedMatrix is what Joined needs from Matrix.
type joinedMatrix interface {
	// Admit makes one of our users join that is not in the room, after inviter has
	// invited it. If the invitation is refused, the user may still join.
	Admit(ctx context.Context, room ids.MXRoom, who, inviter ids.MXUser) error
	// Join makes one of our users join. invited reports that inviter had to invite it
	// first, which means that it was not in the room.
	Join(ctx context.Context, room ids.MXRoom, who, inviter ids.MXUser) (invited bool, err error)
	// State returns the content of a state event, as reader; ok is false
	// when it is not set.
	State(ctx context.Context, room ids.MXRoom, reader ids.MXUser, kind, key string) (content json.RawMessage, ok bool, err error)
}

// joinedRocketChat is what Joined needs from Rocket.Chat.
type joinedRocketChat interface {
	// IsBridge reports whether a user is the bridge account itself.
	IsBridge(user ids.RCUser) bool
}

// peopleMatrix is what People needs from Matrix.
type peopleMatrix interface {
	// Register makes sure that a ghost exists and has the given display name.
	Register(ctx context.Context, ghost ids.MXUser, name string) error
}

// peopleRocketChat is what People needs from Rocket.Chat.
type peopleRocketChat interface {
	// CreatePuppet creates the account for a Matrix user, or finds the one that an
	// earlier call created.
	CreatePuppet(ctx context.Context, user ids.MXUser, name string) (model.Puppet, error)
	// Rename changes a puppet's display name.
	Rename(ctx context.Context, p model.Puppet, name string) error
	// UserByID looks a user up; ok is false when there is no such user.
	UserByID(ctx context.Context, id ids.RCUser) (p model.RCPerson, ok bool, err error)
	// UserByName looks a user up; ok is false when there is no such user.
	UserByName(ctx context.Context, username string) (p model.RCPerson, ok bool, err error)
}

// peopleStore is what People needs from the store.
type peopleStore interface {
	// GhostByMX returns the ghost with the given address.
	GhostByMX(ctx context.Context, user ids.MXUser) (model.Ghost, bool, error)
	// GhostByRC returns the ghost of a Rocket.Chat user.
	GhostByRC(ctx context.Context, user ids.RCUser) (model.Ghost, bool, error)
	// PuppetByMX returns the puppet of a Matrix user.
	PuppetByMX(ctx context.Context, user ids.MXUser) (model.Puppet, bool, error)
	// PuppetByRC returns the puppet with the given Rocket.Chat user ID.
	PuppetByRC(ctx context.Context, user ids.RCUser) (model.Puppet, bool, error)
	// PutGhost stores a ghost or updates its names.
	PutGhost(ctx context.Context, g model.Ghost) error
	// PutPuppet stores a puppet or updates its names or token.
	PutPuppet(ctx context.Context, p model.Puppet) error
}

// pictureMatrix is what Pictures needs from Matrix.
type pictureMatrix interface {
	// Upload stores a file, as a ghost, and returns its mxc:// address.
	Upload(ctx context.Context, as ids.MXUser, m model.Media) (mxc string, err error)
}

// pictureRocketChat is what Pictures needs from Rocket.Chat.
type pictureRocketChat interface {
	// Emoji returns a custom emoji of this Rocket.Chat by its name or an alias.
	Emoji(ctx context.Context, name string) (model.RCEmoji, bool)
	// EmojiPicture fetches the picture of an emoji, of at most limit bytes.
	EmojiPicture(ctx context.Context, name string, limit int64) ([]byte, error)
}

// pictureStore is what Pictures needs from the store.
type pictureStore interface {
	// Cursor returns the value of a cursor, "" if it was never set.
	Cursor(ctx context.Context, name string) (string, error)
	// MoveCursor sets the value of a cursor.
	MoveCursor(ctx context.Context, name, value string) error
}

// Store is what this package needs from the store.
type Store interface {
	auditStore
	doubleStore
	peopleStore
	pictureStore
}

// RocketChat is what this package needs from Rocket.Chat.
type RocketChat interface {
	admissionRocketChat
	auditRocketChat
	doubleRocketChat
	joinedRocketChat
	peopleRocketChat
	pictureRocketChat
}

// Matrix is what this package needs from Matrix.
type Matrix interface {
	joinedMatrix
	peopleMatrix
	pictureMatrix
}
