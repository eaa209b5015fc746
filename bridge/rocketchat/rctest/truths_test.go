package rctest_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"appliance/bridge/rocketchat/rctest"
)

// Observed behaviour of genuine servers that the documentation does not mention. Each
// test names the versions that it holds for.

var everyVersion = []string{"7.2", "8.3", "8.6"}

// inVersion starts a polite server of a version with ada and bob.
func inVersion(t *testing.T, version string, env ...string) (s *rctest.Server, ada, bob client) {
	t.Helper()
	s = &rctest.Server{Polite: true, Version: version, Env: map[string]string{}}
	for i := 0; i < len(env); i += 2 {
		s.Env[env[i]] = env[i+1]
	}
	s.Start(t)
	return s, client{t, s, s.CreateUser("ada")}, client{t, s, s.CreateUser("bob")}
}

// eachVersion runs f for the versions named.
func eachVersion(t *testing.T, versions []string, f func(t *testing.T, version string)) {
	t.Helper()
	for _, v := range versions {
		t.Run(v, func(t *testing.T) { f(t, v) })
	}
}

// password returns the headers that give the password as the second factor.
func password(p string) []string {
	sum := sha256.Sum256([]byte(p))
	return []string{"x-2fa-method", "password", "x-2fa-code", hex.EncodeToString(sum[:])}
}

func paint(w, h int) []byte {
	img := image.NewRGBA(image.Rect(0, 0, w, h))
	for i := range img.Pix {
		img.Pix[i] = uint8(i)
	}
	img.Set(0, 0, color.White)
	var b bytes.Buffer
	if err := png.Encode(&b, img); err != nil {
		panic(err)
	}
	return b.Bytes()
}

func size(t *testing.T, data string) (w, h int) {
	t.Helper()
	c, _, err := image.DecodeConfig(strings.NewReader(data))
	if err != nil {
		t.Fatalf("this is no picture: %v", err)
	}
	return c.Width, c.Height
}

func TestTruth_ARefusedLoginIs401AndAPersonalTokenNeverEnds(t *testing.T) {
	eachVersion(t, everyVersion, func(t *testing.T, version string) {
		s, ada, _ := inVersion(t, version)
		d := client{t: t, s: s}.dial()
		for _, with := range []object{{"resume": "no-such-token"}, {"user": object{"username": "ada"}, "password": object{"digest": "00", "algorithm": "sha-256"}},
			{"user": object{"username": "nobody"}, "password": object{"digest": "00", "algorithm": "sha-256"}}} {
			if f := d.call("login", with); dig(f, "error", "error") != 401.0 || dig(f, "error", "reason") != "User not found" {
				t.Errorf("%v: %v", with, f)
			}
		}
		token := dig(ada.ok(ada.do("POST", "/api/v1/users.generatePersonalAccessToken", object{"tokenName": "t", "bypassTwoFactor": true},
			password("ada")...)), "token")
		f := d.call("login", object{"resume": token})
		expires, has := dig(f, "result", "tokenExpires").(object)
		if !has || len(expires) != 1 || expires["$date"] != nil {
			t.Errorf("a personal access token ends: %v", f)
		}
	})
}

func TestTruth_AConnectionHas600CallsAMinuteAndAUser1200(t *testing.T) {
	s, ada, _ := inVersion(t, "", "OVERWRITE_SETTING_DDP_Rate_Limit_Connection_By_Method_Enabled", "false",
		"OVERWRITE_SETTING_DDP_Rate_Limit_User_By_Method_Enabled", "false")
	rid := s.CreateChannel("c1", "ada")
	fill := func(d *session, calls int) {
		for i := range calls {
			d.say(object{"msg": "sub", "id": fmt.Sprint("s", i), "name": "stream-room-messages", "params": []any{rid, false}})
		}
		d.until("the last answer", func(f object) bool { return dig(f, "subs", 0) == fmt.Sprint("s", calls-1) })
	}
	refused := func(what string, d *session) {
		t.Helper()
		f := d.sub("stream-room-messages", rid)
		left, _ := dig(f, "error", "details", "timeToReset").(float64)
		if f["msg"] != "nosub" || dig(f, "error", "error") != "too-many-requests" || left <= 0 || left > 60000 {
			t.Errorf("%s: %v", what, f)
		}
	}
	first := ada.dial() // its login counts as a call
	fill(first, 599)
	refused("the 601st call of a connection", first)
	fill(ada.dial(), 599)
	third := ada.dial()
	fill(third, 1)
	refused("the 1201st call of a user", third)
}

