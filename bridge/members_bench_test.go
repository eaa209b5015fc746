package bridge_test

import (
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"appliance/bridge/mustrun"
	"appliance/bridge/mxside/mxtest"
	"appliance/bridge/rocketchat/rctest"
)

const (
	// crowd is the number of people in the room of BenchmarkMembers. What a join costs Dendrite
	// grows with the number of members: on a busy machine with two cores 1,000 joins each way
	// take a quarter of an hour, so this is done only once.
	crowd = 1000
	// crowdTurn is the number of joins before it is the other side's turn.
	crowdTurn = 5
)

// BenchmarkMembers connects a room of 1,000 people to a real Dendrite, and reports how long it
// takes until all of them have joined. In turns with it, a client that does nothing else
// registers as many users of an application service with the same Dendrite and has them join a
// room: one after the other, as the bridge does, and with an invitation each, which rooms that
// are not public require.
func BenchmarkMembers(b *testing.B) {
	if mxtest.Hermetic() {
		mustrun.Skip(b, "it measures a real homeserver; make bench PARTS=members has one")
	}
	b.Run(fmt.Sprintf("members=%d", crowd), func(b *testing.B) {
		for range b.N {
			benchMembers(b)
		}
	})
}

func benchMembers(b *testing.B) {
	b.Helper()
	spec := worldSpec{namespace: "prefixed", home: mxtest.Dendrite, far: mxtest.Dendrite, version: roomVersion(b, mxtest.Dendrite)}
	w := spec.prepare(b, &rctest.Server{Polite: true})
	w.home.Beside = idleService(b)
	w.home.Start(w.registration)
	s := newStraightJoins(w)
	w.home.URL = s.url
	spec.run(w)
	s.makeRoom()
	bridged := w.joinCrowd() - s.took
	if s.joined != crowd {
		b.Fatalf("%d joined straight", s.joined)
	}
	b.ReportMetric(bridged.Seconds(), "bridge-s")
	b.ReportMetric(s.took.Seconds(), "joins-alone-s")
	b.ReportMetric(bridged.Seconds()/s.took.Seconds(), "of-joins-alone")
}

// idleService returns the registration of an application service that does nothing.
func idleService(b *testing.B) string {
	b.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("{}")) }))
	b.Cleanup(s.Close)
	return fmt.Sprintf(`id: straight
url: %s
as_token: as-token-of-straight
hs_token: hs-token-of-straight
sender_localpart: straight
rate_limited: false
namespaces: {users: [{regex: "^@straight[^:]*:", exclusive: true}], aliases: [], rooms: []}
`, s.URL)
}

// straightJoins is a proxy between the bridge and its homeserver. After some of the bridge's
// users have joined, it blocks the bridge until as many others have joined without it.
type straightJoins struct {
	w       *world
	mu      sync.Mutex
	url     string
	room    string // path
	bridged int
	joined  int
	took    time.Duration
}

func newStraightJoins(w *world) *straightJoins {
	w.t.Helper()
	target, err := url.Parse(w.home.URL)
	if err != nil {
		w.t.Fatal(err)
	}
	s := &straightJoins{w: w}
	proxy := httptest.NewServer(&httputil.ReverseProxy{
		FlushInterval: -1, ErrorLog: log.New(io.Discard, "", 0), Transport: &http.Transport{MaxIdleConnsPerHost: 100},
		Rewrite:        func(pr *httputil.ProxyRequest) { pr.SetURL(target) },
		ModifyResponse: func(res *http.Response) error { s.passed(res); return nil },
	})
	w.t.Cleanup(func() {
		proxy.CloseClientConnections()
		proxy.Close()
	})
	s.url = proxy.URL
	return s
}

// passed sees each response before the bridge does.
func (s *straightJoins) passed(res *http.Response) {
	r := res.Request
	if r.Method != http.MethodPost || !strings.HasSuffix(r.URL.Path, "/join") || !strings.HasPrefix(r.URL.Query().Get("user_id"), "@rc_") || res.StatusCode != http.StatusOK {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.bridged++; s.bridged%crowdTurn == 0 {
		start := time.Now()
		s.join()
		s.took += time.Since(start)
	}
}

// makeRoom creates the room for the users who join without the bridge.
func (s *straightJoins) makeRoom() {
	var made struct {
		RoomID string `json:"room_id"`
	}
	s.w.home.As("as-token-of-straight").Must(http.MethodPost, "/_matrix/client/v3/createRoom", map[string]string{"preset": "private_chat", "room_version": s.w.home.RoomVersion}, &made)
	s.room = "/_matrix/client/v3/rooms/" + url.PathEscape(made.RoomID)
}

// join has some users join without the bridge.
func (s *straightJoins) join() {
	as := s.w.home.As("as-token-of-straight")
	for range crowdTurn {
		name := fmt.Sprint("straight", s.joined)
		user := "@" + name + ":" + s.w.home.Name
		as.Must(http.MethodPost, "/_matrix/client/v3/register", map[string]any{"type": "m.login.application_service", "username": name, "inhibit_login": true}, nil)
		as.Must(http.MethodPost, s.room+"/invite", map[string]string{"user_id": user}, nil)
		as.Must(http.MethodPost, s.room+"/join?user_id="+url.QueryEscape(user), map[string]string{}, nil)
		s.joined++
	}
}

// joinCrowd connects a room with a crowd in it, and returns how long it takes until all have
// joined.
func (w *world) joinCrowd() (took time.Duration) {
	w.t.Helper()
	alice := w.rc.CreateUser("alice", "user", "bot")
	var names []string
	for i := range crowd - 1 {
		names = append(names, w.rc.CreateUser(fmt.Sprint("member", i)).Username)
	}
	room := w.rc.CreateRoom("p", "plans", "alice", names...)
	start := time.Now()
	w.must(alice, room, "bridge", "history 1")
	for !strings.Contains(w.log.String(), "kind=rc.roster") {
		if time.Since(start) > 25*time.Minute {
			w.t.Fatal("the members have not joined within 25 minutes")
		}
		<-time.After(20 * time.Millisecond)
	}
	took = time.Since(start)
	as, who := w.home.As("as-token-for-tests"), "?user_id="+url.QueryEscape("@rc_alice:"+w.home.Name)
	var alices struct {
		Rooms []string `json:"joined_rooms"`
	}
	as.Must(http.MethodGet, "/_matrix/client/v3/joined_rooms"+who, nil, &alices)
	if len(alices.Rooms) != 1 {
		w.t.Fatalf("alice is in %d rooms", len(alices.Rooms))
	}
	var there struct {
		Joined map[string]any `json:"joined"`
	}
	as.Must(http.MethodGet, "/_matrix/client/v3/rooms/"+url.PathEscape(alices.Rooms[0])+"/joined_members"+who, nil, &there)
	if len(there.Joined) != crowd+1 { // and the bridge's own user
		w.t.Fatalf("%d have joined", len(there.Joined))
	}
	return took
}
