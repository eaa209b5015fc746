package bridge_test

import (
	"cmp"
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"appliance/bridge/ids"
	"appliance/bridge/mustrun"
	"appliance/bridge/mxside/mxtest"
	"appliance/bridge/relay/model"
	"appliance/bridge/secret"
	"appliance/bridge/store"
)

// A simulation is a workspace with many people and rooms between two servers that answer at once,
// and one or more bridges, each a process of its own, that share a PostgreSQL.
type simulation struct {
	*instant
	t       *testing.T
	db      *sql.DB
	urls    []string
	cmds    []*exec.Cmd
	sockets atomic.Int64 // open connections to Rocket.Chat
	calls   atomic.Int64 // requests to Rocket.Chat

	mu    sync.Mutex
	ended time.Time
	lags  []time.Duration
}

// simulated is the result of one run.
type simulated struct {
	processes            int
	rate, cpu            float64 // messages per second; processor time of the bridges for each, in ms
	half, most           time.Duration
	statements, commits  float64 // per message; statements are -1 where they are not counted
	sockets, calls, size int64   // calls are per thousand messages
}

// TestSimulate is make simulate: what one, two and four bridges carry, and what it costs.
// APPLIANCE_SIMULATE_PEOPLE, _ROOMS, _MESSAGES and _RATE (messages a second of the steady part, each way)
// set the size.
func TestSimulate(t *testing.T) {
	if os.Getenv("APPLIANCE_SIMULATE") == "" {
		mustrun.Skip(t, "it measures, and takes minutes: make simulate")
	}
	people, rooms := number(t, "APPLIANCE_SIMULATE_PEOPLE", 5000), number(t, "APPLIANCE_SIMULATE_ROOMS", 1000)
	messages, rate := number(t, "APPLIANCE_SIMULATE_MESSAGES", 6000), number(t, "APPLIANCE_SIMULATE_RATE", 20)
	program := filepath.Join(t.TempDir(), "appliance")
	build := exec.CommandContext(t.Context(), "go", "build", "-o", program, "appliance/cmd/appliance")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	template := populated(t, people, rooms)
	var all []simulated
	for _, processes := range []int{1, 2, 4} {
		t.Run(fmt.Sprint(processes), func(t *testing.T) {
			s := newSimulation(t, program, template, processes, rooms)
			all = append(all, s.day(rooms, messages, rate))
		})
	}
	t.Logf("%d people, %d rooms; %d messages at once, then %d a second each way for 10 s", people, rooms, messages, rate)
	t.Log("processes | messages/s | of one | CPU ms/message | lag half | lag 99 % | statements/message | commits/message | websockets | requests per 1,000 | MB each")
	for _, r := range all {
		t.Logf("%9d | %10.0f | %6.2f | %14.2f | %8s | %8s | %18.1f | %15.2f | %10d | %18d | %7d", r.processes, r.rate, r.rate/all[0].rate, r.cpu,
			r.half.Round(time.Millisecond), r.most.Round(time.Millisecond), r.statements, r.commits, r.sockets, r.calls, r.size>>20)
	}
}

// populated creates a database with all people and rooms, from which the others are copied.
func populated(t *testing.T, people, rooms int) (address string) {
	t.Helper()
	address = postgresDatabase(t)
	s, err := store.Open(t.Context(), address)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	var all sync.WaitGroup
	var next atomic.Int64
	for range 16 {
		all.Go(func() {
			for i := int(next.Add(1)) - 1; i < max(people, rooms); i = int(next.Add(1)) - 1 {
				if err := populate(t, s, i, people, rooms); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	all.Wait()
	return address
}

// populate creates person and room number i: half of the people are on either side.
func populate(t *testing.T, s *store.Store, i, people, rooms int) error {
	if i < rooms {
		room := ids.RCRoom(fmt.Sprint("room", i))
		if err := s.PutPortal(t.Context(), model.Portal{RCRoom: room, MXRoom: ids.MXRoom(fmt.Sprintf("!room%d:x", i)), RCType: "p", Created: time.UnixMilli(1)}, nil,
			map[string]string{model.RCCursor(room): fmt.Sprint(time.Now().UnixMilli())}); err != nil {
			return err
		}
	}
	if i >= people/2 {
		return nil
	}
	if err := s.PutGhost(t.Context(), model.Ghost{RCUser: ids.RCUser(fmt.Sprint("user", i)), MXUser: ids.MXUser(fmt.Sprintf("@user%d:x", i)), Username: fmt.Sprint("user", i), Name: fmt.Sprint("User ", i)}); err != nil {
		return err
	}
	return s.PutPuppet(t.Context(), model.Puppet{MXUser: ids.MXUser(fmt.Sprintf("@bob%d:far", i)), RCUser: ids.RCUser(fmt.Sprint("puppet", i)), Username: fmt.Sprintf("bob%d_far", i), Name: "Bob", Token: secret.New("t")})
}

func newSimulation(t *testing.T, program, template string, processes, rooms int) *simulation {
	t.Helper()
	s := &simulation{instant: newInstant(t), t: t}
	s.first = s.take
	address := copied(t, template)
	var err error
	if s.db, err = sql.Open("pgx", address); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.db.Close() })
	for range processes {
		dir := t.TempDir()
		file, at := s.configure(t, dir, mxtest.FreePort(t))
		adapt(t, file, "sqlite:"+dir+"/bridge.db", strconv.Quote(address))
		s.urls = append(s.urls, at)
		cmd := exec.Command(program, "bridge", "--config", file) //nolint:gosec,noctx // it is killed at the end
		cmd.Stdout, cmd.Stderr = t.Output(), t.Output()
		cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
		})
		s.cmds = append(s.cmds, cmd)
	}
	for _, at := range s.urls {
		waitUntil(t, "a bridge to be ready", time.Minute, func() bool {
			res, err := http.Get(at + "/ready")
			if err != nil {
				return false
			}
			_ = res.Body.Close()
			return res.StatusCode == http.StatusOK
		})
	}
	waitUntil(t, "the rooms that talk to be heard", time.Minute, func() bool { return s.subscribed.Load() >= 3*int64(min(rooms, talking)) })
	return s
}