func TestTruth_TheAdministrationDoesNotTellWhenARoomWasUsed(t *testing.T) {
	eachVersion(t, everyVersion, func(t *testing.T, version string) {
		s, _, _ := inVersion(t, version)
		rid := s.CreateDirect("ada", "bob")
		s.Say(rid, "ada", "psst")
		root := admin(t, s)
		for _, r := range []any{dig(root.get("rooms.adminRooms?types[]=d"), "rooms", 0), any(root.get("rooms.adminRooms.getRoom?rid=" + rid))} {
			if dig(r, "_id") != rid || dig(r, "lm") != nil || dig(r, "lastMessage") != nil || dig(r, "msgs") != 1.0 {
				t.Errorf("got %v", r)
			}
		}
	})
}

func TestTruth_AnArchivedRoomHasNoInfoBefore86(t *testing.T) {
	eachVersion(t, everyVersion, func(t *testing.T, version string) {
		s, ada, _ := inVersion(t, version)
		rid := s.CreateChannel("c1", "ada")
		ada.post("channels.archive", object{"roomId": rid})
		if version == "8.6" {
			if v := ada.get("rooms.info?roomId=" + rid); dig(v, "room", "archived") != true {
				t.Errorf("got %v", v)
			}
			return
		}
		ada.refusedGet("rooms.info?roomId="+rid, 400, "The channel, c1, is archived [error-room-archived]", "error-room-archived")
		if v := admin(t, s).get("rooms.adminRooms.getRoom?rid=" + rid); v["archived"] != true {
			t.Errorf("the administration: %v", v)
		}
	})
}

func TestTruth_ErasingSomebodyIsToldByUsersDeletedAlone(t *testing.T) {
	for _, erasure := range []string{"Keep", "Delete", "Unlink"} {
		t.Run(erasure, func(t *testing.T) {
			s, ada, bob := inVersion(t, "", "OVERWRITE_SETTING_Message_ErasureType", erasure)
			rid := s.CreateChannel("c1", "ada", "bob")
			s.Say(rid, "bob", "said")
			d := ada.dial()
			d.sub("stream-notify-logged", "Users:Deleted")
			d.sub("stream-notify-logged", "roles-change")
			d.sub("stream-notify-room", rid+"/deleteMessageBulk")
			d.sub("stream-notify-room", rid+"/deleteMessage")
			admin(t, s).post("users.delete", object{"userId": bob.who.ID, "confirmRelinquish": true})
			admin(t, s).post("roles.addUserToRole", object{"username": "ada", "roleId": "bot"}) // the end of the events
			var seen []string
			d.until("the end", func(f object) bool {
				if f["msg"] == "changed" {
					seen = append(seen, fmt.Sprint(dig(f, "fields", "eventName"), dig(f, "fields", "args", 0, "messageErasureType")))
				}
				return dig(f, "fields", "eventName") == "roles-change"
			})
			want := map[string]string{"Keep": "", "Delete": "Users:DeletedDelete ", "Unlink": "Users:DeletedUnlink "}[erasure]
			if got := strings.TrimSuffix(strings.Join(seen, " "), "roles-change<nil>"); got != want {
				t.Errorf("events %q, want %q", got, want)
			}
			if left := len(s.Said(rid)); left != map[string]int{"Keep": 1, "Delete": 0, "Unlink": 1}[erasure] {
				t.Errorf("%d messages are left", left)
			}
		})
	}
}

