package bridge_test

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"appliance/bridge/mxside/mxtest"
	"appliance/bridge/rocketchat/rctest"
)

// busyRooms is how many rooms talk at once in benchmarks.
const busyRooms = 64

// processor returns how much processor time this process has used: unlike the
// clock it does not count what others on the machine do.
func processor() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u) // cannot fail
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// report says how many messages were carried in a second, and what one cost both
// test servers and the bridge together.
func report(b *testing.B, before time.Duration) {
	b.Helper()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "messages/s")
	b.ReportMetric(float64((processor()-before).Microseconds())/float64(b.N), "cpu-µs/message")
}

// BenchmarkToMatrix is how fast what is said in 64 rooms of Rocket.Chat comes out
// on a homeserver that answers at once; each message is on disk before it is
// carried. The second figure is with a large database.
func BenchmarkToMatrix(b *testing.B) {
	for _, links := range []int{0, 200_000} {
		b.Run(fmt.Sprintf("links=%d", links), func(b *testing.B) {
			in := newInstant(b)
			in.start(b, busyRooms, links)
			for i := range busyRooms { // everybody joins
				in.say(b, i, fmt.Sprint("first", i), "")
			}
			in.wait(b, busyRooms)
			used := processor()
			b.ResetTimer()
			for i := range b.N {
				in.say(b, i%busyRooms, fmt.Sprint("m", i), "")
			}
			in.wait(b, b.N)
			report(b, used)
		})
	}
}

// BenchmarkToRocketChat is the other direction: transactions of a hundred events.
func BenchmarkToRocketChat(b *testing.B) {
	in := newInstant(b)
	url := in.start(b, busyRooms, 0)
	settle(b)
	n := 0
	b.Run("steady", func(b *testing.B) {
		used := processor()
		b.ResetTimer()
		for sent := 0; sent < b.N; {
			var events []string
			for len(events) < 100 && sent < b.N {
				n++
				sent++
				events = append(events, matrixEvent(n%busyRooms, fmt.Sprint("$e", n)))
			}
			in.push(b, url, events)
		}
		in.wait(b, b.N)
		report(b, used)
	})
}

// settle waits until the bridge does not doubt any more what the homeserver sends:
// for two minutes after a start it looks for what came before each transaction.
func settle(b *testing.B) {
	b.Helper()
	b.Log("waiting for two minutes: the bridge has just started")
	time.Sleep(2*time.Minute + 5*time.Second)
}

// BenchmarkDelay is how long one message takes through an idle bridge, when both
// sides answer at once: what the bridge adds.
func BenchmarkDelay(b *testing.B) {
	in := newInstant(b)
	url := in.start(b, 1, 0)
	in.say(b, 0, "first", "")
	in.wait(b, 1)
	settle(b)
	for name, one := range map[string]func(i int){
		"ToMatrix":     func(i int) { in.say(b, 0, fmt.Sprint("m", i), "") },
		"ToRocketChat": func(i int) { in.push(b, url, []string{matrixEvent(0, fmt.Sprint("$e", i))}) },
	} {
		n := 0
		b.Run(name, func(b *testing.B) {
			var took []time.Duration
			for range b.N {
				n++
				start := time.Now()
				one(n)
				in.wait(b, 1)
				took = append(took, time.Since(start))
			}
			slices.Sort(took)
			b.ReportMetric(float64(took[len(took)/2].Microseconds())/1000, "p50-ms")
			b.ReportMetric(float64(took[len(took)*99/100].Microseconds())/1000, "p99-ms")
		})
	}
}

// BenchmarkFile carries a file of 200 MB and reports the most memory that it
// took, of the bridge and both test servers together.
func BenchmarkFile(b *testing.B) {
	in := newInstant(b)
	in.file = 200 << 20
	in.start(b, 1, 0)
	in.say(b, 0, "first", "")
	in.wait(b, 1)
	var most uint64
	for i := range b.N {
		runtime.GC()
		var before, now runtime.MemStats
		runtime.ReadMemStats(&before)
		in.say(b, 0, fmt.Sprint("film", i), fmt.Sprintf(`,"files":[{"_id":"f%d","name":"film.zip","type":"application/zip","size":%d}],"attachments":[{"type":"file","title":"film.zip","title_link":"/file-upload/f%d/film.zip"}]`, i, in.file, i))
		for done := false; !done; {
			select {
			case <-in.arrived:
				done = true
			case <-time.After(5 * time.Millisecond):
				runtime.ReadMemStats(&now)
				most = max(most, now.HeapInuse+now.StackInuse-min(before.HeapInuse+before.StackInuse, now.HeapInuse+now.StackInuse))
			}
		}
	}
	b.SetBytes(in.file)
	b.ReportMetric(float64(most)/(1<<20), "extra-MB")
}

