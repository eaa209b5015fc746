package rcside

import (
	"context"

	"appliance/bridge/ids"
	"appliance/bridge/relay/model"
	"appliance/bridge/rocketchat"
)

// messages sends, changes and deletes messages.
type messages struct {
	*accounts
	*server
	*readers
}

// Send implements relay.RocketChat.
func (s *messages) Send(ctx context.Context, p model.Puppet, room ids.RCRoom, id, thread ids.RCMessage, text string) error {
	s.talked(room)
	return s.asPuppet(ctx, p, func(c *rocketchat.Client) error {
		_, err := c.SendMessage(ctx, rocketchat.NewMessage{ID: string(id), RoomID: string(room), Text: text, Thread: string(thread)})
		s.noteSent(err)
		return err
	})
}

// Edit implements relay.RocketChat.
func (s *messages) Edit(ctx context.Context, p model.Puppet, room ids.RCRoom, id ids.RCMessage, text string) error {
	return s.asPuppet(ctx, p, func(c *rocketchat.Client) error {
		_, err := c.UpdateMessage(ctx, string(room), string(id), text)
		return err
	})
}

// Delete implements relay.RocketChat.
func (s *messages) Delete(ctx context.Context, p *model.Puppet, room ids.RCRoom, id ids.RCMessage) error {
	if p == nil {
		return side(s.client.DeleteMessage(ctx, string(room), string(id)))
	}
	return s.asPuppet(ctx, *p, func(c *rocketchat.Client) error { return c.DeleteMessage(ctx, string(room), string(id)) })
}

// React implements relay.RocketChat.
func (s *messages) React(ctx context.Context, p model.Puppet, id ids.RCMessage, emoji string, on bool) error {
	return s.asPuppet(ctx, p, func(c *rocketchat.Client) error { return c.React(ctx, string(id), emoji, on) })
}

// Pin implements relay.RocketChat. A message already in the wanted state is left
// alone: pinning it again would announce it again.
func (s *messages) Pin(ctx context.Context, as *model.Puppet, id ids.RCMessage, on bool) error {
	m, ok, err := s.client.Message(ctx, string(id))
	if err == nil && ok && (m.Pinned != nil && *m.Pinned) == on {
		return nil
	}
	if as == nil {
		return side(s.client.Pin(ctx, string(id), on))
	}
	return s.asPuppet(ctx, *as, func(c *rocketchat.Client) error { return c.Pin(ctx, string(id), on) })
}

// Tell implements relay.RocketChat.
func (s *messages) Tell(ctx context.Context, who model.RCPerson, text string) error {
	room, err := s.client.CreateDirect(ctx, who.Username)
	if err != nil {
		return side(err)
	}
	return side(s.client.PostMessage(ctx, room.ID, text))
}

// Say implements relay.RocketChat.
func (s *messages) Say(ctx context.Context, room ids.RCRoom, text string) error {
	return side(s.client.PostMessage(ctx, string(room), text))
}
