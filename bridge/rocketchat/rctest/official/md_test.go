package official

import (
	"bufio"
	"bytes"
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"appliance/bridge/rocketchat/rctest"
)

// parsedAlike is the number of texts that the simulator parses as Rocket.Chat does: in
// the others it leaves emphasis, code and the like as text, see sim/md.go.
const parsedAlike = 646

// TestParsedText compares md, of messages and of quotes of them, with the output of
// Rocket.Chat's own parser for their text.
func TestParsedText(t *testing.T) {
	packages(t)
	s := &rctest.Server{Simulator: true, Polite: true, Env: map[string]string{"OVERWRITE_SETTING_API_Enable_Rate_Limiter": "false"}}
	s.Start(t)
	ada := s.CreateUser("ada")
	room := s.CreateRoom("p", "p1", "ada")
	var texts []string
	var of, quoted []any
	for _, text := range typed(t) {
		said := send(t, s, ada, map[string]any{"rid": room, "msg": text})
		if said["msg"] != text {
			continue // servers trim
		}
		quote := send(t, s, ada, map[string]any{"rid": room, "msg": "[ ](" + s.URL + "/group/p1?msg=" + said["_id"].(string) + ") so"})
		attachments, _ := quote["attachments"].([]any)
		if len(attachments) != 1 {
			t.Fatalf("a quote of %q has the attachments %v", text, attachments)
		}
		shown, _ := attachments[0].(map[string]any)
		texts, of, quoted = append(texts, text), append(of, said["md"]), append(quoted, shown["md"])
	}
	same := 0
	for i, want := range parsed(t, texts) {
		switch {
		case of[i] == nil || !reflect.DeepEqual(of[i], quoted[i]):
			t.Errorf("%q is %s, and in a quote %s", texts[i], asJSON(of[i]), asJSON(quoted[i]))
		case reflect.DeepEqual(of[i], want):
			same++
		case os.Getenv("APPLIANCE_ALL_DIFFERENCES") != "":
			t.Logf("%q is %s, and not %s", texts[i], asJSON(want), asJSON(of[i]))
		}
	}
	t.Logf("%d of %d texts are parsed as by Rocket.Chat", same, len(texts))
	if same < parsedAlike {
		t.Errorf("%d texts are parsed as by Rocket.Chat, no longer %d", same, parsedAlike)
	}
}

// typed returns the texts with which bridge/convert is compared with the parsers.
func typed(t *testing.T) (texts []string) {
	t.Helper()
	b, err := os.ReadFile("../../../convert/difftest/testdata/texts.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	for lines := bufio.NewScanner(bytes.NewReader(b)); lines.Scan(); {
		var text string
		if err := json.Unmarshal(lines.Bytes(), &text); err != nil {
			t.Fatal(err)
		}
		if strings.TrimSpace(text) != "" && len(text) < 1000 {
			texts = append(texts, text)
		}
	}
	return texts
}

// send sends a message and returns what the server has made of it.
func send(t *testing.T, s *rctest.Server, who rctest.Person, message map[string]any) map[string]any {
	t.Helper()
	body, _ := json.Marshal(map[string]any{"message": message})
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.URL+"/api/v1/chat.sendMessage", bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	rctest.Sign(req, who)
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	var answer struct{ Message map[string]any }
	if err := json.NewDecoder(res.Body).Decode(&answer); err != nil || res.StatusCode != http.StatusOK {
		t.Fatalf("%v: %s, %v", message, res.Status, err)
	}
	return answer.Message
}

// parsed returns what Rocket.Chat's own parser makes of texts.
func parsed(t *testing.T, texts []string) (trees []any) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "texts.json")
	if err := os.WriteFile(file, []byte(asJSON(texts)), 0o600); err != nil {
		t.Fatal(err)
	}
	said, err := script(t, nil, "parse.mjs", file)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal([]byte(said), &trees); err != nil || len(trees) != len(texts) {
		t.Fatalf("%d trees of %d texts: %v", len(trees), len(texts), err)
	}
	return trees
}

func asJSON(v any) string {
	b, _ := json.Marshal(v)
	return string(b)
}
