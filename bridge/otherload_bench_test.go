package bridge_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"appliance/bridge/mxside/mxtest"
	"appliance/bridge/rocketchat"
	"appliance/bridge/rocketchat/ddp"
	"appliance/bridge/secret"
)

// Nothing in this file depends on a particular bridge: people write on one side and read on
// the other, through the client APIs of two servers, and whatever is in between carries it.

// anybody is a person who uses a server's client API.
type anybody struct {
	base    string
	headers map[string]string
}

// calls keeps a connection for each room.
var calls = &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: busyRooms + 2}, Timeout: time.Minute}

// call makes a request to the server; out may be nil.
func (a anybody) call(ctx context.Context, method, path string, body, out any) error {
	var payload io.Reader
	if body != nil {
		data, err := json.Marshal(body)
		if err != nil {
			return err
		}
		payload = bytes.NewReader(data)
	}
	req, err := http.NewRequestWithContext(ctx, method, a.base+path, payload)
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	for name, value := range a.headers {
		req.Header.Set(name, value)
	}
	res, err := calls.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = res.Body.Close() }()
	data, err := io.ReadAll(res.Body)
	if err != nil {
		return err
	}
	if res.StatusCode != http.StatusOK {
		return &notOK{res.StatusCode, fmt.Sprintf("%s %s: %s", method, path, data[:min(len(data), 300)])}
	}
	if out == nil {
		return nil
	}
	return json.Unmarshal(data, out)
}

// notOK is any response but 200.
type notOK struct {
	status int
	text   string
}

func (r *notOK) Error() string { return fmt.Sprintf("%d to %s", r.status, r.text) }

// onRocketChat returns a person who uses Rocket.Chat's client API.
func onRocketChat(base, id, token string) anybody {
	return anybody{base, map[string]string{"X-User-Id": id, "X-Auth-Token": token}}
}

// onMatrix returns a person who uses Matrix's.
func onMatrix(base, token string) anybody {
	return anybody{base, map[string]string{"Authorization": "Bearer " + token}}
}

// post sends a message to a Rocket.Chat room.
func (a anybody) post(ctx context.Context, room, text string) error {
	return a.call(ctx, http.MethodPost, "/api/v1/chat.sendMessage", map[string]any{"message": map[string]string{"rid": room, "msg": text}}, nil)
}

// txns numbers transaction IDs.
var txns atomic.Int64

// send sends a message to a Matrix room.
func (a anybody) send(ctx context.Context, room, text string) error {
	txn := strconv.FormatInt(time.Now().UnixNano(), 36) + "-" + strconv.FormatInt(txns.Add(1), 36)
	return a.call(ctx, http.MethodPut, "/_matrix/client/v3/rooms/"+url.PathEscape(room)+"/send/m.room.message/"+txn, map[string]string{"msgtype": "m.text", "body": text}, nil)
}

// ear collects what comes out in some rooms. The texts it listens for are marked: bridges
// put names before texts, and some add marks of their own.
type ear struct {
	mu    sync.Mutex
	heard map[string]*word
	order []string // marks in order of arrival
}

// word is one text that was written.
type word struct {
	out chan struct{}   // closed when it has come out
	ids map[string]bool // of the messages that it came out as
}

var mark = regexp.MustCompile(`bench[0-9]+r[0-9]+n[0-9]+e`)

func newEar() *ear { return &ear{heard: map[string]*word{}} }

// expect returns a channel that is closed when the marked text has come out.
func (e *ear) expect(marked string) <-chan struct{} {
	e.mu.Lock()
	defer e.mu.Unlock()
	w := &word{make(chan struct{}), map[string]bool{}}
	e.heard[marked] = w
	return w.out
}

// hear records one message.
func (e *ear) hear(id, text string) {
	marked := mark.FindString(text)
	if marked == "" {
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	w := e.heard[marked]
	if w == nil || w.ids[id] {
		return
	}
	w.ids[id] = true
	if len(w.ids) == 1 {
		e.order = append(e.order, marked)
		close(w.out)
	}
}

// forget begins a new run.
func (e *ear) forget() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.heard, e.order = map[string]*word{}, nil
}

// count returns how many texts were written, and how many of them have come out.
func (e *ear) count() (written, out int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return len(e.heard), len(e.order)
}

// silent waits until everything has come out, or nothing has for too long.
func (e *ear) silent() {
	for last, seen := time.Now(), -1; time.Since(last) < tooLong; <-time.After(5 * time.Millisecond) {
		written, out := e.count()
		if out == written {
			return
		}
		if out != seen {
			last, seen = time.Now(), out
		}
	}
}

