package bridge_test

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"appliance/bridge/ids"
	"appliance/bridge/mustrun"
	"appliance/bridge/mxside/mxtest"
	"appliance/bridge/rocketchat/rctest"
)

// A user who is banned on Matrix may still be added to the room in Rocket.Chat and write
// there. It does not cross, both people are told, and nobody else's messages wait for it.
func TestABannedUserHoldsNothingUp(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.rc.CreateUser("carol", "user", "bot") // bot: no rate limit
	carol := "@carol:" + s.home.Name
	s.promote()
	s.bob.Must(http.MethodPost, "/_matrix/client/v3/rooms/"+url.PathEscape(s.mxRoom)+"/ban", map[string]any{"user_id": carol}, nil)
	ban, _ := s.find("the ban", func(kind string, c map[string]any) bool { return kind == "m.room.member" && c["membership"] == "ban" })
	mxtest.WaitFor(t, "the ban to be handled", func() bool { return strings.Contains(s.log.String(), "msg=delivered item="+ban) })

	s.rc.Invite(s.room, "alice", "carol")
	s.rc.Say(s.room, "alice", "welcome, carol")
	s.findText("welcome, carol")
	s.told("alice", "Carol is banned from the room on Matrix: messages of Carol are not carried there.")
	s.rc.Say(s.room, "carol", "can you hear me?")
	hers := s.rc.Say(s.room, "alice", "she is here, bob")
	s.findText("she is here, bob")
	s.told("carol", "was not carried to Matrix: you are banned from the room on Matrix.")
	s.rc.React(hers, "carol", ":+1:")
	s.rc.Say(s.room, "alice", "and she likes that")
	s.findText("and she likes that")
	s.deadLetters(1)
	s.rc.Say(s.room, "carol", "can anybody hear me?")
	s.deadLetters(2)
	if n := len(s.toldTexts("carol")); n != 1 {
		t.Errorf("carol was told %d times: %q", n, s.toldTexts("carol"))
	}
	s.nothingWasRetried()
	if said := saidOnMatrix(s.bob, s.mxRoom); slices.Contains(said, carol+": can you hear me?") {
		t.Errorf("a banned user was heard: %q", said)
	}

	s.bob.Must(http.MethodPost, "/_matrix/client/v3/rooms/"+url.PathEscape(s.mxRoom)+"/unban", map[string]any{"user_id": carol}, nil)
	mxtest.WaitFor(t, "carol to come in on Matrix", func() bool { return s.bob.Members(s.mxRoom)[carol] == "join" })
	s.rc.Say(s.room, "carol", "and now?")
	s.findText("and now?")
}

// A ban on Matrix says nothing to a Rocket.Chat user who is not in the room, and names no room to them.
func TestABanOfAUserWhoIsNotThere(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.rc.CreateUser("carol")
	s.rc.Invite(s.room, "alice", "carol")
	carol := "@carol:" + s.home.Name
	mxtest.WaitFor(t, "carol to join on Matrix", func() bool { return s.bob.Members(s.mxRoom)[carol] == "join" })
	s.promote()
	s.rc.Kick(s.room, "alice", "carol")
	mxtest.WaitFor(t, "carol to leave on Matrix", func() bool { return s.bob.Members(s.mxRoom)[carol] == "leave" })
	s.bob.Must(http.MethodPost, "/_matrix/client/v3/rooms/"+url.PathEscape(s.mxRoom)+"/ban", map[string]any{"user_id": carol}, nil)
	ban, _ := s.find("the ban", func(kind string, c map[string]any) bool { return kind == "m.room.member" && c["membership"] == "ban" })
	mxtest.WaitFor(t, "the ban to be handled", func() bool { return strings.Contains(s.log.String(), "msg=delivered item="+ban) })
	if told := s.toldTexts("carol"); len(told) > 0 {
		t.Errorf("carol was told %q", told)
	}
}

