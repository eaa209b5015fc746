package bridge_test

import (
	"bytes"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"appliance/bridge/ids"
	"appliance/bridge/mxside/mxtest"
	"appliance/bridge/rocketchat/rctest"
)

// takenBack reports whether an event is redacted on bob's server.
func (s *stage) takenBack(event string) bool {
	return slices.ContainsFunc(s.bob.Events(s.mxRoom), func(e map[string]any) bool { return redacted(e) == event })
}

// fileOnMatrix waits for a file in bob's timeline.
func (s *stage) fileOnMatrix(name string) (id string, content map[string]any) {
	s.t.Helper()
	return s.find(name, func(_ string, c map[string]any) bool {
		return c["url"] != nil && (c["filename"] == name || c["body"] == name)
	})
}

// A file that the homeserver refuses for a while blocks nothing: its caption arrives,
// then later messages, then the file, as a reply to the caption.
func TestFilesThatMatrixDoesNotTakeForAWhileFollow(t *testing.T) {
	t.Parallel()
	s := newGatedStage(t)
	busy := s.gate.refuse(always, http.MethodGet, "media/config", http.StatusTooManyRequests, "M_LIMIT_EXCEEDED")
	data := []byte("%PDF-1.4 patience")
	id := s.rc.Upload(s.room, "alice", "late.pdf", "application/pdf", data, "see page two")
	s.rc.Say(s.room, "alice", "and page three")
	words, _ := s.findText("see page two")
	s.findText("and page three")
	busy.lift()
	file, c := s.fileOnMatrix("late.pdf")
	if to, _ := relation(c)["m.in_reply_to"].(map[string]any); to["event_id"] != words {
		t.Errorf("the file is no answer to %s: %v", words, c)
	}
	if got := s.download(fmt.Sprint(c["url"])); !bytes.Equal(got, data) {
		t.Errorf("%q arrived", got)
	}
	// The file belongs to its message, and goes with it.
	s.rc.Delete(id, "alice")
	mxtest.WaitFor(t, "words and file to be taken back", func() bool { return s.takenBack(words) && s.takenBack(file) })
}

// A file without a caption follows alone.
func TestAFileWithoutWordsThatMatrixDoesNotTakeForAWhileFollows(t *testing.T) {
	t.Parallel()
	s := newGatedStage(t)
	busy := s.gate.refuse(always, http.MethodGet, "media/config", http.StatusTooManyRequests, "M_LIMIT_EXCEEDED")
	s.rc.Upload(s.room, "alice", "plain.pdf", "application/pdf", []byte("%PDF-1.4 nothing beside it"), "")
	s.rc.Say(s.room, "alice", "and page three")
	s.findText("and page three")
	busy.lift()
	if _, c := s.fileOnMatrix("plain.pdf"); relation(c) != nil {
		t.Errorf("a file without words answers something: %v", c)
	}
}

// A file that the homeserver refuses, or that Rocket.Chat has lost, is replaced by a
// line that says why, and its sender is told.
func TestFilesThatMatrixRefuses(t *testing.T) {
	t.Parallel()
	var lost atomic.Bool
	s := newGatedStageOn(t, &rctest.Server{Polite: true, OnRequest: func(w http.ResponseWriter, r *http.Request) bool {
		if !lost.Load() || !strings.HasPrefix(r.URL.Path, "/file-upload/") {
			return false
		}
		http.Error(w, "gone", http.StatusNotFound)
		return true
	}})
	refused := func(name, why string) {
		t.Helper()
		s.rc.Upload(s.room, "alice", name, "application/pdf", []byte("%PDF-1.4 "+name), "")
		s.find(name, func(_ string, c map[string]any) bool {
			body := fmt.Sprint(c["body"])
			return c["msgtype"] == "m.notice" && strings.HasPrefix(body, "["+name+"]") && strings.Contains(body, why)
		})
		s.told("alice", "Your file \""+name+"\" was not carried to Matrix: "+why)
	}
	s.gate.refuse(1, http.MethodPost, "/upload", http.StatusForbidden, "M_FORBIDDEN")
	refused("odd.pdf", "the Matrix server refused it")
	s.gate.refuse(1, http.MethodPost, "/upload", http.StatusRequestEntityTooLarge, "M_TOO_LARGE")
	refused("large.pdf", "the Matrix server accepts files of at most")
	lost.Store(true)
	refused("lost.pdf", "Rocket.Chat no longer has it")
}

