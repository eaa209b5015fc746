package bridge_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"appliance/bridge/mxside/mxtest"
	"appliance/bridge/rocketchat/rctest"
)

// The load of BenchmarkOther: the rooms, at most, and the turns of each competitor.
const (
	contestRooms = busyRooms
	contestTurns = 5
	floodRooms   = 8
	floodSize    = 320
)

// BenchmarkOther puts the same load through this bridge, through matterbridge and straight to
// the far server, in turns: between the same Rocket.Chat and the same homeserver, for the same
// people, in rooms of the same kind. Either bridge is a process of its own. The load is one
// message at a time in each of 1, 8 and 64 rooms, and then some hundred at once; a person on
// the far side sees what comes out.
func BenchmarkOther(b *testing.B) {
	program := os.Getenv("APPLIANCE_MATTERBRIDGE")
	if program == "" {
		b.Skip("APPLIANCE_MATTERBRIDGE is not set; make bench PARTS=other sets it")
	}
	c := newContest(b)
	all := []competitor{{"appliance", c.appliance()}, {name: "matterbridge"}, {"straight", c.straight()}}
	theirs := c.newMatterbridge(program)
	settle(b)
	for _, rooms := range []int{1, 8, contestRooms} {
		all[1].ways = theirs.start(rooms)
		for _, direction := range []string{"to-matrix", "to-rocketchat"} {
			inTurns(b, fmt.Sprintf("rooms=%d,%s", rooms, direction), all, contestTurns, func(c competitor, o *outcome) {
				c.ways[direction].load(b, rooms, max(48, rooms), o)
			})
		}
	}
	all[1].ways = theirs.start(floodRooms)
	for _, direction := range []string{"to-rocketchat", "to-matrix"} {
		inTurns(b, fmt.Sprintf("flood,rooms=%d,%s", floodRooms, direction), all, 1, func(c competitor, o *outcome) {
			c.ways[direction].flood(b, floodRooms, floodSize, o)
		})
	}
}

// competitor is a bridge that carries messages, or no bridge at all.
type competitor struct {
	name string
	ways map[string]way
}

// inTurns runs each competitor several times, in turns, so that other load on the machine
// affects all of them alike.
func inTurns(b *testing.B, name string, all []competitor, turns int, one func(competitor, *outcome)) {
	outcomes := make([]outcome, len(all))
	for range turns {
		for i, c := range all {
			one(c, &outcomes[i])
		}
	}
	for i, c := range all {
		b.Run(name+","+c.name, outcomes[i].report)
	}
}

// contest is two servers on which two bridges work side by side, in rooms of their own, for
// alice of Rocket.Chat and bob of Matrix.
type contest struct {
	*world
	b      *testing.B
	alice  rctest.Person
	bob    *mxtest.Person
	onRC   anybody // alice
	onMX   anybody // bob
	hook   string  // the path of matterbridge's incoming webhook, with its secret
	hookBy string  // the account that posts what arrives there
}

// newContest starts the servers. The homeserver is the bridge's own and bob's, so that nothing
// has to federate.
func newContest(b *testing.B) *contest {
	b.Helper()
	c := &contest{b: b, hook: "/hooks/6b0786430e92cbe72ba78cfc/token-of-the-webhook"}
	home := mxtest.Kind(b)
	spec := worldSpec{namespace: "prefixed", home: home, far: mxtest.Dendrite, version: roomVersion(b, home), noBridge: true}
	c.world = spec.prepare(b, &rctest.Server{Polite: true, Simulator: true, OnRequest: c.incoming})
	c.home.Start(c.registration)
	spec.run(c.world)
	c.alice = c.rc.CreateUser("alice", "user", "bot") // bot: no rate limit
	c.bob = c.home.Register("bob", "Bob Builder")
	c.onRC, c.onMX = onRocketChat(c.rc.URL, c.alice.ID, c.alice.Token), onMatrix(c.home.URL, c.bob.Token)
	return c
}

// between returns both ways between pairs of rooms: alice writes and bob hears, and the other
// way round.
func (c *contest) between(rcRooms, mxRooms []string) (toMX, toRC way) {
	c.b.Helper()
	toMX = way{ear: newEar(), say: postingAs(c.onRC, rcRooms)}
	toRC = way{ear: newEar(), say: sendingAs(c.onMX, mxRooms)}
	c.listen(toMX.ear, toRC.ear, rcRooms, mxRooms)
	return toMX, toRC
}

