package mxside

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
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
	restFor     = time.Second
	minPause    = 200 * time.Millisecond
	maxPause    = 10 * time.Second
)

// syncState is what Listen knows of the homeserver.
type syncState struct {
	doubtFor   time.Duration // see Traits.Disorder
	mu         sync.Mutex
	live       bool
	doubtUntil time.Time
	// nudged counts the nudges of each room since the last absence.
	nudged map[ids.MXRoom]int
}

// doubt begins a time in which transactions may come out of order.
func (st *syncState) doubt() {
	st.mu.Lock()
	defer st.mu.Unlock()
	st.live, st.doubtUntil, st.nudged = false, time.Now().Add(st.doubtFor), map[ids.MXRoom]int{}
}

// nudges notes that a room was nudged so many times.
func (st *syncState) nudges(room ids.MXRoom, n int) {
	st.mu.Lock()
	defer st.mu.Unlock()
	st.nudged[room] += n
}

// mayNudge reports whether a room may be nudged once more, and counts it.
func (st *syncState) mayNudge(room ids.MXRoom) bool {
	st.mu.Lock()
	defer st.mu.Unlock()
	if time.Now().After(st.doubtUntil) || st.nudged[room] >= maxNudges {
		return false
	}
	st.nudged[room]++
	return true
}

// overtook begins a time of doubt while the homeserver is there.
func (st *syncState) overtook() {
	st.mu.Lock()
	defer st.mu.Unlock()
	st.doubtUntil = time.Now().Add(st.doubtFor)
}

// answered notes that the homeserver is there. The time of doubt runs from the
// first answer after an absence.
func (st *syncState) answered() {
	st.mu.Lock()
	defer st.mu.Unlock()
	if !st.live {
		st.live, st.doubtUntil = true, time.Now().Add(st.doubtFor)
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

// Listen reads what the bot's /sync shows until ctx ends: everything that
// transactions may lack or bring in the wrong order. Where they lack nothing it
// only watches over the homeserver.
func (s *Side) Listen(ctx context.Context) error {
	bot := s.Names.BotUser()
	contact := func() error { return s.ping(ctx) }
	var running sync.WaitGroup
	defer running.Wait()
	running.Go(func() { s.followHints(ctx) })
	if len(s.traits.Rereads) > 0 {
		running.Go(func() { s.lookForGaps(ctx) })
	}
	if s.traits.HoldsBack {
		running.Go(func() { s.flushes(ctx) })
		running.Go(func() { s.retryRefused(ctx) })
	}
	if s.traits.PushesPart {
		contact = func() error { return s.poll(ctx, bot) }
		running.Go(func() { s.sweep(ctx) })
		running.Go(func() { s.followAll(ctx, &running) })
	}
	for failures := 0; ; {
		err := s.Register(ctx, bot, "Rocket.Chat bridge")
		for err == nil {
			if err = contact(); err == nil {
				failures = 0
			}
		}
		if ctx.Err() != nil {
			return nil
		}
		s.sync.doubt()
		s.held.forget()
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

// timeline is what a /sync shows of a room.
type timeline struct {
	Events  []json.RawMessage `json:"events"`
	Limited bool              `json:"limited"` // something before them is left out
}

// syncAnswer is what is read of GET /sync.
type syncAnswer struct {
	NextBatch string `json:"next_batch"`
	Presence  struct {
		Events []json.RawMessage `json:"events"`
	} `json:"presence"`
	Rooms struct {
		Join map[ids.MXRoom]struct {
			Timeline  timeline `json:"timeline"`
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
		return s.stuck(ctx, bot, syncCursor, since, err)
	}
	again := s.goesOn(syncCursor)
	s.sync.answered()
	var items []queue.Item
	s.signs(ctx, ans.Presence.Events, "")
	for room, r := range ans.Rooms.Join {
		if since == "" && !again {
			continue // what was said before the bridge was there stays there
		}
		r.Timeline.Limited = r.Timeline.Limited || again
		s.signs(ctx, r.Ephemeral.Events, room)
		brought, err := s.timeline(ctx, room, bot, r.Timeline)
		if err != nil {
			return err
		}
		items = append(items, brought...)
	}
	if err := s.moved(ctx, syncCursor, ans.NextBatch, items); err != nil {
		return err
	}
	s.rest(ctx, ans)
	return nil
}

// rest waits for a moment after a /sync that brought something: where people talk
// every event would cost the homeserver another answer, and its transactions bring
// the same sooner.
func (s *Side) rest(ctx context.Context, ans syncAnswer) {
	if len(ans.Rooms.Join) > 0 {
		wait(ctx, restFor)
	}
}

func (s *Side) syncOnce(ctx context.Context, user ids.MXUser, since string, wait time.Duration) (syncAnswer, error) {
	ctx, cancel := context.WithTimeout(ctx, wait+30*time.Second)
	defer cancel()
	c := s.as(user)
	c.ResponseSizeLimit = maxSync
	query := map[string]string{"timeout": strconv.FormatInt(wait.Milliseconds(), 10), "filter": s.filter(since), "set_presence": "offline"}
	if since != "" {
		query["since"] = since
	}
	var ans syncAnswer
	_, err := c.MakeRequest(ctx, http.MethodGet, c.BuildURLWithQuery(mautrix.ClientURLPath{"v3", "sync"}, query), nil, &ans)
	return ans, side(err)
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
