package rocketchat_test

import (
	"encoding/json"
	"testing"

	"appliance/bridge/rocketchat"
)

// FuzzMessage: a message stored by a client is read as far as possible, in a response and
// in a frame alike.
func FuzzMessage(f *testing.F) {
	for _, s := range []string{
		`{"_id":"a","rid":"r","msg":"hello","ts":{"$date":1700000000000},"u":{"_id":"u","username":"alice"}}`,
		`{"_id":"a","ts":"2024-01-01T00:00:00.000Z","attachments":[{"title_link":"/file-upload/x"},7],"files":"none","reactions":{":a:":{"usernames":["b",1]}}}`,
		`{"_id":1,"u":[],"ts":{"$date":"x"},"pinned":"yes","editedAt":-1}`, `{"ts":1e400}`, `[]`, `null`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var m, again rocketchat.Message
		if json.Unmarshal(data, &m) != nil {
			return
		}
		text, err := json.Marshal(m)
		if err != nil {
			t.Fatalf("it cannot be written: %v", err)
		}
		if err := json.Unmarshal(text, &again); err != nil {
			t.Fatalf("what was written cannot be read: %v\n%s", err, text)
		}
		if again.ID != m.ID || again.Text != m.Text || again.User != m.User {
			t.Errorf("read again it is another:\n%+v\n%+v", m, again)
		}
	})
}
