package ddp_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"appliance/bridge/rocketchat"
	"appliance/bridge/rocketchat/ddp"
	"appliance/bridge/rocketchat/rctest"
	"appliance/bridge/secret"
)

// The contract of the session, tested against the simulator or the real server that
// ROCKETCHAT_URL names: see rctest.Subject and docs/testing.md.

func TestMain(m *testing.M) { rctest.VerifyTestMain(m) }

const patience = 20 * time.Second

type session struct {
	*ddp.Conn
	events chan ddp.Event
}

func dial(t *testing.T, s *rctest.Subject, p rctest.Person) session {
	t.Helper()
	events := make(chan ddp.Event, 1000)
	c, err := ddp.Dial(t.Context(), s.URL, secret.New(p.Token), func(e ddp.Event) { events <- e })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return session{c, events}
}

// message waits for the next event, which must be a message.
func (s session) message(t *testing.T) rocketchat.Message {
	t.Helper()
	select {
	case e := <-s.events:
		var m rocketchat.Message
		if e.Stream != "stream-room-messages" || len(e.Args) == 0 || json.Unmarshal(e.Args[0], &m) != nil {
			t.Fatalf("got %+v", e)
		}
		return m
	case <-time.After(patience):
		t.Fatal("nothing was told")
	}
	return rocketchat.Message{}
}

func ended(t *testing.T, c *ddp.Conn) error {
	t.Helper()
	select {
	case <-c.Done():
		return c.Err()
	case <-time.After(patience):
		t.Fatal("the connection did not end")
	}
	return nil
}

func begin(t *testing.T) (*rctest.Subject, rctest.Person, *rocketchat.Client) {
	t.Helper()
	t.Parallel()
	s := rctest.NewSubject(t)
	p := s.Puppet(t)
	return s, p, rocketchat.New(s.URL, p.ID, secret.New(p.Token))
}

func TestAWrongTokenIsUnauthorized(t *testing.T) {
	s, _, _ := begin(t)
	_, err := ddp.Dial(t.Context(), s.URL, secret.New("the-token-itself"), func(ddp.Event) {})
	if !errors.Is(err, ddp.ErrUnauthorized) || strings.Contains(err.Error(), "the-token-itself") {
		t.Errorf("got %v", err)
	}
}

func TestEventsOfARoomComeInOrder(t *testing.T) {
	s, p, c := begin(t)
	r, err := c.CreateGroup(t.Context(), s.Name("group"), nil)
	if err != nil {
		t.Fatal(err)
	}
	d := dial(t, s, p)
	if err := d.Subscribe(t.Context(), "stream-room-messages", r.ID); err != nil {
		t.Fatal(err)
	}
	for i := range 50 {
		if _, err := c.SendMessage(t.Context(), rocketchat.NewMessage{ID: s.Name("m"), RoomID: r.ID, Text: fmt.Sprint(i)}); err != nil {
			t.Fatal(err)
		}
	}
	for want := 0; want < 50; {
		m := d.message(t)
		if m.RoomID != r.ID || m.User.ID != p.ID || m.Time.IsZero() || m.Updated.IsZero() {
			t.Fatalf("got %+v", m)
		}
		switch m.Text {
		case fmt.Sprint(want):
			want++
		case fmt.Sprint(want - 1): // repeated
		default:
			t.Fatalf("got %q, want %d", m.Text, want)
		}
	}
}

func TestEditsReactionsAndDeletionsAreTold(t *testing.T) {
	s, p, c := begin(t)
	r, err := c.CreateChannel(t.Context(), s.Name("channel"), nil)
	if err != nil {
		t.Fatal(err)
	}
	m, err := c.SendMessage(t.Context(), rocketchat.NewMessage{ID: s.Name("m"), RoomID: r.ID, Text: "first"})
	if err != nil {
		t.Fatal(err)
	}
	d := dial(t, s, p)
	deleted := make(chan ddp.Event, 10)
	other, err := ddp.Dial(t.Context(), s.URL, secret.New(p.Token), func(e ddp.Event) { deleted <- e })
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	if err := errors.Join(d.Subscribe(t.Context(), "stream-room-messages", r.ID), other.Subscribe(t.Context(), "stream-notify-room", r.ID+"/deleteMessage")); err != nil {
		t.Fatal(err)
	}
	_, err = c.UpdateMessage(t.Context(), r.ID, m.ID, "second")
	if err := errors.Join(err, c.React(t.Context(), m.ID, "smile", true), c.DeleteMessage(t.Context(), r.ID, m.ID)); err != nil {
		t.Fatal(err)
	}
	for edited, reacted := false, false; !edited || !reacted; {
		got := d.message(t)
		edited = edited || got.Text == "second" && got.EditedAt != nil
		reacted = reacted || len(got.Reactions[":smile:"].Usernames) == 1
	}
	select {
	case e := <-deleted:
		if e.Stream != "stream-notify-room" || e.Name != r.ID+"/deleteMessage" || len(e.Args) != 1 || !strings.Contains(string(e.Args[0]), m.ID) {
			t.Errorf("got %+v", e)
		}
	case <-time.After(patience):
		t.Error("the deletion was not told")
	}
}

