package bridge_test

import (
	"net/http"
	"os"
	"strings"
	"testing"

	"appliance/bridge/config"
	"appliance/bridge/rocketchat/rctest"
	"appliance/bridge/secret"
)

// operator asks the bridge as the operator of its host.
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

// Other containers reach the bridge's port. They neither see the queue nor change it.
func TestOnlyTheOperatorSeesTheQueue(t *testing.T) {
	t.Parallel()
	w := newWorld(t, &rctest.Server{Polite: true})
	hs, err := os.ReadFile(w.dir + "/hs")
	if err != nil {
		t.Fatal(err)
	}
	for path, method := range map[string]string{
		"/status": http.MethodGet, "/queue": http.MethodGet, "/queue/dead": http.MethodGet, "/queue/dead/retry": http.MethodPost, "/queue/dead/drop": http.MethodPost,
		"/buried": http.MethodGet, "/buried/retry": http.MethodPost,
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
