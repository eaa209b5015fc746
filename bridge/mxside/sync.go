package mxside

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"maunium.net/go/mautrix"

	"appliance/bridge/config"
	"appliance/bridge/convert"
	"appliance/bridge/event"
	"appliance/bridge/ids"
)

const (
	pollTimeout = 30 * time.Second
	restFor     = time.Second
)

// syncer reads GET /sync as one of our users.
type syncer struct {
	*client
	live func() config.Live
}

// timeline is what a /sync shows of a room.
type timeline struct {
	Events  []json.RawMessage `json:"events"`
	Limited bool              `json:"limited"` // earlier events were left out
}

// syncAnswer holds the parts of GET /sync that are read.
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

// once makes one request, which waits up to that long for something new.
func (s *syncer) once(ctx context.Context, user ids.MXUser, since string, wait time.Duration) (syncAnswer, error) {
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

// filter excludes from a /sync whatever the bridge does not read. A user's first
// one, without since, is a starting point: what was said before is not read.
func (s *syncer) filter(since string) string {
	limit := "100"
	if since == "" {
		limit = "1"
	}
	live := s.live()
	var passing []string
	if live.Typing {
		passing = append(passing, `"m.typing"`)
	}
	if live.Receipts {
		passing = append(passing, `"m.receipt"`)
	}
	there := ""
	if live.Presence {
		there = `"m.presence"`
	}
	return `{"presence":{"types":[` + there + `]},"account_data":{"types":[]},"room":{"timeline":{"limit":` + limit + `},` +
		`"state":{"types":[]},"ephemeral":{"types":[` + strings.Join(passing, ",") + `]},"account_data":{"types":[]}}}`
}

// rest waits a moment after a /sync that returned events: in a busy room every
// event would cost the homeserver another response, and its transactions bring the
// same events sooner.
func (s *syncer) rest(ctx context.Context, ans syncAnswer) {
	if len(ans.Rooms.Join) > 0 {
		wait(ctx, restFor)
	}
}

// Invitations returns the invitations that a ghost has not answered, keyed by ID.
func (s *syncer) Invitations(ctx context.Context, ghost ids.MXUser) (map[string]event.MXInvited, error) {
	ans, err := s.once(ctx, ghost, "", 0)
	return invitations(ans, ghost), err
}

// invitations returns the invitations that a /sync shows.
func invitations(ans syncAnswer, ghost ids.MXUser) map[string]event.MXInvited {
	out := map[string]event.MXInvited{}
	for room, r := range ans.Rooms.Invite {
		inv := event.MXInvited{Room: room, Ghost: ghost}
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

// invitationID names an invitation that comes without an event ID; accepting one
// twice does no harm.
func invitationID(room ids.MXRoom, ghost ids.MXUser) string {
	return fmt.Sprintf("invitation %s %s %d", room, ghost, time.Now().Unix()/300)
}
