package rctest_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// prepare brings the world into the state in which a request was recorded. The
// keys are kinds without the method, with "FAMILY." for both of channels and groups.
func (w *world) prepare(x exchange, q *request) {
	_, kind, _ := strings.Cut(x.kind(), " ")
	for _, family := range []string{"channels.", "groups."} {
		kind = strings.Replace(kind, family, "FAMILY.", 1)
	}
	if f := preparations[kind]; f != nil {
		f(w, x, q)
		return
	}
	endpoint, _, _ := strings.Cut(kind, " ")
	if f := preparations[endpoint]; f != nil {
		f(w, x, q)
	}
}

type preparation = func(w *world, x exchange, q *request)

func asMember(w *world, _ exchange, q *request)   { q.who = w.member }
func asStranger(w *world, _ exchange, q *request) { q.who = w.stranger }
func asGuest(w *world, _ exchange, q *request)    { q.who = w.guest }

func aboutStranger(w *world, _ exchange, q *request) { q.body["userId"] = w.stranger.ID }

func both(l ...preparation) preparation {
	return func(w *world, x exchange, q *request) {
		for _, f := range l {
			f(w, x, q)
		}
	}
}

// memberIs first gives the member a role.
func memberIs(role string) preparation {
	return func(w *world, _ exchange, q *request) {
		family, _, _ := strings.Cut(strings.TrimPrefix(q.path, "/api/v1/"), ".")
		w.ok(w.owner, family+".add"+role, object{"roomId": q.body["roomId"], "userId": w.member.ID})
	}
}

// aMessage substitutes a message for the recorded one.
func aMessage(w *world, x exchange, q *request) {
	like, ok := dig(x.Answer, "message").(object)
	if !ok {
		like = object{"_id": "m-x", "msg": "in the group"}
	}
	if like = maps.Clone(like); q.method == "POST" {
		delete(like, "editedAt")
		like["msg"] = "as it was"
	}
	id := w.messageAlike(w.group, like)
	for _, key := range []string{"msgId", "messageId"} {
		if q.query[key] != "" {
			q.query[key] = id
		}
		if q.body[key] != nil {
			q.body[key] = id
		}
	}
}

// asRecorded fills a room with messages as in a recorded history, newest first.
func asRecorded(w *world, x exchange, q *request) {
	delete(q.query, "latest")
	l, _ := dig(x.Answer, "messages").([]any)
	for i, m := range slices.Backward(l) {
		like := maps.Clone(m.(object))
		if i > 0 {
			delete(like, "tmid")
		}
		if like["_id"] != nil && !hex24.MatchString(like["_id"].(string)) {
			like["_id"] = fmt.Sprint("m-", i)
		}
		w.messageAlike(q.query["roomId"], like)
	}
}

