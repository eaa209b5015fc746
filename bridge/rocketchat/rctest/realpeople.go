package rctest

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"appliance/bridge/rocketchat/rctest/sim"
)

// What people do on a real server.

func (r *real) CreateUser(username, name string, roles ...string) (Person, error) {
	ctx, cancel := context.WithTimeout(context.Background(), request)
	defer cancel()
	p, err := r.createUser(ctx, r.admin, username, name, true, roles...)
	if err != nil {
		return p, err
	}
	return r.signedIn(ctx, p)
}

func (r *real) signedIn(ctx context.Context, p Person) (Person, error) {
	p, err := r.signIn(ctx, r.admin, p, realSecret())
	if err == nil {
		r.mu.Lock()
		r.people[p.Username] = p
		r.mu.Unlock()
	}
	return p, err
}

// Person signs in a user, with the last token if that is still valid.
func (r *real) Person(username string) (Person, error) {
	if username == r.admin.Username || username == AdminName {
		return r.admin, nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), request)
	defer cancel()
	r.mu.Lock()
	p, known := r.people[username]
	r.mu.Unlock()
	if known && r.call(ctx, p, http.MethodGet, "me", nil, nil) == nil {
		return p, nil
	}
	id, err := r.userID(username)
	if err != nil {
		return Person{}, err
	}
	return r.signedIn(ctx, Person{ID: id, Username: username, Password: username})
}

// as makes a call as a user.
func (r *real) as(username, method, endpoint string, body, out any) error {
	p, err := r.Person(username)
	if err != nil {
		return err
	}
	return r.do(p, method, endpoint, body, out)
}

func (r *real) userID(username string) (string, error) {
	var out struct {
		User struct {
			ID string `json:"_id"`
		} `json:"user"`
	}
	err := r.do(r.admin, http.MethodGet, "users.info?username="+url.QueryEscape(username), nil, &out)
	return out.User.ID, err
}

func (r *real) CreateRoom(t, name, owner string, members ...string) (string, error) {
	var out map[string]json.RawMessage
	if err := r.as(owner, http.MethodPost, family(t)+".create", doc{"name": name, "members": append([]string{}, members...)}, &out); err != nil {
		return "", err
	}
	var room struct {
		ID string `json:"_id"`
	}
	err := json.Unmarshal(out[strings.TrimSuffix(family(t), "s")], &room)
	return room.ID, err
}

func family(t string) string { return map[string]string{"c": "channels", "p": "groups", "d": "im"}[t] }

func (r *real) CreateDirect(first string, others ...string) (string, error) {
	var out struct {
		Room struct {
			ID string `json:"_id"`
		} `json:"room"`
	}
	err := r.as(first, http.MethodPost, "im.create", doc{"usernames": strings.Join(others, ",")}, &out)
	return out.Room.ID, err
}

// posted is the response to a call that creates a message.
type posted struct {
	Message struct {
		ID   string `json:"_id"`
		Room string `json:"rid"`
	} `json:"message"`
}

func (r *real) Say(room, username, text string, fields sim.Doc) (string, error) {
	m := doc{"rid": r.roomID(room), "msg": text}
	for k, v := range fields {
		m[k] = v
	}
	var out posted
	err := r.as(username, http.MethodPost, "chat.sendMessage", doc{"message": m}, &out)
	return out.Message.ID, err
}

func (r *real) Upload(room, username, name, contentType string, data []byte, caption string) (string, error) {
	p, err := r.Person(username)
	if err != nil {
		return "", err
	}
	ctx, cancel := context.WithTimeout(context.Background(), request)
	defer cancel()
	rid := r.roomID(room)
	var up struct {
		File struct {
			ID string `json:"_id"`
		} `json:"file"`
	}
	if err := r.upload(ctx, p, "rooms.media/"+rid, name, contentType, data, &up); err != nil {
		return "", err
	}
	var out posted
	err = r.call(ctx, p, http.MethodPost, "rooms.mediaConfirm/"+rid+"/"+up.File.ID, doc{"msg": caption}, &out)
	return out.Message.ID, err
}

