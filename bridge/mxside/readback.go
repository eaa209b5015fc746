package mxside

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"maunium.net/go/mautrix"

	"appliance/bridge/convert"
	"appliance/bridge/ids"
	"appliance/bridge/queue"
	"appliance/bridge/relay"
)

const (
	// page and maxPages bound how far a room is read back.
	page     = 100
	maxPages = 20
	// pageShrinks is how much smaller the next page is after one that failed.
	pageShrinks = 5
	// holeSlack is how far before an accepted event one may be that was left out.
	holeSlack = 2 * time.Minute
	// joinSlack is how long before a portal is stored somebody of ours may join.
	joinSlack = 5 * time.Minute
	// showFor is how long a homeserver may take to show what it has pushed.
	showFor = 3 * time.Second
	showGap = 50 * time.Millisecond
	// nudgeFor and maxNudges bound the search for what it forgot; see nudge.
	nudgeFor  = 3 * time.Second
	maxNudges = 10
)

// timeline returns what a /sync brought of a room, with what that may lack.
func (s *Side) timeline(ctx context.Context, room ids.MXRoom, reader ids.MXUser, t timeline) ([]queue.Item, error) {
	var items []queue.Item
	for _, raw := range t.Events {
		if it, ok := s.item(raw, room); ok {
			items = append(items, it)
		}
	}
	if !t.Limited && !s.sync.doubted() {
		return items, nil
	}
	missed, err := s.missed(ctx, room, reader, items, t.Limited)
	return append(missed, items...), err
}

