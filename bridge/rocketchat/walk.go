package rocketchat

import (
	"context"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"time"
)

// most bounds how far a page grows when all changes in it happened at once.
const most = 1 << 16

// A walk pages through the changes of a room with chat.syncMessages. The server
// compares strictly and has millisecond resolution, so a page can end between
// changes of the same millisecond; each page is therefore requested from a
// millisecond before the end of the last. A rename changes thousands of messages in
// one millisecond, so a page that has room for nothing else is requested again with
// a larger size.
type walk[T any] struct {
	client     *Client
	room, kind string // "UPDATED" or "DELETED"
	forward    bool   // oldest first; otherwise newest first
	from       time.Time
	key        func(T) (id string, at time.Time)
}

// run calls each with every page, in chronological order even when the walk goes
// backward, until the end or until each returns false.
func (w walk[T]) run(ctx context.Context, each func([]T) (more bool, err error)) error {
	var old []T
	for at, count, before := w.from.UnixMilli(), page, 0; ; {
		list, last, err := w.page(ctx, at, count)
		if err != nil {
			return err
		}
		if fresh := w.without(old, list); len(fresh) > 0 {
			if more, err := each(fresh); err != nil || !more {
				return err
			}
		}
		if last || len(list) == 0 {
			return nil
		}
		edge, err := w.edge(at, list)
		switch {
		case err != nil:
			return err
		case edge != at:
			at, count, before = edge, page, 0
		case len(list) > before && count < most:
			count, before = 2*count, len(list)
		default: // the server returns no more of this millisecond
			at, count, before = at+w.step(), page, 0
		}
		old = list
	}
}

// page requests what lies beyond at and reports whether it is the last page.
func (w walk[T]) page(ctx context.Context, at int64, count int) (list []T, last bool, err error) {
	var out struct {
		Result struct {
			Updated []T `json:"updated"`
			Deleted []T `json:"deleted"`
			Cursor  struct {
				Next     *string `json:"next"`
				Previous *string `json:"previous"`
			} `json:"cursor"`
		} `json:"result"`
	}
	cursor := "previous"
	if w.forward {
		cursor = "next"
	}
	q := url.Values{"roomId": {w.room}, "type": {w.kind}, cursor: {strconv.FormatInt(at, 10)}, "count": {strconv.Itoa(count)}}
	if err := w.client.get(ctx, "chat.syncMessages", q, &out); err != nil {
		return nil, false, err
	}
	list, last = append(out.Result.Updated, out.Result.Deleted...), out.Result.Cursor.Previous == nil
	if w.forward {
		last = out.Result.Cursor.Next == nil
	}
	slices.SortStableFunc(list, func(a, b T) int { return w.time(a).Compare(w.time(b)) })
	return list, last, nil
}

// edge returns where the page after list begins: at itself when all of list
// happened in the adjacent millisecond.
func (w walk[T]) edge(at int64, list []T) (int64, error) {
	last := list[0]
	if w.forward {
		last = list[len(list)-1]
	}
	edge := w.time(last).UnixMilli() - w.step()
	if (edge-at)*w.step() < 0 {
		return 0, fmt.Errorf("rocketchat: GET /api/v1/chat.syncMessages: unexpected answer: %s does not lie beyond the cursor", w.room)
	}
	return edge, nil
}

func (w walk[T]) step() int64 {
	if w.forward {
		return 1
	}
	return -1
}

// without returns the elements of list that are not in old.
func (w walk[T]) without(old, list []T) []T {
	type change struct {
		id string
		at int64
	}
	seen := make(map[change]bool, len(old))
	for _, v := range old {
		id, t := w.key(v)
		seen[change{id, t.UnixMilli()}] = true
	}
	return slices.DeleteFunc(slices.Clone(list), func(v T) bool {
		id, t := w.key(v)
		return seen[change{id, t.UnixMilli()}]
	})
}

func (w walk[T]) time(v T) time.Time { _, t := w.key(v); return t }