// BenchmarkLargeInstallation starts the program with 10,000 rooms, 100,000 people
// and 1,000,000 links in its database, and reports how long it takes until it is
// ready and until every room is read, and its memory then.
func BenchmarkLargeInstallation(b *testing.B) {
	program := filepath.Join(b.TempDir(), "appliance")
	build := exec.Command("go", "build", "-o", program, "appliance/cmd/appliance")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		b.Fatalf("%v: %s", err, out)
	}
	for _, size := range []struct{ rooms, ghosts, links int }{{0, 0, 0}, {10_000, 100_000, 1_000_000}} {
		b.Run(fmt.Sprintf("rooms=%d", size.rooms), func(b *testing.B) {
			dir := b.TempDir()
			filled(b, filepath.Join(dir, "bridge.db"), size.rooms, size.ghosts, size.links)
			b.ResetTimer()
			for range b.N {
				launch(b, program, dir, size.rooms)
			}
		})
	}
}

func launch(b *testing.B, program, dir string, rooms int) {
	in := newInstant(b)
	file, url := in.configure(b, dir, mxtest.FreePort(b))
	ctx, cancel := context.WithCancel(b.Context())
	cmd := exec.CommandContext(ctx, program, "bridge", "--config", file)
	cmd.Stdout, cmd.Stderr = b.Output(), b.Output()
	start := time.Now()
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	defer func() { cancel(); _ = cmd.Wait() }()
	for {
		res, err := http.Get(url + "/ready")
		if err == nil {
			_ = res.Body.Close()
			if res.StatusCode == http.StatusOK {
				break
			}
		}
		if time.Since(start) > 5*time.Minute {
			b.Fatal("not ready after five minutes")
		}
		time.Sleep(5 * time.Millisecond)
	}
	b.ReportMetric(time.Since(start).Seconds(), "ready-s")
	for in.subscribed.Load() < 3*int64(rooms) && time.Since(start) < 5*time.Minute {
		time.Sleep(5 * time.Millisecond)
	}
	b.ReportMetric(time.Since(start).Seconds(), "read-s")
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", cmd.Process.Pid))
	if err != nil {
		b.Fatal(err)
	}
	for line := range strings.Lines(string(status)) {
		if fields := strings.Fields(line); len(fields) > 1 && fields[0] == "VmRSS:" {
			kb, _ := strconv.ParseFloat(fields[1], 64)
			b.ReportMetric(kb/1024, "RSS-MB")
		}
	}
}

// BenchmarkDendrite sends messages to one room of a real Dendrite, straight and
// through the bridge in turns of fifty, and reports how fast the bridge is in
// comparison: 1 is as fast as without it.
func BenchmarkDendrite(b *testing.B) {
	const turn = 50
	w := newWorld(b, &rctest.Server{Polite: true})
	room, mxRoom, bob := w.bridged()
	home := w.home.Register("dave", "Dave")
	straight := home.CreateRoom("straight", false, bob.ID)
	if joined, _ := bob.AcceptInvitation(); joined != straight {
		b.Fatal("bob joined another room")
	}
	var direct, bridged time.Duration
	sent := w.delivered()
	b.ResetTimer()
	for i := range b.N {
		start := time.Now()
		for n := range turn {
			home.Send(straight, fmt.Sprintf("straight %d %d", i, n))
		}
		direct += time.Since(start)
		start = time.Now()
		for n := range turn {
			w.rc.Say(room, "alice", fmt.Sprintf("bridged %d %d", i, n))
		}
		sent += turn
		w.log.wait(sent)
		bridged += time.Since(start)
	}
	b.StopTimer()
	mxtest.WaitFor(b, "everything on the other server", func() bool { return len(saidOnMatrix(bob, mxRoom)) >= sent })
	b.ReportMetric(direct.Seconds()/bridged.Seconds(), "of-straight")
	b.ReportMetric(float64(b.N*turn)/bridged.Seconds(), "messages/s")
}
