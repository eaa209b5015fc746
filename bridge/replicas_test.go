package bridge_test

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib" // the driver "pgx"

	"appliance/bridge"
	"appliance/bridge/config"
	"appliance/bridge/mustrun"
	"appliance/bridge/mxside/mxtest"
	"appliance/bridge/rocketchat/rctest"
	"appliance/bridge/secret"
)

// postgresDatabase creates a database of its own on the server that
// APPLIANCE_TEST_POSTGRES names; `make test` starts one.
func postgresDatabase(t testing.TB) string {
	t.Helper()
	server := os.Getenv("APPLIANCE_TEST_POSTGRES")
	if server == "" {
		mustrun.Skip(t, "APPLIANCE_TEST_POSTGRES names no server; make test starts one and demands this")
	}
	name := fmt.Sprintf("fleet_%d", time.Now().UnixNano())
	admin, err := sql.Open("pgx", server)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_, _ = admin.ExecContext(context.Background(), "DROP DATABASE "+name+" WITH (FORCE)")
		_ = admin.Close()
	})
	if _, err := admin.ExecContext(t.Context(), "CREATE DATABASE "+name); err != nil {
		t.Fatal(err)
	}
	u, err := url.Parse(server)
	if err != nil {
		t.Fatal(err)
	}
	u.Path = "/" + name
	return u.String()
}

// fleet is several bridges, each a process of its own, behind one address.
type fleet struct {
	*world
	db   *sql.DB
	mu   sync.Mutex
	all  []*replica
	turn int
}

// replica is one bridge of a fleet.
type replica struct {
	file, url string
	cmd       *exec.Cmd
	id        string // its ID among the processes that share the database
}

// newFleet starts n bridges that share a database.
func newFleet(t testing.TB, n int) *fleet {
	t.Helper()
	database := postgresDatabase(t)
	return newFleetOn(t, n, database, database)
}

// newFleetOn starts n bridges that may reach the database by another address than the test.
func newFleetOn(t testing.TB, n int, database, direct string) *fleet {
	t.Helper()
	home := mxtest.Kind(t)
	f := &fleet{world: worldSpec{
		namespace: "native", home: home, far: mxtest.Dendrite, version: roomVersion(t, home), database: database, noBridge: true,
	}.start(t, &rctest.Server{Polite: true})}
	var err error
	if f.db, err = sql.Open("pgx", direct); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.db.Close() })
	text, err := os.ReadFile(filepath.Join(f.dir, "bridge.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	address := strings.TrimPrefix(f.url, "http://")
	for i := range n {
		own := fmt.Sprintf("127.0.0.1:%d", mxtest.FreePort(t))
		f.write(fmt.Sprintf("bridge%d.yaml", i), strings.Replace(string(text), fmt.Sprintf("listen: %q", address), fmt.Sprintf("listen: %q", own), 1))
		f.all = append(f.all, &replica{file: filepath.Join(f.dir, fmt.Sprintf("bridge%d.yaml", i)), url: "http://" + own})
	}
	srv := &http.Server{Addr: address, Handler: f, ReadHeaderTimeout: 10 * time.Second}
	go func() { _ = srv.ListenAndServe() }()
	t.Cleanup(func() { _ = srv.Close() })
	t.Cleanup(func() {
		if t.Failed() {
			text, _ := os.ReadFile(filepath.Join(f.dir, "log"))
			t.Logf("the end of the bridges' log:\n%s", text[max(0, len(text)-20000):])
		}
	})
	for _, r := range f.all {
		f.launch(r)
	}
	return f
}

// ServeHTTP passes requests to the bridges in turn, as Docker's DNS does. A stopped
// bridge keeps the caller waiting for a while.
func (f *fleet) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	f.turn++
	to := f.all[f.turn%len(f.all)].url
	f.mu.Unlock()
	target, err := url.Parse(to)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	proxy := httputil.NewSingleHostReverseProxy(target)
	proxy.Transport = transport
	proxy.ErrorHandler = func(w http.ResponseWriter, _ *http.Request, _ error) { w.WriteHeader(http.StatusBadGateway) }
	proxy.ServeHTTP(w, r)
}

