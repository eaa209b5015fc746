package relay

import (
	"context"
	"errors"
	"fmt"

	"appliance/bridge/convert"
	"appliance/bridge/ids"
	"appliance/bridge/queue"
	"appliance/bridge/rocketchat"
)

// Types of state events.
const (
	stateName       = "m.room.name"
	stateTopic      = "m.room.topic"
	stateAvatar     = "m.room.avatar"
	statePowers     = "m.room.power_levels"
	stateTombstone  = "m.room.tombstone"
	stateEncryption = "m.room.encryption"
	stateHistory    = "m.room.history_visibility"
)

// powerOf is the power level of each role.
var powerOf = map[Role]int{Member: 0, Moderator: 50, Owner: OwnerPower}

// roleAt returns the role of somebody with a power level.
func roleAt(level int) Role {
	switch {
	case level >= powerOf[Owner]:
		return Owner
	case level >= powerOf[Moderator]:
		return Moderator
	}
	return Member
}

// Levels that writing needs.
const (
	writeAll    = 0
	writeSome   = 50  // in a room that is read-only: who has a role
	writeNobody = 100 // in one that is archived
)

// roomToMatrix makes a Matrix room what the Rocket.Chat room has become. The item
// says only that something has changed, and who changed it.
func (r *Relay) roomToMatrix(ctx context.Context, item queue.Item) error {
	m, p, ok, err := r.ofRocketChat(ctx, item)
	if err != nil || !ok || p.RCType == directRoom {
		return err
	}
	info, ok, err := r.RC.Room(ctx, p.RCRoom)
	if err != nil || !ok {
		return outcome(item, err, "")
	}
	g, err := r.ghost(ctx, person(m.User))
	if err != nil {
		return outcome(item, err, "")
	}
	switch m.Type {
	case "r":
		err = r.setText(ctx, p, g.MXUser, stateName, "name", info.Title)
	case "room_changed_topic":
		err = r.setText(ctx, p, g.MXUser, stateTopic, "topic", info.Topic)
	case "room_changed_avatar":
		err = r.pictureToMatrix(ctx, p, g.MXUser, info)
	case "room_changed_announcement":
		err = r.announce(ctx, item, p, g.MXUser, m)
	case "room_changed_privacy":
		p.RCType = info.Type
		err = r.Store.PutPortal(ctx, p, nil, nil)
		r.RC.Watch(p)
	case "subscription-role-added", "subscription-role-removed":
		err = r.roleToMatrix(ctx, p, m, g.MXUser)
	default:
		err = r.setWriters(ctx, p, g.MXUser, info)
	}
	if errors.Is(err, ErrForbidden) {
		r.tellAuthor(ctx, m, fmt.Sprintf("Your change of %s was not made on Matrix: the room there does not allow it.", roomLabel(info)))
		return nil
	}
	return outcome(item, err, "the Matrix server refused it")
}

func roomLabel(info RCRoomInfo) string {
	if info.Title == "" {
		return "the room"
	}
	return "“" + convert.Name(info.Title, "the room") + "”"
}

// setState sets a piece of state as who changed it, or, where they may not, as
// whoever of ours reads the room.
func (r *Relay) setState(ctx context.Context, p Portal, as ids.MXUser, kind string, content any) error {
	err := r.ensureJoined(ctx, p, as)
	if err == nil {
		err = r.MX.SetState(ctx, p.MXRoom, as, kind, "", content)
	}
	if errors.Is(err, ErrForbidden) && as != r.reader(p) {
		err = r.MX.SetState(ctx, p.MXRoom, r.reader(p), kind, "", content)
	}
	return err
}

// setText sets a piece of state that is one text, unless it is that already.
func (r *Relay) setText(ctx context.Context, p Portal, as ids.MXUser, kind, key, text string) error {
	now, _, err := r.MX.State(ctx, p.MXRoom, r.reader(p), kind, "")
	if err != nil || convert.StateText(now, key) == text {
		return err
	}
	return r.setState(ctx, p, as, kind, map[string]string{key: text})
}

// pictureToMatrix gives a Matrix room the picture of the Rocket.Chat room.
func (r *Relay) pictureToMatrix(ctx context.Context, p Portal, as ids.MXUser, info RCRoomInfo) error {
	fetch := func() ([]byte, error) { return r.RC.RoomAvatar(ctx, p.RCRoom, maxAvatar) }
	return r.copyPicture(ctx, as, "avatar "+string(p.MXRoom), info.Avatar, fetch, func(mxc string) error {
		return r.setState(ctx, p, as, stateAvatar, map[string]string{"url": mxc})
	})
}

