package rcside

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"

	"appliance/bridge/event"
	"appliance/bridge/ids"
	"appliance/bridge/queue"
	"appliance/bridge/relay/model"
	"appliance/bridge/rocketchat"
)

// Accept stores items and cursors; see relay.Relay.Accept.
type Accept func(ctx context.Context, items []queue.Item, cursors map[string]string) error

const (
	// overlap is how far before the cursor catching up begins: changes are
	// announced up to a minute after their timestamp when Rocket.Chat looks at
	// links first.
	overlap = 90 * time.Second
	// maxMissed is how many missed messages are sorted in memory at once.
	maxMissed = 5000
)

// inbox turns messages into items and passes them on.
type inbox struct {
	*accounts
	*server
	*watched
	accept Accept
}

// missed stores what has happened in a room since its cursor, in the order in which
// messages were written: the server returns changes in the order of the last change.
func (s *inbox) missed(ctx context.Context, client *rocketchat.Client, room ids.RCRoom) error {
	since, err := s.since(ctx, room)
	if err != nil {
		return err
	}
	var all []rocketchat.Message
	err = client.SyncMessages(ctx, string(room), since, func(ms []rocketchat.Message) error {
		if all = append(all, ms...); len(all) < maxMissed {
			return nil
		}
		err := s.receive(ctx, all)
		all = nil
		return err
	})
	if err != nil {
		return err
	}
	slices.SortStableFunc(all, func(a, b rocketchat.Message) int { return a.Time.Compare(b.Time.Time) })
	err = client.SyncDeleted(ctx, string(room), since, func(ds []rocketchat.Deletion) error {
		for _, d := range ds {
			all = append(all, event.Deleted(string(room), d.ID).Message)
		}
		return nil
	})
	if err != nil {
		return err
	}
	return s.receive(ctx, all)
}

// since returns the time from which a room has to be read: a little before its
// cursor, but not before its portal began.
func (s *inbox) since(ctx context.Context, room ids.RCRoom) (time.Time, error) {
	begun := s.begun(room)
	value, err := s.store.Cursor(ctx, model.RCCursor(room))
	if err != nil {
		return time.Time{}, fmt.Errorf("read a cursor: %w", err)
	}
	at, ok := parseMillis(value)
	if !ok {
		return begun, nil
	}
	if t := at.Add(-overlap); t.After(begun) {
		return t, nil
	}
	return begun.Add(-time.Millisecond), nil // the server compares strictly
}

// parseMillis parses a cursor that is a timestamp.
func parseMillis(value string) (time.Time, bool) {
	ms, err := strconv.ParseInt(value, 10, 64)
	return time.UnixMilli(ms), err == nil
}

// receive turns messages into items and passes them on with the cursors.
func (s *inbox) receive(ctx context.Context, ms []rocketchat.Message) error {
	var items []queue.Item
	newest := map[string]int64{}
	messages := make([]ids.RCMessage, len(ms))
	for i, m := range ms {
		key := model.RCCursor(ids.RCRoom(m.RoomID))
		newest[key] = max(newest[key], m.Updated.UnixMilli())
		messages[i] = ids.RCMessage(m.ID)
	}
	seen, err := s.store.Seen(ctx, itemIDs(ms), slices.Collect(maps.Keys(newest)), messages)
	if err != nil {
		return err
	}
	for _, m := range ms {
		found, err := s.items(ctx, m, seen)
		if err != nil {
			return err
		}
		items = append(items, found...)
	}
	cursors := map[string]string{}
	for key, ms := range newest {
		if was, _ := strconv.ParseInt(seen.Cursors[key], 10, 64); ms > was {
			cursors[key] = strconv.FormatInt(ms, 10)
		}
	}
	if len(items) == 0 && len(cursors) == 0 {
		return nil
	}
	return s.accept(ctx, items, cursors)
}

// baseID is the ID of the item for a message's first appearance.
func baseID(m rocketchat.Message) string { return model.RCWrite(ids.RCMessage(m.ID)) }

// reactedID is the ID of the item for a message's first reaction. While that item
// is queued, nothing else records that there is a reaction that may be removed.
func reactedID(m rocketchat.Message) string { return baseID(m) + ":react" }

