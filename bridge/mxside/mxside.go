// Package mxside is the Matrix side of the relay: an application service of one
// homeserver. It takes events in from two streams, the homeserver's transactions
// and the bot's own /sync, into one store, and answers a transaction only when
// its events are on disk; and it carries out what the relay asks for, as the bot
// or as a ghost. It decides nothing that concerns Rocket.Chat.
//
// It speaks the Client-Server and the Application Service API of Matrix v1.x as
// Dendrite 0.15 and Synapse implement them; package mautrix is its client.
package mxside

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"regexp"
	"sync"
	"time"

	"github.com/rs/zerolog"
	"maunium.net/go/mautrix"
	"maunium.net/go/mautrix/event"
	"maunium.net/go/mautrix/id"

	"appliance/bridge/config"
	"appliance/bridge/convert"
	"appliance/bridge/ids"
	"appliance/bridge/queue"
	"appliance/bridge/relay"
	"appliance/bridge/secret"
)

var _ relay.Matrix = (*Side)(nil)

// Options say how to reach the homeserver.
type Options struct {
	URL     string        // of the client-server API
	Kind    string        // of homeserver, as in bridge.yaml; see Traits
	ID      string        // of the application service
	ASToken secret.String // what the bridge shows to the homeserver
	HSToken secret.String // what the homeserver shows to the bridge
	Names   ids.Namespace
	Store   relay.Store
	Accept  func(ctx context.Context, items []queue.Item, cursors map[string]string) error
	// Person says whether an address of ours stands for somebody, and makes
	// its ghost when it does.
	Person func(ctx context.Context, user ids.MXUser) (bool, error)
	// Alias says whether an alias of ours leads to a room, and makes it do so where
	// it is to.
	Alias func(ctx context.Context, alias string) (bool, error)
	Signs Signs
	// SweepPause is between two reads of ghosts; 0 is the usual.
	SweepPause time.Duration
	Live       func() config.Live
	Log        *slog.Logger
}

// Side is Matrix. Methods are safe for concurrent use.
type Side struct {
	Options
	traits   Traits
	base     *url.URL
	http     *http.Client
	sync     syncState
	held     held
	limits   relay.RememberedLimits
	fill     sync.Mutex // one room is read back at a time
	hints    hints
	versions versions

	followMu  sync.Mutex
	followed  map[ids.MXUser]time.Time // until when
	follows   chan ids.MXUser
	gaps      map[ids.MXRoom]*gap // with followMu
	positions map[string]position // with followMu
	failing   map[string]int      // polls that failed in a row, by cursor; -1 after a new beginning; with followMu
}

// New returns a side that reads nothing before Listen is called.
func New(o Options) (*Side, error) {
	base, err := url.Parse(o.URL)
	if err != nil {
		return nil, fmt.Errorf("the homeserver's address: %w", err)
	}
	traits, err := TraitsOf(o.Kind)
	if err != nil {
		return nil, err
	}
	s := &Side{Options: o, traits: traits, base: base, followed: map[ids.MXUser]time.Time{}, gaps: map[ids.MXRoom]*gap{}, positions: map[string]position{}, failing: map[string]int{}, follows: make(chan ids.MXUser, maxFollowed), http: &http.Client{
		Transport: &http.Transport{MaxIdleConnsPerHost: 128, IdleConnTimeout: time.Minute},
	}}
	s.sync.doubtFor = traits.Disorder
	s.sync.doubt()
	s.held.wanted, s.held.refusals = make(chan struct{}, 1), make(chan struct{}, 1)
	s.held.forget()
	s.hints.init()
	return s, nil
}

// as returns a client for one of our users. Nothing is retried in it: when to
// try again is the queue's decision.
func (s *Side) as(user ids.MXUser) *mautrix.Client {
	return &mautrix.Client{
		HomeserverURL: s.base, UserID: user, AccessToken: s.ASToken.Reveal(), Client: s.http,
		UserAgent: "appliance-bridge", Log: zerolog.Nop(), SetAppServiceUserID: true,
		IgnoreRateLimit: true, ResponseSizeLimit: maxAnswer,
	}
}

