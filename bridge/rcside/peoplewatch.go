package rcside

import (
	"context"
	"encoding/json"
	"errors"
	"hash/fnv"
	"slices"
	"time"

	"appliance/bridge/ids"
	"appliance/bridge/relay/model"
	"appliance/bridge/rocketchat"
	"appliance/bridge/rocketchat/ddp"
)

// Rocket.Chat announces a new username, a new picture and a deletion that removes
// messages. It does not announce a new display name (unless it shows those in place
// of usernames), a deletion that keeps the messages, or a deactivation: these are
// found by polling the user list.
const (
	// peopleEvery is the interval between two checks; slow checks are made less often.
	peopleEvery = 2 * time.Minute
	peopleShare = 50
	// toldFor bounds how long the bridge works on one change.
	toldFor = 10 * time.Second
	// maxTold is how many changes may be pending.
	maxTold = 1024
	// askAgain is when a change is checked once more, if the first check does not
	// show it yet, or may not: some versions announce a picture before they store it.
	askAgain = 1500 * time.Millisecond
	maxAsked = 4
	// erasedAfter is when the rooms are compared once more after the messages of a
	// person were deleted: Rocket.Chat announces only that it happened.
	erasedAfter = 20 * time.Second
)

// change is a change of a person that the server announces.
type change struct {
	id, username string // at least one is set
	etag         string // of the new picture, if announced
	picture      bool
	erased       bool // the messages are deleted
	asked        int
	due          time.Time
}

// changes are the announcements about people that the sessions receive.
type changes struct {
	*accounts
	changed chan change
}

// peopleWatch reports changed people to the relay: those that are announced, and
// those that the user list shows.
type peopleWatch struct {
	*accounts
	*readers
	*changes
	relay       Ephemeral
	peopleEvery time.Duration // interval between checks; 0 is the default
}

// profile handles a profile change. Websocket frames must not be held up, so
// another goroutine does the work; what is lost with the connection is found by the
// next check of the user list.
func (s *changes) profile(e ddp.Event) {
	var about struct {
		ID       string  `json:"_id"`
		UserID   string  `json:"userId"`
		Username string  `json:"username"`
		Room     string  `json:"rid"` // of a room's picture
		ETag     *string `json:"etag"`
		Erasure  string  `json:"messageErasureType"`
	}
	if json.Unmarshal(e.Args[0], &about) != nil || about.ID+about.UserID+about.Username == "" {
		return // a room's picture comes as a message
	}
	c := change{id: about.ID + about.UserID, username: about.Username, picture: e.Name == "updateAvatar", erased: about.Erasure == "Delete"}
	if about.ETag != nil {
		c.etag = *about.ETag
	}
	select {
	case s.changed <- c:
	default:
		s.log.Warn("too many profile changes at once; some will be copied late")
	}
}

// followPeople reports changed people until ctx ends.
func (s *peopleWatch) followPeople(ctx context.Context) {
	tick := time.NewTicker(askAgain / 3)
	defer tick.Stop()
	var later []change
	follow := func(c change) {
		one, cancel := context.WithTimeout(ctx, toldFor)
		defer cancel()
		again, err := s.personChanged(one, &c)
		if err != nil && ctx.Err() == nil {
			s.log.Warn("a profile change was not copied", "err", err)
		}
		if again && len(later) < maxTold {
			later = append(later, c)
		}
	}
	for {
		select {
		case <-ctx.Done():
			return
		case c := <-s.changed:
			follow(c)
		case now := <-tick.C:
			due := later
			later = nil
			for _, c := range due {
				if now.Before(c.due) {
					later = append(later, c)
				} else {
					follow(c)
				}
			}
		}
	}
}

// personChanged reports a changed person to the relay. again means that the person
// has to be checked once more, when c is due.
func (s *peopleWatch) personChanged(ctx context.Context, c *change) (again bool, err error) {
	c.asked++
	c.due = time.Now().Add(askAgain)
	if c.erased {
		s.compareAll()
		again, c.due = c.asked == 1, time.Now().Add(erasedAfter)
	}
	if c.picture || c.id == "" {
		u, ok, err := s.client.UserByName(ctx, c.username)
		if err != nil || !ok {
			return c.asked < maxAsked && err != nil, err
		}
		c.id = u.ID
		if c.etag != "" && u.AvatarETag != c.etag && c.asked < maxAsked {
			return true, nil // not stored yet
		}
		again = c.picture && c.etag == "" && c.asked == 1
	}
	return again, s.relay.PersonChanged(ctx, ids.RCUser(c.id))
}

