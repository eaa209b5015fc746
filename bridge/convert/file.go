package convert

import (
	"encoding/json"
	"mime"
	"net/url"
	"path"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"

	"maunium.net/go/mautrix/id"

	"appliance/bridge/rocketchat"
)

// A RocketFile is a file attached to a Rocket.Chat message.
type RocketFile struct {
	ID      string // of the upload
	Name    string
	Type    string // as Rocket.Chat reports it, which is what the sender claims
	Size    int64  // bytes; 0 when unknown
	Link    string // where it is: "/file-upload/<id>/<name>"
	Caption string
	Width   int // pixels of a picture; 0 when unknown
	Height  int
	Thumb   string // where a smaller picture is; "" if there is none
}

// Uploads splits the uploaded files off a message. Captions written beside a file
// become part of the remaining message's text. Editing a message with a file changes
// the caption of its first attachment, if it has or could have one (8.x: null), and
// msg keeps the old text: the caption is then the whole text.
func Uploads(m rocketchat.Message) ([]RocketFile, rocketchat.Message) {
	var files []RocketFile
	var rest []rocketchat.Attachment
	for i, a := range m.Attachments {
		file, ok := uploadOf(m, a)
		if !ok {
			rest = append(rest, a)
			continue
		}
		files = append(files, file)
		switch caption := strings.TrimSpace(file.Caption); {
		case caption == "" || caption == strings.TrimSpace(m.Text):
		case i == 0 && m.EditedAt != nil:
			m.Text = caption // msg still has the old text
		default:
			m.Text = strings.TrimSpace(m.Text + "\n" + caption)
		}
	}
	m.Attachments = rest
	return files, m
}

// uploadOf returns the upload that an attachment shows. The author of a message chooses its
// attachments, links included, and the bridge would fetch them with its own rights; only
// Rocket.Chat sets file and files. So anything that is not listed there is not an upload.
func uploadOf(m rocketchat.Message, a rocketchat.Attachment) (RocketFile, bool) {
	fileID, ok := uploadID(a.TitleLink)
	if !ok || a.MessageLink != "" {
		return RocketFile{}, false
	}
	known, ok := fileOf(m, fileID)
	if !ok {
		return RocketFile{}, false
	}
	f := RocketFile{ID: fileID, Name: first(known.Name, a.Title), Link: a.TitleLink, Type: known.Type, Size: known.Size, Caption: a.Description}
	if f.Type == "" {
		f.Type = first(a.ImageType, a.AudioType, a.VideoType)
	}
	if d := a.ImageDimensions; d != nil && d.Width > 0 && d.Height > 0 {
		f.Width, f.Height = d.Width, d.Height
	}
	if thumb, ok := uploadID(a.ImageURL); ok && thumb != fileID {
		if _, ok := fileOf(m, thumb); ok {
			f.Thumb = a.ImageURL
		}
	}
	return f, true
}

// fileOf returns a file that Rocket.Chat lists for a message.
func fileOf(m rocketchat.Message, id string) (rocketchat.File, bool) {
	for _, f := range m.Files {
		if f.ID == id {
			return f, true
		}
	}
	if m.File != nil && m.File.ID == id {
		return *m.File, true
	}
	return rocketchat.File{}, false
}

func first(s ...string) string {
	for _, v := range s {
		if v != "" {
			return v
		}
	}
	return ""
}

// uploadID returns the ID of the upload that a link leads to.
func uploadID(link string) (string, bool) {
	u, err := url.Parse(link)
	if err != nil {
		return "", false
	}
	rest, ok := strings.CutPrefix(u.Path, "/file-upload/")
	fileID, _, _ := strings.Cut(rest, "/")
	return fileID, ok && fileID != ""
}

// outside returns where an attachment that is not an upload leads to, "" if nowhere.
func outside(a rocketchat.Attachment) string {
	for _, link := range []string{a.TitleLink, a.ImageURL, a.VideoURL, a.AudioURL} {
		if clean, ok := linkTarget(link); ok && strings.HasPrefix(link, "http") {
			return clean
		}
	}
	return ""
}

