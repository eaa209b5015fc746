package relay

import (
	"context"
	"encoding/json"
	"fmt"

	"appliance/bridge/rocketchat"
)

// hideHistory makes what is said from now on in a private room readable only for those
// who were invited by then.
func (r *Relay) hideHistory(ctx context.Context, p Portal) error {
	if p.RCType != rocketchat.Group {
		return nil
	}
	now, ok, err := r.MX.State(ctx, p.MXRoom, r.reader(p), stateHistory, "")
	if err != nil {
		return err
	}
	var is struct {
		Visibility string `json:"history_visibility"`
	}
	if ok && json.Unmarshal(now, &is) == nil && is.Visibility != HistoryShared {
		return nil
	}
	return r.MX.SetState(ctx, p.MXRoom, r.reader(p), stateHistory, "", map[string]string{"history_visibility": HistoryInvited})
}

// tightened names the note that a room is as rooms are made now.
func tightened(p Portal) string { return "tightened " + string(p.MXRoom) }

// tighten closes what earlier releases left open in the rooms that they made: members
// without power could invite, and the invited read what was said before. It is done
// once, so that an owner may decide otherwise later. In a room that the bridge has no
// power over nothing changes.
func (r *Relay) tighten(ctx context.Context, p Portal) error {
	if p.MXReader != "" || p.RCType == directRoom {
		return nil
	}
	if done, err := r.Store.Cursor(ctx, tightened(p)); err != nil || done != "" {
		return err
	}
	if err := ignore(r.raiseInvitePower(ctx, p), ErrForbidden); err != nil {
		return fmt.Errorf("raise the power that inviting needs: %w", err)
	}
	if err := ignore(r.hideHistory(ctx, p), ErrForbidden); err != nil {
		return fmt.Errorf("hide the history: %w", err)
	}
	return r.Store.MoveCursor(ctx, tightened(p), "1")
}

// raiseInvitePower sets the power that inviting needs, where anybody may invite.
func (r *Relay) raiseInvitePower(ctx context.Context, p Portal) error {
	now, ok, err := r.MX.State(ctx, p.MXRoom, r.reader(p), statePowers, "")
	if err != nil || !ok {
		return err
	}
	var levels map[string]any
	if err := json.Unmarshal(now, &levels); err != nil {
		return nil //nolint:nilerr // what is no object has no power that could be raised
	}
	// It is 0 when it is not set (Client-Server API, m.room.power_levels).
	if level, _ := levels["invite"].(float64); level >= InvitePower {
		return nil
	}
	levels["invite"] = InvitePower
	return r.MX.SetState(ctx, p.MXRoom, r.reader(p), statePowers, "", levels)
}
