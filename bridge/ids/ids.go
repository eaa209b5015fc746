// Package ids names things on both networks, and decides which Matrix user stands for a
// Rocket.Chat user and the other way round. A raw string from a network becomes one of
// these types where it is decoded and stays one until it is encoded again. The string
// form is what is stored, so changing a format here needs a migration. The package does
// no I/O and does not know which names are taken: package relay asks the networks.
package ids

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"maunium.net/go/mautrix/id"
)

// Identifiers of the two networks. Users and rooms are identified by their IDs, never by
// a name that can change.
type (
	RCRoom    string       // a Rocket.Chat room, "GENERAL" or a random ID
	RCMessage string       // a Rocket.Chat message
	RCUser    string       // a Rocket.Chat user ID, not the username
	MXRoom    = id.RoomID  // "!opaque:server", or without a server in room version 12
	MXEvent   = id.EventID // "$opaque"
	MXUser    = id.UserID  // "@local:server"
)

// maxUserID is the limit of the Matrix specification (appendices, "User
// Identifiers") for a whole user ID, in bytes.
const maxUserID = 255

// maxUsername keeps a puppet's name readable in member lists. Rocket.Chat has
// no limit of its own.
const maxUsername = 64

// DefaultPrefix begins the localparts of Rocket.Chat users on a homeserver that also has
// users of its own, unless configured otherwise.
const DefaultPrefix = "rc_"

// maxPrefix leaves most of a user ID to the name, in bytes.
const maxPrefix = 32

var prefix = regexp.MustCompile(`^[a-z0-9._/+-]+$`)

// CheckPrefix returns what is wrong with a prefix, as the end of a sentence. It follows
// the grammar of localparts (spec, appendices, "User Identifiers") without "=", which
// begins escape sequences.
func CheckPrefix(s string) error {
	if !prefix.MatchString(s) || len(s) > maxPrefix {
		return fmt.Errorf("must have 1 to %d lower-case letters, digits and ._/+- (got %q)", maxPrefix, s)
	}
	return nil
}

// A Namespace is the set of users of a homeserver that stand for Rocket.Chat users.
type Namespace struct {
	Server string // the homeserver's domain
	Prefix string // begins localparts; "" if the appliance has the homeserver to itself
	Bot    string // localpart of the bridge's own user
}

// BotUser returns the bridge's own user.
func (n Namespace) BotUser() MXUser { return id.NewUserID(n.Bot, n.Server) }

// AliasPrefix begins those aliases of public channels that certainly belong to the
// bridge. The default is older than other prefixes.
func (n Namespace) AliasPrefix() string {
	if n.Prefix == "" || n.Prefix == DefaultPrefix {
		return "rocketchat_"
	}
	return n.Prefix
}

// Owns reports whether mx stands for a Rocket.Chat user or is the bot: whatever such a
// user does on Matrix was done by the bridge.
func (n Namespace) Owns(mx MXUser) bool {
	local, server, err := mx.Parse()
	if err != nil || server != n.Server {
		return false
	}
	return local == n.Bot || strings.HasPrefix(local, n.Prefix)
}

// Ghost returns the Matrix user for a Rocket.Chat username. Usernames are unique
// regardless of case, and Matrix localparts are lower case, so this is too. attempt > 0
// produces another name, for when the first one is taken. ok is false if the name does
// not fit into a Matrix user ID.
func (n Namespace) Ghost(username string, attempt int) (mx MXUser, ok bool) {
	local := encodeLocalpart(strings.ToLower(username))
	if n.Prefix == "" && isDigits(local) { // homeservers refuse names of digits only
		local = fmt.Sprintf("=%02x%s", local[0], local[1:])
	}
	if attempt > 0 {
		local += "-" + strconv.Itoa(attempt+1)
	}
	mx = id.NewUserID(n.Prefix+local, n.Server)
	return mx, local != "" && len(mx) <= maxUserID
}

// Username returns the Rocket.Chat username that Ghost made mx from, in lower case. ok is
// false if mx is not in the namespace, or is the bot.
func (n Namespace) Username(mx MXUser) (username string, ok bool) {
	local, server, err := mx.Parse()
	if err != nil || server != n.Server || local == n.Bot {
		return "", false
	}
	local, ok = strings.CutPrefix(local, n.Prefix)
	if !ok || local == "" {
		return "", false
	}
	return decodeLocalpart(local)
}

