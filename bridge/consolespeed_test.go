package bridge_test

import (
	"bufio"
	"cmp"
	"context"
	"database/sql"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"appliance/bridge"
	"appliance/bridge/mxside/mxtest"
	"appliance/bridge/rocketchat/rctest"
	"appliance/bridge/store"
)

// fillStore fills a large store: 10,000 portals, 100,000 people on both sides together, and
// 10,000 items, half of them dead letters.
func fillStore(tb testing.TB, file string) {
	tb.Helper()
	s, err := store.Open(tb.Context(), "sqlite:"+file)
	if err != nil {
		tb.Fatal(err)
	}
	if err := s.Close(); err != nil {
		tb.Fatal(err)
	}
	db, err := sql.Open("sqlite", file)
	if err != nil {
		tb.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	tx, err := db.BeginTx(tb.Context(), nil)
	if err != nil {
		tb.Fatal(err)
	}
	do := func(query string, args ...any) {
		if _, err := tx.ExecContext(tb.Context(), query, args...); err != nil {
			tb.Fatal(err)
		}
	}
	start := time.Now().Add(-1000 * time.Hour).UnixMilli()
	for i := range 10_000 {
		do(`INSERT INTO portals (rc_room, mx_room, rc_type, rc_reader, mx_reader, created, title) VALUES ($1, $2, 'p', '', '', $3, $4)`,
			fmt.Sprintf("room%012d", i), fmt.Sprintf("!room%018d:server%d.example", i, i%400), start+int64(i), fmt.Sprintf("Room number %d", i))
	}
	for i := range 50_000 {
		do(`INSERT INTO ghosts (rc_user, mx_user, username, name) VALUES ($1, $2, $3, $4)`,
			fmt.Sprintf("user%013d", i), fmt.Sprintf("@person.number%d:chat.example.org", i), fmt.Sprintf("person.number%d", i), fmt.Sprintf("Person Number %d", i))
		server := fmt.Sprintf("server%d.example", i%997)
		do(`INSERT INTO puppets (mx_user, rc_user, username, name, token) VALUES ($1, $2, $3, $4, 'a token of some forty-three characters here')`,
			fmt.Sprintf("@remote%d:%s", i, server), fmt.Sprintf("puppet%011d", i), fmt.Sprintf("remote%d_%s", i, server), fmt.Sprintf("Remote Person %d (%s)", i, server))
	}
	for i := range 10_000 {
		room := i % 3000
		dead := int64(0)
		cause := "the account is gone or deactivated: it was refused"
		if i%2 == 0 {
			dead = start + int64(i)
		}
		payload := fmt.Sprintf(`{"type":"m.room.message","event_id":"$e%d","room_id":"!room%018d:server%d.example","sender":"@remote%d:server%d.example","origin_server_ts":1,"content":{"msgtype":"m.text","body":%q}}`,
			i, room, room%400, i%50, i%50, strings.Repeat("words ", 60))
		do(`INSERT INTO items (seq, id, lane, kind, payload, accepted, attempts, failures, cause, buried) VALUES ($1, $2, $3, 'mx.message', $4, $5, 3, 3, $6, $7)`,
			i+1, fmt.Sprintf("$e%d", i), fmt.Sprintf("mx:!room%018d:server%d.example", room, room%400), []byte(payload), start+int64(i), cause, dead)
	}
	if err := tx.Commit(); err != nil {
		tb.Fatal(err)
	}
}

// largeConsole is a console with a large store, in which ada is an administrator.
type largeConsole struct {
	tb       testing.TB
	pages    http.Handler
	database string
}

func newLargeConsole(tb testing.TB) *largeConsole {
	tb.Helper()
	home := mxtest.Kind(tb)
	w := worldSpec{namespace: "native", home: home, far: mxtest.Dendrite, version: roomVersion(tb, home), noBridge: true}.start(tb, &rctest.Server{Polite: true})
	w.rc.CreateUser("ada", "user", "admin")
	c := &largeConsole{tb: tb, database: w.dir + "/bridge.db"}
	fillStore(tb, c.database)
	pages, end, err := bridge.ConsoleOf(tb.Context(), bridge.Options{ConfigFile: filepath.Join(w.dir, "bridge.yaml"), Log: slog.New(slog.DiscardHandler), Level: new(slog.LevelVar), Version: "test"})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = end() })
	c.pages = pages
	return c
}

