package bridge_test

import (
	"flag"
	"fmt"
	"net/http"
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

	"appliance/bridge/mustrun"
	"appliance/bridge/mxside/mxtest"
	"appliance/bridge/rocketchat/rctest"
)

// bridgeProcess makes the test binary act as the bridge: a bridge that is to be
// killed needs a process of its own.
const bridgeProcess = "APPLIANCE_TEST_BRIDGE_CONFIG"

func TestMain(m *testing.M) {
	if file := os.Getenv(bridgeProcess); file != "" {
		if runBridge(file) != nil {
			os.Exit(1)
		}
		os.Exit(0)
	}
	if mxtest.Hermetic() { // its tests wait more than they work
		if err := flag.Set("test.parallel", "10"); err != nil {
			panic(err)
		}
	}
	os.Exit(m.Run())
}

// spawnBridge replaces the bridge in this process with a separate process.
func (w *world) spawnBridge() (kill func()) {
	w.t.Helper()
	w.stop()
	log, err := os.OpenFile(filepath.Join(w.dir, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		w.t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0]) //nolint:gosec,noctx // this test binary; it ends with kill
	cmd.Env = append(os.Environ(), bridgeProcess+"="+filepath.Join(w.dir, "bridge.yaml"))
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		w.t.Fatal(err)
	}
	kill = sync.OnceFunc(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		_ = log.Close()
	})
	w.t.Cleanup(func() {
		kill()
		if w.t.Failed() {
			text, _ := os.ReadFile(filepath.Join(w.dir, "log"))
			w.t.Logf("the end of the bridge's log:\n%s", text[max(0, len(text)-6000):])
		}
	})
	mxtest.WaitFor(w.t, "the bridge to be ready", func() bool {
		res, err := http.Get(w.url + "/ready")
		if err != nil {
			return false
		}
		_ = res.Body.Close()
		return res.StatusCode == http.StatusOK
	})
	return kill
}

// burst sends n messages each way at once while disturb runs, and checks that each
// one arrives exactly once and in order.
func (w *world) burst(n int, room, mxRoom string, bob *mxtest.Person, disturb func(sent func() int)) {
	w.t.Helper()
	var sending sync.WaitGroup
	var mu sync.Mutex
	count := 0
	sent := func() int { mu.Lock(); defer mu.Unlock(); return count }
	one := func() { mu.Lock(); count++; mu.Unlock() }
	sending.Go(func() {
		for i := range n {
			for w.rcSay(room, i) != nil {
				<-time.After(20 * time.Millisecond)
			}
			one()
		}
	})
	sending.Go(func() {
		for i := range n {
			for {
				_, err := bob.TrySend(w.t.Context(), mxRoom, fmt.Sprint("m ", i), "burst"+strconv.Itoa(i))
				if err == nil {
					break
				}
				<-time.After(20 * time.Millisecond)
			}
			one()
		}
	})
	disturb(sent)
	sending.Wait()
	inMX := func() []string {
		return slices.DeleteFunc(only(saidOnMatrix(bob, mxRoom), w.alice()+": "), func(s string) bool { return strings.HasPrefix(s, "warming up") })
	}
	inRC := func() []string { return only(w.saidInRC(room), "bob_") }
	deadline := time.Now().Add(3 * time.Minute)
	for (len(inMX()) < n || len(inRC()) < n) && time.Now().Before(deadline) {
		<-time.After(100 * time.Millisecond)
	}
	// A Dendrite that was killed while it accepted a message may show it beside the copy that
	// the bridge sent again, until one is redacted.
	for takenBack := time.Now().Add(30 * time.Second); len(inMX()) > n && time.Now().Before(takenBack); {
		<-time.After(100 * time.Millisecond)
	}
	check := func(side, prefix string, got []string) {
		for i := range max(n, len(got)) {
			want := fmt.Sprint(prefix, i)
			if i >= len(got) || i >= n || got[i] != want {
				w.t.Errorf("%s: %d of %d messages; the first that is wrong is number %d: %s", side, len(got), n, i, around(got, i))
				return
			}
		}
	}
	check("Matrix", "r ", inMX())
	check("Rocket.Chat", "m ", inRC())
}

func around(got []string, i int) string {
	return fmt.Sprintf("%q", got[max(0, min(i, len(got))-2):min(len(got), i+4)])
}

// only returns what was said by people whose name has a prefix, without the name.
func only(said []string, prefix string) []string {
	var out []string
	for _, s := range said {
		if strings.HasPrefix(s, prefix) {
			out = append(out, s[strings.Index(s, ": ")+2:])
		}
	}
	return out
}

// rcSay posts in Rocket.Chat as a persistent client would: with its own ID, so that
// "already exists" is success.
func (w *world) rcSay(room string, i int) error {
	return w.rcSayAs(room, fmt.Sprintf("burst%012d", i), fmt.Sprint("r ", i))
}

// rcSayAs is rcSay with the given ID and text.
func (w *world) rcSayAs(room, id, text string) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("%v", r)
		}
	}()
	p := w.people["alice"]
	body := fmt.Sprintf(`{"message":{"_id":%q,"rid":%q,"msg":%q}}`, id, room, text)
	req, _ := http.NewRequest(http.MethodPost, w.rc.URL+"/api/v1/chat.sendMessage", strings.NewReader(body))
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("X-User-Id", p.ID)
	req.Header.Set("X-Auth-Token", p.Token)
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = res.Body.Close() }()
	if res.StatusCode == http.StatusOK || res.StatusCode == http.StatusBadRequest {
		return nil
	}
	return fmt.Errorf("status %d", res.StatusCode)
}

