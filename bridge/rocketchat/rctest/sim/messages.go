package sim

import (
	"net/http"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode/utf16"
)

// messageKeys are the keys that a message sent over DDP may have (facts 4.1, last line).
var messageKeys = []string{"_id", "rid", "msg", "tmid", "tshow", "ts", "t", "content", "e2e", "e2eMentions", "federation",
	"bot", "customFields", "groupable", "sentByEmail", "u", "sendMessage"}

// messageShape is open: unknown keys of a message are stored (facts 4.1).
var messageShape = parseSchema("rid!:s _id:s msg:s tmid:s tshow:b alias:s emoji:s avatar:s attachments:l blocks:l customFields:o groupable:b ...")

// chatSend is POST chat.sendMessage (facts 4.1).
func chatSend(c *call) (any, error) {
	m := c.body.doc("message")
	if problem := messageShape.check(m, true); problem != "" {
		return nil, meteorError("invalid-params", problem)
	}
	if isSystemType(m.str("t")) {
		return nil, textError("Cannot send system messages using 'chat.sendMessage'")
	}
	if m.flag("tshow") && m.str("tmid") == "" {
		return nil, meteorError("invalid-params", "tshow provided but missing tmid")
	}
	if c.body.has("previewUrls") {
		m = m.with(Doc{"previewUrls": c.body["previewUrls"]})
	}
	sent, err := c.e.sendLoudly(c.user, m)
	if err != nil {
		return nil, err
	}
	return Doc{"message": sent}, nil
}

// sendLoudly sends, and shows an error in the author's sessions.
func (e *Engine) sendLoudly(u, m Doc) (Doc, error) {
	sent, err := e.send(u, m)
	if err != nil {
		e.ephemeral(u, m.str("rid"), err.Error())
	}
	return sent, err
}

// ephemeral shows a message in all sessions of one user and nowhere else.
func (e *Engine) ephemeral(u Doc, rid, text string) {
	e.emit("stream-notify-user", u.id()+"/message", rid, Doc{"_id": newID(), "rid": rid, "ts": e.now(), "_updatedAt": e.now(), "msg": text,
		"groupable": false, "u": Doc{"_id": "rocket.cat", "username": "rocket.cat"}, "private": true})
}

// send handles every user message. A second message with an _id that is taken fails
// as in the real server's handler: with the text of a crash, no code, and nothing
// changed (facts 4.1, 12.6.2).
func (e *Engine) send(u, m Doc) (Doc, error) {
	r := e.room(m.str("rid"))
	if root := e.message(m.str("tmid")); root != nil {
		r, m = e.room(root.str("rid")), m.with(Doc{"tmid": firstText(root.str("tmid"), root.id()), "rid": root.str("rid")})
	}
	if err := firstError(e.mayPost(u, r), e.messageProblem(u, r, m)); err != nil {
		return nil, err
	}
	if id := m.str("_id"); id != "" && e.message(id) != nil {
		return nil, textError("Cannot read properties of undefined (reading 'starred')")
	}
	return e.insertMessage(u, r, m), nil
}

// mayPost returns the plain-text refusals of facts 4.1 (12.6.33).
func (e *Engine) mayPost(u, r Doc) error {
	switch {
	case e.limited:
		return restricted()
	case r == nil:
		return textError("error-invalid-room")
	case r.flag("archived"):
		return textError("room_is_archived")
	case !e.canRead(r, u):
		return textError("error-not-allowed")
	case e.sub(r.id(), u.id()).flag("blocked") || e.sub(r.id(), u.id()).flag("blocker"):
		return textError("room_is_blocked")
	case slices.Contains(r.strs("muted"), u.str("username")):
		return textError("You_have_been_muted")
	case r.flag("ro") && !e.may(u, "post-readonly", r.id()) && !slices.Contains(r.strs("unmuted"), u.str("username")):
		return textError("You can't send messages because the room is readonly.")
	}
	return nil
}

// restricted is the error for posting in a restricted workspace (facts 2.7).
func restricted() *fault { return meteorError("restricted-workspace", "restricted-workspace") }

func (e *Engine) messageProblem(u, r, m Doc) error {
	switch {
	case m.str("tmid") != "" && !e.settingOn("Threads_enabled"):
		return meteorError("error-not-allowed", "not-allowed")
	case (m.str("alias") != "" || m.has("avatar") || m.has("emoji")) && !e.may(u, "message-impersonate", r.id()):
		return textError("Not enough permission")
	case m.has("customFields") && (!e.settingOn("Message_CustomFields_Enabled") || e.settingText("Message_CustomFields") == ""):
		return textError("Custom fields not enabled")
	case m.str("tmid") != "" && e.message(m.str("tmid")) == nil:
		return meteorError("error-invalid-message", "Invalid thread message")
	}
	return firstError(e.sizeProblem(m.str("msg")), e.timeProblem(m["ts"]), attachmentsProblem(m.docs("attachments")),
		e.groupMentionProblem(u, r, m.str("msg")))
}