// WithFile turns c, which is the caption or empty, into the event of a file. name
// and info describe it; an unknown type makes it a generic file.
func (c Content) WithFile(name, mxc string, info FileInfo) Content {
	c.MsgType = messageType(info.Type)
	c.URL, c.Info = mxc, &info
	if c.Body == "" {
		c.Body = name
	}
	c.FileName = name
	if c.Mentions == nil {
		c.Mentions = &Mentions{}
	}
	if c.MsgType == "m.audio" && isRecording(name) {
		c.Voice = &struct{}{}
	}
	return c
}

// isRecording recognises the names that Rocket.Chat's clients give to recordings.
func isRecording(name string) bool {
	n := strings.ToLower(name)
	return strings.HasPrefix(n, "audio record") || strings.HasPrefix(n, "audio_record") || strings.HasPrefix(n, "audio-record")
}

// messageType returns the kind of event for a file. Pictures that browsers do not
// show, or that can contain scripts, are sent as files.
func messageType(contentType string) string {
	kind, sub, _ := strings.Cut(contentType, "/")
	switch {
	case kind == "image" && (sub == "png" || sub == "jpeg" || sub == "gif" || sub == "webp" || sub == "avif" || sub == "apng" || sub == "bmp" || sub == "heic" || sub == "heif"):
		return "m.image"
	case kind == "video":
		return "m.video"
	case kind == "audio":
		return "m.audio"
	}
	return "m.file"
}

// ContentType returns the type of a file: the one its sender claims, unless its
// first bytes contradict that. looks is what they look like
// (http.DetectContentType), "" if there are none.
func ContentType(said, name, looks string) string {
	said, _, err := mime.ParseMediaType(said)
	if err != nil || !strings.Contains(said, "/") || said == "application/octet-stream" {
		said, _, _ = mime.ParseMediaType(mime.TypeByExtension(strings.ToLower(path.Ext(name))))
	}
	seen, _, _ := mime.ParseMediaType(looks)
	if seen == "" || seen == "application/octet-stream" {
		return first(said, "application/octet-stream") // nothing contradicts it
	}
	kind, _, _ := strings.Cut(said, "/")
	saw, _, _ := strings.Cut(seen, "/")
	switch {
	case said == "":
		return seen
	case kind == "image", kind == "video", kind == "audio":
		// Ogg, WebM and MP4 hold sound or pictures, and look alike.
		alike := saw == "video" || saw == "audio" || seen == "application/ogg"
		if kind == saw && kind != "image" || kind != "image" && alike {
			return said
		}
		if kind == "image" && saw == "image" {
			return seen
		}
		if saw == "text" && strings.HasPrefix(said, "image/svg") {
			return said
		}
		return "application/octet-stream"
	}
	return said
}

// maxFileName bounds the name of a file, in bytes.
const maxFileName = 180

