package sim

import (
	"encoding/json"
	"net/url"
	"regexp"
	"slices"
	"strings"
)

// publicUser returns what everybody sees of a user.
func publicUser(u Doc) Doc {
	return u.only("_id", "username", "name", "nickname", "bio", "status", "statusText", "type", "active", "avatarETag",
		"utcOffset", "federated", "_updatedAt")
}

// fullUser is what view-full-other-user-info adds.
func fullUser(u Doc) Doc {
	return u.without("services", "preferences")
}

// storedUser returns a user as the endpoints that change users show it.
func (e *Engine) storedUser(u Doc) Doc {
	d := fullUser(u).with(Doc{"settings": Doc{}})
	if e.rel.calendar && !d.has("inactiveReason") {
		d["inactiveReason"] = json.RawMessage("null")
	}
	return d
}

// ownUser returns what users.updateOwnBasicInfo shows: in 7.x with all secrets.
func (e *Engine) ownUser(u Doc) Doc {
	d := e.storedUser(u).with(Doc{"settings": e.profileOf(), "services": e.ownServices(u, true)})
	if e.rel.calendar {
		d["avatarUrl"], d["isOAuthUser"] = e.avatarURL(u), false
	}
	return d
}

func (e *Engine) avatarURL(u Doc) string { return e.siteURL() + "/avatar/" + u.str("username") }

func (e *Engine) profileOf() Doc {
	d := Doc{"profile": Doc{}}
	if e.rel.calendar {
		d["calendar"] = Doc{}
	}
	return d
}

// ownServices returns a person's own means of signing in, as that person sees them.
func (e *Engine) ownServices(u Doc, afterChange bool) Doc {
	has := u.doc("services").doc("password").str("digest") != ""
	if e.rel.hidesPassword {
		return Doc{"password": Doc{"exists": has}}
	}
	d := Doc{}
	if has {
		d["password"] = Doc{"bcrypt": "$2b$10$" + u.doc("services").doc("password").str("digest")}
	}
	if l := loginTokens(u); afterChange && len(l) > 0 {
		d["resume"] = Doc{"loginTokens": anyList(l)}
	}
	return d
}

// meView returns the caller's own account (GET me, login).
func (e *Engine) meView(u Doc, login bool) Doc {
	d := u.only("_id", "username", "emails", "roles", "status", "statusConnection", "statusDefault", "statusText", "active", "_updatedAt",
		"name", "nickname", "bio", "avatarOrigin", "avatarETag", "utcOffset", "customFields", "requirePasswordChange").with(Doc{
		"avatarUrl": e.avatarURL(u), "settings": e.profileOf().with(Doc{"preferences": e.preferences(u)})})
	if !login || e.rel.hidesPassword {
		d["services"] = Doc{"password": Doc{"exists": u.doc("services").doc("password").str("digest") != ""}}
	} else {
		d["services"] = e.ownServices(u, false)
	}
	if !login || e.rel.calendar {
		d["isOAuthUser"] = false
	}
	if l := u.docs("emails"); len(l) > 0 && l[0].flag("verified") {
		d["email"] = l[0].str("address")
	}
	return d
}

// preferences returns what a person has set, on top of the defaults.
func (e *Engine) preferences(u Doc) Doc {
	d := preferences
	if !e.rel.calendar {
		d = d.without("desktopNotificationVoiceCalls")
	}
	return d.with(u.doc("preferences"))
}

// preferences are the defaults, as a genuine server shows them.
var preferences = Doc{"enableAutoAway": true, "idleTimeLimit": 300, "desktopNotificationRequireInteraction": false,
	"desktopNotifications": "all", "desktopNotificationVoiceCalls": true, "pushNotifications": "all", "unreadAlert": true,
	"useEmojis": true, "convertAsciiEmoji": true, "autoImageLoad": true, "saveMobileBandwidth": true, "collapseMediaByDefault": false,
	"hideUsernames": false, "hideRoles": false, "hideFlexTab": false, "displayAvatars": true, "sidebarGroupByType": true,
	"themeAppearence": "auto", "sidebarViewMode": "medium", "sidebarDisplayAvatar": true, "sidebarShowUnread": false,
	"sidebarSortby": "activity", "showThreadsInMainChannel": false, "alsoSendThreadToChannel": "default", "sidebarShowFavorites": true,
	"sendOnEnter": "normal", "emailNotificationMode": "mentions", "newRoomNotification": "door", "newMessageNotification": "chime",
	"muteFocusedConversations": true, "masterVolume": 100, "notificationsSoundVolume": 100, "voipRingerVolume": 100,
	"omnichannelTranscriptEmail": false, "notifyCalendarEvents": true, "enableMobileRinging": true,
	"sidebarSectionsOrder": []any{"Incoming_Calls", "Incoming_Livechats", "Open_Livechats"}, "featuresPreview": "[]"}

