package bridge_test

import (
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"runtime/pprof"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"appliance/bridge/mustrun"
	"appliance/bridge/mxside/mxtest"
)

// profiles names the directory to which a bridge that is a process of its own writes
// its heap profile and its number of goroutines, each time it gets SIGUSR1.
const profiles = "APPLIANCE_TEST_BRIDGE_PROFILES"

// profile writes the files that profiles describes, until the process ends.
func profile(dir string) {
	asked := make(chan os.Signal, 1)
	signal.Notify(asked, syscall.SIGUSR1)
	for n := 1; ; n++ {
		<-asked
		runtime.GC()
		f, err := os.Create(filepath.Join(dir, fmt.Sprintf("heap-%03d", n))) //nolint:gosec // a folder of the test
		if err == nil {
			err = errors.Join(pprof.WriteHeapProfile(f), f.Close())
		}
		tmp := filepath.Join(dir, "goroutines.tmp")
		if err := errors.Join(err, os.WriteFile(tmp, []byte(strconv.Itoa(runtime.NumGoroutine())), 0o600), os.Rename(tmp, filepath.Join(dir, fmt.Sprintf("goroutines-%03d", n)))); err != nil {
			fmt.Fprintln(os.Stderr, "profile:", err)
		}
	}
}

// usage is what a bridge uses at a moment.
type usage struct {
	rss, database, wal int64 // bytes
	goroutines, files  int
	carried            int // messages so far, both ways
}

// measure returns what the bridge's process uses.
func (m *mortal) measure(dir string, n, carried int) usage {
	m.t.Helper()
	m.mu.Lock()
	process := m.cmd.Process
	m.mu.Unlock()
	if err := process.Signal(syscall.SIGUSR1); err != nil {
		m.t.Fatal(err)
	}
	u := usage{carried: carried}
	mxtest.WaitFor(m.t, "the bridge to count its goroutines", func() bool {
		text, err := os.ReadFile(filepath.Join(dir, fmt.Sprintf("goroutines-%03d", n)))
		u.goroutines, _ = strconv.Atoi(string(text))
		return err == nil
	})
	files, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", process.Pid))
	if err != nil {
		m.t.Fatal(err)
	}
	u.files = len(files)
	status, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", process.Pid))
	for line := range strings.Lines(string(status)) {
		if f := strings.Fields(line); len(f) > 1 && f[0] == "VmRSS:" {
			kb, _ := strconv.ParseInt(f[1], 10, 64)
			u.rss = kb << 10
		}
	}
	for name, size := range map[string]*int64{"bridge.db": &u.database, "bridge.db-wal": &u.wal} {
		if info, err := os.Stat(filepath.Join(m.dir, name)); err == nil {
			*size = info.Size()
		}
	}
	return u
}

// soakRooms is the number of rooms in which people talk in TestSoak.
const soakRooms = 4

// People talk for as long as APPLIANCE_SOAK_FOR says, and the bridge uses no more memory,
// goroutines and file descriptors than after a third of that time, or after ten minutes;
// its database grows by what it has to remember.
func TestSoak(t *testing.T) {
	text := os.Getenv("APPLIANCE_SOAK_FOR")
	if text == "" {
		mustrun.Skip(t, "it takes as long as APPLIANCE_SOAK_FOR says; make soak runs it")
	}
	length, err := time.ParseDuration(text)
	if err != nil {
		t.Fatal(err)
	}
	dir := os.Getenv(profiles)
	if dir == "" {
		dir = t.TempDir()
		t.Setenv(profiles, dir)
	}
	m := newMortal(t, "")
	var rooms []*talk
	for n := range soakRooms {
		k := &talk{stage: &stage{world: m.world}, n: n}
		k.meet()
		rooms = append(rooms, k)
	}
	every, warm := time.Minute, min(10*time.Minute, length/3)
	if length < 5*time.Minute {
		every = length / 10
	}
	t.Logf("%8s %9s %8s %10s %6s %9s %8s", "after", "carried", "RSS MB", "goroutines", "files", "DB MB", "WAL MB")
	var seen []usage
	var settled int // the number of measurements in the warm-up
	start, next := time.Now(), time.Now().Add(every)
	for round := 0; time.Since(start) < length; round++ {
		for _, k := range rooms {
			k.chat(round)
		}
		last := rooms[round%soakRooms]
		last.findText(fmt.Sprint("r ", round))
		last.messageText(fmt.Sprint("m ", round))
		if time.Now().After(next) {
			next = next.Add(every)
			u := m.measure(dir, len(seen)+1, (round+1)*2*soakRooms)
			seen = append(seen, u)
			t.Logf("%8s %9d %8.1f %10d %6d %9.2f %8.2f", time.Since(start).Round(time.Second), u.carried, float64(u.rss)/1e6, u.goroutines, u.files, float64(u.database)/1e6, float64(u.wal)/1e6)
			if time.Since(start) <= warm {
				settled = len(seen)
			}
		}
	}
	if settled == 0 || settled == len(seen) {
		t.Fatalf("%d measurements, %d of them while it warmed up", len(seen), settled)
	}
	judge(t, seen[:settled], seen[settled:])
	for n, k := range rooms {
		if dead := k.asked("GET", "/queue/dead", ""); n == 0 && dead != "[]\n" {
			t.Errorf("dead letters: %s", dead)
		}
	}
}

