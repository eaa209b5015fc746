package relay

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"appliance/bridge/ids"
	"appliance/bridge/queue"
)

// History bridges the caller's room and carries what was said in it before: the
// last messages, or those since a time, or both. Everything is stored before
// History returns, in one transaction with the portal, and carried in the order
// in which it was said, before anything new; it keeps its times on Matrix. n is
// how many items were stored. A room that is bridged already keeps its past where
// it is, because what comes now would come after what has come since.
func (r *Relay) History(ctx context.Context, caller Caller, last int, since time.Time) (n int, err error) {
	if last <= 0 || last > MaxHistory {
		last = MaxHistory
	}
	err = r.alone("room "+string(caller.Room), func() error {
		if _, ok, err := r.Store.PortalByRC(ctx, caller.Room); err != nil {
			return err
		} else if ok {
			return say("this room is connected with Matrix already; its past can be brought along only when the connection is made")
		}
		p, err := r.bridgeRoom(ctx, caller.Room, &caller.RCPerson, func(info RCRoomInfo) ([]queue.Item, error) {
			items, err := r.RC.History(ctx, info, last, since)
			n = len(items)
			return items, err
		})
		if err != nil || n == 0 {
			return err
		}
		// Who spoke then and is no member now has had to come back for it.
		leave := queue.Item{ID: "roster after history " + string(p.MXRoom), Lane: RCLane(p.RCRoom), Kind: KindRCRoster, Payload: []byte(p.RCRoom)}
		return r.Accept(ctx, []queue.Item{leave}, nil)
	})
	return n, err
}

// invitee is the payload of KindRCInvite.
type invitee struct {
	Caller RCPerson   `json:"caller"`
	Target ids.MXUser `json:"target"`
	Room   ids.RCRoom `json:"room"`
}

// inviteLater puts an invitation behind what waits for the room.
func (r *Relay) inviteLater(ctx context.Context, caller Caller, p Portal, target ids.MXUser) error {
	payload, err := json.Marshal(invitee{caller.RCPerson, target, p.RCRoom})
	if err != nil {
		return err
	}
	id := fmt.Sprintf("invite %s %s %d", p.MXRoom, target, time.Now().UnixMilli())
	return r.Accept(ctx, []queue.Item{{ID: id, Lane: RCLane(p.RCRoom), Kind: KindRCInvite, Payload: payload}}, nil)
}

// inviteNow makes an invitation that has waited. Whoever asked for it is told when
// it fails.
func (r *Relay) inviteNow(ctx context.Context, item queue.Item) error {
	var inv invitee
	if err := json.Unmarshal(item.Payload, &inv); err != nil {
		return queue.Permanent("it could not be read", err)
	}
	p, ok, err := r.Store.PortalByRC(ctx, inv.Room)
	if err != nil || !ok {
		return err
	}
	g, err := r.ghost(ctx, inv.Caller)
	if err == nil {
		err = r.ensureJoined(ctx, p, g.MXUser)
	}
	if err == nil {
		err = r.invite(ctx, p, g.MXUser, inv.Target)
	}
	if se, ok := errors.AsType[*SayError](err); ok {
		if err := r.RC.Tell(ctx, inv.Caller, "Sorry: "+se.Text+"."); err != nil {
			r.Log.Warn("somebody could not be told", "user", inv.Caller.ID, "err", err)
		}
		return nil
	}
	return outcome(item, err, "")
}
