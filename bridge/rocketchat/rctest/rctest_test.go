package rctest_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"net/textproto"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"appliance/bridge/rocketchat/rctest"
)

func TestMain(m *testing.M) {
	os.Unsetenv("APPLIANCE_RECORD") // requests made here come from no suite of the product
	rctest.VerifyTestMain(m)
}

// polite starts a polite server.
func polite(t *testing.T, env ...string) *rctest.Server {
	t.Helper()
	s := &rctest.Server{Simulator: true, Polite: true, Env: map[string]string{}}
	for i := 0; i < len(env); i += 2 {
		s.Env[env[i]] = env[i+1]
	}
	s.Start(t)
	return s
}

type object = map[string]any

// A client is a minimal client of a Rocket.Chat.
type client struct {
	t   testing.TB
	s   *rctest.Server
	who rctest.Person
}

func (c client) do(method, path string, body any, headers ...string) (int, object, http.Header) {
	c.t.Helper()
	var r io.Reader
	if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			c.t.Fatal(err)
		}
		r = bytes.NewReader(b)
	}
	req, err := http.NewRequest(method, c.s.URL+path, r)
	if err != nil {
		c.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	return c.send(req, headers...)
}

func (c client) send(req *http.Request, headers ...string) (int, object, http.Header) {
	c.t.Helper()
	if c.who.Token != "" {
		req.Header.Set("X-Auth-Token", c.who.Token)
		req.Header.Set("X-User-Id", c.who.ID)
	}
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		c.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, _ := io.ReadAll(resp.Body)
	var v object
	if json.Unmarshal(b, &v) != nil {
		v = object{"raw": string(b)}
	}
	return resp.StatusCode, v, resp.Header
}

func (c client) get(path string) object {
	c.t.Helper()
	return c.ok(c.do("GET", "/api/v1/"+path, nil))
}

func (c client) post(path string, body object) object {
	c.t.Helper()
	return c.ok(c.do("POST", "/api/v1/"+path, body))
}

func (c client) ok(status int, v object, _ http.Header) object {
	c.t.Helper()
	if status != 200 {
		c.t.Fatalf("%d %v", status, v)
	}
	return v
}

// refused posts and expects this status, error text and errorType.
func (c client) refused(path string, body object, status int, text, code string) {
	c.t.Helper()
	got, v, _ := c.do("POST", "/api/v1/"+path, body)
	c.wants(path, got, v, status, text, code)
}

func (c client) refusedGet(path string, status int, text, code string) {
	c.t.Helper()
	got, v, _ := c.do("GET", "/api/v1/"+path, nil)
	c.wants(path, got, v, status, text, code)
}

func (c client) wants(path string, got int, v object, status int, text, code string) {
	c.t.Helper()
	errorType, _ := v["errorType"].(string)
	errorText, _ := v["error"].(string)
	if got != status || errorText != text || errorType != code {
		c.t.Errorf("%s: got %d %q %q, want %d %q %q", path, got, errorText, errorType, status, text, code)
	}
}

// dig follows keys and list positions into v.
func dig(v any, path ...any) any {
	for _, p := range path {
		switch k := p.(type) {
		case string:
			m, _ := v.(object)
			v = m[k]
		case int:
			l, _ := v.([]any)
			if k >= len(l) {
				return nil
			}
			v = l[k]
		}
	}
	return v
}

// people starts a polite server with ada and bob.
func people(t *testing.T) (s *rctest.Server, ada, bob client) {
	t.Helper()
	s = polite(t)
	return s, client{t, s, s.CreateUser("ada")}, client{t, s, s.CreateUser("bob")}
}

func admin(t *testing.T, s *rctest.Server) client { return client{t, s, s.Admin()} }

func TestSection0_1_UnknownAndMissingBodyFieldsAreRefusedWithAjvsWords(t *testing.T) {
	s, ada, _ := people(t)
	root := admin(t, s)
	user := object{"email": "x@y.z", "name": "X", "password": "p", "username": "x"}
	user["bogus"] = 1
	root.refused("users.create", user, 400, "must NOT have additional properties [invalid-params]", "invalid-params")
	ada.refused("chat.sendMessage", object{}, 400, "must have required property 'message' [invalid-params]", "invalid-params")
	ada.refusedGet("chat.getMessage?msgId=x&bogus=1", 400, "must NOT have additional properties [error-invalid-params]", "error-invalid-params")
}

func TestSection0_1_StatusCodesOfRefusals(t *testing.T) {
	s, ada, _ := people(t)
	status, v, _ := client{t: t, s: s}.do("GET", "/api/v1/me", nil)
	if status != 401 || v["message"] != "You must be logged in to do this." || v["status"] != "error" {
		t.Errorf("without a token: %d %v", status, v)
	}
	ada.refusedGet("rooms.adminRooms", 400, "error-not-authorized", "")
	ada.refusedGet("settings", 403, "User does not have the permissions required for this action [error-unauthorized]", "")
	if status, _, _ := ada.do("GET", "/api/v1/no.such", nil); status != 404 {
		t.Errorf("an unknown endpoint answered %d", status)
	}
}

func TestSection0_1_ListsComeInPages(t *testing.T) {
	s, ada, _ := people(t)
	rid := s.CreateChannel("crowd", "ada")
	for _, n := range []string{"u1", "u2", "u3"} {
		s.CreateUser(n)
		s.Join("crowd", n)
	}
	v := ada.get("channels.members?roomId=" + rid + "&count=2&offset=1")
	if v["count"] != 2.0 || v["offset"] != 1.0 || v["total"] != 4.0 || dig(v, "members", 0, "username") != "u1" {
		t.Errorf("got %v", v)
	}
}

func TestSection1_1_LoginTakesPlainPasswordsDigestsAndTokens(t *testing.T) {
	s := polite(t)
	s.CreateUser("ada")
	anyone := client{t: t, s: s}
	sum := sha256.Sum256([]byte("ada"))
	for _, body := range []object{
		{"username": "ada", "password": "ada"},
		{"user": "ada", "password": "ada"},
		{"email": "ada@example.invalid", "password": "ada"},
		{"user": object{"username": "ada"}, "password": object{"digest": hex.EncodeToString(sum[:]), "algorithm": "sha-256"}},
	} {
		v := anyone.post("login", body)
		token := dig(v, "data", "authToken").(string)
		if again := anyone.post("login", object{"resume": token}); dig(again, "data", "authToken") != token {
			t.Errorf("resume gave %v", again)
		}
	}
	status, v, _ := anyone.do("POST", "/api/v1/login", object{"username": "ada", "password": "wrong"})
	if status != 401 || v["error"] != "Unauthorized" || v["status"] != "error" {
		t.Errorf("a wrong password: %d %v", status, v)
	}
}

func TestSection1_3_PersonalAccessTokensNeedASecondFactor(t *testing.T) {
	_, ada, _ := people(t)
	body := object{"tokenName": "bridge", "bypassTwoFactor": true}
	status, v, _ := ada.do("POST", "/api/v1/users.generatePersonalAccessToken", body)
	if status != 400 || v["errorType"] != "totp-required" || dig(v, "details", "method") != "password" {
		t.Fatalf("without a code: %d %v", status, v)
	}
	sum := sha256.Sum256([]byte("ada"))
	code := hex.EncodeToString(sum[:])
	if status, v, _ := ada.do("POST", "/api/v1/users.generatePersonalAccessToken", body, "x-2fa-code", code); status != 400 {
		t.Fatalf("one header alone is ignored (1.4): %d %v", status, v)
	}
	v = ada.ok(ada.do("POST", "/api/v1/users.generatePersonalAccessToken", body, "x-2fa-code", code, "x-2fa-method", "password"))
	pat := ada
	pat.who.Token = v["token"].(string)
	if dig(pat.get("me"), "username") != "ada" {
		t.Error("the token does not work")
	}
	ada.refused("users.generatePersonalAccessToken", body, 400, "A token with this name already exists [error-token-already-exists]", "error-token-already-exists")
}