// chat does what happens in a room in each round.
func (k *talk) chat(round int) {
	k.t.Helper()
	here := k.rc.Say(k.room, k.alice.Username, fmt.Sprint("r ", round))
	there := k.bob.Send(k.mxRoom, fmt.Sprint("m ", round))
	k.rc.React(here, k.alice.Username, "smile")
	k.bobReacts(there, "🎉")
	k.rc.Typing(k.room, k.alice.Username, round%2 == 0)
	k.bobTypes(round%2 == 0)
	switch round % 10 {
	case 1:
		k.bobEdits(there, fmt.Sprint("m ", round, " edited"))
		k.rc.Edit(here, k.alice.Username, fmt.Sprint("r ", round, " edited"))
		k.bob.Send(k.mxRoom, fmt.Sprint("m ", round))
		k.rc.Say(k.room, k.alice.Username, fmt.Sprint("r ", round))
	case 2:
		k.rc.Reply(k.room, k.alice.Username, here, "in a thread")
	case 3:
		k.rc.Upload(k.room, k.alice.Username, "r.png", "image/png", append(picture(20, 20), byte(round), byte(round>>8), byte(k.n)), "")
	case 4:
		k.rc.Invite(k.room, k.alice.Username, k.erin.Username)
	case 6:
		k.rc.SetTopic(k.room, k.alice.Username, fmt.Sprint("topic ", round))
	case 8:
		k.rc.Leave(k.room, k.erin.Username)
	case 9:
		k.rc.Delete(k.rc.Say(k.room, k.alice.Username, "regretted"), k.alice.Username)
	}
	<-time.After(50 * time.Millisecond) // people, and not a flood
}

// judge compares what a bridge used while it warmed up with what it used later.
func judge(t *testing.T, before, after []usage) {
	t.Helper()
	most := func(all []usage, of func(usage) int64) (n int64) {
		for _, u := range all {
			n = max(n, of(u))
		}
		return n
	}
	for _, l := range []struct {
		what string
		of   func(usage) int64
		more func(n int64) int64
	}{
		{"RSS", func(u usage) int64 { return u.rss }, func(n int64) int64 { return n + n/4 + 4<<20 }},
		{"goroutines", func(u usage) int64 { return int64(u.goroutines) }, func(n int64) int64 { return n + 16 }},
		{"open files", func(u usage) int64 { return int64(u.files) }, func(n int64) int64 { return n + 16 }},
		{"the log of the database", func(u usage) int64 { return u.wal }, func(n int64) int64 { return max(2*n, 16<<20) }},
	} {
		if was, is := most(before, l.of), most(after, l.of); is > l.more(was) {
			t.Errorf("%s: at most %d while it warmed up, %d later", l.what, was, is)
		}
	}
	// A message is remembered with its link, its reaction and the IDs of their items.
	first, last := before[len(before)-1], after[len(after)-1]
	if each := (last.database - first.database) / int64(max(1, last.carried-first.carried)); each > 4096 {
		t.Errorf("the database grows by %d bytes for each message", each)
	}
}
