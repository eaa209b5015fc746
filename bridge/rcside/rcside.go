// Package rcside is the Rocket.Chat side of the relay. It reads the rooms of
// portals over the websocket and, after every connect, over REST from where it
// had stopped, so that the websocket makes it fast and REST makes it complete;
// and it carries out what the relay asks for over REST, as the bridge account or
// as a puppet. It decides nothing that concerns Matrix.
package rcside

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"appliance/bridge/config"
	"appliance/bridge/ids"
	"appliance/bridge/relay"
	"appliance/bridge/relay/model"
	"appliance/bridge/rocketchat"
	"appliance/bridge/secret"
)

var _ relay.RocketChat = (*Side)(nil)

// Options say how to reach Rocket.Chat.
type Options struct {
	Client            *rocketchat.Client // speaks for the bridge account
	CreateTokenSecret secret.String
	Store             relay.Store
	Accept            Accept
	Signs             Signs
	Live              func() config.Live
	Log               *slog.Logger
	// Led reports whether any process reads Rocket.Chat; nil for one that is alone.
	Led func() bool
	// Now is the time that all processes agree on; nil for this one's own.
	Now func() time.Time
	// PeopleEvery is between two looks at the list of people; 0 is the usual.
	PeopleEvery time.Duration
	// Reconnects is told when the bridge account's session has ended and is opened again;
	// nil is allowed.
	Reconnects func()
}

// Side is Rocket.Chat. Methods are safe for concurrent use.
type Side struct {
	Options
	leads    atomic.Bool // Listen runs
	mu       sync.Mutex
	readers  map[ids.MXUser]*reader // by puppet; "" is the bridge account
	watching map[ids.RCRoom]model.Portal
	spawn    func(func(context.Context)) (stop func()) // starts what runs while Listen does; nil when it does not
	sessions int                                       // of puppets
	queued   []*reader                                 // those to be read over REST
	more     chan struct{}                             // there is one

	renewing sync.Mutex               // one token is renewed at a time
	renewed  map[ids.RCUser]time.Time // when; with renewing

	changed    chan change // of people
	askedNames time.Time   // when showsNames was asked for
	showsNames bool
	limits     model.RememberedLimits
	speech     speech
	emojis     emojis
	server     server
}

// New returns a side that reads nothing before Listen is called.
func New(o Options) *Side {
	if o.Now == nil {
		o.Now = time.Now
	}
	return &Side{
		Options: o, readers: map[ids.MXUser]*reader{}, watching: map[ids.RCRoom]model.Portal{}, more: make(chan struct{}, 1),
		changed: make(chan change, maxTold), renewed: map[ids.RCUser]time.Time{},
	}
}

// IsBridge implements relay.RocketChat.
func (s *Side) IsBridge(user ids.RCUser) bool { return string(user) == s.Client.UserID() }

// UserByName implements relay.RocketChat.
func (s *Side) UserByName(ctx context.Context, username string) (model.RCPerson, bool, error) {
	u, ok, err := s.Client.UserByName(ctx, username)
	return personOf(u), ok, side(err)
}

// UserByID implements relay.RocketChat.
func (s *Side) UserByID(ctx context.Context, id ids.RCUser) (model.RCPerson, bool, error) {
	u, ok, err := s.Client.UserByID(ctx, string(id))
	return personOf(u), ok, side(err)
}

func personOf(u rocketchat.User) model.RCPerson {
	return model.RCPerson{ID: ids.RCUser(u.ID), Username: u.Username, Name: u.Name}
}

