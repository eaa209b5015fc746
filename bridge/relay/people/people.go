// Package people knows who stands for whom: ghosts on Matrix (ghost.go), puppets in
// Rocket.Chat (puppet.go), which ghosts have joined which rooms (joined.go), what people
// may do and how often (admission.go, budget.go), their pictures (picture.go), whether the
// accounts of puppets are the bridge's own (audit.go), and which accounts people of Matrix
// have themselves (double.go).
package people

import (
	"appliance/bridge/ids"
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
