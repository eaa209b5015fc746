package bridge_test

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

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
	s.bob.Send(s.mxRoom, "carol stays out")
	s.messageText("carol stays out") // and the ban before it was handled

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
	s.nothingWasRetried()
	if said := saidOnMatrix(s.bob, s.mxRoom); slices.Contains(said, carol+": can you hear me?") {
		t.Errorf("a banned user was heard: %q", said)
	}

	s.bob.Must(http.MethodPost, "/_matrix/client/v3/rooms/"+url.PathEscape(s.mxRoom)+"/unban", map[string]any{"user_id": carol}, nil)
	mxtest.WaitFor(t, "our own server to know that the ban has ended", func() bool { return s.membershipHere(carol) == "leave" })
	s.rc.Say(s.room, "carol", "and now?")
	s.findText("and now?")
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
