package bridge_test

import (
	"database/sql"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"appliance/bridge/mxside/mxtest"
	"appliance/bridge/rocketchat/rctest"
)

// The overview shows the findings of the operator's program, and the command to type if
// it has not run yet.
func TestTheConsoleShowsTheHost(t *testing.T) {
	t.Parallel()
	w := newWorld(t, &rctest.Server{Polite: true})
	w.rc.CreateUser("ada", "user", "admin")
	v := visitor(t, w.front())
	if status, text := v.signIn("ada", "ada"); status != http.StatusOK || !strings.Contains(text, "On the host, type: <code>appliance doctor</code>") {
		t.Fatal(status, text)
	}
	shows := func(what string, all ...string) {
		t.Helper()
		text := ""
		mxtest.WaitFor(t, what, func() bool {
			_, text, _ = v.do(http.MethodGet, "", nil)
			for _, want := range all {
				if !strings.Contains(text, want) {
					return false
				}
			}
			return true
		})
		if strings.Contains(text, "<img") {
			t.Error("markup of the file is markup of the page")
		}
	}
	w.write("host.json", `{"written":"2026-01-02T03:04:05Z","examined":"2026-01-02T03:04:05Z","backup":"2026-01-01T00:00:00Z","alarms":["mail"],
		"images":{"nginx":"nginx:1"},"updates":[{"service":"rocketchat","from":"rocket.chat:7.13.2","to":"rocket.chat:8.6.1<img src=x>","caution":"a new major version"}],"findings":[{"check":"disk","severity":"warn","summary":"the disk has 2 GB left of 40 <img src=x>","why":"little","fix":"free space"},
		{"check":"certificate","severity":"ok","summary":"chat.example.org: 60 days"}]}`)
	shows("what was found", "on 2026-01-02 03:04:05 UTC", "the disk has 2 GB left of 40 &lt;img", "What to do: free space", "chat.example.org: 60 days", "<code>nginx:1</code>", "appliance backup drill", ">mail<", "Available updates (1)", "<code>rocket.chat:7.13.2</code> to <code>rocket.chat:8.6.1&lt;img", "a new major version", "<code>appliance upgrade</code>", "Something needs your attention.")
	w.write("host.json", `{"written":"2026-01-02T03:04:05Z","examined":"2026-01-02T03:04:05Z","images":{"nginx":"nginx:1"}}`)
	shows("that there are no updates", "Every service runs the version that comes with this release.", "Nothing is wrong.", "Nothing checks for newer releases")
	for release, want := range map[string][]string{
		`"from":"https://releases.example.org/latest<img src=x>","have":"v1.2.3","version":"v1.3.0","newer":true`: {"A newer release", "The appliance v1.3.0 is available; this host has v1.2.3.", "<code>appliance self-update https://releases.example.org/latest&lt;img src=x&gt;</code>"},
		`"from":"https://releases.example.org/latest","have":"v1.3.0","version":"v1.3.0"`:                         {"The appliance v1.3.0 is the newest release"},
		`"from":"https://releases.example.org/latest","failed":"the server does not answer"`:                      {"could not be checked", "the server does not answer"},
	} {
		w.write("host.json", `{"written":"2026-01-02T03:04:05Z","images":{"nginx":"nginx:1"},"release":{"asked":"2026-01-02T03:04:05Z",`+release+`}}`)
		shows("what is known of releases", want...)
	}
	w.write("host.json", "{")
	shows("what is wrong with the file", "The status of the host cannot be read")
}