// tally returns how many texts were written, came out, did not come out, came out more
// than once, and came out after a later text of the same room.
func (e *ear) tally() (written, out, lost, doubled, reordered int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, w := range e.heard {
		if len(w.ids) > 1 {
			doubled++
		}
	}
	newest := map[int]int{}
	for _, marked := range e.order {
		var run, room, n int
		_, _ = fmt.Sscanf(marked, "bench%dr%dn%de", &run, &room, &n)
		if n < newest[room] {
			reordered++
		}
		newest[room] = max(newest[room], n)
	}
	return len(e.heard), len(e.order), len(e.heard) - len(e.order), doubled, reordered
}

// onRocketChatHears listens in rooms of Rocket.Chat until the benchmark ends.
func (e *ear) onRocketChatHears(tb testing.TB, base, token string, rooms []string) error {
	conn, err := ddp.Dial(tb.Context(), base, secret.New(token), func(event ddp.Event) {
		for _, arg := range event.Args {
			var m rocketchat.Message
			if json.Unmarshal(arg, &m) == nil && m.Type == "" && m.EditedAt == nil {
				e.hear(m.ID, m.Text)
			}
		}
	})
	if err != nil {
		return err
	}
	tb.Cleanup(conn.Close)
	for _, room := range rooms {
		if err := conn.Subscribe(tb.Context(), "stream-room-messages", room); err != nil {
			return err
		}
	}
	return nil
}

// onMatrixHears listens in rooms of Matrix until the benchmark ends.
func (e *ear) onMatrixHears(tb testing.TB, reader anybody, rooms []string) error {
	filter, err := json.Marshal(map[string]any{
		"presence": map[string]any{"types": []string{}}, "account_data": map[string]any{"types": []string{}},
		"room": map[string]any{
			"rooms": rooms, "timeline": map[string]any{"limit": 1000, "types": []string{"m.room.message"}},
			"state": map[string]any{"types": []string{}}, "ephemeral": map[string]any{"types": []string{}}, "account_data": map[string]any{"types": []string{}},
		},
	})
	if err != nil {
		return err
	}
	since, err := e.sync(tb.Context(), reader, string(filter), "", 0)
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancel(tb.Context())
	var listening sync.WaitGroup
	tb.Cleanup(func() { stop(); listening.Wait() })
	listening.Go(func() {
		for ctx.Err() == nil {
			next, err := e.sync(ctx, reader, string(filter), since, 20*time.Second)
			if err != nil {
				if ctx.Err() == nil {
					tb.Log("reading on Matrix:", err)
					<-time.After(time.Second)
				}
				continue
			}
			since = next
		}
	})
	return nil
}

// sync reads new messages.
func (e *ear) sync(ctx context.Context, reader anybody, filter, since string, wait time.Duration) (next string, err error) {
	var news struct {
		Next  string `json:"next_batch"`
		Rooms struct {
			Join map[string]struct {
				Timeline struct{ Events []mxtest.Event }
			}
		}
	}
	query := url.Values{"filter": {filter}, "timeout": {strconv.FormatInt(wait.Milliseconds(), 10)}}
	if since != "" {
		query.Set("since", since)
	}
	if err := reader.call(ctx, http.MethodGet, "/_matrix/client/v3/sync?"+query.Encode(), nil, &news); err != nil {
		return "", err
	}
	for _, room := range news.Rooms.Join {
		for _, event := range room.Timeline.Events {
			if event.Type == "m.room.message" {
				e.hear(event.ID, event.Content.Body)
			}
		}
	}
	return news.Next, nil
}

// way is one direction through whatever carries messages.
type way struct {
	say func(ctx context.Context, room int, text string) error // writes on the near side
	ear *ear                                                   // hears on the far side
	pid int                                                    // of what carries it; 0 if unknown or nothing
}

// The bounds of a run: how long a message may take before it counts as lost, and after how
// many consecutive losses a room is given up.
const (
	tooLong = 20 * time.Second
	giveUp  = 3
)

// loads counts the runs, so that no message of an earlier run is mistaken for one of this.
var loads atomic.Int64

// outcome is the result of writing some messages.
type outcome struct {
	written, out             int
	took                     []time.Duration // until each came out
	elapsed, used            time.Duration   // used is processor time of whatever was in between
	lost, doubled, reordered int
	resident, private        int64 // memory; private excludes what is backed by files
}

// load writes messages, in each room the next one when the last has come out, and adds their
// times and results to an outcome.
func (w way) load(tb testing.TB, rooms, messages int, o *outcome) {
	tb.Helper()
	took := make([][]time.Duration, rooms)
	w.run(tb, rooms, messages, o, func(run int64, room int, more func() bool) {
		for n, missed := 1, 0; missed < giveUp && more(); n++ {
			start := time.Now()
			if w.one(tb, run, room, n) {
				took[room], missed = append(took[room], time.Since(start)), 0
			} else {
				missed++
			}
		}
	})
	o.took = append(o.took, slices.Concat(took...)...)
}

