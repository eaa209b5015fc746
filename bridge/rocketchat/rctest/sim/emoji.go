package sim

import (
	"bytes"
	_ "embed"
	"image"
	"net/http"
	"slices"
	"strings"
)

// emojiNames are the shortcodes of JoyPixels' emoji-toolkit 7 (its names are under
// the MIT licence), one a line, without those of skin tones.
//
//go:embed emoji.txt
var emojiNames string

var emoji = func() map[string]bool {
	known := map[string]bool{}
	for name := range strings.Lines(emojiNames) {
		known[strings.TrimSpace(name)] = true
	}
	return known
}()

// knownEmoji reports whether name, without colons, is a shortcode or a custom emoji.
func (e *Engine) knownEmoji(name string) bool {
	base, _, _ := strings.Cut(name, "_tone")
	return emoji[base] || e.customEmoji(name) != nil
}

// customEmoji returns a custom emoji by its name or an alias.
func (e *Engine) customEmoji(name string) Doc {
	for _, d := range e.listed(customEmojis, "name") {
		if d.str("name") == name || slices.Contains(d.strs("aliases"), name) {
			return d
		}
	}
	return nil
}

// emojiList is GET emoji-custom.list.
func emojiList(c *call) (any, error) {
	list := []any{}
	for _, d := range c.e.listed(customEmojis, "name") {
		list = append(list, d)
	}
	return Doc{"emojis": Doc{"update": list, "remove": []any{}}}, nil
}

// emojiCreate is POST emoji-custom.create with a multipart part "emoji".
func emojiCreate(c *call) (any, error) {
	e, name := c.e, strings.Trim(c.body.str("name"), ":")
	switch {
	case c.file == nil || c.file.field != "emoji":
		return nil, textError("Error: Emoji file not provided")
	case name == "":
		return nil, meteorError("error-the-field-is-required", "The field Name is required")
	case e.knownEmoji(name):
		return nil, meteorError("Custom_Emoji_Error_Name_Or_Alias_Already_In_Use", "The custom emoji or one of its aliases is already in use")
	}
	kind := c.file.contentType()
	ext, ok := strings.CutPrefix(kind, "image/")
	if !ok {
		return nil, meteorError("error-invalid-file-type", "Invalid file type")
	}
	picture, _, err := image.Decode(bytes.NewReader(c.file.data))
	if err != nil {
		return nil, meteorError("ufs: cannot upload file", "Error: pngload: libspng read error")
	}
	etag := newID()
	if err := e.blobs.put("emoji-"+etag, encodedPicture(fitted(picture, emojiSize), kind)); err != nil {
		return nil, err
	}
	aliases := []any{}
	for a := range strings.SplitSeq(c.body.str("aliases"), ",") {
		if a = strings.Trim(strings.TrimSpace(a), ":"); a != "" {
			aliases = append(aliases, a)
		}
	}
	d := Doc{"_id": newObjectID(), "name": name, "aliases": aliases, "extension": ext, "etag": etag, "type": kind, "_updatedAt": e.now()}
	e.put(customEmojis, d)
	e.emit("stream-notify-logged", "updateEmojiCustom", "", Doc{"emojiData": d})
	return Doc{}, nil
}

// emojiSize is the larger side of a custom emoji, in points.
const emojiSize = 128

// emojiPage is GET /emoji-custom/:name.:extension, for everybody; an unknown emoji
// is shown as a letter.
func (e *Engine) emojiPage(file string) answer {
	name, _, _ := strings.Cut(file, ".")
	if d := e.customEmoji(name); d != nil {
		if data, err := e.blobs.get("emoji-" + d.str("etag")); err == nil && data != nil {
			return answer{status: http.StatusOK, raw: data, header: http.Header{"Content-Type": {d.str("type")}}}
		}
	}
	return svgAnswer(file)
}