// CreatePuppet implements relay.RocketChat. The Matrix address is the account's
// nickname, where everybody sees it.
func (s *Side) CreatePuppet(ctx context.Context, mx ids.MXUser, name string) (model.Puppet, error) {
	mark, err := s.Store.PuppetMark(ctx, mx)
	if err != nil {
		return model.Puppet{}, err
	}
	// The last name cannot be taken on purpose: nobody else knows the mark.
	for _, username := range []string{ids.PuppetUsername(mx, false), ids.PuppetUsername(mx, true), ids.PuppetUsername(mx, true) + "-" + mark[:6]} {
		u, err := s.puppetAccount(ctx, mx, username, name, mark)
		if rocketchat.Says(err, "error-field-unavailable") {
			continue // the name of another account
		}
		if err != nil {
			return model.Puppet{}, side(err)
		}
		token, err := s.Client.CreateToken(ctx, u.ID, s.CreateTokenSecret)
		if err != nil {
			return model.Puppet{}, side(err)
		}
		return model.Puppet{MXUser: mx, RCUser: ids.RCUser(u.ID), Username: u.Username, Name: u.Name, Token: token}, nil
	}
	return model.Puppet{}, fmt.Errorf("%w: the names for %s are taken", model.ErrRefused, mx)
}

// puppetAccount creates an account, or finds the one that an earlier call created
// whose answer was lost. That one carries the mark in its email address, which only
// administrators see, and the role that only they can give. A name, a nickname or any
// other field that people set themselves proves nothing.
func (s *Side) puppetAccount(ctx context.Context, mx ids.MXUser, username, name, mark string) (rocketchat.User, error) {
	password := make([]byte, 32)
	_, _ = rand.Read(password) // never fails
	u, err := s.Client.CreateUser(ctx, rocketchat.NewUser{
		Username: username, Name: name, Email: markedEmail(mark), Password: hex.EncodeToString(password),
		Roles: []string{"user", model.PuppetRole}, Nickname: string(mx),
	})
	if err == nil || !rocketchat.Says(err, "error-field-unavailable") {
		return u, err
	}
	found, ok, lookErr := s.Client.UserByName(ctx, username)
	if lookErr != nil {
		return u, lookErr
	}
	if ok && found.HasRole(model.PuppetRole) && found.HasEmail(markedEmail(mark)) {
		return found, nil
	}
	return u, err
}

// markedEmail is the address of a puppet's account. No mail can be sent to it.
func markedEmail(mark string) string { return "puppet-" + mark + "@matrix.invalid" }

// Rename implements relay.RocketChat.
func (s *Side) Rename(ctx context.Context, p model.Puppet, name string) error {
	return s.asPuppet(ctx, p, func(c *rocketchat.Client) error { return c.SetOwnName(ctx, name) })
}

// Send implements relay.RocketChat.
func (s *Side) Send(ctx context.Context, p model.Puppet, room ids.RCRoom, id, thread ids.RCMessage, text string) error {
	s.talked(room)
	return s.asPuppet(ctx, p, func(c *rocketchat.Client) error {
		_, err := c.SendMessage(ctx, rocketchat.NewMessage{ID: string(id), RoomID: string(room), Text: text, Thread: string(thread)})
		s.noteSent(err)
		return err
	})
}

// Edit implements relay.RocketChat.
func (s *Side) Edit(ctx context.Context, p model.Puppet, room ids.RCRoom, id ids.RCMessage, text string) error {
	return s.asPuppet(ctx, p, func(c *rocketchat.Client) error {
		_, err := c.UpdateMessage(ctx, string(room), string(id), text)
		return err
	})
}

// Delete implements relay.RocketChat.
func (s *Side) Delete(ctx context.Context, p *model.Puppet, room ids.RCRoom, id ids.RCMessage) error {
	if p == nil {
		return side(s.Client.DeleteMessage(ctx, string(room), string(id)))
	}
	return s.asPuppet(ctx, *p, func(c *rocketchat.Client) error { return c.DeleteMessage(ctx, string(room), string(id)) })
}

// React implements relay.RocketChat.
func (s *Side) React(ctx context.Context, p model.Puppet, id ids.RCMessage, emoji string, on bool) error {
	return s.asPuppet(ctx, p, func(c *rocketchat.Client) error { return c.React(ctx, string(id), emoji, on) })
}

