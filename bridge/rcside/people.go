package rcside

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"

	"appliance/bridge/ids"
	"appliance/bridge/relay/model"
	"appliance/bridge/rocketchat"
)

// people handles the accounts, profiles and pictures of people, and the puppets.
type people struct {
	*accounts
}

// UserByName implements relay.RocketChat.
func (s *people) UserByName(ctx context.Context, username string) (model.RCPerson, bool, error) {
	u, ok, err := s.client.UserByName(ctx, username)
	return personOf(u), ok, side(err)
}

// UserByID implements relay.RocketChat.
func (s *people) UserByID(ctx context.Context, id ids.RCUser) (model.RCPerson, bool, error) {
	u, ok, err := s.client.UserByID(ctx, string(id))
	return personOf(u), ok, side(err)
}

func personOf(u rocketchat.User) model.RCPerson {
	return model.RCPerson{ID: ids.RCUser(u.ID), Username: u.Username, Name: u.Name}
}

// CreatePuppet implements relay.RocketChat. The Matrix address becomes the
// account's nickname, where everybody sees it.
func (s *people) CreatePuppet(ctx context.Context, mx ids.MXUser, name string) (model.Puppet, error) {
	mark, err := s.store.PuppetMark(ctx, mx)
	if err != nil {
		return model.Puppet{}, err
	}
	// Nobody can take the last name on purpose, because nobody else knows the mark.
	for _, username := range []string{ids.PuppetUsername(mx, false), ids.PuppetUsername(mx, true), ids.PuppetUsername(mx, true) + "-" + mark[:6]} {
		u, err := s.puppetAccount(ctx, mx, username, name, mark)
		if rocketchat.Says(err, "error-field-unavailable") {
			continue // taken by another account
		}
		if err != nil {
			return model.Puppet{}, side(err)
		}
		token, err := s.client.CreateToken(ctx, u.ID, s.tokenSecret)
		if err != nil {
			return model.Puppet{}, side(err)
		}
		return model.Puppet{MXUser: mx, RCUser: ids.RCUser(u.ID), Username: u.Username, Name: u.Name, Token: token}, nil
	}
	return model.Puppet{}, fmt.Errorf("%w: the names for %s are taken", model.ErrRefused, mx)
}

// puppetAccount creates an account, or finds the one created by an earlier call
// whose response was lost. That account has the mark in its email address, which
// only administrators see, and the role that only they can assign. A name, a
// nickname or any other field that people set themselves proves nothing.
func (s *people) puppetAccount(ctx context.Context, mx ids.MXUser, username, name, mark string) (rocketchat.User, error) {
	password := make([]byte, 32)
	_, _ = rand.Read(password) // never fails
	u, err := s.client.CreateUser(ctx, rocketchat.NewUser{
		Username: username, Name: name, Email: markedEmail(mark), Password: hex.EncodeToString(password),
		Roles: []string{"user", model.PuppetRole}, Nickname: string(mx),
	})
	if err == nil || !rocketchat.Says(err, "error-field-unavailable") {
		return u, err
	}
	found, ok, lookErr := s.client.UserByName(ctx, username)
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
func (s *people) Rename(ctx context.Context, p model.Puppet, name string) error {
	return s.asPuppet(ctx, p, func(c *rocketchat.Client) error { return c.SetOwnName(ctx, name) })
}

// Profile implements relay.RocketChat.
func (s *people) Profile(ctx context.Context, user ids.RCUser) (model.RCProfile, bool, error) {
	u, ok, err := s.client.UserByID(ctx, string(user))
	return model.RCProfile{RCPerson: personOf(u), Active: u.Active, Avatar: u.AvatarETag, Roles: u.Roles}, ok, side(err)
}

// Avatar implements relay.RocketChat.
func (s *people) Avatar(ctx context.Context, username string, limit int64) ([]byte, error) {
	data, err := s.client.Avatar(ctx, username, limit)
	if err != nil {
		err = mediaError(err)
	}
	return data, err
}

// SetAvatar implements relay.RocketChat.
func (s *people) SetAvatar(ctx context.Context, p model.Puppet, data []byte, contentType string) error {
	return s.asPuppet(ctx, p, func(c *rocketchat.Client) error {
		if len(data) == 0 {
			return c.ResetAvatar(ctx)
		}
		return c.SetAvatar(ctx, rocketchat.Media{Name: "avatar", Type: contentType, Size: int64(len(data)), Body: bytes.NewReader(data)})
	})
}

// SetPresence implements relay.RocketChat.
func (s *people) SetPresence(ctx context.Context, p model.Puppet, is model.Presence) error {
	return s.asPuppet(ctx, p, func(c *rocketchat.Client) error { return c.SetStatus(ctx, string(is)) })
}