// announce says what a room's announcement has become: Matrix has none.
func (r *Relay) announce(ctx context.Context, item queue.Item, p Portal, as ids.MXUser, m rocketchat.Message) error {
	text := m
	text.Type, text.ID = "", m.ID
	if err := r.ensureJoined(ctx, p, as); err != nil {
		return err
	}
	for i, c := range convert.ToMatrix(text, r.namesInMessage(ctx, m)) {
		c.MsgType = "m.notice"
		if i == 0 {
			c.Body = "📢 " + c.Body
			if c.FormattedBody != "" {
				c.FormattedBody = "📢 " + c.FormattedBody
			}
		}
		if _, err := r.send(ctx, p, as, item, part(m.ID, i), c, m.Time.UnixMilli()); err != nil {
			return err
		}
	}
	return nil
}

// writeLevel returns the level that writing in a room needs.
func writeLevel(info RCRoomInfo) int {
	switch {
	case info.Archived:
		return writeNobody
	case info.ReadOnly:
		return writeSome
	}
	return writeAll
}

// setWriters makes a Matrix room read-only, archived, or neither.
func (r *Relay) setWriters(ctx context.Context, p Portal, as ids.MXUser, info RCRoomInfo) error {
	powers, err := r.powers(ctx, p)
	if err != nil {
		return err
	}
	need := writeLevel(info)
	if powers.Events == need {
		return nil
	}
	return r.setState(ctx, p, as, statePowers, powers.WithEvents(need))
}

func (r *Relay) powers(ctx context.Context, p Portal) (convert.Powers, error) {
	content, _, err := r.MX.State(ctx, p.MXRoom, r.reader(p), statePowers, "")
	if err != nil {
		return convert.Powers{}, err
	}
	return r.withCreators(ctx, p, convert.ParsePowers(content))
}

// withCreators adds who has power without limit.
func (r *Relay) withCreators(ctx context.Context, p Portal, powers convert.Powers) (convert.Powers, error) {
	created, err := r.MX.Creation(ctx, p.MXRoom, r.reader(p))
	if err != nil {
		return powers, err
	}
	powers.Creators = map[string]bool{}
	for _, user := range created.Creators {
		powers.Creators[string(user)] = true
	}
	return powers, nil
}

// roleToMatrix gives somebody whose role has changed the power that goes with it.
// Where Matrix does not allow it the role is changed back, so that both sides say
// the same.
func (r *Relay) roleToMatrix(ctx context.Context, p Portal, m rocketchat.Message, as ids.MXUser) error {
	who, ok, err := r.RC.UserByName(ctx, m.Text)
	if err != nil || !ok || r.RC.IsBridge(who.ID) {
		return err
	}
	mx, _, ok := r.addressOf(ctx, who)
	if !ok {
		return fmt.Errorf("%w: the Matrix address of %s", ErrUnavailable, who.ID)
	}
	roles, err := r.RC.Roles(ctx, p)
	if err != nil {
		return err
	}
	powers, err := r.powers(ctx, p)
	if err != nil {
		return err
	}
	has, wanted := powers.Of(string(mx)), roles[who.ID]
	if roleAt(has) == wanted {
		return nil
	}
	if err = ErrForbidden; !powers.Creators[string(mx)] { // whose power nobody can take
		err = r.setState(ctx, p, as, statePowers, powers.With(string(mx), powerOf[wanted]))
	}
	if !errors.Is(err, ErrForbidden) {
		return err
	}
	if rerr := r.RC.SetRole(ctx, p, who.ID, roleAt(has)); rerr != nil && !errors.Is(rerr, ErrRefused) && !errors.Is(rerr, ErrForbidden) {
		return rerr
	}
	r.tellAuthor(ctx, m, fmt.Sprintf("The role of %s was changed back: the room on Matrix does not allow you to change it.", who.Display()))
	return nil
}

// startPowers returns the levels that a new Matrix room begins with.
func (r *Relay) startPowers(ctx context.Context, p Portal) (map[ids.MXUser]int, error) {
	roles, err := r.RC.Roles(ctx, p)
	if err != nil {
		return nil, err
	}
	powers := map[ids.MXUser]int{}
	for user, role := range roles {
		if role == Member || r.RC.IsBridge(user) {
			continue
		}
		who, ok, err := r.RC.UserByID(ctx, user)
		if err != nil {
			return nil, err
		}
		if !ok {
			continue
		}
		if mx, _, ok := r.addressOf(ctx, who); ok {
			powers[mx] = powerOf[role]
		}
	}
	return powers, nil
}
