package rcside

import (
	"context"
	"fmt"

	"appliance/bridge/relay/model"
	"appliance/bridge/rocketchat"
)

// Rocket.Chat's defaults, used where its settings are not visible.
const (
	defaultFile = 100 << 20
	defaultText = 5000
	// unlimited is the limit when Rocket.Chat sets none.
	unlimited = 1 << 40
)

// Answers implements relay.RocketChat.
func (s *server) Answers(ctx context.Context) error {
	_, err := s.client.Info(ctx)
	if status := rocketchat.Status(err); err != nil && (status == 0 || status >= 500) {
		return fmt.Errorf("rocket.chat %w: %w", model.ErrUnavailable, err)
	}
	return nil
}

// Limits implements relay.RocketChat.
func (s *server) Limits(ctx context.Context) (model.Limits, error) {
	return s.limits.Get(func() (model.Limits, error) { return s.askLimits(ctx) })
}

func (s *server) askLimits(ctx context.Context) (model.Limits, error) {
	found, err := s.client.PublicSettings(ctx, "FileUpload_Enabled", "FileUpload_MaxFileSize", "Message_MaxAllowedSize")
	if err != nil {
		return model.Limits{}, side(err)
	}
	known := model.Limits{File: found.Int("FileUpload_MaxFileSize", defaultFile), Text: int(found.Int("Message_MaxAllowedSize", defaultText))}
	switch {
	case !found.On("FileUpload_Enabled", true):
		known.File = 0
	case known.File < 0:
		known.File = unlimited
	}
	return known, nil
}
