package hermetic

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// service is an application service of a server, with its pending events. It is
// guarded by the universe's lock, except for what never changes.
type service struct {
	s                                 *Server
	id, url, asToken, hsToken, sender string
	users, aliases, exclusive         []*regexp.Regexp // exclusive: those of aliases
	ephemeral                         bool

	queue    []waiting     // not in a transaction yet
	late     []waiting     // in flight when the server stopped
	kept     []transaction // numbered, not accepted yet
	number   int64         // of the last transaction
	down     bool          // a numbered transaction was not accepted
	failures int
	wake     chan struct{} // there is something in queue
	force    chan struct{} // requests an immediate retry
}

// waiting is a pending event, possibly an ephemeral one.
type waiting struct {
	event     json.RawMessage
	ephemeral bool
}

type transaction struct {
	number int64
	events []waiting
}

const (
	// dendriteBatch and synapseBatch are the maximum number of events in a transaction.
	dendriteBatch, synapseBatch = 50, 100
	// firstRetry and lastRetry are how long the server waits after the first failure in a
	// row and after many. The pause doubles in between: Dendrite waits for 2 to 64 s,
	// Synapse for 2 to 512 s. Here it is a tenth or less, since tests would only wait.
	firstRetry, lastRetry = 200 * time.Millisecond, 3 * time.Second
	// lateFor is how long after its start a Dendrite resends what was in flight when
	// it stopped, after everything that came later: up to 64 s, but less here.
	lateFor = time.Second
)

// registration is the registration file of an application service.
type registration struct {
	ID         string
	URL        string
	AS         string `yaml:"as_token"`
	HS         string `yaml:"hs_token"`
	Sender     string `yaml:"sender_localpart"`
	Ephemeral  bool   `yaml:"receive_ephemeral"`
	Namespaces struct {
		Users, Aliases []struct {
			Regex     string
			Exclusive bool
		}
	}
}

// Serve sets the server's application services: the contents of their registration
// files, as documents of one text; "" means none. The server must not be running.
func (s *Server) Serve(registrations string) error {
	s.u.mu.Lock()
	defer s.u.mu.Unlock()
	s.services = nil
	for d := yaml.NewDecoder(strings.NewReader(registrations)); ; {
		var in registration
		if err := d.Decode(&in); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return fmt.Errorf("the registration: %w", err)
		}
		if err := s.addService(in); err != nil {
			return err
		}
	}
}

// addService adds the application service of a registration. The lock is held.
func (s *Server) addService(in registration) error {
	v := &service{s: s, id: in.ID, url: in.URL, asToken: in.AS, hsToken: in.HS, sender: "@" + in.Sender + ":" + s.Name,
		ephemeral: in.Ephemeral && s.Traits.PushesEphemeral, wake: make(chan struct{}, 1), force: make(chan struct{}, 1)}
	if in.AS == "" || in.HS == "" || in.Sender == "" {
		return fmt.Errorf("the registration lacks a token or sender_localpart")
	}
	for _, u := range in.Namespaces.Users {
		re, err := regexp.Compile(u.Regex)
		if err != nil {
			return fmt.Errorf("the registration: %w", err)
		}
		v.users = append(v.users, re)
	}
	for _, a := range in.Namespaces.Aliases {
		re, err := regexp.Compile(a.Regex)
		if err != nil {
			return fmt.Errorf("the registration: %w", err)
		}
		if v.aliases = append(v.aliases, re); a.Exclusive {
			v.exclusive = append(v.exclusive, re)
		}
	}
	s.services = append(s.services, v)
	return nil
}

// serviceOf returns the application service that a user belongs to, or nil if there is none.
func (s *Server) serviceOf(user string) *service {
	for _, v := range s.services {
		if v.owns(user) {
			return v
		}
	}
	return nil
}

// owns reports whether a user belongs to the application service.
func (v *service) owns(user string) bool {
	return user == v.sender || matches(v.users, user)
}

func matches(namespace []*regexp.Regexp, id string) bool {
	return slices.ContainsFunc(namespace, func(re *regexp.Regexp) bool { return re.MatchString(id) })
}

// offer queues an event if the application service should get it: one of its users is in
// the room, or the event is from or about one (Application Service API, "Pushing
// events"). The lock is held.
func (v *service) offer(s *Server, r *room, e *event) {
	about := e.stateKey != nil && e.kind == "m.room.member" && v.owns(*e.stateKey)
	remote := about && e.str("membership") == "invite" && !r.has(s.Name) && serverOf(e.sender) != s.Name
	switch {
	case e.kind == "m.room.redaction" && !s.Traits.PushesRedactions, remote && !s.Traits.PushesRemoteInvites:
		return
	case !about && !v.owns(e.sender) && !slices.ContainsFunc(r.joined(), v.owns):
		return
	}
	shown := s.shown(r, e, false)
	if about && e.str("membership") == "invite" && s.Traits.Synapse {
		if unsigned, ok := shown["unsigned"].(map[string]any); ok {
			unsigned["invite_room_state"] = s.stripped(r, *e.stateKey)
		}
	}
	v.put(waiting{event: encode(shown)})
}

