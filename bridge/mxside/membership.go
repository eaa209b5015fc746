package mxside

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"strings"

	"maunium.net/go/mautrix"

	"appliance/bridge/ids"
	"appliance/bridge/relay/model"
)

// membership lets our users join and leave rooms, and invite and remove others.
type membership struct {
	*client
	rooms *rooms
}

// Invite implements relay.Matrix.
func (m *membership) Invite(ctx context.Context, room ids.MXRoom, as, who ids.MXUser) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	_, err := m.as(as).InviteUser(ctx, room, &mautrix.ReqInviteUser{UserID: who})
	if he, ok := errors.AsType[mautrix.HTTPError](err); ok && m.traits.ForbidsUnreachable && he.RespError != nil && unreachable.MatchString(he.RespError.Err) {
		return fmt.Errorf("%s %w: %w", who.Homeserver(), model.ErrUnavailable, plain(err))
	}
	return side(err)
}

// unreachable matches the words of Dendrite's HTTP client; see Traits.ForbidsUnreachable.
var unreachable = regexp.MustCompile(`dial tcp|lookup |no such host|connection refused|connection reset|i/o timeout|deadline exceeded|Client\.Timeout|EOF|x509: |tls: |no route to host|network is unreachable|denied by`)

// Join implements relay.Matrix.
func (m *membership) Join(ctx context.Context, room ids.MXRoom, who, inviter ids.MXUser) (invited bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	_, err = m.as(who).JoinRoomByID(ctx, room)
	if inviter == "" || inviter == who || !errors.Is(side(err), model.ErrForbidden) {
		return false, side(err)
	}
	if err := m.Invite(ctx, room, inviter, who); err != nil {
		return false, err
	}
	_, err = m.as(who).JoinRoomByID(ctx, room)
	return true, side(err)
}

// Admit implements relay.Matrix.
func (m *membership) Admit(ctx context.Context, room ids.MXRoom, who, inviter ids.MXUser) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	if inviter != "" && inviter != who {
		if err := m.Invite(ctx, room, inviter, who); err != nil && !errors.Is(err, model.ErrForbidden) {
			return err
		}
	}
	_, err := m.as(who).JoinRoomByID(ctx, room)
	return side(err)
}

// JoinVia implements relay.Matrix: POST /join/{room}?server_name=…
func (m *membership) JoinVia(ctx context.Context, room ids.MXRoom, who ids.MXUser, via ...string) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	_, err := m.as(who).JoinRoom(ctx, string(room), &mautrix.ReqJoinRoom{Via: via})
	return side(err)
}

// JoinAlias implements relay.Matrix: POST /join/{alias}. Dendrite's response does
// not distinguish an unknown alias from a server that is down.
func (m *membership) JoinAlias(ctx context.Context, who ids.MXUser, alias string) (ids.MXRoom, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	_, server, _ := strings.Cut(alias, ":")
	c := m.as(who)
	var out struct {
		Room ids.MXRoom `json:"room_id"`
	}
	query := map[string]string{"server_name": server}
	_, err := c.MakeRequest(ctx, http.MethodPost, c.BuildURLWithQuery(mautrix.ClientURLPath{"v3", "join", alias}, query), map[string]any{}, &out)
	return out.Room, side(err)
}

// JoinedRooms implements relay.Matrix: GET /joined_rooms.
func (m *membership) JoinedRooms(ctx context.Context, user ids.MXUser) ([]ids.MXRoom, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	resp, err := m.as(user).JoinedRooms(ctx)
	if err != nil {
		return nil, side(err)
	}
	return resp.JoinedRooms, nil
}

// Leave implements relay.Matrix.
func (m *membership) Leave(ctx context.Context, room ids.MXRoom, who ids.MXUser) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	_, err := m.as(who).LeaveRoom(ctx, room)
	if he, ok := errors.AsType[mautrix.HTTPError](err); ok && m.traits.RefusesToLeaveTwice && he.RespError != nil && notThere(he.RespError.Err) {
		return fmt.Errorf("%w: %w", model.ErrNotFound, plain(err))
	}
	return side(err)
}

// notThere reports whether a refusal says that the user is not in the room.
func notThere(text string) bool {
	return strings.Contains(text, "is not joined to the room") || strings.Contains(text, "is not a member of room")
}

// Refuse implements relay.Matrix: POST /rooms/{room}/leave with a reason, or the membership
// event itself; see Traits.DropsLeaveReason.
func (m *membership) Refuse(ctx context.Context, room ids.MXRoom, who ids.MXUser, reason string) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	if m.traits.DropsLeaveReason {
		left := map[string]string{"membership": "leave", "reason": reason}
		if m.rooms.SetState(ctx, room, who, "m.room.member", string(who), left) == nil {
			return nil
		}
	}
	_, err := m.as(who).LeaveRoom(ctx, room, &mautrix.ReqLeave{Reason: reason})
	return side(err)
}

// Kick implements relay.Matrix.
func (m *membership) Kick(ctx context.Context, room ids.MXRoom, as, who ids.MXUser) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	_, err := m.as(as).KickUser(ctx, room, &mautrix.ReqKickUser{UserID: who})
	return side(err)
}

// Ban implements relay.Matrix.
func (m *membership) Ban(ctx context.Context, room ids.MXRoom, as, who ids.MXUser) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	_, err := m.as(as).BanUser(ctx, room, &mautrix.ReqBanUser{UserID: who})
	return side(err)
}

// Unban implements relay.Matrix.
func (m *membership) Unban(ctx context.Context, room ids.MXRoom, as, who ids.MXUser) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	_, err := m.as(as).UnbanUser(ctx, room, &mautrix.ReqUnbanUser{UserID: who})
	return side(err)
}
