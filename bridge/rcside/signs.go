package rcside

import (
	"context"
	"encoding/json"
	"strings"
	"time"

	"appliance/bridge/ids"
	"appliance/bridge/relay/model"
	"appliance/bridge/rocketchat"
	"appliance/bridge/rocketchat/ddp"
)

// Signs takes what passes; *relay.Relay does it.
type Signs interface {
	TypingInRocketChat(room ids.RCRoom, shown string, on bool)
	PresenceInRocketChat(user ids.RCUser, is model.Presence)
	PersonChanged(ctx context.Context, user ids.RCUser) error
}

// Follow implements relay.RocketChat.
func (s *Side) Follow() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range s.readers {
		r.mu.Lock()
		r.stale = true
		r.mu.Unlock()
		signal(r.news)
	}
}

// wanted returns the ephemeral events that are wanted now: their streams by event.
func (r *reader) wanted() map[string]string {
	live := r.side.Live()
	want := map[string]string{}
	r.mu.Lock()
	r.stale = false
	if live.Typing {
		for id, rm := range r.rooms {
			if rm.hot && rm.done {
				want[typingEvent(id)] = "stream-notify-room"
			}
		}
	}
	r.mu.Unlock()
	if r.account == "" {
		if live.Presence {
			want["user-status"] = "stream-notify-logged"
		}
		for _, event := range []string{"updateAvatar", "Users:NameChanged", "Users:Deleted", "updateEmojiCustom", "deleteEmojiCustom"} {
			want[event] = "stream-notify-logged"
		}
	}
	return want
}

// ephemeral takes a frame that is no message. It reports whether it was one.
func (r *reader) ephemeral(e ddp.Event) bool {
	switch room, typing := strings.CutSuffix(e.Name, "/user-activity"); {
	case e.Stream == "stream-notify-room" && typing:
		var shown string
		var doing []string
		if json.Unmarshal(e.Args[0], &shown) == nil && len(e.Args) > 1 && json.Unmarshal(e.Args[1], &doing) == nil {
			r.side.Signs.TypingInRocketChat(ids.RCRoom(room), shown, len(doing) > 0)
		}
		return true
	case e.Stream == "stream-notify-logged" && e.Name == "user-status":
		r.status(e.Args)
		return true
	case e.Stream == "stream-notify-logged" && strings.HasSuffix(e.Name, "EmojiCustom"):
		r.side.emojis.forget()
		return true
	case e.Stream == "stream-notify-logged":
		r.side.profile(e)
		return true
	}
	return false
}

// statuses are how the stream writes a status.
var statuses = map[int]model.Presence{0: model.Offline, 1: model.Online, 2: model.Away, 3: model.Away}

// status takes [id, username, number, text, ...].
func (r *reader) status(args []json.RawMessage) {
	var fields []json.RawMessage
	if json.Unmarshal(args[0], &fields) != nil || len(fields) < 3 {
		return
	}
	var user string
	var n int
	if json.Unmarshal(fields[0], &user) != nil || json.Unmarshal(fields[2], &n) != nil {
		return
	}
	if is, ok := statuses[n]; ok {
		r.side.Signs.PresenceInRocketChat(ids.RCUser(user), is)
	}
}

// Typing implements relay.RocketChat.
func (s *Side) Typing(ctx context.Context, p model.Puppet, room ids.RCRoom, on bool) error {
	name := p.Username
	if s.realNames(ctx) {
		name = p.Name
	}
	return s.asPuppet(ctx, p, func(c *rocketchat.Client) error { return c.Typing(ctx, string(room), "", name, on) })
}

// settingFor is how long a setting of Rocket.Chat's is remembered.
const settingFor = 5 * time.Minute

// realNames reports whether Rocket.Chat shows display names in place of
// usernames: typing goes by what it shows.
func (s *Side) realNames(ctx context.Context) bool {
	s.mu.Lock()
	fresh, is := time.Since(s.askedNames) < settingFor, s.showsNames
	s.mu.Unlock()
	if fresh {
		return is
	}
	settings, err := s.Client.PublicSettings(ctx, "UI_Use_Real_Name")
	if err != nil {
		return is
	}
	is = settings.On("UI_Use_Real_Name", false)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.askedNames, s.showsNames = time.Now(), is
	return is
}

// MarkRead implements relay.RocketChat.
func (s *Side) MarkRead(ctx context.Context, p model.Puppet, room ids.RCRoom) error {
	return s.asPuppet(ctx, p, func(c *rocketchat.Client) error { return c.MarkRead(ctx, string(room)) })
}

// HasRead implements relay.RocketChat.
func (s *Side) HasRead(ctx context.Context, p model.Portal, who ids.RCUser) (bool, error) {
	n, err := s.Client.Counters(ctx, p.RCType, string(p.RCRoom), string(who))
	return err == nil && n.Joined && !n.Latest.After(n.ReadUntil.Time), side(err)
}

// SetPresence implements relay.RocketChat.
func (s *Side) SetPresence(ctx context.Context, p model.Puppet, is model.Presence) error {
	return s.asPuppet(ctx, p, func(c *rocketchat.Client) error { return c.SetStatus(ctx, string(is)) })
}