// pushEphemeral queues an ephemeral event; r is nil for one that does not concern a
// room. The lock is held.
func (s *Server) pushEphemeral(r *room, e map[string]any) {
	if r != nil {
		e["room_id"] = r.id
	}
	for _, v := range s.services {
		if v.ephemeral && (r == nil || slices.ContainsFunc(r.joined(), v.owns)) {
			v.put(waiting{event: encode(e), ephemeral: true})
		}
	}
}

func (v *service) put(w waiting) {
	v.queue = append(v.queue, w)
	signal(v.wake)
}

// signal puts an element into a channel that has room for one.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// launch starts sending. The lock is held.
func (v *service) launch(ctx context.Context, r *running) {
	signal(v.wake)
	v.failures = 0
	if v.url == "" {
		return
	}
	if !v.s.Traits.GrowsTransactions {
		v.down = v.down || !v.s.Traits.HoldsBack && len(v.kept) > 0
		r.work.Go(func() { v.sendNumbered(ctx, r) })
		return
	}
	if late := v.late; len(late) > 0 {
		v.late = nil
		time.AfterFunc(lateFor, func() {
			v.s.u.mu.Lock()
			defer v.s.u.mu.Unlock()
			v.queue = append(v.queue, late...)
			signal(v.wake)
		})
	}
	r.work.Go(func() { v.sendGrowing(ctx, r) })
}

// pause waits after a failure. It returns false if ctx ended.
func (v *service) pause(ctx context.Context, failures int) bool {
	select {
	case <-ctx.Done():
		return false
	case <-v.force:
	case <-time.After(min(lastRetry, firstRetry<<min(failures-1, 10))):
	}
	return true
}

// sendGrowing sends as Dendrite does: all pending events, under one ID until it is accepted.
func (v *service) sendGrowing(ctx context.Context, r *running) {
	id, again := "", false
	for failures := 0; ; {
		v.s.u.mu.Lock()
		batch := slices.Clone(v.queue[:min(dendriteBatch, len(v.queue))])
		v.s.u.mu.Unlock()
		if len(batch) == 0 {
			select {
			case <-ctx.Done():
				return
			case <-v.wake:
			}
			continue
		}
		if failures == 0 && !again {
			id = strconv.FormatInt(time.Now().UnixNano(), 10)
		}
		taken := v.deliver(ctx, r, id, batch)
		switch {
		case ctx.Err() != nil: // in flight when the server stops
			v.s.u.mu.Lock()
			v.late, v.queue = append(v.late, batch...), v.queue[len(batch):]
			v.s.u.mu.Unlock()
			return
		case !taken:
			failures++
			if !v.pause(ctx, failures) {
				return
			}
			continue
		case !again && v.s.rude.repeats(): // under the same ID, with the events that came meanwhile
			failures, again = 0, true
			continue
		}
		failures, again = 0, false
		v.s.u.mu.Lock()
		v.queue = v.queue[len(batch):]
		v.s.u.mu.Unlock()
	}
}

// sendNumbered sends as Synapse does: each transaction has a number and fixed content.
// After a failure it keeps new ones, and sends all of them, oldest first, when the pause
// is over or the application service pings. One that was in flight when the server
// stopped stays where it is until there is a failure.
func (v *service) sendNumbered(ctx context.Context, r *running) {
	for ctx.Err() == nil {
		fresh, down := v.next()
		switch {
		case fresh == nil && down:
			if !v.pause(ctx, max(1, v.failures)) {
				return
			}
			v.resume(ctx, r)
		case fresh == nil:
			select {
			case <-ctx.Done():
				return
			case <-v.wake:
			case <-v.force:
			}
		case !down:
			v.settle(ctx, *fresh, v.deliver(ctx, r, strconv.FormatInt(fresh.number, 10), fresh.events))
		}
	}
}

// next makes a transaction of the pending events, or returns nil if there are none.
func (v *service) next() (fresh *transaction, down bool) {
	v.s.u.mu.Lock()
	defer v.s.u.mu.Unlock()
	if len(v.queue) > 0 {
		n := min(synapseBatch, len(v.queue))
		v.number++
		fresh = &transaction{v.number, slices.Clone(v.queue[:n])}
		v.queue, v.kept = v.queue[n:], append(v.kept, *fresh)
	}
	return fresh, v.down
}

