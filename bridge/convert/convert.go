// Package convert turns what people write on one side into what the other side
// shows: messages to events and events to messages. It is pure: no network, no
// database, no clock. It never fails: what it does not understand becomes text.
//
//	Rocket.Chat markdown -> parseMarkdown -> document -> printHTML, printBody -> Content
//	Matrix HTML or text  -> parseHTML     -> document -> printMarkdown        -> messages
//
// Running time is proportional to the input, memory is bounded, and the output is
// never larger than the other side accepts: long messages become several.
package convert

import (
	"strings"

	"maunium.net/go/mautrix/id"
)

// Lookup answers questions about the other side. A nil function, or one that
// returns false, means that the thing is unknown there. That is never an error: it
// stays text. Functions are called once or twice for each name in a text.
type Lookup struct {
	// User returns the Matrix user that a Rocket.Chat username stands for, and the
	// name that people see there.
	User func(username string) (mx id.UserID, name string, ok bool)
	// Username returns the Rocket.Chat username of a Matrix user.
	Username func(mx id.UserID) (username string, ok bool)
	// Room returns the Matrix room ID or alias of a Rocket.Chat channel.
	Room func(channel string) (room string, ok bool)
	// Channel returns the name of the Rocket.Chat channel that a Matrix room
	// ID or alias is bridged to.
	Channel func(room string) (channel string, ok bool)
	// Event returns the Matrix event of a Rocket.Chat message.
	Event func(message string) (event id.EventID, ok bool)
	// Permalink returns the address of the Rocket.Chat message of an event.
	Permalink func(event id.EventID) (link string, ok bool)
	// Emoji returns the picture ("mxc://...") of a custom emoji of Rocket.Chat,
	// by its name without colons.
	Emoji func(name string) (mxc string, ok bool)
	// Limit is the maximum length of a Rocket.Chat message in UTF-16 units; 0 means
	// the default of Rocket.Chat's Message_MaxAllowedSize, 5,000.
	Limit int
	// Dialect is how the Rocket.Chat server reads messages: see DialectFor.
	Dialect Dialect
	// Quiet means that the sender of a Matrix event may not notify everybody.
	Quiet bool
}

// emoji returns the picture of a custom emoji.
func (l Lookup) emoji(name string) (mxc string, ok bool) {
	if l.Emoji == nil {
		return "", false
	}
	mxc, ok = l.Emoji(name)
	return mxc, ok && strings.HasPrefix(mxc, "mxc://")
}

func (l Lookup) user(name string) (id.UserID, string, bool) {
	if l.User == nil || name == "" {
		return "", "", false
	}
	mx, display, ok := l.User(name)
	if display = visibleName(display); display == "" {
		display = name
	}
	return mx, display, ok && mx != ""
}

func (l Lookup) username(mx id.UserID) (string, bool) {
	if l.Username == nil {
		return "", false
	}
	name, ok := l.Username(mx)
	return name, ok && name != ""
}

func (l Lookup) room(channel string) (string, bool) {
	if l.Room == nil || channel == "" {
		return "", false
	}
	room, ok := l.Room(channel)
	return room, ok && room != ""
}

func (l Lookup) channel(room string) (string, bool) {
	if l.Channel == nil {
		return "", false
	}
	name, ok := l.Channel(room)
	return name, ok && name != ""
}

func (l Lookup) event(message string) (id.EventID, bool) {
	if l.Event == nil || message == "" {
		return "", false
	}
	event, ok := l.Event(message)
	return event, ok && event != ""
}

func (l Lookup) permalink(event id.EventID) (string, bool) {
	if l.Permalink == nil || event == "" {
		return "", false
	}
	link, ok := l.Permalink(event)
	return link, ok && link != ""
}
