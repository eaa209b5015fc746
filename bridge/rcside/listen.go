package rcside

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"appliance/bridge/ids"
	"appliance/bridge/queue"
	"appliance/bridge/relay"
	"appliance/bridge/rocketchat"
	"appliance/bridge/rocketchat/ddp"
)

// Accept stores items and cursors; see relay.Relay.Accept.
type Accept func(ctx context.Context, items []queue.Item, cursors map[string]string) error

const (
	// overlap is how far before the cursor catching up begins: changes are
	// announced up to a minute after the time they carry, when Rocket.Chat
	// looks at links first.
	overlap = 90 * time.Second
	// minPause and maxPause bound the wait between two attempts to connect.
	minPause = 300 * time.Millisecond
	maxPause = 15 * time.Second
	// maxBatch is how many live messages are stored in one transaction.
	maxBatch = 200
	// maxMissed is how many missed messages are sorted in memory at once.
	maxMissed = 5000
	// maxFrames is how many live messages may wait in memory: beyond it nothing is
	// read, and after heldUp the session is begun anew and catches up.
	maxFrames = 20000
	heldUp    = 5 * time.Second
)

// Listen reads the rooms of all portals until ctx ends.
func (s *Side) Listen(ctx context.Context) error {
	portals, err := s.Store.Portals(ctx)
	if err != nil {
		return fmt.Errorf("read the portals: %w", err)
	}
	s.reader("") // the bridge account is connected even before there is a portal
	for _, p := range portals {
		s.Watch(p)
	}
	var running sync.WaitGroup
	defer running.Wait()
	running.Go(func() { s.watchDirects(ctx) })
	running.Go(func() { s.followPeople(ctx) })
	for {
		select {
		case <-ctx.Done():
			return nil
		case r := <-s.started:
			running.Go(func() { r.run(ctx) })
		}
	}
}

// Watch implements relay.RocketChat.
func (s *Side) Watch(p relay.Portal) {
	s.mu.Lock()
	old, known := s.watching[p.RCRoom]
	s.watching[p.RCRoom] = p
	s.mu.Unlock()
	if known && old.RCReader != p.RCReader {
		s.reader(old.RCReader).remove(p.RCRoom)
	}
	s.reader(p.RCReader).add(p.RCRoom)
}

// Connected reports whether the bridge account's session is live.
func (s *Side) Connected() bool {
	s.mu.Lock()
	r := s.readers[""]
	s.mu.Unlock()
	return r != nil && r.isLive()
}

// reader returns the reader of an account, started as needed.
func (s *Side) reader(account ids.MXUser) *reader {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.readers[account]
	if r == nil {
		r = &reader{side: s, account: account, rooms: map[ids.RCRoom]bool{}, more: make(chan struct{}, 1), space: make(chan struct{}, 1)}
		s.readers[account] = r
		s.started <- r
	}
	return r
}

// A reader reads rooms through one account's session.
type reader struct {
	// stale says that other signs are wanted than are subscribed to; with mu.
	stale   bool
	side    *Side
	account ids.MXUser
	more    chan struct{} // there is a new room, or a frame

	mu    sync.Mutex
	rooms map[ids.RCRoom]bool // true once caught up, in this session
	// subscribed are the rooms of this session that are subscribed to.
	subscribed map[ids.RCRoom]bool
	frames     []rocketchat.Message
	live       bool
	// overflow says that frames were dropped in this session.
	overflow bool
	space    chan struct{} // some frames were taken
}

func (r *reader) add(room ids.RCRoom) {
	r.mu.Lock()
	if _, ok := r.rooms[room]; !ok {
		r.rooms[room] = false
		r.stale = true
	}
	r.mu.Unlock()
	r.signal()
}

// again makes a room be caught up with once more in this session.
func (r *reader) again(room ids.RCRoom) {
	r.mu.Lock()
	if done, ok := r.rooms[room]; ok && done {
		r.rooms[room] = false
		r.stale = true
	}
	r.mu.Unlock()
	r.signal()
}

func (r *reader) remove(room ids.RCRoom) {
	r.mu.Lock()
	delete(r.rooms, room)
	r.stale = true
	r.mu.Unlock()
}

func (r *reader) signal() {
	select {
	case r.more <- struct{}{}:
	default:
	}
}

func (r *reader) isLive() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.live
}

// run keeps a session alive until ctx ends.
func (r *reader) run(ctx context.Context) {
	log := r.side.Log.With("account", string(r.account))
	for failures := 0; ; {
		start := time.Now()
		err := r.session(ctx)
		if ctx.Err() != nil {
			return
		}
		if failures++; time.Since(start) > time.Minute {
			failures = 1
		}
		pause := min(maxPause, minPause<<min(failures-1, 6))
		pause = pause/2 + rand.N(pause) //nolint:gosec // jitter
		log.Warn("the connection to Rocket.Chat ended", "err", err, "pause", pause)
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
		}
	}
}

