package portal

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"

	"appliance/bridge/config"
	"appliance/bridge/ids"
	"appliance/bridge/queue"
	"appliance/bridge/relay/model"
	"appliance/bridge/rocketchat"
)

// maxRoomAddress is the longest alias or identifier of a room, in bytes (Matrix
// specification, "Size limits").
const maxRoomAddress = 255

var aliasLike = regexp.MustCompile(`^#[^\s:]+:[^\s:]+(:[0-9]+)?$`)

var errConnected = &model.SayError{Text: "this room is already connected with Matrix"}

// Link connects an existing Rocket.Chat room with an existing Matrix room. target is an
// alias or a room ID. The bridge's own user joins the Matrix room; the members of each
// room join the other one, as with every new portal. Earlier messages are not carried.
// Errors that the operator can act on are a *SayError.
func (cmd *Commands) Link(ctx context.Context, room ids.RCRoom, target string) (model.Portal, error) {
	if err := mayLinkTo(cmd.Live(), target); err != nil {
		return model.Portal{}, err
	}
	var p model.Portal
	err := cmd.Locks.Do("room "+string(room), func() error {
		info, err := cmd.linkable(ctx, room)
		if err != nil {
			return err
		}
		bot := cmd.Names.BotUser()
		p = model.Portal{RCRoom: info.ID, RCType: info.Type, Title: info.Title}
		if p.MXRoom, err = cmd.joinAsBot(ctx, bot, target); err != nil {
			return err
		}
		return cmd.Locks.Do("begin "+string(p.MXRoom), func() error { return cmd.linkJoined(ctx, &p, target) })
	})
	return p, err
}

// mayLinkTo checks whether the operator lets people talk with the server of an alias or a
// room ID. The IDs of version 12 rooms name no server.
func mayLinkTo(live config.Live, target string) error {
	if len(target) < 2 || len(target) > maxRoomAddress || !strings.HasPrefix(target, "!") && !aliasLike.MatchString(target) || strings.ContainsAny(target, " \t\n/?%") {
		return model.Say("a room on Matrix is named by its alias, #room:example.org, or its identifier, which begins with an exclamation mark")
	}
	if _, server, ok := strings.Cut(target, ":"); ok && !live.Servers.Allowed(server) {
		return model.Say("the administrator does not allow conversations with %s", server)
	}
	return nil
}

// linkable describes a Rocket.Chat room, or returns an error if it cannot be connected.
func (cmd *Commands) linkable(ctx context.Context, room ids.RCRoom) (model.RCRoomInfo, error) {
	if _, ok, err := cmd.Store.PortalByRC(ctx, room); err != nil {
		return model.RCRoomInfo{}, err
	} else if ok {
		return model.RCRoomInfo{}, errConnected
	}
	info, ok, err := cmd.RC.Room(ctx, room)
	switch {
	case err != nil:
		return info, err
	case !ok:
		return info, errUnseen
	case info.Encrypted:
		return info, errEncrypted
	case info.Type == rocketchat.Direct:
		return info, model.Say("a direct message keeps the people it began with, and cannot be linked to another room")
	}
	return info, nil
}

// joinAsBot makes the bridge's own user join a Matrix room that is not a portal.
func (cmd *Commands) joinAsBot(ctx context.Context, bot ids.MXUser, target string) (room ids.MXRoom, err error) {
	if strings.HasPrefix(target, "#") {
		room, err = cmd.MX.JoinAlias(ctx, bot, target)
	} else {
		room = ids.MXRoom(target)
		if _, used, serr := cmd.Store.PortalByMX(ctx, room); serr != nil {
			return room, serr
		} else if used {
			return room, model.Say("%s is connected with another room of this Rocket.Chat", target)
		}
		var via []string
		if _, server, ok := strings.Cut(target, ":"); ok {
			via = []string{server}
		}
		err = cmd.MX.JoinVia(ctx, room, bot, via...)
	}
	switch {
	case errors.Is(err, model.ErrForbidden), errors.Is(err, model.ErrRefused):
		err = model.Say("%s does not let the bridge in; invite %s to it and try again", target, bot)
	case errors.Is(err, model.ErrNotFound), errors.Is(err, model.ErrUnavailable):
		err = model.Say("there is no room %s, or its server does not answer", target)
	}
	return room, err
}

// linkJoined makes a portal of a Matrix room that the bridge's own user has joined. It
// leaves a room that cannot be one.
func (cmd *Commands) linkJoined(ctx context.Context, p *model.Portal, target string) error {
	if _, used, err := cmd.Store.PortalByMX(ctx, p.MXRoom); err != nil {
		return err
	} else if used { // the bridge was in it before
		return model.Say("%s is connected with another room of this Rocket.Chat", target)
	}
	if err := cmd.fitsLink(ctx, *p, target); err != nil {
		if lerr := cmd.MX.Leave(ctx, p.MXRoom, cmd.Names.BotUser()); lerr != nil {
			cmd.Log.Warn("a room that cannot be connected could not be left", "mx_room", p.MXRoom, "err", lerr)
		}
		return err
	}
	p.Created = cmd.Portals.now()
	at := fmt.Sprint(p.Created.UnixMilli()) // the same two rooms may be connected again
	items := []queue.Item{
		model.RCMembershipItem(string(p.MXRoom)+" linked "+at, p.RCRoom),
		model.MXMembershipItem(string(p.MXRoom)+" linked there "+at, p.MXRoom),
	}
	if err := cmd.Portals.start(ctx, *p, items...); err != nil {
		return err
	}
	return cmd.Portals.Store.MoveCursor(ctx, tightened(*p), "1") // leave the room as its people want it
}

// fitsLink returns an error if a Matrix room that the bridge's own user is in cannot be a portal.
func (cmd *Commands) fitsLink(ctx context.Context, p model.Portal, target string) error {
	bot := cmd.Names.BotUser()
	created, err := cmd.Arrivals.MX.Creation(ctx, p.MXRoom, bot)
	if err != nil {
		return err
	}
	if created.Type == spaceType {
		return model.Say("%s is a space, a list of rooms, which Rocket.Chat does not have", target)
	}
	if _, secret, err := cmd.MX.State(ctx, p.MXRoom, bot, "m.room.encryption", ""); err != nil {
		return err
	} else if secret {
		return model.Say("%s is encrypted, and the bridge cannot read it", target)
	}
	if twice, err := cmd.Arrivals.bridgedElsewhere(ctx, p.MXRoom, bot); err != nil {
		return err
	} else if twice {
		return model.Say("another bridge already connects %s with this Rocket.Chat", target)
	}
	powers, err := cmd.State.Powers(ctx, p)
	if err != nil {
		return err
	}
	if has := powers.Of(string(bot)); has < powers.Events {
		return model.Say("%s lets only people with a role write; give %s the power level %d there and try again", target, bot, powers.Events)
	}
	return nil
}

// Members lists the people in a connected room on both sides.
func (cmd *Commands) Members(ctx context.Context, room ids.RCRoom) (here []model.RCPerson, there []model.MXMember, err error) {
	p, err := cmd.portalOf(ctx, room)
	if err != nil {
		return nil, nil, err
	}
	if there, err = cmd.MX.Members(ctx, p.MXRoom, p.Reader(cmd.Names)); err != nil {
		return nil, nil, err
	}
	here, err = cmd.RC.Members(ctx, p)
	return here, there, err
}
