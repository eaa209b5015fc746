// Package command runs the slash commands /bridge and /federation. Rocket.Chat lets only
// licensed apps add commands, so the web server hands four of its endpoints to Front,
// which responds to these two commands and passes everything else on to Rocket.Chat
// unchanged. The caller is whoever Rocket.Chat says the request's token belongs to.
package command

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"appliance/bridge/config"
	"appliance/bridge/ids"
	"appliance/bridge/relay/model"
	"appliance/bridge/rocketchat"
)

// Bridge carries out the commands; *relay.Relay implements it.
type Bridge interface {
	Rooms
	Matrix
	Lending
}

// Rooms acts on the room in which a command was typed, and on others.
type Rooms interface {
	Invite(ctx context.Context, caller model.Caller, target ids.MXUser) error
	Direct(ctx context.Context, caller model.RCPerson, target ids.MXUser) error
	Bridged(ctx context.Context, room ids.RCRoom) (bool, error)
	KickOnMatrix(ctx context.Context, caller model.Caller, target ids.MXUser) error
	Describe(ctx context.Context, room ids.RCRoom) (string, error)
	Unbridge(ctx context.Context, caller model.Caller) error
	History(ctx context.Context, caller model.Caller, last int, since time.Time) (int, error)
}

// Matrix finds people and rooms on Matrix.
type Matrix interface {
	Whois(ctx context.Context, name string) (string, error)
	PublicRooms(ctx context.Context, server, words string) ([]model.PublicRoom, error)
	JoinPublic(ctx context.Context, caller model.RCPerson, alias string) (string, error)
}

// Lending lets a person allow a Matrix address to use the person's own account.
type Lending interface {
	LendTo(ctx context.Context, caller model.RCPerson, target ids.MXUser) (code string, err error)
	LentTo(ctx context.Context, who ids.RCUser) (ids.MXUser, bool, error)
	TakeBack(ctx context.Context, who ids.RCUser, why string) (ids.MXUser, bool, error)
}

// Answers sends text to people; *rcside.Side implements it.
type Answers interface {
	Tell(ctx context.Context, who model.RCPerson, text string) error
	Say(ctx context.Context, room ids.RCRoom, text string) error
}

// Commands runs commands.
type Commands struct {
	Client   *rocketchat.Client // acts as the bridge account
	Bridge   Bridge
	Answers  Answers
	Operator Operator
	Live     func() config.Live
	Log      *slog.Logger

	mu    sync.Mutex
	perms map[string][]string
	asked time.Time
}

// request is one command as typed.
type request struct {
	// caller uses the caller's own token. It is nil if the command was typed as a
	// message, whose author Rocket.Chat names.
	caller *rocketchat.Client
	user   rocketchat.User
	name   string // "bridge" or "federation"
	params string
	room   string
}

// mine reports whether a command is the bridge's.
func mine(name string) bool {
	name = strings.ToLower(name)
	return name == "bridge" || name == "federation"
}

const help = "/bridge invite @name:example.org - invite a person on Matrix to this room\n" +
	"/bridge kick @name:example.org - remove a person on Matrix from this room\n" +
	"/bridge status - this room's counterpart on Matrix and, for administrators, whether everything is connected\n" +
	"/bridge whois @name - who a person is on the other side\n" +
	"/bridge unbridge - disconnect this room from Matrix\n" +
	"/bridge history 200 - before anybody is invited: show that many past messages, or those since 2026-01-31\n" +
	"/bridge me @name:example.org - what you write on Matrix appears here as yours; /bridge me off ends that\n" +
	"/bridge rooms some words - for administrators: the connected rooms, what is waiting in them and what was given up\n" +
	"/bridge queue - for administrators: what is waiting, and what was given up\n" +
	"/bridge retry all - for administrators: retry everything that was given up, or one item of it\n" +
	"/federation dm @name:example.org - talk to one person on Matrix\n" +
	"/federation rooms example.org some words - public rooms of a server\n" +
	"/federation join #room:example.org - join a public room\n" +
	"/bridge help - this text"

// run carries out a command and replies to the caller. The error is a *model.SayError if
// the caller can do something about it.
func (c *Commands) run(ctx context.Context, r request) error {
	words := strings.Fields(r.params)
	verb := ""
	if len(words) > 0 {
		verb = strings.ToLower(words[0])
	}
	var err error
	switch r.name + " " + verb {
	case "bridge invite":
		err = c.invite(ctx, r, words[1:])
	case "bridge history":
		err = c.history(ctx, r, words[1:])
	case "bridge kick":
		err = c.kick(ctx, r, words[1:])
	case "bridge status":
		err = c.status(ctx, r)
	case "bridge whois":
		err = c.whois(ctx, r, words[1:])
	case "bridge me":
		err = c.me(ctx, r, words[1:])
	case "bridge rooms":
		err = c.list(ctx, r, words[1:])
	case "bridge queue":
		err = c.queue(ctx, r)
	case "bridge retry":
		err = c.retry(ctx, r, words[1:])
	case "bridge unbridge":
		err = c.unbridge(ctx, r)
	case "federation rooms":
		err = c.rooms(ctx, r, words[1:])
	case "federation join":
		err = c.join(ctx, r, words[1:])
	case "federation dm":
		err = c.direct(ctx, r, words[1:])
	case "bridge help", "federation help", "bridge ", "federation ":
		return c.Answers.Tell(ctx, personOf(r.user), help)
	default:
		err = &model.SayError{Text: fmt.Sprintf("there is no /%s %s; the commands are:\n%s", r.name, verb, help)}
	}
	if err != nil {
		c.refuse(ctx, r, err)
	}
	return err
}