func TestTruth_ANewNameIsToldOnlyWhereRealNamesAreUsed(t *testing.T) {
	s, ada, bob := inVersion(t, "")
	d := ada.dial()
	d.sub("stream-notify-logged", "Users:NameChanged")
	s.SetName("bob", "Robert") // not announced
	root := admin(t, s)
	root.ok(root.do("POST", "/api/v1/users.update", object{"userId": bob.who.ID, "data": object{"username": "bobby"}}, password(root.who.Password)...))
	if a := d.event("stream-notify-logged", "Users:NameChanged"); dig(a, 0, "username") != "bobby" {
		t.Errorf("the first that was told: %v", a)
	}
	s, ada, _ = inVersion(t, "", "OVERWRITE_SETTING_UI_Use_Real_Name", "true")
	d = ada.dial()
	d.sub("stream-notify-logged", "Users:NameChanged")
	s.SetName("bob", "Robert")
	if a := d.event("stream-notify-logged", "Users:NameChanged"); dig(a, 0, "username") != "bob" || dig(a, 0, "name") != "Robert" {
		t.Errorf("where real names are used: %v", a)
	}
}

// Events contain what their published types say and nothing else.
func TestTruth_EventsTellNoMoreThanTheirTypes(t *testing.T) {
	s, _, bob := inVersion(t, "")
	rid := s.CreateRoom("p", "p1", "ada", "bob")
	direct := s.CreateDirect("ada", "bob")
	d := bob.dial()
	d.sub("stream-notify-room", rid+"/messagesRead")
	d.sub("stream-notify-room", rid+"/user-activity")
	for _, event := range []string{"subscriptions-changed", "notification"} {
		d.sub("stream-notify-user", bob.who.ID+"/"+event)
	}
	keys := func(v any) string {
		o, _ := v.(object)
		return strings.Join(slices.Sorted(maps.Keys(o)), " ")
	}
	s.Typing(rid, "ada", true)
	if a := d.event("stream-notify-room", rid+"/user-activity"); jsonText(a) != `["ada",["user-typing"]]` {
		t.Errorf("typing is told with %v", a)
	}
	s.Say(direct, "ada", "hi")
	if a := d.event("stream-notify-user", bob.who.ID+"/notification"); keys(dig(a, 0, "payload")) != "_id message name rid sender type" {
		t.Errorf("a message outside threads is told with %v", a)
	}
	bob.post("subscriptions.read", object{"rid": rid})
	if a := d.event("stream-notify-room", rid+"/messagesRead"); keys(dig(a, 0)) != "until" {
		t.Errorf("that a room was read is told with %v", a)
	}
	s.Leave(rid, "bob")
	d.until("the end of the subscription", func(f object) bool {
		if dig(f, "fields", "args", 0) != "removed" {
			return false
		}
		if got := keys(dig(f, "fields", "args", 1)); got != "_id rid t u" {
			t.Errorf("the end of a subscription is told with %s", got)
		}
		return true
	})
}

// Members of a channel and roles of a user may be null up to 8.3, and not later.
func TestTruth_NullIsNoListFrom86On(t *testing.T) {
	eachVersion(t, everyVersion, func(t *testing.T, version string) {
		s, ada, _ := inVersion(t, version, "OVERWRITE_SETTING_API_Enable_Rate_Limiter", "false")
		root := admin(t, s)
		for path, try := range map[string]func() (int, object, http.Header){
			"channels.create": func() (int, object, http.Header) {
				return ada.do("POST", "/api/v1/channels.create", object{"name": "c1", "members": nil})
			},
			"users.create": func() (int, object, http.Header) {
				return root.do("POST", "/api/v1/users.create", object{"email": "x@y.z", "name": "X", "password": "p", "username": "x", "roles": nil})
			},
		} {
			status, v, _ := try()
			if refused := version == "8.6"; refused != (status == 400 && v["errorType"] == "invalid-params") || !refused && status != 200 {
				t.Errorf("%s: %d %v", path, status, v)
			}
		}
	})
}

func TestTruth_PicturesAreMadeSquareSmallAndChecked(t *testing.T) {
	s, ada, _ := inVersion(t, "")
	if status, v := ada.upload("/api/v1/users.setAvatar", "image", "a.png", "image/png", paint(300, 200)[:60]); status != 400 || v["errorType"] != "ufs: cannot upload file" {
		t.Errorf("a broken picture: %d %v", status, v)
	}
	ada.upload("/api/v1/users.setAvatar", "image", "a.png", "image/png", paint(300, 200))
	as := "?rc_uid=" + ada.who.ID + "&rc_token=" + ada.who.Token
	for path, want := range map[string]string{"/avatar/ada" + as: "image/png", "/avatar/ada?rc_uid=" + ada.who.ID + "&rc_token=wrong": "image/svg+xml",
		"/avatar/ada": "image/svg+xml", "/avatar/bob" + as: "image/svg+xml", "/emoji-custom/none.png": "image/svg+xml"} {
		status, v, h := client{t: t, s: s}.do("GET", path, nil)
		if status != 200 || h.Get("Content-Type") != want {
			t.Errorf("%s: %d %s", path, status, h.Get("Content-Type"))
		} else if want == "image/png" {
			if w, h := size(t, v["raw"].(string)); w != 200 || h != 200 {
				t.Errorf("%s is %d by %d", path, w, h)
			}
		}
	}
}

