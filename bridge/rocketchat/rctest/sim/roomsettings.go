package sim

import (
	"encoding/json"
	"slices"
	"strings"
)

// roomFields maps each changeable field to its key and the system message it leaves.
var roomFields = map[string]struct{ key, t string }{
	"roomTopic": {"topic", "room_changed_topic"}, "roomDescription": {"description", "room_changed_description"},
	"roomAnnouncement": {"announcement", "room_changed_announcement"},
}

// saveRoomSettings is POST rooms.saveRoomSettings (facts 6.5).
func saveRoomSettings(c *call) (any, error) {
	r, err := c.findRoom(c.body, "cpd")
	if err != nil {
		return nil, err
	}
	if err := c.e.applyRoomSettings(c.user, r, c.body); err != nil {
		return nil, err
	}
	return Doc{"rid": r.id()}, nil
}

// applyRoomSettings changes what differs; the same value again does nothing.
func (e *Engine) applyRoomSettings(u, r, b Doc) error {
	if !e.may(u, "edit-room", r.id()) && !(r.str("t") == "d" && e.sub(r.id(), u.id()) != nil) {
		return meteorError("error-action-not-allowed", "Editing room is not allowed")
	}
	if b.has("roomName") {
		if err := e.rename(u, r, b.str("roomName")); err != nil {
			return err
		}
	}
	for _, field := range []string{"roomTopic", "roomDescription", "roomAnnouncement"} {
		if f := roomFields[field]; b.has(field) && b.str(field) != r.str(f.key) {
			changes := Doc{f.key: b.str(field)}
			if field == "roomAnnouncement" && e.rel.calendar {
				changes["announcementDetails"] = json.RawMessage("null")
			}
			e.setRoom(r.id(), changes)
			e.systemMessage(e.room(r.id()), f.t, b.str(field), u, nil)
		}
	}
	e.applyRoomFlags(u, r, b)
	if img := b.str("roomAvatar"); img != "" {
		return e.setRoomAvatar(u, r, img)
	}
	return nil
}

func (e *Engine) applyRoomFlags(u, r, b Doc) {
	for k, t := range map[string][2]string{"readOnly": {"room-set-read-only", "room-removed-read-only"},
		"reactWhenReadOnly": {"room-allowed-reacting", "room-disallowed-reacting"}, "encrypted": {"room_e2e_enabled", "room_e2e_disabled"}} {
		key := map[string]string{"readOnly": "ro"}[k]
		if key == "" {
			key = k
		}
		if !b.has(k) || b.flag(k) == r.flag(key) {
			continue
		}
		e.setRoom(r.id(), Doc{key: b.flag(k)})
		note := t[1]
		if b.flag(k) {
			note = t[0]
		}
		text := ""
		if k == "encrypted" {
			text = u.str("username")
		}
		e.systemMessage(e.room(r.id()), note, text, u, nil)
	}
	if b.has("systemMessages") {
		e.setRoom(r.id(), Doc{"sysMes": b.strs("systemMessages")})
	}
	if b.has("joinCode") {
		e.setRoom(r.id(), Doc{"joinCode": b.str("joinCode"), "joinCodeRequired": b.str("joinCode") != ""})
	}
	if b.has("roomCustomFields") {
		e.setRoom(r.id(), Doc{"customFields": b["roomCustomFields"]})
	}
	if t := b.str("roomType"); (t == "c" || t == "p") && t != r.str("t") {
		e.setType(u, r, t)
	}
}

func (e *Engine) setType(u, r Doc, t string) {
	e.setRoom(r.id(), Doc{"t": t})
	for _, s := range e.memberSubs(r.id()) {
		e.changeSub(s, Doc{"t": t})
	}
	e.systemMessage(e.room(r.id()), "room_changed_privacy", map[string]string{"c": "public", "p": "private"}[t], u, nil)
}

func (e *Engine) setRoom(rid string, changes Doc) Doc {
	r := e.changeRoom(e.room(rid), changes)
	e.emit("stream-room-data", rid, rid, r)
	return r
}

