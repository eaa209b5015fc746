package relay

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"appliance/bridge/convert"
	"appliance/bridge/ids"
	"appliance/bridge/queue"
)

// roomToRocketChat makes a Rocket.Chat room what the Matrix room has become.
func (r *Relay) roomToRocketChat(ctx context.Context, item queue.Item) error {
	e, p, ok, err := r.ofMatrix(ctx, item)
	if err != nil || !ok {
		return err
	}
	content := convert.ParseState(item.Payload)
	switch e.Type {
	case stateTombstone:
		err = r.follow(ctx, p, ids.MXUser(e.Sender), ids.MXRoom(convert.StateText(content, "replacement_room")))
	case stateEncryption:
		err = r.encrypted(ctx, p)
	case statePins:
		err = r.pinsToRocketChat(ctx, p, e, content)
	default:
		err = r.changeRoom(ctx, p, e.Type, content)
	}
	if errors.Is(err, ErrForbidden) || errors.Is(err, ErrRefused) {
		r.Log.Warn("a change of a room was refused", "rc_room", p.RCRoom, "type", e.Type, "err", err)
		r.tellOnMatrix(ctx, p, "change "+item.ID, fmt.Sprintf("%s: your change of this room was not made in Rocket.Chat, which does not allow it.", e.Sender))
		return nil
	}
	return outcome(item, ignore(err, ErrNotFound), "Rocket.Chat refused it")
}

// maxTopic bounds a topic, in characters. Rocket.Chat has no limit of its own.
const maxTopic = 4000

func cutRunes(s string, n int) string {
	if len(s) <= n {
		return s
	}
	if r := []rune(s); len(r) > n {
		return string(r[:n]) + "…"
	}
	return s
}

// changeRoom makes a Rocket.Chat room what a piece of the Matrix room's state says.
func (r *Relay) changeRoom(ctx context.Context, p Portal, kind string, content json.RawMessage) error {
	if p.RCType == directRoom && kind != stateTopic {
		return nil // Rocket.Chat shows who is in it
	}
	switch kind {
	case stateTopic:
		topic := cutRunes(convert.StateText(content, "topic"), maxTopic)
		return r.RC.Change(ctx, p, RCRoomChange{Topic: &topic})
	case stateName:
		return r.roomName(ctx, p, convert.StateText(content, "name"))
	case stateAvatar:
		return r.roomAvatar(ctx, p, convert.StateText(content, "url"))
	case statePowers:
		powers, err := r.withCreators(ctx, p, convert.ParsePowers(content))
		if err != nil {
			return err
		}
		if err := r.writersToRocketChat(ctx, p, powers); err != nil {
			return err
		}
		return r.rolesToRocketChat(ctx, p, powers)
	}
	return nil
}

func (r *Relay) roomName(ctx context.Context, p Portal, name string) error {
	if name == "" {
		return nil
	}
	info, ok, err := r.RC.Room(ctx, p.RCRoom)
	if err != nil || !ok || info.Title == name {
		return err
	}
	title := convert.Name(name, info.Title)
	return r.RC.Change(ctx, p, RCRoomChange{Title: &title})
}