func TestTruth_CustomEmojiAreMadeSmall(t *testing.T) {
	s, _, _ := inVersion(t, "")
	root := client{t, s, s.CreateUser("root", "admin")}
	sent := paint(300, 200)
	if status, v := root.upload("/api/v1/emoji-custom.create", "emoji", "ourcat.png", "image/png", sent, "name", "ourcat"); status != 200 {
		t.Fatal(status, v)
	}
	status, v, h := client{t: t, s: s}.do("GET", "/emoji-custom/ourcat.png", nil)
	got, _ := v["raw"].(string)
	if status != 200 || h.Get("Content-Type") != "image/png" || got == string(sent) {
		t.Fatalf("%d %s, as it was sent: %t", status, h.Get("Content-Type"), got == string(sent))
	}
	if w, h := size(t, got); w != 128 || h > 128 {
		t.Errorf("it is %d by %d", w, h)
	}
}

// From 8.x on the picture is announced before users.info has its etag.
func TestTruth_ANewPictureIsAnnouncedBeforeItIsStored(t *testing.T) {
	s, ada, bob := inVersion(t, "8.3")
	d := bob.dial()
	d.sub("stream-notify-logged", "updateAvatar")
	ada.upload("/api/v1/users.setAvatar", "image", "a.png", "image/png", paint(10, 10))
	told := dig(d.event("stream-notify-logged", "updateAvatar"), 0, "etag")
	if told == nil || s.User("ada")["avatarETag"] == told {
		t.Errorf("announced %v, already stored", told)
	}
	s.WaitUntil(t, "the etag", func() bool { return s.User("ada")["avatarETag"] == told })
}

func TestTruth_DimensionsAreTheThumbnails(t *testing.T) {
	s, ada, _ := inVersion(t, "")
	rid := s.CreateRoom("p", "p1", "ada")
	_, v := ada.upload("/api/v1/rooms.media/"+rid, "file", "view.png", "image/png", paint(700, 500))
	m := ada.post("rooms.mediaConfirm/"+rid+"/"+dig(v, "file", "_id").(string), object{})["message"]
	at := dig(m, "attachments", 0)
	if dig(at, "image_dimensions", "width") != 480.0 || dig(at, "image_dimensions", "height") != 342.0 {
		t.Errorf("dimensions %v", dig(at, "image_dimensions"))
	}
	original, thumb := dig(at, "title_link").(string), dig(at, "image_url").(string)
	if original == thumb || !strings.HasSuffix(thumb, "/view.png") || dig(m, "files", 1, "name") != "thumb-view.png" {
		t.Errorf("title_link %s, image_url %s, files %v", original, thumb, dig(m, "files"))
	}
	_, full, _ := ada.do("GET", original, nil)
	if w, h := size(t, full["raw"].(string)); w != 700 || h != 500 {
		t.Errorf("the original is %d by %d", w, h)
	}
}

func TestTruth_TheTypeOfAFileComesFromItsNameWhereTheOneSentIsUnknown(t *testing.T) {
	s, ada, _ := inVersion(t, "")
	rid := s.CreateRoom("p", "p1", "ada")
	for kind, want := range map[string]string{"application/x-no-such-thing": "image/png", "image/jpeg": "image/jpeg"} {
		_, v := ada.upload("/api/v1/rooms.media/"+rid, "file", "a.png", kind, paint(2, 2))
		m := ada.post("rooms.mediaConfirm/"+rid+"/"+dig(v, "file", "_id").(string), object{})["message"]
		if got := dig(m, "file", "type"); got != want {
			t.Errorf("%s became %v", kind, got)
		}
	}
}

