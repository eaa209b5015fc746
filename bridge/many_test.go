package bridge_test

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"appliance/bridge/ids"
	"appliance/bridge/mustrun"
	"appliance/bridge/mxside/mxtest"
	"appliance/bridge/relay/model"
	"appliance/bridge/rocketchat/rctest"
	"appliance/bridge/secret"
	"appliance/bridge/store"
)

// manyRooms creates 1,000 rooms and 1,200 direct rooms, or a tenth of them, in Rocket.Chat and in a
// database of the bridge, and returns them.
func manyRooms(t *testing.T, rc *rctest.Server, database string) (all []string) {
	t.Helper()
	s, err := store.Open(t.Context(), "sqlite:"+database)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	put := func(p model.Portal) {
		p.Created = time.Now().Add(-time.Hour)
		p.MXRoom = ids.MXRoom("!" + string(p.RCRoom) + ":x")
		if err := s.PutPortal(t.Context(), p, nil, map[string]string{model.RCCursor(p.RCRoom): fmt.Sprint(time.Now().UnixMilli())}); err != nil {
			t.Fatal(err)
		}
		all = append(all, string(p.RCRoom))
	}
	for i := range mustrun.Sized(1000, 100) {
		put(model.Portal{RCRoom: ids.RCRoom(rc.CreateRoom("p", fmt.Sprint("room", i), "alice", rc.Bot().Username)), RCType: "p"})
	}
	for i := range mustrun.Sized(1200, 120) {
		u := rc.CreateUser(fmt.Sprint("bob", i), "user", "bot")
		p := model.Puppet{MXUser: ids.MXUser("@" + u.Username + ":far"), RCUser: ids.RCUser(u.ID), Username: u.Username, Name: "Bob", Token: secret.New(u.Token)}
		if err := s.PutPuppet(t.Context(), p); err != nil {
			t.Fatal(err)
		}
		put(model.Portal{RCRoom: ids.RCRoom(rc.CreateDirect("alice", u.Username)), RCType: "d", RCReader: p.MXUser})
	}
	return all
}

// The program with 1,000 rooms and 1,200 direct rooms (a tenth by default: see mustrun.Sized) on a Rocket.Chat with its own
// limits is ready, and has carried what was said while it was away, within 30 s and in
// 120 MB.
func TestAThousandRoomsFitIntoTheMemory(t *testing.T) {
	rc := &rctest.Server{Polite: true, Bridge: true, Settings: map[string]any{
		"DDP_Rate_Limit_User_By_Method_Enabled": false, "DDP_Rate_Limit_Connection_By_Method_Enabled": false,
	}}
	rc.Start(t)
	rc.Engine() // a real server takes hours for so many people; the simulator has the same limits
	program := filepath.Join(t.TempDir(), "appliance")
	build := exec.Command("go", "build", "-o", program, "appliance/cmd/appliance")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	rc.CreateUser("alice")
	dir := t.TempDir()
	all := manyRooms(t, rc, filepath.Join(dir, "bridge.db"))
	in := newInstant(t)
	file, url := in.configure(t, dir, mxtest.FreePort(t))
	adapt(t, file, in.rc.URL, rc.URL, "user_id: "+instantID, "user_id: "+rc.Bot().ID)
	for name, text := range map[string]string{"rc": rc.Bot().Token, "create": rc.CreateTokenSecret} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, room := range all {
		rc.Say(room, "alice", "said while the bridge was away")
	}
	ctx, stop := context.WithCancel(t.Context())
	cmd := exec.CommandContext(ctx, program, "bridge", "--config", file)
	cmd.Stdout, cmd.Stderr = t.Output(), t.Output()
	start := time.Now()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { stop(); _ = cmd.Wait() }()
	mxtest.WaitFor(t, "the bridge to be ready", func() bool {
		res, err := http.Get(url + "/ready")
		if err == nil {
			_ = res.Body.Close()
		}
		return err == nil && res.StatusCode == http.StatusOK
	})
	ready := time.Since(start)
	in.wait(t, len(all))
	carried := time.Since(start)
	memory := resident(t, cmd.Process.Pid)
	t.Logf("ready after %s, everything carried after %s, %d MB", ready, carried, memory>>20)
	if carried > 30*time.Second {
		t.Errorf("everything was carried only after %s", carried)
	}
	if memory > 120<<20 {
		t.Errorf("it takes %d MB", memory>>20)
	}
}

// adapt replaces texts in a file, in pairs.
func adapt(t *testing.T, file string, pairs ...string) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(strings.NewReplacer(pairs...).Replace(string(text))), 0o600); err != nil {
		t.Fatal(err)
	}
}

// resident returns the resident memory of a process, in bytes.
func resident(tb testing.TB, pid int) int64 {
	tb.Helper()
	return memory(tb, pid, "VmRSS:")
}

// memory returns a field of the kernel's status of a process, in bytes.
func memory(tb testing.TB, pid int, field string) int64 {
	tb.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		tb.Fatal(err)
	}
	for line := range strings.Lines(string(status)) {
		if fields := strings.Fields(line); len(fields) > 1 && fields[0] == field {
			kb, _ := strconv.ParseInt(fields[1], 10, 64)
			return kb << 10
		}
	}
	return 0
}
