package rcside

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"time"

	"appliance/bridge/event"
	"appliance/bridge/ids"
	"appliance/bridge/relay/model"
	"appliance/bridge/rocketchat"
	"appliance/bridge/rocketchat/ddp"
)

// stream handles the events of an account's session.
type stream struct {
	*agenda
	parts *parts
}

// event handles a websocket frame. Frames of a room that is not caught up yet wait:
// earlier changes come first.
func (r *stream) event(ctx context.Context, e ddp.Event) {
	if len(e.Args) == 0 || r.ephemeral(e) || r.wake(e) {
		return
	}
	if room, bulk := strings.CutSuffix(e.Name, "/deleteMessageBulk"); bulk && e.Stream == "stream-notify-room" {
		r.again(ids.RCRoom(room)) // reading the room shows which ones
		return
	}
	var m rocketchat.Message
	if err := json.Unmarshal(e.Args[0], &m); err != nil || m.ID == "" {
		return
	}
	switch room, deleted := strings.CutSuffix(e.Name, "/deleteMessage"); {
	case e.Stream == "stream-room-messages":
	case e.Stream == "stream-notify-room" && deleted:
		m = event.Deleted(room, m.ID).Message
	default:
		return
	}
	r.put(ctx, m)
	signal(r.more)
}

// wake handles a frame that only announces activity in a room that is not
// subscribed to. It reports whether it was one.
func (r *stream) wake(e ddp.Event) bool {
	var about struct {
		ID   ids.RCRoom `json:"_id"`
		Room ids.RCRoom `json:"rid"`
	}
	switch {
	case e.Stream == "stream-room-messages" && e.Name == everyMessage:
		if json.Unmarshal(e.Args[0], &about) == nil {
			r.hint(about.Room)
		}
	case e.Stream == "stream-notify-user" && strings.HasSuffix(e.Name, roomsChanged):
		if len(e.Args) > 1 && json.Unmarshal(e.Args[1], &about) == nil {
			r.hint(about.ID)
		}
	default:
		return false
	}
	return true
}

// put keeps a live message until it is stored. If too many are pending, it stops
// reading from the connection for a while, which holds up the server; if that does
// not help, because rooms are being caught up, the session has to restart.
func (r *stream) put(ctx context.Context, m rocketchat.Message) {
	var late <-chan time.Time
	for {
		r.mu.Lock()
		rm, known := r.rooms[ids.RCRoom(m.RoomID)]
		if !known {
			r.mu.Unlock()
			return // no longer a portal
		}
		if full := len(r.frames) >= maxFrames; !full {
			r.frames = append(r.frames, m)
			rm.last = time.Now()
			r.mu.Unlock()
			return
		}
		r.mu.Unlock()
		if late == nil {
			late = time.After(heldUp)
		}
		select {
		case <-r.space:
			continue
		case <-ctx.Done():
		case <-late:
		}
		r.mu.Lock()
		r.overflow = true
		r.mu.Unlock()
		signal(r.more)
		return
	}
}

// flush stores the live frames of the rooms that are caught up.
func (r *stream) flush(ctx context.Context) error {
	for {
		r.mu.Lock()
		if r.overflow {
			r.mu.Unlock()
			return errors.New("more arrived than could be stored")
		}
		batch := r.ready()
		r.mu.Unlock()
		if len(batch) == 0 {
			return nil
		}
		if err := r.parts.receive(ctx, batch); err != nil {
			return err
		}
	}
}

// ready takes the frames of rooms that are caught up; the others wait. The caller holds r.mu.
func (r *stream) ready() []rocketchat.Message {
	var batch, wait []rocketchat.Message
	n := 0
	for ; n < len(r.frames) && len(batch) < maxBatch; n++ {
		m := r.frames[n]
		if rm, known := r.rooms[ids.RCRoom(m.RoomID)]; !known || rm.done {
			batch = append(batch, m)
		} else {
			wait = append(wait, m)
		}
	}
	clear(r.frames[:n-len(wait)])
	copy(r.frames[n-len(wait):], wait)
	r.frames = r.frames[n-len(wait):]
	if len(batch) > 0 {
		signal(r.space)
	}
	return batch
}

// ephemeral handles a frame that is not a message. It reports whether it was one.
func (r *stream) ephemeral(e ddp.Event) bool {
	switch room, typing := strings.CutSuffix(e.Name, "/user-activity"); {
	case e.Stream == "stream-notify-room" && typing:
		var shown string
		var doing []string
		if json.Unmarshal(e.Args[0], &shown) == nil && len(e.Args) > 1 && json.Unmarshal(e.Args[1], &doing) == nil {
			r.parts.relay.TypingInRocketChat(ids.RCRoom(room), shown, len(doing) > 0)
		}
		return true
	case e.Stream == "stream-notify-logged" && e.Name == "user-status":
		r.status(e.Args)
		return true
	case e.Stream == "stream-notify-logged" && strings.HasSuffix(e.Name, "EmojiCustom"):
		r.parts.emojis.forget()
		return true
	case e.Stream == "stream-notify-logged":
		r.parts.profile(e)
		return true
	}
	return false
}

// statuses maps the numbers that the stream uses to presences.
var statuses = map[int]model.Presence{0: model.Offline, 1: model.Online, 2: model.Away, 3: model.Away}

// status handles [id, username, number, text, ...].
func (r *stream) status(args []json.RawMessage) {
	var fields []json.RawMessage
	if json.Unmarshal(args[0], &fields) != nil || len(fields) < 3 {
		return
	}
	var user string
	var n int
	if json.Unmarshal(fields[0], &user) != nil || json.Unmarshal(fields[2], &n) != nil {
		return
	}
	if is, ok := statuses[n]; ok {
		r.parts.relay.PresenceInRocketChat(ids.RCUser(user), is)
	}
}
