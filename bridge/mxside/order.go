package mxside

import (
	"cmp"
	"slices"

	"appliance/bridge/ids"
	"appliance/bridge/queue"
)

// Read is what a room shows when it is read again.
type Read struct {
	Item   queue.Item
	Sender ids.MXUser
	At     int64 // when its server made it, in milliseconds since 1970
}

// InSendersOrder puts what each sender did into the order in which that sender's server made
// it, in the places that the sender's events have among those of the others. A room's own
// order does not promise it: a homeserver that was killed or cut off may build an event on
// older ones than its last, and the room then shows it before that. Clocks of different
// servers are never compared.
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

// WithLate puts those of the pushed items that are late into what was found in a room: each
// after what was pushed before it, and before all else.
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

// itemsOf returns the items of what was read, newest first, as they are to be stored.
func itemsOf(read []Read) []queue.Item {
	slices.Reverse(read)
	InSendersOrder(read)
	items := make([]queue.Item, len(read))
	for i, r := range read {
		items[i] = r.Item
	}
	return items
}
