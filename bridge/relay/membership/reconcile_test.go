package membership_test

import (
	"context"
	"encoding/json"
	"log/slog"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"appliance/bridge/config"
	"appliance/bridge/event"
	"appliance/bridge/ids"
	"appliance/bridge/relay/membership"
	"appliance/bridge/relay/model"
	"appliance/bridge/relay/people"
	"appliance/bridge/relay/portal"
)

// apart is a room in which bob is a member in Rocket.Chat but has left on Matrix.
type apart struct {
	membership.Store
	membership.RocketChat
	membership.Matrix
	removed chan ids.RCUser
	looked  *[]time.Time // at the members on Matrix
	gathers *atomic.Bool // whether all members are being brought in; nil for no
}

func (a apart) Awaited(_ context.Context, lane, kind string) (bool, error) {
	return a.gathers != nil && a.gathers.Load() && lane == "rc:room" && kind == event.KindRCMembership, nil
}

func (apart) Portals(context.Context) ([]model.Portal, error) {
	return []model.Portal{{RCRoom: "room", MXRoom: "!room:here.org", RCType: "p", MXReader: "@alice:here.org"}}, nil
}

func (apart) PuppetByRC(context.Context, ids.RCUser) (model.Puppet, bool, error) {
	return model.Puppet{RCUser: "bob", MXUser: "@bob:there.org"}, true, nil
}

func (apart) IsBridge(ids.RCUser) bool { return false }

func (apart) Room(context.Context, ids.RCRoom) (model.RCRoomInfo, bool, error) {
	return model.RCRoomInfo{ID: "room", Type: "p"}, true, nil
}

// chat is apart as seen by Rocket.Chat.
type chat struct{ apart }

func (chat) Members(context.Context, model.Portal) ([]model.RCPerson, error) {
	return []model.RCPerson{{ID: "bob", Username: "bob_there.org"}}, nil
}

func (c chat) Remove(_ context.Context, _ model.Portal, who ids.RCUser) error {
	c.removed <- who
	return nil
}

// matrix is apart as seen by Matrix.
type matrix struct{ apart }

func (m matrix) Members(context.Context, ids.MXRoom, ids.MXUser) ([]model.MXMember, error) {
	*m.looked = append(*m.looked, time.Now())
	return []model.MXMember{{User: "@bob:there.org", Membership: "leave"}}, nil
}

// State: the room's reader is there.
func (m matrix) State(context.Context, ids.MXRoom, ids.MXUser, string, string) (json.RawMessage, bool, error) {
	return json.RawMessage(`{"membership":"join"}`), true, nil
}

// A difference is found a minute after the start, and corrected half a minute later, not at
// once: a change may be on its way.
func TestADifferenceIsCorrectedSoonAfterItWasSeen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		both := apart{removed: make(chan ids.RCUser, 1), looked: new([]time.Time)}
		rec := reconciler(both)
		ctx, stop := context.WithCancel(t.Context())
		defer stop()
		begun := time.Now()
		go func() { _ = rec.Run(ctx) }()
		who := <-both.removed
		if after := time.Since(begun); who != "bob" || after < time.Minute+20*time.Second || after > 2*time.Minute {
			t.Errorf("%s was removed after %s", who, after)
		}
	})
}

func reconciler(both apart) *membership.Reconciler {
	return &membership.Reconciler{
		Store: both, RC: chat{both}, MX: matrix{both}, Names: ids.Namespace{Server: "here.org", Bot: "rocket.cat"}, Log: slog.New(slog.DiscardHandler),
		Live: func() config.Live { return config.Default().Live }, Tightening: &portal.Tightening{}, Joined: &people.Joined{},
	}
}

// While the members of a room are being brought in, which takes minutes if there are many, a
// missing member is not a difference.
func TestARoomWhoseMembersAreBroughtInIsNotCorrected(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		both := apart{removed: make(chan ids.RCUser, 100), looked: new([]time.Time)}
		both.gathers = new(atomic.Bool)
		both.gathers.Store(true)
		rec := reconciler(both)
		ctx, stop := context.WithTimeout(t.Context(), 65*time.Minute)
		defer stop()
		time.AfterFunc(25*time.Minute, func() { both.gathers.Store(false) })
		begun := time.Now()
		go func() { _ = rec.Run(ctx) }()
		<-both.removed
		if after := time.Since(begun); after < 25*time.Minute || after > 36*time.Minute {
			t.Errorf("it was corrected after %s, want soon after the 25 minutes in which they were brought in", after)
		}
	})
}

// After a round that found something new the next ones come soon, because more may have
// gone wrong by then; what cannot be corrected does not bring them forward again.
func TestTheRoundAfterADifferenceComesSoon(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		both := apart{removed: make(chan ids.RCUser, 100), looked: new([]time.Time)} // the difference stays
		ctx, stop := context.WithTimeout(t.Context(), 35*time.Minute)
		defer stop()
		begun := time.Now()
		_ = reconciler(both).Run(ctx)
		var at []int
		for _, look := range *both.looked {
			at = append(at, int(look.Sub(begun).Round(time.Second).Seconds()))
		}
		// Each round is followed by a look at the differing room.
		want := []int{60, 91, 151, 182, 302, 332, 573, 603, 1083, 1114, 1714, 1744}
		if len(at) != len(want) {
			t.Fatalf("the room was looked at after %v seconds, want about %v", at, want)
		}
		for i := range want {
			if at[i] < want[i]-2 || at[i] > want[i]+2 {
				t.Errorf("the room was looked at after %v seconds, want about %v", at, want)
				break
			}
		}
	})
}
