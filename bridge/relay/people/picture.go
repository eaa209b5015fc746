package people

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net/http"
	"strings"

	"appliance/bridge/ids"
	"appliance/bridge/relay/model"
)

// maxEmoji bounds the size of an emoji picture in bytes: it is held in memory.
const maxEmoji = 1 << 20

// Pictures copies avatars and custom emoji to Matrix, each once.
type Pictures struct {
	Store pictureStore
	RC    pictureRocketChat
	MX    pictureMatrix
	Log   *slog.Logger
	Names ids.Namespace
}

// Copy copies a Rocket.Chat picture unless it is the one copied last, which is remembered
// under key. Data that is not a picture, or too large, is skipped.
func (pics *Pictures) Copy(ctx context.Context, as ids.MXUser, key, now string, fetch func() ([]byte, error), set func(mxc string) error) error {
	known, err := pics.Store.Cursor(ctx, key)
	if err != nil || known == now {
		return err
	}
	mxc := ""
	if now != "" {
		data, err := fetch()
		if err != nil {
			return model.Ignore(err, model.ErrNotFound, model.ErrTooLarge)
		}
		kind := http.DetectContentType(data)
		if !strings.HasPrefix(kind, "image/") {
			return nil // not a picture: keep the current one
		}
		mxc, err = pics.MX.Upload(ctx, as, model.Media{Name: "avatar", Type: kind, Size: int64(len(data)), Body: io.NopCloser(bytes.NewReader(data))})
		if err != nil {
			return model.Ignore(err, model.ErrTooLarge)
		}
	}
	if err := set(mxc); err != nil {
		return err
	}
	return pics.Store.MoveCursor(ctx, key, now)
}

// Emoji returns the Matrix picture of a custom emoji. It is copied once.
func (pics *Pictures) Emoji(ctx context.Context, name string) (mxc string, ok bool) {
	e, ok := pics.RC.Emoji(ctx, name)
	if !ok {
		return "", false
	}
	key := "emoji " + e.Name
	known, err := pics.Store.Cursor(ctx, key)
	if err != nil {
		return "", false
	}
	if picture, mxc, ok := strings.Cut(known, "\n"); ok && picture == e.Picture {
		return mxc, true
	}
	data, err := pics.RC.EmojiPicture(ctx, name, maxEmoji)
	kind := http.DetectContentType(data)
	if err != nil || !strings.HasPrefix(kind, "image/") {
		pics.Log.Info("an emoji has no picture that could be copied", "emoji", e.Name, "err", err)
		return "", false
	}
	mxc, err = pics.MX.Upload(ctx, pics.Names.BotUser(), model.Media{Name: e.Name, Type: kind, Size: int64(len(data)), Body: io.NopCloser(bytes.NewReader(data))})
	if err == nil {
		err = pics.Store.MoveCursor(ctx, key, e.Picture+"\n"+mxc)
	}
	if err != nil {
		pics.Log.Warn("an emoji's picture could not be copied", "emoji", e.Name, "err", err)
	}
	return mxc, err == nil
}
