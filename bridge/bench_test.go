package bridge_test

import (
	"fmt"
	"net/http"
	"net/url"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"appliance/bridge/mxside/mxtest"
	"appliance/bridge/rocketchat/rctest"
)

// busyRooms is the number of rooms that talk at once in benchmarks.
const busyRooms = 64

// processor returns the processor time this process has used. Unlike wall-clock
// time, it excludes other load on the machine.
func processor() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u) // cannot fail
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// report reports the messages carried per second, and the processor time per message
// of the bridge and both test servers together.
func report(b *testing.B, before time.Duration) {
	b.Helper()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "messages/s")
	b.ReportMetric(float64((processor()-before).Microseconds())/float64(b.N), "cpu-µs/message")
}

// BenchmarkToMatrix measures how fast messages from 64 Rocket.Chat rooms reach a
// homeserver that answers at once. Each message is on disk before it is carried. The
// second figure is with a large database.
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

// BenchmarkToRocketChat measures the other direction, with transactions of a hundred events.
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

// settle waits until the bridge trusts what the homeserver sends: for two minutes
// after a start it looks for events that preceded each transaction.
func settle(b *testing.B) {
	b.Helper()
	b.Log("waiting for two minutes: the bridge has just started")
	time.Sleep(2*time.Minute + 5*time.Second)
}

// BenchmarkDelay measures how long one message takes through an idle bridge when
// both sides answer at once: the delay the bridge adds.
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

// BenchmarkFile carries a 200 MB file and reports the peak memory of the bridge and
// both test servers together.
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
	if got, want := in.uploaded.Load(), in.file*int64(b.N); got != want {
		b.Fatalf("%d bytes arrived, want %d", got, want)
	}
	b.SetBytes(in.file)
	b.ReportMetric(float64(most)/(1<<20), "extra-MB")
}

// BenchmarkLargeInstallation starts the program with 10,000 rooms, 100,000 people
// and 1,000,000 links in its database. It reports how long it takes until it is
// ready and until every room has been read, and its memory use at that point.
func BenchmarkLargeInstallation(b *testing.B) {
	program := buildProgram(b)
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
	start := time.Now()
	pid, stop := runProgram(b, program, file, url)
	defer stop()
	b.ReportMetric(time.Since(start).Seconds(), "ready-s")
	for in.synced.Load() < 2*int64(rooms) && time.Since(start) < 5*time.Minute {
		time.Sleep(5 * time.Millisecond)
	}
	b.ReportMetric(time.Since(start).Seconds(), "read-s")
	b.ReportMetric(footprintOf(b, pid).all, "RSS-MB")
}

// BenchmarkDendrite sends messages to a real Dendrite, directly and through the
// bridge in turns, and reports the bridge's relative speed: 1 is as fast as without
// it. Directly means one client per room that sends the next message when the last
// one is answered, as the bridge does. What a message costs Dendrite grows with its
// room's state and local members, so both kinds of rooms have the same number of
// each, and nobody is notified in either. What Dendrite spends on pushing each
// message to the bridge counts as the bridge's.
func BenchmarkDendrite(b *testing.B) {
	for _, rooms := range []int{1, 8, busyRooms} {
		b.Run(fmt.Sprintf("rooms=%d", rooms), func(b *testing.B) { againstStraight(b, rooms) })
	}
}

func againstStraight(b *testing.B, rooms int) {
	turn := max(48, rooms) // messages in all rooms together
	w := newWorld(b, &rctest.Server{Polite: true})
	room, mxRoom, bob := w.bridged()
	bridgedRooms, mxRooms := []string{room}, []string{mxRoom}
	for i := 1; i < rooms; i++ {
		room = w.rc.CreateRoom("p", fmt.Sprint("plans", i), "alice")
		w.must(w.people["alice"], room, "bridge", "invite "+bob.ID)
		mxRoom, _ = bob.AcceptInvitation()
		w.warmUp(bob, mxRoom, room)
		bridgedRooms, mxRooms = append(bridgedRooms, room), append(mxRooms, mxRoom)
	}
	dave, carol := w.home.Register("dave", "Dave"), w.home.Register("carol", "Carol")
	carol.Must(http.MethodPut, "/_matrix/client/v3/pushrules/global/override/.m.rule.master/enabled", map[string]bool{"enabled": true}, nil)
	straightRooms := make([]string, rooms)
	for i := range straightRooms {
		straightRooms[i] = likeIt(b, mxRooms[i], dave, carol, bob)
	}
	sent := w.delivered()
	turns := func(i int) (direct, bridged time.Duration) {
		start := time.Now()
		var sending sync.WaitGroup
		for _, room := range straightRooms {
			sending.Go(func() {
				for n := range turn / rooms {
					dave.Send(room, fmt.Sprintf("straight %d %d", i, n))
				}
			})
		}
		sending.Wait()
		direct = time.Since(start)
		start = time.Now()
		for n := range turn {
			w.rc.Say(bridgedRooms[n%rooms], "alice", fmt.Sprintf("bridged %d %d", i, n))
		}
		sent += turn
		w.log.wait(sent)
		return direct, time.Since(start)
	}
	turns(-1) // the bridged rooms are older: the homeserver has to reload them first
	var direct, bridged time.Duration
	b.ResetTimer()
	for i := range b.N {
		straight, through := turns(i)
		direct, bridged = direct+straight, bridged+through
	}
	b.StopTimer()
	mxtest.WaitFor(b, "everything on the other server", func() bool {
		said := 0
		for _, room := range mxRooms {
			said += len(only(saidOnMatrix(bob, room), w.alice()+": bridged"))
		}
		return said == (1+b.N)*turn
	})
	b.ReportMetric(direct.Seconds()/bridged.Seconds(), "of-straight")
	b.ReportMetric(float64(b.N*turn)/bridged.Seconds(), "messages/s")
}

// likeIt creates a room of two local people with as many state events as the given
// room, and adds the remote person.
func likeIt(b *testing.B, like string, creator, local, remote *mxtest.Person) string {
	b.Helper()
	room := creator.CreateRoom("straight", false, remote.ID)
	if joined, _ := remote.AcceptInvitation(); joined != room {
		b.Fatal("the remote one joined another room")
	}
	creator.Must(http.MethodPost, "/_matrix/client/v3/rooms/"+url.PathEscape(room)+"/invite", map[string]string{"user_id": local.ID}, nil)
	local.AcceptInvitation()
	for n := states(creator, room); n < states(remote, like); n++ {
		creator.Must(http.MethodPut, fmt.Sprintf("/_matrix/client/v3/rooms/%s/state/test.filler/%d", url.PathEscape(room), n), map[string]any{}, nil)
	}
	return room
}

// states counts the state events that a room has had.
func states(p *mxtest.Person, room string) int {
	n := 0
	for _, e := range p.Events(room) {
		if _, ok := e["state_key"]; ok {
			n++
		}
	}
	return n
}
