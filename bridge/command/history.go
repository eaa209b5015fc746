package command

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"appliance/bridge/ids"
	"appliance/bridge/relay/model"
	"appliance/bridge/rocketchat"
)

const historyUsage = "/bridge history 200, or /bridge history 2026-01-31"

// history is /bridge history: it connects the room and backfills its past, a number of
// messages or those since a day. Anyone who may invite people may do it, because the
// people invited can read it.
func (c *Commands) history(ctx context.Context, r request, words []string) error {
	last, since, err := howMuch(words)
	if err != nil {
		return err
	}
	room, sub, err := c.roomOf(ctx, r)
	if err != nil {
		return err
	}
	if room.Type == rocketchat.Direct {
		return sayf("the history of a direct message is not carried to Matrix")
	}
	if ok, err := c.mayInvite(ctx, r.user, room, sub); err != nil {
		return err
	} else if !ok {
		return sayf("you may not invite people to this room, so you may not show them its history")
	}
	if err := c.mayUse(ctx, r, room, sub); err != nil {
		return err
	}
	if r.caller == nil {
		return sayf("this room is already connected with Matrix; its history can be carried over only when the connection is made")
	}
	if err := r.caller.Invite(ctx, room.Type, room.ID, c.Client.UserID()); err != nil {
		return fmt.Errorf("bring the bridge into the room: %w", err)
	}
	caller := model.Caller{RCPerson: personOf(r.user), Room: ids.RCRoom(room.ID)}
	n, err := c.Bridge.History(ctx, caller, last, since)
	if err != nil {
		return err
	}
	return c.Answers.Tell(ctx, caller.RCPerson, fmt.Sprintf(
		"The room is connected with Matrix, and %d of its messages and reactions are being carried there. Invite people with /bridge invite @name:example.org; they will see them.", n))
}

// howMuch parses a number of messages, or a day.
func howMuch(words []string) (last int, since time.Time, err error) {
	if len(words) != 1 {
		return 0, since, sayf("this needs a number of messages or a day: %s", historyUsage)
	}
	if n, err := strconv.Atoi(words[0]); err == nil {
		if n < 1 || n > model.MaxHistory {
			return 0, since, sayf("the number of messages must be from 1 to %d", model.MaxHistory)
		}
		return n, since, nil
	}
	since, err = time.Parse(time.DateOnly, words[0])
	if err != nil {
		return 0, since, sayf("%q is neither a number of messages nor a day: %s", words[0], historyUsage)
	}
	return model.MaxHistory, since, nil
}