// recover stores, in the room's own order, what a transaction may have
// overtaken.
func (s *Side) recover(ctx context.Context, items []queue.Item) error {
	byRoom := map[ids.MXRoom][]queue.Item{}
	for _, it := range items {
		if it.Kind == relay.KindMXInvite {
			continue
		}
		if e, err := convert.ParseEvent(it.Payload); err == nil {
			byRoom[ids.MXRoom(e.Room)] = append(byRoom[ids.MXRoom(e.Room)], it)
		}
	}
	for room, pushed := range byRoom {
		p, ok, err := s.Store.PortalByMX(ctx, room)
		if err != nil {
			return err
		}
		if !ok {
			continue
		}
		reader := p.ReadAs(s.Names.BotUser())
		missed, err := s.missed(ctx, room, reader, pushed, false)
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

// missed returns what has happened in a room up to those items and was never
// accepted, oldest first. It waits for a moment until the homeserver shows the
// newest of them: what is missing before it can be asked for only then.
func (s *Side) missed(ctx context.Context, room ids.MXRoom, reader ids.MXUser, items []queue.Item, limited bool) ([]queue.Item, error) {
	s.fill.Lock()
	defer s.fill.Unlock()
	p, ok, err := s.Store.PortalByMX(ctx, room)
	if err != nil || !ok {
		return nil, err
	}
	newest, err := s.newestUnknown(ctx, items)
	if err != nil || newest == "" && !limited {
		return nil, err
	}
	for deadline := time.Now().Add(showFor); ; {
		found, shown, err := s.readBack(ctx, p, reader, newest)
		if err != nil {
			return nil, err
		}
		if shown && s.traits.SkipsInterrupted && s.sync.mayNudge(room) && s.nudge(ctx, room, reader) {
			found, _, err = s.readBack(ctx, p, reader, newest)
			return found, err
		}
		if shown || newest == "" || time.Now().After(deadline) || !wait(ctx, showGap) {
			return found, ctx.Err()
		}
	}
}

// newestUnknown returns the last of the items that was never accepted, "" for none.
func (s *Side) newestUnknown(ctx context.Context, items []queue.Item) (string, error) {
	all := make([]string, len(items))
	for i, it := range items {
		all[i] = it.ID
	}
	known, err := s.Store.Known(ctx, all)
	if err != nil {
		return "", err
	}
	for _, id := range slices.Backward(all) {
		if !known[id] {
			return id, nil
		}
	}
	return "", nil
}

// nudge makes Dendrite ask the other servers for events that it knows to be
// missing, which it does only for a client that reads at the beginning of a room.
// A Dendrite that is killed while it takes an event in leaves it out, and goes on
// with the next one; by itself it comes back to it after more than five minutes.
// The room's order is right afterwards.
func (s *Side) nudge(ctx context.Context, room ids.MXRoom, reader ids.MXUser) bool {
	ctx, cancel := context.WithTimeout(ctx, nudgeFor)
	defer cancel()
	query := map[string]string{"dir": "b", "from": "t1_1", "limit": "20"}
	err := s.getMessages(ctx, s.as(reader), room, query, &struct{}{})
	if err != nil {
		s.Log.Debug("the homeserver could not look for what it lacks", "mx_room", room, "err", err)
		s.sync.nudges(room, maxNudges)
	}
	return err == nil
}

// readBack returns what has happened in a room since the newest event that was
// ever accepted from it, and what was left out shortly before that, oldest first.
// shown says whether newest was among it.
func (s *Side) readBack(ctx context.Context, p relay.Portal, reader ids.MXUser, newest string) (found []queue.Item, shown bool, err error) {
	oldest := p.Created.Add(-time.Hour).UnixMilli() // nothing older is taken; clocks differ a little
	err = s.backwards(ctx, p.MXRoom, reader, func(events []json.RawMessage) (bool, error) {
		type entry struct {
			item queue.Item
			at   int64
		}
		var batch []entry
		var batchIDs []string
		more, visible := true, -1
		for _, raw := range events {
			e, err := convert.ParseEvent(raw)
			if err != nil {
				continue
			}
			shown = shown || e.ID == newest
			if e.Type == "m.room.member" && e.StateKey == string(reader) && e.Content.Membership == "join" && joined(p, e.Timestamp) {
				visible = len(batch) // what was said before we came is not ours to carry
			}
			if it, ok := s.item(raw, p.MXRoom); ok {
				batch, batchIDs = append(batch, entry{it, e.Timestamp}), append(batchIDs, it.ID)
			}
		}
		known, err := s.Store.Known(ctx, batchIDs)
		if err != nil {
			return false, err
		}
		for i, b := range batch {
			switch {
			case i == visible:
				return false, nil
			case known[b.item.ID]:
				if more { // the newest one that is known
					more = false
					oldest = max(p.Created.UnixMilli(), b.at-holeSlack.Milliseconds())
				}
			case b.at >= oldest:
				found = append(found, b.item)
			case more:
				return false, nil // long before the portal
			}
		}
		return more && visible < 0, nil
	})
	slices.Reverse(found)
	return found, shown, err
}

// joined reports whether a membership of that time may be the one with which the
// portal began: we join first, and then the portal is stored. What comes later is
// a change of a name.
func joined(p relay.Portal, at int64) bool {
	before := p.Created.Sub(time.UnixMilli(at))
	return before > -time.Second && before < joinSlack
}

// backwards hands over a room's events, newest first, page by page, until each
// returns false or the room ends: GET /rooms/{room}/messages?dir=b. Where a page
// reaches beyond what the homeserver has, and it fails to get that from the others,
// the room ends there: a Dendrite (0.15) asks other Dendrites for the past of a room
// of version 12 in vain, and then gives nothing of the page.
func (s *Side) backwards(ctx context.Context, room ids.MXRoom, reader ids.MXUser, each func([]json.RawMessage) (bool, error)) error {
	c := s.as(reader)
	from, seen, limit, got := "", map[string]bool{}, page, false
	for range maxPages {
		query := map[string]string{"dir": "b", "limit": strconv.Itoa(limit)}
		if from != "" {
			query["from"] = from
		}
		var out struct {
			Chunk []json.RawMessage `json:"chunk"`
			End   string            `json:"end"`
		}
		err := s.getMessages(ctx, c, room, query, &out)
		switch {
		case err != nil && errors.Is(err, errFailed) && limit > 1:
			limit = max(1, limit/pageShrinks)
			continue
		case err != nil && errors.Is(err, errFailed) && got:
			s.Log.Debug("the past of a room ends where the homeserver fails", "mx_room", room, "err", err)
			return nil
		case err != nil:
			return err
		}
		got = true
		fresh := slices.DeleteFunc(slices.Clone(out.Chunk), func(raw json.RawMessage) bool {
			e, err := convert.ParseEvent(raw)
			again := err == nil && seen[e.ID]
			seen[e.ID] = true
			return again
		})
		more, err := each(fresh)
		if err != nil || !more || out.End == "" || len(out.Chunk) == 0 {
			return err
		}
		if from = out.End; s.traits.PagesSkip && len(fresh) > 0 {
			from = Earlier(out.End)
		}
	}
	return nil
}

// Earlier returns where to go on reading a room backwards after a page that ends
// at a token. Dendrite's tokens name a depth, and where events of one depth stand
// on both sides of the end of a page it leaves some of them out of both. So the
// next page begins a depth later than it has to, and events come twice. Tokens of
// other servers stay as they are.
func Earlier(token string) string {
	depth, position, ok := strings.Cut(strings.TrimPrefix(token, "t"), "_")
	d, err := strconv.ParseInt(depth, 10, 64)
	_, perr := strconv.ParseInt(position, 10, 64)
	if !ok || err != nil || perr != nil || token[0] != 't' || d <= 1 {
		return token
	}
	return fmt.Sprintf("t%d_%d", d+1, int64(math.MaxInt64))
}

func (s *Side) getMessages(ctx context.Context, c *mautrix.Client, room ids.MXRoom, query map[string]string, out any) error {
	ctx, cancel := context.WithTimeout(ctx, 25*time.Second)
	defer cancel()
	_, err := c.MakeRequest(ctx, http.MethodGet, c.BuildURLWithQuery(mautrix.ClientURLPath{"v3", "rooms", room, "messages"}, query), nil, out)
	if he, ok := errors.AsType[mautrix.HTTPError](err); ok && he.Response != nil && he.Response.StatusCode == http.StatusInternalServerError {
		return fmt.Errorf("%w: %w", errFailed, side(err))
	}
	return side(err)
}

// errFailed: the homeserver is there, and failed.
var errFailed = errors.New("the homeserver has an error of its own")
