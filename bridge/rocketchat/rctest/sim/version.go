package sim

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// DefaultVersion is the version that an Engine simulates unless it is told another.
const DefaultVersion = "8.6"

// A release is one version of Rocket.Chat as far as it differs from the others
// that the simulator knows. Each field is one habit; what all of them share is in
// the handlers. What 7.2 and 8.3 do was recorded from genuine servers; what 8.6
// does and 8.3 does not is read in its source and changelog.
type release struct {
	version string // all three numbers, as /api/info tells administrators

	refusesPlainly      bool   // 401 has an error beside the message
	forbiddenText       string // what 403 says where a room is not the caller's
	nullBodyRefused     bool   // GET with the body null is 400 and HTML
	archivedInfoRefused bool   // rooms.info of an archived room is 400
	failedCallIsOK      bool   // method.call answers 200 and success when the method fails
	inviteIsJoin        bool   // channels.invite leaves uj, not au
	unknownIsSelf       bool   // im.create drops unknown names: with none left it is a room with oneself
	joinedDirectID      bool   // the id of a direct room of two is made of their ids
	secretCounts        bool   // users.createToken wants the secret
	noFileName          bool   // rooms.mediaConfirm refuses fileName
	othersConfirm       bool   // rooms.mediaConfirm takes a file that another user has uploaded
	canBan              bool   // rooms.banUser exists
	noLimiter           bool   // the REST limiter is not enforced on v1
	roomFields          bool   // rooms and subscriptions have customFields
	namedRef            bool   // a member's name is in its own subscription
	fileGroups          bool   // typeGroup and fileId of files
	nullDescription     bool   // the attachment of a file sent with msg has description null, and edits go there
	calendar            bool   // settings.calendar and isOAuthUser of a user
	hidesPassword       bool   // services.password of oneself says exists, never bcrypt
	nullsUnset          bool   // integrations.update shows what it unsets as null
	lateAvatarETag      bool   // updateAvatar is sent before the user has the etag
	memberSubscription  bool   // im.members tells the subscription of each member
	bothLists           bool   // chat.syncMessages shows both lists, whichever is asked for
	strictNulls         bool   // members and roles are not null, where they are told
	historyCounts       bool   // histories tell count, offset and total, as their type says
	bulkSettings        bool   // POST settings exists
	bypassTokens        bool   // a token that bypasses two factors is believed
	allTokensPermitted  bool   // users.createToken asks no permission beside the secret
}

// releases is the one table of what depends on the version, by major.minor.
var releases = map[string]release{
	"7.2": {version: "7.2.0", forbiddenText: "unauthorized", nullBodyRefused: true, archivedInfoRefused: true, failedCallIsOK: true,
		inviteIsJoin: true, joinedDirectID: true, noFileName: true, othersConfirm: true, noLimiter: true, roomFields: true, bypassTokens: true},
	"8.3": {version: "8.3.0", refusesPlainly: true, forbiddenText: "unauthorized", archivedInfoRefused: true, unknownIsSelf: true,
		secretCounts: true, canBan: true, namedRef: true, fileGroups: true, nullDescription: true, calendar: true, hidesPassword: true,
		nullsUnset: true, lateAvatarETag: true, memberSubscription: true, bothLists: true, allTokensPermitted: true},
	"8.6": {version: "8.6.1", refusesPlainly: true, forbiddenText: "forbidden", unknownIsSelf: true, secretCounts: true, canBan: true,
		namedRef: true, fileGroups: true, calendar: true, hidesPassword: true, nullsUnset: true,
		lateAvatarETag: true, nullDescription: true, memberSubscription: true, bothLists: true, strictNulls: true, historyCounts: true, bulkSettings: true, bypassTokens: true},
}

// Versions lists what an Engine can be told to simulate, oldest first.
func Versions() []string { return slices.Sorted(maps.Keys(releases)) }

// releaseOf finds what version names: "" is the default, "8.6" and "8.6.1" are
// the same.
func releaseOf(version string) (release, error) {
	if version == "" {
		version = DefaultVersion
	}
	for short, r := range releases {
		if version == short || version == r.version {
			return r, nil
		}
	}
	return release{}, fmt.Errorf("version %q is none that can be simulated: take one of %s", version, strings.Join(Versions(), ", "))
}

// short is major.minor, which everybody may know.
func (r release) short() string { return r.version[:strings.LastIndexByte(r.version, '.')] }

// Version is what the simulated server calls itself: major.minor.patch.
func (e *Engine) Version() string { return e.rel.version }