func (e *Engine) viewUser(viewer, u Doc) Doc {
	if viewer.id() == u.id() || e.may(viewer, "view-full-other-user-info", "") {
		d := fullUser(u).without("_updatedAt", "avatarOrigin", "statusDefault", "utcOffset")
		if viewer.id() == u.id() && !e.rel.hidesPassword {
			d["services"] = e.ownServices(u, true)
		}
		return d
	}
	return publicUser(u).without("_updatedAt")
}

var systemNames = []string{"all", "here", "admin", "administrator", "system", "user"}

// usernameProblem checks form and availability (facts 3.1); case does not matter.
func (e *Engine) usernameProblem(name string) error {
	re, err := regexp.Compile("^" + e.settingText("UTF8_User_Names_Validation") + "$")
	if err != nil || !re.MatchString(name) {
		return meteorError("error-input-is-not-a-valid-field", name+" is not a valid username").with(
			Doc{"method": "insertOrUpdateUser", "input": name, "field": "Username"})
	}
	blocked := append(e.settingWords("Accounts_BlockedUsernameList"), systemNames...)
	taken := slices.ContainsFunc(blocked, func(b string) bool { return strings.EqualFold(b, name) })
	if taken || e.userNamed(name) != nil {
		return meteorError("error-field-unavailable", name+" is already in use :(").with(Doc{"method": "insertOrUpdateUser", "field": name})
	}
	return nil
}

// nameProblem refuses < > \ / even when they are percent-encoded.
func nameProblem(name string) error {
	plain, err := url.PathUnescape(name)
	if err != nil || strings.ContainsAny(plain, `<>\/`) {
		return textError("Name contains invalid characters")
	}
	return nil
}

var emailForm = regexp.MustCompile(`^[^\s@]+@[^\s@]+$`)

func (e *Engine) emailProblem(addr, exceptUser string) error {
	if !emailForm.MatchString(addr) {
		return meteorError("error-invalid-email", "Invalid email "+addr).with(Doc{"email": addr})
	}
	domains := e.settingWords("Accounts_AllowedDomainsList")
	if _, domain, _ := strings.Cut(addr, "@"); len(domains) > 0 && !slices.Contains(domains, domain) {
		return meteorError("error-invalid-domain", "The e-mail address domain is not allowed")
	}
	if u := e.userMailed(addr); u != nil && u.id() != exceptUser {
		return meteorError("error-field-unavailable", addr+" is already in use :(").with(Doc{"method": "insertOrUpdateUser", "field": addr})
	}
	return nil
}

// usersCreate is POST users.create (facts 3.1).
func usersCreate(c *call) (any, error) {
	e, b := c.e, c.body
	if !e.may(c.user, "create-user", "") {
		return nil, meteorError("error-action-not-allowed", "Adding user is not allowed").with(
			Doc{"method": "insertOrUpdateUser", "action": "Adding_user"})
	}
	err := firstError(nameProblem(b.str("name")), e.usernameProblem(b.str("username")), e.emailProblem(b.str("email"), ""),
		e.rolesProblem(c.user, b.strs("roles")), e.customFieldsProblem(b.doc("customFields")))
	if err != nil {
		return nil, err
	}
	if e.seats > 0 && e.activeSeats() >= e.seats {
		return nil, meteorError("error-license-user-limit-reached", "License user limit reached")
	}
	u := e.put(users, e.newUser(b))
	if v, ok := b["joinDefaultChannels"].(bool); !ok || v {
		e.joinDefaults(u)
	}
	return Doc{"user": e.storedUser(u)}, nil
}

