package rcside

import (
	"context"
	"errors"
	"time"

	"golang.org/x/time/rate"

	"appliance/bridge/ids"
	"appliance/bridge/rocketchat/ddp"
)

// Rocket.Chat allows a connection 600 subscriptions and calls per minute, and an
// account 1,200 over all its connections; anything beyond is refused with
// "too-many-requests" until the minute is over. So the number of subscribed rooms
// is bounded, and what a token bucket does not allow now is read over REST instead:
// nothing waits for a subscription.
const (
	// maxHot is the maximum number of rooms that a session subscribes to.
	maxHot = 100
	// subsAtOnce and subsPerSecond allow at most 570 in a minute.
	subsAtOnce    = 300
	subsPerSecond = 4.5

	// everyMessage is the event for all messages that an account may read, in no
	// particular order.
	everyMessage = "__my_messages__"
	// roomsChanged is the suffix of the event for all changes of an account's
	// rooms: it covers deletions too, as they lower the number of messages.
	roomsChanged = "/rooms-changed"
)

// roomEvents returns the events that an active room is subscribed to, each with its stream.
func roomEvents(id ids.RCRoom) [][2]string {
	return [][2]string{
		{"stream-room-messages", string(id)},
		{"stream-notify-room", string(id) + "/deleteMessage"},
		{"stream-notify-room", string(id) + "/deleteMessageBulk"},
	}
}

func typingEvent(id ids.RCRoom) string { return string(id) + "/user-activity" }

// errLater means that the limit of subscriptions is reached; the next attempt follows after a pause.
var errLater = errors.New("the limit of subscriptions is reached")

// subscriber manages the subscriptions of an account's session.
type subscriber struct {
	*agenda
	parts   *parts
	account ids.MXUser
	budget  *rate.Limiter // of subscriptions
}

// listen subscribes to a room if there is a place for it, or else makes sure that
// the session gets hints for it. Afterwards the room has to be caught up.
func (r *subscriber) listen(ctx context.Context, conn *ddp.Conn, id ids.RCRoom) error {
	events := roomEvents(id)
	switch r.place(id, len(events)) {
	case takenAlready:
		return nil
	case noPlace:
		return r.listenToAll(ctx, conn)
	}
	for i, e := range events {
		err := conn.Subscribe(ctx, e[0], e[1])
		if err == nil {
			continue
		}
		for _, made := range events[:i] {
			conn.Unsubscribe(ctx, made[1])
		}
		r.vacate()
		if err = r.refused(err); errors.Is(err, errLater) {
			return r.listenToAll(ctx, conn)
		}
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if rm, ok := r.rooms[id]; ok {
		rm.hot = true
	} else { // removed meanwhile
		r.hot--
		r.cooled = append(r.cooled, id)
	}
	return nil
}

// refused returns errLater for a subscription that the server refuses, and
// remembers until when; only a broken connection is an error.
func (r *subscriber) refused(err error) error {
	me, ok := errors.AsType[*ddp.MethodError](err)
	if !ok {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if me.Code == "too-many-requests" {
		if until := time.Now().Add(me.Wait); until.After(r.blocked) {
			r.blocked = until
		}
	}
	r.parts.log.Info("Rocket.Chat refused a subscription", "account", string(r.account), "err", err, "wait", me.Wait)
	return errLater
}

// Results of place.
const (
	noPlace = iota
	takenAlready
	place
)

// place takes a place among the subscribed rooms; if necessary, the room that has
// been idle longest gives way to a room with activity.
func (r *subscriber) place(id ids.RCRoom, subs int) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	rm, ok := r.rooms[id]
	if !ok || time.Now().Before(r.blocked) {
		return noPlace
	}
	if rm.hot {
		return takenAlready
	}
	if r.hot >= maxHot {
		var oldest ids.RCRoom
		at := rm.last
		for other, o := range r.rooms {
			if o.hot && o.last.Before(at) {
				oldest, at = other, o.last
			}
		}
		if oldest == "" || time.Since(at) < quietFor || r.budget.Tokens() < float64(subs) {
			return noPlace
		}
		r.rooms[oldest].hot = false // gets hints from now on
		r.hot--
		r.cooled = append(r.cooled, oldest)
		signal(r.news)
	}
	if !r.budget.AllowN(time.Now(), subs) {
		return noPlace
	}
	r.hot++
	return place
}

// listenToAll makes the bridge account's session receive hints for rooms that are
// not subscribed to. Puppets would hear of every public channel, so their sessions
// do not: the list of direct rooms covers theirs (directs.go).
func (r *subscriber) listenToAll(ctx context.Context, conn *ddp.Conn) error {
	r.mu.Lock()
	do := r.account == "" && !r.woken && !time.Now().Before(r.blocked)
	r.woken = r.woken || do
	r.mu.Unlock()
	if !do {
		return nil
	}
	err := conn.Subscribe(ctx, "stream-room-messages", everyMessage)
	if err == nil {
		err = conn.Subscribe(ctx, "stream-notify-user", r.parts.client.UserID()+roomsChanged)
	}
	if err == nil {
		return nil
	}
	r.mu.Lock()
	r.woken = false
	r.mu.Unlock()
	if err = r.refused(err); errors.Is(err, errLater) {
		return nil // rooms without hints are read periodically
	}
	return err
}

// hearAgain calls listenToAll again for the rooms without a place, if the server
// refused it at first and the wait is over. Those rooms are then caught up.
func (r *subscriber) hearAgain(ctx context.Context, conn *ddp.Conn) error {
	r.mu.Lock()
	woken, deaf := r.woken, r.cold()
	r.mu.Unlock()
	if woken || len(deaf) == 0 {
		return nil
	}
	err := r.listenToAll(ctx, conn)
	r.mu.Lock()
	defer r.mu.Unlock()
	if err == nil && r.woken {
		for _, id := range deaf {
			r.enqueue(id)
		}
	}
	return err
}

// follow subscribes to the wanted ephemeral events, ends the subscriptions of rooms
// that have become quiet, and schedules rooms that are due, until ctx ends.
func (r *subscriber) follow(ctx context.Context, conn *ddp.Conn) error {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	have := map[string]bool{}
	for {
		r.leaveCooled(ctx, conn)
		if err := r.followEphemeral(ctx, conn, have); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-r.news:
		case now := <-tick.C:
			if err := r.hearAgain(ctx, conn); err != nil {
				return err
			}
			r.lookAround(now, coldEvery, coldAtOnce)
		}
	}
}

