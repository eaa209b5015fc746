package sim

import (
	"encoding/json"
	"net/url"
	"slices"
	"strings"
	"time"
)

// A method is one DDP method call, over a websocket or over REST.
type method struct {
	e      *Engine
	conn   *conn // nil over REST
	user   Doc   // nil when not logged in
	token  string
	ip     string
	name   string
	params []any
}

// anonymousMethods need no login.
var anonymousMethods = []string{"login", "public-settings/get", "permissions/get", "getRoomRoles"}

// methods holds the methods that the official JavaScript clients and the web client
// use. It is filled by init because some of them refer back to it.
var methods map[string]func(*method) (any, error)

func init() {
	methods = map[string]func(*method) (any, error){
		"login": ddpLogin, "logout": ddpLogout, "getUserRoles": ddpUserRoles,
		"rooms/get": ddpRooms, "subscriptions/get": ddpSubs, "rooms:get": ddpRooms, "subscriptions:get": ddpSubs,
		"public-settings/get": ddpSettings, "public-settings:get": ddpSettings, "permissions/get": ddpPermissions, "permissions:get": ddpPermissions,
		"loadHistory": ddpHistory, "loadMissedMessages": ddpMissed, "getRoomRoles": ddpRoomRoles,
		"getRoomIdByNameOrId": ddpRoomID, "getRoomNameById": ddpRoomName, "getRoomById": ddpRoomByID, "canAccessRoom": ddpCanAccess,
		"createDirectMessage": ddpCreateDirect, "createChannel": ddpCreate("c"), "createPrivateGroup": ddpCreate("p"),
		"joinRoom": ddpJoin, "leaveRoom": ddpLeave, "addUsersToRoom": ddpAddUsers, "removeUserFromRoom": ddpKick,
		"getUsersOfRoom": ddpMembers, "sendMessage": ddpSend, "sendFileMessage": ddpSendFile, "updateMessage": ddpUpdate, "deleteMessage": ddpDelete,
		"setReaction": ddpReact, "readMessages": ddpRead, "getSingleMessage": ddpMessage, "getMessages": ddpMessages,
		"spotlight": ddpSpotlight, "listEmojiCustom": ddpNone, "slashCommand": ddpSlash, "stream-notify-room": ddpNotifyRoom,
		"UserPresence:setDefaultStatus": ddpStatus, "UserPresence:online": ddpPresence("online"), "UserPresence:away": ddpPresence("away"),
		"setUserStatus": ddpSetStatus, "clearIntegrationHistory": ddpClearHistory,
		"openRoom": ddpShown(true), "hideRoom": ddpShown(false), "messages/get": ddpMessagesGet, "loadSurroundingMessages": ddpSurrounding, "getUserPreferences": ddpNone, "autoTranslate.getSupportedLanguages": ddpNone,
	}
}

// call applies limits and login, then runs the method.
func (m *method) call() (any, error) {
	ip, session, uid := m.ip, "", m.user.id()
	if m.conn != nil {
		ip, session = m.conn.ip, m.conn.session
	}
	if err := m.e.limitDDP(m.name, ip, uid, session); err != nil {
		return nil, err
	}
	run := methods[m.name]
	if run == nil {
		return nil, meteorError("404", "Method '"+m.name+"' not found")
	}
	if m.user == nil && !slices.Contains(anonymousMethods, m.name) {
		return nil, meteorError("error-invalid-user", "Invalid user")
	}
	return run(m)
}

func (m *method) text(i int) string {
	if i >= len(m.params) {
		return ""
	}
	s, _ := m.params[i].(string)
	return s
}

func (m *method) doc(i int) Doc {
	if i >= len(m.params) {
		return nil
	}
	return asDoc(m.params[i])
}

func (m *method) list(i int) []string {
	if i >= len(m.params) {
		return nil
	}
	return asStrings(m.params[i])
}

func (m *method) time(i int) time.Time {
	if i >= len(m.params) {
		return time.Time{}
	}
	return Doc{"t": m.params[i]}.time("t")
}

// readable returns the room with this id when the caller can read it.
func (m *method) readable(rid string) (Doc, error) {
	r := m.e.room(rid)
	if !m.e.canRead(r, m.user) {
		return nil, meteorError("error-not-allowed", "Not allowed")
	}
	return r, nil
}

// ddpLogin: {resume}, or a user with a password digest, or either inside totp.
func ddpLogin(m *method) (any, error) {
	p := m.doc(0)
	code := ""
	if t := p.doc("totp"); t != nil {
		code, p = t.str("code"), t.doc("login")
	}
	e := m.e
	if token := p.str("resume"); token != "" {
		u := e.resume(token)
		if u == nil {
			return nil, loginRefused()
		}
		return m.loggedIn(u, token, "resume"), nil
	}
	u := e.loginUser(p)
	if u == nil || !passwordFits(u, p["password"]) {
		return nil, loginRefused()
	}
	if !u.flag("active") {
		return nil, meteorError("error-user-is-not-activated", "User is not activated")
	}
	if err := e.loginFactor(u, code); err != nil {
		return nil, err
	}
	token, u := e.addToken(u)
	return m.loggedIn(u, token, "password"), nil
}

