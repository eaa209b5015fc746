package sim

import (
	"regexp"
	"slices"
	"time"
)

// What the official clients call beyond what the bridge needs.

func addClientRoutes() {
	post("subscriptions.unread", "roomId!:s|firstUnreadMessage!:o", subsUnread)
	post("rooms.favorite", "roomId!:s favorite!:b|roomName!:s favorite!:b", roomFavorite)
	post("rooms.hide", "roomId!:s", roomShown(false))
	post("rooms.open", "roomId!:s", roomShown(true))
	get("chat.getPinnedMessages", "roomId! count offset sort", pinnedMessages)
	get("channels.files", "roomId! count offset sort query name typeGroup onlyConfirmed", roomFiles)
	get("groups.files", "roomId! count offset sort query name typeGroup onlyConfirmed|roomName! count offset sort query name typeGroup onlyConfirmed", roomFiles)
	for _, f := range []string{"im", "dm"} {
		get(f+".files", "roomId! count offset sort query name typeGroup onlyConfirmed|username! count offset sort query name typeGroup onlyConfirmed", roomFiles)
	}
	post("users.setPreferences", "userId:s data!:o", setPreferences)
	post("video-conference.start", "roomId!:s title:s allowRinging:b", callStart)
}

// callStart is POST video-conference.start. It requires an app that provides calls,
// named by the setting.
func callStart(c *call) (any, error) {
	r := c.e.room(c.body.str("roomId"))
	if r == nil || !c.e.canRead(r, c.user) || c.e.mayPost(c.user, r) != nil {
		return nil, textError("invalid-params")
	}
	provider := c.e.settingText("VideoConf_Default_Provider")
	if provider == "" {
		return nil, textError("no-videoconf-provider-app")
	}
	id := newObjectID()
	data := Doc{"type": "videoconference", "callId": id, "rid": r.id(), "providerName": provider}
	if uids := r.strs("uids"); r.str("t") == "d" && len(uids) == 2 {
		callee := removeFrom(uids, c.user.id())
		data = Doc{"type": "direct", "callId": id, "calleeId": append(callee, c.user.id())[0], "providerName": provider}
	}
	c.e.insertMessage(c.user, r, Doc{"t": "videoconf", "groupable": false,
		"blocks": []any{Doc{"type": "video_conf", "blockId": id, "callId": id, "appId": "videoconf-core"}}})
	return Doc{"data": data}, nil
}

// subsUnread is POST subscriptions.unread: unread from a message on, or all of it.
func subsUnread(c *call) (any, error) {
	rid := c.body.str("roomId")
	first := c.e.message(c.body.doc("firstUnreadMessage").id())
	if first != nil {
		rid = first.str("rid")
	}
	if err := c.e.unread(c.user, rid, first); err != nil {
		return nil, err
	}
	return Doc{}, nil
}

func (e *Engine) unread(u Doc, rid string, first Doc) error {
	s := e.sub(rid, u.id())
	if s == nil {
		return meteorError("error-action-not-allowed", "Not allowed").with(Doc{"method": "unreadMessages", "action": "Unread_messages"})
	}
	if first == nil {
		if l := e.visible(rid); len(l) > 0 {
			first = l[len(l)-1]
		}
	}
	if first == nil {
		return meteorError("error-no-message-for-unread", "There are no messages to mark unread").in("unreadMessages")
	}
	e.changeSub(s, Doc{"open": true, "alert": true, "ls": first.time("ts").Add(-time.Millisecond)})
	return nil
}

// roomFavorite is POST rooms.favorite.
func roomFavorite(c *call) (any, error) {
	r, err := c.findRoom(c.body, "cpd")
	if err != nil {
		return nil, err
	}
	s := c.e.sub(r.id(), c.user.id())
	if s == nil {
		return nil, meteorError("error-invalid-subscription", "You must be part of a room to favorite it").in("toggleFavorite")
	}
	c.e.changeSub(s, Doc{"f": c.body.flag("favorite")})
	return Doc{}, nil
}

// roomShown is POST rooms.hide and rooms.open.
func roomShown(open bool) func(*call) (any, error) {
	return func(c *call) (any, error) { return Doc{}, c.e.show(c.user, c.body.str("roomId"), open) }
}