var preparations = map[string]preparation{
	"chat.sendMessage 200": func(w *world, x exchange, q *request) {
		m := q.body["message"].(object)
		if text, _ := m["msg"].(string); strings.HasPrefix(text, "[ ](") {
			m["msg"] = w.quoting(w.group, text)
		}
	},
	"emoji-custom.delete 200": func(w *world, _ exchange, q *request) { q.body["emojiId"] = w.emoji() },
	"emoji-custom.create 200": func(w *world, _ exchange, q *request) {
		q.body, q.file = object{"name": "blobcat", "aliases": ""}, &part{"emoji", "blobcat.png", "image/png", picture()}
	},
	"integrations.remove 200": func(w *world, x exchange, q *request) {
		id := w.hook()
		if q.body["integrationId"] = id; strings.Contains(jsonText(x.Answer), "_updatedBy") {
			w.changedHook(id)
		}
	},
	"integrations.update 400 error-invalid-channel": func(w *world, _ exchange, q *request) { q.who, q.body["integrationId"] = w.owner, w.hook() },
	"users.updateOwnBasicInfo 200": func(w *world, x exchange, q *request) {
		q.who = w.person(w.personAlike(dig(x.Answer, "user").(object)))
	},
	"me 200": func(w *world, x exchange, q *request) { q.who = w.person(w.personAlike(x.Answer.(object))) },
	"users.createToken 400 error-invalid-user": func(w *world, _ exchange, q *request) { q.who = w.admin },
	"users.createToken 200":                    func(w *world, _ exchange, q *request) { q.who = w.admin },
	"subscriptions.get 200":                    func(w *world, _ exchange, q *request) { q.who = w.member },
	"im.history 200":                           asRecorded,
	"FAMILY.members 200": func(w *world, _ exchange, q *request) {
		if q.path == "/api/v1/groups.members" {
			w.personAlike(object{"nickname": "@new:example.org"})
		}
	},
	"users.list 200": func(w *world, _ exchange, _ *request) { w.personAlike(object{"lastLogin": "now"}) },
	"im.list 200": func(w *world, x exchange, q *request) {
		for _, r := range dig(x.Answer, "ims").([]any) {
			w.directAlike(r.(object))
		}
	},
	"rooms.adminRooms 200": func(w *world, x exchange, q *request) {
		for _, r := range dig(x.Answer, "rooms").([]any) {
			if r := r.(object); r["t"] == "d" {
				w.directAlike(r)
			}
		}
		for _, rid := range []string{w.channel, w.group} {
			w.ok(w.bridge, "rooms.delete", object{"roomId": rid})
		}
	},
	"rooms.get 200": func(w *world, x exchange, q *request) {
		for _, r := range dig(x.Answer, "update").([]any) {
			w.roomAlike(r.(object))
		}
	},
	"FAMILY.setReadOnly 200": func(w *world, x exchange, q *request) {
		q.body["roomId"] = w.roomAlike(dig(x.Answer, "group").(object))
	},
	"groups.invite 200": nil,
	"FAMILY.rename 200": func(w *world, x exchange, q *request) {
		q.body["roomId"] = w.roomAlike(dig(x.Answer, "channel").(object))
	},
	"FAMILY.history 200":                                   asRecorded,
	"FAMILY.join 400 error-room-not-found":                 func(w *world, _ exchange, q *request) { q.body["roomId"] = w.group },
	"FAMILY.addModerator 400 error-not-allowed":            asMember,
	"FAMILY.addModerator 400 error-user-already-moderator": memberIs("Moderator"),
	"FAMILY.addModerator 400 error-user-not-in-room":       aboutStranger,
	"FAMILY.addOwner 400 error-not-allowed":                asMember,
	"FAMILY.addOwner 400 error-user-already-owner":         memberIs("Owner"),
	"FAMILY.removeModerator 200":                           memberIs("Moderator"),
	"FAMILY.removeOwner 200":                               memberIs("Owner"),
	"FAMILY.removeOwner 400 error-remove-last-owner":       func(w *world, _ exchange, q *request) { q.body["userId"] = w.owner.ID },
	"FAMILY.create 403 unauthorized":                       asGuest,
	"FAMILY.create 400 error-not-allowed":                  asGuest,
	"FAMILY.create 400 error-duplicate-channel-name": func(w *world, _ exchange, q *request) {
		q.body["name"] = "room-abcdefghijklm"
		w.room("c", "room-abcdefghijklm")
	},
	"FAMILY.invite 200": func(w *world, x exchange, q *request) {
		room, ok := dig(x.Answer, "channel").(object)
		if !ok {
			room = dig(x.Answer, "group").(object)
		}
		q.body["roomId"], q.body["userId"] = w.roomAlike(room), w.stranger.ID
	},
	"FAMILY.invite 400 error-not-allowed":     both(asMember, aboutStranger),
	"FAMILY.join 200":                         asStranger,
	"FAMILY.kick 400 error-not-allowed":       asMember,
	"FAMILY.kick 400 error-user-not-in-room":  aboutStranger,
	"FAMILY.kick 400 error-room-not-found":    asStranger,
	"FAMILY.leave 200":                        asMember,
	"FAMILY.leave 400 error-user-not-in-room": asStranger,
	"FAMILY.history 400 error-room-not-found": asStranger,
	"FAMILY.members 400 error-room-not-found": asStranger,
	"FAMILY.history": func(w *world, _ exchange, q *request) {
		delete(q.query, "latest")
	},
	"FAMILY.counters": func(w *world, _ exchange, q *request) { q.query["userId"] = w.member.ID },
	"FAMILY.roles": func(w *world, _ exchange, q *request) {
		w.ok(w.owner, "groups.addModerator", object{"roomId": w.group, "userId": w.member.ID})
	},
	"FAMILY.setTopic 400 The channel topic is the same as what it would be changed to.": func(w *world, _ exchange, q *request) {
		w.ok(w.owner, "channels.setTopic", object{"roomId": w.channel, "topic": q.body["topic"]})
	},
	"chat.getMessage 200":                     aMessage,
	"chat.getMessage 400 error-not-allowed":   both(aMessage, asStranger),
	"chat.syncMessages 400 error-not-allowed": asStranger,
	"chat.syncMessages 200": func(w *world, x exchange, q *request) {
		q.query["roomId"] = must(w.e.CreateRoom("c", "room-abcdefghijklm", w.owner.Username))
		id := w.messageAlike(q.query["roomId"], object{"_id": "m-x", "msg": "said"})
		if q.query["type"] == "DELETED" {
			w.ok(w.bridge, "chat.delete", object{"roomId": q.query["roomId"], "msgId": id})
		}
	},
	"chat.delete 200":                          aMessage,
	"chat.delete 400 error-action-not-allowed": both(aMessage, asMember),
	"chat.update 200":                          aMessage,
	"chat.update 400 error-action-not-allowed": both(aMessage, asMember),
	"chat.update 400 The room id provided does not match where the message is from.": both(aMessage, func(w *world, _ exchange, q *request) {
		q.body["roomId"] = w.channel
	}),
	"chat.react 200":                         aMessage,
	"chat.react 400 error-not-allowed":       aMessage,
	"chat.postMessage 200":                   nil,
	"chat.sendMessage 400 error-not-allowed": asStranger,
	"chat.sendMessage 400 Cannot read properties of undefined (reading 'starred')": func(w *world, _ exchange, q *request) {
		q.body["message"].(object)["_id"] = w.inGroup()
	},
	"chat.sendMessage 400 error-message-size-exceeded": func(w *world, _ exchange, q *request) {
		q.body["message"].(object)["msg"] = strings.Repeat("x", 6000)
	},
	"chat.sendMessage 400 You_have_been_muted": func(w *world, _ exchange, q *request) {
		w.ok(w.owner, "rooms.muteUser", object{"roomId": w.group, "username": w.member.Username})
		q.who = w.member
	},
	"rooms.info 200": func(w *world, x exchange, q *request) {
		q.query["roomId"] = w.roomAlike(dig(x.Answer, "room").(object))
	},
	"rooms.info 400 Not Allowed": asStranger,
	"rooms.info 400 error-room-archived": func(w *world, x exchange, q *request) {
		must(0, w.e.ChangeRoom(w.group, w.owner.Username, map[string]any{"roomName": "renamed-abcdefghijklm"}))
		w.ok(w.owner, "rooms.changeArchivationState", object{"rid": w.group, "action": "archive"})
		if strings.Contains(jsonText(x.Answer), "The channel") {
			q.query["roomId"] = w.group
		}
	},
	"rooms.adminRooms.getRoom 200":                      func(w *world, x exchange, q *request) { q.query["rid"] = w.roomAlike(x.Answer.(object)) },
	"rooms.adminRooms.getRoom 400 error-not-authorized": func(w *world, _ exchange, q *request) { q.who = w.owner },
	"subscriptions.getOne 200": func(w *world, x exchange, q *request) {
		like, _ := dig(x.Answer, "subscription").(object)
		switch {
		case like == nil:
			q.who = w.guest
		case like["roles"] == nil:
			w.ok(w.owner, "groups.invite", object{"roomId": w.group, "userId": w.stranger.ID})
			q.who = w.stranger
			if like["ls"] != nil {
				w.ok(w.stranger, "subscriptions.read", object{"rid": w.group})
			}
		}
	},
	"subscriptions.get 429 Error, too many requests. Please slow down. You must wait N seconds before trying this endpoint again. [error-too-many-requests]": func(w *world, _ exchange, q *request) {
		for range 10 {
			w.send(*q)
		}
	},
	"users.createToken 400 error-not-authorized": func(w *world, _ exchange, q *request) {
		if w.version == "7.2" {
			q.who, q.body["userId"] = w.member, w.stranger.ID
			return
		}
		q.body["secret"] = "wrong"
	},
	"users.info 200": func(w *world, x exchange, q *request) {
		like := dig(x.Answer, "user").(object)
		q.query = map[string]string{"username": w.personAlike(like)}
		if like["services"] != nil {
			q.who = w.bridge
		}
	},
	"users.update": func(w *world, x exchange, q *request) {
		q.body["userId"] = w.member.ID
		if x.Status == 200 {
			w.personAlike(dig(x.Answer, "user").(object))
		}
	},
	"im.create 200":                             nil,
	"integrations.update 200":                   func(w *world, _ exchange, q *request) { q.body["integrationId"] = w.hook() },
	"users.create 400 error-action-not-allowed": func(w *world, _ exchange, q *request) { q.who = w.owner },
	"users.create 400 error-field-unavailable": func(w *world, _ exchange, q *request) {
		w.create(q.body["username"].(string))
	},
	"login 200": func(w *world, _ exchange, q *request) { q.body["password"] = "admin-password" },
	"rooms.media 200": func(w *world, _ exchange, q *request) {
		w.file(q, &part{"file", "big noise.bin", "application/octet-stream", []byte("data")})
	},
	"integrations.list 200": func(w *world, x exchange, q *request) {
		if id := w.hook(); strings.Contains(jsonText(x.Answer), "_updatedBy") {
			w.changedHook(id)
		}
	},
	"rooms.media 400 file-too-small": func(w *world, _ exchange, q *request) {
		w.file(q, &part{"file", "a.txt", "text/plain", nil})
	},
	"rooms.media 400 error-invalid-file-type": func(w *world, _ exchange, q *request) {
		w.file(q, &part{"file", "a.svg", "image/svg+xml", []byte("<svg/>")})
	},
	"rooms.media 403 unauthorized": func(w *world, _ exchange, q *request) {
		q.who = w.stranger
		w.file(q, &part{"file", "a.txt", "text/plain", []byte("text")})
	},
	"rooms.mediaConfirm 200": func(w *world, x exchange, q *request) {
		name, kind, data := "big noise.bin", "application/octet-stream", []byte("noise")
		if files, _ := dig(x.Answer, "message", "files").([]any); len(files) > 1 {
			name, kind, data = "pixel.png", "image/png", picture()
		}
		q.path = "/api/v1/rooms.mediaConfirm/" + w.group + "/" + w.upload(name, kind, data)
	},
	"rooms.mediaConfirm 400 Match error: Failed Match.OneOf, Match.Maybe or Match.Optional validation": func(w *world, _ exchange, q *request) {
		q.path = "/api/v1/rooms.mediaConfirm/" + w.group + "/" + w.upload("a.txt", "text/plain", []byte("text"))
	},
	"rooms.mediaConfirm 400 invalid-file": func(w *world, x exchange, q *request) {
		q.path = "/api/v1/rooms.mediaConfirm/" + w.group + "/no-such-file"
	},
	"users.setAvatar 200": func(w *world, _ exchange, q *request) {
		q.body, q.file = nil, &part{"image", "a.png", "image/png", picture()}
	},
	"users.setAvatar 400 ufs: cannot upload file": func(w *world, _ exchange, q *request) {
		q.body, q.file = nil, &part{"image", "a.png", "image/png", picture()[:40]}
	},
	"users.resetAvatar": func(w *world, _ exchange, q *request) { q.body["userId"] = w.owner.ID },
	"emoji-custom.create": func(w *world, _ exchange, q *request) {
		q.body, q.file = nil, &part{"emoji", "blobcat.png", "image/png", picture()}
	},
	"/avatar/NAME 200": func(w *world, x exchange, q *request) {
		q.path = "/avatar/who"
		if dig(x.Answer, "content_type") == "image/png" {
			w.send(request{who: w.member, method: "POST", path: "/api/v1/users.setAvatar", file: &part{"image", "a.png", "image/png", picture()}})
			q.path, q.who = "/avatar/"+w.member.Username, w.member
		}
	},
	"/avatar/room/ID 200": func(w *world, x exchange, q *request) {
		if dig(x.Answer, "content_type") == "image/png" {
			w.pictureOfRoom()
			q.path, q.who = "/avatar/room/"+w.group, w.member
		}
	},
	"/emoji-custom/blobcat.png 200": func(w *world, _ exchange, _ *request) { w.emoji() },
	"/file-upload/ID/.png 200": func(w *world, _ exchange, q *request) {
		q.path, q.who = "/file-upload/"+w.posted("pixel.png", "image/png", picture())+"/pixel.png", w.owner
	},
	"/file-upload/ID/.txt 200": func(w *world, _ exchange, q *request) {
		q.path, q.who = "/file-upload/"+w.posted("a.txt", "text/plain", []byte("text"))+"/a.txt", w.owner
	},
	"/file-upload/ID/.bin 200": func(w *world, _ exchange, q *request) {
		q.path, q.who = "/file-upload/"+w.posted("a.bin", "application/octet-stream", []byte("noise"))+"/a.bin", w.owner
	},
	"/file-upload/ID/.pdf 200": func(w *world, _ exchange, q *request) {
		q.path, q.who = "/file-upload/"+w.posted("notes.pdf", "application/pdf", []byte("%PDF"))+"/notes.pdf", w.owner
	},
	"/file-upload/ID/.txt 403": func(w *world, _ exchange, q *request) {
		q.path, q.who = "/file-upload/"+w.posted("a.txt", "text/plain", []byte("text"))+"/a.txt", w.stranger
	},
	"rooms.muteUser":   func(w *world, _ exchange, q *request) { q.body["username"] = w.member.Username },
	"rooms.unmuteUser": func(w *world, _ exchange, q *request) { q.body["username"] = w.member.Username },
	"users.delete":     func(w *world, _ exchange, q *request) { q.body["userId"] = w.member.ID },
}