// session connects, catches up and stays until the connection ends.
func (r *reader) session(ctx context.Context) error {
	client, err := r.side.clientFor(ctx, r.account)
	if err != nil {
		return err
	}
	r.reset()
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	conn, err := ddp.Dial(ctx, client.Base(), client.Token(), func(e ddp.Event) { r.event(ctx, e) })
	if err != nil {
		return err
	}
	defer r.reset()
	defer conn.Close()
	defer stop() // event may be waiting, and Close waits for it
	signs := map[string]bool{}
	r.setLive()
	for {
		for {
			more, err := r.catchUp(ctx, conn, client)
			if err != nil {
				return err
			}
			if err := r.flush(ctx); err != nil {
				return err
			}
			if !more {
				break
			}
		}
		if err := r.followSigns(ctx, conn, signs); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-conn.Done():
			return conn.Err()
		case <-r.more:
		}
	}
}

// reset forgets what belonged to a session.
func (r *reader) reset() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.live, r.frames, r.overflow = false, nil, false
	r.subscribed = map[ids.RCRoom]bool{}
	for room := range r.rooms {
		r.rooms[room] = false
		r.stale = true
	}
}

func (r *reader) setLive() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.live = true
}

// event takes a frame of the websocket. Frames of a room that is not caught up
// yet wait: what happened before them comes first.
func (r *reader) event(ctx context.Context, e ddp.Event) {
	if len(e.Args) == 0 || r.sign(e) {
		return
	}
	if room, bulk := strings.CutSuffix(e.Name, "/deleteMessageBulk"); bulk && e.Stream == "stream-notify-room" {
		r.again(ids.RCRoom(room)) // which ones they were is asked for
		return
	}
	var m rocketchat.Message
	if err := json.Unmarshal(e.Args[0], &m); err != nil || m.ID == "" {
		return
	}
	switch room, deleted := strings.CutSuffix(e.Name, "/deleteMessage"); {
	case e.Stream == "stream-room-messages":
	case e.Stream == "stream-notify-room" && deleted:
		m = gone(room, m.ID)
	default:
		return
	}
	r.put(ctx, m)
	r.signal()
}

// put keeps a live message until it is stored. If too many wait, nothing more is
// read from the connection for a while, which holds up the server; if that does
// not help, because rooms are being caught up with, the session has to begin anew.
func (r *reader) put(ctx context.Context, m rocketchat.Message) {
	var late <-chan time.Time
	for {
		r.mu.Lock()
		if full := len(r.frames) >= maxFrames; !full {
			r.frames = append(r.frames, m)
			r.mu.Unlock()
			return
		}
		r.mu.Unlock()
		if late == nil {
			late = time.After(heldUp)
		}
		select {
		case <-r.space:
			continue
		case <-ctx.Done():
		case <-late:
		}
		r.mu.Lock()
		r.overflow = true
		r.mu.Unlock()
		return
	}
}

// gone is a message of which is known only that it was deleted, in the form
// that Rocket.Chat gives to those of which a trace stays.
func gone(room, id string) rocketchat.Message {
	return rocketchat.Message{ID: id, RoomID: room, Type: "rm"}
}

// Rooms are caught up with several at a time, and what is live in those that are
// done is stored in between.
const (
	catchUpAtOnce = 8
	catchUpBatch  = 128
)

// catchUp subscribes to rooms that are new in this session and stores what has
// happened in them since the cursor. more says that there are others.
func (r *reader) catchUp(ctx context.Context, conn *ddp.Conn, client *rocketchat.Client) (more bool, err error) {
	rooms := r.unread()
	if more = len(rooms) > catchUpBatch; more {
		rooms = rooms[:catchUpBatch]
	}
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(catchUpAtOnce)
	for _, room := range rooms {
		g.Go(func() error { return r.catchUpRoom(ctx, conn, client, room) })
	}
	return more, g.Wait()
}

