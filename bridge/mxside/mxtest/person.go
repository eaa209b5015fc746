package mxtest

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha1" //nolint:gosec // the registration API is defined with it
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"appliance/bridge/mxside"
)

// Person is a user with a Matrix client.
type Person struct {
	ID    string
	Token string
	on    *Server
}

// Register creates an account (POST /_synapse/admin/v1/register, which Dendrite has
// too) with a display name.
func (s *Server) Register(username, displayName string) *Person {
	s.tb.Helper()
	var nonce struct {
		Nonce string `json:"nonce"`
	}
	anon := &Person{on: s}
	anon.Must("GET", "/_synapse/admin/v1/register", nil, &nonce)
	const password = "a-long-password"
	mac := hmac.New(sha1.New, []byte(sharedSecret))
	_, _ = io.WriteString(mac, strings.Join([]string{nonce.Nonce, username, password, "notadmin"}, "\x00"))
	var out struct {
		UserID      string `json:"user_id"`
		AccessToken string `json:"access_token"`
	}
	anon.Must("POST", "/_synapse/admin/v1/register", map[string]any{
		"nonce": nonce.Nonce, "username": username, "password": password, "admin": false, "mac": hex.EncodeToString(mac.Sum(nil)),
	}, &out)
	p := &Person{ID: out.UserID, Token: out.AccessToken, on: s}
	p.Must("PUT", "/_matrix/client/v3/profile/"+url.PathEscape(p.ID)+"/displayname", map[string]string{"displayname": displayName}, nil)
	return p
}

// Call makes a request and returns the status.
func (p *Person) Call(ctx context.Context, method, path string, body, out any) (int, error) {
	var payload io.Reader
	if body != nil {
		data, err := json.Marshal(body)
		if err != nil {
			return 0, err
		}
		payload = bytes.NewReader(data)
	}
	req, err := http.NewRequestWithContext(ctx, method, p.on.URL+path, payload)
	if err != nil {
		return 0, err
	}
	if p.Token != "" {
		req.Header.Set("Authorization", "Bearer "+p.Token)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, err
	}
	defer func() { _ = res.Body.Close() }()
	data, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != http.StatusOK {
		return res.StatusCode, fmt.Errorf("%s %s: %d %s, %w", method, path, res.StatusCode, data, errOr(err))
	}
	if out != nil {
		err = json.Unmarshal(data, out)
	}
	return res.StatusCode, err
}

func errOr(err error) error {
	if err == nil {
		return fmt.Errorf("refused")
	}
	return err
}

// Must is Call, and fails the test on an error.
func (p *Person) Must(method, path string, body, out any) {
	p.on.tb.Helper()
	if _, err := p.Call(context.Background(), method, path, body, out); err != nil {
		p.on.tb.Fatal(err)
	}
}

// CreateRoom creates a room and invites the given users.
func (p *Person) CreateRoom(name string, direct bool, invite ...string) string {
	p.on.tb.Helper()
	req := map[string]any{"preset": "private_chat", "invite": invite, "is_direct": direct}
	if direct {
		req["preset"] = "trusted_private_chat"
	}
	if name != "" {
		req["name"] = name
	}
	if p.on.RoomVersion != "" { // Dendrite makes rooms of version 12 only when asked
		req["room_version"] = p.on.RoomVersion
	}
	var out struct {
		RoomID string `json:"room_id"`
	}
	p.Must("POST", "/_matrix/client/v3/createRoom", req, &out)
	return out.RoomID
}

// AcceptInvitation waits for an invitation and joins. It returns the room and the
// inviter.
func (p *Person) AcceptInvitation() (room, inviter string) {
	p.on.tb.Helper()
	WaitFor(p.on.tb, "an invitation of "+p.ID, func() bool {
		var ans struct {
			Rooms struct {
				Invite map[string]struct {
					InviteState struct {
						Events []Event `json:"events"`
					} `json:"invite_state"`
				} `json:"invite"`
			} `json:"rooms"`
		}
		p.Must("GET", "/_matrix/client/v3/sync?timeout=0", nil, &ans)
		for id, r := range ans.Rooms.Invite {
			room = id
			for _, e := range r.InviteState.Events {
				if e.Type == "m.room.member" && e.StateKey == p.ID {
					inviter = e.Sender
				}
			}
			return true
		}
		return false
	})
	// The invited server has the invitation before the inviting one has stored it,
	// and until then the latter admits nobody.
	WaitFor(p.on.tb, p.ID+" to be let in", func() bool {
		_, err := p.Call(context.Background(), "POST", "/_matrix/client/v3/rooms/"+url.PathEscape(room)+"/join", map[string]any{}, nil)
		return err == nil
	})
	return room, inviter
}

// Send sends a text.
func (p *Person) Send(room, text string) string {
	p.on.tb.Helper()
	id, err := p.TrySend(context.Background(), room, text, strconv.FormatInt(time.Now().UnixNano(), 36))
	if err != nil {
		p.on.tb.Fatal(err)
	}
	return id
}

// TrySend sends a text under a transaction ID of the caller's choice.
func (p *Person) TrySend(ctx context.Context, room, text, txn string) (string, error) {
	var out struct {
		EventID string `json:"event_id"`
	}
	_, err := p.Call(ctx, "PUT", "/_matrix/client/v3/rooms/"+url.PathEscape(room)+"/send/m.room.message/"+txn, map[string]string{"msgtype": "m.text", "body": text}, &out)
	return out.EventID, err
}

