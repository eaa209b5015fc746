package torocketchat

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"

	"appliance/bridge/event"
	"appliance/bridge/queue"
	"appliance/bridge/relay/model"
	"appliance/bridge/relay/transfer"
)

// persons updates the names and pictures of puppets.
type persons struct {
	*base
	Store personStore
	RC    personRocketChat
	MX    personMatrix
}

// deliver gives a puppet the name and picture of its Matrix user.
func (h *persons) deliver(ctx context.Context, item queue.Item, in event.MXPerson) error {
	user := in.User
	puppet, ok, err := h.Store.PuppetByMX(ctx, user)
	if err != nil || !ok {
		return err
	}
	is, err := h.MX.Profile(ctx, user)
	if err != nil { // many servers do not disclose it: keep what is known
		if errors.Is(err, model.ErrNotFound) || errors.Is(err, model.ErrForbidden) || errors.Is(err, model.ErrRefused) || item.Attempts > 3 {
			return nil
		}
		return model.Outcome(item, err, "")
	}
	if is.Name != "" {
		if puppet, err = h.People.Puppet(ctx, user, is.Name); err != nil {
			return model.Outcome(item, err, "")
		}
	}
	return model.Outcome(item, h.portrait(ctx, puppet, is.Avatar), "Rocket.Chat refused the picture")
}

func (h *persons) portrait(ctx context.Context, puppet model.Puppet, mxc string) error {
	key := "avatar " + string(puppet.MXUser)
	known, err := h.Store.Cursor(ctx, key)
	if err != nil || known == mxc {
		return err
	}
	var data []byte
	kind := ""
	if mxc != "" {
		media, err := h.MX.Download(ctx, mxc, transfer.MaxPortrait, transfer.PicturePatience)
		if err != nil {
			return model.Ignore(err, model.ErrNotFound, model.ErrTooLarge, model.ErrForbidden, model.ErrRefused, model.ErrSlow)
		}
		defer func() { _ = media.Body.Close() }()
		if data, err = io.ReadAll(io.LimitReader(media.Body, transfer.MaxPortrait)); err != nil {
			return model.Ignore(err, model.ErrTooLarge, model.ErrRefused, model.ErrSlow)
		}
		if kind = http.DetectContentType(data); !strings.HasPrefix(kind, "image/") {
			return nil // not a picture
		}
	}
	if err := h.RC.SetAvatar(ctx, puppet, data, kind); err != nil && !errors.Is(err, model.ErrRefused) && !errors.Is(err, model.ErrForbidden) {
		return err
	}
	return h.Store.MoveCursor(ctx, key, mxc)
}
