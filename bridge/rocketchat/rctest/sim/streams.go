package sim

import "strings"

// streams holds the live subscriptions: stream name, event name, subscribers.
type streams map[string]map[string]map[*subscription]struct{}

// A subscription is one "sub" of one connection.
type subscription struct {
	conn          *conn
	id            string
	stream, event string
}

// isStream reports whether a method or subscription has four times the DDP limit.
func isStream(name string) bool { return strings.HasPrefix(name, "stream-") }

func (s streams) add(sub *subscription) {
	if s[sub.stream] == nil {
		s[sub.stream] = map[string]map[*subscription]struct{}{}
	}
	if s[sub.stream][sub.event] == nil {
		s[sub.stream][sub.event] = map[*subscription]struct{}{}
	}
	s[sub.stream][sub.event][sub] = struct{}{}
}

func (s streams) remove(sub *subscription) {
	delete(s[sub.stream][sub.event], sub)
	if len(s[sub.stream][sub.event]) == 0 {
		delete(s[sub.stream], sub.event)
	}
}

// emit queues an event for all its subscribers. lane is the room that the event is
// about: events of one lane keep their order.
func (e *Engine) emit(stream, event, lane string, args ...any) {
	to := e.streams[stream][event]
	if len(to) == 0 {
		return
	}
	frame := changedFrame(stream, event, args)
	for sub := range to {
		if e.maySee(sub) {
			e.pending = append(e.pending, delivery{lane: lane, conn: sub.conn, frame: frame})
		}
	}
}

func changedFrame(stream, event string, args []any) []byte {
	return ejson(Doc{"msg": "changed", "collection": stream, "id": "id", "fields": Doc{"eventName": event, "args": args}})
}

// emitMessage announces a message on its room's stream and on __my_messages__,
// the latter to everybody who can read the room (facts 7.2, 7.3).
func (e *Engine) emitMessage(m Doc) {
	rid, lane := m.str("rid"), m.str("rid")
	if e.waitsForPreviews(m) {
		lane += " previews" // a lane of its own: others may overtake it
	}
	e.emit("stream-room-messages", rid, lane, m)
	r := e.room(rid)
	for sub := range e.streams["stream-room-messages"]["__my_messages__"] {
		u := e.user(sub.conn.uid)
		if !e.canRead(r, u) {
			continue
		}
		about := Doc{"roomParticipant": e.sub(rid, u.id()) != nil, "roomType": r.str("t"), "roomName": r.str("name")}
		e.pending = append(e.pending, delivery{lane: rid, loose: true, conn: sub.conn,
			frame: changedFrame("stream-room-messages", "__my_messages__", []any{m, about})})
	}
}

// waitsForPreviews: a new message with links is announced only when its previews
// have been fetched, which can be after later messages (facts 7.3).
func (e *Engine) waitsForPreviews(m Doc) bool {
	if !e.settingOn("API_Embed") || m.has("editedAt") || len(m.docs("attachments")) > 0 {
		return false
	}
	for _, u := range m.docs("urls") {
		if !u.flag("ignoreParse") {
			return true
		}
	}
	return false
}

// maySee checks whether a subscription is allowed, when it is made and at each event.
func (e *Engine) maySee(sub *subscription) bool {
	u := e.user(sub.conn.uid)
	first, _, _ := strings.Cut(sub.event, "/")
	switch sub.stream {
	case "stream-notify-all":
		return true
	case "stream-room-messages":
		return u != nil && (sub.event == "__my_messages__" || e.canRead(e.room(first), u))
	case "stream-notify-room", "stream-room-data":
		return u != nil && e.canRead(e.room(first), u)
	case "stream-notify-user":
		return u != nil && first == u.id()
	case "stream-notify-logged", "stream-user-presence", "stream-roles", "stream-notify-room-users", "stream-importers",
		"stream-integrationHistory", "stream-canned-responses", "stream-livechat-room", "stream-apps", "stream-cannedResponses",
		"stream-stdout":
		return u != nil
	}
	return false
}