// onMessage posts a call about a message, for which the server also requires the room.
func (r *real) onMessage(endpoint, id, username string, body doc) error {
	var found posted
	if err := r.as(username, http.MethodGet, "chat.getMessage?msgId="+url.QueryEscape(id), nil, &found); err != nil {
		return err
	}
	body["roomId"], body["msgId"] = found.Message.Room, id
	return r.as(username, http.MethodPost, endpoint, body, nil)
}

func (r *real) Edit(id, username, text string) error {
	return r.onMessage("chat.update", id, username, doc{"text": text})
}

func (r *real) Delete(id, username string) error {
	return r.onMessage("chat.delete", id, username, doc{})
}

func (r *real) React(id, username, emoji string, on bool) error {
	return r.as(username, http.MethodPost, "chat.react", doc{"messageId": id, "emoji": emoji, "shouldReact": on}, nil)
}

// Typing goes over the websocket, as clients send it.
func (r *real) Typing(room, username string, on bool) error {
	p, err := r.Person(username)
	if err != nil {
		return err
	}
	what := []string{}
	if on {
		what = append(what, "user-typing")
	}
	ctx, cancel := context.WithTimeout(context.Background(), request)
	defer cancel()
	return r.callMethod(ctx, p, "stream-notify-room", r.roomID(room)+"/user-activity", username, what, doc{})
}

// inRoom posts to an endpoint that exists once for channels and once for groups.
func (r *real) inRoom(room, by, what string, body doc) error {
	d := r.find(room)
	if d == nil {
		return fmt.Errorf("there is no room %q", room)
	}
	body["roomId"] = d["_id"]
	return r.as(by, http.MethodPost, family(text(d, "t"))+"."+what, body, nil)
}

func (r *real) inRoomWith(room, by, what, username string) error {
	id, err := r.userID(username)
	if err != nil {
		return err
	}
	return r.inRoom(room, by, what, doc{"userId": id})
}

func (r *real) Join(room, username string) error  { return r.inRoom(room, username, "join", doc{}) }
func (r *real) Leave(room, username string) error { return r.inRoom(room, username, "leave", doc{}) }

func (r *real) Invite(room, by, username string) error {
	return r.inRoomWith(room, by, "invite", username)
}

func (r *real) Kick(room, by, username string) error {
	return r.inRoomWith(room, by, "kick", username)
}

func (r *real) ChangeRoom(room, by string, fields map[string]any) error {
	body := doc{"rid": r.roomID(room)}
	for k, v := range fields {
		body[k] = v
	}
	return r.as(by, http.MethodPost, "rooms.saveRoomSettings", body, nil)
}

func (r *real) ChangeUser(username string, fields map[string]any) error {
	id, err := r.userID(username)
	if err != nil {
		return err
	}
	return r.do(r.admin, http.MethodPost, "users.update", doc{"userId": id, "data": fields}, nil)
}

func (r *real) SetStatus(username, status, text string) error {
	return r.as(username, http.MethodPost, "users.setStatus", doc{"status": status, "message": text}, nil)
}

// Set remembers the previous value of the setting.
func (r *real) Set(setting string, value any) error {
	var old struct {
		Value any `json:"value"`
	}
	if err := r.do(r.admin, http.MethodGet, "settings/"+setting, nil, &old); err != nil {
		return err
	}
	r.mu.Lock()
	if _, again := r.before[setting]; !again {
		r.before[setting] = old.Value
	}
	r.mu.Unlock()
	return r.do(r.admin, http.MethodPost, "settings/"+setting, doc{"value": value}, nil)
}

func (r *real) Logout(username string) error {
	id, err := r.userID(username)
	if err != nil {
		return err
	}
	return r.do(r.admin, http.MethodPost, "users.logout", doc{"userId": id}, nil)
}
