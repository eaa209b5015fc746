package rcside_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"appliance/bridge/event"
	"appliance/bridge/ids"
	"appliance/bridge/mustrun"
	"appliance/bridge/relay/model"
	"appliance/bridge/rocketchat/rctest"
)

// A bridge with 5,000 direct rooms (by default 500) starts up, and stops when it is told to.
func TestFiveThousandDirectRoomsAtTheStart(t *testing.T) {
	b := newBed(t, &rctest.Server{Polite: true})
	for i := range mustrun.Sized(5000, 500) {
		b.direct(b.puppet(fmt.Sprint("bob", i)))
	}
	room := b.group("plans")
	b.start()
	said := []string{"rc:" + b.rc.Say(string(room), "alice", "is anybody there?")}
	took := b.waitForAll("what is said in a room", 20*time.Second, said)
	if !b.side.Connected() {
		t.Error("it is not ready")
	}
	t.Logf("ready after %s", took)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		b.stop()
	}()
	select {
	case <-ended:
	case <-time.After(10 * time.Second):
		t.Error("it does not end")
	}
}

// 1,000 rooms and 1,200 direct rooms, each with another person, on a Rocket.Chat that accepts
// 600 subscriptions of a connection per minute: messages sent while the bridge was away
// arrive, and then so do messages, edits and deletions in any of the rooms.
func TestAThousandRoomsOnDefaultLimits(t *testing.T) {
	const rooms, directs = 1000, 1200
	b := newBed(t, &rctest.Server{Polite: true})
	var all []ids.RCRoom
	for i := range rooms {
		all = append(all, b.group(fmt.Sprint("room", i)))
	}
	for i := range directs {
		all = append(all, b.direct(b.puppet(fmt.Sprint("bob", i))))
	}
	sayEverywhere := func(text string) (items []string) {
		for _, room := range all {
			items = append(items, "rc:"+b.rc.Say(string(room), "alice", text))
		}
		return items
	}
	away := sayEverywhere("said while the bridge was away")
	b.start()
	t.Logf("what was said while the bridge was away is there after %s", b.waitForAll("what was said while the bridge was away", 30*time.Second, away))
	t.Logf("what is said in 2,200 rooms at once is there after %s", b.waitForAll("what is said everywhere", 30*time.Second, sayEverywhere("and now")))
	last := all[0]
	for i, room := range []ids.RCRoom{all[rooms/2], all[rooms-1], last} {
		id := b.rc.Say(string(room), "alice", fmt.Sprint("quiet ", i))
		b.waitForAll("what is said in a quiet room", 10*time.Second, []string{"rc:" + id})
		b.rc.React(id, "alice", "smile")
		b.waitFor("a reaction in a quiet room", 10*time.Second, func() bool {
			for _, it := range b.items {
				if it.Kind == event.KindRCReact && it.Lane == model.RCLane(room) {
					return true
				}
			}
			return false
		})
		b.rc.Delete(id, "alice")
		b.waitForAll("a deletion in a quiet room", 10*time.Second, []string{model.RCDelete(ids.RCMessage(id))})
	}
	for _, room := range []ids.RCRoom{all[rooms], all[rooms+directs-1]} {
		id := b.rc.Say(string(room), "alice", "a word in a direct room")
		t.Logf("a word in a quiet direct room is there after %s", b.waitForAll("a word in a quiet direct room", 20*time.Second, []string{"rc:" + id}))
	}
	if n := b.rc.Count("websocket"); n > 200 {
		t.Errorf("%d websockets were opened", n)
	}
	if n := b.rc.Count("sub stream-room-messages") + b.rc.Count("sub stream-notify-room") + b.rc.Count("sub stream-notify-logged"); n > 570+128*4+10 {
		t.Errorf("%d subscriptions in the first minute", n)
	}
}

// A server with default limits, one of them lowered, refuses subscriptions with
// too-many-requests: messages sent while the bridge was away arrive all the same, and
// nothing is requested again before the time that the server names is over.
func TestARefusedSubscriptionIsNotAskedForAgain(t *testing.T) {
	b := newBed(t, &rctest.Server{Polite: true})
	for setting, value := range map[string]any{
		"DDP_Rate_Limit_Connection_Requests_Allowed": 30, "DDP_Rate_Limit_User_By_Method_Enabled": true, "DDP_Rate_Limit_Connection_By_Method_Enabled": true,
	} {
		b.rc.Set(setting, value)
	}
	var all []ids.RCRoom
	for i := range 40 {
		all = append(all, b.group(fmt.Sprint("room", i)))
	}
	say := func(text string) (items []string) {
		for _, room := range all {
			items = append(items, "rc:"+b.rc.Say(string(room), "alice", text))
		}
		return items
	}
	away := say("said while the bridge was away")
	b.start()
	b.waitForAll("what was said while the bridge was away", 60*time.Second, away)
	b.waitFor("a refusal", 20*time.Second, func() bool {
		return strings.Contains(b.log.String(), "refused a subscription") && strings.Contains(b.log.String(), "too-many-requests")
	})
	asked := func() int {
		return b.rc.Count("sub stream-room-messages") + b.rc.Count("sub stream-notify-room") + b.rc.Count("sub stream-notify-user") + b.rc.Count("sub stream-notify-logged")
	}
	before := asked()
	now := say("and now")
	b.waitFor("what is said in a room that is subscribed to", 30*time.Second, func() bool {
		for _, id := range now {
			if _, there := b.items[id]; there {
				return true
			}
		}
		return false
	})
	if after := asked(); after != before {
		t.Errorf("%d subscriptions were asked for before the time was over", after-before)
	}
}

// When the time of a refusal is over, the bridge receives the messages of the rooms
// that it could not subscribe to, including those sent there meanwhile.
func TestRoomsAreHeardOfWhenTheTimeOfARefusalIsOver(t *testing.T) {
	b := newBed(t, &rctest.Server{Polite: true})
	b.rc.Set("DDP_Rate_Limit_Connection_Requests_Allowed", 30)
	b.rc.Set("DDP_Rate_Limit_Connection_Interval_Time", 5000)
	var all []ids.RCRoom
	for i := range 40 {
		all = append(all, b.group(fmt.Sprint("room", i)))
	}
	b.start()
	b.waitFor("a refusal", 20*time.Second, func() bool { return strings.Contains(b.log.String(), "too-many-requests") })
	for _, text := range []string{"said while it is deaf", "said afterwards"} {
		var said []string
		for _, room := range all {
			said = append(said, "rc:"+b.rc.Say(string(room), "alice", text))
		}
		t.Logf("%s: there after %s", text, b.waitForAll(text, 40*time.Second, said))
	}
}
