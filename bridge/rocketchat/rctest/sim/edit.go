package sim

import (
	"net/http"
	"slices"
	"strings"
	"time"
)

// chatUpdate is POST chat.update (facts 4.3).
func chatUpdate(c *call) (any, error) {
	m := c.e.message(c.body.str("msgId"))
	if m == nil {
		return nil, textError("No message found with the id of \"" + c.body.str("msgId") + "\".")
	}
	if m.str("rid") != c.body.str("roomId") {
		return nil, textError("The room id provided does not match where the message is from.")
	}
	if err := firstError(c.e.mayEdit(c.user, m), c.e.sizeProblem(c.body.str("text"))); err != nil {
		return nil, err
	}
	return Doc{"message": c.e.edit(c.user, m, c.body.str("text"), c.body["previewUrls"])}, nil
}

func (e *Engine) mayEdit(u, m Doc) error {
	own := m.doc("u").id() == u.id()
	if !e.may(u, "edit-message", m.str("rid")) && !(own && e.settingOn("Message_AllowEditing")) {
		return meteorError("error-action-not-allowed", "Message editing not allowed").with(Doc{"method": "updateMessage", "action": "Message_editing"})
	}
	if isSystemType(m.str("t")) {
		return meteorError("error-action-not-allowed", "Message editing not allowed").with(Doc{"method": "updateMessage", "action": "Message_editing"})
	}
	if e.tooLate(u, m, "Message_AllowEditing_BlockEditInMinutes") {
		return meteorError("error-message-editing-blocked", "Message editing is blocked")
	}
	return e.mayPost(u, e.room(m.str("rid")))
}

func (e *Engine) tooLate(u, m Doc, setting string) bool {
	minutes := e.settingNum(setting)
	return minutes > 0 && !e.may(u, "bypass-time-limit-edit-and-delete", m.str("rid")) &&
		time.Since(m.time("ts")) > time.Duration(minutes)*time.Minute
}

// edit changes the text; the text of a file message is its description or msg.
func (e *Engine) edit(by, m Doc, text string, preview any) Doc {
	if text == m.str("msg") && !m.has("file") {
		return m
	}
	if e.settingOn("Message_KeepHistory") {
		e.put(messages, m.with(Doc{"_id": newID(), "_hidden": true, "parent": m.id()}))
	}
	changes := Doc{"msg": text, "editedAt": e.now(), "editedBy": by.only("_id", "username"), "urls": []any{}}
	if l := m.docs("attachments"); m.has("file") && len(l) > 0 && l[0].has("description") {
		changes["attachments"] = append([]any{l[0].with(Doc{"description": text})}, anyList(l[1:])...)
		delete(changes, "msg")
	}
	if l := e.urlsIn(text, preview); len(l) > 0 {
		changes["urls"] = l
	}
	author := e.user(m.doc("u").id())
	m = e.put(messages, e.enrich(author, m.with(changes)))
	e.refreshLast(m)
	e.emitMessage(m)
	e.callHooks(e.room(m.str("rid")), m, true)
	return m
}

// refreshLast keeps a room's lastMessage equal to the message.
func (e *Engine) refreshLast(m Doc) {
	if r := e.room(m.str("rid")); r.doc("lastMessage").id() == m.id() {
		e.changeRoom(r, Doc{"lastMessage": m})
	}
}

// chatDelete is POST chat.delete (facts 4.3).
func chatDelete(c *call) (any, error) {
	m := c.e.message(c.body.str("msgId"))
	if f := c.body.str("fileId"); f != "" {
		m = c.e.messageWithFile(f)
	}
	if m == nil {
		return nil, textError("No message found with the id of \"" + c.body.str("msgId") + "\".")
	}
	if rid := c.body.str("roomId"); rid != "" && rid != m.str("rid") {
		return nil, textError("The room id provided does not match where the message is from.")
	}
	as := c.user
	if c.body.flag("asUser") && m.doc("u").id() != c.user.id() {
		if !c.e.may(c.user, "force-delete-message", m.str("rid")) {
			return nil, textError("Unauthorized. You must have the permission \"force-delete-message\" to delete other's message as them.")
		}
		as = c.e.user(m.doc("u").id())
	}
	if err := c.e.mayDelete(as, m); err != nil {
		return nil, err
	}
	c.e.deleteMessage(m, as)
	return Doc{"_id": m.id(), "ts": millis(c.e.now()), "message": m.only("_id", "rid", "u")}, nil
}

