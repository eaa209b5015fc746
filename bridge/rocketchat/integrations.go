package rocketchat

import (
	"context"
	"net/url"
	"strconv"
)

// A Webhook is an outgoing integration: Rocket.Chat posts each message of the
// rooms it covers to an address.
type Webhook struct {
	ID   string `json:"_id"`
	Type string `json:"type"` // "webhook-outgoing"
	Name string `json:"name"`
}

// Webhooks calls GET integrations.list and returns the outgoing webhooks.
func (c *Client) Webhooks(ctx context.Context) ([]Webhook, error) {
	var all []Webhook
	for offset := 0; ; {
		var out struct {
			Integrations []Webhook `json:"integrations"`
			Total        int       `json:"total"`
		}
		q := url.Values{"count": {strconv.Itoa(page)}, "offset": {strconv.Itoa(offset)}}
		if err := c.get(ctx, "integrations.list", q, &out); err != nil {
			return nil, err
		}
		for _, w := range out.Integrations {
			if w.Type == "webhook-outgoing" {
				all = append(all, w)
			}
		}
		if offset += len(out.Integrations); len(out.Integrations) == 0 || offset >= out.Total {
			return all, nil
		}
	}
}

// RemoveWebhook calls POST integrations.remove, which removes an outgoing webhook
// and its history.
func (c *Client) RemoveWebhook(ctx context.Context, id string) error {
	return c.post(ctx, "integrations.remove", map[string]string{"type": "webhook-outgoing", "integrationId": id}, nil)
}

// AdminRoom calls GET rooms.adminRooms.getRoom: what an administrator sees of a
// room without being in it, which for a direct room includes its members.
func (c *Client) AdminRoom(ctx context.Context, rid string) (Room, error) {
	var out Room
	err := c.get(ctx, "rooms.adminRooms.getRoom", url.Values{"rid": {rid}}, &out)
	return out, err
}

// AdminDirects calls GET rooms.adminRooms and passes direct rooms to each, a page
// at a time, until each returns false: those with the latest message first, or by
// ID, an order that does not change meanwhile. The list has neither the time nor
// the text of messages, only their number.
func (c *Client) AdminDirects(ctx context.Context, newest bool, each func([]Room) (more bool, err error)) error {
	sort := `{"_id":1}`
	if newest {
		sort = `{"lm":-1}`
	}
	for offset := 0; ; {
		var out struct {
			Rooms []Room `json:"rooms"`
			Total int    `json:"total"`
		}
		q := url.Values{"types[]": {Direct}, "count": {strconv.Itoa(page)}, "offset": {strconv.Itoa(offset)}, "sort": {sort}}
		if err := c.get(ctx, "rooms.adminRooms", q, &out); err != nil {
			return err
		}
		if more, err := each(out.Rooms); err != nil || !more {
			return err
		}
		if offset += len(out.Rooms); len(out.Rooms) == 0 || offset >= out.Total {
			return nil
		}
	}
}