// Pin implements relay.RocketChat. A message that is as wanted is left alone: pinning
// it again would say so again.
func (s *Side) Pin(ctx context.Context, as *model.Puppet, id ids.RCMessage, on bool) error {
	m, ok, err := s.Client.Message(ctx, string(id))
	if err == nil && ok && (m.Pinned != nil && *m.Pinned) == on {
		return nil
	}
	if as == nil {
		return side(s.Client.Pin(ctx, string(id), on))
	}
	return s.asPuppet(ctx, *as, func(c *rocketchat.Client) error { return c.Pin(ctx, string(id), on) })
}

// Direct implements relay.RocketChat.
func (s *Side) Direct(ctx context.Context, p model.Puppet, with model.RCPerson) (room ids.RCRoom, err error) {
	err = s.asPuppet(ctx, p, func(c *rocketchat.Client) error {
		r, err := c.CreateDirect(ctx, with.Username)
		room = ids.RCRoom(r.ID)
		return err
	})
	return room, err
}

var notInSlug = regexp.MustCompile(`[^0-9a-zA-Z._-]+`)

// slugOf returns the name of a room that Rocket.Chat accepts for a title, "" when
// nothing of it is left.
func slugOf(title string) string {
	return strings.Trim(notInSlug.ReplaceAllString(title, "-"), "-.")
}

// CreateGroup implements relay.RocketChat.
func (s *Side) CreateGroup(ctx context.Context, title string, owner model.RCPerson, unused func(ids.RCRoom) (bool, error)) (model.RCRoomInfo, error) {
	slug := slugOf(title)
	if slug == "" {
		slug = "matrix"
	}
	for n := 1; n < 100; n++ {
		name := slug
		if n > 1 {
			name = fmt.Sprintf("%s-%d", slug, n)
		}
		r, err := s.Client.CreateGroup(ctx, name, []string{owner.Username})
		if rocketchat.Says(err, "error-duplicate-channel-name") {
			old, ok, lookErr := s.Client.RoomByName(ctx, name)
			if lookErr != nil && !rocketchat.Says(lookErr, "Not Allowed", "not-allowed") {
				return model.RCRoomInfo{}, side(lookErr)
			}
			if !ok || old.Owner == nil || old.Owner.ID != s.Client.UserID() {
				continue
			}
			free, freeErr := unused(ids.RCRoom(old.ID))
			if freeErr != nil {
				return model.RCRoomInfo{}, freeErr
			}
			if !free {
				continue
			}
			r, err = old, s.Client.Invite(ctx, rocketchat.Group, old.ID, string(owner.ID)) // left over from an attempt that was interrupted
		}
		if err != nil {
			return model.RCRoomInfo{}, side(err)
		}
		if err := s.Client.AddOwner(ctx, rocketchat.Group, r.ID, string(owner.ID)); err != nil {
			return model.RCRoomInfo{}, side(err)
		}
		return infoOf(r), nil
	}
	return model.RCRoomInfo{}, fmt.Errorf("%w: every name like %q is taken", model.ErrRefused, slug)
}

func infoOf(r rocketchat.Room) model.RCRoomInfo {
	return model.RCRoomInfo{
		ID: ids.RCRoom(r.ID), Type: r.Type, Slug: r.Name, Title: r.Title(), Topic: r.Topic, Announcement: r.Announcement, Avatar: r.AvatarETag,
		Encrypted: r.Encrypted, ReadOnly: r.ReadOnly, Archived: r.Archived,
	}
}

// Room implements relay.RocketChat.
func (s *Side) Room(ctx context.Context, room ids.RCRoom) (model.RCRoomInfo, bool, error) {
	r, ok, err := s.Client.RoomByID(ctx, string(room))
	switch {
	case rocketchat.Says(err, "Not Allowed", "not-allowed"):
		return model.RCRoomInfo{}, false, nil
	case rocketchat.Says(err, "error-room-archived"): // 7.x and some of 8.x do not tell more
		r, err = s.Client.AdminRoom(ctx, string(room))
		ok = r.ID != ""
	}
	return infoOf(r), ok, side(err)
}