// rename checks the name against other rooms and leaves the message "r".
func (e *Engine) rename(u, r Doc, name string) error {
	if name == r.str("name") || name == r.str("fname") {
		return nil
	}
	if r.str("t") == "d" {
		return meteorError("error-action-not-allowed", "Renaming a direct message is not allowed")
	}
	slug, err := e.slug(name)
	if err != nil {
		return err
	}
	if r.str("prid") == "" {
		if other := e.roomNamed(slug); other != nil && other.id() != r.id() {
			return meteorError("error-duplicate-channel-name", "A channel with name '"+slug+"' exists")
		}
	} else {
		slug = r.str("name")
	}
	e.setRoom(r.id(), Doc{"name": slug, "fname": name})
	for _, s := range e.memberSubs(r.id()) {
		e.changeSub(s, Doc{"name": slug, "fname": name})
	}
	e.systemMessage(e.room(r.id()), "r", name, u, nil)
	return nil
}

// roomRename is POST channels.rename and groups.rename.
func roomRename(c *call) (any, error) {
	r, err := c.findRoom(c.body, c.types())
	if err != nil {
		return nil, err
	}
	if r.str("name") == c.body.str("name") {
		return nil, textError("The " + kindName(c.types()) + " name is the same as what it would be renamed to.")
	}
	if err := c.e.applyRoomSettings(c.user, r, Doc{"roomName": c.body.str("name")}); err != nil {
		return nil, err
	}
	return Doc{c.kind(): c.e.room(r.id())}, nil
}

// roomSet is setTopic, setAnnouncement, setDescription and setPurpose of all
// families: the value is returned.
func roomSet(field, key string) func(*call) (any, error) {
	return func(c *call) (any, error) {
		r, err := c.findRoom(c.body, c.types())
		if err != nil {
			return nil, err
		}
		if key == "topic" && r.str("topic") == c.body.str(key) {
			return nil, textError("The " + kindName(c.types()) + " topic is the same as what it would be changed to.")
		}
		if err := c.e.applyRoomSettings(c.user, r, Doc{field: c.body.str(key)}); err != nil {
			return nil, err
		}
		return Doc{key: c.body.str(key)}, nil
	}
}

// setReadOnly is POST channels.setReadOnly and groups.setReadOnly.
func setReadOnly(c *call) (any, error) {
	r, err := c.findRoom(c.body, c.types())
	if err != nil {
		return nil, err
	}
	if r.flag("ro") == c.body.flag("readOnly") {
		return nil, textError("The " + kindName(c.types()) + " read only setting is the same as what it would be changed to.")
	}
	if err := c.e.applyRoomSettings(c.user, r, c.body.only("readOnly")); err != nil {
		return nil, err
	}
	return Doc{c.kind(): c.e.room(r.id())}, nil
}

// setTypeCall is POST channels.setType and groups.setType.
func setTypeCall(c *call) (any, error) {
	r, err := c.findRoom(c.body, c.types())
	if err != nil {
		return nil, err
	}
	if err := c.e.applyRoomSettings(c.user, r, Doc{"roomType": c.body.str("type")}); err != nil {
		return nil, err
	}
	return Doc{c.kind(): c.e.room(r.id())}, nil
}

// setCustomFields is POST channels.setCustomFields and groups.setCustomFields.
func setCustomFields(c *call) (any, error) {
	r, err := c.findRoom(c.body, c.types())
	if err != nil {
		return nil, err
	}
	if err := c.e.applyRoomSettings(c.user, r, Doc{"roomCustomFields": c.body["customFields"]}); err != nil {
		return nil, err
	}
	return Doc{c.kind(): c.e.room(r.id())}, nil
}

// roomArchive is channels.archive, groups.archive and their opposites.
func roomArchive(on bool) func(*call) (any, error) {
	return func(c *call) (any, error) {
		r, err := c.findRoom(c.body, c.types())
		if err != nil {
			return nil, err
		}
		return Doc{}, c.e.archive(c.user, r, on)
	}
}

// changeArchivation is POST rooms.changeArchivationState.
func changeArchivation(c *call) (any, error) {
	r, err := c.findRoom(c.body, "cp")
	if err != nil {
		return nil, err
	}
	return Doc{}, c.e.archive(c.user, r, c.body.str("action") == "archive")
}