func TestSection1_4_AVerifiedAddressTurnsPasswordLoginIntoTwoFactors(t *testing.T) {
	s := polite(t, "OVERWRITE_SETTING_Accounts_TwoFactorAuthentication_By_Email_Auto_Opt_In", "true")
	admin(t, s).post("users.create", object{"email": "p@example.invalid", "name": "P", "password": "p", "username": "puppet", "verified": true})
	status, v, _ := client{t: t, s: s}.do("POST", "/api/v1/login", object{"username": "puppet", "password": "p"})
	if status != 401 || v["error"] != "totp-required" || dig(v, "details", "method") != "email" {
		t.Errorf("%d %v", status, v)
	}
}

func TestSection1_5_CreateTokenWantsTheSecretAndThePermission(t *testing.T) {
	s, ada, bob := people(t)
	root := admin(t, s)
	root.refused("users.createToken", object{"userId": ada.who.ID}, 400, "must have required property 'secret' [invalid-params]", "invalid-params")
	root.refused("users.createToken", object{"userId": ada.who.ID, "secret": "no"}, 400, "Not authorized [error-not-authorized]", "error-not-authorized")
	bob.refused("users.createToken", object{"userId": ada.who.ID, "secret": rctest.CreateTokenSecret}, 400, "Not authorized [error-not-authorized]", "error-not-authorized")
	v := root.post("users.createToken", object{"userId": ada.who.ID, "secret": rctest.CreateTokenSecret})
	ada.who.Token = dig(v, "data", "authToken").(string)
	if ada.get("me")["username"] != "ada" {
		t.Error("the token does not work")
	}
}

func TestSection2_1_InitialUserComesWithAKnownTokenAndNoChallenge(t *testing.T) {
	s := polite(t, "INITIAL_USER", `{"_id":"rcmxbridge0000001","username":"matrix-bridge","name":"Matrix bridge","type":"bot",
		"active":true,"roles":["bot","admin"],"services":{"resume":{"loginTokens":[{"type":"personalAccessToken","name":"bridge",
		"hashedToken":"K7gNU3sdo+OL0wNhqoVWhr3g6s1xYv72ol/pe/Unols=","bypassTwoFactor":true}]}}}`)
	bridge := client{t, s, rctest.Person{ID: "rcmxbridge0000001", Token: "secret"}}
	if v := bridge.get("me"); v["username"] != "matrix-bridge" {
		t.Fatalf("me: %v", v)
	}
	ada := s.CreateUser("ada")
	bridge.post("users.update", object{"userId": ada.ID, "data": object{"name": "Ada L."}})
	if got := s.User("ada")["name"]; got != "Ada L." {
		t.Errorf("name %v", got)
	}
}

func TestSection2_2_SettingsComeFromTheEnvironmentAndCanBeBlocked(t *testing.T) {
	s := polite(t, "OVERWRITE_SETTING_Message_MaxAllowedSize", "10", "SETTINGS_BLOCKED", "Show_Setup_Wizard",
		"OVERWRITE_SETTING_Show_Setup_Wizard", "completed", "OVERWRITE_SETTING_Accounts_TwoFactorAuthentication_Enabled", "false")
	root := admin(t, s)
	if v := root.get("settings/Message_MaxAllowedSize"); v["value"] != 10.0 {
		t.Errorf("got %v", v)
	}
	if status, _, _ := root.do("POST", "/api/v1/settings/Show_Setup_Wizard", object{"value": "pending"}); status != 400 {
		t.Errorf("a blocked setting answered %d", status)
	}
	root.post("settings/Message_MaxAllowedSize", object{"value": 20})
	v := client{t: t, s: s}.get("settings.public?_id=Message_MaxAllowedSize,Site_Url")
	if dig(v, "settings", 0, "value") != 20.0 || dig(v, "settings", 1, "value") != s.URL {
		t.Errorf("public: %v", v)
	}
}

func TestSection2_6_HealthAndVersion(t *testing.T) {
	s := polite(t)
	anyone := client{t: t, s: s}
	for _, p := range []string{"/livez", "/readyz", "/health"} {
		if _, v, _ := anyone.do("GET", p, nil); v["status"] != "ok" {
			t.Errorf("%s: %v", p, v)
		}
	}
}

func TestSection3_1_UserCreationErrors(t *testing.T) {
	s, ada, _ := people(t)
	root := admin(t, s)
	user := func(username, name, email string) object {
		return object{"username": username, "name": name, "email": email, "password": "p"}
	}
	for _, c := range []struct {
		body object
		code string
	}{
		{user("a b", "N", "n@x.y"), "error-input-is-not-a-valid-field"},
		{user("@bob:matrix.org", "N", "n@x.y"), "error-input-is-not-a-valid-field"}, // 3.2
		{user("ADA", "N", "n@x.y"), "error-field-unavailable"},
		{user("all", "N", "n@x.y"), "error-field-unavailable"},
		{user("n", "N", "ADA@example.invalid"), "error-field-unavailable"},
		{user("n", "<b>", "n@x.y"), ""},
		{user("n", "100% me", "n@x.y"), ""},
	} {
		status, v, _ := root.do("POST", "/api/v1/users.create", c.body)
		if got, _ := v["errorType"].(string); status != 400 || got != c.code {
			t.Errorf("%v: %d %v", c.body, status, v)
		}
	}
	status, v, _ := ada.do("POST", "/api/v1/users.create", user("n", "N", "n@x.y"))
	if status != 400 || v["errorType"] != "error-action-not-allowed" {
		t.Errorf("without permission: %d %v", status, v)
	}
}

func TestSection3_5_ADeactivatedUserLosesTokensAndDMsBecomeReadOnly(t *testing.T) {
	s, ada, bob := people(t)
	dm := s.CreateDirect("ada", "bob")
	admin(t, s).post("users.setActiveStatus", object{"userId": bob.who.ID, "activeStatus": false})
	if status, _, _ := bob.do("GET", "/api/v1/me", nil); status != 401 {
		t.Errorf("the token still works: %d", status)
	}
	ada.refused("chat.sendMessage", object{"message": object{"rid": dm, "msg": "hi"}}, 400, "You can't send messages because the room is readonly.", "")
}

func TestSection12_6_20_DeletingAUserErasesMessagesByDefault(t *testing.T) {
	s, _, bob := people(t)
	rid := s.CreateChannel("c1", "ada", "bob")
	s.Say(rid, "bob", "gone soon")
	admin(t, s).post("users.delete", object{"userId": bob.who.ID})
	if l := s.Said(rid); len(l) != 0 {
		t.Errorf("still there: %v", l)
	}
}

func TestSection3_6_OnlyBotsMayUseAnAlias(t *testing.T) {
	s, ada, _ := people(t)
	rid := s.CreateChannel("c1", "ada")
	aliased := object{"message": object{"rid": rid, "msg": "hi", "alias": "Grace"}}
	ada.refused("chat.sendMessage", aliased, 400, "Not enough permission", "")
	admin(t, s).refused("chat.sendMessage", aliased, 400, "Not enough permission", "") // not even administrators
	bot := client{t, s, s.CreateUser("bot1", "bot")}
	if v := bot.post("chat.sendMessage", aliased); dig(v, "message", "alias") != "Grace" || dig(v, "message", "u", "username") != "bot1" {
		t.Errorf("got %v", v)
	}
}

