package rcside

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"time"

	"appliance/bridge/ids"
	"appliance/bridge/queue"
	"appliance/bridge/relay"
	"appliance/bridge/rocketchat"
)

// The bridge account does not see direct rooms, so a first word to somebody on
// Matrix goes unnoticed by it. An outgoing webhook for direct messages tells of
// them: it is only a reason to look, and of what it brings nothing but the room,
// the author and the time is read. What it missed a sweep finds.

const (
	hookName = "Matrix bridge: new direct messages"
	// HookPath is where the bridge takes the webhook.
	HookPath   = "/hook/direct"
	hookCursor = "rc:hook"    // the webhook's token
	lookCursor = "rc:directs" // until when direct rooms were looked through, in milliseconds
	lookEvery  = time.Hour
	hookRetry  = time.Minute
)

// watchDirects keeps the webhook in place and looks for rooms that it missed, until
// ctx ends.
func (s *Side) watchDirects(ctx context.Context) {
	for {
		wait := lookEvery
		err := s.putHook(ctx)
		if err == nil {
			err = s.lookThroughDirects(ctx)
		}
		if ctx.Err() != nil {
			return
		}
		if err != nil {
			s.Log.Warn("new direct messages to people on Matrix may go unnoticed", "err", err)
			wait = hookRetry
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
	}
}

// hookToken returns what the webhook is known by, made when there is none.
func (s *Side) hookToken(ctx context.Context) (string, error) {
	token, err := s.Store.Cursor(ctx, hookCursor)
	if err != nil || token != "" {
		return token, err
	}
	token = rand.Text()
	return token, s.Accept(ctx, nil, map[string]string{hookCursor: token})
}

// putHook makes the webhook, or makes it again what it has to be.
func (s *Side) putHook(ctx context.Context) error {
	if s.HookURL == "" {
		return nil
	}
	token, err := s.hookToken(ctx)
	if err != nil {
		return err
	}
	me, ok, err := s.Client.UserByID(ctx, s.Client.UserID())
	if err != nil || !ok {
		return err
	}
	want := rocketchat.Webhook{
		Type: "webhook-outgoing", Name: hookName, Enabled: true, Username: me.Username, Event: "sendMessage", Channel: "all_direct_messages",
		URLs: []string{s.HookURL}, Token: token, Retry: true, Tries: 6, Delay: "powers-of-two",
	}
	hooks, err := s.Client.Webhooks(ctx)
	if err != nil {
		return err
	}
	for _, h := range hooks {
		if h.Name != hookName {
			continue
		}
		if h.Enabled && h.Channel == want.Channel && slices.Equal(h.URLs, want.URLs) && h.Token == want.Token && h.Event == want.Event {
			return nil
		}
		want.ID = h.ID
		break
	}
	if err := s.Client.PutWebhook(ctx, want); err != nil {
		return fmt.Errorf("set up the webhook: %w", err)
	}
	return nil
}

// Hook serves POST HookPath. Rocket.Chat takes an empty answer for a failure.
func (s *Side) Hook(w http.ResponseWriter, r *http.Request) {
	var in struct {
		Token   string `json:"token"`
		Room    string `json:"channel_id"`
		Author  string `json:"user_id"`
		Message string `json:"message_id"`
		Time    string `json:"timestamp"`
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 1<<20))
	if err != nil || json.Unmarshal(body, &in) != nil {
		http.Error(w, "not a webhook of Rocket.Chat", http.StatusBadRequest)
		return
	}
	token, err := s.hookToken(r.Context())
	if err != nil {
		http.Error(w, "later", http.StatusServiceUnavailable)
		return
	}
	if subtle.ConstantTimeCompare([]byte(in.Token), []byte(token)) != 1 {
		http.Error(w, "the token is another one", http.StatusForbidden)
		return
	}
	at, err := time.Parse(time.RFC3339Nano, in.Time)
	if err != nil || time.Since(at).Abs() > time.Hour {
		at = time.Now().Add(-time.Minute)
	}
	if in.Room != "" && in.Message != "" {
		err = s.maybeDirect(r.Context(), in.Message, relay.NewDirect{Room: ids.RCRoom(in.Room), Author: ids.RCUser(in.Author), Since: at.Add(-time.Second)})
		if err != nil {
			s.Log.Warn("word of a direct message could not be stored", "room", in.Room, "err", err)
			http.Error(w, "later", http.StatusServiceUnavailable)
			return
		}
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = io.WriteString(w, "{}")
}

// maybeDirect stores that a direct room may have to become a portal, unless it is
// one or its author is of Matrix.
func (s *Side) maybeDirect(ctx context.Context, why string, d relay.NewDirect) error {
	s.mu.Lock()
	_, portal := s.watching[d.Room]
	s.mu.Unlock()
	if portal {
		return nil
	}
	if ours, err := s.ours(ctx, string(d.Author)); err != nil || ours {
		return err
	}
	payload, err := json.Marshal(d)
	if err != nil {
		return err
	}
	return s.Accept(ctx, []queue.Item{{ID: "direct " + string(d.Room) + " " + why, Lane: relay.RCLane(d.Room), Kind: relay.KindRCDirect, Payload: payload}}, nil)
}

// lookThroughDirects finds direct rooms with puppets in which something was said
// since the last look, and that are no portals.
func (s *Side) lookThroughDirects(ctx context.Context) error {
	now := time.Now()
	since := now
	if value, err := s.Store.Cursor(ctx, lookCursor); err != nil {
		return err
	} else if ms, ok := parseMillis(value); ok {
		since = ms.Add(-time.Minute)
	}
	err := s.Client.AdminDirects(ctx, func(rooms []rocketchat.Room) error {
		for _, room := range rooms {
			if room.LastMessage.Before(since) || !slices.ContainsFunc(room.Usernames, func(name string) bool {
				_, puppet, err := s.Store.PuppetByUsername(ctx, name)
				return err != nil || puppet
			}) {
				continue
			}
			d := relay.NewDirect{Room: ids.RCRoom(room.ID), Since: since}
			if err := s.maybeDirect(ctx, fmt.Sprint(room.LastMessage.UnixMilli()), d); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("look through direct rooms: %w", err)
	}
	return s.Accept(ctx, nil, map[string]string{lookCursor: fmt.Sprint(now.UnixMilli())})
}

// Usernames implements relay.RocketChat.
func (s *Side) Usernames(ctx context.Context, room ids.RCRoom) ([]string, error) {
	r, err := s.Client.AdminRoom(ctx, string(room))
	if err != nil || r.Type != rocketchat.Direct {
		return nil, side(err)
	}
	return r.Usernames, nil
}