func (c *largeConsole) ask(method, page, cookie string, form url.Values) *httptest.ResponseRecorder {
	req := httptest.NewRequestWithContext(c.tb.Context(), method, "https://chat.example.org/_appliance/"+page, strings.NewReader(form.Encode()))
	if method == http.MethodPost {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		req.Header.Set("Origin", "https://chat.example.org")
	}
	if cookie != "" {
		req.Header.Set("Cookie", cookie)
	}
	out := httptest.NewRecorder()
	c.pages.ServeHTTP(out, req)
	return out
}

// signIn signs in and returns the session's cookie.
func (c *largeConsole) signIn(name string) string {
	cookie, _, _ := strings.Cut(c.ask(http.MethodPost, "sign-in", "", url.Values{"username": {name}, "password": {name}}).Header().Get("Set-Cookie"), ";")
	return cookie
}

// BenchmarkConsole measures the server's time for each page with a large store. It reports the
// median and the 99th percentile in milliseconds; the limit is 50. The second pair is
// processor time, which other programs on the same machine do not lengthen.
func BenchmarkConsole(b *testing.B) {
	c := newLargeConsole(b)
	cookie := c.signIn("ada")
	for _, page := range []string{
		"", "queue", "queue?kind=mx.message&lane=server7", "rooms", "rooms?q=number+77", "rooms?q=nothing+fits", "rooms?from=" + fmt.Sprint(time.Now().Add(-999*time.Hour).UnixMilli()) + ".x",
		"people", "people?q=remote499", "people?q=nobody+fits", "people?of=rocketchat&q=nobody+fits", "people?from=%40remote3", "person?id=%40remote7%3Aserver7.example", "person?id=%40person.number7%3Achat.example.org",
		"servers", "servers?q=server77", "settings", "log",
	} {
		b.Run(pageName(page), func(b *testing.B) {
			c.ask(http.MethodGet, page, cookie, nil) // computed once for all requests
			var took, used []time.Duration
			for b.Loop() {
				begin, before := time.Now(), processor()
				out := c.ask(http.MethodGet, page, cookie, nil)
				took, used = append(took, time.Since(begin)), append(used, processor()-before)
				if out.Code != http.StatusOK {
					b.Fatal(out.Code, out.Body.String())
				}
			}
			for unit, list := range map[string][]time.Duration{"ms": took, "cpu-ms": used} {
				slices.Sort(list)
				b.ReportMetric(float64(list[len(list)/2].Microseconds())/1000, "p50-"+unit)
				b.ReportMetric(float64(list[len(list)*99/100].Microseconds())/1000, "p99-"+unit)
			}
		})
	}
}

// BenchmarkLiveConsole measures the cost of ten consoles that show one page and stay up to date,
// with a large store in which items come and go all the time: the processor time of the server
// and the readers, as a share of one core, and the additional memory of the process. The limits
// are 1 % and 10 MB. The last figure is what remains when all have gone.
func BenchmarkLiveConsole(b *testing.B) {
	c := newLargeConsole(b)
	for _, page := range []string{"", "queue", "queue?kind=mx.message&lane=server7", "rooms", "people?q=remote499", "servers"} {
		b.Run(pageName(page), func(b *testing.B) { c.live(b, page) })
	}
}

