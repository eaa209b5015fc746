package rcside

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"appliance/bridge/event"
	"appliance/bridge/ids"
	"appliance/bridge/queue"
	"appliance/bridge/relay/model"
	"appliance/bridge/rocketchat"
)

// The bridge account cannot read direct rooms, so it does not notice a first
// message to a person on Matrix. Administrators see which direct rooms exist, who
// is in them and how many messages each has: so the list is checked every few
// seconds, the most recently active rooms first, and where the number has changed
// the room is read as the puppet that is in it. What other people say to each other
// is never requested.
const (
	hookName   = "Matrix bridge: new direct messages" // webhook created by releases before 1.1
	firstBegan = "rc:began"                           // start of the first process of all, in milliseconds
	lookCursor = "rc:directs"                         // when direct rooms were last checked, in milliseconds

	// lookEvery is the interval between two checks of the newest direct rooms, sweepEvery
	// between two checks of all of them. A slow server gets more time: a pause is
	// lookShare times as long as the check, or sweepShare times as long as the sweep.
	lookEvery  = 2 * time.Second
	maxLook    = 15 * time.Second
	lookShare  = 5
	sweepEvery = 10 * time.Minute
	sweepShare = 100
	// lookPages is how many pages of the newest direct rooms a check reads; if all
	// of them are new, the next check covers all rooms.
	lookPages = 10
	// maxNewest bounds how many direct rooms without people of Matrix are remembered.
	maxNewest = 10000
	// lookBack is how far before the last check activity counts as new: the clocks
	// of two computers differ.
	lookBack = time.Minute
	// rememberEvery is how often the time of the last check is stored.
	rememberEvery = 15 * time.Second
	// firstWords bounds how much of a room is searched for the first message.
	firstWords = 500
)

// directs is the state kept from the last checks of direct rooms. It belongs to one
// goroutine.
type directs struct {
	counts map[ids.RCRoom]int // message counts of rooms with people of Matrix
	newest map[ids.RCRoom]int // message counts of rooms seen by the last check
	until  time.Time          // when the last complete check began
	stored time.Time          // when until was last stored
	looked bool               // not the first check: unknown rooms are new
	began  time.Time          // when the process began
	begins bool               // first check of all: earlier messages do not cross
	behind bool               // the last check did not reach an unchanged room
}

// directWatch polls the list of direct rooms.
type directWatch struct {
	*accounts
	*readers
	accept Accept
	now    func() time.Time
}

// watchDirects polls the list of direct rooms until ctx ends. It calls looked after
// each check.
func (s *directWatch) watchDirects(ctx context.Context, looked func()) {
	d := &directs{began: s.now(), counts: map[ids.RCRoom]int{}, newest: map[ids.RCRoom]int{}}
	var sweep time.Time // when the next one is due
	hooks, failed := true, false
	for {
		start := time.Now()
		s.lookAtRest(start)
		all := d.behind || start.After(sweep)
		if hooks && all {
			hooks = s.removeHooks(ctx) != nil // on failure, retry with the next sweep
		}
		err := s.look(ctx, d, all)
		looked()
		if ctx.Err() != nil {
			return
		}
		if err != nil && !failed {
			s.log.Warn("new direct messages to people on Matrix are found late: the list of direct rooms cannot be read", "err", err)
		}
		failed = err != nil
		took, pause := time.Since(start), lookEvery
		switch {
		case !all:
			pause = min(maxLook, max(lookEvery, lookShare*took))
		case err == nil:
			sweep = time.Now().Add(max(sweepEvery, sweepShare*took))
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
		}
	}
}

// removeHooks removes the webhook of earlier releases and with it its history, in
// which Rocket.Chat keeps the text of every direct message of the workspace for 30
// days. On failure, the log tells the operator how to do it by hand.
func (s *directWatch) removeHooks(ctx context.Context) error {
	hooks, err := s.client.Webhooks(ctx)
	if err != nil {
		s.warnOfHooks(ctx, err)
		return err
	}
	for _, h := range hooks {
		if h.Name != hookName {
			continue
		}
		if err := s.client.RemoveWebhook(ctx, h.ID); err != nil {
			s.warnOfHooks(ctx, err)
			return err
		}
		s.log.Info("the webhook of an earlier release was removed, with the direct messages it had kept", "name", hookName)
	}
	return nil
}

func (s *directWatch) warnOfHooks(ctx context.Context, err error) {
	if ctx.Err() != nil {
		return
	}
	s.log.Warn("a webhook that releases before 1.1 made in Rocket.Chat may still keep the text of direct messages",
		"name", hookName, "err", err, "hint", "in Rocket.Chat open Administration, Integrations and delete the webhook of this name if there is one: its history goes with it")
}

