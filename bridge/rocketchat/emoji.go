package rocketchat

import (
	"context"
	"net/url"
)

// A CustomEmoji is an emoji that the administrators of a server have added.
type CustomEmoji struct {
	ID        string   `json:"_id"`
	Name      string   `json:"name"` // without colons
	Aliases   []string `json:"aliases"`
	Extension string   `json:"extension"` // of its picture: "png"
	ETag      string   `json:"etag"`      // changes with the picture; "" before 6.0
	UpdatedAt Time     `json:"_updatedAt"`
}

// CustomEmojis calls GET emoji-custom.list.
func (c *Client) CustomEmojis(ctx context.Context) ([]CustomEmoji, error) {
	var out struct {
		Emojis struct {
			Update []CustomEmoji `json:"update"`
		} `json:"emojis"`
	}
	err := c.get(ctx, "emoji-custom.list", nil, &out)
	return out.Emojis.Update, err
}

// EmojiPicture calls GET /emoji-custom/{name}.{extension}: an emoji's picture, of
// at most limit bytes.
func (c *Client) EmojiPicture(ctx context.Context, e CustomEmoji, limit int64) ([]byte, error) {
	return c.picture(ctx, "/emoji-custom/"+url.PathEscape(e.Name+"."+e.Extension), limit)
}