// file turns a request into a multipart one to the group.
func (w *world) file(q *request, p *part) {
	q.path, q.body, q.file = "/api/v1/rooms.media/"+w.group, nil, p
}

func (w *world) hook() string {
	var v struct {
		Integration struct {
			ID string `json:"_id"`
		}
	}
	answer := w.ok(w.admin, "integrations.create", object{"type": "webhook-outgoing", "name": "hook-abcdefghijklm", "enabled": true,
		"username": "admin", "event": "sendMessage", "channel": "all_direct_messages", "urls": []any{"http://127.0.0.1:1/hook"},
		"token": "t", "retryFailedCalls": false, "retryCount": 3, "retryDelay": "powers-of-two", "scriptEnabled": false})
	must(0, json.Unmarshal([]byte(jsonText(answer)), &v))
	return v.Integration.ID
}

func (w *world) pictureOfRoom() {
	w.ok(w.owner, "rooms.saveRoomSettings", object{"rid": w.group, "roomAvatar": "data:image/png;base64," + base64Picture()})
}

func (w *world) changedHook(id string) {
	w.send(request{who: w.admin, method: "PUT", path: "/api/v1/integrations.update", body: object{"integrationId": id, "type": "webhook-outgoing",
		"name": "hook-abcdefghijklm", "enabled": true, "username": "admin", "event": "sendMessage", "channel": "all_direct_messages",
		"urls": []any{"http://127.0.0.1:1/hook"}, "token": "t", "scriptEnabled": false}})
}

// emoji creates a custom emoji and returns its id.
func (w *world) emoji() string {
	w.send(request{who: w.admin, method: "POST", path: "/api/v1/emoji-custom.create", body: object{"name": "blobcat", "aliases": ""},
		file: &part{"emoji", "blobcat.png", "image/png", picture()}})
	_, answer := w.send(request{who: w.admin, method: "GET", path: "/api/v1/emoji-custom.list"})
	id, _ := dig(answer, "emojis", "update", 0, "_id").(string)
	return id
}
