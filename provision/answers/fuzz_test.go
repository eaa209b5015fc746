package answers_test

import (
	"bytes"
	"testing"

	"appliance/provision/answers"
)

// FuzzParse: any answers file is either refused, or still the same after it was written and
// read again.
func FuzzParse(f *testing.F) {
	for _, s := range []string{"domain: chat.example.org\nemail: admin@example.org\n", "domain: [a]\n", "a: &a {b: *a}", "settings: {A: 1}\n", "domain: chat.example.org\ntls: internal\nadmin_username: a\n", "\x00"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		a, err := answers.Parse("appliance.yaml", data)
		if err != nil {
			return
		}
		text := a.Marshal("appliance init")
		again, err := answers.Parse("appliance.yaml", text)
		if err != nil {
			t.Fatalf("what was written cannot be read: %v\n%s", err, text)
		}
		if second := again.Marshal("appliance init"); !bytes.Equal(text, second) {
			t.Errorf("written again it is another:\n%s\n%s", text, second)
		}
	})
}