// startState makes a Rocket.Chat room what a Matrix room was when it was bridged:
// not every homeserver tells of what was there before somebody of ours joined.
func (r *Relay) startState(ctx context.Context, p Portal) error {
	for _, kind := range []string{stateTopic, stateAvatar, statePowers} {
		content, ok, err := r.MX.State(ctx, p.MXRoom, r.reader(p), kind, "")
		if err != nil {
			return err
		}
		if !ok {
			continue
		}
		err = r.changeRoom(ctx, p, kind, content)
		if errors.Is(err, ErrForbidden) || errors.Is(err, ErrRefused) || errors.Is(err, ErrNotFound) {
			r.Log.Warn("a room could not be made what it is on Matrix", "rc_room", p.RCRoom, "type", kind, "err", err)
			continue
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// maxAvatar bounds a picture of a room, in bytes: it goes through memory.
const maxAvatar = 2 << 20

// roomAvatar carries the picture of a room. One that is none, or too large, stays
// where it is.
func (r *Relay) roomAvatar(ctx context.Context, p Portal, mxc string) error {
	if mxc == "" {
		return nil
	}
	media, err := r.MX.Download(ctx, mxc, maxAvatar, portraitPatience)
	if err != nil {
		return ignore(err, ErrRefused, ErrForbidden, ErrSlow)
	}
	defer func() { _ = media.Body.Close() }()
	data, err := io.ReadAll(io.LimitReader(media.Body, maxAvatar))
	if err != nil {
		return ignore(err, ErrRefused, ErrSlow)
	}
	kind := http.DetectContentType(data)
	if !strings.HasPrefix(kind, "image/") {
		return nil
	}
	return r.RC.Change(ctx, p, RCRoomChange{Avatar: data, AvatarType: kind})
}

// writersToRocketChat makes a room read-only when only those with power may write.
func (r *Relay) writersToRocketChat(ctx context.Context, p Portal, powers convert.Powers) error {
	info, ok, err := r.RC.Room(ctx, p.RCRoom)
	if err != nil || !ok || info.Archived {
		return err
	}
	if readOnly := powers.Events > powers.Default; readOnly != info.ReadOnly {
		return r.RC.Change(ctx, p, RCRoomChange{ReadOnly: &readOnly})
	}
	return nil
}

// rolesToRocketChat gives everybody the role that goes with their power. Who is of
// Rocket.Chat and not named on Matrix keeps the role they have.
func (r *Relay) rolesToRocketChat(ctx context.Context, p Portal, powers convert.Powers) error {
	roles, err := r.RC.Roles(ctx, p)
	if err != nil {
		return err
	}
	wanted := map[ids.RCUser]Role{}
	for address, level := range powers.Named() {
		user, ok, err := r.userOf(ctx, ids.MXUser(address))
		if err != nil {
			return err
		}
		if ok {
			wanted[user] = roleAt(level)
		}
	}
	for user := range roles { // a puppet that is not named any more
		if _, named := wanted[user]; !named {
			if puppet, err := r.ours(ctx, user); err != nil {
				return err
			} else if puppet {
				wanted[user] = roleAt(powers.Default)
			}
		}
	}
	var refused error
	for user, role := range wanted {
		if roles[user] == role || r.RC.IsBridge(user) {
			continue
		}
		err := r.RC.SetRole(ctx, p, user, role)
		switch {
		case errors.Is(err, ErrRefused), errors.Is(err, ErrForbidden):
			refused = err
		case errors.Is(err, ErrNotFound): // not in the room
		case err != nil:
			return err
		}
	}
	return refused
}

// userOf returns the Rocket.Chat user that an address stands for.
func (r *Relay) userOf(ctx context.Context, mx ids.MXUser) (ids.RCUser, bool, error) {
	if r.Names.Owns(mx) {
		g, ok, err := r.Store.GhostByMX(ctx, mx)
		return g.RCUser, ok, err
	}
	puppet, ok, err := r.Store.PuppetByMX(ctx, mx)
	return puppet.RCUser, ok, err
}

// follow moves a portal to the room that replaces its Matrix room.
func (r *Relay) follow(ctx context.Context, p Portal, by ids.MXUser, next ids.MXRoom) error {
	if next == "" || next == p.MXRoom {
		return nil
	}
	return r.alone("begin "+string(next), func() error { return r.followAlone(ctx, p, by, next) })
}

// followAlone is follow while no other portal begins in the next room.
func (r *Relay) followAlone(ctx context.Context, p Portal, by ids.MXUser, next ids.MXRoom) error {
	if _, used, err := r.Store.PortalByMX(ctx, next); err != nil || used {
		return err
	}
	via := by.Homeserver()
	if err := r.MX.JoinVia(ctx, next, r.reader(p), via); err != nil {
		if errors.Is(err, ErrForbidden) {
			r.sayBoth(ctx, p, "upgrade "+string(next), "This room goes on elsewhere on Matrix, and the bridge was not let in there. Invite somebody of Rocket.Chat into the new room to go on.")
			return nil
		}
		return err
	}
	return r.move(ctx, p, next, r.reader(p), via)
}

// replaces returns the portal whose Matrix room a room replaces, if both rooms say
// so. sure is false when the other room may still come to say so.
func (r *Relay) replaces(ctx context.Context, created MXCreation, room ids.MXRoom) (p Portal, ok, sure bool, err error) {
	if created.Predecessor == "" {
		return p, false, true, nil
	}
	if p, ok, err = r.Store.PortalByMX(ctx, created.Predecessor); err != nil || !ok {
		return p, false, true, err
	}
	content, _, err := r.MX.State(ctx, p.MXRoom, r.reader(p), stateTombstone, "")
	if err != nil {
		return p, false, true, ignore(err, ErrForbidden)
	}
	next := convert.StateText(content, "replacement_room")
	return p, next == string(room), next != "", nil
}

// move lets a portal go on in another Matrix room, in which guest, one of ours, is
// already. Who was in the old one is brought along as far as they are ours.
func (r *Relay) move(ctx context.Context, p Portal, next ids.MXRoom, guest ids.MXUser, via string) error {
	old := p
	members, err := r.MX.Members(ctx, old.MXRoom, r.reader(old))
	if err != nil {
		return err
	}
	join := func(who ids.MXUser) error {
		err := r.MX.JoinVia(ctx, next, who, via)
		if !errors.Is(err, ErrForbidden) && !errors.Is(err, ErrNotFound) {
			return err
		}
		if err := r.MX.Invite(ctx, next, guest, who); err != nil {
			return err
		}
		return r.joinInvited(ctx, next, who, via)
	}
	p.MXRoom = next
	if reader := r.reader(old); reader != guest && join(reader) != nil {
		p.MXReader = guest
	}
	roster := queue.Item{ID: "roster " + string(next), Lane: MXLane(next), Kind: KindMXRoster, Payload: []byte(next)}
	if err := r.Store.PutPortal(ctx, p, []queue.Item{roster}, nil); err != nil {
		return err
	}
	r.Log.Info("a room goes on in another one", "rc_room", p.RCRoom, "mx_room", next, "was", old.MXRoom)
	r.RC.Watch(p)
	r.MX.Follow(p.MXReader)
	r.Wake()
	for _, m := range members {
		if m.Membership != "join" || !r.Names.Owns(m.User) || m.User == r.reader(p) || m.User == guest {
			continue
		}
		if err := join(m.User); err != nil {
			r.Log.Warn("a ghost could not follow into another room", "user", m.User, "mx_room", next, "err", err)
			continue
		}
		r.joined.Store(string(next)+" "+string(m.User), struct{}{})
	}
	return nil
}

const (
	// invitedTries and invitedGap bound how often one of ours that was just invited
	// tries to join: the servers take a moment to agree that it was.
	invitedTries = 5
	invitedGap   = 500 * time.Millisecond
)

func (r *Relay) joinInvited(ctx context.Context, room ids.MXRoom, who ids.MXUser, via string) error {
	for n := 1; ; n++ {
		err := r.MX.JoinVia(ctx, room, who, via)
		if err == nil || n == invitedTries || !errors.Is(err, ErrForbidden) {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(invitedGap):
		}
	}
}

// encrypted says, once, that a room has become one that the bridge cannot read.
func (r *Relay) encrypted(ctx context.Context, p Portal) error {
	known, err := r.Store.Known(ctx, []string{"encrypted " + string(p.MXRoom)})
	if err != nil || len(known) > 0 {
		return err
	}
	r.sayBoth(ctx, p, "encrypted", "This room is encrypted on Matrix, and the bridge to Rocket.Chat cannot read encrypted messages: what is written on Matrix does not arrive in Rocket.Chat. Please go on in a room without encryption.")
	return r.Store.MarkKnown(ctx, "encrypted "+string(p.MXRoom))
}

// sayBoth says a sentence on both sides of a portal.
func (r *Relay) sayBoth(ctx context.Context, p Portal, about, text string) {
	r.tellOnMatrix(ctx, p, about+" "+string(p.MXRoom), text)
	if err := r.sayInRocketChat(ctx, p, text); err != nil {
		r.Log.Warn("a word could not be said in Rocket.Chat", "rc_room", p.RCRoom, "err", err)
	}
}

// sayInRocketChat says a sentence in a room: as the bridge account, or, in a
// direct room, as the puppet through which it is read.
func (r *Relay) sayInRocketChat(ctx context.Context, p Portal, text string) error {
	if p.RCReader == "" {
		return r.RC.Say(ctx, p.RCRoom, text)
	}
	puppet, ok, err := r.Store.PuppetByMX(ctx, p.RCReader)
	if err != nil || !ok {
		return err
	}
	id := ids.MessageFor(p.MXRoom, ids.MXEvent("said "+text), 0)
	return r.RC.Send(ctx, puppet, p.RCRoom, id, "", "_"+text+"_")
}

// encryptedToRocketChat answers a message that nobody here can read.
func (r *Relay) encryptedToRocketChat(ctx context.Context, item queue.Item) error {
	_, p, ok, err := r.ofMatrix(ctx, item)
	if err != nil || !ok {
		return err
	}
	return outcome(item, r.encrypted(ctx, p), "")
}
