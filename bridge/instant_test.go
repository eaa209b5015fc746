package bridge_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"

	"appliance/bridge"
	"appliance/bridge/ids"
	"appliance/bridge/mxside/mxtest"
	"appliance/bridge/queue"
	"appliance/bridge/relay/model"
	"appliance/bridge/secret"
	"appliance/bridge/store"
)

// The bridge's account in a Rocket.Chat that answers at once.
const (
	instantID    = "rcmxbridge0000001"
	instantToken = "bridge-token-for-tests-0123456789abcdefghij"
)

// instant is a Rocket.Chat and a homeserver that answer at once and do nothing else:
// what is measured with them is the bridge, and their share of the machine.
type instant struct {
	rc, mx     *httptest.Server
	mu         sync.Mutex
	ws         *websocket.Conn
	subscribed atomic.Int64
	synced     atomic.Int64 // requests for missed messages: two per room
	toMX, toRC atomic.Int64
	arrived    chan struct{} // one for each message that came out on the other side, if a test needs to know
	slow       time.Duration // how long Rocket.Chat takes for a message
	file       int64         // size of each file in Rocket.Chat, in bytes; they are f0 to f99, in every room
	uploaded   atomic.Int64  // bytes that the homeserver got as media
	txn        atomic.Int64
	first      func(http.ResponseWriter, *http.Request) bool // handles each request first, and may answer it
	pushed     map[string][]string                           // newest events per Matrix room, oldest first
}

// page is the number of events that /messages returns.
const page = 1000

// keep records events that are sent to the bridge, so that /messages returns them:
// the bridge asks until they are there.
func (in *instant) keep(events []string) {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.pushed == nil {
		in.pushed = map[string][]string{}
	}
	for _, e := range events {
		_, after, _ := strings.Cut(e, `"room_id":"`)
		room, _, _ := strings.Cut(after, `"`)
		list := append(in.pushed[room], e)
		in.pushed[room] = list[max(0, len(list)-page):]
	}
}

// messages answers /messages, backwards from the newest event.
func (in *instant) messages(w io.Writer, path string) {
	in.mu.Lock()
	defer in.mu.Unlock()
	parts := strings.Split(path, "/")
	list := slices.Clone(in.pushed[parts[len(parts)-2]])
	slices.Reverse(list)
	_, _ = io.WriteString(w, `{"start":"s","chunk":[`+strings.Join(list, ",")+`]}`)
}

func newInstant(tb testing.TB) *instant {
	in := &instant{arrived: make(chan struct{}, 1<<20)}
	in.rc = httptest.NewServer(http.HandlerFunc(in.rocketChat))
	in.mx = httptest.NewServer(http.HandlerFunc(in.homeserver))
	tb.Cleanup(func() {
		in.mu.Lock()
		if in.ws != nil {
			_ = in.ws.CloseNow()
		}
		in.mu.Unlock()
		in.rc.CloseClientConnections()
		in.mx.CloseClientConnections()
		in.rc.Close()
		in.mx.Close()
	})
	return in
}

func (in *instant) rocketChat(w http.ResponseWriter, r *http.Request) {
	switch {
	case in.first != nil && in.first(w, r):
		return
	case r.URL.Path == "/websocket":
		in.websocket(w, r)
		return
	case strings.HasPrefix(r.URL.Path, "/file-upload/"):
		w.Header().Set("Content-Type", "application/zip")
		w.Header().Set("Content-Length", fmt.Sprint(in.file))
		block := make([]byte, 64<<10)
		for left := in.file; left > 0; left -= int64(len(block)) {
			if _, err := w.Write(block[:min(left, int64(len(block)))]); err != nil {
				return
			}
		}
		return
	}
	_, _ = io.Copy(io.Discard, r.Body)
	w.Header().Set("Content-Type", "application/json")
	switch strings.TrimPrefix(r.URL.Path, "/api/v1/") {
	case "chat.syncMessages":
		in.synced.Add(1)
		_, _ = io.WriteString(w, `{"success":true,"result":{"updated":[],"deleted":[],"cursor":{"next":null,"previous":null}}}`)
	case "groups.files":
		files := make([]string, 100)
		for i := range files {
			files[i] = fmt.Sprintf(`{"_id":"f%d"}`, i)
		}
		_, _ = io.WriteString(w, `{"success":true,"files":[`+strings.Join(files, ",")+`]}`)
	case "chat.sendMessage":
		if in.slow > 0 {
			<-time.After(in.slow)
		}
		_, _ = io.WriteString(w, `{"success":true,"message":{"_id":"x","rid":"r","msg":"","u":{"_id":"u","username":"u"}}}`)
		in.toRC.Add(1)
		in.arrived <- struct{}{}
	default:
		_, _ = io.WriteString(w, `{"success":true}`)
	}
}