// The overview says how much was carried and how long that took, how much is waiting, and why.
func TestTheOverviewSaysWhySomethingWaits(t *testing.T) {
	t.Parallel()
	var down atomic.Bool
	s := newStageOn(t, &rctest.Server{Polite: true, OnRequest: func(w http.ResponseWriter, r *http.Request) bool {
		if !down.Load() || r.URL.Path != "/api/v1/chat.sendMessage" {
			return false
		}
		w.WriteHeader(http.StatusBadGateway)
		return true
	}})
	v := s.signedIn()
	shows := func(what string, wanted ...string) {
		t.Helper()
		text := ""
		mxtest.WaitFor(t, what, func() bool {
			_, text, _ = v.do(http.MethodGet, "", nil)
			return !slices.ContainsFunc(wanted, func(want string) bool { return !regexp.MustCompile(want).MatchString(text) })
		})
	}
	s.bob.Send(s.mxRoom, "carried")
	s.messageText("carried")
	shows("what was carried", `(?s)Matrix to Rocket.Chat, last hour: [1-9][0-9]* delivered, at most [1-9][0-9]* in a minute"><rect x="[0-9]+" y="[0-9]+"`,
		`(?s)Matrix to Rocket.Chat, last hour: mean delay at most [1-9][0-9.m]*s in a minute"><rect`, `Last day: mean delay at most [1-9][0-9.m]*s in a quarter of an hour`)
	down.Store(true)
	s.bob.Send(s.mxRoom, "not carried yet")
	shows("what is waiting, and why", `>1 item</a>, the oldest for [0-9]+ seconds?: [^<]*502`)
	down.Store(false)
	s.messageText("not carried yet")
	shows("that nothing waits", `(?s)Matrix to Rocket.Chat</h2>.*>0 items</a></dd>`)
}

// A session is valid at every process, and signing out ends it at every process.
func TestReplicasShareTheConsolesSessions(t *testing.T) {
	f := newFleet(t, 2)
	f.rc.CreateUser("ada", "user", "admin")
	front := f.front()
	v := visitor(t, front)
	if status, text := v.signIn("ada", "ada"); status != http.StatusOK {
		t.Fatal(status, text)
	}
	for range 6 {
		if _, text, _ := v.do(http.MethodGet, "queue", nil); !strings.Contains(text, "<h1>Queue</h1>") {
			t.Fatalf("a process does not know the session:\n%s", text)
		}
	}
	token := v.token()
	thief := visitor(t, front) // with a copy of the cookie
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	u, err := url.Parse(front.URL + "/_appliance/")
	if err != nil {
		t.Fatal(err)
	}
	jar.SetCookies(u, v.client.Jar.Cookies(u))
	thief.client.Jar = jar
	if _, text, _ := v.do(http.MethodPost, "sign-out", map[string][]string{"token": {token}}); !strings.Contains(text, "<h1>Sign in</h1>") {
		t.Error("still signed in")
	}
	for range 4 {
		if _, text, _ := thief.do(http.MethodGet, "queue", nil); !strings.Contains(text, "<h1>Sign in</h1>") {
			t.Error("the cookie counts after signing out")
		}
	}
}

// The console's sessions survive a restart of the bridge, and expire by themselves.
func TestSessionsOfTheConsoleEnd(t *testing.T) {
	t.Parallel()
	w := newWorld(t, &rctest.Server{Polite: true})
	w.rc.CreateUser("ada", "user", "admin")
	v := visitor(t, w.front())
	if status, text := v.signIn("ada", "ada"); status != http.StatusOK {
		t.Fatal(status, text)
	}
	w.stop()
	w.startBridge()
	mxtest.WaitFor(t, "the session to count after a restart", func() bool {
		_, text, _ := v.do(http.MethodGet, "queue", nil)
		return strings.Contains(text, "<h1>Queue</h1>")
	})
	for name, change := range map[string]string{"idle": "seen", "old": "began"} {
		if status, text := v.signIn("ada", "ada"); status != http.StatusOK {
			t.Fatal(status, text)
		}
		w.age(change)
		if _, text, _ := v.do(http.MethodGet, "queue", nil); !strings.Contains(text, "<h1>Sign in</h1>") {
			t.Errorf("a session that is %s goes on", name)
		}
	}
}

// age sets one timestamp of the console's sessions to 13 hours ago.
func (w *world) age(column string) {
	w.t.Helper()
	db, err := sql.Open("sqlite", "file:"+w.dir+"/bridge.db?_pragma=busy_timeout(10000)")
	if err != nil {
		w.t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	if _, err := db.ExecContext(w.t.Context(), "UPDATE console_sessions SET "+column+" = $1", time.Now().Add(-13*time.Hour).UnixMilli()); err != nil {
		w.t.Fatal(err)
	}
}