func (m *method) loggedIn(u Doc, token, kind string) Doc {
	if m.conn != nil {
		m.conn.uid, m.conn.token = u.id(), token
		m.e.sessionStatus(u.id())
		u = m.e.update(users, u, Doc{"lastLogin": m.e.now()})
		m.conn.reply(Doc{"msg": "added", "collection": "users", "id": u.id(), "fields": u.only("username", "emails", "name",
			"active", "roles", "statusConnection", "avatarOrigin", "_updatedAt")})
	}
	return Doc{"id": u.id(), "token": token, "tokenExpires": m.e.expires(u, token), "type": kind}
}

// expires returns when a token expires: a personal access token never does, which
// is sent as a date without a time.
func (e *Engine) expires(u Doc, token string) any {
	when := tokenEntry(u, token).time("when")
	if when.IsZero() {
		return Doc{"$date": json.RawMessage("null")}
	}
	return when.AddDate(0, 0, e.settingNum("Accounts_LoginExpiration"))
}

// loginRefused is the error for every token and password that is not accepted.
func loginRefused() *fault { return meteorError("401", "User not found") }

func ddpLogout(m *method) (any, error) {
	m.e.dropToken(m.user, m.token)
	if m.conn != nil {
		uid := m.conn.uid
		m.conn.uid, m.conn.token = "", ""
		m.e.sessionStatus(uid)
	}
	return nil, nil
}

func ddpNone(*method) (any, error) { return []any{}, nil }

func ddpUserRoles(m *method) (any, error) {
	var l []Doc
	for _, u := range m.e.listed(users, "username") {
		if len(u.strs("roles")) > 0 {
			l = append(l, u.only("_id", "username", "roles"))
		}
	}
	return l, nil
}

// sinceOrAll: these methods return a list without a date and {update,remove} with one.
func sinceOrAll(d Doc, since time.Time) any {
	if since.IsZero() {
		return d["update"]
	}
	return d
}

func ddpRooms(m *method) (any, error) {
	return sinceOrAll(m.e.roomsSince(m.user, m.time(0)), m.time(0)), nil
}

func ddpSubs(m *method) (any, error) {
	return sinceOrAll(m.e.subsSince(m.user, m.time(0)), m.time(0)), nil
}

func ddpSettings(m *method) (any, error) {
	return sinceOrAll(Doc{"update": m.e.publicSettings(nil), "remove": []any{}}, m.time(0)), nil
}

func ddpPermissions(m *method) (any, error) {
	var l []Doc
	for _, id := range sortedKeys(permissionDefaults) {
		l = append(l, Doc{"_id": id, "roles": m.e.rolesWith(id), "_updatedAt": m.e.started})
	}
	return sinceOrAll(Doc{"update": l, "remove": []any{}}, m.time(0)), nil
}

// ddpHistory is loadHistory(rid, end, limit, lastSeen).
func ddpHistory(m *method) (any, error) {
	r, err := m.readable(m.text(0))
	if err != nil {
		return nil, err
	}
	limit := 20
	if len(m.params) > 2 {
		limit = max(Doc{"n": m.params[2]}.num("n"), 1)
	}
	end := m.time(1)
	l := m.e.visible(r.id())
	slices.Reverse(l)
	l = slices.DeleteFunc(l, func(d Doc) bool {
		return !end.IsZero() && !d.time("ts").Before(end) || d.str("tmid") != "" && !d.flag("tshow")
	})
	return Doc{"messages": l[:min(limit, len(l))], "unreadNotLoaded": 0}, nil
}

// ddpMissed is loadMissedMessages(rid, start).
func ddpMissed(m *method) (any, error) {
	r, err := m.readable(m.text(0))
	if err != nil {
		return nil, err
	}
	l := m.e.visible(r.id())
	slices.Reverse(l)
	return slices.DeleteFunc(l, func(d Doc) bool { return !d.time("ts").After(m.time(1)) }), nil
}

func ddpRoomRoles(m *method) (any, error) {
	if _, err := m.readable(m.text(0)); err != nil {
		return nil, err
	}
	return m.e.roomRoles(m.text(0)), nil
}

func (m *method) named(i int) Doc {
	return firstDoc(m.e.room(m.text(i)), m.e.roomNamed(strings.TrimPrefix(m.text(i), "#")))
}

