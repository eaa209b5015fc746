package mxside

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"time"

	"maunium.net/go/mautrix"

	"appliance/bridge/convert"
	"appliance/bridge/ids"
	"appliance/bridge/queue"
	"appliance/bridge/relay"
)

const (
	syncCursor  = "mx:sync"
	pollTimeout = 30 * time.Second
	// doubtFor is how long after a homeserver's restart its transactions may be
	// out of order: Dendrite sends what it had under way again up to 64 s after
	// what came later.
	doubtFor = 2 * time.Minute
	// page and maxPages bound how far a room is read back.
	page     = 100
	maxPages = 20
	minPause = 200 * time.Millisecond
	maxPause = 10 * time.Second
)

// syncState is what Listen knows of the homeserver.
type syncState struct {
	mu         sync.Mutex
	live       bool
	doubtUntil time.Time
	// refuse says that the next transaction is to be refused; see stir.
	refuse bool
}

// doubt begins a time in which transactions may come out of order.
func (st *syncState) doubt() {
	st.mu.Lock()
	defer st.mu.Unlock()
	st.live, st.doubtUntil, st.refuse = false, time.Now().Add(doubtFor), true
}

// takeRefusal reports, once after each absence of the homeserver, that a
// transaction is to be refused.
func (st *syncState) takeRefusal() bool {
	st.mu.Lock()
	defer st.mu.Unlock()
	was := st.refuse
	st.refuse = false
	return was
}

// answered notes that the homeserver is there. The time of doubt runs from the
// first answer after an absence.
func (st *syncState) answered() {
	st.mu.Lock()
	defer st.mu.Unlock()
	if !st.live {
		st.live, st.doubtUntil = true, time.Now().Add(doubtFor)
	}
}

func (st *syncState) doubted() bool {
	st.mu.Lock()
	defer st.mu.Unlock()
	return time.Now().Before(st.doubtUntil)
}

// Connected reports whether the homeserver answers.
func (s *Side) Connected() bool {
	s.sync.mu.Lock()
	defer s.sync.mu.Unlock()
	return s.sync.live
}

// pushesAll reports whether the homeserver's transactions bring everything, in
// order: Synapse's do, Dendrite's do not.
func (s *Side) pushesAll() bool { return s.Kind == "synapse" }

// Listen reads what the bot's /sync shows until ctx ends: everything that
// transactions may lack or bring in the wrong order. Where they lack nothing it
// only watches over the homeserver.
func (s *Side) Listen(ctx context.Context) error {
	bot := s.Names.BotUser()
	poll := func() error { return s.poll(ctx, bot) }
	var running sync.WaitGroup
	defer running.Wait()
	if s.pushesAll() {
		poll = func() error { return s.ping(ctx) }
		running.Go(func() { s.lookForGaps(ctx) })
	} else {
		running.Go(func() { s.sweep(ctx) })
		running.Go(func() { s.followAll(ctx, &running) })
	}
	for failures := 0; ; {
		err := s.Register(ctx, bot, "Rocket.Chat bridge")
		for err == nil {
			if err = poll(); err == nil {
				failures = 0
			}
		}
		if ctx.Err() != nil {
			return nil
		}
		s.sync.doubt()
		failures++
		pause := min(maxPause, minPause<<min(failures-1, 6))
		pause = pause/2 + rand.N(pause) //nolint:gosec // jitter
		s.Log.Warn("the homeserver does not answer", "err", err, "pause", pause)
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(pause):
		}
	}
}

// syncAnswer is what is read of GET /sync.
type syncAnswer struct {
	NextBatch string `json:"next_batch"`
	Presence  struct {
		Events []json.RawMessage `json:"events"`
	} `json:"presence"`
	Rooms struct {
		Join map[ids.MXRoom]struct {
			Timeline struct {
				Events  []json.RawMessage `json:"events"`
				Limited bool              `json:"limited"`
			} `json:"timeline"`
			Ephemeral struct {
				Events []json.RawMessage `json:"events"`
			} `json:"ephemeral"`
		} `json:"join"`
		Invite map[ids.MXRoom]struct {
			InviteState struct {
				Events []json.RawMessage `json:"events"`
			} `json:"invite_state"`
		} `json:"invite"`
	} `json:"rooms"`
}

// poll makes one long poll and stores what it brings, with the position.
func (s *Side) poll(ctx context.Context, bot ids.MXUser) error {
	since, err := s.since(ctx, syncCursor)
	if err != nil {
		return fmt.Errorf("read a cursor: %w", err)
	}
	wait := pollTimeout
	if !s.Connected() {
		wait = 0 // find out at once whether it answers
	}
	ans, err := s.syncOnce(ctx, bot, since, wait)
	if err != nil {
		return err
	}
	s.sync.answered()
	var items []queue.Item
	s.signs(ctx, ans.Presence.Events, "")
	for room, r := range ans.Rooms.Join {
		if since == "" {
			continue // what was said before the bridge was there stays there
		}
		s.signs(ctx, r.Ephemeral.Events, room)
		if r.Timeline.Limited {
			missed, err := s.readBack(ctx, room, bot)
			if err != nil {
				return err
			}
			items = append(items, missed...)
		}
		for _, raw := range r.Timeline.Events {
			if it, ok := s.item(raw, room); ok {
				items = append(items, it)
			}
		}
	}
	return s.moved(ctx, syncCursor, ans.NextBatch, items)
}

