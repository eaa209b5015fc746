package torocketchat

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"appliance/bridge/convert"
	"appliance/bridge/ids"
	"appliance/bridge/queue"
	"appliance/bridge/relay/model"
	"appliance/bridge/relay/portal"
	"appliance/bridge/relay/transfer"
)

// maxTopic bounds a topic, in characters. Rocket.Chat has no limit of its own.
const maxTopic = 4000

// rooms makes a Rocket.Chat room what the Matrix room has become.
type rooms struct {
	*base
	RC       roomRocketChat
	MX       roomMatrix
	Upgrades *portal.Upgrades
	pins     *pins
	roles    *roles
}

// deliver makes a Rocket.Chat room what the Matrix room has become.
func (h *rooms) deliver(ctx context.Context, item queue.Item) error {
	e, p, ok, err := h.ofMatrix(ctx, item)
	if err != nil || !ok {
		return err
	}
	content := convert.ParseState(item.Payload)
	switch e.Type {
	case model.StateTombstone:
		err = h.Upgrades.Follow(ctx, p, ids.MXUser(e.Sender), ids.MXRoom(convert.StateText(content, "replacement_room")))
	case model.StateEncryption:
		err = h.Notices.Encrypted(ctx, p)
	case model.StatePins:
		err = h.pins.follow(ctx, p, e, content)
	default:
		err = h.change(ctx, p, e.Type, content)
	}
	if errors.Is(err, model.ErrForbidden) || errors.Is(err, model.ErrRefused) {
		h.Log.Warn("a change of a room was refused", "rc_room", p.RCRoom, "type", e.Type, "err", err)
		h.Notices.OnMatrix(ctx, p, "change "+item.ID, fmt.Sprintf("%s: your change of this room was not made in Rocket.Chat, which does not allow it.", e.Sender))
		return nil
	}
	return model.Outcome(item, model.Ignore(err, model.ErrNotFound), "Rocket.Chat refused it")
}

// change makes a Rocket.Chat room what a piece of the Matrix room's state says.
func (h *rooms) change(ctx context.Context, p model.Portal, kind string, content json.RawMessage) error {
	if p.IsDirect() && kind != model.StateTopic {
		return nil // Rocket.Chat shows who is in it
	}
	switch kind {
	case model.StateTopic:
		topic := cutRunes(convert.StateText(content, "topic"), maxTopic)
		return h.RC.Change(ctx, p, model.RCRoomChange{Topic: &topic})
	case model.StateName:
		return h.name(ctx, p, convert.StateText(content, "name"))
	case model.StateAvatar:
		return h.avatar(ctx, p, convert.StateText(content, "url"))
	case model.StatePowers:
		powers, err := h.State.WithCreators(ctx, p, convert.ParsePowers(content))
		if err != nil {
			return err
		}
		if err := h.roles.writers(ctx, p, powers); err != nil {
			return err
		}
		return h.roles.follow(ctx, p, powers)
	}
	return nil
}

func (h *rooms) name(ctx context.Context, p model.Portal, name string) error {
	if name == "" {
		return nil
	}
	info, ok, err := h.RC.Room(ctx, p.RCRoom)
	if err != nil || !ok || info.Title == name {
		return err
	}
	title := convert.Name(name, info.Title)
	return h.RC.Change(ctx, p, model.RCRoomChange{Title: &title})
}

// avatar carries the picture of a room. One that is none, or too large, stays
// where it is.
func (h *rooms) avatar(ctx context.Context, p model.Portal, mxc string) error {
	if mxc == "" {
		return nil
	}
	media, err := h.MX.Download(ctx, mxc, transfer.MaxAvatar, transfer.PicturePatience)
	if err != nil {
		return model.Ignore(err, model.ErrRefused, model.ErrForbidden, model.ErrSlow)
	}
	defer func() { _ = media.Body.Close() }()
	data, err := io.ReadAll(io.LimitReader(media.Body, transfer.MaxAvatar))
	if err != nil {
		return model.Ignore(err, model.ErrRefused, model.ErrSlow)
	}
	kind := http.DetectContentType(data)
	if !strings.HasPrefix(kind, "image/") {
		return nil
	}
	return h.RC.Change(ctx, p, model.RCRoomChange{Avatar: data, AvatarType: kind})
}

// all makes a Rocket.Chat room what a Matrix room was when it was bridged:
// not every homeserver tells of what was there before a ghost joined.
func (h *rooms) all(ctx context.Context, p model.Portal) error {
	for _, kind := range []string{model.StateTopic, model.StateAvatar, model.StatePowers} {
		content, ok, err := h.MX.State(ctx, p.MXRoom, p.Reader(h.Names), kind, "")
		if err != nil {
			return err
		}
		if !ok {
			continue
		}
		err = h.change(ctx, p, kind, content)
		if errors.Is(err, model.ErrForbidden) || errors.Is(err, model.ErrRefused) || errors.Is(err, model.ErrNotFound) {
			h.Log.Warn("a change on Matrix could not be made in Rocket.Chat", "rc_room", p.RCRoom, "type", kind, "err", err)
			continue
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func cutRunes(s string, n int) string {
	if len(s) <= n {
		return s
	}
	if r := []rune(s); len(r) > n {
		return string(r[:n]) + "…"
	}
	return s
}
