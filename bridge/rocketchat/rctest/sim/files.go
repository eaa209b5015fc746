package sim

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"image"
	"mime"
	"net/http"
	"net/url"
	"path"
	"slices"
	"strings"
)

// media is POST rooms.media/:rid, the first step of an upload (facts 5.1).
func media(c *call) (any, error) {
	e := c.e
	r := e.room(c.path[0])
	if !e.canRead(r, c.user) {
		return nil, e.forbidden()
	}
	if c.file == nil || c.file.field != "file" {
		return nil, meteorError("error-no-file-uploaded", "No file uploaded")
	}
	if err := e.fileProblem(c.file); err != nil {
		return nil, err
	}
	id := newObjectID()
	if err := e.blobs.put(id, c.file.data); err != nil {
		return nil, err
	}
	name := c.file.name
	link := "/file-upload/" + id + "/" + url.PathEscape(name)
	e.put(uploads, Doc{"_id": id, "rid": r.id(), "userId": c.user.id(), "name": name, "type": c.file.contentType(),
		"size": len(c.file.data), "uploadedAt": e.now(), "format": pictureFormat(c.file.data), "store": "GridFS:Uploads", "complete": true, "path": link})
	return Doc{"file": Doc{"_id": id, "url": link}}, nil
}

func (f *upload) contentType() string {
	byName, _, _ := strings.Cut(mime.TypeByExtension(path.Ext(f.name)), ";")
	if extensions, err := mime.ExtensionsByType(f.kind); err == nil && len(extensions) > 0 && f.kind != "application/octet-stream" {
		return f.kind
	}
	return firstText(byName, "application/octet-stream")
}

func (e *Engine) fileProblem(f *upload) error {
	kind, _, _ := strings.Cut(f.contentType(), ";")
	white := e.settingWords("FileUpload_MediaTypeWhiteList")
	limit := e.settingNum("FileUpload_MaxFileSize")
	switch {
	case len(f.data) == 0:
		return meteorError("file-too-small", "File size (size = 0) is too small (min = 1)")
	case !e.settingOn("FileUpload_Enabled"):
		return meteorError("error-file-upload-disabled", "File upload is disabled")
	case limit >= 0 && len(f.data) > limit:
		return meteorError("error-file-too-large", "File is too large")
	case slices.Contains(e.settingWords("FileUpload_MediaTypeBlackList"), kind):
		return meteorError("error-invalid-file-type", "File type is not accepted.")
	case len(white) > 0 && !slices.ContainsFunc(white, func(w string) bool {
		return w == kind || strings.HasSuffix(w, "/*") && strings.HasPrefix(kind, strings.TrimSuffix(w, "*"))
	}):
		return meteorError("error-invalid-file-type", "File type is not accepted.")
	}
	return nil
}

// mediaConfirm is POST rooms.mediaConfirm/:rid/:fileId, the second step. It does not
// check whether it was done before: repeating it creates a second message (facts 5.1).
func mediaConfirm(c *call) (any, error) {
	e := c.e
	r, f := e.room(c.path[0]), e.get(uploads, c.path[1])
	if !e.canRead(r, c.user) {
		return nil, e.forbidden()
	}
	if f == nil || f.str("userId") != c.user.id() && !e.rel.othersConfirm || f.str("rid") != r.id() {
		return nil, meteorError("invalid-file", "")
	}
	if c.body.has("fileName") && e.rel.noFileName {
		return nil, textError("Match error: Failed Match.OneOf, Match.Maybe or Match.Optional validation")
	}
	if n := c.body.str("fileName"); n != "" {
		f = e.update(uploads, f, Doc{"name": n})
	}
	att, err := e.attachment(f, c.body.str("description"))
	if err != nil {
		return nil, err
	}
	file := e.fileOf(f)
	m := c.body.only("msg", "tmid", "alias", "avatar", "emoji", "groupable").with(Doc{"rid": r.id(), "file": file,
		"files": e.files(file, att), "attachments": []any{att}})
	if err := firstError(e.mayPost(c.user, r), e.messageProblem(c.user, r, m)); err != nil {
		return nil, err
	}
	sent := e.insertMessage(c.user, r, m)
	return Doc{"message": sent.without("mentions", "channels")}, nil
}

// fileOf returns an upload as a message refers to it.
func (e *Engine) fileOf(f Doc) Doc {
	d := f.only("name", "type", "size").with(Doc{"_id": f.id(), "format": f.str("format")})
	if e.rel.fileGroups {
		d["typeGroup"], _, _ = strings.Cut(f.str("type"), "/")
	}
	return d
}

// files lists the original and, for a picture that has one, its thumbnail (facts 5.2).
func (e *Engine) files(file, att Doc) []any {
	l := []any{file}
	id, _, _ := strings.Cut(strings.TrimPrefix(att.str("image_url"), "/file-upload/"), "/")
	if thumb := e.get(uploads, id); thumb != nil && id != file.id() {
		l = append(l, e.fileOf(thumb))
	}
	return l
}

