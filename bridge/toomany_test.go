package bridge_test

import (
	"bytes"
	"fmt"
	"net/http"
	"testing"

	"appliance/bridge/rocketchat/rctest"
)

// TestRateLimitsDelayAndLoseNothing takes from bots and administrators the permission that
// lifts Rocket.Chat's limits of its API, here five calls of an endpoint in eight seconds: REST
// answers with 429 and says how long to wait. What is said meanwhile arrives once and in
// order, and the bridge does not hammer the server while it waits.
func TestRateLimitsDelayAndLoseNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t, &rctest.Server{Polite: true})
	w.rc.Engine() // the limits of a real server are not for tests to set
	w.rc.Set("API_Enable_Rate_Limiter_Limit_Calls_Default", 5)
	w.rc.Set("API_Enable_Rate_Limiter_Limit_Time_Default", 8000) // so long that a busy machine hits it too
	room, mxRoom, bob := w.bridged()
	admin := w.rc.Admin()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, w.rc.URL+"/api/v1/permissions.update",
		bytes.NewReader([]byte(`{"permissions":[{"_id":"api-bypass-rate-limit","roles":[]}]}`)))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("X-User-Id", admin.ID)
	req.Header.Set("X-Auth-Token", admin.Token)
	req.Header.Set("Content-Type", "application/json")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
	if res.StatusCode != http.StatusOK {
		t.Fatalf("permissions.update: %d", res.StatusCode)
	}
	const n = 8
	for i := range n {
		bob.Send(mxRoom, fmt.Sprint("m ", i))
	}
	w.rc.WaitFor(t, room, fmt.Sprint("m ", n-1))
	for i, said := range only(w.saidInRC(room), "bob_") {
		if want := fmt.Sprint("m ", i); said != want {
			t.Errorf("message %d is %q", i, said)
		}
	}
	// Five are accepted at first; the refused one waits for the rest of the time.
	const send = "POST /api/v1/chat.sendMessage"
	if asked := w.rc.Count(send); asked <= n || asked > 3*n {
		t.Errorf("%d messages took %d calls", n, asked)
	}
}
