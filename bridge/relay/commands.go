package relay

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"appliance/bridge/convert"
	"appliance/bridge/ids"
)

// MatrixRooms is the part of Matrix about rooms of other servers.
type MatrixRooms interface {
	// PublicRooms searches what a server lists; "" is our own.
	PublicRooms(ctx context.Context, server, words string, limit int) ([]PublicRoom, error)
	// JoinAlias makes one of our users join a room by its alias.
	JoinAlias(ctx context.Context, who ids.MXUser, alias string) (ids.MXRoom, error)
	// Bridges returns what bridges have written into a room, as reader.
	Bridges(ctx context.Context, room ids.MXRoom, reader ids.MXUser) ([]BridgeInfo, error)
	// Refuse declines an invitation with a reason.
	Refuse(ctx context.Context, room ids.MXRoom, who ids.MXUser, reason string) error
}

var errNotBridged = &SayError{Text: "this room is not connected with Matrix; /bridge invite @name:example.org does that"}

// portalOf returns the portal of a room in which a command was typed.
func (r *Relay) portalOf(ctx context.Context, room ids.RCRoom) (Portal, error) {
	p, ok, err := r.Store.PortalByRC(ctx, room)
	if err == nil && !ok {
		err = errNotBridged
	}
	return p, err
}

// KickOnMatrix removes somebody on Matrix from the caller's room.
func (r *Relay) KickOnMatrix(ctx context.Context, caller Caller, target ids.MXUser) error {
	p, err := r.portalOf(ctx, caller.Room)
	if err != nil {
		return err
	}
	if p.RCType == directRoom {
		return say("nobody can be removed from a direct message")
	}
	members, err := r.MX.Members(ctx, p.MXRoom, r.reader(p))
	if err != nil {
		return err
	}
	if !slices.ContainsFunc(members, func(m MXMember) bool {
		return m.User == target && (m.Membership == "join" || m.Membership == "invite")
	}) {
		return say("%s is not in this room", target)
	}
	err = r.MX.Kick(ctx, p.MXRoom, r.reader(p), target)
	if errors.Is(err, ErrForbidden) {
		return say("the bridge has not the power to remove %s from the Matrix room", target)
	}
	if err != nil {
		return err
	}
	// What the bridge does itself does not come back as news.
	puppet, ok, err := r.Store.PuppetByMX(ctx, target)
	if err != nil || !ok {
		return err
	}
	return ignore(r.RC.Remove(ctx, p, puppet.RCUser), ErrNotFound)
}

// Describe says in words what a room is on Matrix.
func (r *Relay) Describe(ctx context.Context, room ids.RCRoom) (string, error) {
	p, err := r.portalOf(ctx, room)
	if err != nil {
		return "", err
	}
	members, err := r.MX.Members(ctx, p.MXRoom, r.reader(p))
	if err != nil {
		return "", err
	}
	count := map[string]int{}
	var invited []string
	for _, m := range members {
		switch {
		case r.Names.Owns(m.User):
		case m.Membership == "join":
			count[m.User.Homeserver()]++
		case m.Membership == "invite":
			invited = append(invited, string(m.User))
		}
	}
	var b strings.Builder
	fmt.Fprintf(&b, "This room is connected with the Matrix room %s since %s.", p.MXRoom, p.Created.Format("2 January 2006 15:04 MST"))
	servers := make([]string, 0, len(count))
	for s, n := range count {
		servers = append(servers, fmt.Sprintf("%s (%d)", s, n))
	}
	slices.Sort(servers)
	if len(servers) > 0 {
		fmt.Fprintf(&b, "\nPeople from Matrix by server: %s.", strings.Join(servers, ", "))
	} else {
		b.WriteString("\nNobody from Matrix is here now.")
	}
	if len(invited) > 0 {
		fmt.Fprintf(&b, "\nInvited, and not here yet: %s.", strings.Join(invited, ", "))
	}
	if !r.Live().Enabled {
		b.WriteString("\nThe administrator has paused the bridge: what is written is kept and carried later.")
	}
	return b.String(), nil
}

// Unbridge ends the connection of a room with Matrix: the ghosts leave there, the
// people of Matrix leave here, what was said stays on both sides.
func (r *Relay) Unbridge(ctx context.Context, caller Caller) error {
	p, err := r.portalOf(ctx, caller.Room)
	if err != nil {
		return err
	}
	return r.end(ctx, p, caller.Display()+" has ended the connection of this room with Rocket.Chat.")
}

// end lets a portal be no more, and says why on Matrix.
func (r *Relay) end(ctx context.Context, p Portal, why string) error {
	// From here on nothing crosses, so the leaving is not carried anywhere.
	if err := r.Store.DropPortal(ctx, p); err != nil {
		return err
	}
	r.RC.Unwatch(p)
	r.Log.Info("a room is no longer bridged", "rc_room", p.RCRoom, "mx_room", p.MXRoom)
	members, err := r.MX.Members(ctx, p.MXRoom, r.reader(p))
	if err != nil {
		return err
	}
	reader := r.reader(p)
	if err := r.MX.Notice(ctx, p.MXRoom, reader, ids.Transaction(reader, "unbridge "+p.Created.String(), 0), why); err != nil {
		r.Log.Warn("a room could not be told that it is not bridged any more", "mx_room", p.MXRoom, "err", err)
	}
	slices.SortStableFunc(members, func(a, b MXMember) int {
		return map[bool]int{true: 1}[a.User == reader] - map[bool]int{true: 1}[b.User == reader]
	})
	for _, m := range members { // the reader last: it lists and speaks
		if m.Membership != "join" && m.Membership != "invite" {
			continue
		}
		if r.Names.Owns(m.User) {
			r.forgetJoined(p.MXRoom, m.User)
			err = r.MX.Leave(ctx, p.MXRoom, m.User)
		} else if puppet, ok, perr := r.Store.PuppetByMX(ctx, m.User); perr == nil && ok && p.RCType != directRoom {
			err = r.RC.Remove(ctx, p, puppet.RCUser)
		}
		if ignore(err, ErrForbidden, ErrNotFound, ErrRefused) != nil {
			r.Log.Warn("somebody could not leave a room that is not bridged any more", "mx_room", p.MXRoom, "err", err)
		}
	}
	return nil
}

