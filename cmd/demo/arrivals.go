package main

import (
	"context"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// arrivals is the order in which a person's client is shown events. If two Dendrites were
// cut off from each other, the history of a room is sorted differently: by depth, which
// puts an event that was built on old ones among those.
type arrivals struct {
	mu   sync.Mutex
	at   map[string]int // place by event ID
	gaps atomic.Int64   // how often something was left out
	late atomic.Int64   // how often a bridge message was in a room's history but had not been shown
	lag  *lag           // is told of what is shown
}

// watchedEvents is how many events of a room are read at once: more than arise while a
// client waits for a response.
const watchedEvents = "1000"

// inside reads what our homeserver shows, as meter's ghost, who is in every room that
// meter created. The secrets may be replaced meanwhile.
func inside(d *demo) *matrixUser {
	ghost := "@meter:" + serverName
	return &matrixUser{id: ghost, as: ghost, base: "http://" + homeserverIP + ":8008", tokenFile: d.path("install/secrets/bridge/as_token"), client: &http.Client{Timeout: time.Minute}}
}

// watch reads GET /sync as a person until ctx ends.
func (a *arrivals) watch(ctx context.Context, m matrixUser) {
	filter := url.QueryEscape(`{"presence":{"types":[]},"account_data":{"types":[]},"room":{"timeline":{"limit":` + watchedEvents + `},"state":{"types":[]},"ephemeral":{"types":[]},"account_data":{"types":[]}}}`)
	path := "/_matrix/client/v3/sync?filter=" + filter
	since := ""
	for ctx.Err() == nil {
		var out struct {
			Next  string `json:"next_batch"`
			Rooms struct {
				Join map[string]struct {
					Timeline struct {
						Events  []mxEvent `json:"events"`
						Limited bool      `json:"limited"`
					} `json:"timeline"`
				} `json:"join"`
			} `json:"rooms"`
		}
		next := path
		if since != "" {
			next += "&timeout=20000&since=" + url.QueryEscape(since)
		}
		if err := m.do(ctx, http.MethodGet, next, nil, &out); err != nil {
			select {
			case <-ctx.Done():
			case <-time.After(time.Second):
			}
			continue
		}
		a.mu.Lock()
		for _, room := range out.Rooms.Join {
			for _, e := range room.Timeline.Events {
				if _, known := a.at[e.ID]; !known {
					a.at[e.ID] = len(a.at)
				}
				a.lag.show(e.ID)
			}
			if room.Timeline.Limited && since != "" {
				a.gaps.Add(1)
			}
		}
		a.mu.Unlock()
		since = out.Next
	}
}

// showed reports whether a client was shown an event as it happened. A homeserver that
// never received an event may fetch it later for a client that reads the history, and
// shows it to no other. If anything was left out, nothing is known.
func (a *arrivals) showed(event string) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	_, ok := a.at[event]
	return ok || a.gaps.Load() > 0
}

// sort puts events of a room's history into the order in which they were shown, and marks those
// that were shown out of place. An event that was not shown stays behind the one before it.
func (a *arrivals) sort(history []roomEvent) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.markMoved(history)
	places, last := make(map[string]int, len(history)), -1
	for _, e := range history {
		if at, ok := a.at[e.ID]; ok {
			last = at
		}
		places[e.ID] = last
	}
	slices.SortStableFunc(history, func(x, y roomEvent) int { return places[x.ID] - places[y.ID] })
}

// markMoved marks messages that the homeserver itself has in two orders: in the room's history
// after one of the same sender and shown before it, or the other way round. A Dendrite that was
// killed, or lost its database, sends one on late, or accepts it minutes later. As few as
// possible are marked: the others are in the same order in both.
func (a *arrivals) markMoved(history []roomEvent) {
	bySender := map[string][]int{}
	for i, e := range history {
		if _, shown := a.at[e.ID]; shown && e.Type == "m.room.message" {
			bySender[e.Sender] = append(bySender[e.Sender], i)
		}
	}
	for _, at := range bySender {
		// longest and before describe the longest ordered sequence that ends with each message.
		longest, before, end := make([]int, len(at)), make([]int, len(at)), 0
		for i := range at {
			longest[i], before[i] = 1, -1
			for j := range i {
				if a.at[history[at[j]].ID] < a.at[history[at[i]].ID] && longest[j] >= longest[i] {
					longest[i], before[i] = longest[j]+1, j
				}
			}
			if longest[i] > longest[end] {
				end = i
			}
			history[at[i]].moved = true
		}
		for i := end; i >= 0; i = before[i] {
			history[at[i]].moved = false
		}
	}
}
