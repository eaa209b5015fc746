package secret_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"appliance/bridge/secret"
)

func TestSecretNeverLeaks(t *testing.T) {
	const plain = "correct-horse"
	s := secret.New(plain)
	exported := struct{ Token secret.String }{s}
	hidden := struct{ token secret.String }{s} // fmt does not call methods on this one

	var out bytes.Buffer
	slog.New(slog.NewTextHandler(&out, nil)).Info("x", "a", exported, "b", hidden, "c", s)
	slog.New(slog.NewJSONHandler(&out, nil)).Info("x", "a", exported, "b", hidden, "c", s)
	for _, v := range []any{s, &s, exported, hidden, &hidden} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
			fmt.Fprintf(&out, verb+"\n", v)
		}
		if err := json.NewEncoder(&out).Encode(v); err != nil {
			t.Fatal(err)
		}
	}
	if strings.Contains(out.String(), plain) || strings.Contains(out.String(), fmt.Sprintf("%x", plain)) {
		t.Errorf("the secret leaked:\n%s", out.String())
	}
}