const (
	// maxAnswer bounds an answer that is held in memory: a page of a hundred events of
	// the largest size, with room to spare. A /sync may be larger.
	maxAnswer = 16 << 20
	maxSync   = 64 << 20
)

// timeout bounds one action: a join or an invitation waits for other servers.
const timeout = 50 * time.Second

// Register implements relay.Matrix: POST /register with the login type of
// application services, then the display name.
func (s *Side) Register(ctx context.Context, ghost ids.MXUser, name string) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	c := s.as(ghost)
	_, err := c.MakeFullRequest(ctx, mautrix.FullRequest{
		Method: http.MethodPost,
		// Not as the ghost, which does not exist yet.
		URL: s.as("").BuildClientURL("v3", "register"),
		RequestJSON: map[string]any{
			"type": "m.login.application_service", "username": ghost.Localpart(), "inhibit_login": true,
		},
	})
	if err != nil && !errors.Is(err, mautrix.MUserInUse) {
		return side(err)
	}
	if s.traits.KeepsNotifications {
		s.mute(ctx, ghost)
	}
	if name == "" {
		return nil
	}
	return side(c.SetDisplayName(ctx, name))
}

// mute switches the notifications of one of our users off, which nobody reads: PUT
// /pushrules/global/override/.m.rule.master/enabled; see Traits.KeepsNotifications.
// Synapse keeps none for users of application services.
func (s *Side) mute(ctx context.Context, user ids.MXUser) {
	c := s.as(user)
	_, err := c.MakeRequest(ctx, http.MethodPut, c.BuildClientURL("v3", "pushrules", "global", "override", ".m.rule.master", "enabled"), map[string]bool{"enabled": true}, nil)
	if err != nil {
		s.Log.Warn("the notifications of a user could not be switched off; the homeserver has more work", "user", user, "err", err)
	}
}

// CreateRoom implements relay.Matrix.
func (s *Side) CreateRoom(ctx context.Context, spec relay.MXRoomSpec) (ids.MXRoom, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	version, err := s.newRoomVersion(ctx)
	if err != nil {
		return "", err
	}
	req := &mautrix.ReqCreateRoom{
		RoomVersion: id.RoomVersion(version), Name: spec.Title, Topic: spec.Topic, Invite: spec.Invite, IsDirect: spec.Direct,
		Preset: "private_chat", Visibility: "private",
	}
	if spec.Direct {
		req.Preset = "trusted_private_chat"
	} else {
		users := map[id.UserID]int{}
		for u, level := range spec.Powers {
			users[u] = level
		}
		if delete(users, spec.Creator); !creatorsRule(version) {
			users[spec.Creator] = 100
		}
		// Owners and moderators may invite, as they may in Rocket.Chat; owners may do
		// what owners do there. Nobody but the bridge may encrypt the room.
		invite := relay.InvitePower
		owner := relay.OwnerPower
		req.PowerLevelOverride = &event.PowerLevelsEventContent{
			Users: users, InvitePtr: &invite, EventsDefault: spec.Write,
			Events: map[string]int{
				event.StatePowerLevels.Type: owner, event.StateTombstone.Type: owner, event.StateHistoryVisibility.Type: owner,
				event.StateServerACL.Type: owner, event.StateEncryption.Type: 100,
			},
		}
		req.InitialState = []*event.Event{bridgeState(spec)}
	}
	req.InitialState = append(req.InitialState, historyState(spec))
	resp, err := s.as(spec.Creator).CreateRoom(ctx, req)
	if err != nil {
		return "", side(err)
	}
	return resp.RoomID, nil
}

// historyState returns the room's m.room.history_visibility event.
func historyState(spec relay.MXRoomSpec) *event.Event {
	visibility := relay.HistoryInvited
	if spec.Past {
		visibility = relay.HistoryShared
	}
	key := ""
	return &event.Event{Type: event.StateHistoryVisibility, StateKey: &key, Content: event.Content{Raw: map[string]any{"history_visibility": visibility}}}
}