var transport = &http.Transport{ResponseHeaderTimeout: 5 * time.Second, MaxIdleConnsPerHost: 32}

// launch starts a bridge and waits until it is ready.
func (f *fleet) launch(r *replica) {
	f.t.Helper()
	log, err := os.OpenFile(filepath.Join(f.dir, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		f.t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0]) //nolint:gosec,noctx // this test binary; it is killed at the end
	cmd.Env = append(os.Environ(), bridgeProcess+"="+r.file)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		_ = log.Close()
	})
	r.cmd = cmd
	var st bridge.Status
	waitUntil(f.t, "a bridge to be ready", 2*time.Minute, func() bool {
		res, err := http.Get(r.url + "/ready")
		if err != nil {
			return false
		}
		_ = res.Body.Close()
		return res.StatusCode == http.StatusOK && f.status(r, &st)
	})
	r.id = st.Process
}

// status requests the status of a bridge.
func (f *fleet) status(r *replica, into *bridge.Status) bool {
	token, err := os.ReadFile(f.dir + "/rc")
	if err != nil {
		f.t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(f.t.Context(), http.MethodGet, r.url+"/status", nil)
	if err != nil {
		f.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+config.OperatorToken(secret.New(strings.TrimSpace(string(token)))).Reveal())
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return false
	}
	defer func() { _ = res.Body.Close() }()
	return json.NewDecoder(res.Body).Decode(into) == nil
}

// reader returns the bridge that reads from the networks, or nil if none does.
func (f *fleet) reader() *replica {
	var owner string
	if f.db.QueryRowContext(f.t.Context(), `SELECT owner FROM roles WHERE role = 'reading'`).Scan(&owner) != nil {
		return nil
	}
	i := slices.IndexFunc(f.all, func(r *replica) bool { return r.id == owner })
	if i < 0 {
		return nil
	}
	return f.all[i]
}

// takeOver waits until a process no longer owns anything that has work to do, and
// returns how long that took.
func (f *fleet) takeOver(id string) time.Duration {
	f.t.Helper()
	start := time.Now()
	waitUntil(f.t, "the others to take over", 30*time.Second, func() bool {
		var lanes, roles int
		err := f.db.QueryRowContext(f.t.Context(), `SELECT (SELECT COUNT(*) FROM lanes WHERE owner = $1 AND EXISTS (SELECT 1 FROM items WHERE items.lane = lanes.lane AND buried = 0)),
			(SELECT COUNT(*) FROM roles WHERE owner = $1)`, id).Scan(&lanes, &roles)
		return err == nil && lanes == 0 && roles == 0
	})
	return time.Since(start)
}

// flood is messages in both directions in many rooms.
type flood struct {
	*fleet
	bob           *mxtest.Person
	rooms, mxRoom []string
	each          int // messages each way in each room
}

func newFlood(f *fleet, rooms, messages int) *flood {
	room, mxRoom, bob := f.bridged()
	fl := &flood{fleet: f, bob: bob, rooms: []string{room}, mxRoom: []string{mxRoom}, each: (messages + rooms - 1) / rooms}
	for i := 1; i < rooms; i++ {
		room := f.rc.CreateRoom("p", fmt.Sprint("flood", i), "alice")
		f.must(f.people["alice"], room, "bridge", "invite "+bob.ID)
		mxRoom, _ := bob.AcceptInvitation()
		fl.rooms, fl.mxRoom = append(fl.rooms, room), append(fl.mxRoom, mxRoom)
	}
	for _, room := range fl.rooms {
		waitUntil(f.t, "bob to join in Rocket.Chat", time.Minute, func() bool {
			return slices.ContainsFunc(f.rc.Members(room), func(m string) bool { return strings.HasPrefix(m, "bob_localhost") })
		})
	}
	return fl
}

