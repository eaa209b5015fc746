package bootstrap_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"appliance/bridge/rocketchat/rctest"
	"appliance/provision/answers"
	"appliance/provision/render"
	"appliance/provision/secrets"
)

// Rocket.Chat's settings in the answers have the same value and type in Rocket.Chat after
// a start.
func TestSettingsOfTheAnswersReachRocketChat(t *testing.T) {
	a, err := answers.Parse("appliance.yaml", []byte("domain: chat.example.org\nrocketchat_settings:\n"+
		"  Message_MaxAllowedSize: 77\n  API_Embed: false\n  Site_Name: Our chat\n  Hide_System_Messages: [uj, ul]\n"))
	if err != nil {
		t.Fatal(err)
	}
	set, _, err := secrets.Prepare(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	files, err := render.Tree(render.Input{Answers: a, Secrets: set, Project: "p", Image: "i", Host: render.Host{MemoryMB: 4096}})
	if err != nil {
		t.Fatal(err)
	}
	srv := &rctest.Server{Polite: true, Env: map[string]string{}}
	for line := range strings.Lines(string(files["rocketchat.env"].Data)) {
		name, value, ok := strings.Cut(strings.TrimSpace(line), "=")
		if ok && strings.HasPrefix(name, "OVERWRITE_SETTING_") {
			srv.Env[name] = strings.Trim(value, "'") // as Compose reads it
		}
	}
	srv.Start(t)
	for id, want := range map[string]string{"Message_MaxAllowedSize": "77", "API_Embed": "false", "Site_Name": `"Our chat"`, "Hide_System_Messages": `["uj","ul"]`} {
		if got := publicSetting(t, srv.URL, id); got != want {
			t.Errorf("%s is %s, want %s", id, got, want)
		}
	}
}

// publicSetting reads a setting without signing in, and returns it as JSON.
func publicSetting(t *testing.T, base, id string) string {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, base+"/api/v1/settings.public?count=0&_id="+id, nil)
	if err != nil {
		t.Fatal(err)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	var out struct {
		Settings []struct {
			ID    string          `json:"_id"`
			Value json.RawMessage `json:"value"`
		}
	}
	if err := json.NewDecoder(res.Body).Decode(&out); err != nil {
		t.Fatal(err)
	}
	for _, s := range out.Settings {
		if s.ID == id {
			return string(s.Value)
		}
	}
	return "not there"
}