func (in *instant) websocket(w http.ResponseWriter, r *http.Request) {
	ws, err := websocket.Accept(w, r, nil)
	if err != nil {
		return
	}
	ctx := context.WithoutCancel(r.Context())
	for {
		_, data, err := ws.Read(ctx)
		if err != nil {
			return
		}
		var f struct{ Msg, ID string }
		_ = json.Unmarshal(data, &f)
		answer := ""
		switch f.Msg {
		case "connect":
			answer = `{"msg":"connected","session":"s"}`
		case "method":
			answer = fmt.Sprintf(`{"msg":"result","id":%q,"result":{"id":%q,"token":"t","type":"resume"}}`, f.ID, instantID)
			in.mu.Lock()
			in.ws = ws
			in.mu.Unlock()
		case "sub":
			answer = fmt.Sprintf(`{"msg":"ready","subs":[%q]}`, f.ID)
			in.subscribed.Add(1)
		case "ping":
			answer = `{"msg":"pong"}`
		}
		if answer != "" && ws.Write(ctx, websocket.MessageText, []byte(answer)) != nil {
			return
		}
	}
}

func (in *instant) homeserver(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	switch path := r.URL.Path; {
	case in.first != nil && in.first(w, r):
	case strings.HasSuffix(path, "/sync"):
		if r.URL.Query().Get("since") != "" && r.URL.Query().Get("timeout") != "0" {
			select {
			case <-r.Context().Done():
			case <-time.After(20 * time.Second):
			}
		}
		_, _ = io.WriteString(w, `{"next_batch":"s1"}`)
	case strings.Contains(path, "/send/"):
		_, _ = io.Copy(io.Discard, r.Body)
		_, _ = fmt.Fprintf(w, `{"event_id":"$sent%d"}`, in.toMX.Add(1))
		in.arrived <- struct{}{}
	case strings.HasSuffix(path, "/messages"):
		in.messages(w, path)
	case strings.HasSuffix(path, "/media/v3/upload"):
		n, _ := io.Copy(io.Discard, r.Body)
		in.uploaded.Add(n)
		_, _ = io.WriteString(w, `{"content_uri":"mxc://x/y"}`)
	case strings.HasSuffix(path, "/config"):
		_, _ = io.WriteString(w, `{"m.upload.size":1073741824}`)
	default:
		_, _ = io.Copy(io.Discard, r.Body)
		_, _ = io.WriteString(w, `{"room_id":"!x:x"}`)
	}
}

// say sends a message as a user in Rocket.Chat.
func (in *instant) say(tb testing.TB, room int, id string, extra string) {
	in.frame(tb, room, id, "What a person says in a room, with *some* marks.", extra)
}

// frame is say with the given text.
func (in *instant) frame(tb testing.TB, room int, id, text, extra string) {
	now := time.Now().UnixMilli()
	frame := fmt.Sprintf(`{"msg":"changed","collection":"stream-room-messages","id":"id","fields":{"eventName":"room%d","args":[{"_id":%q,"rid":"room%d",`+
		`"msg":%q,"ts":{"$date":%d},"_updatedAt":{"$date":%d},"u":{"_id":"user%d","username":"user%d","name":"User %d"}%s}]}}`,
		room, id, room, text, now, now, room, room, room, extra)
	in.mu.Lock()
	defer in.mu.Unlock()
	if err := in.ws.Write(context.Background(), websocket.MessageText, []byte(frame)); err != nil {
		tb.Fatal(err)
	}
}

// push delivers a transaction to the bridge as the homeserver does.
func (in *instant) push(tb testing.TB, url string, events []string) {
	in.keep(events)
	req, _ := http.NewRequest(http.MethodPut, fmt.Sprintf("%s/_matrix/app/v1/transactions/%d", url, in.txn.Add(1)),
		strings.NewReader(`{"events":[`+strings.Join(events, ",")+`]}`))
	req.Header.Set("Authorization", "Bearer hs-token-for-tests")
	res, err := straightClient.Do(req) // one that keeps its connections, as homeservers do
	if err != nil {
		tb.Fatal(err)
	}
	_, _ = io.Copy(io.Discard, res.Body)
	_ = res.Body.Close()
	if res.StatusCode != http.StatusOK {
		tb.Fatalf("the bridge answered a transaction with %d", res.StatusCode)
	}
}

func matrixEvent(room int, id string) string {
	return fmt.Sprintf(`{"type":"m.room.message","event_id":%q,"room_id":"!room%d:x","sender":"@bob%d:far","origin_server_ts":%d,`+
		`"content":{"msgtype":"m.text","body":"What a person says in a room, with some marks.","format":"org.matrix.custom.html",`+
		`"formatted_body":"What a person says in a room, with <em>some</em> marks."}}`, id, room, room, time.Now().UnixMilli())
}

