package sim

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"html"
	"image"
	"net/http"
	"strings"
	"time"
	"unicode"
)

// setAvatar is POST users.setAvatar with a multipart part "image" (facts 3.5). A
// URL is refused as the guard against internal addresses would refuse it (12.6.19).
func setAvatar(c *call) (any, error) {
	e, u := c.e, c.user
	if c.body.has("userId") || c.body.has("username") {
		other, err := c.target(c.body)
		if err != nil {
			return nil, err
		}
		u = other
	}
	if u.id() == c.user.id() {
		if !e.settingOn("Accounts_AllowUserAvatarChange") && !e.may(c.user, "edit-other-user-avatar", "") {
			return nil, meteorError("error-not-allowed", "Change avatar is not allowed")
		}
	} else if !e.may(c.user, "edit-other-user-avatar", "") {
		return nil, meteorError("error-not-allowed", "Not allowed")
	}
	if c.body.has("avatarUrl") {
		return nil, meteorError("error-avatar-invalid-url", "Invalid avatar URL: "+c.body.str("avatarUrl"))
	}
	if c.file == nil {
		return nil, meteorError("error-no-file-uploaded", "No file uploaded")
	}
	if !strings.HasPrefix(c.file.contentType(), "image/") {
		return nil, meteorError("error-invalid-file-type", "Invalid image")
	}
	etag, err := e.storeAvatar(u.str("username"), c.file.contentType(), c.file.data)
	if err != nil {
		return nil, err
	}
	e.emit("stream-notify-logged", "updateAvatar", "", Doc{"username": u.str("username"), "etag": etag})
	e.noteAvatar(u.id(), etag)
	return Doc{}, nil
}

// etagDelay is how long after updateAvatar some versions store a user's etag.
const etagDelay = 500 * time.Millisecond

// noteAvatar stores the etag, which some versions do only after they have announced it.
func (e *Engine) noteAvatar(uid, etag string) {
	changes := Doc{"avatarETag": etag, "avatarOrigin": "rest"}
	if !e.rel.lateAvatarETag {
		e.update(users, e.user(uid), changes)
		return
	}
	e.wg.Go(func() {
		select {
		case <-time.After(etagDelay):
		case <-e.ctx.Done():
		}
		e.locked(func() {
			if u := e.user(uid); u != nil {
				e.update(users, u, changes)
			}
		})
	})
}

// storeAvatar stores a picture as a square of Accounts_AvatarSize.
func (e *Engine) storeAvatar(name, kind string, data []byte) (etag string, err error) {
	picture, _, err := image.Decode(bytes.NewReader(data))
	if err != nil {
		return "", meteorError("ufs: cannot upload file", "Error: pngload: libspng read error")
	}
	if e.settingOn("Accounts_AvatarResize") {
		data = encodedPicture(squared(picture, e.settingNum("Accounts_AvatarSize")), kind)
		if kind != "image/jpeg" {
			kind = "image/png"
		}
	}
	etag = newID()
	if err := e.blobs.put("avatar-"+etag, data); err != nil {
		return "", err
	}
	e.put(avatars, Doc{"_id": name, "type": kind, "etag": etag})
	return etag, nil
}

// resetAvatar is POST users.resetAvatar.
func resetAvatar(c *call) (any, error) {
	u := c.user
	if c.body.has("userId") || c.body.has("username") {
		other, err := c.target(c.body)
		if err != nil {
			return nil, err
		}
		u = other
	}
	if u.id() != c.user.id() && !c.e.may(c.user, "edit-other-user-avatar", "") {
		return nil, meteorError("error-not-allowed", "Reset avatar is not allowed")
	}
	c.e.remove(avatars, u.str("username"))
	c.e.update(users, u, Doc{"avatarETag": nil})
	c.e.emit("stream-notify-logged", "updateAvatar", "", Doc{"username": u.str("username")})
	return Doc{}, nil
}

// getAvatar is GET users.getAvatar: a redirect.
func getAvatar(c *call) (any, error) {
	u, err := c.target(queryDoc(c.q))
	if err != nil {
		return nil, err
	}
	return answer{status: http.StatusTemporaryRedirect, raw: []byte{}, header: http.Header{"Location": {"/avatar/" + u.str("username")}}}, nil
}

// setRoomAvatar takes a data URI (facts 6.5).
func (e *Engine) setRoomAvatar(u, r Doc, uri string) error {
	kind, text, ok := trimDataURI(uri)
	data, err := base64.StdEncoding.DecodeString(text)
	if !ok || err != nil {
		return meteorError("error-invalid-image", "Invalid image")
	}
	etag, err := e.storeAvatar("room-"+r.id(), kind, data)
	if err != nil {
		return err
	}
	e.setRoom(r.id(), Doc{"avatarETag": etag, "avatarOrigin": "upload"})
	e.systemMessage(e.room(r.id()), "room_changed_avatar", "", u, nil)
	e.emit("stream-notify-logged", "updateAvatar", "", Doc{"rid": r.id(), "etag": etag})
	return nil
}

// avatarPage is GET /avatar/:username and /avatar/room/:rid. While
// Accounts_AvatarBlockUnauthenticatedAccess is on it requires rc_uid and rc_token
// in the query or cookies; headers do not count (facts 3.5). A caller who may not
// see a picture gets a letter, as for a user without a picture.
func (e *Engine) avatarPage(c *call, name string) answer {
	key, label := name, name
	if rid, ok := strings.CutPrefix(name, "room/"); ok {
		key, label = "room-"+rid, firstText(e.room(rid).str("name"), "?")
	}
	if e.settingOn("Accounts_AvatarBlockUnauthenticatedAccess") && c.visitor(false) == nil {
		key = ""
	}
	if a := e.get(avatars, key); a != nil {
		if data, err := e.blobs.get("avatar-" + a.str("etag")); err == nil && data != nil {
			return answer{status: http.StatusOK, raw: data, header: http.Header{"Content-Type": {a.str("type")}, "Etag": {a.str("etag")}}}
		}
	}
	return svgAnswer(label)
}

func svgAnswer(label string) answer {
	return answer{status: http.StatusOK, raw: []byte(initialsSVG(label)), header: http.Header{"Content-Type": {"image/svg+xml"}}}
}

// initialsSVG returns the picture for users without one: a letter.
func initialsSVG(name string) string {
	letter := '?'
	for _, r := range name {
		letter = unicode.ToUpper(r)
		break
	}
	return fmt.Sprintf(`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 200 200"><rect width="100%%" height="100%%" fill="#3F51B5"/>`+
		`<text x="50%%" y="50%%" dy="0.36em" text-anchor="middle" fill="#fff" font-size="125">%s</text></svg>`, html.EscapeString(string(letter)))
}