func TestTruth_FileNameIsRefusedBy72(t *testing.T) {
	eachVersion(t, everyVersion, func(t *testing.T, version string) {
		s, ada, _ := inVersion(t, version)
		rid := s.CreateRoom("p", "p1", "ada")
		_, v := ada.upload("/api/v1/rooms.media/"+rid, "file", "a.txt", "text/plain", []byte("text"))
		status, v, _ := ada.do("POST", "/api/v1/rooms.mediaConfirm/"+rid+"/"+dig(v, "file", "_id").(string), object{"fileName": "b.txt"})
		if refused := version == "7.2"; refused != (status == 400) || !refused && dig(v, "message", "file", "name") != "b.txt" {
			t.Errorf("%d %v", status, v)
		}
	})
}

func TestTruth_ABodyOfNullIsRefusedBy72(t *testing.T) {
	eachVersion(t, everyVersion, func(t *testing.T, version string) {
		s, ada, _ := inVersion(t, version)
		req, _ := http.NewRequest("GET", s.URL+"/api/v1/me", strings.NewReader("null"))
		req.Header.Set("Content-Type", "application/json")
		status, v, h := ada.send(req)
		if version != "7.2" {
			if status != 200 || v["username"] != "ada" {
				t.Errorf("%d %v", status, v)
			}
		} else if status != 400 || !strings.HasPrefix(h.Get("Content-Type"), "text/html") {
			t.Errorf("%d %v", status, v)
		}
	})
}

func TestTruth_WhatDoesNotExistIs404OrIn72ForPOST405(t *testing.T) {
	eachVersion(t, everyVersion, func(t *testing.T, version string) {
		s, ada, bob := inVersion(t, version)
		if status, v, _ := ada.do("GET", "/api/v1/info", nil); status != 404 {
			t.Errorf("/api/v1/info: %d %v", status, v)
		}
		rid := s.CreateChannel("c1", "ada", "bob")
		status, _, _ := ada.do("POST", "/api/v1/rooms.banUser", object{"roomId": rid, "userId": bob.who.ID})
		if want := map[bool]int{true: 405, false: 200}[version == "7.2"]; status != want {
			t.Errorf("rooms.banUser: %d, want %d", status, want)
		}
	})
}

func TestTruth_InvitationsOfNobodyAndTheirMessages(t *testing.T) {
	eachVersion(t, everyVersion, func(t *testing.T, version string) {
		s, ada, _ := inVersion(t, version)
		public, private := s.CreateChannel("c1", "ada"), s.CreateRoom("p", "p1", "ada")
		ada.refused("channels.invite", object{"roomId": public, "userId": "nobody"}, 400, "invalid-user-invite-list", "Cannot invite if no users are provided")
		ada.refused("groups.invite", object{"roomId": private, "userId": "nobody"}, 400, "Cannot invite if no valid users are provided [error-empty-invite-list]", "error-empty-invite-list")
		s.Invite(public, "ada", "bob")
		s.Invite(private, "ada", "bob")
		kind := func(rid string) string { l := s.Messages(rid); return l[len(l)-1].Type }
		if want := map[bool]string{true: "uj", false: "au"}[version == "7.2"]; kind(public) != want || kind(private) != "au" {
			t.Errorf("the messages are %s and %s, want %s and au", kind(public), kind(private), want)
		}
	})
}

func TestTruth_AMethodThatFailsOverREST(t *testing.T) {
	eachVersion(t, everyVersion, func(t *testing.T, version string) {
		s, ada, _ := inVersion(t, version)
		rid := s.CreateRoom("p", "p1", "bob")
		status, v, _ := ada.do("POST", "/api/v1/method.call/getRoomById", object{"message": jsonText(object{"msg": "method", "id": "1",
			"method": "getRoomById", "params": []any{rid}})})
		said, _ := v["message"].(string)
		if fine := version == "7.2"; (status == 200) != fine || v["success"] != fine || !strings.Contains(said, `"error":"error-not-allowed"`) {
			t.Errorf("%d %v", status, v)
		}
	})
}

