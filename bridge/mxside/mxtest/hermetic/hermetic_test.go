package hermetic

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"testing"
)

// house is a server with an application service, whose token acts for every user here.
type house struct {
	t *testing.T
	s *Server
}

func newHouse(t *testing.T, traits Traits) *house {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := ln.Addr().String()
	_ = ln.Close()
	h := &house{t, NewUniverse().NewServer(Options{Name: "home.test", Address: address, Traits: traits, RoomVersion: "10", Secret: "s"})}
	if err := h.s.Serve("{id: i, url: '', as_token: as, hs_token: hs, sender_localpart: bot, namespaces: {users: [{regex: '^@[a-z]+:home\\.test$', exclusive: true}], aliases: []}}"); err != nil {
		t.Fatal(err)
	}
	if err := h.s.Launch(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(h.s.Stop)
	for _, name := range []string{"alice", "bob", "carol", "dave"} {
		if status, out := h.ask("", http.MethodPost, "/register", map[string]any{"type": "m.login.application_service", "username": name}); status != http.StatusOK {
			t.Fatalf("%d %v", status, out)
		}
	}
	return h
}

// ask makes a request as a user.
func (h *house) ask(as, method, path string, body map[string]any) (status int, out map[string]any) {
	h.t.Helper()
	text, err := json.Marshal(body)
	if err != nil {
		h.t.Fatal(err)
	}
	query := ""
	if as != "" {
		query = "?user_id=" + url.QueryEscape("@"+as+":home.test")
	}
	req, err := http.NewRequestWithContext(h.t.Context(), method, "http://"+h.s.Address+"/_matrix/client/v3"+path+query, bytes.NewReader(text))
	if err != nil {
		h.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer as")
	req.Close = true // the server is stopped now and then
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		h.t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	data, err := io.ReadAll(res.Body)
	if err == nil {
		err = json.Unmarshal(data, &out)
	}
	if err != nil {
		h.t.Fatalf("%s %s: %d %q %v", method, path, res.StatusCode, data, err)
	}
	return res.StatusCode, out
}

// room returns an invite-only room of alice's with bob in it.
func (h *house) room() string {
	h.t.Helper()
	status, out := h.ask("alice", http.MethodPost, "/createRoom", map[string]any{"preset": "private_chat", "power_level_content_override": map[string]any{"invite": 50}})
	if status != http.StatusOK {
		h.t.Fatalf("%d %v", status, out)
	}
	room := fmt.Sprint(out["room_id"])
	h.must(http.StatusOK, "alice", http.MethodPost, "/rooms/"+room+"/invite", map[string]any{"user_id": "@bob:home.test"})
	h.must(http.StatusOK, "bob", http.MethodPost, "/rooms/"+room+"/join", map[string]any{})
	return room
}

// must makes a request and expects a status.
func (h *house) must(want int, as, method, path string, body map[string]any) map[string]any {
	h.t.Helper()
	status, out := h.ask(as, method, path, body)
	if status != want {
		h.t.Errorf("%s: %s %s: %d %v, want %d", as, method, path, status, out, want)
	}
	return out
}

func (h *house) send(as, room, txn string) string {
	h.t.Helper()
	return fmt.Sprint(h.must(http.StatusOK, as, http.MethodPut, "/rooms/"+room+"/send/m.room.message/"+txn, map[string]any{"msgtype": "m.text", "body": "hello"})["event_id"])
}

// Permissions follow the specification: a test that passes because this server lets
// everybody do everything would prove nothing.
func TestWhatIsNotAllowedIsRefused(t *testing.T) {
	for name, traits := range map[string]Traits{"dendrite": Dendrite(), "synapse": Synapse(), "generic": Generic()} {
		t.Run(name, func(t *testing.T) {
			h := newHouse(t, traits)
			room := h.room()
			at := "/rooms/" + room
			said := h.send("alice", room, "1")
			user := func(name string) map[string]any { return map[string]any{"user_id": "@" + name + ":home.test"} }
			const no, yes = http.StatusForbidden, http.StatusOK
			for _, c := range []struct {
				want         int
				as, what     string
				method, path string
				body         map[string]any
			}{
				{no, "carol", "writes where she is not", "PUT", at + "/send/m.room.message/2", map[string]any{"body": "x"}},
				{no, "carol", "joins uninvited", "POST", at + "/join", nil},
				{no, "bob", "invites without power", "POST", at + "/invite", user("carol")},
				{no, "bob", "removes without power", "POST", at + "/kick", user("alice")},
				{no, "bob", "bans without power", "POST", at + "/ban", user("alice")},
				{no, "bob", "names the room", "PUT", at + "/state/m.room.name/", map[string]any{"name": "mine"}},
				{no, "bob", "takes power", "PUT", at + "/state/m.room.power_levels/", map[string]any{"users": map[string]any{"@bob:home.test": 100}}},
				{no, "bob", "deletes what alice said", "PUT", at + "/redact/" + said + "/3", map[string]any{}},
				{no, "alice", "joins for bob by his state", "PUT", at + "/state/m.room.member/@carol:home.test", map[string]any{"membership": "join"}},
				{yes, "alice", "names the room", "PUT", at + "/state/m.room.name/", map[string]any{"name": "plans"}},
				{yes, "alice", "invites dave", "POST", at + "/invite", user("dave")},
				{yes, "alice", "bans dave", "POST", at + "/ban", user("dave")},
				{no, "dave", "comes back", "POST", at + "/join", nil},
				{no, "alice", "invites the banned", "POST", at + "/invite", user("dave")},
				{yes, "alice", "deletes her own", "PUT", at + "/redact/" + said + "/4", map[string]any{}},
				{yes, "alice", "removes bob", "POST", at + "/kick", user("bob")},
				{no, "bob", "writes when he is gone", "PUT", at + "/send/m.room.message/5", map[string]any{"body": "x"}},
			} {
				if status, out := h.ask(c.as, c.method, c.path, c.body); status != c.want {
					t.Errorf("%s %s: %d %v, want %d", c.as, c.what, status, out, c.want)
				}
			}
		})
	}
}

// A repeated client transaction is the same event, until a server of a kind that forgets
// transactions stops. Another user shares it only where the kind shares transactions.
func TestTransactionsAreRememberedAsTheKindDoes(t *testing.T) {
	for name, traits := range map[string]Traits{"dendrite": Dendrite(), "synapse": Synapse(), "generic": Generic()} {
		t.Run(name, func(t *testing.T) {
			h := newHouse(t, traits)
			room := h.room()
			first := h.send("alice", room, "1")
			if again := h.send("alice", room, "1"); again != first {
				t.Errorf("the transaction came again as %s, and was %s", again, first)
			}
			if next := h.send("alice", room, "2"); next == first {
				t.Error("another transaction is the same event")
			}
			if bobs := h.send("bob", room, "1"); (bobs == first) != traits.SharesTransactions {
				t.Errorf("bob's transaction is %s, alice's %s; that they share it is %v", bobs, first, traits.SharesTransactions)
			}
			h.s.Stop()
			if err := h.s.Launch(); err != nil {
				t.Fatal(err)
			}
			if later := h.send("alice", room, "1"); (later != first) != traits.ForgetsTransactions {
				t.Errorf("after a restart the transaction came as %s, and was %s; that it is forgotten is %v", later, first, traits.ForgetsTransactions)
			}
		})
	}
}
