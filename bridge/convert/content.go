package convert

import "slices"

// Content is the content of an m.room.message event.
type Content struct {
	MsgType       string     `json:"msgtype"`
	Body          string     `json:"body"` // of a file: its caption, or its name
	FileName      string     `json:"filename,omitempty"`
	URL           string     `json:"url,omitempty"` // "mxc://server/id" of a file
	Info          *FileInfo  `json:"info,omitempty"`
	Voice         *struct{}  `json:"org.matrix.msc3245.voice,omitempty"`
	Geo           string     `json:"geo_uri,omitempty"`
	Format        string     `json:"format,omitempty"`
	FormattedBody string     `json:"formatted_body,omitempty"`
	Mentions      *Mentions  `json:"m.mentions,omitempty"`
	RelatesTo     *RelatesTo `json:"m.relates_to,omitempty"`
	NewContent    *Content   `json:"m.new_content,omitempty"`
	// Source is the item that the event was sent for, under SourceKey: with it the
	// bridge finds an event whose outcome it does not know.
	Source string `json:"org.appliance.source,omitempty"`
}

// HTML is the format of a formatted body.
const HTML = "org.matrix.custom.html"

// Mentions is m.mentions: the users to notify. An empty one means that there are
// none, so that clients do not search the text.
type Mentions struct {
	UserIDs []string `json:"user_ids,omitempty"`
	Room    bool     `json:"room,omitempty"`
}

// RelatesTo is m.relates_to: a reply, part of a thread, or an edit.
type RelatesTo struct {
	Type          string     `json:"rel_type,omitempty"` // "m.thread" or "m.replace"
	EventID       string     `json:"event_id,omitempty"`
	InReplyTo     *InReplyTo `json:"m.in_reply_to,omitempty"`
	IsFallingBack bool       `json:"is_falling_back,omitempty"`
}

// InReplyTo names the event that is replied to.
type InReplyTo struct {
	EventID string `json:"event_id"`
}

// FileInfo is the info of a file's event.
type FileInfo struct {
	Type      string    `json:"mimetype,omitempty"`
	Size      int64     `json:"size,omitempty"` // bytes
	Width     int       `json:"w,omitempty"`    // pixels
	Height    int       `json:"h,omitempty"`
	Duration  int64     `json:"duration,omitempty"` // milliseconds
	ThumbURL  string    `json:"thumbnail_url,omitempty"`
	ThumbInfo *FileInfo `json:"thumbnail_info,omitempty"`
}

// Reply returns c as a reply to an event.
func (c Content) Reply(to string) Content {
	r := RelatesTo{}
	if c.RelatesTo != nil {
		r = *c.RelatesTo
	}
	r.InReplyTo, r.IsFallingBack = &InReplyTo{to}, false
	c.RelatesTo = &r
	return c
}

// Thread returns c as part of the thread that started with root. Clients without
// threads show it as a reply to latest, unless it is a reply itself.
func (c Content) Thread(root, latest string) Content {
	r := RelatesTo{Type: "m.thread", EventID: root, InReplyTo: &InReplyTo{latest}, IsFallingBack: true}
	if c.RelatesTo != nil && c.RelatesTo.InReplyTo != nil {
		r.InReplyTo, r.IsFallingBack = c.RelatesTo.InReplyTo, false
	}
	c.RelatesTo = &r
	return c
}

// Edit returns c as the new version of an event, with the text that clients without
// support for edits show. Users whom before already mentioned are not notified
// again.
func (c Content) Edit(event string, before *Mentions) Content {
	fresh := c
	fresh.RelatesTo = nil
	edit := Content{MsgType: c.MsgType, Body: "* " + c.Body, NewContent: &fresh, RelatesTo: &RelatesTo{Type: "m.replace", EventID: event}}
	if c.FormattedBody != "" {
		edit.Format, edit.FormattedBody = HTML, "* "+c.FormattedBody
	}
	edit.Mentions = &Mentions{}
	if c.Mentions != nil {
		edit.Mentions.Room = c.Mentions.Room && (before == nil || !before.Room)
		for _, u := range c.Mentions.UserIDs {
			if before == nil || !slices.Contains(before.UserIDs, u) {
				edit.Mentions.UserIDs = append(edit.Mentions.UserIDs, u)
			}
		}
	}
	return edit
}