func TestTruth_TheSecretForTokens(t *testing.T) {
	for version, c := range map[string]struct{ admin, user, without, badSecret any }{
		"7.2": {nil, "error-not-authorized", nil, nil},
		"8.3": {nil, nil, "invalid-params", "error-not-authorized"},
		"8.6": {nil, "error-not-authorized", "invalid-params", "error-not-authorized"},
	} {
		t.Run(version, func(t *testing.T) {
			s, ada, bob := inVersion(t, version)
			ask := func(by client, body object) any {
				body["userId"] = bob.who.ID
				_, v, _ := by.do("POST", "/api/v1/users.createToken", body)
				return v["errorType"]
			}
			root := admin(t, s)
			right := func() object { return object{"secret": rctest.CreateTokenSecret} }
			for what, got := range map[string][2]any{"an administrator": {ask(root, right()), c.admin}, "a user": {ask(ada, right()), c.user},
				"no secret": {ask(root, object{}), c.without}, "a wrong secret": {ask(root, object{"secret": "wrong"}), c.badSecret}} {
				if got[0] != got[1] {
					t.Errorf("%s: %v, want %v", what, got[0], got[1])
				}
			}
		})
	}
}

func TestTruth_ADirectRoomWithNobody(t *testing.T) {
	eachVersion(t, everyVersion, func(t *testing.T, version string) {
		s, ada, bob := inVersion(t, version)
		if version == "7.2" {
			ada.refused("im.create", object{"username": "nobody"}, 400, "Invalid user [error-invalid-user]", "error-invalid-user")
			pair := s.CreateDirect("ada", "bob")
			if pair != ada.who.ID+bob.who.ID && pair != bob.who.ID+ada.who.ID {
				t.Errorf("the id is %s", pair)
			}
			return
		}
		v := ada.post("im.create", object{"username": "nobody"})
		if got := jsonText(dig(v, "room", "usernames")); got != `["ada"]` {
			t.Errorf("got a room of %s", got)
		}
		v = ada.post("im.create", object{"usernames": "bob,nobody"})
		if got := jsonText(dig(v, "room", "usernames")); got != `["ada","bob"]` {
			t.Errorf("got a room of %s", got)
		}
		if pair := s.CreateDirect("ada", "bob"); !hex24.MatchString(pair) {
			t.Errorf("the id is %s", pair)
		}
	})
}

func TestTruth_IDsOfTheServersOwnAre24Digits(t *testing.T) {
	s, ada, bob := inVersion(t, "")
	rid := s.CreateRoom("p", "p1", "ada", "bob")
	id := s.Say(rid, "ada", "hi")
	sub := dig(ada.get("subscriptions.getOne?roomId="+rid), "subscription", "_id").(string)
	for what, id := range map[string]string{"a room": rid, "a message": id, "a subscription": sub} {
		if !hex24.MatchString(id) {
			t.Errorf("%s is %s", what, id)
		}
	}
	if len(bob.who.ID) != 17 {
		t.Errorf("a user is %s", bob.who.ID)
	}
}

// From 8.x on the text of a file message is edited in the attachment, even where it
// was sent as msg.
func TestTruth_ACaptionIsEditedInTheAttachmentFrom8On(t *testing.T) {
	eachVersion(t, everyVersion, func(t *testing.T, version string) {
		s, ada, _ := inVersion(t, version)
		rid := s.CreateRoom("p", "p1", "ada")
		_, v := ada.upload("/api/v1/rooms.media/"+rid, "file", "a.txt", "text/plain", []byte("text"))
		m := ada.post("rooms.mediaConfirm/"+rid+"/"+dig(v, "file", "_id").(string), object{"msg": "old"})["message"]
		_, told := dig(m, "attachments", 0).(object)["description"]
		ada.post("chat.update", object{"roomId": rid, "msgId": dig(m, "_id"), "text": "new"})
		m = ada.get("chat.getMessage?msgId=" + dig(m, "_id").(string))["message"]
		if version == "7.2" {
			if told || dig(m, "msg") != "new" || dig(m, "attachments", 0, "description") != nil {
				t.Errorf("got %v", m)
			}
		} else if !told || dig(m, "msg") != "old" || dig(m, "attachments", 0, "description") != "new" {
			t.Errorf("got %v", m)
		}
	})
}

