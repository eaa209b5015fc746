// Package convert turns what people write on one side into what the other side
// shows: messages to events and events to messages. It is pure: no network, no
// database, no clock. It never fails: what it does not understand becomes text.
package convert

import (
	"encoding/json"
	"strings"
	"unicode"
	"unicode/utf8"

	"appliance/bridge/rocketchat"
)

// Content is the content of an m.room.message event.
type Content struct {
	MsgType  string    `json:"msgtype"`
	Body     string    `json:"body"`
	Mentions *Mentions `json:"m.mentions,omitempty"`
}

// Mentions is m.mentions: who is meant to be notified. An empty one says that
// nobody is, so that clients do not search the text.
type Mentions struct {
	UserIDs []string `json:"user_ids,omitempty"`
	Room    bool     `json:"room,omitempty"`
}

// ParseMessage reads a message as Rocket.Chat sent it.
func ParseMessage(payload []byte) (rocketchat.Message, error) {
	var m rocketchat.Message
	err := json.Unmarshal(payload, &m)
	return m, err
}

// ToMatrix returns what a Rocket.Chat message looks like on Matrix.
func ToMatrix(m rocketchat.Message) Content {
	parts := []string{m.Text}
	for _, a := range m.Attachments {
		if a.TitleLink != "" {
			parts = append(parts, "["+a.Title+"]")
		}
		if a.Description != "" {
			parts = append(parts, a.Description)
		}
	}
	text := strings.Join(nonEmpty(parts), "\n")
	// Rocket.Chat's /me is text in underscores from its first to its last character.
	if len(text) > 2 && text[0] == '_' && text[len(text)-1] == '_' && !strings.ContainsAny(text[1:len(text)-1], "_\n") {
		return Content{MsgType: "m.emote", Body: text[1 : len(text)-1], Mentions: &Mentions{}}
	}
	return Content{MsgType: "m.text", Body: text, Mentions: &Mentions{}}
}

func nonEmpty(in []string) []string {
	var out []string
	for _, s := range in {
		if s != "" {
			out = append(out, s)
		}
	}
	return out
}

// An Event is a Matrix event as the homeserver sent it, as far as the bridge
// reads it. Content of another shape than expected leaves fields empty.
type Event struct {
	ID        string
	Room      string
	Sender    string
	Type      string
	StateKey  string
	Timestamp int64 // milliseconds, set by the sender's server: not to be trusted
	Content   EventContent
}

// EventContent holds the fields of all event types that are read.
type EventContent struct {
	MsgType    string
	Body       string
	Membership string
	Name       string // displayname of a member
	RoomName   string // name of m.room.name
	Direct     bool
	Source     string // SourceKey: the item that our own event was sent for
}

// SourceKey is the key inside an event's content under which the bridge writes
// the item that it was sent for, to recognise its own work after a crash.
const SourceKey = "org.appliance.source"

// ParseEvent reads an event. Only what is not JSON at all is an error: fields of
// the wrong type are taken as absent, because anybody can send them.
func ParseEvent(payload []byte) (Event, error) {
	var raw map[string]json.RawMessage
	if err := json.Unmarshal(payload, &raw); err != nil {
		return Event{}, err
	}
	e := Event{ID: str(raw["event_id"]), Room: str(raw["room_id"]), Sender: str(raw["sender"]), Type: str(raw["type"]), StateKey: str(raw["state_key"])}
	_ = json.Unmarshal(raw["origin_server_ts"], &e.Timestamp)
	var c map[string]json.RawMessage
	if json.Unmarshal(raw["content"], &c) == nil {
		e.Content = EventContent{MsgType: str(c["msgtype"]), Body: str(c["body"]), Membership: str(c["membership"]), Name: str(c["displayname"]), RoomName: str(c["name"]), Source: str(c[SourceKey])}
		_ = json.Unmarshal(c["is_direct"], &e.Content.Direct)
	}
	return e, nil
}

func str(raw json.RawMessage) string {
	var s string
	_ = json.Unmarshal(raw, &s)
	return s
}

// maxMessage is Rocket.Chat's default Message_MaxAllowedSize, in UTF-16 units.
const maxMessage = 5000

// ToRocketChat returns the messages that a Matrix message becomes, in order:
// more than one when it is longer than Rocket.Chat allows, none when there is
// nothing to show.
func ToRocketChat(e Event) []string {
	text := e.Content.Body
	switch e.Content.MsgType {
	case "m.emote":
		text = "_" + text + "_"
	case "m.image", "m.file", "m.audio", "m.video":
		text = "[" + text + "]"
	}
	if strings.TrimFunc(text, invisible) == "" {
		return nil
	}
	return split(text, maxMessage)
}

// invisible reports whether r alone would show nothing.
func invisible(r rune) bool {
	return unicode.IsSpace(r) || unicode.Is(unicode.Cf, r) || unicode.IsControl(r)
}

// split cuts text into parts of at most limit UTF-16 units, at a line's end where
// there is one, else at a space, else anywhere between two characters.
func split(text string, limit int) []string {
	var parts []string
	for {
		n := prefix(text, limit)
		if n == len(text) {
			return append(parts, text)
		}
		cut, skip := n, 0
		if i := strings.LastIndexByte(text[:n], '\n'); i > n/2 {
			cut, skip = i, 1
		} else if i := strings.LastIndexByte(text[:n], ' '); i > n/2 {
			cut, skip = i, 1
		}
		parts = append(parts, text[:cut])
		text = text[cut+skip:]
	}
}

// prefix returns how many bytes of text fit into limit UTF-16 units.
func prefix(text string, limit int) int {
	units, i := 0, 0
	for i < len(text) {
		r, size := utf8.DecodeRuneInString(text[i:])
		units++
		if r > 0xFFFF {
			units++
		}
		if units > limit {
			return i
		}
		i += size
	}
	return i
}

// maxName bounds a display name: real ones are short, hostile ones are not.
const maxName = 120

// Name returns a display name that Rocket.Chat accepts for a Matrix user: without
// the characters it refuses, without invisible ones, of sensible length, and
// never empty.
func Name(displayName, fallback string) string {
	clean := strings.Map(func(r rune) rune {
		switch {
		case strings.ContainsRune(`<>\/%`, r):
			return -1
		case unicode.IsSpace(r):
			return ' '
		case invisible(r), r == utf8.RuneError:
			return -1
		}
		return r
	}, displayName)
	clean = strings.Join(strings.Fields(clean), " ")
	if r := []rune(clean); len(r) > maxName {
		clean = string(r[:maxName])
	}
	if clean == "" {
		return fallback
	}
	return clean
}