func TestSection4_1_TheSameIDTwiceIsTheCrashOfARealHandler(t *testing.T) {
	s, ada, bob := people(t)
	rid := s.CreateChannel("c1", "ada", "bob")
	send := func(text string) object { return object{"message": object{"_id": "mxABC", "rid": rid, "msg": text}} }
	ada.post("chat.sendMessage", send("first"))
	ada.refused("chat.sendMessage", send("second"), 400, "Cannot read properties of undefined (reading 'starred')", "")
	bob.refused("chat.sendMessage", send("third"), 400, "Cannot read properties of undefined (reading 'starred')", "")
	if m := dig(ada.get("chat.getMessage?msgId=mxABC"), "message", "msg"); m != "first" {
		t.Errorf("the message became %v", m)
	}
	status, v, _ := ada.do("GET", "/api/v1/chat.getMessage?msgId=none", nil)
	if status != 400 || len(v) != 1 || v["success"] != false {
		t.Errorf("a missing message (4.3): %d %v", status, v)
	}
}

func TestSection4_1_RefusalsAreFreeText(t *testing.T) {
	s, ada, bob := people(t)
	private := s.CreateRoom("p", "p1", "ada")
	open := s.CreateChannel("c1", "ada", "bob")
	archived := s.CreateChannel("c2", "ada", "bob")
	admin(t, s).post("channels.archive", object{"roomId": archived})
	msg := func(rid, text string) object { return object{"message": object{"rid": rid, "msg": text}} }
	bob.refused("chat.sendMessage", msg("nowhere", "x"), 400, "error-invalid-room", "")
	bob.refused("chat.sendMessage", msg(private, "x"), 400, "error-not-allowed", "")
	bob.refused("chat.sendMessage", msg(archived, "x"), 400, "room_is_archived", "")
	ada.post("rooms.muteUser", object{"roomId": open, "username": "bob"})
	bob.refused("chat.sendMessage", msg(open, "x"), 400, "You_have_been_muted", "")
	ada.post("rooms.unmuteUser", object{"roomId": open, "username": "bob"})
	ada.post("channels.setReadOnly", object{"roomId": open, "readOnly": true})
	bob.refused("chat.sendMessage", msg(open, "x"), 400, "You can't send messages because the room is readonly.", "")
	ada.post("chat.sendMessage", msg(open, "the owner may"))
	ada.refused("chat.sendMessage", msg(open, strings.Repeat("é", 5001)), 400,
		"Message size exceeds Message_MaxAllowedSize [error-message-size-exceeded]", "error-message-size-exceeded")
	ada.refused("chat.sendMessage", object{"message": object{"rid": open, "msg": "x", "t": "uj"}}, 400, "Cannot send system messages using 'chat.sendMessage'", "")
}

func TestSection12_6_22_AllByABotFailsTheWholeSend(t *testing.T) {
	s, ada, _ := people(t)
	rid := s.CreateChannel("c1", "ada")
	bot := client{t, s, s.CreateUser("bot1", "bot")}
	status, v, _ := bot.do("POST", "/api/v1/chat.sendMessage", object{"message": object{"rid": rid, "msg": "hey @all"}})
	if status != 400 || v["errorType"] != "error-action-not-allowed" {
		t.Errorf("%d %v", status, v)
	}
	if v := ada.post("chat.sendMessage", object{"message": object{"rid": rid, "msg": "hey @all and @bob"}}); dig(v, "message", "mentions", 1, "username") != "bob" {
		t.Errorf("mentions: %v", v)
	}
}

func TestSection4_2_PostMessageJoinsAndOpensDMs(t *testing.T) {
	s, _, bob := people(t)
	rid := s.CreateChannel("c1", "ada")
	v := bob.post("chat.postMessage", object{"channel": "#c1", "text": "hi"})
	if dig(v, "message", "rid") != rid || !slices.Contains(s.Members(rid), "bob") {
		t.Errorf("got %v, members %v", v, s.Members(rid))
	}
	bob.post("chat.postMessage", object{"channel": "@ada", "text": "psst"})
	bob.refused("chat.postMessage", object{"channel": "#none", "text": "x"}, 400, "[invalid-channel]", "invalid-channel")
}

func TestSection4_3_EditDeleteReact(t *testing.T) {
	s, ada, bob := people(t)
	rid := s.CreateChannel("c1", "ada", "bob")
	id := s.Say(rid, "ada", "hullo")
	bob.refused("chat.update", object{"roomId": rid, "msgId": id, "text": "mine"}, 400, "Message editing not allowed [error-action-not-allowed]", "error-action-not-allowed")
	ada.refused("chat.update", object{"roomId": "GENERAL", "msgId": id, "text": "x"}, 400, "The room id provided does not match where the message is from.", "")
	if v := ada.post("chat.update", object{"roomId": rid, "msgId": id, "text": "hello"}); dig(v, "message", "editedBy", "username") != "ada" {
		t.Errorf("got %v", v)
	}
	bob.refused("chat.react", object{"messageId": id, "emoji": "👍", "shouldReact": true}, 400, "Invalid emoji provided. [error-not-allowed]", "error-not-allowed")
	for range 2 { // not a toggle when shouldReact is given
		bob.post("chat.react", object{"messageId": id, "emoji": "smile", "shouldReact": true})
	}
	if u := s.Said(rid)[0].Reactions[":smile:"].Usernames; !slices.Equal(u, []string{"bob"}) {
		t.Errorf("reactions %v", u)
	}
	bob.post("chat.react", object{"messageId": id, "emoji": ":smile:"})
	if r := s.Said(rid)[0].Reactions; len(r) != 0 {
		t.Errorf("toggling left %v", r)
	}
	bob.refused("chat.delete", object{"roomId": rid, "msgId": id}, 400, "Not allowed [error-action-not-allowed]", "error-action-not-allowed")
	ada.post("chat.delete", object{"roomId": rid, "msgId": id})
	ada.refused("chat.delete", object{"roomId": rid, "msgId": id}, 400, "No message found with the id of \""+id+"\".", "")
}

func TestSection12_6_23_APlainBotCannotDeleteItsOwnMessage(t *testing.T) {
	s, _, _ := people(t)
	rid := s.CreateChannel("c1", "ada")
	for roles, want := range map[string]int{"bot": 400, "user bot": 200} {
		name := "x" + strings.ReplaceAll(roles, " ", "-")
		bot := client{t, s, s.CreateUser(name, strings.Fields(roles)...)}
		id := s.Say(rid, name, "oops")
		if status, v, _ := bot.do("POST", "/api/v1/chat.delete", object{"roomId": rid, "msgId": id}); status != want {
			t.Errorf("%s: %d %v", roles, status, v)
		}
	}
}

