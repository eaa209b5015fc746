package rcside

import (
	"context"
	"sync"
	"time"

	"appliance/bridge/relay/model"
	"appliance/bridge/rocketchat"
)

// emojis caches the custom emoji of the server.
type emojis struct {
	*accounts
	mu     sync.Mutex
	byName map[string]rocketchat.CustomEmoji // aliases too
	until  time.Time
}

// The list is requested again after emojisFor. The server announces changes, so this
// covers announcements that were missed. After a failure the interval is shorter.
const (
	emojisFor      = 30 * time.Minute
	emojisAskAgain = time.Minute
	emojisTimeout  = 10 * time.Second
)

// forget makes the next lookup request the list again.
func (s *emojis) forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.until = time.Time{}
}

// findEmoji returns an emoji by its name or an alias.
func (s *emojis) findEmoji(ctx context.Context, name string) (rocketchat.CustomEmoji, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if time.Now().After(s.until) {
		// Others wait for this response too: no caller may cancel it, and it must not take long.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), emojisTimeout)
		defer cancel()
		list, err := s.client.CustomEmojis(ctx)
		if err != nil {
			s.log.Warn("the custom emoji could not be read", "err", err)
			s.until = time.Now().Add(emojisAskAgain)
		} else {
			s.byName, s.until = map[string]rocketchat.CustomEmoji{}, time.Now().Add(emojisFor)
			for _, e := range list {
				for _, alias := range append(e.Aliases, e.Name) {
					s.byName[alias] = e
				}
			}
		}
	}
	e, ok := s.byName[name]
	return e, ok
}

// Emoji implements relay.RocketChat.
func (s *emojis) Emoji(ctx context.Context, name string) (model.RCEmoji, bool) {
	e, ok := s.findEmoji(ctx, name)
	return model.RCEmoji{Name: e.Name, Picture: e.ID + " " + e.ETag + " " + e.UpdatedAt.UTC().Format(time.RFC3339)}, ok
}

// EmojiPicture implements relay.RocketChat.
func (s *emojis) EmojiPicture(ctx context.Context, name string, limit int64) ([]byte, error) {
	e, ok := s.findEmoji(ctx, name)
	if !ok {
		return nil, model.ErrNotFound
	}
	data, err := s.client.EmojiPicture(ctx, e, limit)
	if err != nil {
		err = mediaError(err)
	}
	return data, err
}
