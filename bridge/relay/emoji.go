package relay

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strings"

	"appliance/bridge/convert"
)

// maxEmoji bounds a picture of an emoji, in bytes: it goes through memory.
const maxEmoji = 1 << 20

// emojiToMatrix returns the picture on Matrix of a custom emoji. It is copied once.
func (r *Relay) emojiToMatrix(ctx context.Context, name string) (mxc string, ok bool) {
	e, ok := r.RC.Emoji(ctx, name)
	if !ok {
		return "", false
	}
	key := "emoji " + e.Name
	known, err := r.Store.Cursor(ctx, key)
	if err != nil {
		return "", false
	}
	if picture, mxc, ok := strings.Cut(known, "\n"); ok && picture == e.Picture {
		return mxc, true
	}
	data, err := r.RC.EmojiPicture(ctx, name, maxEmoji)
	kind := http.DetectContentType(data)
	if err != nil || !strings.HasPrefix(kind, "image/") {
		r.Log.Info("an emoji has no picture that could be copied", "emoji", e.Name, "err", err)
		return "", false
	}
	mxc, err = r.MX.Upload(ctx, r.Names.BotUser(), Media{Name: e.Name, Type: kind, Size: int64(len(data)), Body: io.NopCloser(bytes.NewReader(data))})
	if err == nil {
		err = r.Store.MoveCursor(ctx, key, e.Picture+"\n"+mxc)
	}
	if err != nil {
		r.Log.Warn("an emoji's picture could not be copied", "emoji", e.Name, "err", err)
	}
	return mxc, err == nil
}

// reactionName returns what a reaction is called in Rocket.Chat, without colons:
// an emoji, or one of Rocket.Chat's own by its name. Clients that react with
// pictures put the name beside it (MSC4027).
func (r *Relay) reactionName(ctx context.Context, key string, event []byte) (string, bool) {
	if name, ok := convert.Shortcode(key); ok {
		return name, true
	}
	var e struct {
		Content struct {
			Name   string `json:"shortcode"`
			Beeper string `json:"com.beeper.reaction.shortcode"`
		} `json:"content"`
	}
	if strings.HasPrefix(key, "mxc://") && json.Unmarshal(event, &e) == nil {
		if key = e.Content.Beeper; key == "" {
			key = e.Content.Name
		}
	}
	name := strings.Trim(key, ":")
	if name == "" {
		return "", false
	}
	own, ok := r.RC.Emoji(ctx, name)
	return own.Name, ok
}
