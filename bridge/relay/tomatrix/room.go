package tomatrix

import (
	"context"
	"errors"
	"fmt"

	"appliance/bridge/convert"
	"appliance/bridge/event"
	"appliance/bridge/ids"
	"appliance/bridge/queue"
	"appliance/bridge/relay/model"
	"appliance/bridge/relay/roomstate"
	"appliance/bridge/rocketchat"
)

// rooms applies changes of a Rocket.Chat room to its Matrix room.
type rooms struct {
	*base
	Store roomStore
	RC    roomRocketChat
	roles *roles
}

// deliver applies a change of a Rocket.Chat room to its Matrix room. The item says only
// that something has changed, and who changed it.
func (h *rooms) deliver(ctx context.Context, item queue.Item, in event.RCRoom) error {
	m := in.Message
	p, ok, err := h.portalOf(ctx, m)
	if err != nil || !ok || p.IsDirect() {
		return err
	}
	info, ok, err := h.RC.Room(ctx, p.RCRoom)
	if err != nil || !ok {
		return model.Outcome(item, err, "")
	}
	g, err := h.People.Ghost(ctx, model.PersonOf(m.User))
	if err != nil {
		return model.Outcome(item, err, "")
	}
	switch in.Change {
	case event.Name:
		err = h.State.SetText(ctx, p, g.MXUser, model.StateName, "name", info.Title)
	case event.Topic:
		err = h.State.SetText(ctx, p, g.MXUser, model.StateTopic, "topic", info.Topic)
	case event.Picture:
		err = h.State.SetPicture(ctx, p, g.MXUser, info)
	case event.Announcement:
		err = h.announce(ctx, item, p, g.MXUser, m)
	case event.Privacy:
		p.RCType = info.Type
		err = h.Store.PutPortal(ctx, p, nil, nil)
		h.RC.Watch(p)
	case event.Roles:
		err = h.roles.follow(ctx, p, m, g.MXUser)
	case event.Writers:
		err = h.State.SetWriters(ctx, p, g.MXUser, info)
	}
	if errors.Is(err, model.ErrForbidden) {
		h.Notices.Author(ctx, m, fmt.Sprintf("Your change to %s was not made on Matrix: the room there does not allow it.", roomstate.Label(info)))
		return nil
	}
	return model.Outcome(item, err, "the Matrix server refused it")
}

// announce posts a room's new announcement as a message: Matrix has no announcements.
func (h *rooms) announce(ctx context.Context, item queue.Item, p model.Portal, as ids.MXUser, m rocketchat.Message) error {
	text := m
	text.Type, text.ID = "", m.ID
	if err := h.Joined.Ensure(ctx, p, as); err != nil {
		return err
	}
	for i, c := range convert.ToMatrix(text, h.namesInMessage(ctx, m)) {
		c.MsgType = "m.notice"
		if i == 0 {
			c.Body = "📢 " + c.Body
			if c.FormattedBody != "" {
				c.FormattedBody = "📢 " + c.FormattedBody
			}
		}
		if _, err := h.send(ctx, p, as, item, part(m.ID, i), c, m.Time.UnixMilli()); err != nil {
			return err
		}
	}
	return nil
}
