package convert

import "encoding/json"

// Reaction reads an m.reaction event: the event reacted to, the emoji, and, if that
// is a picture, the name beside it (MSC4027). ok is false if the reaction cannot be
// understood.
func (e Event) Reaction() (target, key, name string, ok bool) {
	r := e.content.object("m.relates_to")
	target, key = r.str("event_id"), r.str("key")
	name = first(e.content.str("com.beeper.reaction.shortcode"), e.content.str("shortcode"))
	return target, key, name, r.str("rel_type") == "m.annotation" && target != "" && key != ""
}

// Redacts returns the event that an m.room.redaction redacts, "" if it names none:
// at the top in room versions up to 10, in the content from 11 on.
func (e Event) Redacts() string {
	return first(e.content.str("redacts"), e.top.str("redacts"))
}

// State returns the content of a state event.
func (e Event) State() json.RawMessage { return e.top["content"] }

// Avatar returns the picture of a member, "mxc://server/id", "" for none.
func (e Event) Avatar() string { return e.content.str("avatar_url") }

// InvitedTo returns the name of the room that an invitation is for, which Synapse adds
// to the event that it pushes; "" if it is missing.
func (e Event) InvitedTo() string {
	var state []json.RawMessage
	_ = json.Unmarshal(e.top.object("unsigned")["invite_room_state"], &state)
	for _, raw := range state {
		if s, err := ParseEvent(raw); err == nil && s.Type == "m.room.name" {
			return s.Content.RoomName
		}
	}
	return ""
}