// Event is an event as a client sees it.
type Event struct {
	ID       string `json:"event_id"`
	Type     string `json:"type"`
	Sender   string `json:"sender"`
	StateKey string `json:"state_key"`
	Content  struct {
		MsgType     string `json:"msgtype"`
		Body        string `json:"body"`
		Membership  string `json:"membership"`
		DisplayName string `json:"displayname"`
	} `json:"content"`
}

// Timeline returns the messages of a room, oldest first. An event that is on two
// pages counts once.
func (p *Person) Timeline(room string) []Event {
	p.on.tb.Helper()
	var all []Event
	seen := map[string]bool{}
	from := ""
	for {
		var out struct {
			Chunk []Event
			End   string
		}
		query := ""
		if from != "" {
			query = "&from=" + url.QueryEscape(from)
		}
		p.messages(room, query, &out.Chunk, &out.End)
		fresh := 0
		for _, e := range out.Chunk {
			if seen[e.ID] {
				continue
			}
			seen[e.ID] = true
			fresh++
			if e.Type == "m.room.message" {
				all = append(all, e)
			}
		}
		if out.End == "" || len(out.Chunk) == 0 {
			break
		}
		if from = mxside.Earlier(out.End); fresh == 0 {
			from = out.End
		}
	}
	slices.Reverse(all)
	return all
}

// recent returns what GET /sync shows of a room, newest first. It is used if a server
// cannot show a room's history: one Dendrite (0.15) does not get that of a version 12
// room from another.
func (p *Person) recent(room string, out any) {
	p.on.tb.Helper()
	filter := `{"presence":{"types":[]},"room":{"rooms":["` + room + `"],"timeline":{"limit":500},"state":{"types":[]},"ephemeral":{"types":[]}}}`
	var ans struct {
		Rooms struct {
			Join map[string]struct {
				Timeline struct {
					Events []json.RawMessage `json:"events"`
				} `json:"timeline"`
			} `json:"join"`
		} `json:"rooms"`
	}
	p.Must("GET", "/_matrix/client/v3/sync?timeout=0&filter="+url.QueryEscape(filter), nil, &ans)
	events := ans.Rooms.Join[room].Timeline.Events
	slices.Reverse(events)
	data, _ := json.Marshal(events)
	if err := json.Unmarshal(data, out); err != nil {
		p.on.tb.Fatal(err)
	}
}

// messages is GET /rooms/{room}/messages, or its substitute.
func (p *Person) messages(room, query string, chunk any, end *string) {
	p.on.tb.Helper()
	var out struct {
		Chunk json.RawMessage `json:"chunk"`
		End   string          `json:"end"`
	}
	status, err := p.Call(context.Background(), "GET", "/_matrix/client/v3/rooms/"+url.PathEscape(room)+"/messages?dir=b&limit=500"+query, nil, &out)
	switch {
	case status == http.StatusInternalServerError && p.on.Software.LosesPast:
		p.recent(room, chunk)
		return
	case err == nil:
		err = json.Unmarshal(out.Chunk, chunk)
		*end = out.End
	}
	if err != nil {
		p.on.tb.Fatal(err)
	}
}

// Members returns the membership of every user who has one.
func (p *Person) Members(room string) map[string]string {
	p.on.tb.Helper()
	var out struct {
		Chunk []Event `json:"chunk"`
	}
	p.Must("GET", "/_matrix/client/v3/rooms/"+url.PathEscape(room)+"/members", nil, &out)
	members := map[string]string{}
	for _, e := range out.Chunk {
		members[e.StateKey] = e.Content.Membership
	}
	return members
}

// DisplayName returns the profile name of a user as this person's server sees it.
func (p *Person) DisplayName(user string) string {
	var out struct {
		DisplayName string `json:"displayname"`
	}
	_, _ = p.Call(context.Background(), "GET", "/_matrix/client/v3/profile/"+url.PathEscape(user), nil, &out)
	return out.DisplayName
}

// SendEvent sends an event of any type and returns its ID.
func (p *Person) SendEvent(room, kind string, content map[string]any) string {
	p.on.tb.Helper()
	var out struct {
		EventID string `json:"event_id"`
	}
	txn := strings.ToLower(rand.Text())
	p.Must("PUT", "/_matrix/client/v3/rooms/"+url.PathEscape(room)+"/send/"+kind+"/"+txn, content, &out)
	return out.EventID
}

// Redact redacts an event.
func (p *Person) Redact(room, event string) {
	p.on.tb.Helper()
	p.Must("PUT", "/_matrix/client/v3/rooms/"+url.PathEscape(room)+"/redact/"+url.PathEscape(event)+"/"+strings.ToLower(rand.Text()), map[string]any{}, nil)
}

// Events returns everything in a room's timeline as it was sent, oldest first.
func (p *Person) Events(room string) []map[string]any {
	p.on.tb.Helper()
	var events []map[string]any
	p.messages(room, "", &events, new(string))
	slices.Reverse(events)
	return events
}

// As returns the application service whose as_token is given; it acts for one of
// its users with ?user_id= in the path.
func (s *Server) As(token string) *Person { return &Person{Token: token, on: s} }