func TestSection4_4_SyncMessagesComparesStrictlyAndHasTwoForms(t *testing.T) {
	s := polite(t)
	ada := client{t, s, s.CreateUser("ada", "user", "bot")} // bots are not rate limited
	rid := s.CreateChannel("c1", "ada")
	var ids []string
	for _, text := range []string{"one", "two", "three", "four", "five"} {
		ids = append(ids, s.Say(rid, "ada", text))
		tick(s, rid)
	}
	updated := s.Said(rid)[1].Raw["_updatedAt"].(string)
	v := ada.get("chat.syncMessages?roomId=" + rid + "&lastUpdate=" + updated)
	if l := dig(v, "result", "updated").([]any); len(l) != 3 || dig(l, 0, "msg") != "five" {
		t.Errorf("strictly later and newest first: %v", l)
	}
	s.Delete(ids[2], "ada")
	if d := dig(ada.get("chat.syncMessages?roomId="+rid+"&lastUpdate="+updated), "result", "deleted", 0, "_id"); d != ids[2] {
		t.Errorf("deleted: %v", d)
	}
	var got []string
	for next := "0"; next != ""; {
		v := dig(ada.get("chat.syncMessages?roomId="+rid+"&type=UPDATED&count=2&next="+next), "result")
		for _, m := range dig(v, "updated").([]any) {
			got = append(got, dig(m, "msg").(string))
		}
		next, _ = dig(v, "cursor", "next").(string)
	}
	if want := []string{"one", "two", "four", "five"}; !slices.Equal(got[len(got)-4:], want) {
		t.Errorf("walked %v", got)
	}
	for query, code := range map[string]string{
		"lastUpdate=2020-01-01T00:00:00.000Z":                                    "error-param-required",
		"roomId=" + rid:                                                          "error-param-required",
		"roomId=" + rid + "&lastUpdate=x":                                        "error-lastUpdate-param-invalid",
		"roomId=" + rid + "&next=1":                                              "error-type-param-required",
		"roomId=" + rid + "&type=NONE&next=1":                                    "error-type-param-not-supported",
		"roomId=" + rid + "&type=UPDATED&next=1&previous=2":                      "error-cursor-conflict",
		"roomId=" + rid + "&next=1&type=UPDATED&lastUpdate=2020-01-01T00:00:00Z": "error-cursor-and-lastUpdate-conflict",
	} {
		if _, v, _ := ada.do("GET", "/api/v1/chat.syncMessages?"+query, nil); v["errorType"] != code {
			t.Errorf("%s: %v", query, v)
		}
	}
}

// tick lets the server's clock advance, so that timestamps differ.
func tick(s *rctest.Server, rid string) {
	l := s.Messages(rid)
	last, _ := time.Parse(time.RFC3339, l[len(l)-1].Raw["_updatedAt"].(string))
	for !time.Now().Truncate(time.Millisecond).After(last) {
	}
}

func TestSection4_7_QuotesAreRebuiltForWhoMayRead(t *testing.T) {
	s, ada, bob := people(t)
	private := s.CreateRoom("p", "p1", "ada")
	open := s.CreateChannel("c1", "ada", "bob")
	secret := s.Say(private, "ada", "the secret")
	quote := func(by client) any {
		v := by.post("chat.sendMessage", object{"message": object{"rid": open, "msg": "[ ](" + s.URL + "/group/p1?msg=" + secret + ") see"}})
		return dig(v, "message", "attachments", 0, "text")
	}
	if quote(ada) != "the secret" {
		t.Error("ada can read it, but there is no quote")
	}
	if quote(bob) != nil {
		t.Error("bob sees what he may not read")
	}
}

func TestSection4_8_AThreadRootLeavesAPlaceholder(t *testing.T) {
	s, ada, _ := people(t)
	rid := s.CreateChannel("c1", "ada")
	root := s.Say(rid, "ada", "root")
	s.Reply(rid, "ada", root, "reply")
	s.Delete(root, "ada")
	if m := s.Messages(rid)[0]; m.Type != "rm" || m.Text != "" {
		t.Errorf("got %+v", m)
	}
	if v := ada.get("chat.getThreadMessages?tmid=" + root); dig(v, "messages", 0, "msg") != "reply" {
		t.Errorf("thread: %v", v)
	}
}

// upload sends a file and additional fields: a name and a value each.
func (c client) upload(path, field, name, kind string, data []byte, fields ...string) (int, object) {
	c.t.Helper()
	var b bytes.Buffer
	w := multipart.NewWriter(&b)
	part, _ := w.CreatePart(textproto.MIMEHeader{"Content-Disposition": {`form-data; name="` + field + `"; filename="` + name + `"`}, "Content-Type": {kind}})
	part.Write(data)
	for i := 0; i < len(fields); i += 2 {
		w.WriteField(fields[i], fields[i+1])
	}
	w.Close()
	req, _ := http.NewRequest("POST", c.s.URL+path, &b)
	req.Header.Set("Content-Type", w.FormDataContentType())
	status, v, _ := c.send(req)
	return status, v
}

func TestSection5_FilesAreUploadedInTwoStepsAndShownToMembersOnly(t *testing.T) {
	s, ada, bob := people(t)
	rid := s.CreateChannel("c1", "ada")
	status, v := ada.upload("/api/v1/rooms.media/"+rid, "file", "a b.txt", "text/plain", []byte("data"))
	if status != 200 {
		t.Fatalf("%d %v", status, v)
	}
	id, link := dig(v, "file", "_id").(string), dig(v, "file", "url").(string)
	bob.refused("rooms.mediaConfirm/"+rid+"/"+id, object{}, 400, "[invalid-file]", "invalid-file")
	ada.refused("rooms.mediaConfirm/"+rid+"/"+id, object{"_id": "mine"}, 400, "must NOT have additional properties [invalid-params]", "invalid-params")
	v = ada.post("rooms.mediaConfirm/"+rid+"/"+id, object{"msg": "look"})
	if dig(v, "message", "file", "_id") != id || dig(v, "message", "attachments", 0, "title_link") != link {
		t.Errorf("got %v", v)
	}
	ada.post("rooms.mediaConfirm/"+rid+"/"+id, object{}) // not idempotent (5.1)
	if n := len(s.Said(rid)); n != 2 {
		t.Errorf("%d messages", n)
	}
	for who, want := range map[*client]int{{t: t, s: s}: 403, &bob: 403, &ada: 200} {
		if got, v, _ := who.do("GET", link, nil); got != want || want == 200 && v["raw"] != "data" {
			t.Errorf("%s: %d %v, want %d", who.who.Username, got, v, want)
		}
	}
	if got, _, _ := admin(t, s).do("GET", link, nil); got != 403 {
		t.Errorf("an administrator who is no member got %d", got)
	}
	if status, v := ada.upload("/api/v1/rooms.media/"+rid, "file", "x.svg", "image/svg+xml", []byte("<svg/>")); status != 400 || v["errorType"] != "error-invalid-file-type" {
		t.Errorf("svg: %d %v", status, v)
	}
}

func TestSection3_5_AvatarsByUploadOnlyAndShownToWhoIsSignedIn(t *testing.T) {
	_, ada, _ := people(t)
	if status, v := ada.upload("/api/v1/users.setAvatar", "image", "me.png", "image/png", paint(300, 150)); status != 200 {
		t.Fatalf("%d %v", status, v)
	}
	if status, _, _ := ada.do("POST", "/api/v1/users.setAvatar", object{"avatarUrl": "http://10.0.0.1/a.png"}); status != 400 {
		t.Errorf("by URL: %d (12.6.19)", status)
	}
	if got, _, h := ada.do("GET", "/avatar/ada", nil); got != 200 || h.Get("Content-Type") != "image/svg+xml" {
		t.Errorf("headers do not count, got %d %s", got, h.Get("Content-Type"))
	}
	got, v, h := ada.do("GET", "/avatar/ada?rc_uid="+ada.who.ID+"&rc_token="+ada.who.Token, nil)
	if got != 200 || h.Get("Content-Type") != "image/png" {
		t.Errorf("got %d %v", got, h)
	}
	if w, h := size(t, v["raw"].(string)); w != 200 || h != 200 {
		t.Errorf("the avatar is %d by %d, want a square of 200", w, h)
	}
}