// activeSeats counts as facts 3.4 do: type app and bot are free, a role bot is not.
func (e *Engine) activeSeats() (n int) {
	for _, u := range e.data.colls[users] {
		guest := slices.Equal(u.strs("roles"), []string{"guest"})
		if u.flag("active") && !guest && u.str("type") == "user" {
			n++
		}
	}
	return n
}

func (e *Engine) newUser(b Doc) Doc {
	services := Doc{"password": Doc{"digest": digest(b.str("password"))}}
	if e.settingOn("Accounts_TwoFactorAuthentication_By_Email_Auto_Opt_In") {
		services["email2fa"] = Doc{"enabled": true}
	}
	u := Doc{"_id": newID(), "username": b.str("username"), "name": b.str("name"), "type": "user", "status": "offline",
		"active": true, "createdAt": e.now(), "roles": []string{"user"}, "services": services,
		"emails": []any{Doc{"address": b.str("email"), "verified": b.flag("verified")}}}
	if roles := b.strs("roles"); len(roles) > 0 {
		u["roles"] = roles
	}
	for _, k := range []string{"active", "bio", "nickname", "statusText", "requirePasswordChange", "customFields"} {
		if b.has(k) {
			u[k] = b[k]
		}
	}
	return u
}

func (e *Engine) rolesProblem(by Doc, roles []string) error {
	for _, r := range roles {
		if roleNames[r] == "" {
			return meteorError("error-invalid-role", "Invalid role")
		}
		if !e.may(by, "assign-roles", "") && r != "user" {
			return meteorError("error-action-not-allowed", "Assigning roles is not allowed")
		}
	}
	return nil
}

func (e *Engine) customFieldsProblem(fields Doc) error {
	if len(fields) == 0 {
		return nil
	}
	known, _ := decodeDoc([]byte(e.settingText("Accounts_CustomFields")), false)
	for k := range fields {
		if !known.has(k) {
			return meteorError("error-user-registration-custom-field", "Invalid custom field "+k)
		}
	}
	return nil
}

// usersRegister is POST users.register.
func usersRegister(c *call) (any, error) {
	e, b := c.e, c.body
	if c.user != nil {
		return nil, textError("Logged in users can not register again.")
	}
	if e.settingText("Accounts_RegistrationForm") != "Public" {
		return nil, meteorError("registration-disabled", "User registration is disabled")
	}
	if err := firstError(nameProblem(b.str("name")), e.usernameProblem(b.str("username")), e.emailProblem(b.str("email"), "")); err != nil {
		return nil, err
	}
	u := e.put(users, e.newUser(Doc{"username": b.str("username"), "name": b.str("name"), "email": b.str("email"), "password": b.str("pass")}))
	e.joinDefaults(u)
	return Doc{"user": publicUser(u)}, nil
}

// target finds the user that userId, username or user names.
func (c *call) target(from Doc) (Doc, error) {
	u := firstDoc(c.e.user(from.str("userId")), c.e.userNamed(from.str("username")), c.e.userNamed(from.str("user")),
		c.e.user(from.str("user")))
	if u == nil {
		return nil, meteorError("error-invalid-user", "The required \"userId\" or \"username\" param provided does not match any users")
	}
	return u, nil
}

// usersInfo is GET users.info; an unknown user is the plain text "User not found."
func usersInfo(c *call) (any, error) {
	u, err := c.target(queryDoc(c.q))
	if err != nil {
		return nil, textError("User not found.")
	}
	d := c.e.viewUser(c.user, u)
	if c.user.id() == u.id() || c.e.may(c.user, "view-full-other-user-info", "") {
		d["canViewAllInfo"] = true
	}
	if c.q.Get("includeUserRooms") == "true" {
		d = d.with(Doc{"rooms": c.e.userRooms(u)})
	}
	return Doc{"user": d}, nil
}

func (e *Engine) userRooms(u Doc) []Doc {
	var l []Doc
	for _, s := range e.subsOf(u.id()) {
		l = append(l, s.only("rid", "name", "t", "roles", "unread"))
	}
	return l
}