// refuse tells the caller why nothing happened. Rocket.Chat shows only a general sentence
// for a failed command, so the reason is sent as a direct message.
func (c *Commands) refuse(ctx context.Context, r request, err error) {
	text := "That did not work just now; please try again in a moment."
	if se, ok := errors.AsType[*model.SayError](err); ok {
		text = "Sorry: " + se.Text + "."
	}
	c.Log.Warn("a command failed", "command", r.name, "user", r.user.ID, "room", r.room, "err", err)
	if err := c.Answers.Tell(ctx, personOf(r.user), text); err != nil {
		c.Log.Warn("a command's caller could not be notified", "user", r.user.ID, "err", err)
	}
}

func personOf(u rocketchat.User) model.RCPerson {
	return model.RCPerson{ID: ids.RCUser(u.ID), Username: u.Username, Name: u.Name}
}

func sayf(format string, args ...any) error {
	return &model.SayError{Text: fmt.Sprintf(format, args...)}
}

func oneAddress(usage string, words []string) (ids.MXUser, error) {
	if len(words) != 1 {
		return "", sayf("this needs one address: %s", usage)
	}
	mx, err := ids.ParseUser(words[0])
	if err != nil {
		return "", sayf("%s", err)
	}
	return mx, nil
}

// invite is /bridge invite.
func (c *Commands) invite(ctx context.Context, r request, words []string) error {
	target, err := oneAddress("/bridge invite @name:example.org", words)
	if err != nil {
		return err
	}
	room, sub, err := c.roomOf(ctx, r)
	if err != nil {
		return err
	}
	if room.Type == rocketchat.Direct {
		return sayf("nobody can be added to a direct message; use /federation dm %s", target)
	}
	if ok, err := c.mayInvite(ctx, r.user, room, sub); err != nil {
		return err
	} else if !ok {
		return sayf("you may not invite people to this room")
	}
	// The bridge has to be in the room to read it and to let people in. The caller, who
	// may invite, invites it.
	if err := c.mayUse(ctx, r, room, sub); err != nil {
		return err
	}
	if r.caller != nil {
		if err := r.caller.Invite(ctx, room.Type, room.ID, c.Client.UserID()); err != nil {
			return fmt.Errorf("bring the bridge into the room: %w", err)
		}
	}
	caller := model.Caller{RCPerson: personOf(r.user), Room: ids.RCRoom(room.ID)}
	if err := c.Bridge.Invite(ctx, caller, target); err != nil {
		return err
	}
	return c.Answers.Say(ctx, caller.Room, fmt.Sprintf("%s invited %s from Matrix to this room.", caller.Display(), target))
}

// roomOf returns the room a command was typed in, if the caller is in it.
func (c *Commands) roomOf(ctx context.Context, r request) (rocketchat.Room, rocketchat.Subscription, error) {
	if r.caller == nil {
		return c.roomTypedIn(ctx, r)
	}
	sub, ok, err := r.caller.Subscription(ctx, r.room)
	if err != nil {
		return rocketchat.Room{}, sub, err
	}
	if !ok {
		return rocketchat.Room{}, sub, sayf("you are not in this room")
	}
	room, ok, err := r.caller.RoomByID(ctx, r.room)
	if err == nil && !ok {
		err = sayf("this room does not exist")
	}
	return room, sub, err
}

// mayInvite checks the permissions that Rocket.Chat itself would check.
func (c *Commands) mayInvite(ctx context.Context, u rocketchat.User, room rocketchat.Room, sub rocketchat.Subscription) (bool, error) {
	perms, err := c.permissions(ctx)
	if err != nil {
		return false, err
	}
	any := "add-user-to-any-c-room"
	if room.Type == rocketchat.Group {
		any = "add-user-to-any-p-room"
	}
	return holds(perms["add-user-to-joined-room"], u.Roles, sub.Roles) || holds(perms[any], u.Roles), nil
}

func holds(need []string, have ...[]string) bool {
	return slices.ContainsFunc(slices.Concat(have...), func(role string) bool { return slices.Contains(need, role) })
}

// permissionsFor is how long permissions are cached.
const permissionsFor = time.Minute

func (c *Commands) permissions(ctx context.Context) (map[string][]string, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.perms != nil && time.Since(c.asked) < permissionsFor {
		return c.perms, nil
	}
	perms, err := c.Client.Permissions(ctx)
	if err != nil {
		return nil, fmt.Errorf("read the permissions: %w", err)
	}
	c.perms, c.asked = perms, time.Now()
	return perms, nil
}

// direct is /federation dm.
func (c *Commands) direct(ctx context.Context, r request, words []string) error {
	target, err := oneAddress("/federation dm @name:example.org", words)
	if err != nil {
		return err
	}
	perms, err := c.permissions(ctx)
	if err != nil {
		return err
	}
	if !holds(perms["create-d"], r.user.Roles) || !config.Holds(c.Live().Permissions.Direct, r.user.Roles...) {
		return sayf("you may not open direct messages")
	}
	if err := c.Bridge.Direct(ctx, personOf(r.user), target); err != nil {
		return err
	}
	return c.Answers.Tell(ctx, personOf(r.user), fmt.Sprintf("%s was invited. Write to them in your new direct message; they will see it once they have accepted.", target))
}