func (r *reader) catchUpRoom(ctx context.Context, conn *ddp.Conn, client *rocketchat.Client, room ids.RCRoom) error {
	r.mu.Lock()
	subscribed := r.subscribed[room]
	r.mu.Unlock()
	if !subscribed {
		if ok, err := r.subscribe(ctx, conn, room); err != nil || !ok {
			return err
		}
	}
	if err := r.side.missed(ctx, client, room); err != nil {
		return fmt.Errorf("catch up with %s: %w", room, err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, ok := r.rooms[room]; ok {
		r.rooms[room] = true
		r.stale = true
	}
	return nil
}

// subscribe asks for what happens in a room; ok is false when the account may not
// see it.
func (r *reader) subscribe(ctx context.Context, conn *ddp.Conn, room ids.RCRoom) (ok bool, err error) {
	if err := conn.Subscribe(ctx, "stream-room-messages", string(room)); err != nil {
		if me, ok := errors.AsType[*ddp.MethodError](err); ok && me.Code == "not-allowed" {
			r.side.Log.Warn("a bridged room cannot be read", "room", room, "err", err)
			r.remove(room)
			return false, nil
		}
		return false, err
	}
	for _, what := range []string{"/deleteMessage", "/deleteMessageBulk"} {
		if err := conn.Subscribe(ctx, "stream-notify-room", string(room)+what); err != nil {
			return false, err
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.subscribed[room] = true
	return true, nil
}

func (r *reader) unread() []ids.RCRoom {
	r.mu.Lock()
	defer r.mu.Unlock()
	var out []ids.RCRoom
	for room, done := range r.rooms {
		if !done {
			out = append(out, room)
		}
	}
	slices.Sort(out)
	return out
}

// flush stores the live frames of the rooms that are caught up.
func (r *reader) flush(ctx context.Context) error {
	for {
		r.mu.Lock()
		if r.overflow {
			r.mu.Unlock()
			return errors.New("more arrived than could be stored")
		}
		batch := r.ready()
		r.mu.Unlock()
		if len(batch) == 0 {
			return nil
		}
		if err := r.side.store(ctx, batch); err != nil {
			return err
		}
	}
}

// ready takes frames of rooms that are caught up; the others wait. It is called
// under r.mu.
func (r *reader) ready() []rocketchat.Message {
	var batch, wait []rocketchat.Message
	n := 0
	for ; n < len(r.frames) && len(batch) < maxBatch; n++ {
		m := r.frames[n]
		if done, known := r.rooms[ids.RCRoom(m.RoomID)]; done || !known {
			batch = append(batch, m)
		} else {
			wait = append(wait, m)
		}
	}
	clear(r.frames[:n-len(wait)])
	copy(r.frames[n-len(wait):], wait)
	r.frames = r.frames[n-len(wait):]
	if len(batch) > 0 {
		select {
		case r.space <- struct{}{}:
		default:
		}
	}
	return batch
}

// missed stores what has happened in a room since its cursor, in the order in
// which it was written: changes come in the order of the last change.
func (s *Side) missed(ctx context.Context, client *rocketchat.Client, room ids.RCRoom) error {
	since, err := s.since(ctx, room)
	if err != nil {
		return err
	}
	var all []rocketchat.Message
	err = client.SyncMessages(ctx, string(room), since, func(ms []rocketchat.Message) error {
		if all = append(all, ms...); len(all) < maxMissed {
			return nil
		}
		err := s.store(ctx, all)
		all = nil
		return err
	})
	if err != nil {
		return err
	}
	slices.SortStableFunc(all, func(a, b rocketchat.Message) int { return a.Time.Compare(b.Time.Time) })
	err = client.SyncDeleted(ctx, string(room), since, func(ds []rocketchat.Deletion) error {
		for _, d := range ds {
			all = append(all, gone(string(room), d.ID))
		}
		return nil
	})
	if err != nil {
		return err
	}
	return s.store(ctx, all)
}

// since returns from when on a room has to be read: a little before its cursor,
// but not before its portal began.
func (s *Side) since(ctx context.Context, room ids.RCRoom) (time.Time, error) {
	begun := s.begun(room)
	value, err := s.Store.Cursor(ctx, relay.RCCursor(room))
	if err != nil {
		return time.Time{}, fmt.Errorf("read a cursor: %w", err)
	}
	at, ok := parseMillis(value)
	if !ok {
		return begun, nil
	}
	if t := at.Add(-overlap); t.After(begun) {
		return t, nil
	}
	return begun.Add(-time.Millisecond), nil // the server compares strictly
}

// parseMillis reads a cursor that is a time.
func parseMillis(value string) (time.Time, bool) {
	ms, err := strconv.ParseInt(value, 10, 64)
	return time.UnixMilli(ms), err == nil
}

// begun returns when the portal of a room began: what was written before does
// not cross.
func (s *Side) begun(room ids.RCRoom) time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.watching[room].Created
}

// store turns messages into items and hands them over with the cursors.
func (s *Side) store(ctx context.Context, ms []rocketchat.Message) error {
	var items []queue.Item
	newest := map[string]int64{}
	known, err := s.Store.Known(ctx, baseIDs(ms))
	if err != nil {
		return err
	}
	for _, m := range ms {
		key := relay.RCCursor(ids.RCRoom(m.RoomID))
		newest[key] = max(newest[key], m.Updated.UnixMilli())
		found, err := s.items(ctx, m, known)
		if err != nil {
			return err
		}
		items = append(items, found...)
	}
	cursors := map[string]string{}
	for key, ms := range newest {
		old, err := s.Store.Cursor(ctx, key)
		if err != nil {
			return err
		}
		if was, _ := strconv.ParseInt(old, 10, 64); ms > was {
			cursors[key] = strconv.FormatInt(ms, 10)
		}
	}
	if len(items) == 0 && len(cursors) == 0 {
		return nil
	}
	return s.Accept(ctx, items, cursors)
}

// baseID is the ID of the item for a message's first appearance.
func baseID(m rocketchat.Message) string { return "rc:" + m.ID }

func baseIDs(ms []rocketchat.Message) []string {
	out := make([]string, len(ms))
	for i, m := range ms {
		out[i] = baseID(m)
	}
	return out
}

// items decides what a message is to the bridge: what is new about it, since
// Rocket.Chat shows a message again whenever anything about it changes. It is
// nothing for our own echo and for what does not cross. known says which
// messages have appeared before, and is kept up.
func (s *Side) items(ctx context.Context, m rocketchat.Message, known map[string]bool) ([]queue.Item, error) {
	if m.Type != "rm" && m.Time.Before(s.begun(ids.RCRoom(m.RoomID)).Truncate(time.Millisecond)) {
		return nil, nil
	}
	ours, err := s.ours(ctx, m.User.ID)
	if err != nil {
		return nil, err
	}
	switch m.Type {
	case "rm":
		return s.list(m, relay.KindRCDelete, string(relay.RCDelete(ids.RCMessage(m.ID))))
	case "":
		return s.revisions(ctx, m, ours, known)
	case "uj", "ut", "ujt", "ul", "ult", "au", "added-user-to-team", "ru", "removed-user-from-team", "user-banned", "user-unbanned":
		if ours {
			return nil, nil
		}
		return s.list(m, relay.KindRCMember, baseID(m))
	case "discussion-created", "videoconf":
		if ours {
			return nil, nil
		}
		return s.list(told(m), relay.KindRCMessage, baseID(m))
	case "r", "room_changed_topic", "room_changed_announcement", "room_changed_privacy", "room_changed_avatar", "room-archived", "room-unarchived",
		"room-set-read-only", "room-removed-read-only", "subscription-role-added", "subscription-role-removed":
		if ours {
			return nil, nil
		}
		return s.list(m, relay.KindRCRoom, baseID(m))
	}
	return nil, nil
}

// told makes a message of a system message that says what somebody has begun.
func told(m rocketchat.Message) rocketchat.Message {
	switch name := strings.TrimSpace(m.Text); {
	case m.Type == "videoconf":
		m.Text = "_started a call in Rocket.Chat_"
	case name == "":
		m.Text = "_started a discussion_"
	default:
		m.Text = "_started a discussion:_ " + name
	}
	m.Type = ""
	return m
}

// revisions returns the message itself, its newest edit and its reactions, as
// far as they are new. What was edited before it was ever seen is new as it is.
func (s *Side) revisions(ctx context.Context, m rocketchat.Message, ours bool, known map[string]bool) ([]queue.Item, error) {
	var items []queue.Item
	add := func(kind, id string) error {
		more, err := s.list(m, kind, id)
		items = append(items, more...)
		return err
	}
	if !ours {
		if !known[baseID(m)] {
			if err := add(relay.KindRCMessage, baseID(m)); err != nil {
				return nil, err
			}
			known[baseID(m)] = true
		} else if m.EditedAt != nil {
			if err := add(relay.KindRCEdit, editID(m)); err != nil {
				return nil, err
			}
		}
	}
	react := len(m.Reactions) > 0
	if !react {
		old, err := s.Store.Reactions(ctx, ids.RCMessage(m.ID))
		if err != nil {
			return nil, err
		}
		react = len(old) > 0
	}
	if react {
		if err := add(relay.KindRCReact, fmt.Sprintf("%s:react:%d", baseID(m), m.Updated.UnixMilli())); err != nil {
			return nil, err
		}
	}
	return items, nil
}

// ours reports whether a user is the bridge account or a puppet.
func (s *Side) ours(ctx context.Context, user string) (bool, error) {
	if s.IsBridge(ids.RCUser(user)) {
		return true, nil
	}
	_, puppet, err := s.Store.PuppetByRC(ctx, ids.RCUser(user))
	return puppet, err
}

func (*Side) list(m rocketchat.Message, kind, id string) ([]queue.Item, error) {
	payload, err := json.Marshal(m)
	if err != nil {
		return nil, err
	}
	return []queue.Item{{ID: id, Lane: relay.RCLane(ids.RCRoom(m.RoomID)), Kind: kind, Payload: payload}}, nil
}
