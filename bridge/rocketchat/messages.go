package rocketchat

import (
	"context"
	"net/url"
	"slices"
	"strconv"
	"time"
)

// NewMessage is what chat.sendMessage takes. The caller chooses the ID, so that
// a repeated call cannot make a second message.
type NewMessage struct {
	ID     string `json:"_id"`
	RoomID string `json:"rid"`
	Text   string `json:"msg"`
	Thread string `json:"tmid,omitempty"`
}

// SendMessage calls POST chat.sendMessage without link previews. When the
// server's answer does not say whether the message is there, because it was
// lost or because the ID exists already, it looks; so a nil error means that
// the message is in the room, from this caller, exactly once.
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
	if lookErr == nil && ok && found.User.ID == c.userID {
		return found, nil
	}
	return Message{}, err
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

// PostMessage calls POST chat.postMessage, which makes a message with an ID of
// the server's choice: a repeated call makes a second one. room is a room ID or
// "@username" for a direct message.
func (c *Client) PostMessage(ctx context.Context, room, text string) error {
	key := "roomId"
	if room != "" && room[0] == '@' {
		key = "channel"
	}
	return c.post(ctx, "chat.postMessage", map[string]any{key: room, "text": text, "parseUrls": false}, nil)
}

// SyncMessages calls GET chat.syncMessages in its cursor form (Rocket.Chat 7.1
// and later): every message of the room changed after since, oldest change
// first, in pages. It includes edits, reactions and system messages. The
// server compares strictly, so messages of one millisecond may be split by a
// page; each page is therefore asked for from a millisecond before the end of
// the last, and each is not called twice for the same change.
func (c *Client) SyncMessages(ctx context.Context, rid string, since time.Time, each func([]Message) error) error {
	type change struct {
		id string
		at time.Time
	}
	seen := map[change]bool{}
	for next, count := since.UnixMilli(), page; ; {
		var out struct {
			Result struct {
				Updated []Message `json:"updated"`
			} `json:"result"`
		}
		q := url.Values{"roomId": {rid}, "type": {"UPDATED"}, "next": {strconv.FormatInt(next, 10)}, "count": {strconv.Itoa(count)}}
		if err := c.get(ctx, "chat.syncMessages", q, &out); err != nil {
			return err
		}
		got := len(out.Result.Updated)
		batch := slices.DeleteFunc(out.Result.Updated, func(m Message) bool {
			k := change{m.ID, m.Updated.Time}
			old := seen[k]
			seen[k] = true
			return old
		})
		slices.SortStableFunc(batch, func(a, b Message) int { return a.Updated.Compare(b.Updated.Time) })
		if len(batch) > 0 {
			if err := each(batch); err != nil {
				return err
			}
			next = batch[len(batch)-1].Updated.UnixMilli() - 1
		}
		switch {
		case got < count:
			return nil
		case len(batch) == 0: // a whole page of one millisecond: look past it
			next += 2
		}
	}
}
