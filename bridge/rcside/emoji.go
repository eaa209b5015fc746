package rcside

import (
	"context"
	"sync"
	"time"

	"appliance/bridge/relay/model"
	"appliance/bridge/rocketchat"
)

// emojis are the custom emoji of the server, as far as they are known.
type emojis struct {
	*accounts
	mu     sync.Mutex
	byName map[string]rocketchat.CustomEmoji // aliases too
	until  time.Time
}

// The list is asked for again after emojisFor; the server says when it changes, so
// that is for what it did not get to say. After a failure it is a shorter time.
const (
	emojisFor      = 30 * time.Minute
	emojisAskAgain = time.Minute
	emojisTimeout  = 10 * time.Second
)

// forget makes the list be asked for again.
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
		// Others wait for this answer, so it is nobody's own and may not take long.
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
