package rctest

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"slices"

	"appliance/bridge/rocketchat/rctest/sim"
)

// These methods inspect a real server. Nobody sees rooms of others there, administrators
// included, so the users who may be members are tried in turn.

func (r *real) Messages(room string) []sim.Doc {
	d := r.find(room)
	if d == nil {
		return nil
	}
	var out struct {
		Messages []sim.Doc `json:"messages"`
	}
	query := ".history?count=5000&showThreadMessages=true&roomId=" + url.QueryEscape(text(d, "_id"))
	if !r.see(d, family(text(d, "t"))+query, &out) {
		return nil
	}
	slices.Reverse(out.Messages)
	return out.Messages
}

func (r *real) Members(room string) (names []string) {
	d := r.find(room)
	if d == nil {
		return nil
	}
	if text(d, "t") == "d" {
		l, _ := d["usernames"].([]any)
		for _, name := range l {
			names = append(names, fmt.Sprint(name))
		}
		slices.Sort(names)
		return names
	}
	for range 1000 {
		var out struct {
			Members []struct {
				Username string `json:"username"`
			} `json:"members"`
		}
		query := fmt.Sprintf(".members?count=100&offset=%d&roomId=%s", len(names), url.QueryEscape(text(d, "_id")))
		if !r.see(d, family(text(d, "t"))+query, &out) {
			return nil
		}
		for _, m := range out.Members {
			names = append(names, m.Username)
		}
		if len(out.Members) < 100 {
			break
		}
	}
	slices.Sort(names)
	return names
}

// see requests something that only the members of a room can see.
func (r *real) see(room doc, endpoint string, out any) bool {
	id := text(room, "_id")
	r.mu.Lock()
	candidates := []Person{r.seers[id], r.robot}
	for _, p := range r.people {
		candidates = append(candidates, p)
	}
	r.mu.Unlock()
	try := func(p Person) bool {
		if p.ID == "" || r.do(p, http.MethodGet, endpoint, nil, out) != nil {
			return false
		}
		r.mu.Lock()
		r.seers[id] = p
		r.mu.Unlock()
		return true
	}
	if slices.ContainsFunc(candidates, try) {
		return true
	}
	names, _ := room["usernames"].([]any) // of a direct room
	if owner, ok := room["u"].(map[string]any); ok {
		names = append(names, owner["username"])
	}
	return slices.ContainsFunc(names, func(name any) bool {
		p, err := r.Person(fmt.Sprint(name))
		return err == nil && try(p)
	})
}

// Room returns what an administrator sees of a room, and more where a member sees more.
func (r *real) Room(room string) sim.Doc {
	d := r.find(room)
	if d == nil {
		return nil
	}
	var info struct {
		Room sim.Doc `json:"room"`
	}
	if r.see(d, "rooms.info?roomId="+url.QueryEscape(text(d, "_id")), &info) {
		for k, v := range info.Room {
			d[k] = v
		}
	}
	return d
}

// find returns the room with an id or name as an administrator sees it, nil when
// there is none.
func (r *real) find(room string) sim.Doc {
	var d sim.Doc
	err := r.do(r.admin, http.MethodGet, "rooms.adminRooms.getRoom?rid="+url.QueryEscape(room), nil, &d)
	if err == nil && d["_id"] != nil {
		return d
	}
	return r.roomNamed(room)
}

func (r *real) roomNamed(name string) sim.Doc {
	rooms, err := r.pages(context.Background(), "rooms.adminRooms", "rooms", url.Values{"filter": {name}})
	if i := slices.IndexFunc(rooms, func(d doc) bool { return d["name"] == name }); err == nil && i >= 0 {
		return rooms[i]
	}
	return nil
}

// roomID returns the id of the room with that id or name.
func (r *real) roomID(room string) string {
	if d := r.find(room); d != nil {
		return text(d, "_id")
	}
	return room
}

func (r *real) User(username string) sim.Doc {
	var out struct {
		User sim.Doc `json:"user"`
	}
	if err := r.do(r.admin, http.MethodGet, "users.info?username="+url.QueryEscape(username), nil, &out); err != nil {
		return nil
	}
	return out.User
}
