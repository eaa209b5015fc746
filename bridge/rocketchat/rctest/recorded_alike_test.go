package rctest_test

import (
	"fmt"
	"strings"
)

// This file reproduces what a recorded document shows, so that the simulator has to
// show as much.

// messageAlike creates a message in a room that is like a recorded one, and returns its id.
func (w *world) messageAlike(rid string, like object) string {
	switch like["t"] {
	case "au":
		w.ok(w.owner, w.family(rid)+".invite", object{"roomId": rid, "userId": w.stranger.ID})
		return w.last(rid)
	case "subscription-role-added":
		w.ok(w.owner, w.family(rid)+".addOwner", object{"roomId": rid, "userId": w.member.ID})
		return w.last(rid)
	}
	id := w.saidAlike(rid, like)
	if like["tcount"] != nil {
		must(w.e.Say(rid, w.owner.Username, "a reply", map[string]any{"tmid": id}))
	}
	if like["t"] == "rm" {
		w.ok(w.owner, "chat.delete", object{"roomId": rid, "msgId": id})
		return id
	}
	if d, ok := like["reactions"].(object); ok && len(d) > 0 {
		w.ok(w.owner, "chat.react", object{"messageId": id, "emoji": ":smile:"})
	}
	if like["editedAt"] != nil {
		w.ok(w.owner, "chat.update", object{"roomId": rid, "msgId": id, "text": "changed"})
	}
	return id
}

func (w *world) saidAlike(rid string, like object) string {
	text, _ := like["msg"].(string)
	switch {
	case like["file"] != nil:
		return w.fileAlike(rid, like)
	case like["parseUrls"] != nil:
		answer := w.ok(w.owner, "chat.postMessage", object{"roomId": rid, "text": text, "parseUrls": false})
		return dig(answer, "message", "_id").(string)
	}
	extra := map[string]any{}
	if id, _ := like["_id"].(string); !hex24.MatchString(id) {
		extra["_id"] = id
	}
	if like["tmid"] != nil {
		extra["tmid"] = w.say(rid, "a root")
	}
	if l, ok := like["attachments"].([]any); ok && len(l) > 0 {
		text = w.quoting(rid, text)
	}
	return must(w.e.Say(rid, w.owner.Username, text, extra))
}

// quoting returns a text that quotes a message of the room.
func (w *world) quoting(rid, text string) string {
	_, rest, _ := strings.Cut(text, ")")
	return "[ ](http://127.0.0.1:3000/group/" + rid + "?msg=" + w.say(rid, "the original") + ")" + rest
}

func (w *world) fileAlike(rid string, like object) string {
	f := like["file"].(object)
	data := []byte("data")
	if strings.HasPrefix(f["type"].(string), "image/") {
		data = picture()
	}
	status, answer := w.send(request{who: w.owner, method: "POST", path: "/api/v1/rooms.media/" + rid,
		file: &part{"file", f["name"].(string), f["type"].(string), data}})
	if status != 200 {
		w.t.Fatalf("preparing a file: %d %s", status, jsonText(answer))
	}
	confirm := object{}
	if like["groupable"] != nil {
		confirm["groupable"] = false
	}
	if text := like["msg"]; text != "" {
		confirm["msg"] = text
	}
	answer = w.ok(w.owner, "rooms.mediaConfirm/"+rid+"/"+dig(answer, "file", "_id").(string), confirm)
	return dig(answer, "message", "_id").(string)
}

func (w *world) family(rid string) string {
	if rid == w.channel {
		return "channels"
	}
	return "groups"
}

// last returns the id of the newest message of a room.
func (w *world) last(rid string) string {
	l := w.e.Messages(rid)
	return l[len(l)-1].ID()
}

// roomAlike creates a room that is like a recorded one, and returns its id.
func (w *world) roomAlike(like object) string {
	if like["t"] == "d" {
		return w.directAlike(like)
	}
	if like["_id"] == "GENERAL" {
		must(0, w.e.Join("GENERAL", w.owner.Username))
		return "GENERAL"
	}
	w.rooms++
	t, name := "p", fmt.Sprintf("room-abcdefghij%03d", w.rooms)
	if like["t"] == "c" {
		t = "c"
	}
	rid := must(w.e.CreateRoom(t, name, w.owner.Username, w.member.Username))
	if like["lm"] != nil {
		last, _ := like["lastMessage"].(object)
		w.messageAlike(rid, last)
	}
	settings := object{"rid": rid}
	for field, key := range map[string]string{"roomTopic": "topic", "roomAnnouncement": "announcement"} {
		if like[key] != nil {
			settings[field] = like[key]
		}
	}
	if like["avatarETag"] != nil {
		settings["roomAvatar"] = "data:image/png;base64," + base64Picture()
	}
	w.ok(w.owner, "rooms.saveRoomSettings", settings)
	if like["muted"] != nil {
		w.ok(w.owner, "rooms.muteUser", object{"roomId": rid, "username": w.member.Username})
	}
	if like["archived"] == true {
		w.ok(w.owner, "rooms.changeArchivationState", object{"rid": rid, "action": "archive"})
	}
	return rid
}

func (w *world) directAlike(like object) string {
	if l, _ := like["usernames"].([]any); len(l) > 2 {
		return must(w.e.CreateDirect(w.owner.Username, w.member.Username, w.stranger.Username))
	}
	rid := must(w.e.CreateDirect(w.owner.Username, w.member.Username))
	if last, ok := like["lastMessage"].(object); ok {
		w.messageAlike(rid, last)
	}
	return rid
}

// personAlike makes the member, or for example the administrator, resemble a
// recorded user.
func (w *world) personAlike(like object) (who string) {
	p := w.member
	switch {
	case like["email"] != nil:
		p = w.admin
	case like["username"] == "matrix-bridge":
		p = w.bridge
	}
	if like["avatarETag"] != nil {
		w.send(request{who: p, method: "POST", path: "/api/v1/users.setAvatar", file: &part{"image", "a.png", "image/png", picture()}})
	}
	if like["nickname"] != nil {
		w.ok(w.admin, "users.update", object{"userId": p.ID, "data": object{"nickname": like["nickname"]}})
	}
	if like["lastLogin"] != nil {
		w.send(request{method: "POST", path: "/api/v1/login", body: object{"resume": p.Token}})
	}
	if like["statusText"] != nil {
		w.ok(p, "users.setStatus", object{"message": "", "status": "online"})
	}
	return p.Username
}
