package sim

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
)

// values returns values for fields by name; any other field gets "x".
func values(rid, msgID, uid string) Doc {
	return Doc{"roomId": rid, "rid": rid, "prid": rid, "msgId": msgID, "messageId": msgID, "tmid": msgID, "mid": msgID,
		"userId": uid, "username": "bob", "usernames": "bob", "message": Doc{"rid": rid, "msg": "hi"}, "emoji": "smile",
		"reaction": "smile", "data": Doc{"name": "N"}, "settings": []any{}, "permissions": []any{}, "action": "archive",
		"activeStatus": true, "readOnly": true, "since": "2020-01-01T00:00:00.000Z", "updatedSince": "2020-01-01T00:00:00.000Z",
		"customFields": Doc{}, "type": "p", "enabled": true, "scriptEnabled": false, "roleId": "bot", "roleName": "bot"}
}

func fill(sh shape, from Doc, all bool) Doc {
	d := Doc{}
	for _, f := range sh.required {
		d[f] = firstSet(from[f], "x")
	}
	for f, kind := range sh.fields {
		if all && !d.has(f) {
			d[f] = firstSet(from[f], map[byte]any{'b': true, 'n': 1, 'o': Doc{"a": 1}, 'l': []any{"x"}}[kind], "x")
		}
	}
	return d
}

func firstSet(l ...any) any {
	for _, v := range l {
		if v != nil {
			return v
		}
	}
	return nil
}

// TestNoEndpointCrashes calls every endpoint with hardly any parameters and with all
// that it takes, as a user with all permissions and as one with none.
func TestNoEndpointCrashes(t *testing.T) {
	for _, ep := range endpoints {
		for _, all := range []bool{false, true} {
			for _, who := range []string{"root", "ada", "stranger"} {
				callEndpoint(t, ep, who, all)
			}
		}
	}
}

func callEndpoint(t *testing.T, ep *endpoint, who string, all bool) {
	t.Helper()
	e, err := New(Options{Env: func(k string) string {
		return map[string]string{"TEST_MODE": "api", "ROOT_URL": "http://sim.test", "ADMIN_PASS": "x"}[k]
	}})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	people := map[string]Person{}
	for name, roles := range map[string][]string{"root": {"admin", "user", "bot"}, "ada": {"user"}, "bob": {"user"}, "stranger": {"guest"}} {
		if people[name], err = e.CreateUser(name, name, roles...); err != nil {
			t.Fatal(err)
		}
	}
	kind := map[string]string{"groups": "p"}[strings.SplitN(ep.path, ".", 2)[0]]
	rid, _ := e.CreateRoom(firstText(kind, "c"), "room1", "ada", "bob", "root")
	msgID, _ := e.Say(rid, "ada", "hi", nil)
	vals := values(rid, msgID, people["bob"].ID)
	for _, sh := range append(append(schema{{}}, ep.body...), ep.query...) {
		r := request(ep, vals, fill(sh, vals, all))
		r.Header.Set("X-Auth-Token", people[who].Token)
		r.Header.Set("X-User-Id", people[who].ID)
		w := httptest.NewRecorder()
		e.ServeHTTP(w, r)
		if w.Code >= 500 {
			t.Errorf("%s %s as %s with %s: %d %s", ep.method, ep.path, who, restJSON(fill(sh, vals, all)), w.Code, w.Body)
		}
	}
}

func request(ep *endpoint, vals, d Doc) *http.Request {
	path := "/api/v1/" + ep.path
	for _, p := range []string{":rid", ":fileId", ":_id", ":m"} {
		path = strings.Replace(path, p, firstText(vals.str(p[1:]), "Site_Url"), 1)
	}
	if ep.method == http.MethodGet {
		q := url.Values{}
		for k := range d {
			q.Set(k, firstText(d.str(k), "x"))
		}
		return httptest.NewRequest(ep.method, path+"?"+q.Encode(), nil)
	}
	return httptest.NewRequest(ep.method, path, bytes.NewReader(restJSON(d)))
}

// TestNoMethodCrashes calls every DDP method without parameters and with odd ones.
func TestNoMethodCrashes(t *testing.T) {
	e, err := New(Options{Env: func(k string) string { return map[string]string{"TEST_MODE": "api"}[k] }})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	if _, err := e.CreateUser("ada", "Ada"); err != nil {
		t.Fatal(err)
	}
	for name := range methods {
		for _, params := range [][]any{nil, {"x"}, {Doc{"a": 1}, "x", 3.0}, {nil, nil, nil}, {[]any{"x"}, []any{1.0}}, {"GENERAL", "x", Doc{}}} {
			e.locked(func() {
				m := &method{e: e, user: e.userNamed("ada"), name: name, params: params}
				if _, err := m.call(); err != nil && asFault(err).status >= 500 {
					t.Errorf("%s(%v): %v", name, params, err)
				}
			})
		}
	}
}
