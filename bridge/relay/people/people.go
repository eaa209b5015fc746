// Package people manages who stands for whom: ghosts on Matrix (ghost.go), puppets in
// Rocket.Chat (puppet.go), which ghosts have joined which rooms (joined.go), what people
// may do and how often (admission.go, budget.go), their pictures (picture.go), whether
// the accounts of puppets are the bridge's own (audit.go), and which accounts people on
// Matrix have themselves (double.go).
package people

import (
	"appliance/bridge/ids"
	"appliance/bridge/relay/model"
)

// People maps each Rocket.Chat user to the ghost, and each Matrix user to the puppet,
// that speaks for them. Its methods are safe for concurrent use.
type People struct {
	Store     peopleStore
	RC        peopleRocketChat
	MX        peopleMatrix
	Accept    model.Accept
	Locks     *model.Locks
	Admission *Admission
	Names     ids.Namespace
}
