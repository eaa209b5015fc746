package rcside

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"appliance/bridge/relay/model"
	"appliance/bridge/rocketchat"
)

// newestKnown is the newest Rocket.Chat whose behaviour was checked. Newer ones are used too.
var newestKnown = [2]int{8, 8}

// server holds what is known about the Rocket.Chat server.
type server struct {
	*accounts
	limits model.RememberedLimits
	speech speech

	mu         sync.Mutex
	version    string
	restricted bool
	kinds      map[string]bool // of system messages that were logged
	askedNames time.Time       // when showsNames was fetched
	showsNames bool
}

// maxKinds bounds how many unknown kinds are remembered as logged.
const maxKinds = 100

// ignored are the kinds of system messages that are known but have no counterpart on Matrix.
var ignored = []string{
	"ui", "uir", "wm", "room_changed_description", "room-allowed-reacting", "room-disallowed-reacting", "room_e2e_enabled", "room_e2e_disabled",
	"new-owner", "owner-removed", "new-moderator", "moderator-removed", "new-leader", "leader-removed", "user-muted", "user-unmuted", "mute_unmute",
	"message_pinned", "message_pinned_e2e", "command", "e2e", "otr", "otr-ack", "abac-removed-user-from-room", "message_snippeted", "jitsi_call_started",
	"user-converted-to-team", "user-converted-to-channel", "user-removed-room-from-team", "user-deleted-room-from-team", "user-added-room-to-team",
}

// unknownKind logs once for each unknown kind of system message that it does not
// cross: a newer server may have new ones.
func (s *server) unknownKind(kind string) {
	if slices.Contains(ignored, kind) {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.kinds == nil {
		s.kinds = map[string]bool{}
	}
	if s.kinds[kind] || len(s.kinds) >= maxKinds || len(kind) > 100 {
		return
	}
	s.kinds[kind] = true
	s.log.Info("an unknown type of Rocket.Chat system message was not bridged", "kind", kind)
}

// noteVersion fetches the Rocket.Chat version and logs a change.
func (s *server) noteVersion(ctx context.Context) {
	info, err := s.client.Info(ctx)
	if err != nil || info.Version == "" {
		return // the next session tries again
	}
	s.mu.Lock()
	was := s.version
	s.version = info.Version
	s.mu.Unlock()
	now, old := release(info.Version), release(was)
	switch {
	case was == info.Version:
		return
	case was != "" && slices.Compare(now[:], old[:]) < 0:
		s.log.Warn("Rocket.Chat was replaced by an older version; Rocket.Chat supports that from a backup only", "version", info.Version, "before", was)
	case slices.Compare(now[:], newestKnown[:]) > 0:
		s.log.Info("this Rocket.Chat is newer than the versions the bridge was tested with", "version", info.Version,
			"tested", fmt.Sprintf("%d.%d", newestKnown[0], newestKnown[1]))
	default:
		s.log.Info("the version of Rocket.Chat", "version", info.Version)
	}
	s.limits.Forget()
}

// release returns the first two numbers of a version.
func release(version string) (r [2]int) {
	_, _ = fmt.Sscanf(version, "%d.%d", &r[0], &r[1]) // anything but a number is 0
	return r
}

// noteSent records the result of sending a message. If the workspace accepts none,
// this is logged once, with what it means; messages wait meanwhile.
func (s *server) noteSent(err error) {
	restricted := rocketchat.Says(err, "restricted-workspace")
	if err != nil && !restricted {
		return
	}
	s.mu.Lock()
	was := s.restricted
	s.restricted = restricted
	s.mu.Unlock()
	switch {
	case restricted && !was:
		s.log.Error("Rocket.Chat is read-only: messages from Matrix wait", "meaning", restrictedMeans)
	case was && !restricted:
		s.log.Info("Rocket.Chat accepts messages again")
	}
}

// restrictedMeans is what "restricted-workspace" means to the operator.
const restrictedMeans = "this Rocket.Chat has no licence and could not report its statistics for several days, so it accepts no messages (restricted-workspace): " +
	"let it reach https://collector.rocket.chat, or register the workspace under Workspace > Registration; queued messages are then delivered"

// Problem returns why Rocket.Chat accepts no messages, for the operator; "" when it does.
func (s *server) Problem() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.restricted {
		return restrictedMeans
	}
	return ""
}

// Version returns the Rocket.Chat version, "" while it is unknown.
func (s *server) Version() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.version
}

// settingFor is how long a Rocket.Chat setting is cached.
const settingFor = 5 * time.Minute

// realNames reports whether Rocket.Chat shows display names in place of usernames:
// typing notifications must use the name it shows.
func (s *server) realNames(ctx context.Context) bool {
	s.mu.Lock()
	fresh, is := time.Since(s.askedNames) < settingFor, s.showsNames
	s.mu.Unlock()
	if fresh {
		return is
	}
	settings, err := s.client.PublicSettings(ctx, "UI_Use_Real_Name")
	if err != nil {
		return is
	}
	is = settings.On("UI_Use_Real_Name", false)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.askedNames, s.showsNames = time.Now(), is
	return is
}
