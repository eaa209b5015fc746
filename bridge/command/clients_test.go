package command_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"appliance/bridge/command"
	"appliance/bridge/rocketchat/rctest"
)

// call makes a request as a person's client would.
func (c *counter) call(p rctest.Person, method, path, body string, header ...string) (status int, answer string) {
	c.t.Helper()
	req, err := http.NewRequestWithContext(c.t.Context(), method, c.url+path, strings.NewReader(body))
	if err != nil {
		c.t.Fatal(err)
	}
	for n := 0; n < len(header); n += 2 {
		req.Header.Set(header[n], header[n+1])
	}
	for name, value := range map[string]string{"Content-Type": "application/json", "X-User-Id": p.ID, "X-Auth-Token": p.Token, "X-Forwarded-For": "192.0.2.1", "X-Real-Ip": "192.0.2.1"} {
		req.Header.Set(name, value)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		c.t.Fatal(err)
	}
	defer http.DefaultClient.CloseIdleConnections()
	defer func() { _ = res.Body.Close() }()
	data, err := io.ReadAll(res.Body)
	if err != nil {
		c.t.Fatal(err)
	}
	return res.StatusCode, string(data)
}

// typed returns what a web client before 8.6 sends for a slash command.
func typed(name, params string) string {
	inner, _ := json.Marshal(map[string]any{
		"msg": "method", "id": "7", "method": "slashCommand",
		"params": []any{map[string]any{"cmd": name, "params": params, "msg": map[string]string{"rid": "GENERAL"}}},
	})
	outer, _ := json.Marshal(map[string]string{"message": string(inner)})
	return string(outer)
}

// A web client before 8.6 gets responses in the envelope that it understands.
func TestAnOlderWebClientIsAnswered(t *testing.T) {
	c := open(t, &rctest.Server{})
	carol := c.rc.CreateUser("carol")
	const path = "/api/v1/method.call/slashCommand"
	for _, test := range []struct {
		name   string
		who    rctest.Person
		body   string
		status int
		said   string
	}{
		{"help", carol, typed("bridge", "help"), http.StatusOK, `\"msg\":\"result\"`},
		{"in capitals", carol, typed("Bridge", "HELP"), http.StatusOK, `\"id\":\"7\"`},
		{"no such command", carol, typed("bridge", "fly"), http.StatusBadRequest, "there is no /bridge fly"},
		{"no address", carol, typed("bridge", "invite"), http.StatusBadRequest, "this needs one address"},
		{"no past", carol, typed("bridge", "history"), http.StatusBadRequest, "a number of messages or a day"},
		{"too much past", carol, typed("bridge", "history 1000000000"), http.StatusBadRequest, "the number of messages must be from 1 to"},
		{"no day", carol, typed("bridge", "history yesterday"), http.StatusBadRequest, "neither a number of messages nor a day"},
		{"a stranger", rctest.Person{ID: carol.ID, Token: "guessed"}, typed("bridge", "help"), http.StatusUnauthorized, "You must be logged in to do this."},
	} {
		t.Run(test.name, func(t *testing.T) {
			status, answer := c.call(test.who, http.MethodPost, path, test.body)
			if status != test.status || !strings.Contains(answer, test.said) {
				t.Errorf("%d %s, want %d and %q", status, answer, test.status, test.said)
			}
		})
	}
	if status, answer := c.call(carol, http.MethodPost, path, strings.Repeat("x", 200<<10)); status != http.StatusBadRequest || !strings.Contains(answer, "could not be read") {
		t.Errorf("a request without end: %d %s", status, answer)
	}
	if status, _ := c.call(carol, http.MethodPost, path, typed("bridge", "help"), "X-Appliance-Bridge", "1"); status != http.StatusLoopDetected {
		t.Errorf("what the bridge has passed on comes back: %d", status)
	}
}

// listing is a Rocket.Chat that lists three commands, two per page.
func listing(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	switch {
	case r.Header.Get("X-Auth-Token") == "":
		w.WriteHeader(http.StatusUnauthorized)
		_, _ = io.WriteString(w, `{"status":"error","message":"You must be logged in to do this."}`)
	case r.URL.Path != "/api/v1/commands.list":
		_, _ = io.WriteString(w, `{"from":"Rocket.Chat","success":true}`)
	case r.URL.Query().Get("offset") == "2":
		_, _ = io.WriteString(w, `{"commands":[{"command":"topic"}],"offset":2,"count":1,"total":3,"success":true}`)
	default:
		_, _ = io.WriteString(w, `{"commands":[{"command":"join"},{"command":"me"}],"offset":0,"count":2,"total":3,"success":true}`)
	}
}

// Clients see the bridge's commands once, at the end of the last page of Rocket.Chat's
// own, and everything else unchanged.
func TestClientsListTheCommands(t *testing.T) {
	rc := httptest.NewServer(http.HandlerFunc(listing))
	t.Cleanup(rc.Close)
	front, err := command.NewFront(&command.Commands{}, rc.URL)
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	front.Routes(mux)
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	c, carol := &counter{t: t, url: server.URL}, rctest.Person{ID: "carol", Token: "token"}

	var names []string
	for _, query := range []string{"", "?offset=2"} {
		status, answer := c.call(carol, http.MethodGet, "/api/v1/commands.list"+query, "")
		var page struct {
			Commands []struct {
				Command string `json:"command"`
			} `json:"commands"`
			Count int `json:"count"`
			Total int `json:"total"`
		}
		if err := json.Unmarshal([]byte(answer), &page); status != http.StatusOK || err != nil || page.Count != len(page.Commands) || page.Total != 5 {
			t.Errorf("%q: %d %s, %v", query, status, answer, err)
		}
		for _, one := range page.Commands {
			names = append(names, one.Command)
		}
	}
	if want := []string{"join", "me", "topic", "bridge", "federation"}; !slices.Equal(names, want) {
		t.Errorf("listed are %q, want %q", names, want)
	}
	if status, answer := c.call(rctest.Person{}, http.MethodGet, "/api/v1/commands.list", ""); status != http.StatusUnauthorized || !strings.Contains(answer, "logged in") {
		t.Errorf("to a stranger: %d %s", status, answer)
	}
	if status, answer := c.call(carol, http.MethodGet, "/api/v1/commands.get?command=bridge", ""); status != http.StatusOK || !strings.Contains(answer, "invite @user:server") {
		t.Errorf("about /bridge: %d %s", status, answer)
	}
	for _, asked := range [][3]string{
		{http.MethodGet, "/api/v1/commands.get?command=me"},
		{http.MethodPost, "/api/v1/commands.run", `{"command":"me","params":"waves","roomId":"GENERAL"}`},
		{http.MethodPost, "/api/v1/method.call/slashCommand", typed("me", "waves")},
		{http.MethodPost, "/api/v1/method.call/slashCommand", `not JSON`},
	} {
		if status, answer := c.call(carol, asked[0], asked[1], asked[2]); status != http.StatusOK || !strings.Contains(answer, `"from":"Rocket.Chat"`) {
			t.Errorf("%v: %d %s", asked, status, answer)
		}
	}
	rc.Close()
	if status, _ := c.call(carol, http.MethodGet, "/api/v1/commands.list", ""); status != http.StatusBadGateway {
		t.Errorf("without Rocket.Chat: %d", status)
	}
}