// A message that is refused once is retried; one that the homeserver keeps refusing is
// given up, its author is told, and later messages cross.
func TestMessagesThatMatrixRefuses(t *testing.T) {
	t.Parallel()
	s := newGatedStage(t)
	const send = "/send/m.room.message/"
	once := s.gate.refuse(1, http.MethodPut, send, http.StatusForbidden, "M_FORBIDDEN")
	s.rc.Say(s.room, "alice", "refused once")
	s.findText("refused once")
	once.waitFor(t, 1)

	s.gate.refuse(2, http.MethodPut, send, http.StatusForbidden, "M_FORBIDDEN")
	s.rc.Say(s.room, "alice", "refused for good")
	s.rc.Say(s.room, "alice", "afterwards")
	s.findText("afterwards")
	s.told("alice", "was not carried to Matrix: the Matrix server refused it.")

	id := s.rc.Say(s.room, "alice", "first version")
	s.findText("first version")
	s.gate.refuse(1, http.MethodPut, send, http.StatusBadRequest, "M_BAD_JSON")
	s.rc.Edit(id, "alice", "second version")
	if text := s.told("alice", "the Matrix server refused the edit."); !strings.HasPrefix(text, "Your edit of the message") {
		t.Errorf("alice is told %q", text)
	}
	want := []string{"refused once", "afterwards", "first version"}
	if got := only(saidOnMatrix(s.bob, s.mxRoom), s.alice()); len(got) < 3 || !slices.Equal(got[len(got)-3:], want) {
		t.Errorf("bob reads %q, want %q at the end", got, want)
	}
	s.deadLetters(2)
}

// A deletion that the ghost may not make is made by the bridge; one that nobody may make
// blocks nothing.
func TestDeletionsThatMatrixRefuses(t *testing.T) {
	t.Parallel()
	s := newGatedStage(t)
	first, second := s.rc.Say(s.room, "alice", "one"), s.rc.Say(s.room, "alice", "two")
	one, _ := s.findText("one")
	two, _ := s.findText("two")
	as := s.gate.refuse(1, http.MethodPut, "/redact/", http.StatusForbidden, "M_FORBIDDEN")
	s.rc.Delete(first, "alice")
	mxtest.WaitFor(t, "the first message to be taken back", func() bool { return s.takenBack(one) })
	as.waitFor(t, 1)
	both := s.gate.refuse(2, http.MethodPut, "/redact/", http.StatusForbidden, "M_FORBIDDEN")
	s.rc.Delete(second, "alice")
	s.rc.Say(s.room, "alice", "three")
	s.findText("three")
	both.waitFor(t, 2)
	if s.takenBack(two) {
		t.Error("the second message was taken back although the homeserver refused that")
	}
}

// A reaction that exists already blocks nothing.
func TestReactionsThatMatrixRefuses(t *testing.T) {
	t.Parallel()
	s := newGatedStage(t)
	id := s.rc.Say(s.room, "alice", "react to this")
	s.findText("react to this")
	there := s.gate.refuse(1, http.MethodPut, "/send/m.reaction/", http.StatusBadRequest, "M_DUPLICATE_ANNOTATION")
	s.rc.React(id, "alice", ":+1:")
	there.waitFor(t, 1)
	s.rc.React(id, "alice", ":tada:")
	s.find("the second reaction", func(kind string, c map[string]any) bool { return kind == "m.reaction" && relation(c)["key"] == "🎉" })
	s.rc.Say(s.room, "alice", "go on")
	s.findText("go on")
}