// flood writes messages as fast as the near server accepts them.
func (w way) flood(tb testing.TB, rooms, messages int, o *outcome) {
	tb.Helper()
	w.run(tb, rooms, messages, o, func(run int64, room int, more func() bool) {
		for n := 1; more(); n++ {
			marked, said := text(run, room, n)
			w.ear.expect(marked)
			if err := w.say(tb.Context(), room, said); err != nil {
				tb.Error(err)
				return
			}
		}
	})
}

// run has a person write in each room, for as long as there is more, and waits until nothing
// comes out any more.
func (w way) run(tb testing.TB, rooms, messages int, o *outcome, write func(run int64, room int, more func() bool)) {
	tb.Helper()
	run := loads.Add(1)
	w.ear.forget()
	used, start := spent(tb, w.pid), time.Now()
	var next atomic.Int64
	var all sync.WaitGroup
	for room := range rooms {
		all.Go(func() { write(run, room, func() bool { return next.Add(1) <= int64(messages) }) })
	}
	all.Wait()
	w.ear.silent()
	o.elapsed += time.Since(start)
	o.used += spent(tb, w.pid) - used
	<-time.After(time.Second / 2) // duplicates come out soon
	written, out, lost, doubled, reordered := w.ear.tally()
	o.written, o.out, o.lost, o.doubled, o.reordered = o.written+written, o.out+out, o.lost+lost, o.doubled+doubled, o.reordered+reordered
	if w.pid != 0 {
		o.resident, o.private = resident(tb, w.pid), memory(tb, w.pid, "RssAnon:")
	}
}

// report reports an outcome as a line of its own.
func (o *outcome) report(b *testing.B) {
	b.ReportMetric(float64(o.out)/o.elapsed.Seconds(), "messages/s")
	percentiles(b, o.took)
	if o.resident != 0 {
		b.ReportMetric(float64(o.used.Microseconds())/1000/float64(max(1, o.out)), "cpu-ms/message")
		b.ReportMetric(float64(o.resident)/(1<<20), "RSS-MB")
		b.ReportMetric(float64(o.private)/(1<<20), "private-MB")
	}
	b.ReportMetric(float64(o.lost), "lost")
	b.ReportMetric(float64(o.doubled), "doubled")
	b.ReportMetric(float64(o.reordered), "reordered")
}

// text returns a mark, and a text as people write it that contains the mark.
func text(run int64, room, n int) (string, string) {
	marked := fmt.Sprintf("bench%dr%dn%de", run, room, n)
	return marked, "What a person says in a room, " + marked + "."
}

// postingAs and sendingAs return ways to send a message to some rooms.
func postingAs(who anybody, rooms []string) func(context.Context, int, string) error {
	return func(ctx context.Context, room int, text string) error { return who.post(ctx, rooms[room], text) }
}

func sendingAs(who anybody, rooms []string) func(context.Context, int, string) error {
	return func(ctx context.Context, room int, text string) error { return who.send(ctx, rooms[room], text) }
}

// one writes a message and reports whether it has come out.
func (w way) one(tb testing.TB, run int64, room, n int) bool {
	marked, said := text(run, room, n)
	out := w.ear.expect(marked)
	if err := w.say(tb.Context(), room, said); err != nil {
		tb.Error(err)
		return false
	}
	select {
	case <-out:
		return true
	case <-time.After(tooLong):
		return false
	}
}

// warmUp writes until something comes out.
func (w way) warmUp(tb testing.TB, what string, room int) error {
	run := loads.Add(1)
	for n := range 6 {
		marked, said := text(run, room, n+1)
		out := w.ear.expect(marked)
		if err := w.say(tb.Context(), room, said); err != nil {
			return err
		}
		select {
		case <-out:
			return nil
		case <-time.After(tooLong / 4):
		}
	}
	return fmt.Errorf("%s carried none of six messages within %s each", what, tooLong/4)
}

// spent returns the processor time that a process has used, and 0 without a process.
func spent(tb testing.TB, pid int) time.Duration {
	tb.Helper()
	if pid == 0 {
		return 0
	}
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		tb.Fatal(err)
	}
	// After the name, which is in brackets and may contain anything: state is field 3,
	// and utime and stime are 14 and 15, in hundredths of a second.
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	user, err1 := strconv.ParseInt(fields[11], 10, 64)
	system, err2 := strconv.ParseInt(fields[12], 10, 64)
	if err1 != nil || err2 != nil {
		tb.Fatalf("/proc/%d/stat: %s", pid, stat)
	}
	return time.Duration(user+system) * 10 * time.Millisecond
}
