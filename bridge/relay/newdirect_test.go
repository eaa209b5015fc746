package relay_test

import (
	"context"
	"encoding/json"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"appliance/bridge/event"
	"appliance/bridge/ids"
	"appliance/bridge/queue"
	"appliance/bridge/relay/model"
)

// A group direct room is one room on Matrix: the invitation of the second ghost,
// which comes back while the room is being created, does not create another.
func TestAGroupDirectRoomIsBridgedOnce(t *testing.T) {
	b := newBench(t)
	const direct, room = ids.RCRoom("direct"), ids.MXRoom("!direct:here.org")
	var begun atomic.Bool
	back := make(chan struct{})
	b.RC = directChat{b.rc}
	b.MX = directMatrix{matrix: b.mx, room: room, joins: func(who ids.MXUser) {
		if who != "@carol:here.org" || begun.Swap(true) {
			return
		}
		b.must(b.Accept(t.Context(), []queue.Item{model.InvitationItem("$invitation", event.MXInvited{Room: room, Ghost: who, Inviter: "@alice:here.org"})}, nil))
		go func() { // until it was handled, or has created a room of its own
			defer close(back)
			for range 100 {
				n, err := b.Store.Waiting(t.Context(), model.MXLane(room))
				b.must(err)
				if n == 0 {
					return
				}
				select {
				case <-time.After(20 * time.Millisecond):
				case <-t.Context().Done():
					return
				}
			}
		}()
		<-back
	}}
	b.run()
	payload, _ := json.Marshal(event.RCDirect{Room: direct, Author: "alice", Since: time.Now()})
	b.must(b.Accept(t.Context(), []queue.Item{{ID: "direct", Lane: model.RCLane(direct), Kind: event.KindRCDirect, Payload: payload}}, nil))
	b.wait("the invitation of bob", func() bool { return strings.Contains(strings.Join(b.mx.log(), "\n"), "invites @bob:far.org") })
	<-back
	b.wait("the end of it", func() bool {
		n, err := b.Store.Waiting(t.Context(), model.RCLane(direct))
		return err == nil && n == 0
	})
	for _, did := range b.rc.log() {
		if strings.HasPrefix(did, "group") {
			t.Errorf("a stray private room was made: %s", did)
		}
	}
	p, ok, err := b.Store.PortalByMX(t.Context(), room)
	if err != nil || !ok || p.RCRoom != direct {
		t.Errorf("the Matrix room is that of %+v (%v, %v)", p, ok, err)
	}
}

// When one of our users invites another, the inviter lets the other in. The homeserver's
// event for the invitation is no request to the bridge: whoever may invite people from
// Matrix, it is not declined.
func TestAnInvitationOfOursIsNotDeclined(t *testing.T) {
	b := newBench(t)
	b.live.Permissions.Invite = []string{"admin"}
	b.RC, b.MX = directChat{b.rc}, refusing{b.mx}
	b.run()
	b.must(b.Accept(t.Context(), []queue.Item{model.InvitationItem("$invitation", event.MXInvited{Room: mxRoom, Ghost: "@carol:here.org", Inviter: "@alice:here.org"})}, nil))
	b.wait("the end of it", func() bool {
		n, err := b.Store.Waiting(t.Context(), model.MXLane(mxRoom))
		return err == nil && n == 0
	})
	if did := b.mx.log(); len(did) > 0 {
		t.Errorf("on Matrix: %q", did)
	}
}

// refusing is a homeserver on which invitations can be declined.
type refusing struct{ *matrix }

func (m refusing) Refuse(_ context.Context, _ ids.MXRoom, ghost ids.MXUser, why string) error {
	return m.do("%s declines: %s", ghost, why)
}

// wait waits until ok returns true.
func (b *bench) wait(what string, ok func() bool) {
	b.t.Helper()
	late := time.After(10 * time.Second)
	for !ok() {
		select {
		case <-late:
			b.t.Fatalf("waited for %s: %v %v", what, b.rc.log(), b.mx.log())
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// directChat is a chat with a direct room of alice, carol and bob.
type directChat struct{ *chat }

func (directChat) Usernames(context.Context, ids.RCRoom) ([]string, error) {
	return []string{"alice", "carol", "bob_far.org"}, nil
}

func (c directChat) UserByID(_ context.Context, id ids.RCUser) (model.RCPerson, bool, error) {
	p, ok := c.people[id]
	return p.RCPerson, ok, nil
}

func (c directChat) CreateGroup(_ context.Context, title string, _ model.RCPerson, _ func(ids.RCRoom) (bool, error)) (model.RCRoomInfo, error) {
	return model.RCRoomInfo{ID: "stray", Type: "p"}, c.do("group %s", title)
}

// directMatrix creates one room, and reports when a user joins it.
type directMatrix struct {
	*matrix
	room  ids.MXRoom
	joins func(ids.MXUser)
}

func (m directMatrix) CreateRoom(context.Context, model.MXRoomSpec) (ids.MXRoom, error) {
	return m.room, nil
}

func (m directMatrix) Join(ctx context.Context, room ids.MXRoom, who, by ids.MXUser) (bool, error) {
	m.joins(who)
	return m.matrix.Join(ctx, room, who, by)
}

func (m directMatrix) Invite(_ context.Context, _ ids.MXRoom, _, who ids.MXUser) error {
	return m.do("invites %s", who)
}

func (directMatrix) Bridges(context.Context, ids.MXRoom, ids.MXUser) ([]model.BridgeInfo, error) {
	return nil, nil
}

// State returns that of a direct room: its creator may invite.
func (m directMatrix) State(ctx context.Context, room ids.MXRoom, reader ids.MXUser, kind, key string) (json.RawMessage, bool, error) {
	if kind != "m.room.power_levels" || room != m.room {
		return m.matrix.State(ctx, room, reader, kind, key)
	}
	return json.RawMessage(`{"users":{"@alice:here.org":100},"invite":0}`), true, nil
}
