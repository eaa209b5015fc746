package rocketchat

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// NewMessage is the message that chat.sendMessage takes. The caller chooses the ID,
// so that a repeated call cannot create a second message.
type NewMessage struct {
	ID     string `json:"_id"`
	RoomID string `json:"rid"`
	Text   string `json:"msg"`
	Thread string `json:"tmid,omitempty"`
	Shown  bool   `json:"tshow,omitempty"` // for a thread reply: the room shows it too
}

// SendMessage calls POST chat.sendMessage without link previews. When the response
// does not tell whether the message exists, because it was lost or because the ID
// was already taken, SendMessage looks for the message. A nil error therefore means
// that the message is in the room, from this caller, exactly once.
func (c *Client) SendMessage(ctx context.Context, m NewMessage) (Message, error) {
	var out struct {
		Message Message `json:"message"`
	}
	err := c.post(ctx, "chat.sendMessage", map[string]any{"message": m, "previewUrls": []string{}}, &out)
	if err == nil {
		return out.Message, nil
	}
	if s := Status(err); s == 401 || s == 403 || s == 429 || ctx.Err() != nil {
		return Message{}, err
	}
	found, ok, lookErr := c.Message(ctx, m.ID)
	switch {
	case lookErr != nil: // it may exist: err must not look like a refusal
		return Message{}, fmt.Errorf("%w (after: %v)", lookErr, err) //nolint:errorlint // err must not decide
	case !ok || found.User.ID != c.userID:
		return Message{}, err
	}
	return found, nil
}

// Message calls GET chat.getMessage. ok is false when there is no such message.
func (c *Client) Message(ctx context.Context, id string) (m Message, ok bool, err error) {
	var out struct {
		Message *Message `json:"message"`
	}
	err = c.get(ctx, "chat.getMessage", url.Values{"msgId": {id}}, &out)
	if Status(err) == 400 || (err == nil && out.Message == nil) {
		return Message{}, false, nil
	}
	if err != nil {
		return Message{}, false, err
	}
	return *out.Message, true, nil
}

// PostMessage calls POST chat.postMessage, where the server chooses the message ID:
// a repeated call creates a second message. room is a room ID or "@username" for a
// direct message.
func (c *Client) PostMessage(ctx context.Context, room, text string) error {
	key := "roomId"
	if room != "" && room[0] == '@' {
		key = "channel"
	}
	return c.post(ctx, "chat.postMessage", map[string]any{key: room, "text": text, "parseUrls": false}, nil)
}

// UpdateMessage calls POST chat.update, without link previews: the author, or a
// user who may edit others' messages, replaces the text. For a message with a file,
// the text is its caption. Sending the same text again changes nothing.
func (c *Client) UpdateMessage(ctx context.Context, rid, id, text string) (Message, error) {
	var out struct {
		Message Message `json:"message"`
	}
	body := map[string]any{"roomId": rid, "msgId": id, "text": text, "previewUrls": []string{}}
	err := c.post(ctx, "chat.update", body, &out)
	return out.Message, err
}

// DeleteMessage calls POST chat.delete. A message that is gone, or never existed,
// is not an error.
func (c *Client) DeleteMessage(ctx context.Context, rid, id string) error {
	err := c.post(ctx, "chat.delete", map[string]string{"roomId": rid, "msgId": id}, nil)
	if e, ok := errors.AsType[*Error](err); ok && e.Status == http.StatusBadRequest && strings.HasPrefix(e.Text, "No message found with the id") {
		return nil
	}
	return err
}

// React calls POST chat.react: afterwards the caller reacts, or does not react, to
// the message with emoji, a shortcode with or without colons. The server does not
// accept Unicode, and it can lose one of two concurrent reactions to a message, so
// callers must serialize the reactions to a message.
func (c *Client) React(ctx context.Context, id, emoji string, should bool) error {
	return c.post(ctx, "chat.react", map[string]any{"messageId": id, "emoji": emoji, "shouldReact": should}, nil)
}

// Pin calls POST chat.pinMessage, or chat.unPinMessage when on is false. The server
// writes a system message ("message_pinned") when a message is pinned.
func (c *Client) Pin(ctx context.Context, id string, on bool) error {
	path := "chat.unPinMessage"
	if on {
		path = "chat.pinMessage"
	}
	return c.post(ctx, path, map[string]any{"messageId": id}, nil)
}

// Typing calls the method stream-notify-room over REST: it shows, or stops showing,
// that the caller is typing in a room, or in one of its threads unless thread is
// "". name is the caller's username, or the display name where UI_Use_Real_Name is
// on; the server silently ignores anything else. The indicator disappears unless it
// is repeated every ten seconds.
func (c *Client) Typing(ctx context.Context, rid, thread, name string, on bool) error {
	doing, where := []string{}, map[string]string{}
	if on {
		doing = []string{"user-typing"}
	}
	if thread != "" {
		where["tmid"] = thread
	}
	return c.method(ctx, "stream-notify-room", rid+"/user-activity", name, doing, where)
}

// method calls POST method.call/<name>: a method of the realtime API.
func (c *Client) method(ctx context.Context, name string, params ...any) error {
	frame, err := json.Marshal(map[string]any{"msg": "method", "id": "1", "method": name, "params": params})
	if err != nil {
		return fmt.Errorf("rocketchat: %s: %w", name, err)
	}
	return c.post(ctx, "method.call/"+name, map[string]string{"message": string(frame)}, nil)
}

// SyncMessages calls GET chat.syncMessages in its cursor form (Rocket.Chat 7.1 and
// later) and passes on every message of the room changed after since, oldest change
// first, in pages. This includes edits, reactions and system messages. No change is
// passed on twice.
func (c *Client) SyncMessages(ctx context.Context, rid string, since time.Time, each func([]Message) error) error {
	w := walk[Message]{client: c, room: rid, kind: "UPDATED", forward: true, from: since,
		key: func(m Message) (string, time.Time) { return m.ID, m.Updated.Time }}
	return w.run(ctx, func(ms []Message) (bool, error) { return true, each(ms) })
}

// A Deletion records a deleted message.
type Deletion struct {
	ID   string `json:"_id"`
	Time Time   `json:"_deletedAt"`
}

// SyncDeleted is SyncMessages for messages deleted after since. The server forgets
// deletions after thirty days, and does not list those that left a message of type
// "rm" behind.
func (c *Client) SyncDeleted(ctx context.Context, rid string, since time.Time, each func([]Deletion) error) error {
	w := walk[Deletion]{client: c, room: rid, kind: "DELETED", forward: true, from: since,
		key: func(d Deletion) (string, time.Time) { return d.ID, d.Time.Time }}
	return w.run(ctx, func(ds []Deletion) (bool, error) { return true, each(ds) })
}

// MessageWithFile finds the newest message of a room that carries a file, among
// those changed after since.
func (c *Client) MessageWithFile(ctx context.Context, rid, fileID string, since time.Time) (found Message, ok bool, err error) {
	w := walk[Message]{client: c, room: rid, kind: "UPDATED", from: time.Now().Add(24 * time.Hour), // whatever its clock says
		key: func(m Message) (string, time.Time) { return m.ID, m.Updated.Time }}
	err = w.run(ctx, func(ms []Message) (bool, error) {
		for _, m := range ms {
			if m.File != nil && m.File.ID == fileID {
				found, ok = m, true
			}
		}
		return !ok && ms[0].Updated.After(since), nil
	})
	return found, ok, err
}
