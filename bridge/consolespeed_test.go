package bridge_test

import (
	"database/sql"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"appliance/bridge"
	"appliance/bridge/mxside/mxtest"
	"appliance/bridge/rocketchat/rctest"
	"appliance/bridge/store"
)

// fillStore makes a large store: 10,000 portals, 100,000 people on both sides together, and
// 10,000 items, of which half were given up.
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

// BenchmarkConsole is the server's time for each page with a large store. It reports the
// median and the 99th percentile in milliseconds; the limit is 50. The second pair is of
// the processor's time, which other programs on the same machine do not lengthen.
func BenchmarkConsole(b *testing.B) {
	home := mxtest.Kind(b)
	w := worldSpec{namespace: "native", home: home, far: mxtest.Dendrite, version: roomVersion(b, home), noBridge: true}.start(b, &rctest.Server{Polite: true})
	w.rc.CreateUser("ada", "user", "admin")
	fillStore(b, w.dir+"/bridge.db")
	pages, end, err := bridge.ConsoleOf(b.Context(), bridge.Options{ConfigFile: filepath.Join(w.dir, "bridge.yaml"), Log: slog.New(slog.DiscardHandler), Level: new(slog.LevelVar), Version: "test"})
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = end() }()
	ask := func(method, page, cookie string, form url.Values) *httptest.ResponseRecorder {
		req := httptest.NewRequestWithContext(b.Context(), method, "https://chat.example.org/_appliance/"+page, strings.NewReader(form.Encode()))
		if method == http.MethodPost {
			req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			req.Header.Set("Origin", "https://chat.example.org")
		}
		if cookie != "" {
			req.Header.Set("Cookie", cookie)
		}
		out := httptest.NewRecorder()
		pages.ServeHTTP(out, req)
		return out
	}
	cookie, _, _ := strings.Cut(ask(http.MethodPost, "sign-in", "", url.Values{"username": {"ada"}, "password": {"ada"}}).Header().Get("Set-Cookie"), ";")
	for _, page := range []string{
		"", "queue", "queue?kind=mx.message&lane=server7", "rooms", "rooms?q=number+77", "rooms?q=nothing+fits", "rooms?from=" + fmt.Sprint(time.Now().Add(-999*time.Hour).UnixMilli()) + ".x",
		"people", "people?q=remote499", "people?q=nobody+fits", "people?of=rocketchat&q=nobody+fits", "people?from=%40remote3", "person?id=%40remote7%3Aserver7.example", "person?id=%40person.number7%3Achat.example.org",
		"servers", "servers?q=server77", "settings",
	} {
		b.Run(strings.NewReplacer("?", ",", "=", "-", "&", ",").Replace("page-"+page), func(b *testing.B) {
			ask(http.MethodGet, page, cookie, nil) // what is made once for all
			var took, used []time.Duration
			for b.Loop() {
				begin, before := time.Now(), processor()
				out := ask(http.MethodGet, page, cookie, nil)
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