// attachment describes a file (facts 5.2). image_url is a thumbnail where the
// picture is large; title_link is the original.
func (e *Engine) attachment(f Doc, description string) (Doc, error) {
	link := f.str("path")
	a := Doc{"type": "file", "title": f.str("name"), "title_link": link, "title_link_download": true}
	if description != "" {
		a["description"], a["descriptionMd"] = description, parsedText(description)
	} else if e.rel.nullDescription {
		a["description"] = json.RawMessage("null")
	}
	if e.rel.fileGroups {
		a["fileId"] = f.id()
	}
	switch kind, _, _ := strings.Cut(f.str("type"), "/"); kind {
	case "image":
		return e.imageAttachment(a, f)
	case "audio", "video":
		a[kind+"_url"], a[kind+"_type"], a[kind+"_size"] = link, f["type"], f["size"]
	default:
		a["format"] = strings.ToUpper(strings.TrimPrefix(path.Ext(f.str("name")), "."))
		a["size"] = f["size"]
	}
	return a, nil
}

// imageAttachment adds what is known of a picture. A picture of more than 480
// points has a thumbnail, and the dimensions are then those of the thumbnail.
func (e *Engine) imageAttachment(a, f Doc) (Doc, error) {
	data, err := e.blobs.get(f.id())
	if err != nil {
		return nil, err
	}
	a["image_url"], a["image_type"], a["image_size"] = f["path"], f["type"], f["size"]
	picture, _, err := image.Decode(bytes.NewReader(data))
	if err != nil {
		return a, nil
	}
	if preview := encodedPicture(fitted(picture, previewSize), "image/jpeg"); preview != nil {
		a["image_preview"] = base64.StdEncoding.EncodeToString(preview)
	}
	small := fitted(picture, thumbnailSize)
	a["image_dimensions"] = Doc{"width": small.Bounds().Dx(), "height": small.Bounds().Dy()}
	if small == picture {
		return a, nil
	}
	thumb := newObjectID()
	encoded := encodedPicture(small, f.str("type"))
	if err := e.blobs.put(thumb, encoded); err != nil {
		return nil, err
	}
	link := "/file-upload/" + thumb + "/" + url.PathEscape(f.str("name"))
	e.put(uploads, f.without("_updatedAt").with(Doc{"_id": thumb, "name": "thumb-" + f.str("name"), "path": link, "size": len(encoded),
		"originalFileId": f.id()}))
	a["image_url"], a["image_size"] = link, len(encoded)
	return a, nil
}

// visitor finds the user who requests a file or an avatar: from headers where allowed,
// otherwise from rc_uid and rc_token in the query or cookies (facts 5.3, 3.5).
func (c *call) visitor(headers bool) Doc {
	if headers {
		if c.authenticate(); c.user != nil {
			return c.user
		}
	}
	get := func(name string) string {
		if v := c.q.Get(name); v != "" {
			return v
		}
		if k, err := c.r.Cookie(name); err == nil {
			v, _ := url.QueryUnescape(k.Value)
			return v
		}
		return ""
	}
	if u := c.e.resume(get("rc_token")); u != nil && u.id() == get("rc_uid") {
		return u
	}
	return nil
}

// fileDownload is GET /file-upload/:id/:name (facts 5.3).
func (e *Engine) fileDownload(c *call, id string) answer {
	f := e.get(uploads, id)
	if f == nil {
		return answer{status: http.StatusNotFound, raw: []byte{}}
	}
	if e.settingOn("FileUpload_ProtectFiles") && !e.mayDownload(c.visitor(true), f) {
		return answer{status: http.StatusForbidden, raw: []byte{}}
	}
	data, err := e.blobs.get(id)
	if err != nil || data == nil {
		return answer{status: http.StatusNotFound, raw: []byte{}}
	}
	disposition := "inline"
	if c.q.Has("download") {
		disposition = "attachment"
	}
	return answer{status: http.StatusOK, raw: data, header: http.Header{"Content-Type": {f.str("type")},
		"Content-Security-Policy": {"default-src 'none'"}, "Cache-Control": {"max-age=31536000"},
		"Content-Disposition": {disposition + "; filename*=UTF-8''" + url.PathEscape(f.str("name"))}}}
}

// mayDownload: by default only members may, and administrators are no exception;
// both restrictions at once deny everyone.
func (e *Engine) mayDownload(u, f Doc) bool {
	if u == nil {
		return false
	}
	r := e.room(f.str("rid"))
	members, readers := e.settingOn("FileUpload_Restrict_to_room_members"), e.settingOn("FileUpload_Restrict_to_users_who_can_access_room")
	switch {
	case members && readers:
		return false
	case members:
		return e.sub(r.id(), u.id()) != nil
	case readers:
		return e.canRead(r, u)
	}
	return true
}