// usersList is GET users.list.
func usersList(c *call) (any, error) {
	if !c.e.may(c.user, "view-d-room", "") {
		return nil, noPermission()
	}
	var l []Doc
	for _, u := range c.e.listed(users, "username") {
		l = append(l, c.e.viewUser(c.user, u).without("createdAt", "services").with(
			Doc{"nameInsensitive": strings.ToLower(u.str("name"))}))
	}
	return c.paged("users", l), nil
}

// usersUpdate is POST users.update (facts 3.5), 2FA.
func usersUpdate(c *call) (any, error) {
	e := c.e
	u := e.user(c.body.str("userId"))
	if u == nil {
		return nil, meteorError("error-invalid-user", "The required \"userId\" param provided does not match any users")
	}
	if u.flag("federated") {
		return nil, meteorError("error-user-is-federated", "Cannot edit federated users")
	}
	data := c.body.doc("data")
	if u.id() != c.user.id() && !e.may(c.user, "edit-other-user-info", "") {
		return nil, meteorError("error-action-not-allowed", "Editing user is not allowed")
	}
	if err := e.profileProblem(c.user, u, data); err != nil {
		return nil, err
	}
	return Doc{"user": e.storedUser(e.editUser(u, data))}, nil
}

func (e *Engine) profileProblem(by, u, data Doc) error {
	var errs []error
	if data.has("name") {
		errs = append(errs, nameProblem(data.str("name")))
	}
	if n := data.str("username"); n != "" && !strings.EqualFold(n, u.str("username")) {
		errs = append(errs, e.usernameProblem(n))
	}
	if data.has("email") {
		errs = append(errs, e.emailProblem(data.str("email"), u.id()))
	}
	errs = append(errs, e.rolesProblem(by, data.strs("roles")), e.customFieldsProblem(data.doc("customFields")))
	return firstError(errs...)
}

// editUser applies checked changes, renames everywhere and notifies everybody.
func (e *Engine) editUser(u, data Doc) Doc {
	changes := data.only("name", "username", "bio", "nickname", "statusText", "roles", "active", "requirePasswordChange",
		"customFields", "language")
	if data.has("email") {
		changes["emails"] = []any{Doc{"address": data.str("email"), "verified": data.flag("verified")}}
	}
	if p := data.str("password"); p != "" {
		changes["services"] = u.doc("services").with(Doc{"password": Doc{"digest": digest(p)}})
	}
	old := u
	u = e.update(users, u, changes)
	if old.str("name") != u.str("name") || old.str("username") != u.str("username") {
		e.renamed(old, u)
	}
	if changes.has("statusText") || changes.has("status") {
		e.emitStatus(u)
	}
	return u
}

// renamed carries a new name into subscriptions and messages, as far as
// Rocket.Chat does: reactions keep the old username (facts 12.6.8).
func (e *Engine) renamed(old, u Doc) {
	who := Doc{"_id": u.id(), "username": u.str("username"), "name": u.str("name")}
	for _, s := range e.subsOf(u.id()) {
		e.changeSub(s, Doc{"u": who})
		if r := e.room(s.str("rid")); r.str("t") == "d" {
			names := removeFrom(r.strs("usernames"), old.str("username"))
			e.update(rooms, r, Doc{"usernames": addTo(names, u.str("username"))})
		}
	}
	for _, l := range e.data.inRoom {
		for _, m := range slices.Clone(l) {
			if m.doc("u").id() == u.id() {
				e.change(op{messages, m.id(), m.with(Doc{"u": who})})
			}
		}
	}
	if old.str("username") != u.str("username") || e.settingOn("UI_Use_Real_Name") {
		e.emit("stream-notify-logged", "Users:NameChanged", "", u.only("_id", "name", "username"))
	}
}