func TestTruth_TheLimiterActsFrom8On(t *testing.T) {
	eachVersion(t, everyVersion, func(t *testing.T, version string) {
		_, ada, _ := inVersion(t, version)
		var status int
		var v object
		var h http.Header
		for range 11 {
			status, v, h = ada.do("GET", "/api/v1/me", nil)
		}
		reset, _ := strconv.ParseInt(h.Get("X-RateLimit-Reset"), 10, 64)
		left := time.Until(time.UnixMilli(reset))
		switch {
		case version == "7.2":
			if status != 200 {
				t.Errorf("%d %v", status, v)
			}
		case status != 429 || !strings.Contains(v["error"].(string), "[error-too-many-requests]") || left <= 0 || left > time.Minute || h.Get("Retry-After") != "":
			t.Errorf("%d %v %v", status, v, h)
		}
	})
}

func TestTruth_EveryCallOfAWebhookIsKeptAndARefusedOneIsNotRepeated(t *testing.T) {
	s, _, _ := inVersion(t, "")
	root := admin(t, s)
	hook := httptest.NewServer(http.NotFoundHandler())
	hook.Close() // nobody listens there any more
	id := dig(root.post("integrations.create", object{"type": "webhook-outgoing", "name": "h", "enabled": true, "username": "rocket.cat",
		"event": "sendMessage", "channel": "all_direct_messages", "urls": []string{hook.URL}, "scriptEnabled": false,
		"retryFailedCalls": true, "retryCount": 6, "retryDelay": "powers-of-ten"}), "integration", "_id").(string)
	s.Say(s.CreateDirect("ada", "bob"), "ada", "between us")
	var kept []any
	s.WaitUntil(t, "the call to end", func() bool {
		kept = root.get("integrations.history?id=" + url.QueryEscape(id))["history"].([]any)
		return len(kept) > 0 && dig(kept[0], "finished") == true
	})
	if len(kept) != 1 || dig(kept[0], "data", "text") != "between us" || dig(kept[0], "error") != true {
		t.Errorf("history %v", kept)
	}
	d := root.dial()
	if f := d.call("clearIntegrationHistory", id); f["error"] != nil {
		t.Errorf("clear: %v", f)
	}
	if v := root.get("integrations.history?id=" + id); v["total"] != 0.0 {
		t.Errorf("after clearing: %v", v)
	}
}

func TestTruth_AWebhookOfOthersChannelsIsRefused(t *testing.T) {
	s, ada, _ := inVersion(t, "")
	root := admin(t, s)
	body := object{"type": "webhook-outgoing", "name": "h", "enabled": true, "username": "rocket.cat", "event": "sendMessage",
		"channel": "all_direct_messages", "urls": []string{"http://127.0.0.1:1"}, "scriptEnabled": false}
	body["integrationId"] = dig(root.post("integrations.create", body), "integration", "_id")
	status, v, _ := ada.do("PUT", "/api/v1/integrations.update", body)
	if status != 400 || v["errorType"] != "error-invalid-channel" {
		t.Errorf("a user without permission: %d %v", status, v)
	}
	body["channel"] = "#no-such-room"
	if status, v, _ = root.do("PUT", "/api/v1/integrations.update", body); status != 400 || v["errorType"] != "error-invalid-channel" {
		t.Errorf("an unknown channel: %d %v", status, v)
	}
}

func TestTruth_TheSameTopicAgainIsRefused(t *testing.T) {
	s, ada, _ := inVersion(t, "")
	rid := s.CreateChannel("c1", "ada")
	ada.post("channels.setTopic", object{"roomId": rid, "topic": "what for"})
	ada.refused("channels.setTopic", object{"roomId": rid, "topic": "what for"}, 400, "The channel topic is the same as what it would be changed to.", "")
}

// System messages count, but leave the room's last message and its time unchanged.
func TestTruth_OnlyWhatPeopleSayMovesARoomsLastMessage(t *testing.T) {
	s, _, _ := inVersion(t, "")
	rid := s.CreateRoom("p", "p1", "ada")
	s.Say(rid, "ada", "hi")
	before := s.Room(rid)["lm"]
	time.Sleep(2 * time.Millisecond) // timestamps are in whole milliseconds
	s.SetTopic(rid, "ada", "what for")
	if r := s.Room(rid); r["lm"] != before || r["msgs"] != 2.0 || dig(r, "lastMessage", "msg") != "hi" {
		t.Errorf("got %v", r)
	}
}