// sizeProblem counts UTF-16 units, as JavaScript does.
func (e *Engine) sizeProblem(text string) error {
	if len(utf16.Encode([]rune(text))) > e.settingNum("Message_MaxAllowedSize") {
		return meteorError("error-message-size-exceeded", "Message size exceeds Message_MaxAllowedSize").in("sendMessage")
	}
	return nil
}

// timeProblem: back-dating is impossible (facts 4.1). A REST date is a string, a
// DDP date may be off by a minute.
func (e *Engine) timeProblem(ts any) error {
	if ts == nil {
		return nil
	}
	if t, ok := ts.(time.Time); ok && t.Sub(e.now()).Abs() <= time.Minute {
		return nil
	}
	return meteorError("error-message-ts-out-of-sync", "Message timestamp is out of sync")
}

// timeOf keeps a client's date if it is off by at most ten seconds.
func (e *Engine) timeOf(ts any) time.Time {
	if t, ok := ts.(time.Time); ok && t.Sub(e.now()).Abs() <= 10*time.Second {
		return t
	}
	return e.now()
}

// attachmentsProblem: URLs are absolute or begin with a slash (facts 4.1).
func attachmentsProblem(l []Doc) error {
	for _, a := range l {
		for _, k := range []string{"title_link", "image_url", "audio_url", "video_url", "thumb_url", "author_icon", "author_link", "message_link"} {
			if v := a.str(k); v != "" && !strings.HasPrefix(v, "/") && !strings.HasPrefix(v, "http://") && !strings.HasPrefix(v, "https://") {
				return textError("Invalid href value provided")
			}
		}
	}
	return nil
}

// insertMessage stores a message, then updates what depends on it: thread counters,
// the room's last message, unread counters, events.
func (e *Engine) insertMessage(u, r, m Doc) Doc {
	id := firstText(m.str("_id"), newObjectID())
	preview := m["previewUrls"]
	m = m.with(Doc{"_id": id, "u": userRef(u), "ts": e.timeOf(m["ts"]), "previewUrls": nil, "_updatedAt": nil, "rid": r.id()})
	if !m.has("msg") {
		m["msg"] = ""
	}
	m = e.enrich(u, m)
	if v, told := m["parseUrls"].(bool); v || !told {
		m["urls"] = e.urlsIn(m.str("msg"), preview)
	}
	m = e.put(messages, m)
	e.countReply(m)
	e.touchRoom(r.id(), m)
	e.alertMembers(r, m)
	e.emitMessage(m)
	e.callHooks(r, m, false)
	return e.previewed(m)
}

// previewed announces the same message once more, as after a link preview; a rude
// server also does so without a reason (facts 7.3, 12.6.5).
func (e *Engine) previewed(m Doc) Doc {
	if !e.opts.Rude.in(6) {
		return m
	}
	m = e.put(messages, m)
	e.emitMessage(m)
	return m
}

// enrich computes mentions, channels and quotes from the text.
func (e *Engine) enrich(u, m Doc) Doc {
	mentions, channels := e.mentionsIn(m.str("msg")), e.channelsIn(m.str("msg"))
	m = m.with(Doc{"mentions": mentions, "channels": channels, "md": parsedText(m.str("msg"))})
	return e.quote(u, m)
}

// countReply keeps tcount, tlm and replies on the root of a thread.
func (e *Engine) countReply(m Doc) {
	root := e.message(m.str("tmid"))
	if root == nil {
		return
	}
	followers := addTo(addTo(root.strs("replies"), root.doc("u").id()), m.doc("u").id())
	e.emitMessage(e.update(messages, root, Doc{"tcount": root.num("tcount") + 1, "tlm": m["ts"], "replies": followers}))
}

func (e *Engine) touchRoom(rid string, m Doc) {
	r := e.room(rid)
	changes := Doc{"msgs": r.num("msgs") + 1}
	if m.str("tmid") == "" || m.flag("tshow") {
		changes["lm"], changes["lastMessage"] = m["ts"], m.without("_updatedAt")
	}
	e.changeRoom(r, changes)
}

// changeRoom updates a room and notifies its members.
func (e *Engine) changeRoom(r, changes Doc) Doc {
	r = e.update(rooms, r, changes)
	for uid := range e.data.members[r.id()] {
		e.emit("stream-notify-user", uid+"/rooms-changed", r.id(), "updated", r)
	}
	return r
}

