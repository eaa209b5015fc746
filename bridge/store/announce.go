package store

import (
	"context"
	"encoding/json"
	"errors"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
)

// What one process does concerns the others at once: NOTIFY tells them. What is not
// heard is found a little later anyway, by looking.

const (
	channel    = "appliance_bridge"
	topicLanes = "lanes" // items were added to lanes, or lanes were given back
	// TopicPortals tells that portals began or ended.
	TopicPortals = "portals"
	topicRoles   = "roles"    // a role was given back
	topicBeat    = "replicas" // a process began or stopped
	maxPayload   = 7000       // bytes of one notification; PostgreSQL takes fewer than 8000
	maxUnsaid    = 10_000     // values that wait to be said; what is beyond is found by looking
	listenFor    = 20 * time.Second
	againAfter   = time.Second // before the connection that listens is opened again
)

// notice is the payload of a notification.
type notice struct {
	From   string   `json:"from"`
	Topic  string   `json:"topic"`
	Values []string `json:"values"`
}

// announcer collects what the other processes are to be told.
type announcer struct {
	k      *process
	mu     sync.Mutex
	unsaid map[string]map[string]bool
	more   chan struct{}
}

// say tells the other processes, soon. It does not wait.
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

// run says what there is to say until ctx ends.
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

// flush says what there is to say. What could not be said is found by looking.
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
			text, _ := json.Marshal(n) // strings cannot fail
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

// listener hears what the other processes say.
type listener struct {
	*holder
	changed chan struct{} // has an element when another process began or stopped
}

// listen hears what the other processes say until ctx ends.
func (k *listener) listen(ctx context.Context) {
	for ctx.Err() == nil {
		if err := k.hear(ctx); err != nil && ctx.Err() == nil {
			k.log.Warn("the connection that hears other processes ended", "err", err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(againAfter):
		}
	}
}

// hear listens on a connection of its own until that ends.
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
	k.heardNothing() // what was said before
	var ended error
	_ = conn.Raw(func(driver any) error {
		c, ok := driver.(interface{ Conn() *pgx.Conn })
		if !ok {
			ended = errors.New("the driver is not pgx")
			return nil
		}
		defer func() { _ = c.Conn().Close(context.WithoutCancel(ctx)) }() // it listens: nothing else may use it
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
			default: // nobody has said anything: is it still there?
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

// hears takes a notification.
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

// subscribers are told what other processes announce.
type subscribers struct {
	mu     sync.Mutex
	topics map[string][]func([]string)
	work   []func()
}

// heard tells those who have subscribed to a topic.
func (s *subscribers) heard(topic string, values []string) {
	s.mu.Lock()
	subscribed := s.topics[topic]
	s.mu.Unlock()
	for _, f := range subscribed {
		f(values)
	}
}

// Subscribe makes f be called with what other processes announce about a topic. f must
// not wait. With SQLite there are no other processes.
func (s *subscribers) Subscribe(topic string, f func(values []string)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.topics[topic] = append(s.topics[topic], f)
}

// Announce tells the other processes that share the database, soon and at most once: a
// subscriber also has to look for itself now and then.
func (s *writer) Announce(topic, value string) {
	if k, ok := s.keeper.(*shared); ok {
		k.news.say(topic, value)
	}
}

// OnWork makes f be called when another process has made work for this one. f must not
// wait.
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
