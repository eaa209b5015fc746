package people

import (
	"context"
	"fmt"
	"time"

	"appliance/bridge/ids"
	"appliance/bridge/queue"
	"appliance/bridge/relay/model"
)

// Changed handles a Rocket.Chat user who has a new name or picture, or is gone. It
// ignores users who do not appear on Matrix.
func (pl *People) Changed(ctx context.Context, user ids.RCUser) error {
	_, ghost, err := pl.Store.GhostByRC(ctx, user)
	if err != nil {
		return err
	}
	if mine, err := pl.IsPuppet(ctx, user); err != nil || (!ghost && !mine) {
		return err
	}
	return pl.Accept(ctx, []queue.Item{model.RCPersonItem(user, reasonNow())}, nil)
}

// reasonNow returns a reason that no other call returns.
func reasonNow() string { return fmt.Sprint(time.Now().UnixNano()) }