// carried returns the ways of between once a process carries messages there, as one message
// each way in each room confirms.
func (c *contest) carried(what string, pid, rooms int, toMX, toRC way) map[string]way {
	c.b.Helper()
	toMX.pid, toRC.pid = pid, pid
	for room := range rooms {
		for _, w := range []way{toMX, toRC} {
			if err := w.warmUp(c.b, what, room); err != nil {
				c.b.Fatal(err)
			}
		}
	}
	return map[string]way{"to-matrix": toMX, "to-rocketchat": toRC}
}

func (c *contest) listen(onMX, onRC *ear, rcRooms, mxRooms []string) {
	c.b.Helper()
	if err := onMX.onMatrixHears(c.b, c.onMX, mxRooms); err != nil {
		c.b.Fatal(err)
	}
	if err := onRC.onRocketChatHears(c.b, c.rc.URL, c.alice.Token, rcRooms); err != nil {
		c.b.Fatal(err)
	}
}

// appliance starts this bridge, the program itself, and connects its rooms as people do.
func (c *contest) appliance() map[string]way {
	c.b.Helper()
	program := filepath.Join(c.b.TempDir(), "appliance")
	build := exec.CommandContext(c.b.Context(), "go", "build", "-trimpath", "-o", program, "appliance/cmd/appliance")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		c.b.Fatalf("%v: %s", err, out)
	}
	pid, _, _ := c.child(program, "bridge", "--config", filepath.Join(c.dir, "bridge.yaml"))
	mxtest.WaitFor(c.b, "the bridge to be ready", func() bool {
		res, err := http.Get(c.url + "/ready")
		if err != nil {
			return false
		}
		_ = res.Body.Close()
		return res.StatusCode == http.StatusOK
	})
	var rcRooms, mxRooms []string
	for n := range contestRooms {
		rcRooms = append(rcRooms, c.rc.CreateChannel(fmt.Sprint("ours", n), "alice"))
		c.must(c.alice, rcRooms[n], "bridge", "invite "+c.bob.ID)
		room, _ := c.bob.AcceptInvitation()
		mxRooms = append(mxRooms, room)
	}
	toMX, toRC := c.between(rcRooms, mxRooms)
	return c.carried("the bridge", pid, contestRooms, toMX, toRC)
}

// matterbridge is that bridge, with its accounts and rooms: on Matrix it has a token, in
// Rocket.Chat a token for reading and an incoming webhook for writing. Without the webhook it
// cannot write to a current Rocket.Chat; see docs/performance.md.
type matterbridge struct {
	*contest
	program    string
	onRC       rctest.Person
	onMX       *mxtest.Person
	mxRooms    []string
	toMX, toRC way
	stop       func()
}

func (c *contest) newMatterbridge(program string) *matterbridge {
	c.b.Helper()
	m := &matterbridge{contest: c, program: program, stop: func() {}}
	m.onRC, m.onMX = c.rc.CreateUser("matterbridge", "user", "bot"), c.home.Register("matterbridge", "matterbridge")
	c.hookBy = m.onRC.Username
	var rcRooms []string
	for n := range contestRooms {
		rcRooms = append(rcRooms, c.rc.CreateChannel(gatewayName(n), "alice", m.onRC.Username))
		m.mxRooms = append(m.mxRooms, c.bob.CreateRoom(gatewayName(n), false, m.onMX.ID))
	}
	m.toMX, m.toRC = c.between(rcRooms, m.mxRooms)
	return m
}

func gatewayName(n int) string { return fmt.Sprint("theirs", n) }