// FileName returns a file name that is safe to show and to save: one line, no
// directories, nothing invisible, and with an extension if it had none.
func FileName(name, contentType string) string {
	if i := strings.LastIndexAny(name, `/\`); i >= 0 {
		name = name[i+1:]
	}
	if len(name) > 4*maxFileName { // the extension matters more than the middle
		name = cutText(name, 2*maxFileName) + path.Ext(name[len(name)-maxFileName:])
	}
	end := visibleName(path.Ext(name))
	if len(end) > 16 || end == "." {
		end = ""
	}
	stem := strings.Trim(visibleName(strings.TrimSuffix(name, path.Ext(name))), ". ")
	if end == "" && path.Ext(name) != "" {
		stem = strings.Trim(visibleName(name), ". ")
	}
	stem = cutText(stem, maxFileName-len(end))
	if stem == "" {
		stem = "file"
	}
	if end == "" {
		end = ending(contentType)
	}
	if contentType == "application/octet-stream" && messageType(mime.TypeByExtension(strings.ToLower(end))) != "m.file" {
		end += ".bin" // it is not what its name says
	}
	return stem + end
}

// ending returns the usual extension for a content type.
func ending(contentType string) string {
	switch contentType {
	case "image/jpeg":
		return ".jpg"
	case "text/plain":
		return ".txt"
	case "audio/ogg":
		return ".ogg"
	case "video/mp4":
		return ".mp4"
	case "application/octet-stream", "":
		return ""
	}
	list, err := mime.ExtensionsByType(contentType)
	if err != nil || len(list) == 0 {
		return ""
	}
	return list[0]
}

// HasFile reports whether an event is a file that can be fetched.
func (e Event) HasFile() bool {
	if e.Content.URL == "" || e.Content.Encrypted {
		return false
	}
	switch e.Content.MsgType {
	case "m.image", "m.file", "m.audio", "m.video":
		return true
	}
	return e.Type == "m.sticker"
}

// Name returns the name of the file that an event carries.
func (e Event) Name() string {
	name := e.Content.FileName
	if name == "" {
		name = e.Content.Body
		if !utf8.ValidString(name) || strings.ContainsRune(name, '\n') {
			name = ""
		}
	}
	contentType := ""
	if e.Content.Info != nil {
		contentType = e.Content.Info.Type
	}
	if name == "" && e.Type == "m.sticker" {
		name = "sticker"
	}
	return FileName(name, contentType)
}

// Caption returns the text that accompanies a file: the caption shown with it, "" for
// none, and the text that follows in messages of its own. Rocket.Chat from 8.x on edits
// the caption of the attachment and never changes the text of the message; but only in
// the text of a message does a mention notify, and a link to a message quote it. So a
// text that mentions or quotes follows the file: there it does both, and can be edited.
func Caption(e Event, look Lookup) (beside string, after []string) {
	c := e.Content
	if c.New != nil {
		c = *c.New
	}
	reply := e
	reply.Content.New = nil
	reply.Content.MsgType = "m.text"
	if c.FileName == "" || c.FileName == c.Body || e.Type == "m.sticker" {
		reply.Content.Body, reply.Content.FormattedBody = "", ""
	} else {
		reply.Content.Body, reply.Content.FormattedBody = c.Body, c.FormattedBody
	}
	parts := ToRocketChat(reply, look)
	if len(parts) == 0 {
		if link, ok := look.permalink(id.EventID(e.Content.ReplyTo)); ok && !e.Content.FallsBack {
			return "", []string{strings.TrimRight(Quote(link, ""), "\n ")}
		}
		return "", nil
	}
	if strings.HasPrefix(parts[0], quoteMark) || mentioning.MatchString(parts[0]) {
		return "", parts
	}
	return parts[0], parts[1:]
}

// mentioning matches what Rocket.Chat may take for a mention of a person or of everybody.
var mentioning = regexp.MustCompile(`(^|[^\w@.-])@[0-9a-zA-Z]`)

// Instead returns the text that replaces a file that was not carried.
func Instead(name string, size int64, why string) string {
	text := "[" + name + "]"
	if size > 0 {
		text += " (" + Bytes(size) + ")"
	}
	return text + ": " + why
}

// Bytes formats a size for people.
func Bytes(n int64) string {
	for _, u := range []struct {
		unit int64
		name string
	}{{1 << 30, "GB"}, {1 << 20, "MB"}, {1 << 10, "kB"}} {
		if n >= u.unit {
			tenths := (n*10 + u.unit/2) / u.unit
			if tenths%10 == 0 || tenths >= 100 {
				return itoa((tenths+5)/10) + " " + u.name
			}
			return itoa(tenths/10) + "." + itoa(tenths%10) + " " + u.name
		}
	}
	return itoa(n) + " bytes"
}

func itoa(n int64) string { return strconv.FormatInt(n, 10) }

// ParseInfo parses a stored FileInfo.
func ParseInfo(s string) (FileInfo, error) {
	var info FileInfo
	err := json.Unmarshal([]byte(s), &info)
	return info, err
}