func (e *Engine) show(u Doc, rid string, open bool) error {
	s := e.sub(rid, u.id())
	if s == nil {
		return meteorError("error-invalid-room", "Invalid room")
	}
	changes := Doc{"open": open}
	if !open {
		changes["alert"] = false
	}
	e.changeSub(s, changes)
	return nil
}

// pinnedMessages is GET chat.getPinnedMessages: most recently pinned first.
func pinnedMessages(c *call) (any, error) {
	r := c.e.room(c.q.Get("roomId"))
	if !c.e.canRead(r, c.user) {
		return nil, meteorError("error-not-allowed", "Not allowed")
	}
	l := slices.DeleteFunc(c.e.visible(r.id()), func(m Doc) bool { return !m.flag("pinned") })
	slices.SortStableFunc(l, func(a, b Doc) int { return b.time("pinnedAt").Compare(a.time("pinnedAt")) })
	return c.paged("messages", l), nil
}

// roomFiles is GET channels.files, groups.files and im.files.
func roomFiles(c *call) (any, error) {
	r, err := c.findRoom(c.where(), c.types())
	if err != nil {
		return nil, err
	}
	if !c.e.canRead(r, c.user) {
		return nil, notAllowed("files")
	}
	named, err := regexp.Compile("(?i)" + c.q.Get("name"))
	if err != nil {
		return nil, textError("Regular expression is invalid")
	}
	var l []Doc
	for _, f := range c.e.listed(uploads, "name") {
		if f.str("rid") == r.id() && named.MatchString(f.str("name")) && !f.has("originalFileId") && c.e.messageWithFile(f.id()) != nil {
			d := f.only("_id", "name", "size", "type", "rid", "userId", "store", "path", "uploadedAt", "complete", "_updatedAt").with(c.e.fileOf(f))
			l = append(l, d.with(Doc{"url": c.e.siteURL() + f.str("path"), "extension": f.str("format"), "progress": 1,
				"user": c.e.user(f.str("userId")).only("_id", "username", "name")}))
		}
	}
	return c.paged("files", l), nil
}

// setPreferences is POST users.setPreferences.
func setPreferences(c *call) (any, error) {
	u := c.user
	if id := c.body.str("userId"); id != "" && id != u.id() {
		if !c.e.may(c.user, "edit-other-user-info", "") {
			return nil, meteorError("error-action-not-allowed", "Editing user is not allowed")
		}
		if u = c.e.user(id); u == nil {
			return nil, meteorError("error-invalid-user", "The optional \"userId\" param provided does not match any users")
		}
	}
	set := u.doc("preferences").with(c.body.doc("data"))
	u = c.e.update(users, u, Doc{"preferences": set})
	return Doc{"user": Doc{"_id": u.id(), "settings": Doc{"preferences": c.e.preferences(u)}}}, nil
}

// ddpShown is openRoom(rid) and hideRoom(rid).
func ddpShown(open bool) func(*method) (any, error) {
	return func(m *method) (any, error) {
		if err := m.e.show(m.user, m.text(0), open); err != nil {
			return nil, err
		}
		return 1, nil
	}
}

// ddpMessagesGet is messages/get(rid, {lastUpdate | latestDate, oldestDate, count}).
func ddpMessagesGet(m *method) (any, error) {
	r := m.e.room(m.text(0))
	if !m.e.canRead(r, m.user) {
		return nil, notAllowed("messages/get")
	}
	options := m.doc(1)
	if options.has("lastUpdate") {
		return m.e.syncSince(r.id(), options.time("lastUpdate")), nil
	}
	l := m.e.visible(r.id())
	slices.Reverse(l)
	return l[:min(max(options.num("count"), 20), len(l))], nil
}

// ddpSurrounding is loadSurroundingMessages({_id, rid}, limit).
func ddpSurrounding(m *method) (any, error) {
	middle := m.e.message(m.doc(0).id())
	if middle == nil || !m.e.canRead(m.e.room(middle.str("rid")), m.user) {
		return false, nil
	}
	limit := 50
	if len(m.params) > 1 {
		limit = max(Doc{"n": m.params[1]}.num("n"), 1)
	}
	l := m.e.visible(middle.str("rid"))
	at := slices.IndexFunc(l, func(d Doc) bool { return d.id() == middle.id() })
	from, to := max(at-limit/2, 0), min(at+limit/2+1, len(l))
	return Doc{"messages": slices.Clone(l[from:to]), "moreBefore": from > 0, "moreAfter": to < len(l)}, nil
}
