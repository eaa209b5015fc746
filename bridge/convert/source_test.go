package convert_test

import (
	"encoding/json"
	"testing"

	"appliance/bridge/convert"
)

// The source of an event is inside its content, where the bridge finds it again, and
// only there: not inside the new version that an edit carries.
func TestTheSourceOfAnEventIsInItsContent(t *testing.T) {
	edit := convert.Content{MsgType: "m.text", Body: "hello"}.Edit("$first", nil)
	edit.Source = "rc:m1"
	event, err := json.Marshal(map[string]any{"event_id": "$e", "type": "m.room.message", "sender": "@a:here.org", "room_id": "!r:here.org", "content": edit})
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := convert.ParseEvent(event)
	if err != nil {
		t.Fatal(err)
	}
	if parsed.Content.Source != "rc:m1" {
		t.Errorf("the source is %q", parsed.Content.Source)
	}
	var raw struct {
		Content map[string]json.RawMessage `json:"content"`
	}
	if err := json.Unmarshal(event, &raw); err != nil {
		t.Fatal(err)
	}
	var fresh map[string]json.RawMessage
	if err := json.Unmarshal(raw.Content["m.new_content"], &fresh); err != nil {
		t.Fatal(err)
	}
	if _, ok := raw.Content[convert.SourceKey]; !ok {
		t.Errorf("the content lacks %s", convert.SourceKey)
	}
	if _, ok := fresh[convert.SourceKey]; ok {
		t.Errorf("the new version has %s", convert.SourceKey)
	}
	if plain, err := json.Marshal(convert.Content{Body: "x"}); err != nil || string(plain) != `{"msgtype":"","body":"x"}` {
		t.Errorf("without a source: %s (%v)", plain, err)
	}
}