func TestTruth_ARestrictedWorkspaceRefusesEveryKindOfMessage(t *testing.T) {
	s, ada, _ := inVersion(t, "")
	rid := s.CreateChannel("c1", "ada")
	_, v := ada.upload("/api/v1/rooms.media/"+rid, "file", "a.txt", "text/plain", []byte("text"))
	file := dig(v, "file", "_id").(string)
	s.Restrict(true)
	for path, body := range map[string]object{"chat.sendMessage": {"message": object{"rid": rid, "msg": "x"}}, "chat.postMessage": {"roomId": rid, "text": "x"},
		"rooms.mediaConfirm/" + rid + "/" + file: {}, "rooms.createDiscussion": {"prid": rid, "t_name": "x"}} {
		if status, v, _ := ada.do("POST", "/api/v1/"+path, body); status != 400 || v["errorType"] != "restricted-workspace" {
			t.Errorf("%s: %d %v", path, status, v)
		}
	}
}

// Discussions and teams have their own messages for people who come and go, and rooms
// show that they are encrypted, belong to a team, or are federated.
func TestTruth_EachKindOfRoomHasItsOwnWords(t *testing.T) {
	eachVersion(t, everyVersion, func(t *testing.T, version string) {
		s, ada, bob := inVersion(t, version, "OVERWRITE_SETTING_Federation_Service_Enabled", "true", "OVERWRITE_SETTING_VideoConf_Default_Provider", "jitsi",
			"OVERWRITE_SETTING_API_Enable_Rate_Limiter", "false")
		words := func(room string) (l []string) {
			for _, m := range s.Messages(room) {
				if kind, _ := m.Raw["t"].(string); kind != "" {
					l = append(l, kind)
				}
			}
			return l
		}
		expect := func(room string, want ...string) {
			t.Helper()
			if got := words(room); !slices.Equal(got, want) {
				t.Errorf("got %v, want %v", got, want)
			}
		}
		team := dig(ada.post("teams.create", object{"name": "crew", "type": 0}), "team")
		main, member := dig(team, "roomId").(string), object{"roomId": dig(team, "roomId")}
		channel := s.CreateChannel("deck", "ada")
		bob.post("channels.join", member)
		bob.post("channels.leave", member)
		ada.post("teams.addMembers", object{"teamId": dig(team, "_id"), "members": []object{{"userId": bob.who.ID, "roles": []string{"member"}}}})
		ada.post("channels.kick", object{"roomId": main, "userId": bob.who.ID})
		ada.post("teams.addRooms", object{"teamId": dig(team, "_id"), "rooms": []string{channel}})
		if r := s.Room(channel); r["teamId"] != dig(team, "_id") {
			t.Errorf("a room of a team: %v", r)
		}
		ada.post("teams.removeRoom", object{"teamId": dig(team, "_id"), "roomId": channel})
		expect(main, "ujt", "ult", "added-user-to-team", "removed-user-from-team", "user-added-room-to-team", "user-removed-room-from-team")

		discussion := dig(ada.post("rooms.createDiscussion", object{"prid": channel, "t_name": "aside"}), "discussion", "_id").(string)
		bob.post("channels.join", object{"roomId": discussion})
		expect(discussion, "ut")
		ada.post("video-conference.start", object{"roomId": discussion})
		expect(discussion, "ut", "videoconf")

		secret := dig(ada.post("groups.create", object{"name": "secret", "extraData": object{"encrypted": true, "federated": true}}), "group", "_id").(string)
		if r := s.Room(secret); r["encrypted"] != true || r["federated"] != true {
			t.Errorf("an encrypted, federated room: %v", r)
		}
		ada.post("rooms.saveRoomSettings", object{"rid": secret, "encrypted": false})
		expect(secret, "room_e2e_disabled")
	})
}

// A call needs an app that provides it.
func TestTruth_ACallNeedsAProvider(t *testing.T) {
	s, ada, _ := inVersion(t, "")
	ada.refused("video-conference.start", object{"roomId": s.CreateChannel("c1", "ada")}, 400, "no-videoconf-provider-app", "")
}
