package main

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/coder/websocket"

	"appliance/bridge/rocketchat"
)

// chatUser is a user with a browser: REST and a websocket through the public
// front door.
type chatUser struct {
	id, name, token string
	base            string // of the server
	client          *http.Client
	began           time.Time // when the last request that was not rate-limited began

	mu   sync.Mutex
	seen []rocketchat.Message
	news chan struct{}
	ws   *websocket.Conn
}

const chatURL = "https://" + chatHost

func (c *chatUser) do(ctx context.Context, method, endpoint string, body, out any) error {
	h := http.Header{}
	if c.token != "" {
		h.Set("X-User-Id", c.id)
		h.Set("X-Auth-Token", c.token)
	}
	for {
		c.began = time.Now()
		data, err := call(ctx, c.client, method, c.base+"/api/v1/"+endpoint, h, body)
		if wait, ok := tooFast(err); ok && ctx.Err() == nil {
			select {
			case <-ctx.Done():
			case <-time.After(wait):
			}
			continue
		}
		if err != nil || out == nil {
			return err
		}
		return json.Unmarshal(data, out)
	}
}

var mustWait = regexp.MustCompile(`429 Too Many Requests.*must wait (\d+) seconds`)

// tooFast reads from a refusal how long to wait: people may call an endpoint ten times a
// minute, and a demo that is repeated at once is faster than that.
func tooFast(err error) (time.Duration, bool) {
	if err == nil {
		return 0, false
	}
	m := mustWait.FindStringSubmatch(err.Error())
	if m == nil {
		return 0, false
	}
	s, _ := strconv.Atoi(m[1])
	return time.Duration(s+1) * time.Second, true
}

// loginChat signs in with a password.
func loginChat(ctx context.Context, client *http.Client, base, username, password string) (*chatUser, error) {
	c := &chatUser{client: client, base: base, name: username, news: make(chan struct{}, 1)}
	var out struct {
		Data struct {
			UserID string `json:"userId"`
			Token  string `json:"authToken"`
		} `json:"data"`
	}
	if err := c.do(ctx, http.MethodPost, "login", map[string]string{"username": username, "password": password}, &out); err != nil {
		return nil, err
	}
	c.id, c.token = out.Data.UserID, out.Data.Token
	return c, nil
}

// ensureUser creates an account as the administrator, unless it exists, and signs in.
func (d *demo) ensureUser(ctx context.Context, admin *chatUser, username, name string, roles []string) (*chatUser, error) {
	password, err := d.secret(username+"_password", 0)
	if err != nil {
		return nil, err
	}
	if c, err := loginChat(ctx, admin.client, admin.base, username, password); err == nil {
		return c, nil
	}
	err = admin.do(ctx, http.MethodPost, "users.create", map[string]any{
		"username": username, "name": name, "email": username + "@demo.test", "password": password, "roles": roles, "joinDefaultChannels": false,
	}, nil)
	if err != nil {
		return nil, err
	}
	return loginChat(ctx, admin.client, admin.base, username, password)
}

// createRoom creates a private room.
func (c *chatUser) createRoom(ctx context.Context, name string) (string, error) {
	var out struct {
		Group struct {
			ID string `json:"_id"`
		} `json:"group"`
	}
	err := c.do(ctx, http.MethodPost, "groups.create", map[string]any{"name": name}, &out)
	return out.Group.ID, err
}

// command types a slash command, as a phone or a browser would.
func (c *chatUser) command(ctx context.Context, room, command, params string) error {
	return c.do(ctx, http.MethodPost, "commands.run", map[string]string{"command": command, "params": params, "roomId": room}, nil)
}

// say sends a message with a given ID.
func (c *chatUser) say(ctx context.Context, room, id, text string) error {
	return c.do(ctx, http.MethodPost, "chat.sendMessage", map[string]any{"message": map[string]string{"_id": id, "rid": room, "msg": text}}, nil)
}