func ddpRoomID(m *method) (any, error) {
	r := m.named(0)
	if !m.e.canRead(r, m.user) {
		return nil, meteorError("error-not-allowed", "Not allowed")
	}
	return r.id(), nil
}

func ddpRoomName(m *method) (any, error) {
	r, err := m.readable(m.text(0))
	return r.str("name"), err
}

func ddpRoomByID(m *method) (any, error) {
	r, err := m.readable(m.text(0))
	return r, err
}

func ddpCanAccess(m *method) (any, error) {
	r := m.e.room(m.text(0))
	if !m.e.canRead(r, m.user) {
		return false, nil
	}
	return r, nil
}

func ddpCreateDirect(m *method) (any, error) {
	if !m.e.may(m.user, "create-d", "") {
		return nil, meteorError("error-not-allowed", "Not allowed")
	}
	var names []string
	for _, p := range m.params {
		if s, ok := p.(string); ok {
			names = append(names, s)
		}
	}
	r, inserted, err := m.e.createDirect(m.user, names, false)
	if err != nil {
		return nil, err
	}
	return Doc{"t": "d", "rid": r.id(), "_id": r.id(), "usernames": r.strs("usernames"), "inserted": inserted}, nil
}

// ddpCreate is createChannel and createPrivateGroup (name, members, readOnly).
func ddpCreate(t string) func(*method) (any, error) {
	return func(m *method) (any, error) {
		if !m.e.may(m.user, "create-"+t, "") {
			return nil, meteorError("error-not-allowed", "Not allowed")
		}
		r, err := m.e.createRoom(t, m.text(0), m.user, m.list(1), false, nil)
		if err != nil {
			return nil, err
		}
		return r.with(Doc{"rid": r.id()}), nil
	}
}

func ddpJoin(m *method) (any, error) {
	r := m.e.room(m.text(0))
	if r == nil || r.str("t") != "c" || !m.e.canRead(r, m.user) {
		return nil, meteorError("error-not-allowed", "Not allowed")
	}
	if m.e.sub(r.id(), m.user.id()) == nil {
		m.e.join(r, m.user)
	}
	return true, nil
}

// ddpLeave is leaveRoom(rid), which some clients send as leaveRoom({rid}).
func ddpLeave(m *method) (any, error) {
	r, err := m.readable(firstText(m.text(0), m.doc(0).str("rid")))
	if err != nil {
		return nil, err
	}
	return nil, m.e.leave(r, m.user)
}

func ddpAddUsers(m *method) (any, error) {
	d := m.doc(0)
	r, err := m.readable(d.str("rid"))
	if err != nil {
		return nil, err
	}
	if err := m.e.mayInvite(m.user, r); err != nil {
		return nil, err
	}
	for _, name := range d.strs("users") {
		if u := m.e.userNamed(name); u != nil {
			m.e.invite(r.id(), u, m.user)
		}
	}
	return true, nil
}

func ddpKick(m *method) (any, error) {
	d := m.doc(0)
	r, err := m.readable(d.str("rid"))
	if err != nil {
		return nil, err
	}
	if !m.e.may(m.user, "remove-user", r.id()) {
		return nil, meteorError("error-not-allowed", "Not allowed")
	}
	return true, m.e.kick(r, m.e.userNamed(d.str("username")), m.user)
}

func ddpMembers(m *method) (any, error) {
	r, err := m.readable(m.text(0))
	if err != nil {
		return nil, err
	}
	var l []Doc
	for _, s := range m.e.memberSubs(r.id()) {
		l = append(l, publicUser(m.e.user(s.doc("u").id())))
	}
	return Doc{"total": len(l), "records": l}, nil
}

// ddpSend is sendMessage: a strict key set, five per second without
// send-many-messages, and nearly every error swallowed (facts 4.1, 12.6.4).
func ddpSend(m *method) (any, error) {
	d := m.doc(0)
	for k := range d {
		if !slices.Contains(messageKeys, k) {
			return nil, meteorError("400", "Match failed")
		}
	}
	if !m.e.may(m.user, "send-many-messages", "") {
		if rest, _ := m.e.limits.take("sendMessage "+m.user.id(), 5, time.Second, time.Now()); rest < 0 && !m.e.env.testMode {
			return nil, meteorError("too-many-requests", "Error, too many requests. Please slow down.").with(Doc{"timeToReset": 1000})
		}
	}
	if len(m.params) > 1 && m.params[1] != nil {
		d = d.with(Doc{"previewUrls": m.params[1]})
	}
	sent, err := m.e.sendLoudly(m.user, d)
	switch {
	case err == nil:
		return sent, nil
	case asFault(err).code == "error-not-allowed", err.Error() == "error-not-allowed":
		return nil, meteorError("error-not-allowed", "error-not-allowed")
	case asFault(err).code == "restricted-workspace":
		return nil, err
	}
	return nil, nil
}

