package command

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"appliance/bridge/config"
	"appliance/bridge/ids"
	"appliance/bridge/relay/model"
	"appliance/bridge/rocketchat"
)

// mayUse checks the operator's permissions for inviting into a room and, if it is not
// connected yet, for connecting it.
func (c *Commands) mayUse(ctx context.Context, r request, room rocketchat.Room, sub rocketchat.Subscription) error {
	roles := slices.Concat(r.user.Roles, sub.Roles)
	if !config.Holds(c.Live().Permissions.Invite, roles...) {
		return sayf("the administrator does not let you invite people from Matrix")
	}
	bridged, err := c.Bridge.Bridged(ctx, ids.RCRoom(room.ID))
	if err != nil {
		return err
	}
	if !bridged && !config.Holds(c.Live().Permissions.Bridge, roles...) {
		return sayf("the administrator does not let you connect this room with Matrix")
	}
	return nil
}

// tell replies to the caller only.
func (c *Commands) tell(ctx context.Context, r request, text string) error {
	return c.Answers.Tell(ctx, personOf(r.user), text)
}

// kick is /bridge kick.
func (c *Commands) kick(ctx context.Context, r request, words []string) error {
	target, err := oneAddress("/bridge kick @name:example.org", words)
	if err != nil {
		return err
	}
	room, sub, err := c.roomOf(ctx, r)
	if err != nil {
		return err
	}
	perms, err := c.permissions(ctx)
	if err != nil {
		return err
	}
	if !holds(perms["remove-user"], r.user.Roles, sub.Roles) {
		return sayf("you may not remove people from this room")
	}
	if err := c.Bridge.KickOnMatrix(ctx, model.Caller{RCPerson: personOf(r.user), Room: ids.RCRoom(room.ID)}, target); err != nil {
		return err
	}
	return c.tell(ctx, r, fmt.Sprintf("%s was removed from %s.", target, room.Title()))
}

// status is /bridge status: of the room and, for administrators, of the bridge, in any room.
func (c *Commands) status(ctx context.Context, r request) error {
	state, err := c.state(ctx, r)
	if err != nil {
		return err
	}
	text, err := c.describe(ctx, r)
	if say, ok := errors.AsType[*model.SayError](err); ok && state != "" {
		text, err = "About this room: "+say.Text+".", nil
	}
	if err != nil {
		return err
	}
	if state != "" {
		text = state + "\n" + text
	}
	return c.tell(ctx, r, text)
}

// describe describes the room in which a command was typed.
func (c *Commands) describe(ctx context.Context, r request) (string, error) {
	room, _, err := c.roomOf(ctx, r)
	if err != nil {
		return "", err
	}
	return c.Bridge.Describe(ctx, ids.RCRoom(room.ID))
}

// whois is /bridge whois.
func (c *Commands) whois(ctx context.Context, r request, words []string) error {
	if len(words) != 1 {
		return sayf("this needs one name: /bridge whois @name, or /bridge whois @name:example.org")
	}
	text, err := c.Bridge.Whois(ctx, words[0])
	if err != nil {
		return err
	}
	return c.tell(ctx, r, text)
}

// unbridge is /bridge unbridge. It requires an owner of the room, or a person who may
// edit any room.
func (c *Commands) unbridge(ctx context.Context, r request) error {
	room, sub, err := c.roomOf(ctx, r)
	if err != nil {
		return err
	}
	perms, err := c.permissions(ctx)
	if err != nil {
		return err
	}
	if room.Type != rocketchat.Direct && !holds(perms["edit-room"], r.user.Roles, sub.Roles) {
		return sayf("only an owner of this room may disconnect it from Matrix")
	}
	if err := c.Bridge.Unbridge(ctx, model.Caller{RCPerson: personOf(r.user), Room: ids.RCRoom(room.ID)}); err != nil {
		return err
	}
	return c.tell(ctx, r, fmt.Sprintf("%s is no longer connected with Matrix. What was said stays on both sides.", room.Title()))
}

var serverLike = regexp.MustCompile(`^[0-9A-Za-z-]+(\.[0-9A-Za-z-]+)*(:[0-9]+)?$`)

