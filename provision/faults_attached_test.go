package provision_test

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"appliance/bridge/rocketchat/rctest"
	"appliance/bridge/secret"
	"appliance/provision/answers"
	"appliance/provision/attach"
	"appliance/provision/render"
)

// owned is a healthy installation that uses an external homeserver and Rocket.Chat.
type owned struct {
	*installation
	rc      *rctest.Server
	hs      *httptest.Server
	name    string // of the homeserver
	token   string // that the homeserver knows
	pingErr string
	deaf    *httptest.Server // a server that is neither a homeserver nor Rocket.Chat
}

const (
	ownToken  = "a-personal-access-token-of-the-bridge"
	ownUserID = "rcmxbridge0000001"
)

// owner starts a Rocket.Chat with an account for a bridge, as its owner would
// have prepared it.
func owner(t *testing.T, roles ...string) *rctest.Server {
	t.Helper()
	sum := sha256.Sum256([]byte(ownToken))
	type object = map[string]any
	user, err := json.Marshal(object{
		"_id": ownUserID, "username": "matrix-bridge", "name": "Matrix bridge", "type": "bot", "active": true, "roles": roles,
		"services": object{"resume": object{"loginTokens": []object{{
			"type": "personalAccessToken", "name": "bridge", "createdAt": "2026-01-01T00:00:00.000Z", "lastTokenPart": "bridge",
			"hashedToken": base64.StdEncoding.EncodeToString(sum[:]), "bypassTwoFactor": true,
		}}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	rc := &rctest.Server{Polite: true, Env: map[string]string{"INITIAL_USER": string(user)}}
	for _, s := range render.NeededSettings {
		rc.Env["OVERWRITE_SETTING_"+s[0]] = s[1]
	}
	rc.Start(t)
	return rc
}

func newOwned(t *testing.T) world {
	p, ok := newInstallation(t).(*installation)
	if !ok {
		t.Fatal("not an installation")
	}
	o := &owned{installation: p, rc: owner(t, "bot", "admin"), name: "example.test", token: "the-as-token"}
	o.hs = httptest.NewServer(http.HandlerFunc(o.homeserver))
	o.deaf = httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(o.hs.Close)
	t.Cleanup(o.deaf.Close)
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte(ownToken+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	p.Answers.Homeserver, p.Answers.HomeserverURL, p.Answers.HomeserverKind = answers.External, o.hs.URL, answers.Synapse
	p.Answers.RocketChat, p.Answers.RocketChatURL, p.Answers.RocketChatUserID, p.Answers.RocketChatTokenFile = answers.External, o.rc.URL, ownUserID, file
	p.Attached = attach.Of(p.Answers)
	p.Attached.Homeserver.ID, p.Attached.Homeserver.Bot, p.Attached.Homeserver.Token = "rocketchat", "rocket.cat", secret.New("the-as-token")
	return o
}

// homeserver answers as Synapse does.
func (o *owned) homeserver(w http.ResponseWriter, r *http.Request) {
	reply := func(status int, body any) {
		w.WriteHeader(status)
		_ = json.NewEncoder(w).Encode(body)
	}
	type object = map[string]any
	switch {
	case r.URL.Path == "/_matrix/client/versions":
		reply(http.StatusOK, object{"versions": []string{"v1.11"}})
	case r.URL.Path == "/_matrix/key/v2/server":
		reply(http.StatusOK, object{"server_name": o.name})
	case r.Header.Get("Authorization") != "Bearer "+o.token:
		reply(http.StatusUnauthorized, object{"errcode": "M_UNKNOWN_TOKEN", "error": "Invalid access token passed."})
	case strings.HasSuffix(r.URL.Path, "/account/whoami"):
		reply(http.StatusOK, object{"user_id": r.URL.Query().Get("user_id")})
	case o.pingErr != "":
		reply(http.StatusBadGateway, object{"errcode": o.pingErr, "error": "the application service did not answer"})
	default:
		reply(http.StatusOK, object{"duration_ms": 3})
	}
}

func (o *owned) plain(text string) string {
	text = strings.NewReplacer(o.hs.URL, "https://matrix.example.test", o.rc.URL, "https://chat.example.test", o.deaf.URL, "https://www.example.test").Replace(text)
	return o.installation.plain(text)
}

func (o *owned) faults() []fault {
	hs, rc := o.Attached.Homeserver, o.Attached.RocketChat
	return []fault{
		{"the address of something that is no homeserver", "homeserver", func() func() { return set(&hs.URL, o.deaf.URL) }, "no homeserver answers at " + o.deaf.URL, "homeserver_url"},
		{"the homeserver of another name", "homeserver", func() func() { return set(&o.name, "example.org") }, "the homeserver at " + o.hs.URL + " is that of example.org", "server_name=example.org"},
		{"a homeserver without the registration", "homeserver", func() func() { return set(&o.token, "another") }, "the homeserver does not know the registration", "appliance attach"},
		{"a homeserver that does not reach the bridge", "homeserver", func() func() { return set(&o.pingErr, "M_CONNECTION_FAILED") }, "the homeserver does not reach the bridge at ", "bridge_url"},
		{"a homeserver that reaches something else", "homeserver", func() func() { return set(&o.pingErr, "M_BAD_STATUS") }, "the homeserver reaches something other than the bridge at ", "bridge_url"},
		{"the address of something that is no Rocket.Chat", "rocketchat", func() func() { return set(&rc.URL, o.deaf.URL) }, "no Rocket.Chat answers at " + o.deaf.URL, "rocketchat_url"},
		{"a token that Rocket.Chat refuses", "rocketchat", func() func() { return set(&rc.Token, secret.New("withdrawn")) }, "Rocket.Chat does not accept the token of " + ownUserID, "rocketchat_token_file"},
		{"an account of the bridge that may not enough", "rocketchat", func() func() {
			weak := owner(o.t, "bot")
			return set(&rc.URL, weak.URL)
		}, "matrix-bridge lacks the role admin in Rocket.Chat", "Administration"},
		{"a setting of Rocket.Chat in the way", "rocketchat", func() func() {
			o.rc.Set("Message_AllowUnrecognizedSlashCommand", false)
			return func() { o.rc.Set("Message_AllowUnrecognizedSlashCommand", true) }
		}, "Rocket.Chat has settings that the bridge does not expect", "appliance attach"},
	}
}

// TestAnswersForExternalServers: missing answers, and those that cannot work,
// are reported before any check runs.
func TestAnswersForExternalServers(t *testing.T) {
	for _, c := range []struct {
		set  []string
		want string
	}{
		{[]string{"homeserver=external", "homeserver_url=http://127.0.0.1:8008"}, "a container reaches"},
		{[]string{"homeserver=external", "homeserver_url=ftp://matrix.example.org"}, "must be an address such as"},
		{[]string{"rocketchat=external", "rocketchat_url=https://chat.example.org/?x=1"}, "without user, path and query"},
		{[]string{"rocketchat=external", "rocketchat_user_id=not an id"}, "is not the ID of a user"},
	} {
		d := answers.NewDraft()
		for _, s := range append(c.set, "domain=bridge.example.org") {
			d.Assign(s)
		}
		if _, err := d.Finish(); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v: %v, want %q", c.set, err, c.want)
		}
	}
	d := answers.NewDraft()
	for _, s := range []string{"domain=bridge.example.org", "homeserver=external", "rocketchat=external"} {
		d.Assign(s)
	}
	want := "[homeserver_url rocketchat_url rocketchat_user_id rocketchat_token_file rocketchat_create_token_secret_file]"
	if got := fmt.Sprint(d.Missing()); got != want {
		t.Errorf("missing %s, want %s", got, want)
	}
}
