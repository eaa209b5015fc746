package tomatrix

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"appliance/bridge/convert"
	"appliance/bridge/ids"
	"appliance/bridge/queue"
	"appliance/bridge/relay/membership"
	"appliance/bridge/relay/model"
	"appliance/bridge/relay/notice"
	"appliance/bridge/relay/people"
	"appliance/bridge/relay/portal"
	"appliance/bridge/relay/roomstate"
	"appliance/bridge/rocketchat"
	"appliance/bridge/trace"
)

// base holds what several handlers need.
type base struct {
	Store     baseStore
	RC        baseRocketChat
	MX        baseMatrix
	Names     ids.Namespace
	Log       *slog.Logger
	Accept    model.Accept
	People    *people.People
	Pictures  *people.Pictures
	Joined    *people.Joined
	Admission *people.Admission
	Notices   *notice.Notices
	State     *roomstate.State
	Portals   *portal.Portals
	Newcomers *membership.Newcomers
}

// portalOf finds the portal of a message's room. ok is false when the room is no longer
// bridged, so there is nothing to do.
func (h *base) portalOf(ctx context.Context, m rocketchat.Message) (p model.Portal, ok bool, err error) {
	return h.Store.PortalByRC(ctx, ids.RCRoom(m.RoomID))
}

// eventOf returns the event and sender that a message of a portal's room has on Matrix.
func (h *base) eventOf(ctx context.Context, p model.Portal, message ids.RCMessage) (ids.MXEvent, ids.MXUser, error) {
	links, err := h.Store.LinksByMessage(ctx, message)
	if err != nil || len(links) == 0 || links[0].MXRoom != string(p.MXRoom) {
		return "", "", err
	}
	return ids.MXEvent(links[0].MXEvent), ids.MXUser(links[0].MXSender), nil
}

// namesInMessage looks up what a Rocket.Chat message mentions. The message carries its
// users, so it needs no request to the server. What is not found stays text.
func (h *base) namesInMessage(ctx context.Context, m rocketchat.Message) convert.Lookup {
	return convert.Lookup{
		Dialect: h.RC.Dialect(ctx),
		User: func(username string) (ids.MXUser, string, bool) {
			for _, mention := range m.Mentions {
				if strings.EqualFold(mention.Username, username) && mention.Type != "team" {
					return h.People.AddressOf(ctx, model.RCPerson{ID: ids.RCUser(mention.ID), Username: mention.Username, Name: mention.Name})
				}
			}
			return "", "", false
		},
		Emoji: func(name string) (string, bool) { return h.Pictures.Emoji(ctx, name) },
		Event: func(message string) (ids.MXEvent, bool) {
			links, err := h.Store.LinksByMessage(ctx, ids.RCMessage(message))
			if err != nil || len(links) == 0 || links[0].RCRoom != m.RoomID {
				return "", false
			}
			return ids.MXEvent(links[0].MXEvent), true
		},
		Room: func(channel string) (string, bool) {
			for _, c := range m.Channels {
				if strings.EqualFold(c.Name, channel) {
					p, ok, err := h.Store.PortalByRC(ctx, ids.RCRoom(c.ID))
					return string(p.MXRoom), ok && err == nil && !p.IsDirect()
				}
			}
			return "", false
		},
	}
}

// send sends a message as a ghost, exactly once. The first attempt only sends. A later
// one first checks whether an earlier one arrived without our knowing: homeservers
// remember transaction IDs in memory only.
func (h *base) send(ctx context.Context, p model.Portal, as ids.MXUser, item queue.Item, source string, c convert.Content, at int64) (sent ids.MXEvent, err error) {
	ctx, span := trace.Step(ctx, "send")
	defer func() { span.Done(err) }()
	if item.Attempts > 0 {
		event, ok, err := h.MX.FindSent(ctx, p.MXRoom, p.Reader(h.Names), source)
		if err != nil || ok {
			return event, err
		}
	}
	h.Newcomers.NoteSpoken(p.MXRoom)
	c.Source = source
	txn := ids.Transaction(as, item.ID+" "+source, 0)
	event, err := h.MX.Send(ctx, p.MXRoom, as, txn, millis(at), c)
	if errors.Is(err, model.ErrForbidden) {
		// The ghost is not joined after all: it was removed, or the homeserver lost the
		// join. Retry once from the beginning.
		h.Joined.Forget(p.MXRoom, as)
		if err := h.bringToSpeak(ctx, p, as, item); err != nil {
			return "", err
		}
		event, err = h.MX.Send(ctx, p.MXRoom, as, txn, millis(at), c)
		if errors.Is(err, model.ErrForbidden) {
			return "", fmt.Errorf("%w: %w", model.ErrRefused, err)
		}
	}
	return event, err
}

// bringToSpeak makes the ghost of an item's author join. A message may be read after its
// author was removed: the ghost then returns to send it, and the members are compared
// afterwards, so that the ghost does not stay. Items that were accepted together, such as
// a backfill, share one comparison.
func (h *base) bringToSpeak(ctx context.Context, p model.Portal, ghost ids.MXUser, item queue.Item) error {
	invited, err := h.Joined.EnsureInvited(ctx, p, ghost)
	if err != nil || !invited {
		return err
	}
	compare := model.RCMembershipItem(fmt.Sprintf("invited to speak %s %d", p.MXRoom, item.Accepted.UnixMilli()), p.RCRoom)
	return h.Accept(ctx, []queue.Item{compare}, nil)
}

// redact redacts an event as its sender, if that is a ghost, or else as the reader of the
// portal. If neither may, the event stays.
func (h *base) redact(ctx context.Context, p model.Portal, sender ids.MXUser, event ids.MXEvent, item string) error {
	as := p.Reader(h.Names)
	if h.Names.Owns(sender) {
		as = sender
	}
	err := h.MX.Redact(ctx, p.MXRoom, as, event, ids.Transaction(as, item+" "+string(event), 0))
	if errors.Is(err, model.ErrForbidden) && as != p.Reader(h.Names) {
		as = p.Reader(h.Names)
		err = h.MX.Redact(ctx, p.MXRoom, as, event, ids.Transaction(as, item+" "+string(event), 0))
	}
	if errors.Is(err, model.ErrForbidden) || errors.Is(err, model.ErrNotFound) {
		h.Log.Warn("an event could not be redacted", "mx_room", p.MXRoom, "mx_event", event, "err", err)
		return nil
	}
	return err
}

func millis(ms int64) time.Time { return time.UnixMilli(ms).UTC() }
