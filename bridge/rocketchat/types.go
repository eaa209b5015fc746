package rocketchat

import (
	"encoding/json"
	"strconv"
	"time"
)

// A Time is an instant as Rocket.Chat writes it: an ISO-8601 string over REST,
// {"$date": milliseconds} over the websocket.
type Time struct{ time.Time }

// UnmarshalJSON reads either form; null leaves the zero time.
func (t *Time) UnmarshalJSON(data []byte) error {
	var s string
	if json.Unmarshal(data, &s) == nil {
		if s == "" {
			return nil
		}
		parsed, err := time.Parse(time.RFC3339Nano, s)
		t.Time = parsed.UTC()
		return err
	}
	var d struct {
		Date int64 `json:"$date"`
	}
	if err := json.Unmarshal(data, &d); err != nil {
		ms, perr := strconv.ParseInt(string(data), 10, 64)
		if perr != nil {
			return err
		}
		d.Date = ms
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
	ID          string   `json:"_id"`
	Type        string   `json:"t"`
	Name        string   `json:"name"`  // slug
	DisplayName string   `json:"fname"` // what people see, when it differs from the slug
	Topic       string   `json:"topic"`
	Usernames   []string `json:"usernames"`
	UIDs        []string `json:"uids"`
	Encrypted   bool     `json:"encrypted"`
	Archived    bool     `json:"archived"`
	ReadOnly    bool     `json:"ro"`
	Owner       *UserRef `json:"u"`
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
	ID          string       `json:"_id"`
	RoomID      string       `json:"rid"`
	Text        string       `json:"msg"`
	Type        string       `json:"t,omitempty"` // "" for what people write; see facts of message types: "uj", "ul", "au", "ru", "r", "rm", ...
	Time        Time         `json:"ts"`
	Updated     Time         `json:"_updatedAt"`
	User        UserRef      `json:"u"`
	EditedAt    *Time        `json:"editedAt,omitempty"`
	ThreadID    string       `json:"tmid,omitempty"`
	Alias       string       `json:"alias,omitempty"`
	Attachments []Attachment `json:"attachments,omitempty"`
	File        *File        `json:"file,omitempty"`
}

// An Attachment is part of a message: a file or a quotation.
type Attachment struct {
	Title       string `json:"title,omitempty"`
	TitleLink   string `json:"title_link,omitempty"`
	Description string `json:"description,omitempty"`
	Text        string `json:"text,omitempty"`
	AuthorName  string `json:"author_name,omitempty"`
	MessageLink string `json:"message_link,omitempty"`
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
