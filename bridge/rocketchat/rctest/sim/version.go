package sim

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// DefaultVersion is the version that an Engine simulates by default.
const DefaultVersion = "8.6"

// A release describes how one version of Rocket.Chat differs from the others that
// the simulator supports. Each field is one habit; what all of them share is in the
// handlers. The behaviour of 7.2 and 8.3 was recorded from genuine servers; where
// 8.6 differs from 8.3, it follows its source and changelog.
type release struct {
	version string // all three numbers, as /api/info shows administrators

	refusesPlainly      bool   // 401 has an error besides the message
	forbiddenText       string // text of 403 for a room that is not the caller's
	nullBodyRefused     bool   // GET with the body null is 400 and HTML
	archivedInfoRefused bool   // rooms.info of an archived room is 400
	failedCallIsOK      bool   // method.call answers 200 and success when the method fails
	inviteIsJoin        bool   // channels.invite leaves uj, not au
	unknownIsSelf       bool   // im.create drops unknown names: with none left it is a room with oneself
	joinedDirectID      bool   // the id of a direct room of two consists of their ids
	secretCounts        bool   // users.createToken requires the secret
	noFileName          bool   // rooms.mediaConfirm refuses fileName
	othersConfirm       bool   // rooms.mediaConfirm accepts a file uploaded by another user
	canBan              bool   // rooms.banUser exists
	noLimiter           bool   // the REST limiter is not enforced on v1
	roomFields          bool   // rooms and subscriptions have customFields
	namedRef            bool   // a member's name is in its own subscription
	fileGroups          bool   // typeGroup and fileId of files
	nullDescription     bool   // the attachment of a file sent with msg has description null, and edits go there
	calendar            bool   // settings.calendar and isOAuthUser of a user
	hidesPassword       bool   // one's own services.password has exists, never bcrypt
	nullsUnset          bool   // integrations.update shows what it unsets as null
	lateAvatarETag      bool   // updateAvatar is sent before the user has the etag
	memberSubscription  bool   // im.members includes the subscription of each member
	bothLists           bool   // chat.syncMessages shows both lists, whichever is asked for
	strictNulls         bool   // members and roles are not null where they are given
	historyCounts       bool   // histories include count, offset and total, as their type says
	bulkSettings        bool   // POST settings exists
	bypassTokens        bool   // a token that bypasses the second factor is accepted
	allTokensPermitted  bool   // users.createToken requires no permission besides the secret
}

// releases is the one table of version-dependent behaviour, by major.minor.
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

// Versions lists the versions that an Engine can simulate, oldest first.
func Versions() []string { return slices.Sorted(maps.Keys(releases)) }

// releaseOf finds the release that version names: "" is the default, "8.6" and
// "8.6.1" are the same.
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

// short returns major.minor, which everybody may see.
func (r release) short() string { return r.version[:strings.LastIndexByte(r.version, '.')] }

// Version returns the simulated server's own version: major.minor.patch.
func (e *Engine) Version() string { return e.rel.version }
