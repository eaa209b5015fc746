package relay

import (
	"bytes"
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

// RocketChatProfiles is the part of RocketChat about names and pictures.
type RocketChatProfiles interface {
	// Profile describes somebody; ok is false when the account is gone.
	Profile(ctx context.Context, user ids.RCUser) (p RCProfile, ok bool, err error)
	// Avatar fetches somebody's picture, of at most limit bytes.
	Avatar(ctx context.Context, username string, limit int64) ([]byte, error)
	// RoomAvatar fetches a room's picture, of at most limit bytes.
	RoomAvatar(ctx context.Context, room ids.RCRoom, limit int64) ([]byte, error)
	// Emoji returns an emoji of this Rocket.Chat's own by its name or an alias.
	Emoji(ctx context.Context, name string) (RCEmoji, bool)
	// EmojiPicture fetches its picture, of at most limit bytes.
	EmojiPicture(ctx context.Context, name string, limit int64) ([]byte, error)
	// SetAvatar gives a puppet a picture; an empty one takes it away.
	SetAvatar(ctx context.Context, as Puppet, data []byte, contentType string) error
}

// MatrixProfiles is the part of Matrix about names and pictures.
type MatrixProfiles interface {
	// Profile describes somebody of any server.
	Profile(ctx context.Context, user ids.MXUser) (MXProfile, error)
	// SetAvatar gives a ghost a picture; "" takes it away.
	SetAvatar(ctx context.Context, ghost ids.MXUser, mxc string) error
	// JoinedRooms lists the rooms one of our users is in.
	JoinedRooms(ctx context.Context, user ids.MXUser) ([]ids.MXRoom, error)
}

const (
	// maxPortrait bounds a picture of a person, in bytes: it goes through memory.
	maxPortrait = 2 << 20
	// portraitPatience is how long a picture may stand still.
	portraitPatience = 10 * time.Second
)

// reasonNow is a reason of its own for every moment.
func reasonNow() string { return fmt.Sprint(time.Now().UnixNano()) }

// PersonChanged takes that a Rocket.Chat user has another name or picture, or is
// gone. Nothing happens for those who do not show on Matrix.
func (r *Relay) PersonChanged(ctx context.Context, user ids.RCUser) error {
	_, ghost, err := r.Store.GhostByRC(ctx, user)
	if err != nil {
		return err
	}
	if mine, err := r.ours(ctx, user); err != nil || (!ghost && !mine) {
		return err
	}
	return r.Accept(ctx, []queue.Item{RCPersonItem(user, reasonNow())}, nil)
}

// personToMatrix makes a ghost look like its user, and leave when that is gone.
func (r *Relay) personToMatrix(ctx context.Context, item queue.Item) error {
	user := ids.RCUser(item.Payload)
	is, ok, err := r.RC.Profile(ctx, user)
	if err != nil {
		return outcome(item, err, "")
	}
	if puppet, mine, err := r.Store.PuppetByRC(ctx, user); err != nil || mine {
		if err == nil && ok && puppet.Username != strings.ToLower(is.Username) {
			puppet.Username = is.Username // somebody renamed the account
			err = r.Store.PutPuppet(ctx, puppet)
		}
		return err
	}
	g, known, err := r.Store.GhostByRC(ctx, user)
	if err != nil || !known {
		return err
	}
	if !ok || !is.Active {
		return outcome(item, r.depart(ctx, g), "")
	}
	if g, err = r.ghost(ctx, is.RCPerson); err != nil {
		return outcome(item, err, "")
	}
	return outcome(item, r.portraitToMatrix(ctx, g, is), "the Matrix server refused the picture")
}

// depart lets a ghost whose user is gone leave all its rooms. Its address stays
// taken: nobody else speaks under it later.
func (r *Relay) depart(ctx context.Context, g Ghost) error {
	rooms, err := r.MX.JoinedRooms(ctx, g.MXUser)
	if err != nil {
		return err
	}
	for _, room := range rooms {
		r.forgetJoined(room, g.MXUser)
		if err := ignore(r.MX.Leave(ctx, room, g.MXUser), ErrForbidden, ErrNotFound); err != nil {
			return err
		}
	}
	r.Log.Info("a user is gone and left on Matrix", "user", g.RCUser, "rooms", len(rooms))
	return nil
}

// portraitToMatrix copies a picture that has changed.
func (r *Relay) portraitToMatrix(ctx context.Context, g Ghost, is RCProfile) error {
	fetch := func() ([]byte, error) { return r.RC.Avatar(ctx, is.Username, maxPortrait) }
	return r.copyPicture(ctx, g.MXUser, AvatarCursor(is.ID), is.Avatar, fetch, func(mxc string) error {
		return r.MX.SetAvatar(ctx, g.MXUser, mxc)
	})
}

// copyPicture copies a picture of Rocket.Chat's that is not the one copied before,
// which is remembered under a key. One that is none, or too large, is left out.
func (r *Relay) copyPicture(ctx context.Context, as ids.MXUser, key, now string, fetch func() ([]byte, error), set func(mxc string) error) error {
	known, err := r.Store.Cursor(ctx, key)
	if err != nil || known == now {
		return err
	}
	mxc := ""
	if now != "" {
		data, err := fetch()
		if err != nil {
			return ignore(err, ErrNotFound, ErrTooLarge)
		}
		kind := http.DetectContentType(data)
		if !strings.HasPrefix(kind, "image/") {
			return nil // no picture: what is shown stays
		}
		mxc, err = r.MX.Upload(ctx, as, Media{Name: "avatar", Type: kind, Size: int64(len(data)), Body: io.NopCloser(bytes.NewReader(data))})
		if err != nil {
			return ignore(err, ErrTooLarge)
		}
	}
	if err := set(mxc); err != nil {
		return err
	}
	return r.Store.MoveCursor(ctx, key, now)
}

// personToRocketChat makes a puppet look like its Matrix user.
func (r *Relay) personToRocketChat(ctx context.Context, item queue.Item) error {
	user := ids.MXUser(item.Payload)
	puppet, ok, err := r.Store.PuppetByMX(ctx, user)
	if err != nil || !ok {
		return err
	}
	is, err := r.MX.Profile(ctx, user)
	if err != nil { // many servers do not tell: what is known stays
		if errors.Is(err, ErrNotFound) || errors.Is(err, ErrForbidden) || errors.Is(err, ErrRefused) || item.Attempts > 3 {
			return nil
		}
		return outcome(item, err, "")
	}
	if is.Name != "" {
		if puppet, err = r.puppet(ctx, user, is.Name); err != nil {
			return outcome(item, err, "")
		}
	}
	return outcome(item, r.portraitToRocketChat(ctx, puppet, is.Avatar), "Rocket.Chat refused the picture")
}

func (r *Relay) portraitToRocketChat(ctx context.Context, puppet Puppet, mxc string) error {
	key := "avatar " + string(puppet.MXUser)
	known, err := r.Store.Cursor(ctx, key)
	if err != nil || known == mxc {
		return err
	}
	var data []byte
	kind := ""
	if mxc != "" {
		media, err := r.MX.Download(ctx, mxc, maxPortrait, portraitPatience)
		if err != nil {
			return ignore(err, ErrNotFound, ErrTooLarge, ErrForbidden, ErrRefused, ErrSlow)
		}
		defer func() { _ = media.Body.Close() }()
		if data, err = io.ReadAll(io.LimitReader(media.Body, maxPortrait)); err != nil {
			return ignore(err, ErrTooLarge, ErrRefused, ErrSlow)
		}
		if kind = http.DetectContentType(data); !strings.HasPrefix(kind, "image/") {
			return nil // not what it says it is
		}
	}
	if err := r.RC.SetAvatar(ctx, puppet, data, kind); err != nil && !errors.Is(err, ErrRefused) && !errors.Is(err, ErrForbidden) {
		return err
	}
	return r.Store.MoveCursor(ctx, key, mxc)
}

// portraitChanged reports whether a member's event shows another picture than the
// one that was copied.
func (r *Relay) portraitChanged(ctx context.Context, user ids.MXUser, event []byte) (bool, error) {
	var e struct {
		Content struct {
			Avatar string `json:"avatar_url"`
		} `json:"content"`
	}
	if json.Unmarshal(event, &e) != nil {
		return false, nil
	}
	known, err := r.Store.Cursor(ctx, "avatar "+string(user))
	return known != e.Content.Avatar, err
}

// ownName returns the display name for a puppet: safe to show, and with the server that
// vouches for it. People on Matrix choose their names freely, and letters of other
// alphabets look alike, so that without the server anybody could pass for anybody.
func ownName(user ids.MXUser, name string) string {
	local, server, _ := user.Parse()
	server = " (" + server + ")"
	return convert.ShortName(name, convert.Name(local, "unnamed"), len([]rune(server))) + server
}