// encodeLocalpart escapes characters not allowed in a localpart as "=xx", UTF-8 bytes in
// hexadecimal (spec, appendices, "Mapping from other character sets").
func encodeLocalpart(s string) string {
	var b strings.Builder
	for i := range len(s) {
		switch c := s[i]; {
		case c >= 'a' && c <= 'z', c >= '0' && c <= '9', c == '.', c == '_', c == '-', c == '/', c == '+':
			b.WriteByte(c)
		default:
			fmt.Fprintf(&b, "=%02x", c)
		}
	}
	return b.String()
}

func decodeLocalpart(s string) (string, bool) {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] != '=' {
			b.WriteByte(s[i])
			continue
		}
		if i+2 >= len(s) {
			return "", false
		}
		c, err := strconv.ParseUint(s[i+1:i+3], 16, 8)
		if err != nil || s[i+1:i+3] != strings.ToLower(s[i+1:i+3]) {
			return "", false
		}
		b.WriteByte(byte(c))
		i += 2
	}
	return b.String(), true
}

func isDigits(s string) bool {
	return s != "" && strings.Trim(s, "0123456789") == ""
}

var notInUsername = regexp.MustCompile(`[^0-9a-zA-Z._-]+`)

// PuppetUsername returns the Rocket.Chat username for a Matrix user: "bob_example.org"
// for "@bob:example.org". It never contains "@" or ":", because Rocket.Chat takes a name
// with both for a user of its own, licensed federation. Names that had to be changed, and
// those requested with unique because the plain one is taken, end in some characters of a
// digest of the whole user ID. All are lower case: Rocket.Chat keeps the case of a
// username, and in some places the case matters.
func PuppetUsername(mx MXUser, unique bool) string {
	local, server, _ := mx.Parse()
	plain := local + "_" + server
	name := strings.ToLower(strings.Trim(notInUsername.ReplaceAllString(plain, "-"), "-"))
	if name == plain && len(name) <= maxUsername && !unique {
		return name
	}
	sum := sha256.Sum256([]byte(mx))
	return name[:min(len(name), maxUsername-9)] + "-" + hex.EncodeToString(sum[:4])
}

// MessageFor returns the Rocket.Chat message ID for a part of a Matrix event. It is
// always the same, so a repeated delivery cannot create a second message.
func MessageFor(room MXRoom, event MXEvent, part int) RCMessage {
	return RCMessage("mx" + digest(string(room), string(event), strconv.Itoa(part))[:22])
}

// Transaction returns the Matrix transaction ID for sending a part of a source item as a
// ghost. It includes the ghost, because Dendrite looks up transactions by access token,
// which all ghosts share.
func Transaction(ghost MXUser, item string, part int) string {
	return "rc" + digest(string(ghost), item, strconv.Itoa(part))[:40]
}

// digest returns 43 letters and digits that depend on all parts.
func digest(parts ...string) string {
	h := sha256.New()
	for _, p := range parts {
		fmt.Fprintf(h, "%d:%s", len(p), p)
	}
	return strings.NewReplacer("-", "a", "_", "b").Replace(base64.RawURLEncoding.EncodeToString(h.Sum(nil)))
}

// ParseUser reads a Matrix user ID as people type it: the leading "@" may be
// missing. The error is a sentence for the person who typed it.
func ParseUser(s string) (MXUser, error) {
	s = strings.TrimSpace(s)
	mx := MXUser("@" + strings.TrimPrefix(s, "@"))
	local, server, err := mx.ParseAndValidateRelaxed()
	if err != nil || local == "" || strings.ContainsAny(local[:1], "#!+$") || !validServer(server) {
		return "", fmt.Errorf("%q is not a Matrix address; one looks like @name:example.org", s)
	}
	return mx, nil
}

var serverName = regexp.MustCompile(`^([0-9A-Za-z]([0-9A-Za-z.-]*[0-9A-Za-z])?|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?$`)

// validServer follows the grammar of server names (spec, appendices).
func validServer(s string) bool { return len(s) <= 230 && serverName.MatchString(s) }