// mayDelete: a plain bot cannot delete its own message, a user can (12.6.23).
func (e *Engine) mayDelete(u, m Doc) error {
	rid := m.str("rid")
	if e.may(u, "force-delete-message", rid) {
		return nil
	}
	own := m.doc("u").id() == u.id() && e.may(u, "delete-own-message", "")
	if !e.settingOn("Message_AllowDeleting") || !own && !e.may(u, "delete-message", rid) {
		return meteorError("error-action-not-allowed", "Not allowed")
	}
	if e.tooLate(u, m, "Message_AllowDeleting_BlockDeleteInMinutes") {
		return meteorError("error-message-deleting-blocked", "Message deleting is blocked")
	}
	return nil
}

// deleteMessage leaves a placeholder t:"rm" where Rocket.Chat does, else deletes
// for good: an event on stream-notify-room only (facts 4.8).
func (e *Engine) deleteMessage(m, by Doc) {
	if e.settingOn("Message_ShowDeletedStatus") || m.num("tcount") > 0 {
		gone := e.update(messages, m, Doc{"t": "rm", "msg": "", "md": nil, "attachments": []any{}, "file": nil, "files": nil, "urls": []any{},
			"mentions": []any{}, "channels": []any{}, "reactions": Doc{}, "editedAt": e.now(), "editedBy": by.only("_id", "username")})
		e.refreshLast(gone)
		e.emitMessage(gone)
		return
	}
	e.discard(m)
	e.uncountReply(m)
	if r := e.room(m.str("rid")); r != nil {
		e.changeRoom(r, Doc{"msgs": max(r.num("msgs")-1, 0), "lastMessage": e.lastMessage(r.id())})
	}
	e.emit("stream-notify-room", m.str("rid")+"/deleteMessage", m.str("rid"), Doc{"_id": m.id()})
}

// discard moves a message to the trash collection.
func (e *Engine) discard(m Doc) {
	e.remove(messages, m.id())
	e.change(op{trash, m.id(), Doc{"_id": m.id(), "rid": m.str("rid"), "_deletedAt": e.now()}})
}

func (e *Engine) uncountReply(m Doc) {
	root := e.message(m.str("tmid"))
	if root == nil {
		return
	}
	changes := Doc{"tcount": root.num("tcount") - 1}
	if root.num("tcount") <= 1 {
		changes = Doc{"tcount": nil, "tlm": nil, "replies": nil}
	}
	e.emitMessage(e.update(messages, root, changes))
}

func (e *Engine) lastMessage(rid string) any {
	for _, m := range slices.Backward(e.data.inRoom[rid]) {
		if !m.flag("_hidden") && (m.str("tmid") == "" || m.flag("tshow")) && m.str("t") == "" {
			return m
		}
	}
	return nil
}

func (e *Engine) messageWithFile(fileID string) Doc {
	u := e.get(uploads, fileID)
	for _, m := range e.data.inRoom[u.str("rid")] {
		if m.doc("file").id() == fileID {
			return m
		}
	}
	return nil
}

// chatReact is POST chat.react (facts 4.3): a toggle unless shouldReact is given;
// raw Unicode is refused, ":+1:" and ":thumbsup:" are different keys.
func chatReact(c *call) (any, error) {
	m := c.e.message(c.body.str("messageId"))
	if m == nil {
		return nil, meteorError("error-message-not-found", "The provided \"messageId\" does not match any existing message.")
	}
	emoji := firstText(c.body.str("emoji"), c.body.str("reaction"))
	if emoji == "" {
		return nil, meteorError("error-emoji-param-not-provided", "The required \"emoji\" param is missing.")
	}
	var should *bool
	if b, ok := c.body["shouldReact"].(bool); ok {
		should = &b
	}
	if c.seen != nil {
		m = m.with(Doc{"reactions": c.seen["reactions"]})
	}
	return Doc{}, c.e.react(c.user, m, emoji, should)
}