func (e *Engine) archive(u, r Doc, on bool) error {
	perm, note := "unarchive-room", "room-unarchived"
	if on {
		perm, note = "archive-room", "room-archived"
	}
	if !e.may(u, perm, r.id()) {
		return meteorError("error-not-authorized", "Not authorized")
	}
	if r.flag("archived") == on {
		return nil
	}
	e.setRoom(r.id(), Doc{"archived": on})
	for _, s := range e.memberSubs(r.id()) {
		e.changeSub(s, Doc{"archived": on, "open": !on, "alert": false})
	}
	e.systemMessage(e.room(r.id()), note, "", u, nil)
	return nil
}

// Roles in a room (facts 6.5).

// roomRole is add/removeOwner, add/removeModerator and add/removeLeader.
func roomRole(role string, add bool) func(*call) (any, error) {
	return func(c *call) (any, error) {
		r, err := c.findRoom(c.body, c.types())
		if err != nil {
			return nil, err
		}
		u, err := c.target(c.body)
		if err != nil {
			return nil, err
		}
		return Doc{}, c.e.changeRoomRole(c.user, r, u, role, add)
	}
}

func (e *Engine) changeRoomRole(by, r, u Doc, role string, add bool) error {
	s := e.sub(r.id(), u.id())
	if err := e.roomRoleProblem(by, r, s, role, add); err != nil {
		verb := "remove"
		if add {
			verb = "add"
		}
		return err.in(verb + "Room" + strings.ToUpper(role[:1]) + role[1:])
	}
	roles, note := removeFrom(s.strs("roles"), role), "subscription-role-removed"
	if add {
		roles, note = addTo(s.strs("roles"), role), "subscription-role-added"
	}
	e.changeSub(s, Doc{"roles": roles})
	e.systemMessage(r, note, u.str("username"), by, Doc{"role": role})
	return nil
}

func (e *Engine) roomRoleProblem(by, r, s Doc, role string, add bool) *fault {
	has := slices.Contains(s.strs("roles"), role)
	what := "a " + role
	if role == "owner" {
		what = "an owner"
	}
	switch {
	case !e.may(by, "set-"+role, r.id()):
		return meteorError("error-not-allowed", "Not allowed")
	case s == nil:
		return meteorError("error-user-not-in-room", "User is not in this room")
	case add && has:
		return meteorError("error-user-already-"+role, "User is already "+what)
	case !add && !has:
		return meteorError("error-user-not-"+role, "User is not "+what)
	case !add && role == "owner" && e.owners(r.id()) == 1:
		return meteorError("error-remove-last-owner", "This is the last owner. Please set a new owner before removing this one.")
	}
	return nil
}

func (e *Engine) roomRoles(rid string) []Doc {
	l := []Doc{}
	for _, s := range e.memberSubs(rid) {
		if roles := s.strs("roles"); len(roles) > 0 {
			l = append(l, Doc{"_id": s.id(), "rid": rid, "u": e.refOf(s.doc("u")), "roles": roles})
		}
	}
	return l
}

// rolesOfRoom is GET channels.roles, groups.roles and rooms.roles.
func rolesOfRoom(c *call) (any, error) {
	r, err := c.findRoom(c.where(), firstText(c.types(), "cp"))
	if err != nil {
		return nil, err
	}
	return Doc{"roles": c.e.roomRoles(r.id())}, nil
}

// moderators is GET channels.moderators and groups.moderators.
func moderators(c *call) (any, error) {
	r, err := c.findRoom(c.where(), c.types())
	if err != nil {
		return nil, err
	}
	l := []any{}
	for _, s := range c.e.roomRoles(r.id()) {
		if slices.Contains(s.strs("roles"), "moderator") {
			l = append(l, s["u"])
		}
	}
	return Doc{"moderators": l}, nil
}