// burstSize is the number of messages each way: no more than a homeserver can follow that
// loses the order of more; see TestAFloodOnSynapse.
func burstSize(t testing.TB) int {
	software := mxtest.TraitsOf(t, mxtest.SoftwareOf(mxtest.Kind(t)).Kind)
	if software.FollowsAtMost > 0 {
		return software.FollowsAtMost * 9 / 10
	}
	return 200
}

// bridged returns a room of alice's with bob in it.
func (w *world) bridged() (room, mxRoom string, bob *mxtest.Person) {
	w.t.Helper()
	alice := w.rc.CreateUser("alice", "user", "bot") // bot: no rate limit
	w.people = map[string]rctest.Person{"alice": alice}
	bob = w.far.Register("bob", "Bob Builder")
	// A Dendrite (0.15) that is sent an event at the moment it joins may lose the room
	// for good ("room does not exist"). People would create another one.
	for _, name := range []string{"plans", "other-plans"} {
		room = w.rc.CreateRoom("p", name, "alice")
		w.must(alice, room, "bridge", "invite "+bob.ID)
		mxRoom, _ = bob.AcceptInvitation()
		mxtest.WaitFor(w.t, "bob to join in Rocket.Chat", func() bool {
			return slices.ContainsFunc(w.rc.Members(room), func(m string) bool { return strings.HasPrefix(m, "bob_localhost") })
		})
		if w.warmsUp(bob, mxRoom, room, 5) {
			return room, mxRoom, bob
		}
	}
	w.t.Fatal("the other server does not show what is said, in two rooms")
	return "", "", nil
}

// warmUp waits until a person's server shows messages: one that has just joined over
// federation can miss what is sent at the same moment, which is between the two
// servers.
func (w *world) warmUp(who *mxtest.Person, mxRoom, room string) {
	w.t.Helper()
	if !w.warmsUp(who, mxRoom, room, 10) {
		w.t.Fatal("the other server does not show what is said")
	}
}

// warmsUp reports whether the other server shows one of the given number of messages.
func (w *world) warmsUp(who *mxtest.Person, mxRoom, room string, tries int) bool {
	for n := range tries {
		text := fmt.Sprint("warming up ", n+1)
		w.rc.Say(room, "alice", text)
		for range 50 {
			if slices.Contains(saidOnMatrix(who, mxRoom), w.alice()+": "+text) {
				return true
			}
			<-time.After(100 * time.Millisecond)
		}
	}
	return false
}

// when waits until n messages have been sent.
func when(t *testing.T, sent func() int, n int) {
	t.Helper()
	for deadline := time.Now().Add(5 * time.Minute); sent() < n; {
		if time.Now().After(deadline) {
			t.Fatalf("%d messages were sent in five minutes, %d wanted", sent(), n)
		}
		<-time.After(5 * time.Millisecond)
	}
}

func TestNothingIsLostWhenTheBridgeIsKilled(t *testing.T) {
	t.Parallel()
	w := newWorld(t, &rctest.Server{Polite: true})
	room, mxRoom, bob := w.bridged()
	kill := w.spawnBridge()
	w.burst(burstSize(t), room, mxRoom, bob, func(sent func() int) {
		for n := burstSize(t) / 4; n < 2*burstSize(t); n += burstSize(t) * 3 / 4 {
			when(t, sent, n)
			kill()
			kill = w.spawnBridge()
		}
	})
}

func TestAFloodOnSynapse(t *testing.T) {
	if mxtest.Traits(t).FollowsAtMost == 0 {
		mustrun.Skip(t, "the homeserver keeps the order, which the other floods show; `make test` demands this with Synapse")
	}
	w := newWorld(t, &rctest.Server{Polite: true})
	room, mxRoom, bob := w.bridged()
	const n = 400
	want := make([]string, n)
	for i := range want {
		want[i] = fmt.Sprintf("m %03d", i)
		bob.Send(mxRoom, want[i])
	}
	var got []string
	deadline := time.Now().Add(2 * time.Minute)
	for len(got) < n && time.Now().Before(deadline) {
		got = only(w.saidInRC(room), "bob_")
		<-time.After(100 * time.Millisecond)
	}
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Errorf("%d of %d messages", len(got), n)
	}
}

func TestNothingIsLostWhenRocketChatIsKilled(t *testing.T) {
	t.Parallel()
	w := newWorld(t, &rctest.Server{Polite: true, Data: filepath.Join(t.TempDir(), "journal")})
	room, mxRoom, bob := w.bridged()
	w.burst(burstSize(t), room, mxRoom, bob, func(sent func() int) {
		for _, n := range []int{burstSize(t) / 2, burstSize(t) * 3 / 2} {
			when(t, sent, n)
			w.rc.Stop()
			w.rc.Restart()
		}
	})
}

func TestNothingIsLostWhenTheHomeserverIsKilled(t *testing.T) {
	t.Parallel()
	w := newWorld(t, &rctest.Server{Polite: true})
	room, mxRoom, bob := w.bridged()
	w.burst(burstSize(t), room, mxRoom, bob, func(sent func() int) {
		for _, n := range []int{burstSize(t) / 2, burstSize(t) * 3 / 2} {
			when(t, sent, n)
			w.home.Kill()
			w.home.Launch()
		}
	})
}

func TestNothingIsLostOnARudeServer(t *testing.T) {
	t.Parallel()
	w := newWorld(t, &rctest.Server{})
	room, mxRoom, bob := w.bridged()
	w.burst(burstSize(t)/2, room, mxRoom, bob, func(func() int) {})
}