func TestARefusedSubscriptionSaysSo(t *testing.T) {
	s, p, c := begin(t)
	r, err := c.CreateGroup(t.Context(), s.Name("group"), nil)
	if err != nil {
		t.Fatal(err)
	}
	d := dial(t, s, s.Puppet(t))
	for _, sub := range [][2]string{{"stream-room-messages", r.ID}, {"stream-notify-room", r.ID + "/deleteMessage"},
		{"stream-notify-user", p.ID + "/rooms-changed"}, {"stream-room-messages", s.Name("room")}} {
		err := d.Subscribe(t.Context(), sub[0], sub[1])
		if me, ok := errors.AsType[*ddp.MethodError](err); !ok || me.Code != "not-allowed" {
			t.Errorf("%v: %v", sub, err)
		}
	}
	if d.Waiting() != 0 || d.Err() != nil {
		t.Errorf("it waits for %d replies, %v", d.Waiting(), d.Err())
	}
}

func TestMethods(t *testing.T) {
	s, p, _ := begin(t)
	d := dial(t, s, p)
	result, err := d.Call(t.Context(), "subscriptions/get")
	if err != nil || len(result) == 0 || result[0] != '[' && result[0] != '{' {
		t.Errorf("got %s, %v", result, err)
	}
	_, err = d.Call(t.Context(), "no-such-method", 1, "two")
	if me, ok := errors.AsType[*ddp.MethodError](err); !ok || me.Code != "404" {
		t.Errorf("got %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := d.Call(ctx, "subscriptions/get"); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	if _, err := d.Call(t.Context(), "subscriptions/get"); err != nil {
		t.Errorf("the session, after a call that was cancelled: %v", err)
	}
}

func TestCloseEndsEverything(t *testing.T) {
	s, p, _ := begin(t)
	d := dial(t, s, p)
	d.Close()
	d.Close()
	if err := ended(t, d.Conn); err == nil {
		t.Error("it does not say why it ended")
	}
	if _, err := d.Call(t.Context(), "subscriptions/get"); err == nil {
		t.Error("a call on a closed connection succeeded")
	}
	if err := d.Subscribe(t.Context(), "stream-room-messages", "r"); err == nil {
		t.Error("a subscription on a closed connection succeeded")
	}
}

func TestADroppedConnectionEnds(t *testing.T) {
	s, p, _ := begin(t)
	server := s.Server(t)
	d := dial(t, s, p)
	server.DropConnections()
	if err := ended(t, d.Conn); err == nil {
		t.Error("it does not say why it ended")
	}
	server.Stop()
	if _, err := ddp.Dial(t.Context(), s.URL, secret.New(p.Token), func(ddp.Event) {}); err == nil || errors.Is(err, ddp.ErrUnauthorized) {
		t.Errorf("dialling a server that is down: %v", err)
	}
}

// A script is what a made-up server sends to one client. Real servers do not do this
// on request.
func scripted(t *testing.T, run func(ctx context.Context, read func() map[string]any, write func(string))) string {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ws, err := websocket.Accept(w, r, nil)
		if err != nil {
			return
		}
		defer ws.CloseNow()
		ctx, cancel := context.WithTimeout(r.Context(), patience)
		defer cancel()
		run(ctx, func() map[string]any {
			var v map[string]any
			if _, data, err := ws.Read(ctx); err == nil {
				json.Unmarshal(data, &v)
			}
			return v
		}, func(text string) { ws.Write(ctx, websocket.MessageText, []byte(text)) })
	}))
	t.Cleanup(s.Close)
	return s.URL
}

// welcome accepts the client's login.
func welcome(read func() map[string]any, write func(string)) {
	write(`{"server_id":"0"}`)
	read()
	write(`{"msg":"connected","session":"s"}`)
	login := read()
	write(fmt.Sprintf(`{"msg":"result","id":%q,"result":{"id":"me"}}`, login["id"]))
}

func TestAPingIsAnswered(t *testing.T) {
	t.Parallel()
	pong := make(chan map[string]any, 1)
	u := scripted(t, func(_ context.Context, read func() map[string]any, write func(string)) {
		welcome(read, write)
		write(`no JSON`)
		write(`[1]`)
		write(`{"msg":"unheard-of","id":5}`)
		write(`{"msg":"changed","collection":"users","id":"u","fields":{"eventName":7}}`)
		write(`{"msg":"ping","id":"p1"}`)
		pong <- read()
		read()
	})
	c, err := ddp.Dial(t.Context(), u, secret.New("token"), func(e ddp.Event) { t.Errorf("got %+v", e) })
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	select {
	case f := <-pong:
		if f["msg"] != "pong" || f["id"] != "p1" {
			t.Errorf("got %v", f)
		}
	case <-time.After(patience):
		t.Fatal("the ping was not answered")
	}
}