func TestSection6_2_RoomCreation(t *testing.T) {
	s, ada, bob := people(t)
	v := ada.post("channels.create", object{"name": "dev", "members": []string{"bob", "nobody"}})
	rid := dig(v, "channel", "_id").(string)
	if m := s.Members(rid); !slices.Equal(m, []string{"ada", "bob"}) {
		t.Errorf("members %v", m)
	}
	ada.refused("groups.create", object{"name": "dev"}, 400, "A channel with name 'dev' exists [error-duplicate-channel-name]", "error-duplicate-channel-name")
	ada.refused("channels.create", object{"name": "a b"}, 400, "a b is not a valid room name. [error-invalid-room-name]", "error-invalid-room-name")
	one := dig(ada.post("im.create", object{"username": "bob"}), "room", "rid")
	if two := dig(bob.post("dm.create", object{"usernames": "ada"}), "room", "rid"); one != two {
		t.Errorf("two DMs for the same people: %v %v", one, two)
	}
	hidden := dig(admin(t, s).post("im.create", object{"usernames": "ada,bob", "excludeSelf": true}), "room", "_id")
	if hidden != one {
		t.Errorf("excludeSelf gave %v, want %v", hidden, one)
	}
}

func TestSection6_3_Membership(t *testing.T) {
	s, ada, bob := people(t)
	rid := s.CreateRoom("p", "p1", "ada")
	root := admin(t, s)
	root.refused("groups.invite", object{"roomId": rid, "username": "bob"}, 400,
		"The required \"roomId\" or \"roomName\" param provided does not match any group [error-room-not-found]", "error-room-not-found")
	ada.post("groups.invite", object{"roomId": rid, "username": "bob"})
	ada.post("groups.invite", object{"roomId": rid, "userId": bob.who.ID}) // already there: fine
	bob.refused("groups.kick", object{"roomId": rid, "username": "ada"}, 400, "Not allowed [error-not-allowed]", "error-not-allowed")
	ada.refused("groups.leave", object{"roomId": rid}, 400,
		"You are the last owner. Please set new owner before leaving the room. [error-you-are-last-owner]", "error-you-are-last-owner")
	ada.post("groups.kick", object{"roomId": rid, "username": "bob"})
	var types []string
	for _, m := range s.Messages(rid) {
		types = append(types, m.Type+" "+m.Text)
	}
	if want := []string{"au bob", "ru bob"}; !slices.Equal(types, want) {
		t.Errorf("system messages %q, want %q", types, want)
	}
	channel := s.CreateChannel("c1", "ada")
	bob.post("channels.join", object{"roomId": channel})
	if v := bob.get("rooms.isMember?roomId=" + channel + "&username=bob"); v["isMember"] != true {
		t.Errorf("got %v", v)
	}
	ada.post("rooms.banUser", object{"roomId": channel, "username": "bob"})
	ada.refused("channels.invite", object{"roomId": channel, "username": "bob"}, 400, "User is banned from this room [error-user-is-banned]", "error-user-is-banned")
}

func TestSection6_4_AnAdministratorDoesNotSeePrivateRooms(t *testing.T) {
	s, ada, _ := people(t)
	rid := s.CreateRoom("p", "p1", "ada")
	id := s.Say(rid, "ada", "private")
	root := admin(t, s)
	root.refusedGet("rooms.info?roomId="+rid, 400, "not-allowed", "Not Allowed")
	root.refusedGet("chat.getMessage?msgId="+id, 400, "Not allowed [error-not-allowed]", "error-not-allowed")
	if v := root.get("rooms.adminRooms?types[]=p"); dig(v, "rooms", 0, "_id") != rid {
		t.Errorf("metadata: %v", v)
	}
	if v := ada.get("subscriptions.getOne?roomId=" + rid); dig(v, "subscription", "roles", 0) != "owner" {
		t.Errorf("subscription: %v", v)
	}
	if v := root.get("subscriptions.getOne?roomId=" + rid); v["subscription"] != nil {
		t.Errorf("subscription: %v", v)
	}
}

