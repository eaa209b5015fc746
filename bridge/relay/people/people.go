// Package people knows who stands for whom: ghosts on Matrix (ghost.go), puppets in
// Rocket.Chat (puppet.go), which ghosts have joined which rooms (joined.go), what people
// may do and how often (admission.go, budget.go), their pictures (picture.go), and whether
// the accounts of puppets are the bridge's own (audit.go).
package people

import (
	"context"
	"fmt"
	"time"

	"appliance/bridge/ids"
	"appliance/bridge/queue"
	"appliance/bridge/relay/model"
)

// People knows who speaks for whom: the ghost of each user of Rocket.Chat, and the puppet of
// each user of Matrix. Its methods are safe for concurrent use.
type People struct {
	Store     peopleStore
	RC        peopleRocketChat
	MX        peopleMatrix
	Accept    model.Accept
	Locks     *model.Locks
	Admission *Admission
	Names     ids.Namespace
}

// Changed takes that a Rocket.Chat user has another name or picture, or is
// gone. Nothing happens for those who do not show on Matrix.
func (people *People) Changed(ctx context.Context, user ids.RCUser) error {
	_, ghost, err := people.Store.GhostByRC(ctx, user)
	if err != nil {
		return err
	}
	if mine, err := people.IsPuppet(ctx, user); err != nil || (!ghost && !mine) {
		return err
	}
	return people.Accept(ctx, []queue.Item{model.RCPersonItem(user, reasonNow())}, nil)
}

// reasonNow is a reason of its own for every moment.
func reasonNow() string { return fmt.Sprint(time.Now().UnixNano()) }