// wait waits until n messages have come out.
func (in *instant) wait(tb testing.TB, n int) {
	deadline := time.After(5 * time.Minute)
	for range n {
		select {
		case <-in.arrived:
		case <-deadline:
			tb.Fatal("waited five minutes for messages")
		}
	}
}

// filled creates a database of rooms with a ghost and a puppet each, more ghosts,
// and links; each kind is numbered from 0.
func filled(tb testing.TB, file string, rooms, ghosts, links int) {
	tb.Helper()
	emptyDatabase(tb, file)
	ctx := context.Background()
	s, err := store.Open(ctx, "sqlite:"+file)
	if err != nil {
		tb.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	check := func(err error) {
		if err != nil {
			tb.Fatal(err)
		}
	}
	var wg sync.WaitGroup
	put := func(n int, f func(i int)) {
		next := atomic.Int64{}
		for range 128 {
			wg.Go(func() {
				for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
					f(i)
				}
			})
		}
		wg.Wait()
	}
	put(rooms, func(i int) {
		room := ids.RCRoom(fmt.Sprint("room", i))
		check(s.PutPortal(ctx, model.Portal{RCRoom: room, MXRoom: ids.MXRoom(fmt.Sprintf("!room%d:x", i)), RCType: "p", Created: time.UnixMilli(1)}, nil,
			map[string]string{model.RCCursor(room): fmt.Sprint(time.Now().UnixMilli())}))
		check(s.PutPuppet(ctx, model.Puppet{MXUser: ids.MXUser(fmt.Sprintf("@bob%d:far", i)), RCUser: ids.RCUser(fmt.Sprint("puppet", i)), Username: fmt.Sprintf("bob%d_far", i), Name: "Bob", Token: secret.New("t")}))
	})
	put(ghosts, func(i int) {
		check(s.PutGhost(ctx, model.Ghost{RCUser: ids.RCUser(fmt.Sprint("user", i)), MXUser: ids.MXUser(fmt.Sprintf("@user%d:x", i)), Username: fmt.Sprint("user", i), Name: fmt.Sprint("User ", i)}))
	})
	put((links+999)/1000, func(i int) {
		receipts := make([]queue.Receipt, 1000)
		for n := range receipts {
			id := i*1000 + n
			receipts[n] = queue.Receipt{Part: n, RCRoom: fmt.Sprint("room", id%max(rooms, 1)), RCMessage: fmt.Sprint("old", id), MXRoom: fmt.Sprintf("!room%d:x", id%max(rooms, 1)), MXEvent: fmt.Sprint("$old", id), MXSender: "@user0:x"}
		}
		it := queue.Item{ID: fmt.Sprint("past", i), Lane: fmt.Sprint("past", i)}
		_, err := s.Add(ctx, time.Now(), it)
		check(err)
		check(s.Done(ctx, it, receipts, nil))
	})
}

// configure writes a configuration for the instant servers and returns its file and
// the bridge's URL.
func (in *instant) configure(tb testing.TB, dir string, port int) (file, url string) {
	tb.Helper()
	url = fmt.Sprintf("http://127.0.0.1:%d", port)
	files := map[string]string{"hs": "hs-token-for-tests", "as": "as", "rc": instantToken, "create": "c", "bridge.yaml": fmt.Sprintf(`homeserver: {url: %q, domain: x}
appservice: {url: %q, listen: "127.0.0.1:%d", hs_token_file: %[4]s/hs, as_token_file: %[4]s/as}
rocketchat: {url: %[5]q, site_url: %[5]q, user_id: %[6]s, token_file: %[4]s/rc, create_token_secret_file: %[4]s/create}
database: sqlite:%[4]s/bridge.db
log_level: warn
flood: {per_person: 0, per_server: 0}
`, in.mx.URL, url, port, dir, in.rc.URL, instantID)}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			tb.Fatal(err)
		}
	}
	return filepath.Join(dir, "bridge.yaml"), url
}

// start runs a bridge in this process and returns its URL.
func (in *instant) start(tb testing.TB, rooms, links int) string {
	tb.Helper()
	dir := tb.TempDir()
	filled(tb, filepath.Join(dir, "bridge.db"), rooms, rooms, links)
	file, url := in.configure(tb, dir, mxtest.FreePort(tb))
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() {
		log := slog.New(slog.NewTextHandler(tb.Output(), &slog.HandlerOptions{Level: slog.LevelWarn}))
		done <- bridge.Run(ctx, bridge.Options{ConfigFile: file, Log: log, Version: "bench"})
	}()
	tb.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			tb.Error(err)
		}
	})
	for in.subscribed.Load() < 3*int64(min(rooms, 100)) { // separate streams for the most active rooms
		select {
		case err := <-done:
			tb.Fatal(err)
		case <-time.After(time.Millisecond):
		}
	}
	return url
}