func TestSection6_5_ChangesLeaveSystemMessagesAndTheSameValueDoesNothing(t *testing.T) {
	s, ada, bob := people(t)
	rid := s.CreateChannel("c1", "ada")
	for range 2 {
		ada.post("rooms.saveRoomSettings", object{"rid": rid, "roomTopic": "tea"})
	}
	ada.post("channels.rename", object{"roomId": rid, "name": "c2"})
	ada.post("channels.addModerator", object{"roomId": rid, "userId": ada.who.ID})
	bob.refused("channels.setTopic", object{"roomId": rid, "topic": "x"}, 400, "Editing room is not allowed [error-action-not-allowed]", "error-action-not-allowed")
	var got []string
	for _, m := range s.Messages("c2") {
		got = append(got, m.Type+" "+m.Text)
	}
	if want := []string{"room_changed_topic tea", "r c2", "subscription-role-added ada"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestSection8_2_UnknownCommandsAreRefused(t *testing.T) {
	s, ada, _ := people(t)
	rid := s.CreateChannel("c1", "ada")
	ada.refused("commands.run", object{"command": "federation", "params": "dm @u:s", "roomId": rid}, 400, "The command provided does not exist (or is disabled).", "")
	ada.post("commands.run", object{"command": "Shrug", "params": "well", "roomId": rid})
	if m := s.Said(rid)[0]; m.Text != `well ¯\_(ツ)_/¯` {
		t.Errorf("got %q", m.Text)
	}
	other := s.CreateRoom("p", "p1", "ada")
	stranger := client{t, s, s.CreateUser("eve")}
	stranger.refused("commands.run", object{"command": "me", "params": "x", "roomId": other}, 403, "forbidden", "")
	ada.refused("commands.run", object{"command": "me", "params": "x", "roomId": rid, "tmid": "none"}, 400, "Invalid thread.", "")
	call := object{"message": `{"msg":"method","id":"7","method":"slashCommand","params":[{"cmd":"me","params":" waves","msg":{"_id":"x","rid":"` + rid + `","msg":"/me waves"}}]}`}
	if v := ada.post("method.call/slashCommand", call); v["message"] != `{"id":"7","msg":"result","result":null}` {
		t.Errorf("got %v", v)
	}
	var n float64
	for _, total := 0.0, 1.0; n < total; {
		v := ada.get("commands.list?count=10&offset=" + jsonText(n))
		n += v["count"].(float64)
		total = v["total"].(float64)
	}
}

func jsonText(v any) string { b, _ := json.Marshal(v); return string(b) }

func TestSection9_PermissionsUpdateReplacesTheRoles(t *testing.T) {
	s, ada, _ := people(t)
	root := admin(t, s)
	root.post("permissions.update", object{"permissions": []object{{"_id": "create-c", "roles": []string{"admin"}}}})
	ada.refused("channels.create", object{"name": "x"}, 403, "unauthorized", "")
	for _, p := range root.get("permissions.listAll")["update"].([]any) {
		if dig(p, "_id") == "create-c" && jsonText(dig(p, "roles")) != `["admin"]` {
			t.Errorf("got %v", p)
		}
	}
}

func TestSection10_TheRateLimiterSparesBotsAndNobodyElse(t *testing.T) {
	s, ada, _ := people(t)
	bot := client{t, s, s.CreateUser("bot1", "user", "bot")}
	for range 30 {
		bot.get("me")
	}
	status, header := 0, http.Header(nil)
	var v object
	for range 11 {
		status, v, header = ada.do("GET", "/api/v1/me", nil)
	}
	if status != 429 || !strings.HasSuffix(v["error"].(string), "[error-too-many-requests]") || header.Get("X-RateLimit-Limit") != "10" {
		t.Errorf("%d %v %v", status, v, header)
	}
	behind := polite(t, "HTTP_FORWARDED_COUNT", "1")
	eve := client{t, behind, behind.CreateUser("eve")}
	for i := range 20 {
		eve.ok(eve.do("GET", "/api/v1/me", nil, "X-Forwarded-For", "1.2.3."+jsonText(i)))
	}
}

func TestARestartedServerStillKnowsWhatItAnswered(t *testing.T) {
	s := &rctest.Server{Simulator: true, Polite: true, Data: t.TempDir() + "/journal"}
	s.Start(t)
	s.CreateUser("ada")
	rid := s.CreateChannel("c1", "ada")
	s.Say(rid, "ada", "before")
	id := s.Upload(rid, "ada", "a.txt", "text/plain", []byte("x"), "file")
	f, err := os.OpenFile(s.Data, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	f.WriteString(`[["messages","torn",{"_id":"to`) // as a kill leaves it
	f.Close()
	s.Stop()
	s.Restart()
	if l := s.Said(rid); len(l) != 2 || l[0].Text != "before" || l[1].ID != id {
		t.Errorf("got %v", l)
	}
	s.Say(rid, "ada", "after")
	s.Stop()
	s.Restart()
	if l := s.Said(rid); len(l) != 3 {
		t.Errorf("got %v", l)
	}
}

func TestTheJournalTakesThousandsOfMessages(t *testing.T) {
	s := &rctest.Server{Simulator: true, Polite: true, Data: t.TempDir() + "/journal"}
	s.Start(t)
	bot := client{t, s, s.CreateUser("bot1", "user", "bot")}
	rid := s.CreateChannel("c1", "bot1")
	const workers, each = 8, 250
	done := make(chan error, workers)
	for range workers {
		go func() {
			for range each {
				if _, err := s.Engine().Say(rid, bot.who.Username, "x", nil); err != nil {
					done <- err
					return
				}
			}
			done <- nil
		}()
	}
	for range workers {
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	}
	s.Stop()
	s.Restart()
	if n := len(s.Said(rid)); n != workers*each {
		t.Errorf("%d messages", n)
	}
}

// A session is one websocket.
type session struct {
	t    testing.TB
	ws   *websocket.Conn
	seen []object
	gone bool
}

func (c client) dial() *session {
	c.t.Helper()
	ws, _, err := websocket.Dial(context.Background(), "ws"+strings.TrimPrefix(c.s.URL, "http")+"/websocket", nil)
	if err != nil {
		c.t.Fatal(err)
	}
	ws.SetReadLimit(1 << 24)
	c.t.Cleanup(func() { ws.CloseNow() })
	d := &session{t: c.t, ws: ws}
	d.say(object{"msg": "connect", "version": "1", "support": []string{"1"}})
	d.until("connected", func(f object) bool { return f["msg"] == "connected" })
	if c.who.Token != "" {
		d.call("login", object{"resume": c.who.Token})
	}
	return d
}

func (d *session) say(f object) {
	d.t.Helper()
	b, _ := json.Marshal(f)
	if err := d.ws.Write(context.Background(), websocket.MessageText, b); err != nil {
		d.t.Fatal(err)
	}
}

// until reads frames until one matches, and returns it.
func (d *session) until(what string, fits func(object) bool) object {
	d.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	for {
		_, b, err := d.ws.Read(ctx)
		if err != nil {
			d.t.Fatalf("waiting for %s: %v (seen %v)", what, err, d.seen)
		}
		var f object
		json.Unmarshal(b, &f)
		if f["msg"] == "ping" {
			d.say(object{"msg": "pong"})
			continue
		}
		d.seen = append(d.seen, f)
		if fits(f) {
			return f
		}
	}
}

func (d *session) call(name string, params ...any) object {
	d.t.Helper()
	id := "m" + jsonText(len(d.seen))
	d.say(object{"msg": "method", "id": id, "method": name, "params": params})
	return d.until("the result of "+name, func(f object) bool { return f["msg"] == "result" && f["id"] == id })
}

func (d *session) sub(stream, event string) object {
	d.t.Helper()
	id := stream + event
	d.say(object{"msg": "sub", "id": id, "name": stream, "params": []any{event, object{"useCollection": false, "args": []any{}}}})
	return d.until("ready", func(f object) bool {
		return f["msg"] == "ready" && dig(f, "subs", 0) == id || f["msg"] == "nosub" && f["id"] == id
	})
}

func (d *session) event(stream, name string) any {
	d.t.Helper()
	f := d.until(stream+" "+name, func(f object) bool {
		return f["msg"] == "changed" && f["collection"] == stream && dig(f, "fields", "eventName") == name
	})
	if f["id"] != "id" {
		d.t.Errorf("id is the literal id (7.1), got %v", f["id"])
	}
	return dig(f, "fields", "args")
}

func TestSection7_1_MethodsAndPings(t *testing.T) {
	s, ada, _ := people(t)
	d := client{t: t, s: s}.dial()
	d.say(object{"msg": "ping", "id": "p1"})
	d.until("pong", func(f object) bool { return f["msg"] == "pong" && f["id"] == "p1" })
	if f := d.call("login", object{"resume": "no"}); dig(f, "error", "error") != 401.0 || dig(f, "error", "reason") != "User not found" || dig(f, "error", "errorType") != "Meteor.Error" {
		t.Errorf("got %v", f)
	}
	sum := sha256.Sum256([]byte("ada"))
	f := d.call("login", object{"user": object{"username": "ada"}, "password": object{"digest": hex.EncodeToString(sum[:]), "algorithm": "sha-256"}})
	if dig(f, "result", "id") != ada.who.ID || dig(f, "result", "tokenExpires", "$date") == nil {
		t.Errorf("got %v", f)
	}
	if rooms := dig(d.call("rooms/get"), "result").([]any); dig(rooms, 0, "_id") != "GENERAL" {
		t.Errorf("rooms: %v", rooms)
	}
}

func TestSection7_2_Streams(t *testing.T) {
	s, ada, bob := people(t)
	rid := s.CreateRoom("p", "p1", "ada")
	d := ada.dial()
	for stream, event := range map[string]string{"stream-room-messages": rid, "stream-notify-logged": "Users:NameChanged"} {
		if f := d.sub(stream, event); f["msg"] != "ready" {
			t.Fatalf("got %v", f)
		}
	}
	for _, e := range []string{"user-activity", "deleteMessage"} {
		d.sub("stream-notify-room", rid+"/"+e)
	}
	d.sub("stream-notify-user", ada.who.ID+"/subscriptions-changed")
	if f := bob.dial().sub("stream-room-messages", rid); dig(f, "error", "error") != "not-allowed" {
		t.Errorf("a stranger got %v", f)
	}
	if f := bob.dial().sub("stream-notify-user", ada.who.ID+"/rooms-changed"); f["msg"] != "nosub" {
		t.Errorf("another's events: %v", f)
	}
	id := s.Say(rid, "ada", "hi")
	if a := d.event("stream-room-messages", rid); dig(a, 0, "_id") != id || dig(a, 0, "ts", "$date") == nil {
		t.Errorf("got %v", a)
	}
	s.Typing(rid, "ada", true)
	if a := d.event("stream-notify-room", rid+"/user-activity"); dig(a, 0) != "ada" || dig(a, 1, 0) != "user-typing" {
		t.Errorf("got %v", a)
	}
	s.Delete(id, "ada")
	if a := d.event("stream-notify-room", rid+"/deleteMessage"); dig(a, 0, "_id") != id {
		t.Errorf("got %v", a)
	}
	s.Invite(rid, "ada", "bob")
	if a := d.event("stream-room-messages", rid); dig(a, 0, "t") != "au" || dig(a, 0, "msg") != "bob" {
		t.Errorf("got %v", a)
	}
	s.SetName("bob", "nobody hears of this")
	s.Set("UI_Use_Real_Name", true)
	s.SetName("bob", "Bobby")
	if a := d.event("stream-notify-logged", "Users:NameChanged"); dig(a, 0, "name") != "Bobby" {
		t.Errorf("got %v", a)
	}
	dm := s.CreateDirect("bob", "ada")
	if a := d.event("stream-notify-user", ada.who.ID+"/subscriptions-changed"); dig(a, 0) != "inserted" || dig(a, 1, "rid") != dm {
		t.Errorf("got %v", a)
	}
}

func TestSection7_3_MyMessagesCoversPublicChannelsNotJoined(t *testing.T) {
	s, ada, _ := people(t)
	s.CreateChannel("c1", "bob")
	d := ada.dial()
	d.sub("stream-room-messages", "__my_messages__")
	s.Say("c1", "bob", "hello out there")
	if a := d.event("stream-room-messages", "__my_messages__"); dig(a, 0, "msg") != "hello out there" || dig(a, 1, "roomParticipant") != false || dig(a, 1, "roomName") != "c1" {
		t.Errorf("got %v", a)
	}
}

func TestSection7_4_TypingTheCallersNameOnly(t *testing.T) {
	s, ada, bob := people(t)
	rid := s.CreateChannel("c1", "ada", "bob")
	d := bob.dial()
	d.sub("stream-notify-room", rid+"/user-activity")
	message := func(name string) object {
		return object{"message": `{"msg":"method","id":"1","method":"stream-notify-room","params":["` + rid + `/user-activity","` + name + `",["user-typing"],{}]}`}
	}
	ada.post("method.call/stream-notify-room", message("bob")) // silently ignored
	ada.post("method.call/stream-notify-room", message("ada"))
	if a := d.event("stream-notify-room", rid+"/user-activity"); dig(a, 0) != "ada" {
		t.Errorf("got %v", a)
	}
}

func TestSection7_5_DDPLimitsCountSubscriptionsAndSpareNobody(t *testing.T) {
	s := polite(t)
	bot := client{t, s, s.CreateUser("bot1", "user", "bot", "admin")}
	d := bot.dial()
	for range 40 {
		if f := d.sub("stream-room-messages", "GENERAL"); f["msg"] != "ready" {
			t.Fatalf("got %v", f)
		}
	}
	if f := d.sub("stream-room-messages", "GENERAL"); dig(f, "error", "error") != "too-many-requests" || dig(f, "error", "details", "timeToReset") == nil {
		t.Errorf("got %v", f)
	}
}

func TestSection12_6_4_SendMessageOverDDPSwallowsErrors(t *testing.T) {
	s, ada, _ := people(t)
	rid := s.CreateChannel("c1", "ada")
	d := ada.dial()
	if f := d.call("sendMessage", object{"_id": "m1", "rid": rid, "msg": "hi"}); dig(f, "result", "_id") != "m1" {
		t.Errorf("got %v", f)
	}
	d.sub("stream-notify-user", ada.who.ID+"/message")
	if f := d.call("sendMessage", object{"_id": "m2", "rid": rid, "msg": strings.Repeat("x", 5001)}); f["error"] != nil || f["result"] != nil {
		t.Errorf("got %v", f)
	}
}

func TestSection7_6_NothingIsReplayedAfterReconnect(t *testing.T) {
	s, ada, _ := people(t)
	rid := s.CreateChannel("c1", "ada")
	d := ada.dial()
	d.sub("stream-room-messages", rid)
	s.DropConnections()
	s.WaitUntil(t, "the end of the session", func() bool { return s.Sessions("ada") == 0 })
	s.Say(rid, "ada", "missed")
	d = ada.dial()
	d.sub("stream-room-messages", rid)
	s.Say(rid, "ada", "seen")
	if a := d.event("stream-room-messages", rid); dig(a, 0, "msg") != "seen" {
		t.Errorf("got %v", a)
	}
}

func TestSection4_6_HiddenSystemMessagesAreNotBroadcast(t *testing.T) {
	s, ada, _ := people(t)
	s.Set("Hide_System_Messages", []any{"au"})
	rid := s.CreateChannel("c1", "ada")
	d := ada.dial()
	d.sub("stream-room-messages", rid)
	s.Invite(rid, "ada", "bob")
	s.Say(rid, "ada", "next")
	if a := d.event("stream-room-messages", rid); dig(a, 0, "msg") != "next" {
		t.Errorf("got %v", a)
	}
}

func TestARudeServerIsUnpleasantButTruthful(t *testing.T) {
	s := &rctest.Server{Simulator: true, Seed: 7}
	s.Start(t)
	ada := client{t, s, s.CreateUser("ada", "user", "bot")}
	rid := s.CreateChannel("c1", "ada")
	statuses := map[int]int{}
	lost := 0
	for i := range 400 {
		req, _ := http.NewRequest("POST", s.URL+"/api/v1/chat.sendMessage", strings.NewReader(`{"message":{"rid":"`+rid+`","msg":"`+jsonText(i)+`"}}`))
		req.Header.Set("X-Auth-Token", ada.who.Token)
		req.Header.Set("X-User-Id", ada.who.ID)
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			lost++
			continue
		}
		io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
		statuses[resp.StatusCode]++
	}
	if statuses[429] == 0 || statuses[502] == 0 || lost == 0 {
		t.Errorf("too polite: %v, %d lost", statuses, lost)
	}
	if n := len(s.Said(rid)); n != statuses[200]+lost {
		t.Errorf("%d messages for %d answers and %d lost ones", n, statuses[200], lost)
	}
}

func TestSection8_4_WebhooksSeeDMsAndRetryEmptyAnswers(t *testing.T) {
	s, _, _ := people(t)
	calls := make(chan object, 10)
	n := 0
	hook := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var v object
		json.NewDecoder(r.Body).Decode(&v)
		if n++; n > 1 {
			w.Write([]byte("{}")) // the first answer is empty, which counts as a failure
		}
		calls <- v
	}))
	defer hook.Close()
	admin(t, s).post("integrations.create", object{"type": "webhook-outgoing", "name": "dm", "enabled": true, "username": "rocket.cat",
		"event": "sendMessage", "channel": "all_direct_messages", "urls": []string{hook.URL}, "scriptEnabled": false,
		"retryFailedCalls": true, "retryCount": 2, "retryDelay": "powers-of-ten", "token": "tok"})
	s.Say("GENERAL", "ada", "not this one")
	dm := s.CreateDirect("ada", "bob")
	id := s.Say(dm, "ada", "psst")
	for range 2 {
		if v := <-calls; v["message_id"] != id || v["channel_id"] != dm || v["user_name"] != "ada" || v["text"] != "psst" || v["token"] != "tok" {
			t.Errorf("got %v", v)
		}
	}
}