// itemIDs returns the IDs of the items that record what is known of messages.
func itemIDs(ms []rocketchat.Message) []string {
	var out []string
	for _, m := range ms {
		out = append(out, baseID(m), reactedID(m))
	}
	return out
}

// items decides what a message means to the bridge, that is, what is new about it:
// Rocket.Chat sends a message again whenever anything about it changes. The
// bridge's own echoes, and messages that do not cross, yield no items. seen holds
// which messages have appeared before, and is updated.
func (s *inbox) items(ctx context.Context, m rocketchat.Message, seen model.Seen) ([]queue.Item, error) {
	e, system := event.OfSystemMessage(m)
	_, deleted := e.(event.RCDeleted)
	if !deleted && m.Time.Before(s.begun(ids.RCRoom(m.RoomID)).Truncate(time.Millisecond)) {
		return nil, nil
	}
	ours, err := s.ours(ctx, m.User.ID)
	if err == nil && !ours {
		ours, err = s.broughtFile(ctx, m)
	}
	if err != nil {
		return nil, err
	}
	switch {
	case m.Type == "":
		return s.revisions(m, ours, seen)
	case !system:
		s.unknownKind(m.Type)
		return nil, nil
	case deleted:
		return list(model.RCDelete(ids.RCMessage(m.ID)), m, e)
	case ours:
		return nil, nil
	}
	return list(baseID(m), m, e)
}

// revisions returns the message itself, its newest edit and its reactions, as far as they
// are new. A message that was edited before it was first seen is new in its edited form.
func (s *inbox) revisions(m rocketchat.Message, ours bool, seen model.Seen) ([]queue.Item, error) { //nolint:gocognit // four kinds of news, one after the other
	var items []queue.Item
	known := seen.Items
	add := func(id string, e event.Event) error {
		more, err := list(id, m, e)
		items = append(items, more...)
		return err
	}
	if !ours {
		if !known[baseID(m)] {
			if err := add(baseID(m), event.RCWritten{Message: m}); err != nil {
				return nil, err
			}
			known[baseID(m)] = true
		} else if m.EditedAt != nil {
			if err := add(editID(m), event.RCEdited{Message: m}); err != nil {
				return nil, err
			}
		}
	}
	if m.Pinned != nil {
		at := m.Updated
		if m.PinnedAt != nil {
			at = *m.PinnedAt
		}
		if err := add(fmt.Sprintf("%s:pin:%t:%d", baseID(m), *m.Pinned, at.UnixMilli()), event.RCPinned{Message: m}); err != nil {
			return nil, err
		}
	}
	if len(m.Reactions) > 0 || known[reactedID(m)] || seen.Reacted[ids.RCMessage(m.ID)] {
		if !known[reactedID(m)] {
			known[reactedID(m)] = true
			if err := add(reactedID(m), event.RCReacted{Message: m}); err != nil {
				return nil, err
			}
		}
		id := fmt.Sprintf("%s:%d", reactedID(m), m.Updated.UnixMilli())
		if len(m.Reactions) == 0 {
			id += ":none" // it may have been removed within the millisecond
		}
		if err := add(id, event.RCReacted{Message: m}); err != nil {
			return nil, err
		}
	}
	return items, nil
}

// broughtFile reports whether a message shows a file that the bridge uploaded with the
// account of the person who sent it on Matrix. Rocket.Chat chooses the ID of such a
// message, so that, unlike that of a text message, it cannot be recorded before sending.
func (s *inbox) broughtFile(ctx context.Context, m rocketchat.Message) (bool, error) {
	if m.File == nil {
		return false, nil
	}
	_, double, err := s.store.DoubleByRC(ctx, ids.RCUser(m.User.ID))
	if err != nil || !double {
		return false, err
	}
	return s.store.BroughtFile(ctx, m.File.ID)
}

// list returns the item for an event of a message.
func list(id string, m rocketchat.Message, e event.Event) ([]queue.Item, error) {
	item, err := event.Item(id, model.RCLane(ids.RCRoom(m.RoomID)), e)
	if err != nil {
		return nil, err
	}
	return []queue.Item{item}, nil
}