// start starts matterbridge with a gateway for each pair of rooms.
func (m *matterbridge) start(rooms int) map[string]way {
	m.b.Helper()
	m.stop()
	var config strings.Builder
	fmt.Fprintf(&config, "[matrix.there]\nServer=%q\nMxID=%q\nToken=%q\nRemoteNickFormat=\"<{NICK}> \"\n", m.home.URL, m.onMX.ID, m.onMX.Token)
	fmt.Fprintf(&config, "[rocketchat.here]\nServer=%[1]q\nLogin=%[2]q\nToken=%[3]q\nNick=%[4]q\nRemoteNickFormat=\"{NICK}\"\nWebhookURL=%[5]q\n",
		m.rc.URL, m.onRC.ID, m.onRC.Token, m.onRC.Username, m.rc.URL+m.hook)
	for n := range rooms {
		fmt.Fprintf(&config, "[[gateway]]\nname=%[1]q\nenable=true\n[[gateway.inout]]\naccount=\"rocketchat.here\"\nchannel=%[1]q\n[[gateway.inout]]\naccount=\"matrix.there\"\nchannel=%[2]q\n", gatewayName(n), m.mxRooms[n])
	}
	file := filepath.Join(m.b.TempDir(), "matterbridge.toml")
	if err := os.WriteFile(file, []byte(config.String()), 0o600); err != nil {
		m.b.Fatal(err)
	}
	pid, log, stop := m.child(m.program, "-conf", file)
	m.stop = stop
	mxtest.WaitFor(m.b, "matterbridge to have joined its rooms", func() bool {
		text, err := os.ReadFile(log)
		return err == nil && strings.Contains(string(text), "Now relaying messages")
	})
	return m.carried("matterbridge", pid, rooms, m.toMX, m.toRC)
}

// incoming stands in for Rocket.Chat's incoming webhooks, which the simulator lacks: it
// posts messages as the webhook's account does, under the given name.
func (c *contest) incoming(w http.ResponseWriter, r *http.Request) bool {
	if r.URL.Path != c.hook {
		return false
	}
	var said struct {
		Channel, Text string
		Username      string
		Icon          string `json:"icon_url"`
	}
	err := json.NewDecoder(r.Body).Decode(&said)
	if err == nil {
		more := map[string]any{"alias": said.Username, "groupable": false, "parseUrls": true, "attachments": []any{}, "bot": map[string]any{"i": "6b0786430e92cbe72ba78cfc"}}
		if said.Icon != "" {
			more["avatar"] = said.Icon
		}
		_, err = c.rc.Engine().Say(said.Channel, c.hookBy, strings.TrimSpace(said.Text), more)
	}
	w.Header().Set("Content-Type", "application/json")
	if err != nil {
		w.WriteHeader(http.StatusBadRequest)
		_ = json.NewEncoder(w).Encode(map[string]any{"success": false, "error": err.Error()})
		return true
	}
	_ = json.NewEncoder(w).Encode(map[string]any{"success": true})
	return true
}

// straight returns the ways without a bridge: carol writes on the far side itself, where bob or alice reads.
func (c *contest) straight() map[string]way {
	c.b.Helper()
	carol, onMX := c.rc.CreateUser("carol", "user", "bot"), c.home.Register("carol", "Carol")
	var rcRooms, mxRooms []string
	for n := range contestRooms {
		rcRooms = append(rcRooms, c.rc.CreateChannel(fmt.Sprint("straight", n), "alice", "carol"))
		room := c.bob.CreateRoom(fmt.Sprint("straight", n), false, onMX.ID)
		onMX.AcceptInvitation()
		mxRooms = append(mxRooms, room)
	}
	toMX := way{ear: newEar(), say: sendingAs(onMatrix(c.home.URL, onMX.Token), mxRooms)}
	toRC := way{ear: newEar(), say: postingAs(onRocketChat(c.rc.URL, carol.ID, carol.Token), rcRooms)}
	c.listen(toMX.ear, toRC.ear, rcRooms, mxRooms)
	return map[string]way{"to-matrix": toMX, "to-rocketchat": toRC}
}

// child starts a program that ends with the benchmark, and returns its process ID, its log and
// a function that ends it sooner.
func (c *contest) child(program string, args ...string) (pid int, log string, stop func()) {
	c.b.Helper()
	log = filepath.Join(c.b.TempDir(), "log")
	out, err := os.OpenFile(log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		c.b.Fatal(err)
	}
	cmd := exec.Command(program, args...) //nolint:gosec,noctx // it ends with the cleanup
	cmd.Stdout, cmd.Stderr, cmd.Dir = out, out, c.b.TempDir()
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		c.b.Fatal(err)
	}
	stop = sync.OnceFunc(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		_ = out.Close()
	})
	c.b.Cleanup(func() {
		stop()
		if c.b.Failed() || testing.Verbose() {
			text, _ := os.ReadFile(log)
			c.b.Logf("the end of the log of %s:\n%s", filepath.Base(program), text[max(0, len(text)-4000):])
		}
	})
	return cmd.Process.Pid, log, stop
}