// rooms is /federation rooms [server] [words]. A first word that looks like a server name
// is taken as one.
func (c *Commands) rooms(ctx context.Context, r request, words []string) error {
	if !config.Holds(c.Live().Permissions.Join, r.user.Roles...) {
		return sayf("the administrator does not let you look for rooms on Matrix")
	}
	server := ""
	if len(words) > 0 && strings.ContainsAny(words[0], ".:") && serverLike.MatchString(words[0]) {
		server, words = words[0], words[1:]
	}
	rooms, err := c.Bridge.PublicRooms(ctx, server, strings.Join(words, " "))
	if err != nil {
		return err
	}
	if len(rooms) == 0 {
		return c.tell(ctx, r, "No public room was found.")
	}
	var b strings.Builder
	b.WriteString("Public rooms; /federation join #room:example.org joins one:")
	for _, room := range rooms {
		fmt.Fprintf(&b, "\n%s: %s (%d people)", orElse(room.Alias, string(room.Room)), orElse(Plain(room.Name), "without a name"), room.Members)
		if topic := Plain(room.Topic); topic != "" {
			b.WriteString(", " + topic)
		}
	}
	return c.tell(ctx, r, b.String())
}

// Plain makes a text from elsewhere fit for one line.
func Plain(text string) string {
	text = strings.Join(strings.Fields(text), " ")
	if r := []rune(text); len(r) > 100 {
		text = string(r[:100]) + "..."
	}
	return strings.NewReplacer("@", "@\u200b", "`", "'", "[", "(", "]", ")").Replace(text)
}

func orElse(text, otherwise string) string {
	if text == "" {
		return otherwise
	}
	return text
}

var alias = regexp.MustCompile(`^#[^\s:]+:[^\s:]+(:[0-9]+)?$`)

// join is /federation join #alias:server.
func (c *Commands) join(ctx context.Context, r request, words []string) error {
	if len(words) != 1 || !alias.MatchString(words[0]) {
		return sayf("this needs one address of a room: /federation join #room:example.org")
	}
	if !config.Holds(c.Live().Permissions.Join, r.user.Roles...) {
		return sayf("the administrator does not let you join rooms on Matrix")
	}
	perms, err := c.permissions(ctx)
	if err != nil {
		return err
	}
	if !holds(perms["create-p"], r.user.Roles) {
		return sayf("you may not create rooms, and joining one on Matrix creates one here")
	}
	title, err := c.Bridge.JoinPublic(ctx, personOf(r.user), words[0])
	if err != nil {
		return err
	}
	return c.tell(ctx, r, fmt.Sprintf("You have joined %s; it is the room %s here.", words[0], title))
}

// roomTypedIn is roomOf for a command that was typed as a message: whoever wrote
// in a room is in it.
func (c *Commands) roomTypedIn(ctx context.Context, r request) (rocketchat.Room, rocketchat.Subscription, error) {
	room, ok, err := c.Client.RoomByID(ctx, r.room)
	if err == nil && !ok || rocketchat.Says(err, "Not Allowed", "not-allowed") {
		err = sayf("the bridge cannot see this room; open Rocket.Chat at its own address and type the command there")
	}
	if err != nil {
		return room, rocketchat.Subscription{}, err
	}
	var sub rocketchat.Subscription
	roles, err := c.Client.RoomRoles(ctx, room.Type, room.ID)
	for _, entry := range roles {
		if entry.User.ID == r.user.ID {
			sub.Roles = entry.Roles
		}
	}
	return room, sub, err
}

// Typed carries out a command that reached Rocket.Chat as a message, on behalf of
// its author. Answers and refusals come as a direct message.
func (c *Commands) Typed(ctx context.Context, caller model.Caller, name, params string) {
	user, ok, err := c.Client.UserByID(ctx, string(caller.ID))
	if err != nil || !ok {
		c.Log.Warn("the author of a typed command could not be looked up", "user", caller.ID, "err", err)
		return
	}
	_ = c.run(ctx, request{user: user, name: name, params: params, room: string(caller.Room)}) // the caller has been told
}
