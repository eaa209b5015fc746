package bridge_test

import (
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"appliance/bridge/mxside/mxtest"
	"appliance/bridge/rocketchat/rctest"
)

// front is the web server in front of the console: it adds HTTPS and the visitor's address.
func (w *world) front() *httptest.Server {
	target, err := url.Parse(w.url)
	if err != nil {
		w.t.Fatal(err)
	}
	s := httptest.NewTLSServer(&httputil.ReverseProxy{FlushInterval: -1, ErrorLog: log.New(io.Discard, "", 0), Rewrite: func(pr *httputil.ProxyRequest) {
		pr.SetURL(target)
		pr.Out.Host = pr.In.Host
		pr.Out.Header.Set("X-Real-Ip", "192.0.2.7")
	}})
	w.t.Cleanup(s.Close)
	return s
}

// visit is a browser without JavaScript.
type visit struct {
	t      testing.TB
	client *http.Client
	base   string
	origin string
}

func visitor(t testing.TB, front *httptest.Server) *visit {
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	c := &http.Client{Jar: jar, Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}} //nolint:gosec // the test's own server
	t.Cleanup(c.CloseIdleConnections)
	return &visit{t, c, front.URL + "/_appliance/", front.URL}
}

func (v *visit) do(method, page string, form url.Values) (int, string, http.Header) {
	v.t.Helper()
	req, err := http.NewRequestWithContext(v.t.Context(), method, v.base+page, strings.NewReader(form.Encode()))
	if err != nil {
		v.t.Fatal(err)
	}
	if method == http.MethodPost {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		if v.origin != "" {
			req.Header.Set("Origin", v.origin)
		}
	}
	res, err := v.client.Do(req)
	if err != nil {
		v.t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	data, err := io.ReadAll(res.Body)
	if err != nil {
		v.t.Fatal(err)
	}
	return res.StatusCode, string(data), res.Header
}

func (v *visit) signIn(name, password string) (int, string) {
	v.t.Helper()
	code, text, _ := v.do(http.MethodPost, "sign-in", url.Values{"username": {name}, "password": {password}})
	return code, text
}

var tokenField = regexp.MustCompile(`name="token" value="([^"]+)"`)

func (v *visit) token() string {
	v.t.Helper()
	_, text, _ := v.do(http.MethodGet, "", nil)
	m := tokenField.FindStringSubmatch(text)
	if m == nil {
		v.t.Fatalf("no token in\n%s", text)
	}
	return m[1]
}

func TestWhoMayUseTheConsole(t *testing.T) {
	t.Parallel()
	var out atomic.Int64
	w := newWorld(t, &rctest.Server{Polite: true, OnRequest: func(_ http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path == "/api/v1/logout" {
			out.Add(1)
		}
		return false
	}})
	w.rc.CreateUser("carol", "user")
	w.rc.CreateUser("ada", "user", "admin")
	w.rc.Set("Accounts_TwoFactorAuthentication_Enabled", true)
	w.rc.Set("Accounts_TwoFactorAuthentication_By_Email_Auto_Opt_In", true)
	w.call(w.rc.Admin(), http.MethodPost, "users.create", map[string]any{"email": "eve@example.invalid", "name": "Eve", "password": "eve-password", "username": "eve", "verified": true}, nil)
	front := w.front()
	v := visitor(t, front)
	for _, page := range []string{"", "queue", "rooms", "room", "people", "person", "servers"} {
		if _, text, _ := v.do(http.MethodGet, page, nil); !strings.Contains(text, "<h1>Sign in</h1>") {
			t.Errorf("a stranger sees %q", page)
		}
	}
	for _, c := range []struct {
		name, password string
		status         int
		says           string
	}{
		{"ada", "wrong", http.StatusUnauthorized, "does not accept this name and password"},
		{"nobody", "wrong", http.StatusUnauthorized, "does not accept this name and password"},
		{"carol", "carol", http.StatusForbidden, "not an administrator"},
		{"eve", "eve-password", http.StatusUnauthorized, "second factor"},
		{"", "", http.StatusBadRequest, "type your name"},
	} {
		if status, text := v.signIn(c.name, c.password); status != c.status || !strings.Contains(text, c.says) {
			t.Errorf("%s: %d\n%s", c.name, status, text)
		}
	}
	if _, text, _ := v.do(http.MethodPost, "sign-in", url.Values{"username": {"eve"}, "password": {"eve-password"}, "code": {"123456"}}); !strings.Contains(text, "does not accept this code") {
		t.Errorf("a wrong code:\n%s", text)
	}
	before := out.Load()
	if status, text := v.signIn("ada", "ada"); status != http.StatusOK || !strings.Contains(text, "Everything is connected.") {
		t.Fatalf("ada: %d\n%s", status, text)
	}
	if out.Load() != before+1 {
		t.Error("the session in Rocket.Chat goes on")
	}
	if strings.Contains(w.log.String(), "eve-password") {
		t.Error("the log holds a password")
	}
	if _, text, _ := v.do(http.MethodPost, "sign-out", url.Values{"token": {v.token()}}); !strings.Contains(text, "<h1>Sign in</h1>") {
		t.Error("ada is still there")
	}
	if _, text, _ := v.do(http.MethodGet, "queue", nil); !strings.Contains(text, "<h1>Sign in</h1>") {
		t.Error("the cookie still counts")
	}
	w.audited(`signed in to the console.* user=\S+ address=192.0.2.7`, `signed out of the console.* user=`, `signing in to the console failed.* address=192.0.2.7`)
}

// A user with a second factor signs in with its code, which is requested after the password.
// The simulator sends no codes, so this test supplies one.
func TestASecondFactorOpensTheConsole(t *testing.T) {
	t.Parallel()
	var eve atomic.Pointer[rctest.Person]
	w := newWorld(t, &rctest.Server{Polite: true, OnRequest: func(w http.ResponseWriter, r *http.Request) bool {
		if eve.Load() == nil || r.URL.Path != "/api/v1/login" {
			return false
		}
		var in struct{ Code string }
		_ = json.NewDecoder(r.Body).Decode(&in)
		w.Header().Set("Content-Type", "application/json")
		switch in.Code {
		case "":
			w.WriteHeader(http.StatusUnauthorized)
			_, _ = io.WriteString(w, `{"success":false,"status":"error","error":"totp-required","message":"TOTP Required [totp-required]","details":{"method":"totp"}}`)
		case "424242":
			_ = json.NewEncoder(w).Encode(map[string]any{"status": "success", "data": map[string]any{"userId": eve.Load().ID, "authToken": eve.Load().Token}})
		default:
			w.WriteHeader(http.StatusUnauthorized)
			_, _ = io.WriteString(w, `{"success":false,"status":"error","error":"totp-invalid","message":"TOTP Invalid [totp-invalid]","details":{"method":"totp"}}`)
		}
		return true
	}})
	who := w.rc.CreateUser("eve", "user", "admin")
	eve.Store(&who)
	v := visitor(t, w.front())
	if status, text := v.signIn("eve", "eve"); status != http.StatusUnauthorized || !strings.Contains(text, `name="code"`) {
		t.Fatalf("no code is asked for: %d\n%s", status, text)
	}
	for code, want := range map[string]string{"000000": "does not accept this code", " 424242 ": "<h1>Overview</h1>"} {
		if _, text, _ := v.do(http.MethodPost, "sign-in", url.Values{"username": {"eve"}, "password": {"eve"}, "code": {code}}); !strings.Contains(text, want) {
			t.Errorf("the code %s:\n%s", code, text)
		}
	}
}

func TestTheConsolesCookieAndHeaders(t *testing.T) {
	t.Parallel()
	w := newWorld(t, &rctest.Server{Polite: true})
	w.rc.CreateUser("ada", "user", "admin")
	v := visitor(t, w.front())
	v.client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	status, _, h := v.do(http.MethodPost, "sign-in", url.Values{"username": {"ada"}, "password": {"ada"}})
	cookie := h.Get("Set-Cookie")
	for _, want := range []string{"__Secure-appliance-console=", "Path=/_appliance/", "HttpOnly", "Secure", "SameSite=Strict"} {
		if status != http.StatusSeeOther || !strings.Contains(cookie, want) {
			t.Errorf("%d %s lacks %s", status, cookie, want)
		}
	}
	if p := h.Get("Content-Security-Policy"); !strings.Contains(p, "default-src 'none'") || strings.Contains(p, "unsafe") {
		t.Error(p)
	}
	for _, page := range []string{"", "queue", "rooms", "people", "servers", "sign-in"} {
		_, text, h := v.do(http.MethodGet, page, nil)
		if regexp.MustCompile(`<script>|<style|style="|\son[a-z]+="`).MatchString(text) || h.Get("Cache-Control") != "no-store" {
			t.Errorf("%q: inline, or kept", page)
		}
	}
}

// Forms from other origins, and forms without the session's token, change nothing.
func TestForgedFormsOfTheConsole(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.rc.CreateUser("ada", "user", "admin")
	v := visitor(t, s.front())
	if status, text := v.signIn("ada", "ada"); status != http.StatusOK {
		t.Fatal(status, text)
	}
	good, own := v.token(), v.origin
	form := url.Values{"room": {s.room}, "sure": {"yes"}, "token": {good}}
	for name, forge := range map[string]func(){
		"another token":  func() { form.Set("token", "guessed") },
		"no token":       func() { form.Del("token") },
		"another origin": func() { v.origin = "https://evil.example" },
		"no origin":      func() { v.origin = "" },
	} {
		forge()
		if status, text, _ := v.do(http.MethodPost, "rooms/disconnect", form); status != http.StatusForbidden {
			t.Errorf("%s: %d\n%s", name, status, text)
		}
		form.Set("token", good)
		v.origin = own
	}
	if _, text, _ := v.do(http.MethodGet, "rooms", nil); !strings.Contains(text, s.room) {
		t.Error("the room was disconnected")
	}
}

func TestGuessersOfTheConsoleWait(t *testing.T) {
	t.Parallel()
	var asked atomic.Int64
	w := newWorld(t, &rctest.Server{Polite: true, OnRequest: func(_ http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path == "/api/v1/login" {
			asked.Add(1)
		}
		return false
	}})
	w.rc.CreateUser("ada", "user", "admin")
	v := visitor(t, w.front())
	before := asked.Load()
	status, text := 0, ""
	for range 30 {
		status, text = v.signIn("ada", "guess")
	}
	if status != http.StatusTooManyRequests || !strings.Contains(text, "Please wait") {
		t.Errorf("%d\n%s", status, text)
	}
	if n := asked.Load() - before; n > 10 {
		t.Errorf("Rocket.Chat was asked %d times", n)
	}
}

// Revoking an administrator's role ends the session.
func TestARoleThatIsTakenAwayEndsTheSession(t *testing.T) {
	t.Parallel()
	w := worldSpec{namespace: "native", home: mxtest.Kind(t), far: mxtest.Dendrite, version: roomVersion(t, mxtest.Kind(t)), noBridge: true}.start(t, &rctest.Server{Polite: true})
	w.often = 50 * time.Millisecond
	w.startBridge()
	ada := w.rc.CreateUser("ada", "user", "admin")
	v := visitor(t, w.front())
	if status, text := v.signIn("ada", "ada"); status != http.StatusOK {
		t.Fatal(status, text)
	}
	w.call(w.rc.Admin(), http.MethodPost, "users.update", map[string]any{"userId": ada.ID, "data": map[string]any{"roles": []string{"user"}}}, nil)
	mxtest.WaitFor(t, "the session to end", func() bool {
		_, text, _ := v.do(http.MethodGet, "queue", nil)
		return strings.Contains(text, "<h1>Sign in</h1>")
	})
}

// Names that other people choose are shown as text, and short.
func TestHostileNamesInTheConsole(t *testing.T) {
	t.Parallel()
	var shown atomic.Pointer[string]
	s := newStageOn(t, &rctest.Server{Polite: true, OnRequest: func(w http.ResponseWriter, r *http.Request) bool {
		name := shown.Load()
		if name == nil || r.URL.Path != "/api/v1/rooms.info" {
			return false
		}
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(map[string]any{"success": true, "room": map[string]any{"_id": r.URL.Query().Get("roomId"), "t": "p", "name": "x", "fname": *name}})
		return true
	}})
	s.rc.CreateUser("ada", "user", "admin")
	hostile := `<img src=x onerror=alert(1)>"'` + "\u202e" + strings.Repeat("A", 10_000)
	shown.Store(&hostile)
	v := visitor(t, s.front())
	if status, text := v.signIn("ada", "ada"); status != http.StatusOK {
		t.Fatal(status, text)
	}
	mxtest.WaitFor(t, "the new name", func() bool {
		_, text, _ := v.do(http.MethodGet, "rooms", nil)
		return strings.Contains(text, "&lt;img src=x")
	})
	bad := url.QueryEscape(hostile[:150])
	for _, page := range []string{
		"rooms", "room?id=" + s.room, "rooms?q=" + bad + "&from=" + bad, "people?q=" + bad, "people?of=rocketchat&from=" + bad, "servers?q=" + bad,
		"queue?lane=" + url.QueryEscape(hostile[:900]) + "&reason=" + url.QueryEscape(`"><script>`),
	} {
		status, text, _ := v.do(http.MethodGet, page, nil)
		if status != http.StatusOK || strings.Contains(text, "<img src=x") || strings.Contains(text, "<script>") || strings.Contains(text, "\u202e") || strings.Count(text, "A") > 600 {
			t.Errorf("%s: %d, %d bytes\n%s", page, status, len(text), fmt.Sprintf("%.3000s", text))
		}
	}
	for page, want := range map[string]string{"room?id=" + bad: "not connected with Matrix", "person?id=" + bad: "does not know this address"} {
		if status, text, _ := v.do(http.MethodGet, page, nil); status != http.StatusNotFound || !strings.Contains(text, want) {
			t.Errorf("%s: %d\n%s", page, status, text)
		}
	}
}