// alertMembers raises unread counters; it writes only what changes.
func (e *Engine) alertMembers(r, m Doc) {
	author := m.doc("u").id()
	for _, s := range e.memberSubs(r.id()) {
		uid := s.doc("u").id()
		if uid == author {
			if s.flag("alert") {
				e.changeSub(s, Doc{"alert": false, "unread": 0, "ls": m["ts"]})
			}
			continue
		}
		e.alertMember(s, m, mentioned(m, uid), r.str("t") == "d")
	}
}

func (e *Engine) alertMember(s, m Doc, mention, direct bool) {
	changes := Doc{}
	if !s.flag("alert") || !s.flag("open") {
		changes["alert"], changes["open"] = true, true
	}
	if mention || direct {
		changes["unread"] = s.num("unread") + 1
		e.emit("stream-notify-user", s.doc("u").id()+"/notification", s.str("rid"), e.notification(s, m))
	}
	if mention {
		changes["userMentions"] = s.num("userMentions") + 1
	}
	if len(changes) > 0 {
		e.changeSub(s, changes)
	}
}

func (e *Engine) notification(s, m Doc) Doc {
	return Doc{"title": m.doc("u").str("username"), "text": m.str("msg"), "payload": Doc{"_id": m.id(), "rid": m.str("rid"),
		"sender": m["u"], "type": s.str("t"), "name": s.str("name"), "message": m.only("msg", "t")}.with(m.only("tmid"))}
}

func mentioned(m Doc, uid string) bool {
	return slices.ContainsFunc(m.docs("mentions"), func(d Doc) bool { return d.id() == uid || d.id() == "all" || d.id() == "here" })
}

var (
	mentionForm = regexp.MustCompile(`(?:^|[^\w@.-])@([0-9a-zA-Z._-]+)`)
	channelForm = regexp.MustCompile(`(?:^|[^\w#])#([0-9a-zA-Z._-]+)`)
	urlForm     = regexp.MustCompile(`https?://[^\s<>()\[\]]+`)
)

// mentionsIn finds @username (facts 4.1, 4.5).
func (e *Engine) mentionsIn(text string) []Doc {
	l := []Doc{}
	for _, g := range mentionForm.FindAllStringSubmatch(text, -1) {
		name := strings.TrimRight(g[1], ".-")
		switch u := e.userNamed(name); {
		case slices.ContainsFunc(l, func(d Doc) bool { return strings.EqualFold(d.str("username"), name) }):
		case name == "all" || name == "here":
			l = append(l, Doc{"_id": name, "username": name})
		case u != nil:
			l = append(l, userRef(u).with(Doc{"type": "user"}))
		}
	}
	return l
}

func (e *Engine) channelsIn(text string) []Doc {
	l := []Doc{}
	for _, g := range channelForm.FindAllStringSubmatch(text, -1) {
		if r := e.roomNamed(g[1]); r != nil {
			l = append(l, r.only("_id", "name", "fname"))
		}
	}
	return l
}

// groupMentionProblem: @all and @here without permission fail the whole send
// (facts 12.6.22).
func (e *Engine) groupMentionProblem(u, r Doc, text string) error {
	for _, d := range e.mentionsIn(text) {
		if name := d.id(); (name == "all" || name == "here") && !e.may(u, "mention-"+name, r.id()) {
			return meteorError("error-action-not-allowed", "Notify "+name+" in this room not allowed").with(Doc{"action": "Notify_" + name})
		}
	}
	return nil
}

// urlsIn lists links; previewUrls names those to preview, none if it is empty.
// Links to the server's own messages are never previewed.
func (e *Engine) urlsIn(text string, preview any) []Doc {
	l := []Doc{}
	wanted, limited := preview.([]any)
	for _, u := range urlForm.FindAllString(text, -1) {
		d := Doc{"url": u, "meta": Doc{}}
		own := e.siteURL() != "" && strings.HasPrefix(u, e.siteURL()) && linkForm.MatchString(u)
		if own || limited && !slices.Contains(asStrings(wanted), u) {
			d["ignoreParse"] = true
		}
		l = append(l, d)
	}
	return l
}

var linkForm = regexp.MustCompile(`[?&]msg=([^&\s)\]]+)`)

// quote rebuilds quote attachments for links to messages the author can read (facts
// 4.7); any message_link that the client sent is removed first.
func (e *Engine) quote(u, m Doc) Doc {
	kept := []any{}
	for _, a := range m.docs("attachments") {
		if !a.has("message_link") {
			kept = append(kept, a)
		}
	}
	n := len(kept)
	for _, link := range urlForm.FindAllString(m.str("msg"), -1) {
		if site := e.siteURL(); site == "" || !strings.HasPrefix(link, site) {
			continue
		}
		if q := e.quoted(u, link); q != nil {
			kept = append(kept, q)
		}
	}
	if n == len(kept) && len(kept) == len(m.docs("attachments")) {
		return m
	}
	return m.with(Doc{"attachments": kept})
}

