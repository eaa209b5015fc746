package rctest_test

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"image"
	"image/png"
	"mime/multipart"
	"net/textproto"
	"regexp"
	"strings"
	"testing"

	"appliance/bridge/rocketchat/rctest/sim"
)

// A world is a fresh server with everything that the recorded requests refer to.
type world struct {
	t                              testing.TB
	version                        string
	rooms                          int // created so far
	e                              *sim.Engine
	admin, bridge                  sim.Person // the bridge's account is administrator and bot
	owner, member, stranger, guest sim.Person
	channel, group                 string
	channelName, groupName         string
}

const bridgeToken = "bridge-token-for-tests-0123456789abcdefghij"

const initialUser = `{"_id":"rcmxbridge0000001","username":"matrix-bridge","name":"Matrix bridge","type":"bot","active":true,"status":"offline",` +
	`"roles":["bot","admin"],"services":{"resume":{"loginTokens":[{"type":"personalAccessToken","name":"bridge","createdAt":"2026-01-01T00:00:00.000Z",` +
	`"lastTokenPart":"efghij","hashedToken":"kdDP/8KDYFup1tHew3xL0UxrB2FSl+97HvZW4I3HALk=","bypassTwoFactor":true}]}}}`

func newWorld(t testing.TB, version string) *world {
	t.Helper()
	env := map[string]string{"ROOT_URL": "http://127.0.0.1:3000", "ADMIN_USERNAME": "admin", "ADMIN_PASS": "admin-password",
		"ADMIN_EMAIL": "admin@example.com", "ADMIN_NAME": "Admin", "ADMIN_EMAIL_VERIFIED": "true", "INITIAL_USER": initialUser, "CREATE_TOKENS_FOR_USERS": "true",
		"CREATE_TOKENS_FOR_USERS_SECRET": "secret", "OVERWRITE_SETTING_Accounts_TwoFactorAuthentication_By_Email_Auto_Opt_In": "false",
		"OVERWRITE_SETTING_Accounts_TwoFactorAuthentication_Enabled": "false"}
	var list []string
	for k, v := range env {
		list = append(list, k+"="+v)
	}
	e, err := sim.New(sim.Options{Version: version, Env: func(k string) string { return env[k] }, Environ: list})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.Close() })
	w := &world{t: t, version: version, e: e, channelName: "channel-abcdefghijklm", groupName: "group-abcdefghijklm"}
	w.bridge = sim.Person{ID: "rcmxbridge0000001", Username: "matrix-bridge", Token: bridgeToken}
	w.admin = w.person("admin")
	w.owner, w.member = w.create("person-aaaaaaaaaaaa"), w.create("person-bbbbbbbbbbbb")
	w.stranger, w.guest = w.create("person-cccccccccccc"), w.create("person-dddddddddddd", "guest")
	w.channel, w.group = w.room("c", w.channelName), w.room("p", w.groupName)
	return w
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// create creates a person who is in no channel.
func (w *world) create(name string, roles ...string) sim.Person {
	if len(roles) == 0 {
		roles = []string{"user"}
	}
	w.ok(w.bridge, "users.create", object{"username": name, "name": "Person " + name, "email": name + "@example.invalid",
		"password": "password", "roles": roles, "joinDefaultChannels": false})
	return w.person(name)
}

// inGroup posts a message of the owner's in the group.
func (w *world) inGroup() string {
	return w.messageAlike(w.group, object{"_id": "m-x", "msg": "in the group"})
}

func (w *world) person(name string) sim.Person { return must(w.e.Person(name)) }

func (w *world) room(t, name string) string {
	return must(w.e.CreateRoom(t, name, w.owner.Username, w.member.Username))
}

func (w *world) say(room, text string) string {
	return must(w.e.Say(room, w.owner.Username, text, nil))
}

// ok makes a request of the preparation, which must succeed.
func (w *world) ok(who sim.Person, endpoint string, body object) any {
	w.t.Helper()
	status, answer := w.send(request{who: who, method: "POST", path: "/api/v1/" + endpoint, body: body})
	if status != 200 {
		w.t.Fatalf("preparing %s %s: %d %s", endpoint, jsonText(body), status, jsonText(answer))
	}
	return answer
}