// Whois says in words who somebody is on the other side. name is a username or a
// Matrix address.
func (r *Relay) Whois(ctx context.Context, name string) (string, error) {
	name = strings.TrimSpace(name)
	if mx, err := ids.ParseUser(name); err == nil && strings.Contains(name, ":") {
		if who, ok, err := r.Person(ctx, mx); err != nil || ok {
			return fmt.Sprintf("%s is %s (@%s) of this Rocket.Chat.", mx, who.Display(), who.Username), err
		}
		puppet, ok, err := r.Store.PuppetByMX(ctx, mx)
		if err != nil || ok {
			return fmt.Sprintf("%s is @%s here, and is called %s.", mx, puppet.Username, puppet.Name), err
		}
		return "", say("%s has no part in any room here", mx)
	}
	name = strings.TrimPrefix(name, "@")
	if puppet, ok, err := r.Store.PuppetByUsername(ctx, name); err != nil || ok {
		return fmt.Sprintf("@%s is %s on Matrix.", puppet.Username, puppet.MXUser), err
	}
	who, ok, err := r.RC.UserByName(ctx, name)
	if err != nil {
		return "", err
	}
	if !ok {
		return "", say("there is nobody called %s", name)
	}
	g, ok, err := r.Store.GhostByRC(ctx, who.ID)
	if err == nil && !ok {
		mx, fits := r.Names.Ghost(who.Username, 0)
		if !fits {
			return "", say("the name of %s does not fit into a Matrix address", name)
		}
		g.MXUser = mx
	}
	return fmt.Sprintf("@%s is %s for everybody on Matrix.", who.Username, g.MXUser), err
}

// maxListed is how many public rooms are shown.
const maxListed = 20

// PublicRooms lists rooms that anybody may join.
func (r *Relay) PublicRooms(ctx context.Context, server, words string) ([]PublicRoom, error) {
	if server != "" && !r.Live().Servers.Allowed(server) {
		return nil, say("the administrator does not allow conversations with %s", server)
	}
	rooms, err := r.MX.PublicRooms(ctx, server, words, maxListed)
	switch {
	case errors.Is(err, ErrUnavailable):
		return nil, say("the server %s does not answer", server)
	case errors.Is(err, ErrForbidden), errors.Is(err, ErrNotFound), errors.Is(err, ErrRefused):
		return nil, say("the server %s does not show its rooms", server)
	}
	return rooms, err
}

// JoinPublic lets the caller join a room of Matrix by its alias. It returns the
// name of the room in Rocket.Chat.
func (r *Relay) JoinPublic(ctx context.Context, caller RCPerson, alias string) (string, error) {
	_, server, _ := strings.Cut(alias, ":")
	if !r.Live().Servers.Allowed(server) {
		return "", say("the administrator does not allow conversations with %s", server)
	}
	g, err := r.ghost(ctx, caller)
	if err != nil {
		return "", err
	}
	room, err := r.MX.JoinAlias(ctx, g.MXUser, alias)
	switch {
	case errors.Is(err, ErrNotFound):
		return "", say("there is no room %s", alias)
	case errors.Is(err, ErrForbidden), errors.Is(err, ErrRefused):
		return "", say("%s does not let you in", alias)
	case errors.Is(err, ErrUnavailable):
		return "", say("there is no room %s, or its server does not answer", alias)
	case err != nil:
		return "", err
	}
	if _, secret, err := r.MX.State(ctx, room, g.MXUser, "m.room.encryption", ""); err != nil || secret {
		if lerr := r.MX.Leave(ctx, room, g.MXUser); lerr != nil {
			r.Log.Warn("an encrypted room could not be left", "mx_room", room, "err", lerr)
		}
		if err != nil {
			return "", err
		}
		return "", say("%s is encrypted, and the bridge cannot read it", alias)
	}
	name, _, _ := strings.Cut(strings.TrimPrefix(alias, "#"), ":")
	title, err := r.titleOf(ctx, room, g.MXUser, name)
	if err != nil {
		return "", err
	}
	err = r.alone("join "+string(room), func() error {
		return r.enter(ctx, Invitation{Room: room, Ghost: g.MXUser, Via: server, Name: title, Insists: true}, caller)
	})
	if re, ok := errors.AsType[*roomError](err); ok {
		return "", say("%s: %s", alias, strings.TrimSuffix(re.reason, "."))
	}
	return title, err
}

// titleOf returns the name of a Matrix room.
func (r *Relay) titleOf(ctx context.Context, room ids.MXRoom, reader ids.MXUser, otherwise string) (string, error) {
	content, ok, err := r.MX.State(ctx, room, reader, stateName, "")
	if err != nil || !ok {
		return otherwise, ignore(err, ErrNotFound, ErrForbidden)
	}
	var c struct {
		Name string `json:"name"`
	}
	_ = json.Unmarshal(content, &c) // what is no name is none
	return convert.Name(c.Name, otherwise), nil
}

// Bridged reports whether a room is connected with Matrix.
func (r *Relay) Bridged(ctx context.Context, room ids.RCRoom) (bool, error) {
	_, ok, err := r.Store.PortalByRC(ctx, room)
	return ok, err
}
