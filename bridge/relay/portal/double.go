package portal

import (
	"context"

	"appliance/bridge/ids"
	"appliance/bridge/relay/model"
)

// LendTo records that the caller wants a Matrix user to write with the caller's own
// account, and returns the code with which that user confirms it; see people.Doubles.
func (cmd *Commands) LendTo(ctx context.Context, caller model.RCPerson, target ids.MXUser) (code string, err error) {
	return cmd.Doubles.Ask(ctx, caller, target)
}

// LentTo returns the Matrix user who writes with the account of a person in Rocket.Chat.
func (cmd *Commands) LentTo(ctx context.Context, who ids.RCUser) (ids.MXUser, bool, error) {
	d, ok, err := cmd.Store.DoubleByRC(ctx, who)
	return d.MXUser, ok, err
}

// TakeBack undoes LendTo, even if it has not been confirmed yet. ok is false if no Matrix
// user wrote with the account.
func (cmd *Commands) TakeBack(ctx context.Context, who ids.RCUser, why string) (user ids.MXUser, ok bool, err error) {
	if err := cmd.Doubles.Forget(ctx, who); err != nil {
		return "", false, err
	}
	d, ok, err := cmd.Store.DoubleByRC(ctx, who)
	if err != nil || !ok {
		return "", false, err
	}
	return d.MXUser, true, cmd.Doubles.End(ctx, d, why)
}