// copied makes a copy of a database.
func copied(t *testing.T, template string) string {
	t.Helper()
	u, err := url.Parse(template)
	if err != nil {
		t.Fatal(err)
	}
	admin, err := sql.Open("pgx", os.Getenv("APPLIANCE_TEST_POSTGRES"))
	if err != nil {
		t.Fatal(err)
	}
	name := fmt.Sprintf("simulated_%d", time.Now().UnixNano())
	if _, err := admin.ExecContext(t.Context(), "CREATE DATABASE "+name+" TEMPLATE "+strings.TrimPrefix(u.Path, "/")); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_, _ = admin.ExecContext(context.Background(), "DROP DATABASE "+name+" WITH (FORCE)")
		_ = admin.Close()
	})
	u.Path = "/" + name
	return u.String()
}

// talking is the number of Rocket.Chat rooms that talk at once: as many as a session receives.
const talking = 100

// marked begins each text of a simulation, followed by the time at which it was sent, in ns.
const marked = "said at "

// take counts the requests to Rocket.Chat, and records when a message arrives on either side.
func (s *simulation) take(w http.ResponseWriter, r *http.Request) bool {
	path := r.URL.Path
	if path == "/websocket" {
		s.sockets.Add(1)
		defer s.sockets.Add(-1)
		s.websocket(w, r)
		return true
	}
	if strings.HasPrefix(path, "/api/v1/") {
		s.calls.Add(1)
	}
	if !strings.HasSuffix(path, "/chat.sendMessage") && !strings.Contains(path, "/send/m.room.message/") {
		return false
	}
	data, _ := io.ReadAll(r.Body)
	var m struct {
		Body    string
		Message struct{ Msg string }
	}
	_ = json.Unmarshal(data, &m)
	text := m.Body + m.Message.Msg
	if at, err := strconv.ParseInt(strings.TrimPrefix(text, marked), 10, 64); err == nil {
		now := time.Now()
		s.mu.Lock()
		s.lags, s.ended = append(s.lags, now.Sub(time.Unix(0, at))), now
		s.mu.Unlock()
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = fmt.Fprintf(w, `{"event_id":"$sent%d","success":true,"message":{"_id":"x","rid":"r","msg":"","u":{"_id":"u","username":"u"}}}`, s.toMX.Add(1))
	return true
}

// arrivals returns how many messages have arrived.
func (s *simulation) arrivals() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.lags)
}

// utter sends messages from..to, every other one on either side.
func (s *simulation) utter(from, to, rooms int) {
	s.t.Helper()
	var events []string
	for n := from; n < to; n++ {
		text := fmt.Sprint(marked, time.Now().UnixNano())
		if n%2 == 0 {
			s.frame(s.t, n/2%min(rooms, talking), fmt.Sprint("simulated", n), text, "")
			continue
		}
		events = append(events, fmt.Sprintf(`{"type":"m.room.message","event_id":"$simulated%d","room_id":"!room%d:x","sender":"@bob%d:far","origin_server_ts":%d,"content":{"msgtype":"m.text","body":%q}}`,
			n, n/2%rooms, n/2%rooms, time.Now().UnixMilli(), text))
		if len(events) == 100 {
			s.push(s.t, s.urls[n%len(s.urls)], events)
			events = nil
		}
	}
	if len(events) > 0 {
		s.push(s.t, s.urls[to%len(s.urls)], events)
	}
}

// doubted is how long after a start a bridge doubts the order of events; see mxside.Traits.Disorder.
const doubted = 2*time.Minute + 5*time.Second