// settle records whether a transaction was accepted.
func (v *service) settle(ctx context.Context, t transaction, taken bool) {
	v.s.u.mu.Lock()
	defer v.s.u.mu.Unlock()
	switch {
	case taken:
		v.failures = 0
		v.kept = slices.DeleteFunc(v.kept, func(k transaction) bool { return k.number == t.number })
	case ctx.Err() == nil:
		v.down = true
		v.failures++
	}
}

// resume sends what was kept, oldest first, until a failure.
func (v *service) resume(ctx context.Context, r *running) {
	for ctx.Err() == nil {
		v.next()
		v.s.u.mu.Lock()
		if len(v.kept) == 0 {
			v.down = false
			v.s.u.mu.Unlock()
			return
		}
		oldest := v.kept[0]
		v.s.u.mu.Unlock()
		taken := v.deliver(ctx, r, strconv.FormatInt(oldest.number, 10), oldest.events)
		if v.settle(ctx, oldest, taken); !taken {
			return
		}
	}
}

// deliver is PUT /_matrix/app/v1/transactions/{id}. It reports whether the transaction was accepted.
func (v *service) deliver(ctx context.Context, r *running, id string, batch []waiting) bool {
	events, ephemeral := []json.RawMessage{}, []json.RawMessage{}
	for _, w := range batch {
		if w.ephemeral {
			ephemeral = append(ephemeral, w.event)
		} else {
			events = append(events, w.event)
		}
	}
	body := map[string]any{"events": events}
	if len(ephemeral) > 0 {
		body["ephemeral"] = ephemeral
	}
	status, err := v.call(ctx, r, http.MethodPut, "transactions/"+id, encode(body))
	if err == nil && status == http.StatusOK && !v.s.Traits.GrowsTransactions && v.s.rude.repeats() {
		status, err = v.call(ctx, r, http.MethodPut, "transactions/"+id, encode(body))
	}
	return err == nil && status == http.StatusOK
}

// call makes a request to the application service and returns the status.
func (v *service) call(ctx context.Context, r *running, method, path string, body []byte) (int, error) {
	req, err := http.NewRequestWithContext(ctx, method, strings.TrimSuffix(v.url, "/")+"/_matrix/app/v1/"+path, bytes.NewReader(body))
	if err != nil {
		return 0, err
	}
	req.Header.Set("Authorization", "Bearer "+v.hsToken)
	req.Header.Set("Content-Type", "application/json")
	res, err := r.client.Do(req) //nolint:bodyclose // closed below, or left open until the end of the run as Dendrite leaves it
	if err != nil {
		return 0, err
	}
	if v.s.Traits.LeaksAnswers && method == http.MethodPut && res.ContentLength != 0 {
		v.s.u.mu.Lock()
		defer v.s.u.mu.Unlock()
		r.leaks = append(r.leaks, func() { _ = res.Body.Close() })
		return res.StatusCode, nil
	}
	_, _ = io.Copy(io.Discard, io.LimitReader(res.Body, 1<<16))
	return res.StatusCode, res.Body.Close()
}

// query is GET /_matrix/app/v1/users/{user} and /rooms/{alias}.
func (v *service) query(ctx context.Context, r *running, kind, id string) bool {
	if v.url == "" {
		return false
	}
	status, err := v.call(ctx, r, http.MethodGet, kind+"/"+url.PathEscape(id), nil)
	return err == nil && status == http.StatusOK
}

// pingService is POST /appservice/{id}/ping (Client-Server API, since v1.7). Synapse then
// immediately sends what it has kept.
func (s *Server) pingService(q *request) (any, error) {
	s.u.mu.Lock()
	v, r := q.service, s.running
	s.u.mu.Unlock()
	switch {
	case !s.Traits.Pings:
		return nil, &apiError{http.StatusNotFound, "M_UNRECOGNIZED", "there is no such request", nil}
	case v == nil || q.PathValue("id") != v.id:
		return nil, forbidden("only the application service may do this")
	case v.url == "":
		return nil, &apiError{http.StatusBadRequest, "M_URL_NOT_SET", "the registration has no url", nil}
	case r == nil:
		return nil, forbidden("the server stops")
	}
	began := time.Now()
	status, err := v.call(q.Context(), r, http.MethodPost, "ping", encode(map[string]any{}))
	if err != nil {
		return nil, &apiError{http.StatusBadGateway, "M_CONNECTION_FAILED", err.Error(), nil}
	}
	if status != http.StatusOK {
		return nil, &apiError{http.StatusBadGateway, "M_BAD_STATUS", fmt.Sprint("status ", status), map[string]any{"status": status}}
	}
	signal(v.force)
	return map[string]any{"duration_ms": time.Since(began).Milliseconds()}, nil
}