// directRooms lists the direct rooms of a user, by ID.
func (c *chatUser) directRooms(ctx context.Context) (map[string]bool, error) {
	var out struct {
		Update []struct {
			RID  string `json:"rid"`
			Type string `json:"t"`
			Name string `json:"name"`
		} `json:"update"`
	}
	if err := c.do(ctx, http.MethodGet, "subscriptions.get", nil, &out); err != nil {
		return nil, err
	}
	rooms := map[string]bool{}
	for _, s := range out.Update {
		if s.Type == "d" && strings.Contains(s.Name, "_") { // puppets are named user_server
			rooms[s.RID] = true
		}
	}
	return rooms, nil
}

// listen opens the websocket and follows all messages the user may see.
func (c *chatUser) listen(ctx context.Context) error {
	ws, _, err := websocket.Dial(ctx, "wss://"+chatHost+"/websocket", &websocket.DialOptions{HTTPClient: c.client}) //nolint:bodyclose // the library closes it
	if err != nil {
		return err
	}
	ws.SetReadLimit(4 << 20)
	c.ws = ws
	for _, frame := range []string{
		`{"msg":"connect","version":"1","support":["1"]}`,
		fmt.Sprintf(`{"msg":"method","id":"1","method":"login","params":[{"resume":%q}]}`, c.token),
		`{"msg":"sub","id":"s1","name":"stream-room-messages","params":["__my_messages__",{"useCollection":false,"args":[]}]}`,
	} {
		if err := ws.Write(ctx, websocket.MessageText, []byte(frame)); err != nil {
			return err
		}
	}
	ready := make(chan struct{})
	go c.read(ctx, ready)
	select {
	case <-ready:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(20 * time.Second):
		return fmt.Errorf("the websocket: %w", errGone)
	}
}

func (c *chatUser) read(ctx context.Context, ready chan struct{}) {
	for {
		_, data, err := c.ws.Read(ctx)
		if err != nil {
			return
		}
		var f struct {
			Msg        string `json:"msg"`
			Collection string `json:"collection"`
			Fields     struct {
				Args []json.RawMessage `json:"args"`
			} `json:"fields"`
		}
		if json.Unmarshal(data, &f) != nil {
			continue
		}
		switch {
		case f.Msg == "ping":
			_ = c.ws.Write(ctx, websocket.MessageText, []byte(`{"msg":"pong"}`))
		case f.Msg == "ready":
			close(ready)
		case f.Msg == "changed" && f.Collection == "stream-room-messages" && len(f.Fields.Args) > 0:
			var m rocketchat.Message
			if json.Unmarshal(f.Fields.Args[0], &m) == nil {
				c.mu.Lock()
				c.seen = append(c.seen, m)
				c.mu.Unlock()
				select {
				case c.news <- struct{}{}:
				default:
				}
			}
		}
	}
}

// waitFor waits until a message with a text was seen in a room ("" for any).
func (c *chatUser) waitFor(ctx context.Context, room, text string) (rocketchat.Message, error) {
	for {
		c.mu.Lock()
		for _, m := range c.seen {
			if m.Text == text && (room == "" || m.RoomID == room) {
				c.mu.Unlock()
				return m, nil
			}
		}
		c.mu.Unlock()
		select {
		case <-c.news:
		case <-ctx.Done():
			return rocketchat.Message{}, fmt.Errorf("%q was not seen in Rocket.Chat: %w", text, ctx.Err())
		}
	}
}

// waitForMember waits until a puppet of a Matrix user is in a room.
func (c *chatUser) waitForMember(ctx context.Context, room, username string) error {
	for {
		if in, err := c.hasMember(ctx, room, username); in || err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s is not in the room: %w", username, ctx.Err())
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// adminPassword reads the password that the appliance generated.
func (d *demo) adminPassword() (string, error) {
	data, err := os.ReadFile(d.adminPasswordFile())
	return strings.TrimSpace(string(data)), err
}

func (d *demo) adminPasswordFile() string { return d.path("install/secrets/admin_password") }

func newID() string { return strings.ToLower(rand.Text()[:17]) }