// day sends a day's traffic, compressed: as many messages as fit at once, and then a steady flow.
func (s *simulation) day(rooms, messages, rate int) simulated {
	s.t.Helper()
	out := simulated{processes: len(s.cmds), statements: -1}
	s.utter(0, 2*rooms, rooms) // everybody joins, in every room
	s.arrive(2 * rooms)
	// For this long after a start the bridge doubts the order of what a Dendrite sends, and
	// looks twice at it. A day is longer.
	<-time.After(doubted)
	used, asked, done, requests := s.used(), s.statements(), s.commits(), s.calls.Load()
	queries := s.queries()
	began := time.Now()
	s.utter(2*rooms, 2*rooms+messages, rooms)
	s.arrive(2*rooms + messages)
	s.mu.Lock()
	out.rate = float64(messages) / s.ended.Sub(began).Seconds()
	s.mu.Unlock()
	waitUntil(s.t, "everything to be settled", time.Minute, func() bool {
		<-time.After(200 * time.Millisecond) // its requests count too
		var n int
		return s.db.QueryRowContext(s.t.Context(), `SELECT COUNT(*) FROM items WHERE buried = 0`).Scan(&n) == nil && n == 0
	})
	each := float64(messages)
	out.cpu = float64((s.used() - used).Milliseconds()) / each
	if asked >= 0 {
		out.statements = (s.statements() - asked) / each
		s.mostAsked(queries, each)
	}
	out.commits, out.calls = (s.commits()-done)/each, (s.calls.Load()-requests)*1000/int64(messages)
	sent := 2*rooms + messages
	tick := time.NewTicker(time.Second / time.Duration(rate))
	defer tick.Stop()
	for range 10 * rate {
		s.utter(sent, sent+2, rooms)
		sent += 2
		<-tick.C
	}
	s.arrive(sent)
	s.mu.Lock()
	defer s.mu.Unlock()
	steady := slices.Sorted(slices.Values(s.lags[2*rooms+messages:]))
	out.half, out.most = steady[len(steady)/2], steady[len(steady)*99/100]
	out.sockets = s.sockets.Load()
	for _, cmd := range s.cmds {
		out.size += resident(s.t, cmd.Process.Pid) / int64(len(s.cmds))
	}
	return out
}

func (s *simulation) arrive(n int) {
	s.t.Helper()
	waitUntil(s.t, fmt.Sprint(n, " messages to arrive"), 5*time.Minute, func() bool { return s.arrivals() >= n })
	if got := s.arrivals(); got != n {
		s.t.Errorf("%d messages arrived, %d were said", got, n)
	}
}

// used returns the processor time that the bridges have used.
func (s *simulation) used() (sum time.Duration) {
	s.t.Helper()
	for _, cmd := range s.cmds {
		text, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(cmd.Process.Pid), "stat"))
		if err != nil {
			s.t.Fatal(err)
		}
		_, after, _ := strings.Cut(string(text), ") ")
		fields := strings.Fields(after) // utime and stime are 14 and 15 of proc(5), in hundredths of a second
		for _, f := range fields[11:13] {
			n, _ := strconv.ParseInt(f, 10, 64)
			sum += time.Duration(n) * 10 * time.Millisecond
		}
	}
	return sum
}

// statements returns how many statements were executed in this database, or -1 if they are not counted.
func (s *simulation) statements() float64 {
	var n float64
	if s.db.QueryRowContext(s.t.Context(), `SELECT COALESCE(SUM(calls), 0) FROM pg_stat_statements JOIN pg_database ON pg_database.oid = dbid WHERE datname = current_database()`).Scan(&n) != nil {
		return -1
	}
	return n
}

// queries returns how often each statement was executed, by its text without values.
func (s *simulation) queries() map[string]float64 {
	out := map[string]float64{}
	rows, err := s.db.QueryContext(s.t.Context(), `SELECT query, SUM(calls) FROM pg_stat_statements JOIN pg_database ON pg_database.oid = dbid WHERE datname = current_database() GROUP BY query`)
	if err != nil {
		return out
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var query string
		var calls float64
		if rows.Scan(&query, &calls) == nil {
			out[strings.Join(strings.Fields(query), " ")] = calls
		}
	}
	if err := rows.Err(); err != nil {
		s.t.Log(err)
	}
	return out
}

// mostAsked logs the statements that were executed most since before, per message.
func (s *simulation) mostAsked(before map[string]float64, messages float64) {
	now := s.queries()
	list := slices.SortedFunc(maps.Keys(now), func(a, b string) int { return cmp.Compare(now[b]-before[b], now[a]-before[a]) })
	for _, query := range list[:min(len(list), 14)] {
		s.t.Logf("%5.2f  %.110s", (now[query]-before[query])/messages, query)
	}
}

// commits returns how many transactions were committed in this database.
func (s *simulation) commits() (n float64) {
	s.t.Helper()
	if err := s.db.QueryRowContext(s.t.Context(), `SELECT xact_commit FROM pg_stat_database WHERE datname = current_database()`).Scan(&n); err != nil {
		s.t.Fatal(err)
	}
	return n
}