// A room on Matrix may stop letting Rocket.Chat users in. Then what a new one writes does
// not cross; who writes is told, and nobody else's messages wait for it.
func TestAUserWhoIsNotAdmittedHoldsNothingUp(t *testing.T) {
	t.Parallel()
	s := roomOfBobs(newWorld(t, &rctest.Server{Polite: true}))
	s.rc.CreateUser("carol", "user", "bot") // bot: no rate limit
	powers := s.state("m.room.power_levels")
	powers["invite"] = 50
	s.setState("m.room.power_levels", powers)
	s.bob.Send(s.mxRoom, "only I invite from now on")
	s.messageText("only I invite from now on")

	s.rc.Invite(s.room, "alice", "carol")
	s.rc.Say(s.room, "carol", "may I?")
	s.rc.Say(s.room, "alice", "here is carol")
	s.findText("here is carol")
	s.told("alice", "Carol is not in the room on Matrix, because it does not let Carol in: messages of Carol are not carried there.")
	s.told("carol", "was not carried to Matrix: the room on Matrix does not let you in.")
	for _, cause := range s.deadLetters(1) {
		if !strings.Contains(cause, "not admitted to the room") {
			t.Errorf("the cause of the dead letter is %q", cause)
		}
	}
}

// A person may leave on Matrix while a Rocket.Chat user removes them. They stay out, and nobody
// is told that Matrix does not allow it.
func TestARemovalOfWhoHasLeftMeanwhile(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.stop()
	s.rc.Kick(s.room, "alice", s.puppet)
	s.bob.Must(http.MethodPost, "/_matrix/client/v3/rooms/"+url.PathEscape(s.mxRoom)+"/leave", map[string]any{}, nil)
	mxtest.WaitFor(t, "our own server to know that bob has left", func() bool { return s.membershipHere(s.bob.ID) == "leave" })
	s.startBridge()
	s.rc.Say(s.room, "alice", "and then there was one")
	alice := s.home.As("as-token-for-tests")
	mxtest.WaitFor(t, "what was said after that", func() bool {
		var out struct {
			Chunk []struct{ Content struct{ Body string } }
		}
		_, err := alice.Call(t.Context(), http.MethodGet, "/_matrix/client/v3/rooms/"+url.PathEscape(s.mxRoom)+"/messages?dir=b&limit=5&user_id="+url.QueryEscape(s.alice()), nil, &out)
		return err == nil && slices.ContainsFunc(out.Chunk, func(e struct{ Content struct{ Body string } }) bool {
			return e.Content.Body == "and then there was one"
		})
	})
	if slices.Contains(s.rc.Members(s.room), s.puppet) {
		t.Error("bob is back in the room of Rocket.Chat")
	}
	if strings.Contains(s.log.String(), "it will be retried") {
		t.Error("a removal was retried")
	}
}

// An owner may lift a ban in Rocket.Chat that the room on Matrix does not let them lift. The
// person does not come back, and the owner is told why.
func TestABanThatMatrixDoesNotLift(t *testing.T) {
	t.Parallel()
	s := roomOfBobs(newWorld(t, &rctest.Server{Polite: true}))
	if !s.rc.Expect().Bans {
		mustrun.Skip(t, "this Rocket.Chat has no bans; make test runs it on a version that has")
	}
	dave := s.far.Register("dave", "Dave")
	s.bob.Must(http.MethodPost, "/_matrix/client/v3/rooms/"+url.PathEscape(s.mxRoom)+"/invite", map[string]any{"user_id": dave.ID}, nil)
	dave.AcceptInvitation()
	puppet := ids.PuppetUsername(ids.MXUser(dave.ID), false)
	s.waitForPuppet(s.room, puppet)
	s.stop()
	s.api("alice", "rooms.banUser", map[string]any{"roomId": s.room, "username": puppet})
	s.api("alice", "rooms.unbanUser", map[string]any{"roomId": s.room, "username": puppet})
	s.bob.Must(http.MethodPost, "/_matrix/client/v3/rooms/"+url.PathEscape(s.mxRoom)+"/ban", map[string]any{"user_id": dave.ID}, nil)
	mxtest.WaitFor(t, "our own server to know of the ban", func() bool { return s.membershipHere(dave.ID) == "ban" })
	s.startBridge()
	s.told("alice", dave.ID+" is still banned on Matrix: the room there does not allow you to lift the ban.")
	if slices.Contains(s.rc.Members(s.room), puppet) {
		t.Error("dave is back in the room of Rocket.Chat")
	}
}

// membershipHere returns the membership of a user in the stage's room, according to our
// homeserver.
func (s *stage) membershipHere(user string) string {
	var out struct {
		Membership string `json:"membership"`
	}
	path := "/_matrix/client/v3/rooms/" + url.PathEscape(s.mxRoom) + "/state/m.room.member/" + url.PathEscape(user) + "?user_id=" + url.QueryEscape(s.alice())
	_, _ = s.home.As("as-token-for-tests").Call(s.t.Context(), http.MethodGet, path, nil, &out) // no member event: ""
	return out.Membership
}
