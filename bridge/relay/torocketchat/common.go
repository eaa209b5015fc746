package torocketchat

import (
	"context"
	"errors"
	"log/slog"

	"golang.org/x/time/rate"

	"appliance/bridge/convert"
	"appliance/bridge/ids"
	"appliance/bridge/queue"
	"appliance/bridge/relay/model"
	"appliance/bridge/relay/notice"
	"appliance/bridge/relay/people"
	"appliance/bridge/relay/portal"
	"appliance/bridge/relay/roomstate"
	"appliance/bridge/rocketchat"
	"appliance/bridge/trace"
)

// mayCallEverybody is the power level needed to notify everybody in a Matrix room, unless
// its m.room.power_levels says otherwise.
const mayCallEverybody = 50

// base holds what several handlers need.
type base struct {
	Store     baseStore
	RC        baseRocketChat
	MX        baseMatrix
	Early     *rate.Limiter // for events that came before the message they refer to
	Names     ids.Namespace
	Site      string
	Log       *slog.Logger
	Accept    model.Accept
	People    *people.People
	Joined    *people.Joined
	Admission *people.Admission
	Notices   *notice.Notices
	State     *roomstate.State
	Portals   *portal.Portals
	Doubles   *people.Doubles
}

// portalOf finds the portal of a room. ok is false when the room is no longer bridged, so
// there is nothing to do.
func (h *base) portalOf(ctx context.Context, room ids.MXRoom) (p model.Portal, ok bool, err error) {
	return h.Store.PortalByMX(ctx, room)
}

// messageOf returns the Rocket.Chat message of an event in a portal's room.
func (h *base) messageOf(ctx context.Context, p model.Portal, event ids.MXEvent) (ids.RCMessage, error) {
	if event == "" {
		return "", nil
	}
	links, err := h.Store.LinksByEvent(ctx, event)
	return messageIn(p, links), err
}

// messageIn returns the message in a portal's room that links point to, "" if there is none.
func messageIn(p model.Portal, links []queue.Receipt) ids.RCMessage {
	if len(links) == 0 || links[0].RCRoom != string(p.RCRoom) {
		return ""
	}
	return ids.RCMessage(links[0].RCMessage)
}

// target returns the message in a portal's room that an event refers to; see linksOf.
func (h *base) target(ctx context.Context, item queue.Item, p model.Portal, event ids.MXEvent) (ids.RCMessage, error) {
	if event == "" {
		return "", nil
	}
	links, err := h.linksOf(ctx, item, p.MXRoom, event)
	return messageIn(p, links), err
}

// speaker returns the puppet of a person who writes in a portal's room. A direct room
// keeps its original members: nobody else gets an account for it.
func (h *base) speaker(ctx context.Context, p model.Portal, user ids.MXUser) (model.Puppet, error) {
	if p.IsDirect() {
		puppet, ok, err := h.Store.PuppetByMX(ctx, user)
		if err == nil && !ok {
			err = model.ErrOutsider
		}
		return puppet, err
	}
	return h.People.Puppet(ctx, user, "")
}

// author returns the account that writes for a person in a portal's room: the person's
// own, if one is linked, or else the puppet.
func (h *base) author(ctx context.Context, p model.Portal, user ids.MXUser) (model.Puppet, error) {
	puppet, err := h.speaker(ctx, p, user)
	if err != nil {
		return puppet, err
	}
	return h.Doubles.Author(ctx, p, puppet)
}

// fallsBack reports whether the puppet takes over from a person's own account, because
// that account is not in the room, is gone, or has reached a Rocket.Chat limit from which
// puppets are exempt.
func fallsBack(as model.Puppet, err error) bool {
	_, limited := errors.AsType[*model.WaitError](err)
	return as.Own && (limited || errors.Is(err, model.ErrForbidden) || errors.Is(err, model.ErrNoAccount))
}

// sayAsOwn sends with a person's own account, and returns the puppet if it has to send
// instead. The message is recorded first, so that its echo is not mistaken for one that
// the person wrote in Rocket.Chat.
func (h *base) sayAsOwn(ctx context.Context, p model.Portal, own model.Puppet, id, thread ids.RCMessage, text string) (instead *model.Puppet, err error) {
	if err := h.Store.MarkKnown(ctx, model.RCWrite(id)); err != nil {
		return nil, err
	}
	err = h.RC.Send(ctx, own, p.RCRoom, id, thread, text)
	if !fallsBack(own, err) {
		return nil, err
	}
	h.Doubles.Outside(p, own.RCUser)
	h.Log.Info("the puppet speaks in place of a linked account", "mx_user", own.MXUser, "rc_room", p.RCRoom, "err", err)
	puppet, err := h.speaker(ctx, p, own.MXUser)
	return &puppet, err
}

