package bridge_test

import (
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"appliance/bridge"
	"appliance/bridge/config"
	"appliance/bridge/rocketchat/rctest"
	"appliance/bridge/secret"
)

// operator makes a request to the bridge as the operator of its host.
func (w *world) operator(method, path, body string) *http.Response {
	w.t.Helper()
	token, err := os.ReadFile(w.dir + "/rc")
	if err != nil {
		w.t.Fatal(err)
	}
	return w.knock(method, path, body, "Bearer "+config.OperatorToken(secret.New(strings.TrimSpace(string(token)))).Reveal())
}

func (w *world) knock(method, path, body, authorization string) *http.Response {
	w.t.Helper()
	req, err := http.NewRequestWithContext(w.t.Context(), method, w.url+path, strings.NewReader(body))
	if err != nil {
		w.t.Fatal(err)
	}
	if authorization != "" {
		req.Header.Set("Authorization", authorization)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		w.t.Fatal(err)
	}
	return res
}

// Other containers can reach the bridge's port, but they neither see the queue nor change it.
func TestOnlyTheOperatorSeesTheQueue(t *testing.T) {
	t.Parallel()
	w := newWorld(t, &rctest.Server{Polite: true})
	hs, err := os.ReadFile(w.dir + "/hs")
	if err != nil {
		t.Fatal(err)
	}
	for path, method := range map[string]string{
		"/status": http.MethodGet, "/queue": http.MethodGet, "/queue/dead": http.MethodGet, "/queue/dead/retry": http.MethodPost, "/queue/dead/drop": http.MethodPost,
		"/reload": http.MethodPost, "/buried": http.MethodGet, "/buried/retry": http.MethodPost,
	} {
		for _, authorization := range []string{"", "Bearer ", "Bearer guessed", "Bearer " + strings.TrimSpace(string(hs))} {
			res := w.knock(method, path, `{"all":true}`, authorization)
			_ = res.Body.Close()
			if res.StatusCode != http.StatusUnauthorized {
				t.Errorf("%s %s with %q: %d", method, path, authorization, res.StatusCode)
			}
		}
		res := w.operator(method, path, `{"all":true}`)
		_ = res.Body.Close()
		if res.StatusCode != http.StatusOK {
			t.Errorf("%s %s of the operator: %d", method, path, res.StatusCode)
		}
	}
}

// An operator who requests a reload learns at once what it has changed, or why nothing.
func TestAReloadIsAnsweredAtOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t, &rctest.Server{Polite: true})
	reload := func() (out bridge.Reloaded) {
		t.Helper()
		res := w.operator(http.MethodPost, "/reload", "")
		defer func() { _ = res.Body.Close() }()
		if err := json.NewDecoder(res.Body).Decode(&out); err != nil || res.StatusCode != http.StatusOK {
			t.Fatal(res.Status, err)
		}
		return out
	}
	file := filepath.Join(w.dir, "bridge.yaml")
	good, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if out := reload(); out.Error != "" || len(out.Changed) != 0 || !out.At.IsZero() {
		t.Errorf("nothing has changed: %+v", out)
	}
	write(string(good) + "\npresence: true\n")
	if out := reload(); out.Error != "" || !slices.Equal(out.Changed, []string{"presence"}) || out.At.IsZero() {
		t.Errorf("changed: %+v", out)
	}
	write("log_level: loud\n")
	if out := reload(); !strings.Contains(out.Error, "log_level: must be one of") {
		t.Errorf("broken: %+v", out)
	}
	write(string(good) + "\npresence: true\n")
	if out := reload(); out.Error != "" {
		t.Errorf("corrected: %+v", out)
	}
	if log := w.log.String(); strings.LastIndex(log, "the configuration file matches the running configuration again") < strings.LastIndex(log, "the configuration was not reloaded") {
		t.Error("the log's last word is still the mistake")
	}
}