// Add implements relay.RocketChat.
func (s *Side) Add(ctx context.Context, p model.Portal, who ids.RCUser) error {
	return side(s.Client.Invite(ctx, p.RCType, string(p.RCRoom), string(who)))
}

// Remove implements relay.RocketChat.
func (s *Side) Remove(ctx context.Context, p model.Portal, who ids.RCUser) error {
	return side(s.Client.Kick(ctx, p.RCType, string(p.RCRoom), string(who)))
}

// Members implements relay.RocketChat.
func (s *Side) Members(ctx context.Context, p model.Portal) ([]model.RCPerson, error) {
	var members []rocketchat.Member
	err := s.asReader(ctx, p.RCReader, func(c *rocketchat.Client) (err error) {
		members, err = c.Members(ctx, p.RCType, string(p.RCRoom))
		return err
	})
	if err != nil {
		return nil, err
	}
	out := make([]model.RCPerson, len(members))
	for i, m := range members {
		out[i] = model.RCPerson{ID: ids.RCUser(m.ID), Username: m.Username, Name: m.Name}
	}
	return out, nil
}

// Tell implements relay.RocketChat.
func (s *Side) Tell(ctx context.Context, who model.RCPerson, text string) error {
	room, err := s.Client.CreateDirect(ctx, who.Username)
	if err != nil {
		return side(err)
	}
	return side(s.Client.PostMessage(ctx, room.ID, text))
}

// Say implements relay.RocketChat.
func (s *Side) Say(ctx context.Context, room ids.RCRoom, text string) error {
	return side(s.Client.PostMessage(ctx, string(room), text))
}

// forbidden are the refusals, by code or by text, that mean "not as this user".
var forbidden = []string{"error-not-allowed", "not-allowed", "Not Allowed", "error-action-not-allowed", "unauthorized", "error-unauthorized"}

// missing are the refusals that mean "no such thing".
var missing = []string{"error-message-not-found", "error-room-not-found", "error-invalid-room", "error-user-not-in-room", "error-invalid-user", "error-user-not-found"}

// final are the refusals that no repetition changes.
var final = []string{"room_is_archived", "error-room-archived", "room_is_blocked", "You_have_been_muted", "error-message-size-exceeded",
	"error-file-too-large", "error-invalid-file-type", "error-file-upload-disabled", "error-direct-message-file-upload-not-allowed",
	"error-field-unavailable", "error-input-is-not-a-valid-field", "error-license-user-limit-reached", "error-user-is-banned",
	"You can't send messages because the room is readonly.", "invalid-params", "Name contains invalid characters"}

// side translates an error of the client into the relay's words.
func side(err error) error {
	if err == nil || errors.Is(err, context.Canceled) {
		return err
	}
	e, ok := errors.AsType[*rocketchat.Error](err)
	switch {
	case errors.Is(err, model.ErrSlow), errors.Is(err, model.ErrRefused), errors.Is(err, model.ErrUnavailable), errors.Is(err, model.ErrNotFound), errors.Is(err, model.ErrForbidden):
		return err // told already, by what was read on the way
	case !ok, e.Status >= 500, e.Status == http.StatusUnauthorized:
		return fmt.Errorf("rocket.chat %w: %w", model.ErrUnavailable, err)
	case e.Status == http.StatusTooManyRequests:
		return &model.WaitError{After: max(e.RetryAfter, time.Second), Err: err}
	case rocketchat.Says(err, "restricted-workspace"):
		return fmt.Errorf("rocket.chat %w: %w", model.ErrUnavailable, err)
	case rocketchat.Says(err, missing...), strings.HasPrefix(e.Text, "No message found"), e.Status == http.StatusNotFound:
		return fmt.Errorf("%w: %w", model.ErrNotFound, err)
	case rocketchat.Says(err, final...):
		return fmt.Errorf("%w: %w", model.ErrRefused, err)
	case rocketchat.Says(err, forbidden...), e.Status == http.StatusForbidden:
		return fmt.Errorf("%w: %w", model.ErrForbidden, err)
	}
	return err
}