func TestSection2_7_ARestrictedWorkspaceTakesNoMessages(t *testing.T) {
	s, ada, _ := people(t)
	rid := s.CreateChannel("c1", "ada")
	s.Restrict(true)
	ada.refused("chat.sendMessage", object{"message": object{"rid": rid, "msg": "x"}}, 400, "restricted-workspace [restricted-workspace]", "restricted-workspace")
	left := func() any {
		_, v, _ := admin(t, s).do("GET", "/api/v1/settings.public?_id=Cloud_Workspace_AirGapped_Restrictions_Remaining_Days", nil)
		list, _ := v["settings"].([]any)
		if len(list) != 1 {
			t.Fatalf("%v", v)
		}
		setting, _ := list[0].(map[string]any)
		return setting["value"]
	}
	if left() != 0. {
		t.Errorf("the days left are %v", left())
	}
	s.Restrict(false)
	ada.post("chat.sendMessage", object{"message": object{"rid": rid, "msg": "x"}})
	if left() != -1. {
		t.Errorf("the days left are %v", left())
	}
}

func TestSection2_2_AWorkspaceWithCredentialsOfTheCloudIsRegistered(t *testing.T) {
	s, ada, _ := people(t)
	registered := func() any {
		_, v, _ := admin(t, s).do("GET", "/api/v1/cloud.registrationStatus", nil)
		status, _ := v["registrationStatus"].(map[string]any)
		return status["workspaceRegistered"]
	}
	if status, _, _ := ada.do("GET", "/api/v1/cloud.registrationStatus", nil); status != 403 || registered() != false {
		t.Errorf("%d for a user, and %v", status, registered())
	}
	s.Set("Cloud_Workspace_Client_Id", "id")
	s.Set("Cloud_Workspace_Client_Secret", "secret")
	if registered() != true {
		t.Error("it is not registered")
	}
}