// send sends all messages each way, and returns when the servers have them.
func (fl *flood) send(pause time.Duration) {
	var sending sync.WaitGroup
	again := func(try func() error) {
		for try() != nil {
			<-time.After(50 * time.Millisecond)
		}
		<-time.After(pause)
	}
	sending.Go(func() {
		for i := range fl.each {
			for n, room := range fl.rooms {
				again(func() error { return fl.rcSayAs(room, fmt.Sprintf("flood%04d%08d", n, i), fmt.Sprint("r ", i)) })
			}
		}
	})
	sending.Go(func() {
		for i := range fl.each {
			for n, room := range fl.mxRoom {
				again(func() error {
					_, err := fl.bob.TrySend(fl.t.Context(), room, fmt.Sprint("m ", i), fmt.Sprintf("flood%d-%d", n, i))
					return err
				})
			}
		}
	})
	sending.Wait()
}

// check waits until every message has arrived, and checks that each did so exactly once and in order.
func (fl *flood) check(patience time.Duration) {
	fl.t.Helper()
	said := func(n int) (inMX, inRC []string) {
		inMX = slices.DeleteFunc(only(saidOnMatrix(fl.bob, fl.mxRoom[n]), fl.alice()+": "), func(s string) bool { return !strings.HasPrefix(s, "r ") })
		return inMX, only(fl.saidInRC(fl.rooms[n]), "bob_")
	}
	deadline := time.Now().Add(patience)
	for n := range fl.rooms {
		for inMX, inRC := said(n); (len(inMX) < fl.each || len(inRC) < fl.each) && time.Now().Before(deadline); inMX, inRC = said(n) {
			<-time.After(200 * time.Millisecond)
		}
	}
	for n := range fl.rooms {
		inMX, inRC := said(n)
		for side, got := range map[string][]string{"r ": inMX, "m ": inRC} {
			for i := range max(fl.each, len(got)) {
				if i >= len(got) || i >= fl.each || got[i] != fmt.Sprint(side, i) {
					fl.t.Errorf("room %d, %s: %d of %d messages; the first that is wrong is number %d: %s", n, side, len(got), fl.each, i, around(got, i))
					break
				}
			}
		}
	}
}

// number reads a size from the environment.
func number(t testing.TB, name string, usual int) int {
	text := os.Getenv(name)
	if text == "" {
		return usual
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		t.Fatalf("%s is not a number: %q", name, text)
	}
	return n
}

// Three bridges share a database while messages flow each way in many rooms. One after
// the other is killed, or stopped past its leases and resumed. Every message arrives
// exactly once and in order, and another bridge takes over within 15 seconds.
// APPLIANCE_FLOOD_ROOMS, APPLIANCE_FLOOD_MESSAGES (each way) and APPLIANCE_FLOOD_ROUNDS
// make it larger.
func TestNothingIsLostWhenOneOfThreeBridgesIsKilledOrStopped(t *testing.T) {
	rooms, messages, rounds := number(t, "APPLIANCE_FLOOD_ROOMS", 4), number(t, "APPLIANCE_FLOOD_MESSAGES", 240), number(t, "APPLIANCE_FLOOD_ROUNDS", 1)
	f := newFleet(t, 3)
	fl := newFlood(f, rooms, messages)
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		// Long enough that messages flow while bridges go and come.
		fl.send(time.Duration(rounds) * 24 * time.Second / time.Duration(messages))
	}()
	var slowest time.Duration
	took := func(what string, d time.Duration) {
		t.Logf("%s: taken over after %v", what, d.Round(10*time.Millisecond))
		slowest = max(slowest, d)
	}
	for range rounds {
		victim := f.reader()
		if victim == nil {
			victim = f.all[0]
		}
		if err := victim.cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = victim.cmd.Wait()
		took("the bridge that reads was killed", f.takeOver(victim.id))
		f.launch(victim)
		for _, r := range f.all {
			if r == victim {
				continue
			}
			if err := r.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
				t.Fatal(err)
			}
			took("a bridge was stopped", f.takeOver(r.id))
			<-time.After(2 * time.Second) // others process what it owned
			if err := r.cmd.Process.Signal(syscall.SIGCONT); err != nil {
				t.Fatal(err)
			}
			break
		}
	}
	<-sent
	fl.check(3 * time.Minute)
	if slowest > 15*time.Second {
		t.Errorf("the slowest take-over took %v", slowest)
	}
}
