package torocketchat

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"appliance/bridge/convert"
	"appliance/bridge/event"
	"appliance/bridge/ids"
	"appliance/bridge/queue"
	"appliance/bridge/relay/model"
	"appliance/bridge/relay/portal"
	"appliance/bridge/relay/transfer"
)

// maxTopic bounds a topic, in characters. Rocket.Chat has no limit of its own.
const maxTopic = 4000

// rooms applies changes of a Matrix room to its Rocket.Chat room.
type rooms struct {
	*base
	RC       roomRocketChat
	MX       roomMatrix
	Upgrades *portal.Upgrades
	pins     *pins
	roles    *roles
}

// deliver applies a change of a Matrix room to its Rocket.Chat room.
func (h *rooms) deliver(ctx context.Context, item queue.Item, e event.MXRoom) error {
	p, ok, err := h.Store.PortalByMX(ctx, e.Room)
	if err != nil || !ok {
		return err
	}
	switch e.State.Change {
	case event.SetReplacement:
		err = h.Upgrades.Follow(ctx, p, e.Sender, ids.MXRoom(e.State.Text))
	case event.SetEncryption:
		err = h.Notices.Encrypted(ctx, p)
	case event.SetPins:
		err = h.pins.follow(ctx, p, e)
	case event.SetName, event.SetTopic, event.SetPicture, event.SetPowers:
		err = h.change(ctx, p, e.State)
	}
	if errors.Is(err, model.ErrForbidden) || errors.Is(err, model.ErrRefused) {
		h.Log.Warn("a room change was refused", "rc_room", p.RCRoom, "type", e.State.Change, "err", err)
		h.Notices.OnMatrix(ctx, p, "change "+item.ID, fmt.Sprintf("%s: your change to this room was not made in Rocket.Chat, which does not allow it.", e.Sender))
		return nil
	}
	return model.Outcome(item, model.Ignore(err, model.ErrNotFound), "Rocket.Chat refused it")
}

// change applies a piece of a Matrix room's state to its Rocket.Chat room.
func (h *rooms) change(ctx context.Context, p model.Portal, s event.State) error {
	if p.IsDirect() && s.Change != event.SetTopic {
		return nil // Rocket.Chat shows who is in it
	}
	switch s.Change {
	case event.SetTopic:
		topic := cutRunes(s.Text, maxTopic)
		return h.RC.Change(ctx, p, model.RCRoomChange{Topic: &topic})
	case event.SetName:
		return h.name(ctx, p, s.Text)
	case event.SetPicture:
		return h.avatar(ctx, p, s.Text)
	case event.SetPowers:
		powers, err := h.State.WithCreators(ctx, p, s.Powers)
		if err != nil {
			return err
		}
		if err := h.roles.writers(ctx, p, powers); err != nil {
			return err
		}
		return h.roles.follow(ctx, p, powers)
	default:
		return nil
	}
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

// avatar copies the picture of a room. Data that is not a picture, or too large, is skipped.
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

// all applies the whole state of a Matrix room that was just bridged: not every
// homeserver sends the state from before a ghost joined.
func (h *rooms) all(ctx context.Context, p model.Portal) error {
	for _, kind := range []string{model.StateTopic, model.StateAvatar, model.StatePowers} {
		content, ok, err := h.MX.State(ctx, p.MXRoom, p.Reader(h.Names), kind, "")
		if err != nil {
			return err
		}
		s, known := event.ReadState(kind, content)
		if !ok || !known {
			continue
		}
		err = h.change(ctx, p, s)
		if errors.Is(err, model.ErrForbidden) || errors.Is(err, model.ErrRefused) || errors.Is(err, model.ErrNotFound) {
			h.Log.Warn("a change on Matrix could not be applied in Rocket.Chat", "rc_room", p.RCRoom, "type", kind, "err", err)
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