// roomCounters is GET channels.counters, groups.counters and im.counters.
func roomCounters(c *call) (any, error) {
	r, err := c.findRoom(c.where(), c.types())
	if err != nil {
		return nil, err
	}
	u := c.user
	if id := c.q.Get("userId"); id != "" {
		u = c.e.user(id)
	}
	s := c.e.sub(r.id(), u.id())
	d := Doc{"joined": s != nil, "members": r["usersCount"], "msgs": r["msgs"], "latest": firstTime(r, "lm", "ts"),
		"unreads": s.num("unread"), "userMentions": s.num("userMentions")}
	if s != nil {
		d["unreadsFrom"] = firstTime(s, "ls", "ts")
	}
	return d, nil
}

func firstTime(d Doc, keys ...string) any {
	for _, k := range keys {
		if d.has(k) {
			return d[k]
		}
	}
	return nil
}

// roomMute is POST rooms.muteUser and rooms.unmuteUser.
func roomMute(on bool) func(*call) (any, error) {
	return func(c *call) (any, error) {
		r, u, err := c.roomAndPerson()
		if err != nil {
			return nil, err
		}
		return Doc{}, c.e.mute(c.user, r, u, on)
	}
}

func (c *call) roomAndPerson() (r, u Doc, err error) {
	if r, err = c.findRoom(c.body, "cp"); err != nil {
		return nil, nil, err
	}
	u, err = c.target(c.body)
	return r, u, err
}

func (e *Engine) mute(by, r, u Doc, on bool) error {
	if !e.may(by, "mute-user", r.id()) {
		return meteorError("error-not-allowed", "Not allowed")
	}
	if e.sub(r.id(), u.id()) == nil {
		return meteorError("error-user-not-in-room", "User is not in this room")
	}
	name := u.str("username")
	muted, unmuted, note := removeFrom(r.strs("muted"), name), addTo(r.strs("unmuted"), name), "user-unmuted"
	if on {
		muted, unmuted, note = addTo(r.strs("muted"), name), removeFrom(r.strs("unmuted"), name), "user-muted"
	}
	changes := Doc{"muted": muted}
	if r.flag("ro") {
		changes["unmuted"] = unmuted
	}
	e.setRoom(r.id(), changes)
	e.systemMessage(e.room(r.id()), note, name, by, nil)
	return nil
}

// roomBan is POST rooms.banUser and rooms.unbanUser (8.3+).
func roomBan(on bool) func(*call) (any, error) {
	return func(c *call) (any, error) {
		r, u, err := c.roomAndPerson()
		if err != nil {
			return nil, err
		}
		if !c.e.may(c.user, "ban-user", r.id()) {
			return nil, meteorError("error-not-allowed", "Not allowed")
		}
		return Doc{}, c.e.ban(c.user, r, u, on)
	}
}

func (e *Engine) ban(by, r, u Doc, on bool) error {
	if !on {
		e.setRoom(r.id(), Doc{"banned": removeFrom(r.strs("banned"), u.id())})
		e.systemMessage(e.room(r.id()), "user-unbanned", u.str("username"), by, nil)
		return nil
	}
	if s := e.sub(r.id(), u.id()); s != nil {
		if slices.Contains(s.strs("roles"), "owner") && e.owners(r.id()) == 1 {
			return meteorError("error-you-are-last-owner", "You are the last owner. Please set new owner before leaving the room.")
		}
		e.removeSub(s)
	}
	e.setRoom(r.id(), Doc{"banned": addTo(r.strs("banned"), u.id())})
	e.systemMessage(e.room(r.id()), "user-banned", u.str("username"), by, nil)
	return nil
}

// bannedUsers is GET rooms.bannedUsers.
func bannedUsers(c *call) (any, error) {
	r, err := c.findRoom(c.where(), "cp")
	if err != nil {
		return nil, err
	}
	var l []Doc
	for _, id := range r.strs("banned") {
		if u := c.e.user(id); u != nil {
			l = append(l, u.only("_id", "username", "name"))
		}
	}
	return c.paged("bannedUsers", l), nil
}

func trimDataURI(s string) (kind, data string, ok bool) {
	rest, ok := strings.CutPrefix(s, "data:")
	if !ok {
		return "", "", false
	}
	return strings.Cut(rest, ";base64,")
}

// refOf returns a person as lists of roles show it: with the display name only if
// the version does so.
func (e *Engine) refOf(u Doc) Doc {
	if e.rel.namedRef {
		return u
	}
	return u.only("_id", "username")
}
