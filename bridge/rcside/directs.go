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

// The bridge account does not see what is said in direct rooms, so a first word to
// a person on Matrix goes unnoticed by it. Administrators see which direct rooms
// there are, who is in them and how many messages each has: so the list is looked
// at every few seconds, those with something new first, and where the number has
// changed the room is read as the puppet that is in it. Nothing of what is said
// among others is ever asked for.
const (
	hookName   = "Matrix bridge: new direct messages" // of the webhook that releases before 1.1 made
	firstBegan = "rc:began"                           // when the first process of all began, in milliseconds
	lookCursor = "rc:directs"                         // until when direct rooms were looked at, in milliseconds

	// lookEvery is between two looks at the newest direct rooms, sweepEvery between
	// two at all of them. A server for which that is much work gets more time: a
	// pause is so many times as long as the look, or the sweep.
	lookEvery  = 2 * time.Second
	maxLook    = 15 * time.Second
	lookShare  = 5
	sweepEvery = 10 * time.Minute
	sweepShare = 100
	// lookPages is how many pages of the newest direct rooms a look takes; when all
	// of them are new, the next look is at all rooms.
	lookPages = 10
	// maxNewest bounds what is remembered of direct rooms without people of Matrix.
	maxNewest = 10000
	// lookBack is how far before the last look something is new: the clocks of
	// two computers differ.
	lookBack = time.Minute
	// rememberEvery is how often it is stored until when was looked.
	rememberEvery = 15 * time.Second
	// firstWords bounds how much of a room is looked through for who spoke first.
	firstWords = 500
)

// directs is what is known of direct rooms from the last looks. It belongs to one
// goroutine.
type directs struct {
	counts map[ids.RCRoom]int // messages of the rooms with people of Matrix
	newest map[ids.RCRoom]int // messages of the rooms that the last look saw
	until  time.Time          // when the last complete look began
	stored time.Time          // when until was last stored
	looked bool               // there was a look: what is not known yet is new
	began  time.Time          // when the process did
	begins bool               // the first look of all: what was said before does not cross
	behind bool               // the last look did not reach a room that has not changed
}

// directWatch looks at the list of direct rooms.
type directWatch struct {
	*accounts
	*readers
	accept Accept
	now    func() time.Time
}

// watchDirects looks at the list of direct rooms until ctx ends. It calls looked
// after each look.
func (s *directWatch) watchDirects(ctx context.Context, looked func()) {
	d := &directs{began: s.now(), counts: map[ids.RCRoom]int{}, newest: map[ids.RCRoom]int{}}
	var sweep time.Time // when the next one is due
	hooks, failed := true, false
	for {
		start := time.Now()
		s.lookAtRest(start)
		all := d.behind || start.After(sweep)
		if hooks && all {
			hooks = s.removeHooks(ctx) != nil // where it fails, again with the next sweep
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

// removeHooks removes the webhook of earlier releases. With it goes its history, in
// which Rocket.Chat keeps the text of every direct message of the workspace for 30
// days. Where that fails, the operator is told how to do it.
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
		s.log.Info("the webhook of an earlier release was removed, and with it what it kept of direct messages", "name", hookName)
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

// look compares the list of direct rooms with the last one: all of it, or what is
// newest until a room that has not changed.
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
				more = false // nor have those after it changed
			}
			if len(newest) < maxNewest {
				newest[id] = room.Messages
			}
			if err := s.compare(ctx, d, room, since); err != nil {
				failed = err // the others are looked at all the same, this one again
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

// Begin notes when the first process of all begins, before people can ask it for anything:
// it may end before it has looked at direct rooms, and the next one looks from then on.
func (s *directWatch) Begin(ctx context.Context) error {
	if value, err := s.store.Cursor(ctx, firstBegan); err != nil || value != "" {
		return err
	}
	return s.accept(ctx, nil, map[string]string{firstBegan: fmt.Sprint(s.now().UnixMilli())})
}

// firstLook returns from when on direct rooms are new to the first look of all.
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

// lookedUntil returns from when on something in a direct room is new.
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

// compare takes a room of the list.
func (s *directWatch) compare(ctx context.Context, d *directs, room rocketchat.Room, since time.Time) error {
	id := ids.RCRoom(room.ID)
	was, known := d.counts[id]
	if known && was == room.Messages {
		return nil
	}
	if p, ok := s.portal(id); ok {
		if d.counts[id] = room.Messages; d.looked { // at the start all are read anyway, afterwards
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

// countCursor names the number of messages that a direct room with a puppet
// had that is no portal.
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

// maybeDirect stores that a direct room has to become a portal when a user of
// Rocket.Chat has said something there since a time.
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
	// What was said before and led to no portal was refused: the next word tries again.
	known, err := s.store.Known(ctx, names)
	first := slices.IndexFunc(begin, func(i queue.Item) bool { return !known[i.ID] })
	if err != nil || first < 0 {
		return err
	}
	return s.accept(ctx, begin[first:first+1], nil)
}
