package mxside

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"testing"

	"appliance/bridge/ids"
)

var fuzzNames = ids.Namespace{Server: "home", Bot: "bot"}

// FuzzTransaction: what a homeserver pushes becomes items with names that can be stored,
// and nothing that our own users sent becomes one.
func FuzzTransaction(f *testing.F) {
	for _, s := range []string{
		`{"events":[{"type":"m.room.message","event_id":"$a","room_id":"!r:x","sender":"@b:x","origin_server_ts":1,"content":{"msgtype":"m.text","body":"hello"}}]}`,
		`{"events":[{"type":"m.room.member","event_id":"$a","room_id":"!r:x","sender":"@b:x","state_key":"@alice:home","content":{"membership":"invite"}},7,null]}`,
		`{"events":[{"type":"m.room.redaction","redacts":{},"content":[]}],"ephemeral":[{}]}`, `{"events":{}}`,
	} {
		f.Add([]byte(s))
	}
	b := &inbox{names: fuzzNames}
	f.Fuzz(func(t *testing.T, data []byte) {
		var txn struct {
			Events []json.RawMessage `json:"events"`
		}
		if json.Unmarshal(data, &txn) != nil {
			return
		}
		list := arrivals(slog.New(slog.DiscardHandler), txn.Events, "")
		items := b.items(list)
		if len(items) > len(list) {
			t.Errorf("%d items of %d events", len(items), len(list))
		}
		for _, it := range items {
			if it.ID == "" || it.Lane == "" || len(it.ID) > maxID {
				t.Errorf("%q became the item %q of the lane %q", data, it.ID, it.Lane)
			}
		}
	})
}

// FuzzSync: a /sync response is read, with at most one invitation to each room.
func FuzzSync(f *testing.F) {
	f.Add([]byte(`{"next_batch":"s","rooms":{"invite":{"!r:x":{"invite_state":{"events":[{"type":"m.room.member","sender":"@b:x","state_key":"@alice:home","content":{"membership":"invite","is_direct":true}}]}}},"join":{"!q:x":{"timeline":{"events":[{}]}}}}}`))
	f.Add([]byte(`{"rooms":{"invite":{"":{"invite_state":{"events":[7,{"type":"m.room.name","content":{"name":{}}}]}}}}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		var ans syncAnswer
		if json.Unmarshal(data, &ans) != nil {
			return
		}
		if found := invitations(ans, "@alice:home"); len(found) > len(ans.Rooms.Invite) {
			t.Errorf("%d invitations to %d rooms", len(found), len(ans.Rooms.Invite))
		}
		for room, r := range ans.Rooms.Join {
			arrivals(slog.New(slog.DiscardHandler), r.Timeline.Events, room)
		}
	})
}

// FuzzList: a list from the homeserver is passed on element by element, or is an error.
func FuzzList(f *testing.F) {
	f.Add([]byte(`{"other":{"chunk":[1]},"chunk":[{"a":1},2]}`), "chunk")
	f.Add([]byte(`[1,[2],{"3":4}]`), "")
	f.Add([]byte(`{"chunk":[`), "chunk")
	f.Fuzz(func(t *testing.T, data []byte, key string) {
		err := elements(json.NewDecoder(bytes.NewReader(data)), key, func(raw json.RawMessage) error {
			if !json.Valid(raw) {
				t.Errorf("%q is no value", raw)
			}
			return nil
		})
		if err == nil && key == "" && !bytes.Contains(data, []byte("[")) {
			t.Errorf("%q was a list", data)
		}
	})
}
