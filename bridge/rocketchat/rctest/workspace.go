package rctest

import (
	"context"

	"appliance/bridge/rocketchat/rctest/sim"
)

// workspace is what people do in a Rocket.Chat, and what tests look at there. The
// simulator does it itself (*sim.Engine); a real server is called as clients call
// it (*real). Rooms are named by id or name, people by username.
type workspace interface {
	workspacePeople
	workspaceRooms
	workspaceMessages
	workspaceLooks
}

// workspacePeople covers the people of a workspace, and its settings.
type workspacePeople interface {
	CreateUser(username, name string, roles ...string) (Person, error)
	Person(username string) (Person, error)
	ChangeUser(username string, fields map[string]any) error
	SetStatus(username, status, text string) error
	Set(setting string, value any) error
	Logout(username string) error
}

// workspaceRooms covers rooms and their members.
type workspaceRooms interface {
	CreateRoom(t, name, owner string, members ...string) (rid string, err error)
	CreateDirect(first string, others ...string) (rid string, err error)
	Join(room, username string) error
	Leave(room, username string) error
	Invite(room, by, username string) error
	Kick(room, by, username string) error
	ChangeRoom(room, by string, fields map[string]any) error
}

// workspaceMessages covers what people write.
type workspaceMessages interface {
	Say(room, username, text string, fields sim.Doc) (id string, err error)
	Upload(room, username, name, contentType string, data []byte, caption string) (id string, err error)
	Edit(id, username, text string) error
	Delete(id, username string) error
	React(id, username, emoji string, on bool) error
	Typing(room, username string, on bool) error
}

// workspaceLooks covers what a test looks at.
type workspaceLooks interface {
	// Messages returns a room's messages, system messages included, oldest first.
	Messages(room string) []sim.Doc
	// Members returns the usernames of a room's members, sorted.
	Members(room string) []string
	// Room and User return nil where there is none.
	Room(room string) sim.Doc
	User(username string) sim.Doc

	// Wait returns when ok returns true, or when ctx ends.
	Wait(ctx context.Context, ok func() bool) error
}

// host is where a workspace lives: a simulator in this process, or the real
// server that ROCKETCHAT_URL names.
type host interface {
	workspace() workspace
	// administrator and bot sign in the two accounts that tests find there.
	administrator() Person
	bot() Person
	// expect returns how servers of its version behave.
	expect() (Expect, error)
	// stop and restart stop and start the server; the data remain.
	stop()
	restart()
	// engine returns the simulator, nil for a real server.
	engine() *sim.Engine
}