// leaveCooled ends the subscriptions of rooms that have become quiet. They are
// caught up once more, since something may have happened meanwhile.
func (r *subscriber) leaveCooled(ctx context.Context, conn *ddp.Conn) {
	r.mu.Lock()
	cooled := r.cooled
	r.cooled = nil
	r.mu.Unlock()
	for _, id := range cooled {
		r.mu.Lock()
		rm, ok := r.rooms[id]
		back := ok && rm.hot
		r.mu.Unlock()
		if back {
			continue // active again
		}
		for _, e := range roomEvents(id) {
			conn.Unsubscribe(ctx, e[1])
		}
		r.again(id)
	}
}

// followEphemeral subscribes this session to the wanted ephemeral events that it
// lacks, and ends the subscriptions to those that are no longer wanted.
func (r *subscriber) followEphemeral(ctx context.Context, conn *ddp.Conn, have map[string]bool) error {
	r.mu.Lock()
	stale := r.stale && !time.Now().Before(r.blocked)
	r.mu.Unlock()
	if !stale {
		return nil
	}
	want := r.wanted()
	for event := range have {
		if _, still := want[event]; !still {
			conn.Unsubscribe(ctx, event)
			delete(have, event)
		}
	}
	for event, stream := range want {
		if have[event] {
			continue
		}
		if !r.budget.Allow() {
			r.wantMore()
			return nil // the next attempt comes in a second
		}
		if err := conn.Subscribe(ctx, stream, event); err != nil {
			r.wantMore()
			if err = r.refused(err); errors.Is(err, errLater) {
				return nil
			}
			return err
		}
		have[event] = true
	}
	return nil
}

// wanted returns the ephemeral events that are currently wanted: their streams by event.
func (r *subscriber) wanted() map[string]string {
	live := r.parts.live()
	want := map[string]string{}
	r.mu.Lock()
	r.stale = false
	if live.Typing {
		for id, rm := range r.rooms {
			if rm.hot && rm.done {
				want[typingEvent(id)] = "stream-notify-room"
			}
		}
	}
	r.mu.Unlock()
	if r.account == "" {
		if live.Presence {
			want["user-status"] = "stream-notify-logged"
		}
		for _, event := range []string{"updateAvatar", "Users:NameChanged", "Users:Deleted", "updateEmojiCustom", "deleteEmojiCustom"} {
			want[event] = "stream-notify-logged"
		}
	}
	return want
}
