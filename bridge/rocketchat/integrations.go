package rocketchat

import (
	"context"
	"encoding/json"
	"net/url"
	"strconv"
	"strings"
)

// A Webhook is an outgoing integration: Rocket.Chat posts each message of the
// rooms it covers to an address.
type Webhook struct {
	ID       string   `json:"_id,omitempty"`
	Type     string   `json:"type"` // "webhook-outgoing"
	Name     string   `json:"name"`
	Enabled  bool     `json:"enabled"`
	Username string   `json:"username"` // whose name answers would have
	Event    string   `json:"event"`    // "sendMessage"
	Channel  string   `json:"channel"`  // "all_direct_messages", …
	URLs     []string `json:"urls"`
	Token    string   `json:"token"` // what the receiver knows the sender by
	Retry    bool     `json:"retryFailedCalls"`
	Tries    int      `json:"retryCount"`
	Delay    string   `json:"retryDelay"` // "powers-of-two"
	Script   bool     `json:"scriptEnabled"`
}

// UnmarshalJSON reads a webhook as it is listed: channels come as a list there.
func (w *Webhook) UnmarshalJSON(data []byte) error {
	type plain Webhook
	var listed struct {
		plain
		Channel []string `json:"channel"`
	}
	if err := tolerant(json.Unmarshal(data, &listed)); err != nil {
		return err
	}
	*w = Webhook(listed.plain)
	w.Channel = strings.Join(listed.Channel, ",")
	return nil
}

// Webhooks calls GET integrations.list: the outgoing webhooks there are.
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

// PutWebhook calls POST integrations.create, or PUT integrations.update for one
// that has an ID.
func (c *Client) PutWebhook(ctx context.Context, w Webhook) error {
	id := w.ID
	w.ID = ""
	if id == "" {
		return c.post(ctx, "integrations.create", w, nil)
	}
	return c.call(ctx, "PUT", "integrations.update", nil, struct {
		Webhook
		ID string `json:"integrationId"`
	}{w, id}, nil)
}

// AdminRoom calls GET rooms.adminRooms.getRoom: what an administrator sees of a
// room without being in it, which is who is in a direct one.
func (c *Client) AdminRoom(ctx context.Context, rid string) (Room, error) {
	var out Room
	err := c.get(ctx, "rooms.adminRooms.getRoom", url.Values{"rid": {rid}}, &out)
	return out, err
}

// AdminDirects calls GET rooms.adminRooms and hands over all direct rooms, a page
// at a time.
func (c *Client) AdminDirects(ctx context.Context, each func([]Room) error) error {
	for offset := 0; ; {
		var out struct {
			Rooms []Room `json:"rooms"`
			Total int    `json:"total"`
		}
		q := url.Values{"types[]": {Direct}, "count": {strconv.Itoa(page)}, "offset": {strconv.Itoa(offset)}}
		if err := c.get(ctx, "rooms.adminRooms", q, &out); err != nil {
			return err
		}
		if err := each(out.Rooms); err != nil {
			return err
		}
		if offset += len(out.Rooms); len(out.Rooms) == 0 || offset >= out.Total {
			return nil
		}
	}
}
