package rocketchat

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
)

// ErrNoPicture means that there is no picture, or that the caller may not see it.
// The server answers both with a letter as SVG, so they cannot be told apart.
var ErrNoPicture = errors.New("there is no picture")

// Avatar calls GET /avatar/{username}: a user's picture, of at most limit bytes.
func (c *Client) Avatar(ctx context.Context, username string, limit int64) ([]byte, error) {
	return c.picture(ctx, "/avatar/"+url.PathEscape(username), limit)
}

// RoomAvatar calls GET /avatar/room/{rid}: a room's picture, of at most limit
// bytes.
func (c *Client) RoomAvatar(ctx context.Context, roomID string, limit int64) ([]byte, error) {
	return c.picture(ctx, "/avatar/room/"+url.PathEscape(roomID), limit)
}

// picture fetches a picture from outside the API. There the server accepts the
// caller's token from cookies, and otherwise only in ways that end up in logs.
func (c *Client) picture(ctx context.Context, path string, limit int64) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.base+path, nil)
	if err != nil {
		return nil, fmt.Errorf("rocketchat: GET %s: %w", path, err)
	}
	req.AddCookie(&http.Cookie{Name: "rc_uid", Value: c.userID})
	req.AddCookie(&http.Cookie{Name: "rc_token", Value: c.token.Reveal()})
	res, err := c.stream.Do(req)
	if err != nil {
		return nil, fmt.Errorf("rocketchat: GET %s: %w", path, withoutURL(err))
	}
	defer func() { _ = res.Body.Close() }()
	data, err := io.ReadAll(io.LimitReader(res.Body, limit+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("rocketchat: GET %s: %w", path, err)
	case res.StatusCode != http.StatusOK:
		return nil, refusal(http.MethodGet, path, res, data[:min(len(data), 4096)])
	case int64(len(data)) > limit:
		return nil, fmt.Errorf("rocketchat: GET %s: %w", path, ErrTooLarge)
	}
	if strings.HasPrefix(res.Header.Get("Content-Type"), "image/svg") {
		return nil, fmt.Errorf("rocketchat: GET %s: %w", path, ErrNoPicture)
	}
	return data, nil
}

// ResetAvatar calls POST users.resetAvatar as the user itself.
func (c *Client) ResetAvatar(ctx context.Context) error {
	return c.post(ctx, "users.resetAvatar", map[string]any{"userId": c.userID}, nil)
}