// watchPeople checks the user list periodically until ctx ends.
func (s *peopleWatch) watchPeople(ctx context.Context) {
	every, failed := peopleEvery, false
	if s.peopleEvery > 0 {
		every = s.peopleEvery
	}
	p := &lastLook{seen: map[ids.RCUser]uint64{}, gone: map[ids.RCUser]bool{}}
	for {
		start := time.Now()
		err := s.lookAtPeople(ctx, p)
		if err != nil && ctx.Err() == nil && !failed {
			s.log.Warn("profile changes may appear late on Matrix", "err", err)
		}
		failed = err != nil
		select {
		case <-ctx.Done():
			return
		case <-time.After(max(every, peopleShare*time.Since(start))):
		}
	}
}

// lastLook is the state from the last check of the user list. It belongs to one goroutine.
type lastLook struct {
	seen   map[ids.RCUser]uint64 // hash of each profile
	gone   map[ids.RCUser]bool   // people already reported as gone
	looked bool                  // there was a complete check
}

// lookAtPeople reports the people who have changed since the last check or, at the
// first check, who differ from their ghosts.
func (s *peopleWatch) lookAtPeople(ctx context.Context, p *lastLook) error {
	seen := make(map[ids.RCUser]uint64, len(p.seen))
	err := s.client.Users(ctx, func(users []rocketchat.User) error {
		for _, u := range users {
			id := ids.RCUser(u.ID)
			seen[id] = looks(u)
			if was, known := p.seen[id]; known && was == seen[id] {
				continue
			}
			if err := s.compareWithGhost(ctx, u, p.looked); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	if _, me := seen[ids.RCUser(s.client.UserID())]; !me {
		return errPartOfPeople
	}
	p.seen, p.looked = seen, true
	return s.lookForGone(ctx, p)
}

// errPartOfPeople: the list is incomplete, so a person who is not on it may still exist.
var errPartOfPeople = errors.New("the list of people does not show the bridge's own account")

const (
	ghostPage = 500
	// maxGone is how many unlisted people are reported in one check.
	maxGone = 200
)

// lookForGone reports the ghosts whose people are not on the user list.
func (s *peopleWatch) lookForGone(ctx context.Context, p *lastLook) error {
	told := 0
	for after := ids.MXUser(""); ; {
		ghosts, err := s.store.GhostsAfter(ctx, after, ghostPage)
		if err != nil || len(ghosts) == 0 {
			return err
		}
		after = ghosts[len(ghosts)-1].MXUser
		for _, g := range ghosts {
			if _, is := p.seen[g.RCUser]; is || p.gone[g.RCUser] {
				continue
			}
			if told++; told > maxGone {
				return nil
			}
			if err := s.relay.PersonChanged(ctx, g.RCUser); err != nil {
				return err
			}
			p.gone[g.RCUser] = true
		}
	}
}

// looks returns a hash that changes with what Matrix shows of a person.
func looks(u rocketchat.User) uint64 {
	h := fnv.New64a()
	for _, part := range []string{u.Username, u.Name, u.AvatarETag} {
		_, _ = h.Write([]byte(part + "\x00")) // never fails
	}
	if u.Active {
		_, _ = h.Write([]byte{1})
	}
	return h.Sum64()
}

// compareWithGhost reports a person who may look different on Matrix.
func (s *peopleWatch) compareWithGhost(ctx context.Context, u rocketchat.User, changed bool) error {
	g, ok, err := s.store.GhostByRC(ctx, ids.RCUser(u.ID))
	if err != nil || !ok {
		return err
	}
	if !changed {
		picture, err := s.store.Cursor(ctx, model.AvatarCursor(g.RCUser))
		if err != nil {
			return err
		}
		same := g.Username == u.Username && g.Name == personOf(u).Display() && u.Active && slices.Contains([]string{"", picture}, u.AvatarETag)
		if same {
			return nil
		}
	}
	return s.relay.PersonChanged(ctx, g.RCUser)
}