// bridgeState returns the room's m.bridge event (MSC2346, under its unstable
// name), by which clients and other bridges see what the room is bridged to.
func bridgeState(spec relay.MXRoomSpec) *event.Event {
	key := "rocketchat:" + string(spec.RCRoom)
	return &event.Event{
		Type:     event.StateHalfShotBridge,
		StateKey: &key,
		Content: event.Content{Raw: map[string]any{
			"bridgebot": spec.Creator,
			"protocol":  map[string]any{"id": "rocketchat", "displayname": "Rocket.Chat", "external_url": spec.Site},
			"channel":   map[string]any{"id": spec.RCRoom, "displayname": spec.Title},
		}},
	}
}

// Invite implements relay.Matrix.
func (s *Side) Invite(ctx context.Context, room ids.MXRoom, as, who ids.MXUser) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	_, err := s.as(as).InviteUser(ctx, room, &mautrix.ReqInviteUser{UserID: who})
	if he, ok := errors.AsType[mautrix.HTTPError](err); ok && s.traits.ForbidsUnreachable && he.RespError != nil && unreachable.MatchString(he.RespError.Err) {
		return fmt.Errorf("%s %w: %w", who.Homeserver(), relay.ErrUnavailable, plain(err))
	}
	return side(err)
}

// unreachable matches the words of Dendrite's HTTP client; see Traits.ForbidsUnreachable.
var unreachable = regexp.MustCompile(`dial tcp|lookup |no such host|connection refused|connection reset|i/o timeout|deadline exceeded|Client\.Timeout|EOF|x509: |tls: |no route to host|network is unreachable|denied by`)

// Join implements relay.Matrix.
func (s *Side) Join(ctx context.Context, room ids.MXRoom, who, inviter ids.MXUser) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	_, err := s.as(who).JoinRoomByID(ctx, room)
	if inviter == "" || inviter == who || !errors.Is(side(err), relay.ErrForbidden) {
		return side(err)
	}
	if err := s.Invite(ctx, room, inviter, who); err != nil {
		return err
	}
	_, err = s.as(who).JoinRoomByID(ctx, room)
	return side(err)
}

// Leave implements relay.Matrix.
func (s *Side) Leave(ctx context.Context, room ids.MXRoom, who ids.MXUser) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	_, err := s.as(who).LeaveRoom(ctx, room)
	return side(err)
}

// Kick implements relay.Matrix.
func (s *Side) Kick(ctx context.Context, room ids.MXRoom, as, who ids.MXUser) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	_, err := s.as(as).KickUser(ctx, room, &mautrix.ReqKickUser{UserID: who})
	return side(err)
}

// Send implements relay.Matrix: PUT /rooms/{room}/send/m.room.message/{txn}.
func (s *Side) Send(ctx context.Context, room ids.MXRoom, as ids.MXUser, txn, source string, at time.Time, c convert.Content) (ids.MXEvent, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	content, err := withSource(c, source)
	if err != nil {
		return "", fmt.Errorf("%w: %w", relay.ErrRefused, err)
	}
	resp, err := s.as(as).SendMessageEvent(ctx, room, event.EventMessage, content, mautrix.ReqSendEvent{TransactionID: txn, Timestamp: at.UnixMilli()})
	if err != nil {
		return "", side(err)
	}
	return resp.EventID, nil
}

// Redact implements relay.Matrix: PUT /rooms/{room}/redact/{event}/{txn}.
func (s *Side) Redact(ctx context.Context, room ids.MXRoom, as ids.MXUser, target ids.MXEvent, txn string) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	_, err := s.as(as).RedactEvent(ctx, room, target, mautrix.ReqRedact{TxnID: txn})
	return side(err)
}