func (p *part) write(body *bytes.Buffer, fields object) (contentType string) {
	mw := multipart.NewWriter(body)
	for k, v := range fields {
		must(0, mw.WriteField(k, fmt.Sprint(v)))
	}
	h := textproto.MIMEHeader{}
	h.Set("Content-Disposition", fmt.Sprintf(`form-data; name=%q; filename=%q`, p.field, p.name))
	h.Set("Content-Type", p.kind)
	must(must(mw.CreatePart(h)).Write(p.data))
	mw.Close()
	return mw.FormDataContentType()
}

func picture() []byte {
	var b bytes.Buffer
	if err := png.Encode(&b, image.NewGray(image.Rect(0, 0, 8, 8))); err != nil {
		panic(err)
	}
	return b.Bytes()
}

// upload sends the first half of an upload and returns the file's id.
func (w *world) upload(name, kind string, data []byte) string {
	w.t.Helper()
	status, answer := w.send(request{who: w.owner, method: "POST", path: "/api/v1/rooms.media/" + w.group,
		file: &part{"file", name, kind, data}})
	id, _ := dig(answer, "file", "_id").(string)
	if status != 200 || id == "" {
		w.t.Fatalf("preparing an upload of %s: %d %s", name, status, jsonText(answer))
	}
	return id
}

// posted uploads a file and posts it.
func (w *world) posted(name, kind string, data []byte) string {
	id := w.upload(name, kind, data)
	w.ok(w.owner, "rooms.mediaConfirm/"+w.group+"/"+id, object{})
	return id
}

var anyID = regexp.MustCompile(`^([0-9a-f]{24}|[2-9A-HJ-NP-Za-km-z]{17}([2-9A-HJ-NP-Za-km-z]{17})?|[2-9A-HJ-NP-Za-km-z]{17}rcmxbridge0000001|rcmxbridge0000001.*)$`)

// replay sends the simulator the request of a recorded exchange.
func (w *world) replay(x exchange) (int, any) {
	w.t.Helper()
	method, p, _ := strings.Cut(x.Request, " ")
	q := request{method: method, path: p, query: map[string]string{}, who: w.caller(x, p)}
	for k, v := range x.Query {
		q.query[k], _ = w.instead(p, k, v).(string)
	}
	if x.Body != nil {
		q.body = w.insteadOf(p, x.Body)
	}
	if x.Status != 401 {
		w.prepare(x, &q)
	}
	return w.send(q)
}

// administrative lists the endpoints that were recorded only with the bridge's account.
var administrative = []string{"users.create", "users.delete", "users.setActiveStatus", "users.list",
	"users.info", "settings", "permissions.listAll", "integrations.", "rooms.adminRooms", "emoji-custom.create", "emoji-custom.delete",
	"rooms.delete"}

func (w *world) caller(x exchange, p string) sim.Person {
	switch {
	case x.Anonymous:
		return sim.Person{}
	case x.Status == 401:
		return sim.Person{ID: "nobody", Token: "no-such-token"}
	}
	for _, a := range administrative {
		if strings.HasPrefix(p, "/api/v1/"+a) {
			return w.admin
		}
	}
	if p == "/api/v1/users.update" {
		return w.admin
	}
	return w.owner
}

func (w *world) insteadOf(p string, d object) object {
	out := object{}
	for k, v := range d {
		out[k] = w.instead(p, k, v)
	}
	return out
}

// instead returns this world's counterpart of a recorded value.
func (w *world) instead(p, key string, v any) any {
	if d, ok := v.(map[string]any); ok && key == "message" {
		return w.insteadOf(p, d)
	}
	if l, ok := v.([]any); ok && key == "members" && len(l) > 0 {
		return []any{w.member.Username}
	}
	s, ok := v.(string)
	if !ok {
		return v
	}
	known := anyID.MatchString(s)
	switch key {
	case "roomId", "rid", "prid":
		if known {
			return w.roomOf(p)
		}
	case "userId":
		if known {
			return w.member.ID
		}
	case "username":
		if strings.Contains(p, "/im.create") && !strings.HasPrefix(s, "nobody") {
			return w.stranger.Username
		}
	case "secret":
		return "secret"
	case "tmid":
		return w.inGroup()
	}
	return v
}

func (w *world) roomOf(p string) string {
	switch {
	case strings.HasPrefix(p, "/api/v1/channels."):
		return w.channel
	case strings.HasPrefix(p, "/api/v1/im."):
		return must(w.e.CreateDirect(w.owner.Username, w.member.Username))
	}
	return w.group
}

func base64Picture() string { return base64.StdEncoding.EncodeToString(picture()) }
