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

// newestKnown is the newest Rocket.Chat whose behaviour was looked at. A newer one is
// used all the same.
var newestKnown = [2]int{8, 8}

// server is what is known of the Rocket.Chat itself.
type server struct {
	*accounts
	limits model.RememberedLimits
	speech speech

	mu         sync.Mutex
	version    string
	restricted bool
	kinds      map[string]bool // of system messages that were logged
	askedNames time.Time       // when showsNames was asked for
	showsNames bool
}

// maxKinds bounds of how many unknown kinds it is written down that they were logged.
const maxKinds = 100

// ignored are the kinds of system messages that are known and have no place on Matrix.
var ignored = []string{
	"ui", "uir", "wm", "room_changed_description", "room-allowed-reacting", "room-disallowed-reacting", "room_e2e_enabled", "room_e2e_disabled",
	"new-owner", "owner-removed", "new-moderator", "moderator-removed", "new-leader", "leader-removed", "user-muted", "user-unmuted", "mute_unmute",
	"message_pinned", "message_pinned_e2e", "command", "e2e", "otr", "otr-ack", "abac-removed-user-from-room", "message_snippeted", "jitsi_call_started",
	"user-converted-to-team", "user-converted-to-channel", "user-removed-room-from-team", "user-deleted-room-from-team", "user-added-room-to-team",
}

// unknownKind says once of each kind of system message that nobody knows here that it
// does not cross: a newer server may have new ones.
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
	s.log.Info("a kind of system message of Rocket.Chat is not known to this version of the bridge and does not cross", "kind", kind)
}

// noteVersion asks which Rocket.Chat it is and says when that has changed.
func (s *server) noteVersion(ctx context.Context) {
	info, err := s.client.Info(ctx)
	if err != nil || info.Version == "" {
		return // the next session asks again
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
		s.log.Info("this Rocket.Chat is newer than those that the bridge was tested with", "version", info.Version,
			"tested", fmt.Sprintf("%d.%d", newestKnown[0], newestKnown[1]))
	default:
		s.log.Info("the version of Rocket.Chat", "version", info.Version)
	}
	s.limits.Forget()
}

// release returns the first two numbers of a version.
func release(version string) (r [2]int) {
	_, _ = fmt.Sscanf(version, "%d.%d", &r[0], &r[1]) // what is no number is 0
	return r
}

// noteSent takes what became of a message. A workspace that takes none is said once,
// with what it means; messages wait meanwhile.
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
		s.log.Error("Rocket.Chat has made itself read-only: what people on Matrix write waits", "meaning", restrictedMeans)
	case was && !restricted:
		s.log.Info("Rocket.Chat takes messages again")
	}
}

// restrictedMeans is what "restricted-workspace" means to the operator.
const restrictedMeans = "this Rocket.Chat has no licence and could not report its statistics for some days, so that it takes no messages (restricted-workspace): " +
	"let it reach https://collector.rocket.chat, or register the workspace under Workspace > Registration; queued messages are then delivered"

// Problem returns why Rocket.Chat takes no messages, for the operator; "" when it does.
func (s *server) Problem() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.restricted {
		return restrictedMeans
	}
	return ""
}

// Version returns which Rocket.Chat it is, "" while that is not known.
func (s *server) Version() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.version
}

// settingFor is how long a setting of Rocket.Chat's is remembered.
const settingFor = 5 * time.Minute

// realNames reports whether Rocket.Chat shows display names in place of
// usernames: typing goes by what it shows.
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
