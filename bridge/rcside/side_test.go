package rcside_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"appliance/bridge/config"
	"appliance/bridge/event"
	"appliance/bridge/ids"
	"appliance/bridge/queue"
	"appliance/bridge/rcside"
	"appliance/bridge/relay"
	"appliance/bridge/relay/model"
	"appliance/bridge/rocketchat"
	"appliance/bridge/rocketchat/rctest"
	"appliance/bridge/secret"
	"appliance/bridge/store"
)

// bed is the Rocket.Chat side alone, with a Rocket.Chat and a database: what it
// hands over is stored, and visible to the test.
type bed struct {
	t     *testing.T
	rc    *rctest.Server
	store *store.Store
	over  relay.Store // what the side sees instead of store, if not nil
	side  *rcside.Side
	stop  func()

	mu      sync.Mutex
	items   map[string]queue.Item // by ID
	people  []ids.RCUser          // who changed
	more    chan struct{}
	typed   []ids.RCRoom
	accepts int
	log     strings.Builder
	often   time.Duration // between two looks at the people; 0 is the default
}

// bundled holds the rate limit settings of the bundled Rocket.Chat.
var bundled = map[string]any{"DDP_Rate_Limit_User_By_Method_Enabled": false, "DDP_Rate_Limit_Connection_By_Method_Enabled": false}

func newBed(t *testing.T, rc *rctest.Server) *bed {
	t.Helper()
	rc.Bridge, rc.Settings = true, bundled
	rc.Start(t)
	b := &bed{t: t, rc: rc, items: map[string]queue.Item{}, more: make(chan struct{}, 1)}
	var err error
	if b.store, err = store.Open(t.Context(), "sqlite:"+filepath.Join(t.TempDir(), "bridge.db")); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.store.Close() })
	rc.CreateUser("alice")
	return b
}

// start lets a side listen, as a new process does.
func (b *bed) start() {
	b.t.Helper()
	me := b.rc.Bot()
	var seen relay.Store = b.store
	if b.over != nil {
		seen = b.over
	}
	b.side = rcside.New(rcside.Options{
		Client: rocketchat.New(b.rc.URL, me.ID, secret.New(me.Token)), CreateTokenSecret: secret.New(b.rc.CreateTokenSecret), PeopleEvery: b.often,
		Store: seen, Accept: b.accept, Ephemeral: b, Live: func() config.Live { return config.Live{Enabled: true, Typing: true} },
		Log: slog.New(slog.NewTextHandler(b, nil)),
	})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- b.side.Listen(ctx) }()
	b.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil && !errors.Is(err, context.Canceled) {
			b.t.Error(err)
		}
	})
	b.t.Cleanup(b.stop)
}

func (b *bed) accept(ctx context.Context, items []queue.Item, cursors map[string]string) error {
	if _, err := b.store.Accept(ctx, time.Now(), items, cursors); err != nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.accepts++
	for _, it := range items {
		if _, known := b.items[it.ID]; !known {
			b.items[it.ID] = it
		}
	}
	b.signal()
	return nil
}

// TypingInRocketChat, PresenceInRocketChat and PersonChanged implement rcside.Ephemeral.
func (b *bed) TypingInRocketChat(room ids.RCRoom, _ string, _ bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.typed = append(b.typed, room)
	b.signal()
}

func (b *bed) PresenceInRocketChat(ids.RCUser, model.Presence) {}

func (b *bed) PersonChanged(_ context.Context, user ids.RCUser) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.people = append(b.people, user)
	b.signal()
	return nil
}

// Write keeps the log, and shows lines above the info level.
func (b *bed) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.log.Write(p)
	b.signal()
	if strings.Contains(string(p), "level=INFO") {
		return len(p), nil
	}
	return b.t.Output().Write(p)
}

func (b *bed) signal() {
	select {
	case b.more <- struct{}{}:
	default:
	}
}

// waitFor waits until ok, which is checked after everything that the side hands over.
func (b *bed) waitFor(what string, within time.Duration, ok func() bool) time.Duration {
	b.t.Helper()
	start := time.Now()
	late := time.After(within)
	for {
		b.mu.Lock()
		is := ok()
		b.mu.Unlock()
		if is {
			return time.Since(start)
		}
		select {
		case <-b.more:
		case <-late:
			b.t.Fatalf("waited %s for %s", within, what)
		}
	}
}

// waitForAll waits until the side has handed over an item for each ID.
func (b *bed) waitForAll(what string, within time.Duration, itemIDs []string) time.Duration {
	b.t.Helper()
	next := 0
	return b.waitFor(what, within, func() bool {
		for next < len(itemIDs) {
			if _, ok := b.items[itemIDs[next]]; !ok {
				return false
			}
			next++
		}
		return true
	})
}

// group creates a private room of alice's that the bridge reads.
func (b *bed) group(name string) ids.RCRoom {
	b.t.Helper()
	room := ids.RCRoom(b.rc.CreateRoom("p", name, "alice", "matrix-bridge"))
	b.portal(model.Portal{RCRoom: room, MXRoom: ids.MXRoom("!" + name + ":x"), RCType: rocketchat.Group})
	return room
}

// portal stores a portal that existed before the side starts.
func (b *bed) portal(p model.Portal) {
	b.t.Helper()
	p.Created = time.Now().Add(-time.Hour)
	if err := b.store.PutPortal(b.t.Context(), p, nil, map[string]string{model.RCCursor(p.RCRoom): fmt.Sprint(time.Now().UnixMilli())}); err != nil {
		b.t.Fatal(err)
	}
}

// puppet creates an account for a person on Matrix.
func (b *bed) puppet(name string) model.Puppet {
	b.t.Helper()
	u := b.rc.CreateUser(name, "user", "bot")
	p := model.Puppet{MXUser: ids.MXUser("@" + name + ":far"), RCUser: ids.RCUser(u.ID), Username: name, Name: name, Token: secret.New(u.Token)}
	if err := b.store.PutPuppet(b.t.Context(), p); err != nil {
		b.t.Fatal(err)
	}
	return p
}

// direct creates a direct room of alice and a puppet that is a portal.
func (b *bed) direct(p model.Puppet) ids.RCRoom {
	b.t.Helper()
	room := ids.RCRoom(b.rc.CreateDirect("alice", p.Username))
	b.portal(model.Portal{RCRoom: room, MXRoom: ids.MXRoom("!direct-" + p.Username + ":x"), RCType: rocketchat.Direct, RCReader: p.MXUser})
	return room
}

// directs returns the events about new direct rooms that were handed over.
func (b *bed) directs() (out []event.RCDirect) {
	for _, it := range b.items {
		if it.Kind == event.KindRCDirect {
			var d event.RCDirect
			if err := json.Unmarshal(it.Payload, &d); err != nil {
				b.t.Error(err)
			}
			out = append(out, d)
		}
	}
	return out
}