// updateOwn is POST users.updateOwnBasicInfo (facts 12.4).
func updateOwn(c *call) (any, error) {
	e, data := c.e, c.body.doc("data")
	if !e.settingOn("Accounts_AllowUserProfileChange") {
		return nil, meteorError("error-not-allowed", "Not allowed")
	}
	if data.has("name") && !e.settingOn("Accounts_AllowRealNameChange") {
		return nil, meteorError("error-not-allowed", "Not allowed")
	}
	if data.has("email") || data.has("newPassword") {
		if err := c.checkTwoFactor(false); err != nil {
			return nil, err
		}
	}
	if err := e.profileProblem(c.user, c.user, data); err != nil {
		return nil, err
	}
	if t := data.str("statusType"); t != "" {
		c.user = e.update(users, c.user, Doc{"statusDefault": t})
	}
	return Doc{"user": e.ownUser(e.editUser(c.user, data.with(Doc{"password": data["newPassword"], "roles": nil, "active": nil})))}, nil
}

// setActive is POST users.setActiveStatus (facts 3.5).
func setActive(c *call) (any, error) {
	e := c.e
	if !e.may(c.user, "edit-other-user-active-status", "") && !e.may(c.user, "manage-moderation-actions", "") {
		return nil, noPermission()
	}
	u := e.user(c.body.str("userId"))
	if u == nil {
		return nil, meteorError("error-invalid-user", "Invalid user")
	}
	active := c.body.flag("activeStatus")
	if last := e.lastOwnerOf(u.id()); !active && len(last) > 0 && !c.body.flag("confirmRelinquish") {
		return nil, lastOwnerFault(last)
	}
	u = e.update(users, u, Doc{"active": active})
	if !active {
		u = e.setTokens(u, nil)
		e.dropUser(u.id())
	}
	e.directReadOnly(u.id(), !active)
	return Doc{"user": u.only("_id", "active")}, nil
}

func lastOwnerFault(roomNames []string) *fault {
	return meteorError("user-last-owner", "").with(Doc{"shouldChangeOwner": []string{}, "shouldBeRemoved": roomNames})
}

// lastOwnerOf lists rooms that would be left without an owner.
func (e *Engine) lastOwnerOf(uid string) []string {
	var l []string
	for _, s := range e.subsOf(uid) {
		if slices.Contains(s.strs("roles"), "owner") && e.owners(s.str("rid")) == 1 {
			l = append(l, s.str("name"))
		}
	}
	return l
}

// directReadOnly: DMs with a deactivated user become read-only.
func (e *Engine) directReadOnly(uid string, ro bool) {
	for _, s := range e.subsOf(uid) {
		if r := e.room(s.str("rid")); r.str("t") == "d" {
			e.changeRoom(r, Doc{"ro": ro})
		}
	}
}

// usersDelete is POST users.delete. Message_ErasureType decides what happens to the
// messages; by default they are deleted too (facts 12.6.20). A genuine server
// announces this to clients with Users:Deleted, but not at all with Keep.
func usersDelete(c *call) (any, error) {
	e := c.e
	u, err := c.target(c.body)
	if err != nil {
		return nil, err
	}
	if last := e.lastOwnerOf(u.id()); len(last) > 0 && !c.body.flag("confirmRelinquish") {
		return nil, lastOwnerFault(last)
	}
	erasure := e.settingText("Message_ErasureType")
	e.eraseMessages(u, erasure)
	for _, s := range e.subsOf(u.id()) {
		e.removeSub(s)
	}
	e.dropUser(u.id())
	e.remove(users, u.id())
	switch erasure {
	case "Delete":
		e.emit("stream-notify-logged", "Users:Deleted", "", Doc{"userId": u.id(), "messageErasureType": erasure})
	case "Unlink":
		e.emit("stream-notify-logged", "Users:Deleted", "", Doc{"userId": u.id(), "messageErasureType": erasure,
			"replaceByUser": Doc{"_id": "rocket.cat", "username": "rocket.cat", "alias": "Removed User"}})
	}
	return Doc{}, nil
}

func (e *Engine) eraseMessages(u Doc, erasure string) {
	for _, l := range e.data.inRoom {
		for _, m := range slices.Clone(l) {
			if m.doc("u").id() != u.id() {
				continue
			}
			switch erasure {
			case "Delete":
				e.discard(m)
			case "Unlink":
				e.put(messages, m.with(Doc{"u": Doc{"_id": "rocket.cat", "username": "rocket.cat"}, "alias": "Removed User"}))
			}
		}
	}
}
