package rocketchat

import (
	"encoding/json"
	"errors"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A Time is an instant as Rocket.Chat writes it: an ISO-8601 string over REST,
// {"$date": milliseconds} over the websocket.
type Time struct{ time.Time }

// UnmarshalJSON reads either form, or bare milliseconds. Anything else yields the
// zero time: one odd document must not make a whole page unreadable.
func (t *Time) UnmarshalJSON(data []byte) error {
	t.Time = time.Time{}
	var s string
	if json.Unmarshal(data, &s) == nil {
		if parsed, err := time.Parse(time.RFC3339Nano, s); err == nil {
			t.Time = parsed.UTC()
		}
		return nil
	}
	var d struct {
		Date int64 `json:"$date"`
	}
	if json.Unmarshal(data, &d) != nil {
		d.Date, _ = strconv.ParseInt(string(data), 10, 64)
	}
	if d.Date != 0 {
		t.Time = time.UnixMilli(d.Date).UTC()
	}
	return nil
}

// MarshalJSON writes the REST form.
func (t Time) MarshalJSON() ([]byte, error) {
	if t.IsZero() {
		return []byte("null"), nil
	}
	return json.Marshal(t.UTC().Format("2006-01-02T15:04:05.000Z"))
}

// A UserRef names a user inside another document.
type UserRef struct {
	ID       string `json:"_id"`
	Username string `json:"username"`
	Name     string `json:"name,omitempty"`
}

// Display returns the name people see.
func (u UserRef) Display() string {
	if u.Name != "" {
		return u.Name
	}
	return u.Username
}

// A User is an account.
type User struct {
	ID       string   `json:"_id"`
	Username string   `json:"username"`
	Name     string   `json:"name"`
	Type     string   `json:"type"` // "user", "bot", "app"
	Roles    []string `json:"roles"`
	Active   bool     `json:"active"`
	Nickname string   `json:"nickname"`
	// AvatarETag changes with the picture; "" when there is none.
	AvatarETag string `json:"avatarETag"`
	// Emails are shown to administrators only.
	Emails []Email `json:"emails"`
}

// An Email is an address of a user.
type Email struct {
	Address string `json:"address"`
}

// HasRole reports whether the user has a role in the workspace.
func (u User) HasRole(role string) bool { return slices.Contains(u.Roles, role) }

// HasEmail reports whether the user has an email address.
func (u User) HasEmail(address string) bool {
	return slices.ContainsFunc(u.Emails, func(e Email) bool { return strings.EqualFold(e.Address, address) })
}

// Ref returns the short form.
func (u User) Ref() UserRef { return UserRef{ID: u.ID, Username: u.Username, Name: u.Name} }

// Room types.
const (
	Channel = "c" // public
	Group   = "p" // private
	Direct  = "d" // two people or more
)

// A Room is a room of any kind. A direct room has no names of its own.
type Room struct {
	ID          string `json:"_id"`
	Type        string `json:"t"`
	Name        string `json:"name"`  // slug
	DisplayName string `json:"fname"` // what people see, when it differs from the slug
	Topic       string `json:"topic"`

	Announcement string   `json:"announcement,omitempty"`
	Usernames    []string `json:"usernames"`
	UIDs         []string `json:"uids"`
	Encrypted    bool     `json:"encrypted"`
	Archived     bool     `json:"archived"`
	ReadOnly     bool     `json:"ro"`
	Owner        *UserRef `json:"u"`
	Messages     int      `json:"msgs"`       // how many there are
	AvatarETag   string   `json:"avatarETag"` // changes with the picture; "" when there is none
}

// Title returns the name people see.
func (r Room) Title() string {
	if r.DisplayName != "" {
		return r.DisplayName
	}
	return r.Name
}

// A Message is one document of a room's timeline. System messages have a Type.
type Message struct {
	ID          string              `json:"_id"`
	RoomID      string              `json:"rid"`
	Text        string              `json:"msg"`
	Type        string              `json:"t,omitempty"` // "" for what people write; otherwise "uj", "ul", "au", "ru", "r", "rm", ...
	Time        Time                `json:"ts"`
	Updated     Time                `json:"_updatedAt"`
	User        UserRef             `json:"u"`
	EditedAt    *Time               `json:"editedAt,omitzero"`
	EditedBy    *UserRef            `json:"editedBy,omitempty"`
	ThreadID    string              `json:"tmid,omitempty"`
	ThreadShown bool                `json:"tshow,omitempty"` // a thread reply that the room shows too
	Discussion  string              `json:"drid,omitempty"`  // the room of a discussion begun here
	Role        string              `json:"role,omitempty"`  // of "subscription-role-added" and "-removed"
	Alias       string              `json:"alias,omitempty"`
	Mentions    []Mention           `json:"mentions,omitempty"`
	Channels    []ChannelRef        `json:"channels,omitempty"`
	Reactions   map[string]Reaction `json:"reactions,omitempty"` // by shortcode, such as ":smile:"
	Pinned      *bool               `json:"pinned,omitempty"`    // false after it was unpinned
	PinnedAt    *Time               `json:"pinnedAt,omitzero"`
	PinnedBy    *UserRef            `json:"pinnedBy,omitempty"`
	Location    *Location           `json:"location,omitempty"`
	Attachments []Attachment        `json:"attachments,omitempty"`
	File        *File               `json:"file,omitempty"`  // the first file itself
	Files       []File              `json:"files,omitempty"` // all files; after a picture its thumbnail
}

// UnmarshalJSON decodes a message as far as possible: clients may store fields of
// any type in one, and none of them may block a room.
func (m *Message) UnmarshalJSON(data []byte) error {
	type plain Message
	return tolerant(json.Unmarshal(data, (*plain)(m)))
}

// A Location is a place that a user shares: a GeoJSON point.
type Location struct {
	Type        string    `json:"type"`        // "Point"
	Coordinates []float64 `json:"coordinates"` // longitude and latitude, degrees
}

// A Reaction lists who reacted to a message with one emoji.
type Reaction struct {
	Usernames []string `json:"usernames"`
}

// A Mention is an addressee of a message, as the server found it in its text.
type Mention struct {
	ID       string `json:"_id"` // of a user or a team; "all" or "here"
	Username string `json:"username"`
	Name     string `json:"name,omitempty"`
	Type     string `json:"type,omitempty"` // "user", "team"; often absent
}

// A ChannelRef is a room that a message refers to, as the server found it in its text.
type ChannelRef struct {
	ID   string `json:"_id"`
	Name string `json:"name"`
}

// An Attachment is part of a message: a file or a quotation. Links to the server
// itself begin with "/".
type Attachment struct {
	Type            string       `json:"type,omitempty"` // "file" for an upload
	Title           string       `json:"title,omitempty"`
	TitleLink       string       `json:"title_link,omitempty"` // for an upload: the original file
	Description     string       `json:"description,omitempty"`
	Text            string       `json:"text,omitempty"`
	AuthorName      string       `json:"author_name,omitempty"`
	MessageLink     string       `json:"message_link,omitempty"` // for a quotation
	Time            Time         `json:"ts,omitzero"`            // of the quoted message
	ImageURL        string       `json:"image_url,omitempty"`    // a thumbnail when there is one
	ImageType       string       `json:"image_type,omitempty"`
	ImageDimensions *Dimensions  `json:"image_dimensions,omitempty"`
	AudioURL        string       `json:"audio_url,omitempty"`
	AudioType       string       `json:"audio_type,omitempty"`
	VideoURL        string       `json:"video_url,omitempty"`
	VideoType       string       `json:"video_type,omitempty"`
	Attachments     []Attachment `json:"attachments,omitempty"` // of the quoted message
}

// UnmarshalJSON decodes an attachment as far as possible.
func (a *Attachment) UnmarshalJSON(data []byte) error {
	type plain Attachment
	return tolerant(json.Unmarshal(data, (*plain)(a)))
}

// tolerant drops the error that a value does not have the type of its field, which
// then keeps its old value.
func tolerant(err error) error {
	if _, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		return nil
	}
	return err
}

// Dimensions is the size of a picture in pixels.
type Dimensions struct {
	Width  int `json:"width"`
	Height int `json:"height"`
}

// A File is an uploaded file.
type File struct {
	ID   string `json:"_id"`
	Name string `json:"name"`
	Type string `json:"type"`
	Size int64  `json:"size,omitempty"`
}

// A Subscription is one person's membership of a room.
type Subscription struct {
	RoomID string   `json:"rid"`
	Type   string   `json:"t"`
	Name   string   `json:"name"`
	Roles  []string `json:"roles"`
}

// A Member is a person in a room's member list.
type Member struct {
	ID       string `json:"_id"`
	Username string `json:"username"`
	Name     string `json:"name"`
}
