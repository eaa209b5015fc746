package rcside

import (
	"context"

	"appliance/bridge/ids"
	"appliance/bridge/relay/model"
	"appliance/bridge/rocketchat"
)

// Ephemeral receives ephemeral events; *relay.Relay implements it.
type Ephemeral interface {
	TypingInRocketChat(room ids.RCRoom, shown string, on bool)
	PresenceInRocketChat(user ids.RCUser, is model.Presence)
	PersonChanged(ctx context.Context, user ids.RCUser) error
}

// ephemeral sends typing and receipts.
type ephemeral struct {
	*accounts
	*server
}

// Typing implements relay.RocketChat.
func (s *ephemeral) Typing(ctx context.Context, p model.Puppet, room ids.RCRoom, on bool) error {
	name := p.Username
	if s.realNames(ctx) {
		name = p.Name
	}
	return s.asPuppet(ctx, p, func(c *rocketchat.Client) error { return c.Typing(ctx, string(room), "", name, on) })
}

// MarkRead implements relay.RocketChat.
func (s *ephemeral) MarkRead(ctx context.Context, p model.Puppet, room ids.RCRoom) error {
	return s.asPuppet(ctx, p, func(c *rocketchat.Client) error { return c.MarkRead(ctx, string(room)) })
}

// HasRead implements relay.RocketChat.
func (s *ephemeral) HasRead(ctx context.Context, p model.Portal, who ids.RCUser) (bool, error) {
	n, err := s.client.Counters(ctx, p.RCType, string(p.RCRoom), string(who))
	return err == nil && n.Joined && !n.Latest.After(n.ReadUntil.Time), side(err)
}
