package store

import (
	"context"
	"encoding/json"
	"errors"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
)

// Processes notify each other of changes at once with NOTIFY. A process that misses a
// notification finds the change a little later by polling.

const (
	channel    = "appliance_bridge"
	topicLanes = "lanes" // items were added to lanes, or lanes were given back
	// TopicPortals announces that portals began or ended.
	TopicPortals = "portals"
	topicRoles   = "roles"    // a role was given back
	topicBeat    = "replicas" // a process started or stopped
	maxPayload   = 7000       // bytes of one notification; PostgreSQL takes fewer than 8000
	maxUnsaid    = 10_000     // values that wait to be announced; polling finds the rest
	listenFor    = 20 * time.Second
	againAfter   = time.Second // before the listening connection is reopened
)

// notice is the payload of a notification.
type notice struct {
	From   string   `json:"from"`
	Topic  string   `json:"topic"`
	Values []string `json:"values"`
}

// announcer collects what the other processes should be told.
type announcer struct {
	k      *process
	mu     sync.Mutex
	unsaid map[string]map[string]bool
	more   chan struct{}
}

// say queues a notification to the other processes. It does not block.
func (a *announcer) say(topic, value string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.unsaid[topic]) >= maxUnsaid {
		return
	}
	if a.unsaid[topic] == nil {
		a.unsaid[topic] = map[string]bool{}
	}
	a.unsaid[topic][value] = true
	select {
	case a.more <- struct{}{}:
	default:
	}
}

// run sends notifications until ctx ends.
func (a *announcer) run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-a.more:
			a.flush(ctx)
		}
	}
}

// flush sends the queued notifications. Those it cannot send are made up for by polling.
func (a *announcer) flush(ctx context.Context) {
	a.mu.Lock()
	all := a.unsaid
	a.unsaid = map[string]map[string]bool{}
	a.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, dbPatience)
	defer cancel()
	for topic, values := range all {
		for _, payload := range a.payloads(topic, values) {
			if _, err := a.k.s.db.ExecContext(ctx, `SELECT pg_notify($1, $2)`, channel, payload); err != nil {
				return
			}
		}
	}
}

func (a *announcer) payloads(topic string, values map[string]bool) []string {
	var out []string
	n := notice{From: a.k.owner, Topic: topic}
	size := 0
	end := func() {
		if len(n.Values) > 0 {
			text, _ := json.Marshal(n) // strings cannot fail to encode
			out = append(out, string(text))
		}
		n.Values, size = nil, 0
	}
	for v := range values {
		quoted, _ := json.Marshal(v)
		if len(quoted) > maxPayload {
			continue
		}
		if size+len(quoted) > maxPayload {
			end()
		}
		n.Values = append(n.Values, v)
		size += len(quoted) + 1
	}
	end()
	return out
}

// listener receives the notifications of the other processes.
type listener struct {
	*holder
	changed chan struct{} // has an element when another process started or stopped
}

// listen receives the notifications of the other processes until ctx ends.
func (k *listener) listen(ctx context.Context) {
	for ctx.Err() == nil {
		if err := k.hear(ctx); err != nil && ctx.Err() == nil {
			k.log.Warn("the connection for notifications of other processes ended", "err", err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(againAfter):
		}
	}
}

// hear listens on its own connection until that ends.
func (k *listener) hear(ctx context.Context) error {
	conn, err := k.s.db.Conn(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	one, cancel := context.WithTimeout(ctx, dbPatience)
	_, err = conn.ExecContext(one, `LISTEN `+channel)
	cancel()
	if err != nil {
		return err
	}
	k.heardNothing() // for earlier notifications
	var ended error
	_ = conn.Raw(func(driver any) error {
		c, ok := driver.(interface{ Conn() *pgx.Conn })
		if !ok {
			ended = errors.New("the driver is not pgx")
			return nil
		}
		defer func() { _ = c.Conn().Close(context.WithoutCancel(ctx)) }() // it listens: it must not be reused
		for {
			one, cancel := context.WithTimeout(ctx, listenFor)
			n, err := c.Conn().WaitForNotification(one)
			cancel()
			switch {
			case err == nil:
				k.hears(n.Payload)
			case ctx.Err() != nil || !errors.Is(err, context.DeadlineExceeded):
				ended = err
				return nil
			default: // no notification: is the connection still alive?
				one, cancel := context.WithTimeout(ctx, dbPatience)
				err := c.Conn().Ping(one)
				cancel()
				if err != nil {
					ended = err
					return nil
				}
			}
		}
	})
	return ended
}

// hears handles a notification.
func (k *listener) hears(payload string) {
	var n notice
	if json.Unmarshal([]byte(payload), &n) != nil || n.From == k.owner {
		return
	}
	switch n.Topic {
	case topicLanes:
		k.heard(n.Values)
		return
	case topicBeat:
		select {
		case k.changed <- struct{}{}:
		default:
		}
	}
	k.subscribers.heard(n.Topic, n.Values)
}

// subscribers holds the callbacks for announcements of other processes.
type subscribers struct {
	mu     sync.Mutex
	topics map[string][]func([]string)
	work   []func()
}

// heard calls the subscribers of a topic.
func (s *subscribers) heard(topic string, values []string) {
	s.mu.Lock()
	subscribed := s.topics[topic]
	s.mu.Unlock()
	for _, f := range subscribed {
		f(values)
	}
}

// Subscribe registers f to be called with announcements of other processes about a topic.
// f must not block. With SQLite there are no other processes.
func (s *subscribers) Subscribe(topic string, f func(values []string)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.topics[topic] = append(s.topics[topic], f)
}

// Announce notifies the other processes that share the database, soon and at most once,
// so a subscriber also has to poll now and then.
func (s *writer) Announce(topic, value string) {
	if k, ok := s.keeper.(*shared); ok {
		k.news.say(topic, value)
	}
}

// OnWork registers f to be called when another process has created work for this one. f
// must not block.
func (s *subscribers) OnWork(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.work = append(s.work, f)
}

func (s *subscribers) wake() {
	s.mu.Lock()
	work := s.work
	s.mu.Unlock()
	for _, f := range work {
		f()
	}
}

// Shared reports whether other processes may share the database.
func (s *writer) Shared() bool {
	_, ok := s.keeper.(*shared)
	return ok
}
