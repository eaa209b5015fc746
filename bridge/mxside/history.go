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

	"appliance/bridge/ids"
)

const (
	// page and maxPages bound how far a room is read back.
	page     = 100
	maxPages = 20
	// pageShrinks is the factor by which the page after a failed one is smaller.
	pageShrinks = 5
	// nudgeFor bounds the search for events that the homeserver left out; see nudge.
	nudgeFor = 3 * time.Second
)

// history reads the history of rooms.
type history struct {
	*client
	contact *contact
}

// backwards hands over a room's events, newest first, page by page, until each
// returns false or the room ends: GET /rooms/{room}/messages?dir=b. Where a page
// reaches beyond what the homeserver has, and it cannot get the rest from other
// servers, the room ends there: Dendrite (0.15) asks other Dendrites for the history
// of a version 12 room, gets nothing, and then returns nothing of the page.
func (h *history) backwards(ctx context.Context, room ids.MXRoom, reader ids.MXUser, each func([]arrival) (bool, error)) error {
	c := h.as(reader)
	from, seen, limit, got := "", map[ids.MXEvent]bool{}, page, false
	for range maxPages {
		query := map[string]string{"dir": "b", "limit": strconv.Itoa(limit)}
		if from != "" {
			query["from"] = from
		}
		var out struct {
			Chunk []json.RawMessage `json:"chunk"`
			End   string            `json:"end"`
		}
		err := h.getMessages(ctx, c, room, query, &out)
		switch {
		case err != nil && errors.Is(err, errFailed) && limit > 1:
			limit = max(1, limit/pageShrinks)
			continue
		case err != nil && errors.Is(err, errFailed) && got:
			h.log.Debug("reading back stopped because the homeserver fails there", "mx_room", room, "err", err)
			return nil
		case err != nil:
			return err
		}
		got = true
		fresh := slices.DeleteFunc(arrivals(h.log, out.Chunk, room), func(a arrival) bool {
			again := seen[a.head.ID]
			seen[a.head.ID] = true
			return again
		})
		more, err := each(fresh)
		if err != nil || !more || out.End == "" || len(out.Chunk) == 0 {
			return err
		}
		if from = out.End; h.traits.PagesSkip && len(fresh) > 0 {
			from = Earlier(out.End)
		}
	}
	return nil
}

// Earlier returns the token from which to continue reading a room backwards after a
// page that ends at token. Dendrite's tokens name a depth, and if events of one
// depth are on both sides of a page boundary, some of them are missing from both
// pages. So the next page begins one depth later than necessary, and some events
// come twice. Tokens of other servers are returned unchanged.
func Earlier(token string) string {
	depth, position, ok := strings.Cut(strings.TrimPrefix(token, "t"), "_")
	d, err := strconv.ParseInt(depth, 10, 64)
	_, perr := strconv.ParseInt(position, 10, 64)
	if !ok || err != nil || perr != nil || token[0] != 't' || d <= 1 {
		return token
	}
	return fmt.Sprintf("t%d_%d", d+1, int64(math.MaxInt64))
}

// nudge makes Dendrite ask other servers for events that it knows to be missing,
// which it does only for a client that reads at the beginning of a room. A Dendrite
// that is killed while processing an event skips it and continues with the next
// one; on its own it returns to the event after more than five minutes. The room's
// order is right afterwards.
func (h *history) nudge(ctx context.Context, room ids.MXRoom, reader ids.MXUser) bool {
	ctx, cancel := context.WithTimeout(ctx, nudgeFor)
	defer cancel()
	query := map[string]string{"dir": "b", "from": "t1_1", "limit": "20"}
	err := h.getMessages(ctx, h.as(reader), room, query, &struct{}{})
	if err != nil {
		h.log.Debug("the homeserver could not look for missing events", "mx_room", room, "err", err)
		h.contact.nudges(room, maxNudges)
	}
	return err == nil
}

func (h *history) getMessages(ctx context.Context, c *mautrix.Client, room ids.MXRoom, query map[string]string, out any) error {
	ctx, cancel := context.WithTimeout(ctx, 25*time.Second)
	defer cancel()
	_, err := c.MakeRequest(ctx, http.MethodGet, c.BuildURLWithQuery(mautrix.ClientURLPath{"v3", "rooms", room, "messages"}, query), nil, out)
	if he, ok := errors.AsType[mautrix.HTTPError](err); ok && he.Response != nil && he.Response.StatusCode == http.StatusInternalServerError {
		return fmt.Errorf("%w: %w", errFailed, side(err))
	}
	return side(err)
}

// errFailed: the homeserver responded, with an internal error.
var errFailed = errors.New("the homeserver has an error of its own")
