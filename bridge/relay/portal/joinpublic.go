package portal

import (
	"context"
	"errors"
	"strings"

	"appliance/bridge/event"
	"appliance/bridge/relay/model"
)

// maxListed is how many public rooms are shown.
const maxListed = 20

// PublicRooms lists rooms that anybody may join.
func (cmd *Commands) PublicRooms(ctx context.Context, server, words string) ([]model.PublicRoom, error) {
	if server != "" && !cmd.Live().Servers.Allowed(server) {
		return nil, model.Say("the administrator does not allow conversations with %s", server)
	}
	rooms, err := cmd.MX.PublicRooms(ctx, server, words, maxListed)
	switch {
	case errors.Is(err, model.ErrUnavailable):
		return nil, model.Say("the server %s does not answer", server)
	case errors.Is(err, model.ErrForbidden), errors.Is(err, model.ErrNotFound), errors.Is(err, model.ErrRefused):
		return nil, model.Say("the server %s does not show its rooms", server)
	}
	return rooms, err
}

// JoinPublic makes the caller join a Matrix room by its alias. It returns the name of the
// room in Rocket.Chat.
func (cmd *Commands) JoinPublic(ctx context.Context, caller model.RCPerson, alias string) (string, error) {
	_, server, _ := strings.Cut(alias, ":")
	if !cmd.Live().Servers.Allowed(server) {
		return "", model.Say("the administrator does not allow conversations with %s", server)
	}
	g, err := cmd.People.Ghost(ctx, caller)
	if err != nil {
		return "", err
	}
	room, err := cmd.MX.JoinAlias(ctx, g.MXUser, alias)
	switch {
	case errors.Is(err, model.ErrNotFound):
		return "", model.Say("there is no room %s", alias)
	case errors.Is(err, model.ErrForbidden), errors.Is(err, model.ErrRefused):
		return "", model.Say("%s does not let you in", alias)
	case errors.Is(err, model.ErrUnavailable):
		return "", model.Say("there is no room %s, or its server does not answer", alias)
	case err != nil:
		return "", err
	}
	if _, secret, err := cmd.MX.State(ctx, room, g.MXUser, "m.room.encryption", ""); err != nil || secret {
		if lerr := cmd.MX.Leave(ctx, room, g.MXUser); lerr != nil {
			cmd.Log.Warn("an encrypted room could not be left", "mx_room", room, "err", lerr)
		}
		if err != nil {
			return "", err
		}
		return "", model.Say("%s is encrypted, and the bridge cannot read it", alias)
	}
	name, _, _ := strings.Cut(strings.TrimPrefix(alias, "#"), ":")
	title, err := cmd.State.Title(ctx, room, g.MXUser, name)
	if err != nil {
		return "", err
	}
	err = cmd.Locks.Do("join "+string(room), func() error {
		return cmd.Arrivals.Enter(ctx, model.Invitation{MXInvited: event.MXInvited{Room: room, Ghost: g.MXUser, Name: title}, Via: server, Insists: true}, caller)
	})
	if re, ok := errors.AsType[*RoomError](err); ok {
		return "", model.Say("%s: %s", alias, strings.TrimSuffix(re.reason, "."))
	}
	return title, err
}
