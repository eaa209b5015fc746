package relay

import (
	"context"
	"strings"

	"appliance/bridge/convert"
	"appliance/bridge/ids"
	"appliance/bridge/queue"
	"appliance/bridge/rocketchat"
)

// ofRocketChat reads an item of Rocket.Chat and finds the portal of its room. ok is
// false when that is not bridged any more: then there is nothing to do.
func (r *Relay) ofRocketChat(ctx context.Context, item queue.Item) (m rocketchat.Message, p Portal, ok bool, err error) {
	if m, err = convert.ParseMessage(item.Payload); err != nil {
		return m, p, false, queue.Permanent("it could not be read", err)
	}
	p, ok, err = r.Store.PortalByRC(ctx, ids.RCRoom(m.RoomID))
	return m, p, ok, err
}

// ofMatrix is ofRocketChat for an item of Matrix.
func (r *Relay) ofMatrix(ctx context.Context, item queue.Item) (e convert.Event, p Portal, ok bool, err error) {
	if e, err = convert.ParseEvent(item.Payload); err != nil {
		return e, p, false, queue.Permanent("it could not be read", err)
	}
	p, ok, err = r.Store.PortalByMX(ctx, ids.MXRoom(e.Room))
	return e, p, ok, err
}

// namesInMessage answers what a Rocket.Chat message mentions. The server has
// looked its people up already, so nobody is asked. What cannot be found out now
// stays text.
func (r *Relay) namesInMessage(ctx context.Context, m rocketchat.Message) convert.Lookup {
	return convert.Lookup{
		Dialect: r.RC.Dialect(ctx),
		User: func(username string) (ids.MXUser, string, bool) {
			for _, mention := range m.Mentions {
				if strings.EqualFold(mention.Username, username) && mention.Type != "team" {
					return r.addressOf(ctx, RCPerson{ID: ids.RCUser(mention.ID), Username: mention.Username, Name: mention.Name})
				}
			}
			return "", "", false
		},
		Emoji: func(name string) (string, bool) { return r.emojiToMatrix(ctx, name) },
		Event: func(message string) (ids.MXEvent, bool) {
			links, err := r.Store.LinksByMessage(ctx, ids.RCMessage(message))
			if err != nil || len(links) == 0 || links[0].RCRoom != m.RoomID {
				return "", false
			}
			return ids.MXEvent(links[0].MXEvent), true
		},
		Room: func(channel string) (string, bool) {
			for _, c := range m.Channels {
				if strings.EqualFold(c.Name, channel) {
					p, ok, err := r.Store.PortalByRC(ctx, ids.RCRoom(c.ID))
					return string(p.MXRoom), ok && err == nil && p.RCType != directRoom
				}
			}
			return "", false
		},
	}
}

// addressOf returns the Matrix user that somebody in Rocket.Chat is or has.
func (r *Relay) addressOf(ctx context.Context, who RCPerson) (mx ids.MXUser, name string, ok bool) {
	if p, ok, err := r.Store.PuppetByRC(ctx, who.ID); err != nil || ok {
		return p.MXUser, p.Name, ok && err == nil
	}
	g, err := r.ghost(ctx, who)
	return g.MXUser, g.Name, err == nil
}

// mayCallEverybody is the power that calling everybody in a room needs on Matrix,
// unless its m.room.power_levels says otherwise.
const mayCallEverybody = 50

// namesInEvent answers what a Matrix event mentions and quotes, and what its
// sender may do. What cannot be found out now is taken to be as usual.
func (r *Relay) namesInEvent(ctx context.Context, p Portal, e convert.Event) convert.Lookup {
	limits, err := r.RC.Limits(ctx)
	if err != nil {
		limits = Limits{}
	}
	quiet := false
	if e.Content.Mentions != nil && e.Content.Mentions.Room {
		powers, err := r.powers(ctx, p)
		quiet = err == nil && powers.Of(e.Sender) < mayCallEverybody
	}
	return convert.Lookup{
		Limit:   limits.Text,
		Dialect: r.RC.Dialect(ctx),
		Quiet:   quiet,
		Channel: func(room string) (string, bool) {
			linked, ok, err := r.Store.PortalByMX(ctx, ids.MXRoom(room))
			if err != nil || !ok || linked.RCType == directRoom {
				return "", false
			}
			info, ok, err := r.RC.Room(ctx, linked.RCRoom)
			return info.Slug, ok && err == nil && info.Slug != ""
		},
		Permalink: func(event ids.MXEvent) (string, bool) {
			message, err := r.messageOf(ctx, p, event)
			return r.permalink(p, message), err == nil && message != ""
		},
		Username: func(mx ids.MXUser) (string, bool) {
			if p, ok, err := r.Store.PuppetByMX(ctx, mx); err != nil || ok {
				return p.Username, ok && err == nil
			}
			g, ok, err := r.Store.GhostByMX(ctx, mx)
			return g.Username, ok && err == nil
		},
	}
}