// A person who is removed in Rocket.Chat is removed on Matrix, even if the remover has
// no power there; a person who is added again is invited again.
func TestRemovedAndAddedInRocketChat(t *testing.T) {
	t.Parallel()
	s := newGatedStage(t)
	s.rc.CreateUser("carol")
	s.rc.Invite(s.room, "alice", "carol")
	carol := "@carol:" + s.home.Name
	mxtest.WaitFor(t, "carol to join on Matrix", func() bool { return s.bob.Members(s.mxRoom)[carol] == "join" })
	s.rc.Kick(s.room, "alice", "carol")
	mxtest.WaitFor(t, "carol to be out on Matrix", func() bool { return s.bob.Members(s.mxRoom)[carol] == "leave" })
	asAlice := s.gate.refuse(1, http.MethodPost, "/kick", http.StatusForbidden, "M_FORBIDDEN")
	s.rc.Kick(s.room, "alice", s.puppet)
	mxtest.WaitFor(t, "bob to be out on Matrix", func() bool { return !slices.Contains(s.roomsOf(s.bob), s.mxRoom) })
	asAlice.waitFor(t, 1)
	s.rc.Invite(s.room, "alice", s.puppet)
	if room, inviter := s.bob.AcceptInvitation(); room != s.mxRoom || inviter != s.alice() {
		t.Errorf("%s invited bob to %s", inviter, room)
	}
}

// roomsOf lists the rooms that a person on Matrix is in.
func (s *stage) roomsOf(p *mxtest.Person) []string {
	s.t.Helper()
	var out struct {
		Rooms []string `json:"joined_rooms"`
	}
	p.Must(http.MethodGet, "/_matrix/client/v3/joined_rooms", nil, &out)
	return out.Rooms
}

// If a person cannot be invited, the user who opened the direct room is told, and may try
// again.
func TestDirectRoomsWhoseInvitationIsRefused(t *testing.T) {
	t.Parallel()
	s := newGatedStage(t)
	s.gate.refuse(1, http.MethodPost, "/invite", http.StatusForbidden, "M_FORBIDDEN")
	dm := s.rc.CreateDirect("alice", s.puppet)
	s.rc.Say(dm, "alice", "lost words")
	s.told("alice", "Sorry: "+s.bob.ID+" cannot be invited")
	n := s.delivered()
	s.rc.Say(dm, "alice", "once more")
	s.waitForDelivered(n + 1)
	mxRoom, _ := s.bob.AcceptInvitation()
	mxtest.WaitFor(t, "the second attempt", func() bool { return slices.Contains(saidOnMatrix(s.bob, mxRoom), s.alice()+": once more") })
}

// In a direct room of several people the others talk without the one who cannot be invited.
func TestADirectRoomOfSeveralGoesOnWithoutOne(t *testing.T) {
	t.Parallel()
	s := newGatedStage(t)
	dave := s.far.Register("dave", "Dave")
	s.must(s.people["alice"], s.room, "bridge", "invite "+dave.ID)
	dave.AcceptInvitation()
	puppet := ids.PuppetUsername(ids.MXUser(dave.ID), false)
	s.waitForPuppet(s.room, puppet)
	s.gate.refuse(1, http.MethodPost, "/invite", http.StatusNotFound, "M_NOT_FOUND")
	three := s.rc.CreateDirect("alice", s.puppet, puppet)
	s.rc.Say(three, "alice", "hello you two")
	s.told("alice", "does not know them or refused")
	mxtest.WaitFor(t, "one of them to be invited", func() bool { return s.invited(s.bob)+s.invited(dave) == 1 })
}

// invited returns how many invitations a person on Matrix has.
func (s *stage) invited(p *mxtest.Person) int {
	s.t.Helper()
	var out struct {
		Rooms struct {
			Invite map[string]any `json:"invite"`
		} `json:"rooms"`
	}
	p.Must(http.MethodGet, "/_matrix/client/v3/sync?timeout=0", nil, &out)
	return len(out.Rooms.Invite)
}