func (e *Engine) quoted(u Doc, link string) Doc {
	g := linkForm.FindStringSubmatch(link)
	if g == nil {
		return nil
	}
	q := e.message(g[1])
	if q == nil || !e.canRead(e.room(q.str("rid")), u) {
		return nil
	}
	return Doc{"text": q.str("msg"), "md": q["md"], "message_link": link, "author_name": q.doc("u").str("username"),
		"author_icon": "/avatar/" + q.doc("u").str("username"), "attachments": append([]any{}, anyList(q.docs("attachments"))...), "ts": q["ts"]}.with(nil)
}

// chatPost is POST chat.postMessage (facts 4.2): to a room, "#name" or "@user",
// joining public channels on the way; not idempotent.
func chatPost(c *call) (any, error) {
	var last Doc
	var targets []string
	if s := firstText(c.body.str("roomId"), c.body.str("channel")); s != "" {
		targets = []string{s}
	} else {
		targets = append(c.body.strs("roomId"), c.body.strs("channel")...)
	}
	if len(targets) == 0 {
		return nil, meteorError("error-room-not-found", "The required \"channel\" or \"roomId\" param was not provided")
	}
	for _, to := range targets {
		r, err := c.postTarget(to)
		if err != nil {
			return nil, err
		}
		m := Doc{"alias": "", "attachments": []any{}, "parseUrls": true, "groupable": false}.with(
			c.body.only("alias", "emoji", "avatar", "attachments", "parseUrls", "tmid", "customFields", "groupable")).with(
			Doc{"rid": r.id(), "msg": c.body.str("text")})
		if last, err = c.e.sendLoudly(c.user, m); err != nil {
			return nil, err
		}
		last = last.without("_updatedAt").with(Doc{"channel": to})
	}
	return Doc{"ts": last.time("ts").UnixMilli(), "channel": last.str("channel"), "message": last.without("channel")}, nil
}

func (c *call) postTarget(to string) (Doc, error) {
	e := c.e
	if name, ok := strings.CutPrefix(to, "@"); ok {
		if e.userNamed(name) == nil {
			return nil, meteorError("invalid-channel", "")
		}
		r, _, err := e.createDirect(c.user, []string{name}, false)
		return r, err
	}
	r := firstDoc(e.room(to), e.roomNamed(strings.TrimPrefix(to, "#")))
	if r == nil {
		return nil, meteorError("invalid-channel", "")
	}
	if e.sub(r.id(), c.user.id()) == nil && r.str("t") == "c" && e.canRead(r, c.user) && !r.flag("archived") {
		e.join(r, c.user)
		r = e.room(r.id())
	}
	return r, nil
}

// chatGet is GET chat.getMessage; a missing message is an empty failure.
func chatGet(c *call) (any, error) {
	m := c.e.message(c.q.Get("msgId"))
	if m == nil {
		return nil, &fault{status: http.StatusBadRequest, body: Doc{"success": false}}
	}
	if !c.e.canRead(c.e.room(m.str("rid")), c.user) {
		return nil, notAllowed("getSingleMessage")
	}
	return Doc{"message": m}, nil
}

// System messages (facts 4.6).

var systemTypes = strings.Fields(`uj ul au ru ut ui uir ujt ult r rm wm room_changed_topic room_changed_description
room_changed_announcement room_changed_privacy room_changed_avatar room-archived room-unarchived room-set-read-only
room-removed-read-only room-allowed-reacting room-disallowed-reacting subscription-role-added subscription-role-removed
user-muted user-unmuted user-banned user-unbanned message_pinned discussion-created
room_e2e_enabled room_e2e_disabled added-user-to-team removed-user-from-team user-added-room-to-team user-removed-room-from-team
user-deleted-room-from-team videoconf`)

func isSystemType(t string) bool { return slices.Contains(systemTypes, t) }

// systemMessage stores and announces a message that the server writes itself.
// Hide_System_Messages hides it from the streams too (facts 4.6, 12.6.7).
func (e *Engine) systemMessage(r Doc, t, text string, by Doc, extra Doc) Doc {
	m := e.put(messages, Doc{"_id": newObjectID(), "rid": r.id(), "t": t, "msg": text, "ts": e.now(), "u": by.only("_id", "username"),
		"groupable": false}.with(extra))
	if room := e.room(r.id()); room != nil {
		e.changeRoom(room, Doc{"msgs": room.num("msgs") + 1})
	}
	if !slices.Contains(e.settingList("Hide_System_Messages"), t) && !slices.Contains(r.strs("sysMes"), t) {
		e.emitMessage(m)
	}
	return m
}