// ddpSendFile is sendFileMessage(roomId, store, file, msgData). Rocket.Chat checks the
// room that is written to, not the one that the file belongs to, and trusts the details
// of the file that the caller sends (app/file-upload/server/methods/sendFileMessage.ts).
func ddpSendFile(m *method) (any, error) {
	r, f := m.e.room(m.text(0)), m.doc(2)
	if !m.e.canRead(r, m.user) {
		return false, nil
	}
	for _, key := range []string{"_id", "name", "type", "size"} {
		if !f.has(key) {
			return nil, meteorError("error-invalid-file", "Invalid file")
		}
	}
	link := "/file-upload/" + f.id() + "/" + url.PathEscape(f.str("name"))
	att := Doc{"type": "file", "title": f.str("name"), "title_link": link, "title_link_download": true, "size": f["size"], "fileId": f.id()}
	file := m.e.fileOf(f)
	d := m.doc(3).only("msg", "tmid").with(Doc{"rid": r.id(), "file": file, "files": []any{file}, "attachments": []any{att}})
	if err := firstError(m.e.mayPost(m.user, r), m.e.messageProblem(m.user, r, d)); err != nil {
		return nil, err
	}
	return m.e.insertMessage(m.user, r, d), nil
}

// ddpUpdate is updateMessage({_id, rid, msg}).
func ddpUpdate(m *method) (any, error) {
	d := m.doc(0)
	old := m.e.message(d.str("_id"))
	if old == nil {
		return nil, nil
	}
	if err := firstError(m.e.mayEdit(m.user, old), m.e.sizeProblem(d.str("msg"))); err != nil {
		return nil, err
	}
	m.e.edit(m.user, old, d.str("msg"), nil)
	return nil, nil
}

func ddpDelete(m *method) (any, error) {
	old := m.e.message(m.doc(0).str("_id"))
	if old == nil {
		return nil, meteorError("error-action-not-allowed", "Not allowed").with(Doc{"action": "Delete_message"})
	}
	if err := m.e.mayDelete(m.user, old); err != nil {
		return nil, err
	}
	m.e.deleteMessage(old, m.user)
	return nil, nil
}

// ddpReact is setReaction(emoji, messageId, shouldReact?).
func ddpReact(m *method) (any, error) {
	old := m.e.message(m.text(1))
	if old == nil {
		return nil, meteorError("error-not-allowed", "Not allowed")
	}
	var should *bool
	if len(m.params) > 2 {
		if b, ok := m.params[2].(bool); ok {
			should = &b
		}
	}
	return nil, m.e.react(m.user, old, m.text(0), should)
}

func ddpRead(m *method) (any, error) {
	if s := m.e.sub(m.text(0), m.user.id()); s != nil {
		m.e.markRead(s)
	}
	return nil, nil
}

func ddpMessage(m *method) (any, error) {
	d := m.e.message(m.text(0))
	if d == nil || !m.e.canRead(m.e.room(d.str("rid")), m.user) {
		return nil, meteorError("error-not-allowed", "Not allowed")
	}
	return d, nil
}

func ddpMessages(m *method) (any, error) {
	var l []Doc
	for _, id := range m.list(0) {
		if d := m.e.message(id); d != nil && m.e.canRead(m.e.room(d.str("rid")), m.user) {
			l = append(l, d)
		}
	}
	return l, nil
}

func ddpSpotlight(m *method) (any, error) { return m.e.spotlightFor(m.user, m.text(0)), nil }

// ddpNotifyRoom is what clients write to stream-notify-room: typing and nothing
// else. A name that is not the caller's is silently ignored, and membership is not
// checked (facts 7.4).
func ddpNotifyRoom(m *method) (any, error) {
	rid, kind, _ := strings.Cut(m.text(0), "/")
	if kind != "user-activity" {
		return nil, meteorError("not-allowed", "")
	}
	own := m.user.str("username")
	if m.e.settingOn("UI_Use_Real_Name") {
		own = m.user.str("name")
	}
	if m.text(1) != own {
		return nil, nil
	}
	m.e.emit("stream-notify-room", m.text(0), rid, m.params[1:]...)
	return nil, nil
}

func ddpStatus(m *method) (any, error) {
	return nil, m.e.changeStatus(m.user, Doc{"status": m.text(0)})
}

func ddpPresence(status string) func(*method) (any, error) {
	return func(m *method) (any, error) {
		m.e.emitStatus(m.e.update(users, m.user, Doc{"status": status}))
		return nil, nil
	}
}

// ddpSetStatus is setUserStatus(status, text).
func ddpSetStatus(m *method) (any, error) {
	return nil, m.e.changeStatus(m.user, Doc{"status": m.text(0), "message": m.text(1)})
}
