package mxside

import (
	"context"
	"encoding/json"
	"net/http"
	"time"

	"maunium.net/go/mautrix"
	"maunium.net/go/mautrix/event"

	"appliance/bridge/convert"
	"appliance/bridge/ids"
)

// messages sends events into rooms, and reads single ones.
type messages struct{ *client }

// Send implements relay.Matrix: PUT /rooms/{room}/send/m.room.message/{txn}.
func (m *messages) Send(ctx context.Context, room ids.MXRoom, as ids.MXUser, txn string, at time.Time, c convert.Content) (ids.MXEvent, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	resp, err := m.as(as).SendMessageEvent(ctx, room, event.EventMessage, c, mautrix.ReqSendEvent{TransactionID: txn, Timestamp: at.UnixMilli()})
	if err != nil {
		return "", side(err)
	}
	return resp.EventID, nil
}

// Redact implements relay.Matrix: PUT /rooms/{room}/redact/{event}/{txn}.
func (m *messages) Redact(ctx context.Context, room ids.MXRoom, as ids.MXUser, target ids.MXEvent, txn string) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	_, err := m.as(as).RedactEvent(ctx, room, target, mautrix.ReqRedact{TxnID: txn})
	return side(err)
}

// React implements relay.Matrix.
func (m *messages) React(ctx context.Context, room ids.MXRoom, as ids.MXUser, target ids.MXEvent, key, txn string) (ids.MXEvent, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	resp, err := m.as(as).SendMessageEvent(ctx, room, event.EventReaction, map[string]any{
		"m.relates_to": map[string]any{"rel_type": "m.annotation", "event_id": target, "key": key},
	}, mautrix.ReqSendEvent{TransactionID: txn})
	if err != nil {
		return "", side(err)
	}
	return resp.EventID, nil
}

// Notice implements relay.Matrix.
func (m *messages) Notice(ctx context.Context, room ids.MXRoom, reader ids.MXUser, txn, text string) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	_, err := m.as(reader).SendMessageEvent(ctx, room, event.EventMessage,
		map[string]any{"msgtype": "m.notice", "body": text}, mautrix.ReqSendEvent{TransactionID: txn})
	return side(err)
}

// Event implements relay.Matrix: GET /rooms/{room}/event/{event}.
func (m *messages) Event(ctx context.Context, room ids.MXRoom, reader ids.MXUser, event ids.MXEvent) (json.RawMessage, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	c := m.as(reader)
	var out json.RawMessage
	_, err := c.MakeRequest(ctx, http.MethodGet, c.BuildClientURL("v3", "rooms", room, "event", event), nil, &out)
	return out, side(err)
}

// maxReferring bounds how many events referring to one are read.
const maxReferring = 5000

// Referring implements relay.Matrix: GET /_matrix/client/v1/rooms/{room}/relations/{event}/{relation}.
func (m *messages) Referring(ctx context.Context, room ids.MXRoom, reader ids.MXUser, event ids.MXEvent, relation string) ([]json.RawMessage, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	c := m.as(reader)
	var all []json.RawMessage
	for from := ""; len(all) < maxReferring; {
		query := map[string]string{"limit": "100"}
		if from != "" {
			query["from"] = from
		}
		var out struct {
			Chunk []json.RawMessage `json:"chunk"`
			Next  string            `json:"next_batch"`
		}
		address := c.BuildURLWithQuery(mautrix.ClientURLPath{"v1", "rooms", room, "relations", event, relation}, query)
		if _, err := c.MakeRequest(ctx, http.MethodGet, address, nil, &out); err != nil {
			return nil, side(err)
		}
		all = append(all, out.Chunk...)
		if from = out.Next; from == "" || len(out.Chunk) == 0 {
			break
		}
	}
	return all, nil
}