func (e *Engine) react(u, m Doc, emoji string, should *bool) error {
	if !e.knownEmoji(strings.Trim(emoji, ":")) {
		return meteorError("error-not-allowed", "Invalid emoji provided.").in("setReaction")
	}
	r := e.room(m.str("rid"))
	if !e.canRead(r, u) {
		return notAllowed("setReaction")
	}
	if r.flag("ro") && !r.flag("reactWhenReadOnly") && !e.may(u, "post-readonly", r.id()) {
		return textError("You can't send messages because the room is readonly.")
	}
	if slices.Contains(r.strs("muted"), u.str("username")) {
		return textError("You_have_been_muted")
	}
	emoji = ":" + strings.Trim(emoji, ":") + ":"
	has := slices.Contains(m.doc("reactions").doc(emoji).strs("usernames"), u.str("username"))
	if should != nil && *should == has {
		return nil
	}
	m = e.put(messages, m.with(Doc{"reactions": toggled(m.doc("reactions"), emoji, u, !has)}))
	e.refreshLast(m)
	e.emitMessage(m)
	return nil
}

// toggled returns the reactions after one person's change; nil when none is left.
func toggled(reactions Doc, emoji string, u Doc, on bool) any {
	entry := reactions.doc(emoji)
	usernames := removeFrom(entry.strs("usernames"), u.str("username"))
	if on {
		usernames = append(usernames, u.str("username"))
	}
	var v any
	if len(usernames) > 0 {
		v = Doc{"usernames": usernames}
	}
	if all := reactions.with(Doc{emoji: v}); len(all) > 0 {
		return all
	}
	return nil
}

// chatPin is POST chat.pinMessage and chat.unPinMessage.
func chatPin(pin bool) func(*call) (any, error) {
	return func(c *call) (any, error) {
		m := c.e.message(c.body.str("messageId"))
		if m == nil {
			return nil, meteorError("error-message-not-found", "The provided \"messageId\" does not match any existing message.")
		}
		if !c.e.settingOn("Message_AllowPinning") || !c.e.may(c.user, "pin-message", m.str("rid")) || !c.e.canRead(c.e.room(m.str("rid")), c.user) {
			return nil, meteorError("not-authorized", "Not Authorized")
		}
		return c.pin(m, pin), nil
	}
}

func (c *call) pin(m Doc, pin bool) Doc {
	changes := Doc{"pinned": pin, "pinnedAt": nil, "pinnedBy": nil}
	if pin {
		changes = Doc{"pinned": true, "pinnedAt": c.e.now(), "pinnedBy": c.user.only("_id", "username")}
	}
	m = c.e.update(messages, m, changes)
	c.e.emitMessage(m)
	if !pin {
		return Doc{}
	}
	r := c.e.room(m.str("rid"))
	note := c.e.systemMessage(r, "message_pinned", "", c.user, Doc{"attachments": []any{Doc{"text": m.str("msg"),
		"author_name": m.doc("u").str("username"), "message_link": c.e.permalink(r, m.id()), "ts": m["ts"]}}})
	return Doc{"message": note}
}

// chatStar is POST chat.starMessage and chat.unStarMessage.
func chatStar(star bool) func(*call) (any, error) {
	return func(c *call) (any, error) {
		m := c.e.message(c.body.str("messageId"))
		if m == nil || !c.e.canRead(c.e.room(m.str("rid")), c.user) {
			return nil, meteorError("error-message-not-found", "The provided \"messageId\" does not match any existing message.")
		}
		l := []any{}
		for _, s := range m.docs("starred") {
			if s.id() != c.user.id() {
				l = append(l, s)
			}
		}
		if star {
			l = append(l, Doc{"_id": c.user.id()})
		}
		c.e.emitMessage(c.e.update(messages, m, Doc{"starred": l}))
		return Doc{}, nil
	}
}

// chatFollow is POST chat.followMessage and chat.unfollowMessage.
func chatFollow(follow bool) func(*call) (any, error) {
	return func(c *call) (any, error) {
		m := c.e.message(c.body.str("mid"))
		if m == nil || !c.e.canRead(c.e.room(m.str("rid")), c.user) {
			return nil, &fault{status: http.StatusBadRequest, code: "error-invalid-message", text: "Invalid message"}
		}
		l := removeFrom(m.strs("replies"), c.user.id())
		if follow {
			l = addTo(m.strs("replies"), c.user.id())
		}
		c.e.emitMessage(c.e.update(messages, m, Doc{"replies": l}))
		return Doc{}, nil
	}
}