// React implements relay.Matrix.
func (s *Side) React(ctx context.Context, room ids.MXRoom, as ids.MXUser, target ids.MXEvent, key, txn string) (ids.MXEvent, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	resp, err := s.as(as).SendMessageEvent(ctx, room, event.EventReaction, map[string]any{
		"m.relates_to": map[string]any{"rel_type": "m.annotation", "event_id": target, "key": key},
	}, mautrix.ReqSendEvent{TransactionID: txn})
	if err != nil {
		return "", side(err)
	}
	return resp.EventID, nil
}

func withSource(c convert.Content, source string) (map[string]any, error) {
	data, err := json.Marshal(c)
	if err != nil {
		return nil, err
	}
	var m map[string]any
	if err := json.Unmarshal(data, &m); err != nil {
		return nil, err
	}
	m[convert.SourceKey] = source
	return m, nil
}

// Notice implements relay.Matrix.
func (s *Side) Notice(ctx context.Context, room ids.MXRoom, reader ids.MXUser, txn, text string) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	_, err := s.as(reader).SendMessageEvent(ctx, room, event.EventMessage,
		map[string]any{"msgtype": "m.notice", "body": text}, mautrix.ReqSendEvent{TransactionID: txn})
	return side(err)
}

// Members implements relay.Matrix: GET /rooms/{room}/members.
func (s *Side) Members(ctx context.Context, room ids.MXRoom, reader ids.MXUser) ([]relay.MXMember, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	var members []relay.MXMember
	err := s.list(ctx, reader, "chunk", mautrix.ClientURLPath{"v3", "rooms", room, "members"}, func(raw json.RawMessage) error {
		if e, err := convert.ParseEvent(raw); err == nil && !tooLong(e.StateKey) {
			members = append(members, relay.MXMember{User: ids.MXUser(e.StateKey), Name: e.Content.Name, Membership: e.Content.Membership})
		}
		if len(members) >= maxMembers {
			s.Log.Warn("a room has more members than are looked at", "mx_room", room, "limit", maxMembers)
			return errEnough
		}
		return nil
	})
	return members, err
}

// side translates an error of the client into the relay's words.
func side(err error) error {
	if err == nil || errors.Is(err, context.Canceled) {
		return err
	}
	he, ok := errors.AsType[mautrix.HTTPError](err)
	if !ok || he.Response == nil {
		return fmt.Errorf("the homeserver %w: %w", relay.ErrUnavailable, plain(err))
	}
	text := plain(err)
	switch status := he.Response.StatusCode; {
	case status == http.StatusTooManyRequests:
		return &relay.WaitError{After: retryAfter(he), Err: text}
	case status >= 500, status == http.StatusUnauthorized:
		return fmt.Errorf("the homeserver %w: %w", relay.ErrUnavailable, text)
	case status == http.StatusForbidden:
		return fmt.Errorf("%w: %w", relay.ErrForbidden, text)
	case status == http.StatusNotFound:
		return fmt.Errorf("%w: %w", relay.ErrNotFound, text)
	}
	return fmt.Errorf("%w: %w", relay.ErrRefused, text)
}

// plain keeps what the homeserver said of an error and drops the request, which
// holds tokens and names.
func plain(err error) error {
	he, ok := errors.AsType[mautrix.HTTPError](err)
	switch {
	case !ok:
		if ue, ok := errors.AsType[*url.Error](err); ok {
			return ue.Err
		}
		return err
	case he.RespError != nil:
		return fmt.Errorf("%d %s: %s", he.Response.StatusCode, he.RespError.ErrCode, he.RespError.Err)
	case he.Response != nil:
		return fmt.Errorf("status %d", he.Response.StatusCode)
	case he.WrappedError != nil:
		return plain(he.WrappedError)
	}
	return errors.New(he.Message)
}

func retryAfter(he mautrix.HTTPError) time.Duration {
	if he.RespError != nil {
		if ms, ok := he.RespError.ExtraData["retry_after_ms"].(float64); ok && ms > 0 {
			return min(time.Duration(ms)*time.Millisecond, 10*time.Minute)
		}
	}
	return time.Second
}