func TestTheClientPings(t *testing.T) {
	t.Parallel()
	pings := make(chan map[string]any, 100)
	u := scripted(t, func(ctx context.Context, read func() map[string]any, write func(string)) {
		welcome(read, write)
		for f := read(); f != nil; f = read() {
			pings <- f
			write(`{"msg":"pong"}`)
		}
	})
	c, err := ddp.DialWith(t.Context(), u, secret.New("token"), func(ddp.Event) {}, patience, 20*time.Millisecond, patience)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for range 3 {
		select {
		case f := <-pings:
			if f["msg"] != "ping" {
				t.Errorf("got %v", f)
			}
		case <-time.After(patience):
			t.Fatal("it does not ping")
		}
	}
}

func TestASilentServerIsLeft(t *testing.T) {
	t.Parallel()
	u := scripted(t, func(ctx context.Context, read func() map[string]any, write func(string)) {
		welcome(read, write)
		for read() != nil {
		}
	})
	c, err := ddp.DialWith(t.Context(), u, secret.New("token"), func(ddp.Event) {}, patience, 10*time.Millisecond, time.Second)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := c.Call(ctx, "anything"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a call: %v", err)
	}
	if c.Waiting() != 0 {
		t.Errorf("it still waits for %d replies", c.Waiting())
	}
	if err := ended(t, c); err == nil || !strings.Contains(err.Error(), "silent") {
		t.Errorf("got %v", err)
	}
}

func TestDiallingEndsWhateverTheServerDoes(t *testing.T) {
	t.Parallel()
	for name, run := range map[string]func(context.Context, func() map[string]any, func(string)){
		"says nothing": func(ctx context.Context, read func() map[string]any, _ func(string)) {
			for read() != nil {
			}
		},
		"speaks another version": func(_ context.Context, read func() map[string]any, write func(string)) {
			read()
			write(`{"msg":"failed","version":"pre1"}`)
			read()
		},
		"hangs up": func(context.Context, func() map[string]any, func(string)) {},
		"does not answer the login": func(_ context.Context, read func() map[string]any, write func(string)) {
			read()
			write(`{"msg":"connected","session":"s"}`)
			for read() != nil {
			}
		},
		"refuses the login for now": func(_ context.Context, read func() map[string]any, write func(string)) {
			read()
			write(`{"msg":"connected","session":"s"}`)
			write(fmt.Sprintf(`{"msg":"result","id":%q,"error":{"error":"too-many-requests","reason":"slow down"}}`, read()["id"]))
			read()
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := ddp.DialWith(t.Context(), scripted(t, run), secret.New("token"), func(ddp.Event) {}, 300*time.Millisecond, patience, patience)
			if err == nil || errors.Is(err, ddp.ErrUnauthorized) {
				t.Errorf("got %v", err)
			}
		})
	}
	page := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(502) }))
	t.Cleanup(page.Close)
	if _, err := ddp.Dial(t.Context(), page.URL, secret.New("token"), func(ddp.Event) {}); err == nil {
		t.Error("a gateway's page was taken for a session")
	}
}

// On a rude server, a client that redials and catches up over REST misses nothing.
func TestDiallingAgainAndCatchingUpMissesNothing(t *testing.T) {
	t.Parallel()
	server := rctest.Server{Seed: 7}
	server.Start(t)
	ada := server.CreateUser("ada", "user", "bot")
	rid := server.CreateChannel("here", "ada")
	c := rocketchat.New(server.URL, ada.ID, secret.New(ada.Token))
	for i := range 300 {
		server.Say(rid, "ada", fmt.Sprint(i))
	}
	seen := make(chan string, 10000)
	all := map[string]bool{}
	for len(all) < 300 {
		d, err := ddp.Dial(t.Context(), server.URL, secret.New(ada.Token), func(e ddp.Event) {
			var m rocketchat.Message
			if json.Unmarshal(e.Args[0], &m) == nil {
				seen <- m.Text
			}
		})
		if err != nil {
			continue
		}
		if d.Subscribe(t.Context(), "stream-room-messages", rid) == nil {
			_ = c.SyncMessages(t.Context(), rid, time.UnixMilli(0), func(ms []rocketchat.Message) error {
				for _, m := range ms {
					if m.Type == "" {
						all[m.Text] = true
					}
				}
				return nil
			})
		}
		d.Close()
		for len(seen) > 0 {
			all[<-seen] = true
		}
	}
}