func TestSection3_4_ALicenceHasSeats(t *testing.T) {
	s, _, _ := people(t)
	s.License(3) // the administrator, ada and bob
	status, v, _ := admin(t, s).do("POST", "/api/v1/users.create", object{"email": "x@y.z", "name": "X", "password": "p", "username": "x"})
	if status != 400 || v["errorType"] != "error-license-user-limit-reached" {
		t.Errorf("%d %v", status, v)
	}
}

func TestSection12_6_5_ARudeServerRepeatsDropsAndKeepsOrderWithinARoom(t *testing.T) {
	s := &rctest.Server{Simulator: true, Seed: 11}
	s.Start(t)
	ada := client{t, s, s.CreateUser("ada", "user", "bot")}
	rooms := []string{s.CreateChannel("c1", "ada"), s.CreateChannel("c2", "ada")}
	repeats, overtaken := 0, 0
	for round := 0; repeats == 0 || overtaken == 0; round++ { // a rude server also hangs up
		if round == 40 {
			t.Fatalf("too polite: %d repeats, %d overtaken", repeats, overtaken)
		}
		r, o := ada.listenTo(rooms, round)
		repeats, overtaken = repeats+r, overtaken+o
	}
}

// listenTo posts numbers in rooms and receives them until the last one or the end of
// the connection. It counts repeats, and numbers that came after a later number of
// another room; within a room no number may overtake.
func (c client) listenTo(rooms []string, round int) (repeats, overtaken int) {
	c.t.Helper()
	d := c.dial()
	for _, rid := range rooms {
		d.sub("stream-room-messages", rid)
	}
	first, each := round*1000, 200
	last := map[string]int{}
	for _, rid := range rooms {
		last[rid] = first - 1
	}
	for i := range each {
		for _, rid := range rooms {
			c.s.Say(rid, "ada", jsonText(first+i))
		}
	}
	for newest := first; d.alive(); {
		f := d.read()
		if f["collection"] != "stream-room-messages" {
			continue
		}
		rid := dig(f, "fields", "eventName").(string)
		var n int
		json.Unmarshal([]byte(dig(f, "fields", "args", 0, "msg").(string)), &n)
		switch {
		case n < first:
			continue // of the previous round
		case n < last[rid]-1:
			c.t.Errorf("room %s: %d after %d", rid, n, last[rid])
		case n <= last[rid]:
			repeats++
		}
		if n < newest {
			overtaken++
		}
		last[rid], newest = n, max(newest, n)
		if last[rooms[0]] == first+each-1 && last[rooms[1]] == first+each-1 {
			break
		}
	}
	return repeats, overtaken
}

// read returns the next frame, nil when the connection is gone.
func (d *session) read() (f object) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	_, b, err := d.ws.Read(ctx)
	if err != nil {
		d.gone = true
		return nil
	}
	json.Unmarshal(b, &f)
	return f
}

func (d *session) alive() bool { return !d.gone }

func TestSection6_4_SubscriptionsAndRoomsSinceADate(t *testing.T) {
	s := polite(t)
	ada := client{t, s, s.CreateUser("ada", "user", "bot")}
	rid := s.CreateChannel("c1", "ada")
	kept := s.CreateChannel("c2", "ada")
	s.CreateUser("bob")
	all := ada.get("subscriptions.get")
	if len(all["update"].([]any)) != 3 || len(all["remove"].([]any)) != 0 {
		t.Fatalf("got %v", all)
	}
	tick(s, "GENERAL")
	since := time.Now().UTC().Format("2006-01-02T15:04:05.000Z")
	for since == time.Now().UTC().Format("2006-01-02T15:04:05.000Z") {
	}
	s.Say(kept, "ada", "news")
	ada.post("channels.delete", object{"roomId": rid})
	if v := ada.get("rooms.get?updatedSince=" + since); dig(v, "update", 0, "_id") != kept || dig(v, "update", 1) != nil || dig(v, "remove", 0, "_id") != rid {
		t.Errorf("rooms: %v", v)
	}
	if v := ada.get("subscriptions.get?updatedSince=" + since); dig(v, "remove", 0, "_id") == nil {
		t.Errorf("subscriptions: %v", v)
	}
}

func TestSection7_3_LinksArriveLateOnARudeServerUnlessPreviewsAreOff(t *testing.T) {
	s := &rctest.Server{Simulator: true, Seed: 3}
	s.Start(t)
	ada := client{t, s, s.CreateUser("ada", "user", "bot")}
	rid := s.CreateChannel("c1", "ada")
	late := false
	for round := 0; !late && round < 40; round++ {
		d := ada.dial()
		d.sub("stream-room-messages", rid)
		for i := range 10 {
			s.Say(rid, "ada", "https://example.org/"+jsonText(round)+"/"+jsonText(i))
			s.Say(rid, "ada", "after "+jsonText(round)+" "+jsonText(i))
		}
		late = d.sees("after "+jsonText(round), "https://example.org/"+jsonText(round)+"/")
		d.ws.CloseNow()
	}
	if !late {
		t.Error("no message with a link was overtaken")
	}
}

// sees reads until the tenth message that begins with plain, and reports whether one
// of them came before the link it follows.
func (d *session) sees(plain, link string) bool {
	seen := map[string]bool{}
	for d.alive() {
		text, _ := dig(d.read(), "fields", "args", 0, "msg").(string)
		if n, ok := strings.CutPrefix(text, plain+" "); ok && !seen[link+n] {
			return true
		}
		seen[text] = true
		if text == plain+" 9" {
			return false
		}
	}
	return false
}

func TestARestartInMemoryKeepsThePortAndTheData(t *testing.T) {
	s, ada, _ := people(t)
	s.Say("GENERAL", "ada", "before")
	d := ada.dial()
	url := s.URL
	s.Stop()
	if _, err := http.Get(url + "/api/info"); err == nil {
		t.Error("it still answers")
	}
	for d.alive() {
		d.read() // ends when the websocket is gone
	}
	s.Restart()
	if l := s.Said("GENERAL"); s.URL != url || len(l) != 1 || ada.get("me")["username"] != "ada" {
		t.Errorf("got %v at %s", l, s.URL)
	}
}

func TestAMisfortuneCanBeArranged(t *testing.T) {
	s, ada, _ := people(t)
	send := object{"message": object{"_id": "m1", "rid": "GENERAL", "msg": "hi"}}
	s.FailNext("POST /api/v1/chat.sendMessage", 503, "down")
	s.LoseNext("POST /api/v1/chat.sendMessage")
	ada.refused("chat.sendMessage", send, 503, "down", "")
	if len(s.Said("GENERAL")) != 0 {
		t.Error("it was sent all the same")
	}
	req, _ := http.NewRequest("POST", s.URL+"/api/v1/chat.sendMessage", strings.NewReader(jsonText(send)))
	req.Header.Set("X-Auth-Token", ada.who.Token)
	req.Header.Set("X-User-Id", ada.who.ID)
	if resp, err := http.DefaultClient.Do(req); err == nil {
		resp.Body.Close()
		t.Error("the answer was not lost")
	}
	if m := s.WaitFor(t, "GENERAL", "hi"); m.ID != "m1" || s.Count("POST /api/v1/chat.sendMessage") != 2 {
		t.Errorf("got %+v", m)
	}
}