// look compares the list of direct rooms with the last one: all of it, or the
// newest rooms up to one that has not changed.
func (s *directWatch) look(ctx context.Context, d *directs, all bool) error {
	start := s.now()
	since, err := s.lookedUntil(ctx, d)
	if err != nil {
		return err
	}
	newest, pages := map[ids.RCRoom]int{}, 0
	var failed error
	err = s.client.AdminDirects(ctx, !all, func(rooms []rocketchat.Room) (more bool, err error) {
		pages++
		more = true
		for _, room := range rooms {
			id := ids.RCRoom(room.ID)
			if was, known := d.newest[id]; known && was == room.Messages && !all {
				more = false // the rooms after it have not changed either
			}
			if len(newest) < maxNewest {
				newest[id] = room.Messages
			}
			if err := s.compare(ctx, d, room, since); err != nil {
				failed = err // check the others anyway, retry this one
				delete(newest, id)
			}
		}
		d.behind = more && !all && pages == lookPages
		return more && !d.behind, ctx.Err()
	})
	if err == nil {
		d.newest = newest
	}
	d.looked = true
	if err = errors.Join(err, failed); err != nil {
		return fmt.Errorf("look at direct rooms: %w", err)
	}
	d.until, d.begins = start, false
	if start.Sub(d.stored) < rememberEvery {
		return nil
	}
	d.stored = start
	return s.accept(ctx, nil, map[string]string{lookCursor: fmt.Sprint(start.UnixMilli())})
}

// Begin records when the first process of all begins, before people can send it requests: it may
// end before it has checked direct rooms, and the next process then checks from that time on.
func (s *directWatch) Begin(ctx context.Context) error {
	if value, err := s.store.Cursor(ctx, firstBegan); err != nil || value != "" {
		return err
	}
	return s.accept(ctx, nil, map[string]string{firstBegan: fmt.Sprint(s.now().UnixMilli())})
}

// firstLook returns the time from which direct rooms are new to the first check of all.
func (s *directWatch) firstLook(ctx context.Context, began time.Time) (time.Time, error) {
	value, err := s.store.Cursor(ctx, firstBegan)
	if err != nil {
		return time.Time{}, err
	}
	if first, ok := parseMillis(value); ok && first.Before(began) {
		return first, nil
	}
	return began, nil
}

// lookedUntil returns the time from which activity in a direct room is new.
func (s *directWatch) lookedUntil(ctx context.Context, d *directs) (time.Time, error) {
	if d.until.IsZero() {
		value, err := s.store.Cursor(ctx, lookCursor)
		if err != nil {
			return time.Time{}, err
		}
		var ok bool
		if d.until, ok = parseMillis(value); !ok {
			if d.until, err = s.firstLook(ctx, d.began); err != nil {
				return time.Time{}, err
			}
			d.begins = true
		}
	}
	if d.begins {
		return d.until, nil
	}
	return d.until.Add(-lookBack), nil
}

// compare checks one room of the list.
func (s *directWatch) compare(ctx context.Context, d *directs, room rocketchat.Room, since time.Time) error {
	id := ids.RCRoom(room.ID)
	was, known := d.counts[id]
	if known && was == room.Messages {
		return nil
	}
	if p, ok := s.portal(id); ok {
		if d.counts[id] = room.Messages; d.looked { // the first check is followed by a read of all
			s.stir(p)
		}
		return nil
	}
	if seen, ok := d.newest[id]; room.Messages == 0 || ok && seen == room.Messages {
		return nil
	}
	puppet, ok, err := s.puppetIn(ctx, room)
	if err != nil || !ok {
		return err
	}
	stored, err := s.store.Cursor(ctx, countCursor(id))
	if err != nil {
		return err
	}
	if now := fmt.Sprint(room.Messages); stored != now {
		if err := s.maybeDirect(ctx, puppet, id, since); err != nil {
			return err
		}
		if err := s.accept(ctx, nil, map[string]string{countCursor(id): now}); err != nil {
			return err
		}
	}
	d.counts[id] = room.Messages
	return nil
}

// countCursor names the cursor with the message count of a direct room that has a
// puppet but is no portal.
func countCursor(id ids.RCRoom) string { return "rc:count " + string(id) }

// puppetIn returns a puppet that is in a direct room.
func (s *directWatch) puppetIn(ctx context.Context, room rocketchat.Room) (p model.Puppet, ok bool, err error) {
	for _, name := range room.Usernames {
		if p, ok, err = s.store.PuppetByUsername(ctx, name); err != nil || ok {
			return p, ok, err
		}
	}
	return p, false, nil
}

// maybeDirect stores that a direct room has to become a portal if a Rocket.Chat
// user has written there since a given time.
func (s *directWatch) maybeDirect(ctx context.Context, puppet model.Puppet, room ids.RCRoom, since time.Time) error {
	var said []rocketchat.Message
	err := s.asPuppet(ctx, puppet, func(c *rocketchat.Client) (err error) {
		said, err = c.History(ctx, rocketchat.Direct, string(room), firstWords, since)
		return err
	})
	if err != nil {
		if lost(err) {
			return nil
		}
		return err
	}
	var begin []queue.Item
	var names []string
	for _, m := range said {
		ours, err := s.ours(ctx, m.User.ID)
		if err != nil {
			return err
		}
		if ours || m.Type != "" {
			continue
		}
		item, err := event.Item("direct "+string(room)+" "+m.ID, model.RCLane(room), event.RCDirect{Room: room, Author: ids.RCUser(m.User.ID), Since: m.Time.Time})
		if err != nil {
			return err
		}
		begin, names = append(begin, item), append(names, item.ID)
	}
	// Earlier messages that led to no portal were refused: the next message tries again.
	known, err := s.store.Known(ctx, names)
	first := slices.IndexFunc(begin, func(i queue.Item) bool { return !known[i.ID] })
	if err != nil || first < 0 {
		return err
	}
	return s.accept(ctx, begin[first:first+1], nil)
}