// say sends as a puppet, and adds it to the room first if it is not in it.
func (h *base) say(ctx context.Context, p model.Portal, puppet model.Puppet, id, thread ids.RCMessage, text string) (err error) {
	ctx, span := trace.Step(ctx, "send")
	defer func() { span.Done(err) }()
	if puppet.Own {
		instead, err := h.sayAsOwn(ctx, p, puppet, id, thread, text)
		if err != nil || instead == nil {
			return err
		}
		puppet = *instead
	}
	err = h.asMember(ctx, p, puppet, func() error { return h.RC.Send(ctx, puppet, p.RCRoom, id, thread, text) })
	if p.IsDirect() && errors.Is(err, model.ErrForbidden) {
		return errors.Join(model.ErrOutsider, err)
	}
	return err
}

// asMember does something as a puppet. If that is not allowed, the puppet is added to the room
// first; what is not allowed then either is an ErrRefused.
func (h *base) asMember(ctx context.Context, p model.Portal, puppet model.Puppet, do func() error) error {
	err := do()
	if !errors.Is(err, model.ErrForbidden) {
		return err
	}
	if !p.IsDirect() {
		if err := h.RC.Add(ctx, p, puppet.RCUser); err != nil {
			return err
		}
		err = do()
	}
	if errors.Is(err, model.ErrForbidden) {
		return errors.Join(model.ErrRefused, err)
	}
	return err
}

// permalink returns the URL by which Rocket.Chat finds a quoted message.
func (h *base) permalink(p model.Portal, message ids.RCMessage) string {
	kind := map[string]string{rocketchat.Channel: "channel", rocketchat.Direct: "direct"}[p.RCType]
	if kind == "" {
		kind = "group"
	}
	return h.Site + "/" + kind + "/" + string(p.RCRoom) + "?msg=" + string(message)
}

// namesInEvent looks up what a Matrix event mentions and quotes, and what its sender may
// do. What is not found gets default values.
func (h *base) namesInEvent(ctx context.Context, p model.Portal, e convert.Event) convert.Lookup {
	limits, err := h.RC.Limits(ctx)
	if err != nil {
		limits = model.Limits{}
	}
	quiet := false
	if e.Content.Mentions != nil && e.Content.Mentions.Room {
		powers, err := h.State.Powers(ctx, p)
		quiet = err == nil && powers.Of(e.Sender) < mayCallEverybody
	}
	return convert.Lookup{
		Limit:   limits.Text,
		Dialect: h.RC.Dialect(ctx),
		Quiet:   quiet,
		Channel: func(room string) (string, bool) {
			linked, ok, err := h.Store.PortalByMX(ctx, ids.MXRoom(room))
			if err != nil || !ok || linked.IsDirect() {
				return "", false
			}
			info, ok, err := h.RC.Room(ctx, linked.RCRoom)
			return info.Slug, ok && err == nil && info.Slug != ""
		},
		Permalink: func(event ids.MXEvent) (string, bool) {
			message, err := h.messageOf(ctx, p, event)
			return h.permalink(p, message), err == nil && message != ""
		},
		Username: func(mx ids.MXUser) (string, bool) {
			if d, ok, err := h.Store.DoubleByMX(ctx, mx); err == nil && ok && !p.IsDirect() {
				return d.Username, true
			}
			if p, ok, err := h.Store.PuppetByMX(ctx, mx); err != nil || ok {
				return p.Username, ok && err == nil
			}
			g, ok, err := h.Store.GhostByMX(ctx, mx)
			return g.Username, ok && err == nil
		},
	}
}

// deleteMessage deletes one part of a message, as its author if that is a puppet and
// otherwise as the bridge account.
func (h *base) deleteMessage(ctx context.Context, l queue.Receipt) error {
	// Rocket.Chat echoes the deletion; it is marked as seen, so that the echo is ignored.
	if err := h.Store.MarkKnown(ctx, model.RCDelete(ids.RCMessage(l.RCMessage))); err != nil {
		return err
	}
	author, ok, err := h.Store.PuppetByMX(ctx, ids.MXUser(l.MXSender))
	if err != nil {
		return err
	}
	var as *model.Puppet
	if ok {
		as = &author
	}
	err = model.ErrForbidden
	if d, own, derr := h.Store.DoubleByMX(ctx, ids.MXUser(l.MXSender)); derr != nil {
		return derr
	} else if own { // the message may be older than the link
		double := d.Puppet()
		err = h.RC.Delete(ctx, &double, ids.RCRoom(l.RCRoom), ids.RCMessage(l.RCMessage))
	}
	if errors.Is(err, model.ErrForbidden) || errors.Is(err, model.ErrNoAccount) {
		err = h.RC.Delete(ctx, as, ids.RCRoom(l.RCRoom), ids.RCMessage(l.RCMessage))
	}
	if errors.Is(err, model.ErrForbidden) || errors.Is(err, model.ErrNotFound) || errors.Is(err, model.ErrRefused) {
		h.Log.Info("a message could not be deleted", "rc_message", l.RCMessage, "err", err)
		return nil
	}
	return err
}