// live measures ten consoles that show a page.
func (c *largeConsole) live(b *testing.B, page string) {
	const consoles, looked = 10, 15 * time.Second
	cookie := c.signIn("ada")
	server := httptest.NewServer(c.pages)
	defer server.Close()
	get := func(ctx context.Context, page string) (*http.Response, error) {
		req, _ := http.NewRequestWithContext(ctx, http.MethodGet, server.URL+"/_appliance/"+page, nil)
		req.Header.Set("Cookie", cookie)
		req.Header.Set("HX-Request", "true")
		return http.DefaultClient.Do(req)
	}
	c.changes(b)
	share := func() float64 {
		start, used := time.Now(), processor()
		<-time.After(looked)
		return 100 * float64(processor()-used) / float64(time.Since(start))
	}
	of, _, _ := strings.Cut(cmp.Or(page, "overview"), "?")
	var refreshed, read atomic.Int64
	watch := func(ctx context.Context) {
		res, err := get(ctx, "events?of="+of)
		if err != nil {
			return
		}
		defer func() { _ = res.Body.Close() }()
		for lines := bufio.NewScanner(res.Body); lines.Scan(); {
			if lines.Text() != "event: changed" {
				continue
			}
			if again, err := get(ctx, page); err == nil { // as htmx does
				n, _ := io.Copy(io.Discard, again.Body)
				_ = again.Body.Close()
				refreshed.Add(1)
				read.Add(n)
			}
		}
	}
	var alone, open, after float64
	var grown int64
	for range b.N {
		alone += share()
		before := taken() // including the writer of the store
		ctx, stop := context.WithCancel(b.Context())
		var all sync.WaitGroup
		for range consoles {
			all.Go(func() { watch(ctx) })
		}
		open += share()
		grown = max(grown, taken()-before)
		stop()
		all.Wait()
		after += share()
	}
	if refreshed.Load() < int64(b.N*consoles*2) {
		b.Errorf("the pages were brought up to date %d times only", refreshed.Load())
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric((open-alone)/float64(b.N), "percent-of-a-core")
	b.ReportMetric((after-alone)/float64(b.N), "percent-after")
	b.ReportMetric(float64(grown)/(1<<20), "MB-more")
	b.ReportMetric(float64(refreshed.Load())/float64(b.N)/consoles/looked.Seconds()*60, "refreshes/console/min")
	b.ReportMetric(float64(read.Load())/float64(max(1, refreshed.Load()))/1000, "kB/refresh")
}

// taken returns the memory of this process, in bytes, after it has released what it does
// not need.
func taken() int64 {
	debug.FreeOSMemory()
	data, _ := os.ReadFile("/proc/self/statm")
	f := strings.Fields(string(data))
	if len(f) < 2 {
		return 0
	}
	pages, _ := strconv.ParseInt(f[1], 10, 64)
	return pages * int64(os.Getpagesize())
}

// pageName returns a page as part of a benchmark's name.
func pageName(page string) string {
	return strings.NewReplacer("?", ",", "=", "-", "&", ",").Replace("page-" + page)
}

// changes adds items ten times a second, and removes them, until the benchmark ends.
func (c *largeConsole) changes(b *testing.B) {
	db, err := sql.Open("sqlite", "file:"+c.database+"?_pragma=busy_timeout(10000)")
	if err != nil {
		b.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	var done sync.WaitGroup
	done.Go(func() {
		for n := 0; ctx.Err() == nil; n++ {
			if _, err := db.ExecContext(ctx, `INSERT INTO items (seq, id, lane, kind, payload, accepted) VALUES ($1, $2, 'rc:busy', 'rc.message', '{}', $3)`, 1_000_000+n, fmt.Sprint("busy", n), time.Now().UnixMilli()); err != nil && ctx.Err() == nil {
				b.Error(err)
			}
			if n%50 == 49 {
				if _, err := db.ExecContext(ctx, `DELETE FROM items WHERE lane = 'rc:busy' AND seq < $1`, 1_000_000+n-20); err != nil && ctx.Err() == nil {
					b.Error(err)
				}
			}
			select {
			case <-ctx.Done():
			case <-time.After(100 * time.Millisecond):
			}
		}
	})
	b.Cleanup(func() {
		stop()
		done.Wait()
		_, _ = db.ExecContext(context.Background(), `DELETE FROM items WHERE lane = 'rc:busy'`)
		_ = db.Close()
	})
}
