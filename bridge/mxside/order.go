package mxside

import (
	"cmp"
	"slices"

	"appliance/bridge/ids"
	"appliance/bridge/queue"
)

// Read is an event found when a room is read again.
type Read struct {
	Item   queue.Item
	Sender ids.MXUser
	At     int64 // when its server made it, in milliseconds since 1970
}

// InSendersOrder sorts each sender's events by the time at which that sender's server made
// them, within the places that the sender's events have among those of others. A room's own
// order does not guarantee that order: a homeserver that was killed or cut off may build an
// event on older ones than its last, and the room then shows it before that one. Clocks of
// different servers are never compared.
func InSendersOrder(read []Read) {
	places := map[ids.MXUser][]int{}
	for i, r := range read {
		places[r.Sender] = append(places[r.Sender], i)
	}
	for _, at := range places {
		own := make([]Read, len(at))
		for i, place := range at {
			own[i] = read[place]
		}
		slices.SortStableFunc(own, func(a, b Read) int { return cmp.Compare(a.At, b.At) })
		for i, place := range at {
			read[place] = own[i]
		}
	}
}

// WithLate inserts the late ones among the pushed items into what was found in a room: each
// after the items pushed before it, and before everything else.
func WithLate(found, pushed []queue.Item, late map[string]bool) []queue.Item {
	before := map[string]bool{}
	for _, it := range pushed {
		if late[it.ID] {
			place := 0
			for i, f := range found {
				if before[f.ID] {
					place = i + 1
				}
			}
			found = slices.Insert(found, place, it)
		}
		before[it.ID] = true
	}
	return found
}

// itemsOf returns the items of what was read, newest first, in the order in which to store them.
func itemsOf(read []Read) []queue.Item {
	slices.Reverse(read)
	InSendersOrder(read)
	items := make([]queue.Item, len(read))
	for i, r := range read {
		items[i] = r.Item
	}
	return items
}