func (s *Side) syncOnce(ctx context.Context, user ids.MXUser, since string, wait time.Duration) (syncAnswer, error) {
	ctx, cancel := context.WithTimeout(ctx, wait+30*time.Second)
	defer cancel()
	c := s.as(user)
	query := map[string]string{"timeout": strconv.FormatInt(wait.Milliseconds(), 10), "filter": s.filter(since), "set_presence": "offline"}
	if since != "" {
		query["since"] = since
	}
	var ans syncAnswer
	_, err := c.MakeRequest(ctx, http.MethodGet, c.BuildURLWithQuery(mautrix.ClientURLPath{"v3", "sync"}, query), nil, &ans)
	return ans, side(err)
}

// recover stores, in the room's own order, what a transaction may have
// overtaken.
func (s *Side) recover(ctx context.Context, items []queue.Item) error {
	seen := map[ids.MXRoom]bool{}
	for _, it := range items {
		if it.Kind == relay.KindMXInvite {
			continue
		}
		e, err := convert.ParseEvent(it.Payload)
		if err != nil || seen[ids.MXRoom(e.Room)] {
			continue
		}
		room := ids.MXRoom(e.Room)
		seen[room] = true
		p, ok, err := s.Store.PortalByMX(ctx, room)
		if err != nil {
			return err
		}
		if !ok {
			continue
		}
		reader := p.MXReader
		if reader == "" {
			reader = s.Names.BotUser()
		}
		missed, err := s.readBack(ctx, room, reader)
		if errors.Is(err, relay.ErrForbidden) || errors.Is(err, relay.ErrNotFound) {
			continue // nobody of ours is in the room any more
		}
		if err != nil {
			return err
		}
		if len(missed) > 0 {
			if err := s.Accept(ctx, missed, nil); err != nil {
				return err
			}
		}
	}
	return nil
}

// readBack returns what has happened in a room since the newest event that was
// ever accepted from it, oldest first.
func (s *Side) readBack(ctx context.Context, room ids.MXRoom, reader ids.MXUser) ([]queue.Item, error) {
	s.fill.Lock()
	defer s.fill.Unlock()
	p, ok, err := s.Store.PortalByMX(ctx, room)
	if err != nil || !ok {
		return nil, err
	}
	var found []queue.Item
	err = s.backwards(ctx, room, reader, func(events []json.RawMessage) (bool, error) {
		var batch []queue.Item
		var batchIDs []string
		more := true
		for _, raw := range events {
			if e, err := convert.ParseEvent(raw); err == nil && e.Timestamp < p.Created.Add(-time.Hour).UnixMilli() {
				more = false // long before the portal; clocks differ a little
				break
			}
			if it, ok := s.item(raw, room); ok {
				batch, batchIDs = append(batch, it), append(batchIDs, it.ID)
			}
		}
		known, err := s.Store.Known(ctx, batchIDs)
		if err != nil {
			return false, err
		}
		for _, it := range batch {
			if known[it.ID] {
				return false, nil
			}
			found = append(found, it)
		}
		return more, nil
	})
	slices.Reverse(found)
	return found, err
}

// backwards hands over a room's events, newest first, page by page, until each
// returns false or the room ends: GET /rooms/{room}/messages?dir=b.
func (s *Side) backwards(ctx context.Context, room ids.MXRoom, reader ids.MXUser, each func([]json.RawMessage) (bool, error)) error {
	c := s.as(reader)
	from := ""
	for range maxPages {
		query := map[string]string{"dir": "b", "limit": strconv.Itoa(page)}
		if from != "" {
			query["from"] = from
		}
		var out struct {
			Chunk []json.RawMessage `json:"chunk"`
			End   string            `json:"end"`
		}
		if err := s.getMessages(ctx, c, room, query, &out); err != nil {
			return err
		}
		more, err := each(out.Chunk)
		if err != nil || !more || out.End == "" || len(out.Chunk) == 0 {
			return err
		}
		from = out.End
	}
	return nil
}

func (s *Side) getMessages(ctx context.Context, c *mautrix.Client, room ids.MXRoom, query map[string]string, out any) error {
	ctx, cancel := context.WithTimeout(ctx, 25*time.Second)
	defer cancel()
	_, err := c.MakeRequest(ctx, http.MethodGet, c.BuildURLWithQuery(mautrix.ClientURLPath{"v3", "rooms", room, "messages"}, query), nil, out)
	return side(err)
}

// Invitations implements relay.Matrix: the invitations that a ghost has not
// answered, from its own GET /sync. Dendrite does not push those that come from
// other servers.
func (s *Side) Invitations(ctx context.Context, ghost ids.MXUser) (map[string]relay.Invitation, error) {
	ans, err := s.syncOnce(ctx, ghost, "", 0)
	return invitations(ans, ghost), err
}

// invitations returns the invitations that a /sync shows.
func invitations(ans syncAnswer, ghost ids.MXUser) map[string]relay.Invitation {
	out := map[string]relay.Invitation{}
	for room, r := range ans.Rooms.Invite {
		inv := relay.Invitation{Room: room, Ghost: ghost}
		id := ""
		for _, raw := range r.InviteState.Events {
			e, err := convert.ParseEvent(raw)
			if err != nil {
				continue
			}
			switch {
			case e.Type == "m.room.member" && e.StateKey == string(ghost):
				inv.Inviter, inv.Direct, id = ids.MXUser(e.Sender), e.Content.Direct, e.ID
			case e.Type == "m.room.name":
				inv.Name = e.Content.RoomName
			}
		}
		if id == "" { // Synapse leaves it out
			id = invitationID(room, ghost)
		}
		if inv.Inviter != "" {
			out[id] = inv
		}
	}
	return out
}
