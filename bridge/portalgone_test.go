package bridge_test

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"appliance/bridge/mxside/mxtest"
	"appliance/bridge/rocketchat/rctest"
)

// What one server refuses at the end of a connection does not keep the others in: Matrix
// users leave in Rocket.Chat, and the ghosts leave on Matrix, except the one that may
// not.
func TestTheEndOfAConnectionThatIsRefusedInPart(t *testing.T) {
	t.Parallel()
	s := newGatedStage(t)
	s.rc.CreateUser("carol")
	s.rc.Invite(s.room, "alice", "carol")
	carol := "@carol:" + s.home.Name
	s.waitForGhost(s.bob, s.mxRoom, carol)
	farewell := s.gate.refuse(1, http.MethodPut, "/send/m.room.message/", http.StatusForbidden, "M_FORBIDDEN")
	stays := s.gate.refuse(1, http.MethodPost, "/leave", http.StatusBadGateway, "M_UNKNOWN")
	s.must(s.people["alice"], s.room, "bridge", "unbridge")
	farewell.waitFor(t, 1)
	stays.waitFor(t, 1)
	mxtest.WaitFor(t, "bob's account to be gone", func() bool { return !slices.Contains(s.rc.Members(s.room), s.puppet) })
	mxtest.WaitFor(t, "one ghost to be gone, the other not", func() bool {
		m := s.bob.Members(s.mxRoom)
		return (m[carol] == "leave") != (m[s.alice()] == "leave")
	})
	if status, body := s.command(s.people["alice"], s.room, "bridge", "status"); status != http.StatusBadRequest || !strings.Contains(body, "not connected with Matrix") {
		t.Errorf("/bridge status: %d %s", status, body)
	}
}

// What is on its way in a room whose connection has ended is dropped, and none of it
// becomes a dead letter.
func TestWhatIsOnItsWayWhenAConnectionEnds(t *testing.T) {
	t.Parallel()
	s := newGatedStage(t)
	id := s.rc.Say(s.room, "alice", "said before")
	event, _ := s.findText("said before")
	slow := s.gate.refuse(always, http.MethodPut, "/send/m.room.message/", http.StatusTooManyRequests, "M_LIMIT_EXCEEDED")
	s.rc.Say(s.room, "alice", "said in between")
	slow.waitFor(t, 1)
	s.rc.Edit(id, "alice", "edited")
	s.rc.React(id, "alice", ":tada:")
	s.rc.SetTopic(s.room, "alice", "another topic")
	s.rc.Delete(id, "alice")
	s.must(s.people["alice"], s.room, "bridge", "unbridge")
	slow.lift()
	mxtest.WaitFor(t, "nothing to wait", func() bool {
		_, page := s.get("/metrics")
		return strings.Contains(page, "appliance_bridge_items_waiting 0\n")
	})
	s.deadLetters(0)
	if s.takenBack(event) || slices.Contains(saidOnMatrix(s.bob, s.mxRoom), s.alice()+": said in between") {
		t.Errorf("something crossed after the end: %q", saidOnMatrix(s.bob, s.mxRoom))
	}
}

// A ghost that cannot follow a room upgrade joins the new room when it speaks.
func TestAGhostThatCannotFollowAnUpgradeComesLater(t *testing.T) {
	t.Parallel()
	s := newGatedStage(t)
	s.rc.CreateUser("carol")
	s.rc.Invite(s.room, "alice", "carol")
	carol := "@carol:" + s.home.Name
	s.waitForGhost(s.bob, s.mxRoom, carol)
	s.promote()
	next := s.bob.CreateRoom("journeys, second part", false)
	s.bob.Must(http.MethodPut, "/_matrix/client/v3/rooms/"+url.PathEscape(next)+"/state/m.room.join_rules/", map[string]any{"join_rule": "public"}, nil)
	outside := s.gate.refuse(always, http.MethodPost, "/join", http.StatusBadGateway, "M_UNKNOWN").to(carol)
	s.setState("m.room.tombstone", map[string]any{"body": "moved", "replacement_room": next})
	mxtest.WaitFor(t, "alice to follow", func() bool { return s.bob.Members(next)[s.alice()] == "join" })
	outside.waitFor(t, 1)
	if got := s.bob.Members(next)[carol]; got == "join" {
		t.Error("carol followed although the homeserver did not let her")
	}
	outside.lift()
	s.rc.Say(s.room, "carol", "me too")
	mxtest.WaitFor(t, "carol's word in the new room", func() bool { return slices.Contains(saidOnMatrix(s.bob, next), carol+": me too") })
	// The old room is no longer ours.
	s.bob.Send(s.mxRoom, "said in the old room")
	s.bob.Send(next, "said in the new one")
	s.messageText("said in the new one")
	if said := s.saidInRC(s.room); slices.ContainsFunc(said, func(m string) bool { return strings.HasSuffix(m, "in the old room") }) {
		t.Errorf("said in Rocket.Chat: %q", said)
	}
}

// When a room is upgraded to one that does not let the bridge in, both sides are told.
func TestAnUpgradeThatLeavesTheBridgeOutside(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.promote()
	closed := s.bob.CreateRoom("for some only", false)
	s.setState("m.room.tombstone", map[string]any{"body": "moved", "replacement_room": closed})
	const sentence = "the bridge was not admitted there"
	s.find("a word on Matrix", func(_ string, c map[string]any) bool { return strings.Contains(fmt.Sprint(c["body"]), sentence) })
	s.message("a word in Rocket.Chat", func(m rctest.Message) bool { return strings.Contains(m.Text, sentence) })
}

// A group that is deleted while the homeserver does not answer is left on Matrix once it
// answers, with the reason.
func TestARoomThatVanishedIsLeftOnMatrix(t *testing.T) {
	t.Parallel()
	s := newGatedStage(t)
	away := s.gate.refuse(always, http.MethodGet, "/members", http.StatusBadGateway, "M_UNKNOWN")
	s.api("alice", "groups.delete", map[string]any{"roomId": s.room})
	s.compareOften()
	away.waitFor(t, 2) // a difference counts once two comparisons have found it
	away.lift()
	s.find("the reason", func(_ string, c map[string]any) bool {
		return c["msgtype"] == "m.notice" && strings.HasPrefix(fmt.Sprint(c["body"]), "This room no longer exists in Rocket.Chat")
	})
	mxtest.WaitFor(t, "alice to be gone from Matrix", func() bool { return s.bob.Members(s.mxRoom)[s.alice()] == "leave" })
}

// A connection that cannot be ended now can be ended later.
func TestUnbridgeWhileTheHomeserverIsAway(t *testing.T) {
	t.Parallel()
	s := newGatedStage(t)
	alice := s.people["alice"]
	away := s.gate.refuse(1, http.MethodGet, "/members", http.StatusBadGateway, "M_UNKNOWN")
	if status, body := s.command(alice, s.room, "bridge", "unbridge"); status == http.StatusOK {
		t.Errorf("the homeserver was away, and alice is told %s", body)
	}
	away.waitFor(t, 1)
	s.bob.Send(s.mxRoom, "still connected")
	s.messageText("still connected")
	s.must(alice, s.room, "bridge", "unbridge")
	mxtest.WaitFor(t, "alice to be gone from Matrix", func() bool { return s.bob.Members(s.mxRoom)[s.alice()] == "leave" })
	mxtest.WaitFor(t, "bob's account to be gone", func() bool { return !slices.Contains(s.rc.Members(s.room), s.puppet) })
}
