package convert

import "encoding/json"

// An Event is a Matrix event as the homeserver sent it, with the parts that the
// bridge reads. Content of an unexpected shape leaves fields empty.
type Event struct {
	ID        string
	Room      string
	Sender    string
	Type      string
	StateKey  string
	Timestamp int64 // milliseconds, set by the sender's server: not to be trusted
	Content   EventContent

	top, content object // what Reaction, Redacts and the like read
}

// EventContent holds the fields of all event types that are read.
type EventContent struct {
	MsgType       string
	Body          string
	FormattedBody string    // "" unless it is in the format HTML
	Mentions      *Mentions // nil if the sender's client does not support them
	ReplyTo       string    // the event that is replied to
	Thread        string    // the event that the thread began with
	FallsBack     bool      // ReplyTo is only for clients without threads
	Replaces      string    // the event that this is a new version of
	New           *EventContent
	FileName      string
	URL           string    // "mxc://server/id" of a file
	Encrypted     bool      // the file is encrypted, and useless without its key
	Info          *FileInfo // the sender's claims about the file: not to be trusted
	GeoURI        string

	Membership string
	Name       string // displayname of a member
	RoomName   string // name of m.room.name
	Direct     bool
	Source     string // SourceKey: the item that our own event was sent for
}

// SourceKey is the key in an event's content under which the bridge stores the item
// that the event was sent for, to recognise its own work after a crash.
const SourceKey = "org.appliance.source"

// object is a JSON object whose values are read one by one.
type object map[string]json.RawMessage

// ParseEvent parses an event. Only input that is not a JSON object is an error:
// fields of the wrong type count as absent, because anybody can send them.
func ParseEvent(payload []byte) (Event, error) {
	var raw object
	if err := json.Unmarshal(payload, &raw); err != nil {
		return Event{}, err
	}
	e := Event{ID: raw.str("event_id"), Room: raw.str("room_id"), Sender: raw.str("sender"), Type: raw.str("type"), StateKey: raw.str("state_key")}
	_ = json.Unmarshal(raw["origin_server_ts"], &e.Timestamp)
	e.top, e.content = raw, raw.object("content")
	e.Content = e.content.content()
	if e.Content.Replaces == "" {
		return e, nil
	}
	if fresh := e.content.object("m.new_content"); fresh != nil {
		c := fresh.content()
		e.Content.New = &c
	}
	return e, nil
}

func (o object) content() EventContent {
	c := EventContent{
		MsgType: o.str("msgtype"), Body: o.str("body"), FileName: o.str("filename"), GeoURI: o.str("geo_uri"),
		Membership: o.str("membership"), Name: o.str("displayname"), RoomName: o.str("name"), Source: o.str(SourceKey),
		Direct: o.bool("is_direct"), Mentions: o.mentions(),
	}
	if o.str("format") == HTML {
		c.FormattedBody = o.str("formatted_body")
	}
	c.URL = o.str("url")
	_, c.Encrypted = o["file"]
	if info := o.object("info"); info != nil {
		c.Info = &FileInfo{Type: info.str("mimetype"), Size: info.num("size"), Width: int(info.num("w")), Height: int(info.num("h")), Duration: info.num("duration")}
	}
	relates := o.object("m.relates_to")
	c.ReplyTo = relates.object("m.in_reply_to").str("event_id")
	switch relates.str("rel_type") {
	case "m.thread":
		c.Thread, c.FallsBack = relates.str("event_id"), relates.bool("is_falling_back")
	case "m.replace":
		c.Replaces = relates.str("event_id")
	}
	return c
}

func (o object) mentions() *Mentions {
	if _, ok := o["m.mentions"]; !ok {
		return nil
	}
	m := o.object("m.mentions")
	out := &Mentions{Room: m.bool("room")}
	var users []json.RawMessage
	_ = json.Unmarshal(m["user_ids"], &users)
	for _, u := range users {
		var s string
		if json.Unmarshal(u, &s) == nil && s != "" {
			out.UserIDs = append(out.UserIDs, s)
		}
	}
	return out
}

func (o object) object(key string) object {
	var in object
	_ = json.Unmarshal(o[key], &in)
	return in
}

func (o object) str(key string) string {
	var s string
	_ = json.Unmarshal(o[key], &s)
	return s
}

// num reads a whole number between 0 and what a file can have.
func (o object) num(key string) int64 {
	var n float64
	if json.Unmarshal(o[key], &n) != nil || !(n >= 0 && n < 1<<50) {
		return 0
	}
	return int64(n)
}

func (o object) bool(key string) bool {
	var b bool
	_ = json.Unmarshal(o[key], &b)
	return b
}
