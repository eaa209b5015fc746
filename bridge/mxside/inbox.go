package mxside

import (
	"context"

	"appliance/bridge/event"
	"appliance/bridge/ids"
	"appliance/bridge/queue"
	"appliance/bridge/relay/model"
)

// Store is the persistent state of this side. Package store implements it.
type Store interface {
	// Cursor returns how far something was read, "" at the beginning.
	Cursor(ctx context.Context, name string) (string, error)
	MoveCursor(ctx context.Context, name, value string) error
	// Known returns which of the item IDs were ever accepted.
	Known(ctx context.Context, ids []string) (map[string]bool, error)
	// EventLinked reports whether the event of a Rocket.Chat message is known.
	EventLinked(ctx context.Context, msg ids.RCMessage) (bool, error)
	// EventsLinked returns which of the events are linked to a message, or are reactions
	// that both sides have.
	EventsLinked(ctx context.Context, events []ids.MXEvent) (map[ids.MXEvent]bool, error)
	Portals(ctx context.Context) ([]model.Portal, error)
	PortalByMX(ctx context.Context, room ids.MXRoom) (model.Portal, bool, error)
	// GhostsAfter returns the ghosts that follow a given one, ordered by address.
	GhostsAfter(ctx context.Context, after ids.MXUser, limit int) ([]model.Ghost, error)
}

// inbox decides what an event means to the bridge, and stores it.
type inbox struct {
	names  ids.Namespace
	store  Store
	accept func(ctx context.Context, items []queue.Item, cursors map[string]string) error
}

// item returns the item for an event. ok is false for our own echoes and for events
// that do not cross.
func (b *inbox) item(a arrival) (it queue.Item, ok bool) {
	if a.event == nil || b.names.Owns(a.head.Sender) {
		return queue.Item{}, false
	}
	e := a.event
	if m, is := e.(event.MXMember); is && m.Membership == "invite" && b.names.Owns(m.User) {
		e = m.Invitation()
	}
	it, err := event.Item(string(a.head.ID), model.MXLane(a.head.Room), e)
	return it, err == nil
}

// items returns the items for events.
func (b *inbox) items(list []arrival) []queue.Item {
	var items []queue.Item
	for _, a := range list {
		if it, ok := b.item(a); ok {
			items = append(items, it)
		}
	}
	return items
}

// maxID is the maximum length of a Matrix identifier, in bytes (specification,
// "Size limits").
const maxID = 255

// tooLong reports whether any of the strings is too long to be an identifier.
func tooLong(list ...string) bool {
	for _, id := range list {
		if len(id) > maxID {
			return true
		}
	}
	return false
}
