package portal

import (
	"context"
	"encoding/json"
	"fmt"

	"appliance/bridge/ids"
	"appliance/bridge/relay/model"
	"appliance/bridge/rocketchat"
)

// Tightening restricts what earlier releases left open in the rooms that they created.
type Tightening struct {
	Store tighteningStore
	MX    tighteningMatrix
	Names ids.Namespace
}

// Tighten restricts what earlier releases left open in the rooms that they created:
// members without power could invite, and invited people could read earlier messages. It
// is done once, so that an owner may decide otherwise later. If the bridge lacks the
// power, nothing changes.
func (t *Tightening) Tighten(ctx context.Context, p model.Portal) error {
	if p.MXReader != "" || p.IsDirect() {
		return nil
	}
	if done, err := t.Store.Cursor(ctx, tightened(p)); err != nil || done != "" {
		return err
	}
	if err := model.Ignore(t.raiseInvitePower(ctx, p), model.ErrForbidden); err != nil {
		return fmt.Errorf("raise the power that inviting needs: %w", err)
	}
	if err := model.Ignore(t.hideHistory(ctx, p), model.ErrForbidden); err != nil {
		return fmt.Errorf("hide the history: %w", err)
	}
	return t.Store.MoveCursor(ctx, tightened(p), "1")
}

// hideHistory hides the messages of a private room, from now on, from people who
// are invited later.
func (t *Tightening) hideHistory(ctx context.Context, p model.Portal) error {
	if p.RCType != rocketchat.Group {
		return nil
	}
	now, ok, err := t.MX.State(ctx, p.MXRoom, p.Reader(t.Names), model.StateHistory, "")
	if err != nil {
		return err
	}
	var is struct {
		Visibility string `json:"history_visibility"`
	}
	if ok && json.Unmarshal(now, &is) == nil && is.Visibility != model.HistoryShared {
		return nil
	}
	return t.MX.SetState(ctx, p.MXRoom, p.Reader(t.Names), model.StateHistory, "", map[string]string{"history_visibility": model.HistoryInvited})
}

// raiseInvitePower sets the power level needed to invite, if anybody may invite.
func (t *Tightening) raiseInvitePower(ctx context.Context, p model.Portal) error {
	now, ok, err := t.MX.State(ctx, p.MXRoom, p.Reader(t.Names), model.StatePowers, "")
	if err != nil || !ok {
		return err
	}
	var levels map[string]any
	if err := json.Unmarshal(now, &levels); err != nil {
		return nil //nolint:nilerr // what is no object has no power that could be raised
	}
	// It defaults to 0 (Client-Server API, m.room.power_levels).
	if level, _ := levels["invite"].(float64); level >= model.InvitePower {
		return nil
	}
	levels["invite"] = model.InvitePower
	return t.MX.SetState(ctx, p.MXRoom, p.Reader(t.Names), model.StatePowers, "", levels)
}

// tightened names the cursor that marks a room as set up like the rooms of this release.
func tightened(p model.Portal) string { return "tightened " + string(p.MXRoom) }
