package hermetic

import (
	"encoding/json"
	"maps"
	"net/http"
	"slices"
	"strings"
)

// creation is the body of POST /createRoom.
type creation struct {
	Preset       string                     `json:"preset"`
	Visibility   string                     `json:"visibility"`
	Name         string                     `json:"name"`
	Topic        string                     `json:"topic"`
	Alias        string                     `json:"room_alias_name"`
	Invite       []string                   `json:"invite"`
	Direct       bool                       `json:"is_direct"`
	Version      string                     `json:"room_version"`
	Content      map[string]json.RawMessage `json:"creation_content"`
	Powers       map[string]json.RawMessage `json:"power_level_content_override"`
	InitialState []initial                  `json:"initial_state"`
}

type initial struct {
	Type     string          `json:"type"`
	StateKey string          `json:"state_key"`
	Content  json.RawMessage `json:"content"`
}

// createRoom is POST /createRoom.
func (s *Server) createRoom(q *request) (any, error) {
	var in creation
	if err := q.read(&in); err != nil {
		return nil, err
	}
	for _, who := range in.Invite {
		if _, err := s.u.reach(q.Context(), serverOf(who)); err != nil {
			return nil, s.unreachable(err)
		}
	}
	s.u.mu.Lock()
	defer s.u.mu.Unlock()
	r, err := s.create(q.user.id, in)
	if err != nil {
		return nil, err
	}
	for _, who := range in.Invite {
		if err := s.inviteTo(r, q.user.id, who, "", in.Direct); err != nil {
			return nil, err
		}
	}
	return map[string]any{"room_id": r.id}, nil
}

// create creates a room without inviting anybody, in the order of the specification.
func (s *Server) create(by string, in creation) (*room, error) {
	if in.Version == "" {
		in.Version = s.newVersion()
	}
	if !slices.Contains([]string{"10", "11", "12"}, in.Version) {
		return nil, &apiError{http.StatusBadRequest, "M_UNSUPPORTED_ROOM_VERSION", "room version " + in.Version, nil}
	}
	alias := "#" + in.Alias + ":" + s.Name
	if in.Alias != "" && s.u.aliases[alias] != nil {
		return nil, &apiError{http.StatusBadRequest, "M_ROOM_IN_USE", "the alias is taken", nil}
	}
	r := s.begin(by, &in)
	list := []initial{{"m.room.member", by, encode(s.memberContent(by, "join"))}, {"m.room.power_levels", "", r.firstPowers(by, in)}}
	if in.Alias != "" {
		list = append(list, initial{"m.room.canonical_alias", "", encode(map[string]string{"alias": alias})})
	}
	list = append(list, in.preset()...)
	list = append(list, in.InitialState...)
	if in.Name != "" {
		list = append(list, initial{"m.room.name", "", encode(map[string]string{"name": in.Name})})
	}
	if in.Topic != "" {
		list = append(list, initial{"m.room.topic", "", encode(map[string]string{"topic": in.Topic})})
	}
	for _, i := range list {
		e := &event{kind: i.Type, sender: by, stateKey: &i.StateKey, content: i.Content}
		if err := r.authorise(e); err != nil {
			delete(s.u.rooms, r.id)
			return nil, err
		}
		s.u.add(r, e)
	}
	if in.Alias != "" {
		s.u.aliases[alias] = r
	}
	if in.Visibility == "public" {
		s.directory[r.id] = true
	}
	return r, nil
}

// begin creates the room and its m.room.create event.
func (s *Server) begin(by string, in *creation) *room {
	r := &room{universe: s.u, version: in.Version, creators: []string{by}, byID: map[string]*event{}, state: map[key]*event{}, typing: nil}
	content := map[string]json.RawMessage{}
	maps.Copy(content, in.Content)
	content["room_version"] = encode(in.Version)
	if !r.redactsInContent() { // room version 11 leaves it out (MSC2175)
		content["creator"] = encode(by)
	}
	r.id = "!" + opaque()[:18] + ":" + s.Name
	if r.creatorsRule() {
		r.id = "!" + opaque()
		var more []string
		_ = json.Unmarshal(content["additional_creators"], &more)
		if in.Preset == "trusted_private_chat" { // specification of POST /createRoom, since v1.16
			more = append(more, in.Invite...)
			content["additional_creators"] = encode(more)
		}
		r.creators = append(r.creators, more...)
	}
	none := ""
	e := &event{kind: "m.room.create", sender: by, stateKey: &none, content: encode(content)}
	s.u.rooms[r.id] = r
	s.u.add(r, e)
	return r
}

// firstPowers returns the content of the first m.room.power_levels event: the defaults
// that both servers have, with the changes of the preset and the overrides of the request.
func (r *room) firstPowers(by string, in creation) json.RawMessage {
	users, tombstone := map[string]int64{by: 100}, 100
	if r.creatorsRule() {
		users, tombstone = map[string]int64{}, 150 // MSC4289
	}
	if in.Preset == "trusted_private_chat" && !r.creatorsRule() {
		for _, who := range in.Invite {
			users[who] = 100
		}
	}
	content := map[string]json.RawMessage{}
	_ = json.Unmarshal(encode(map[string]any{
		"users": users, "users_default": 0, "events_default": 0, "state_default": 50, "ban": 50, "kick": 50, "redact": 50, "invite": 0,
		"events": map[string]int{
			"m.room.name": 50, "m.room.power_levels": 100, "m.room.history_visibility": 100, "m.room.canonical_alias": 50,
			"m.room.avatar": 50, "m.room.tombstone": tombstone, "m.room.server_acl": 100, "m.room.encryption": 100,
		},
	}), &content)
	maps.Copy(content, in.Powers)
	return encode(content)
}

// preset returns the state that a preset sets and initial_state does not.
func (in creation) preset() []initial {
	preset := in.Preset
	if preset == "" {
		preset = map[bool]string{true: "public_chat", false: "private_chat"}[in.Visibility == "public"]
	}
	rule, guests := "invite", "can_join"
	if preset == "public_chat" {
		rule, guests = "public", "forbidden"
	}
	list := []initial{
		{"m.room.join_rules", "", encode(map[string]string{"join_rule": rule})},
		{"m.room.history_visibility", "", encode(map[string]string{"history_visibility": "shared"})},
		{"m.room.guest_access", "", encode(map[string]string{"guest_access": guests})},
	}
	return slices.DeleteFunc(list, func(i initial) bool {
		return slices.ContainsFunc(in.InitialState, func(o initial) bool { return o.Type == i.Type && o.StateKey == i.StateKey })
	})
}

// upgrade is POST /rooms/{room}/upgrade.
func (s *Server) upgrade(q *request) (any, error) {
	var in struct {
		Version string `json:"new_version"`
	}
	if err := q.read(&in); err != nil {
		return nil, err
	}
	s.u.mu.Lock()
	defer s.u.mu.Unlock()
	old, err := s.room(q)
	if err != nil {
		return nil, err
	}
	none, by := "", q.user.id
	tombstone := &event{kind: "m.room.tombstone", sender: by, stateKey: &none, content: json.RawMessage("{}")}
	if err := old.authorise(tombstone); err != nil {
		return nil, err
	}
	spec := creation{Version: in.Version, Content: map[string]json.RawMessage{
		"predecessor": encode(map[string]string{"room_id": old.id, "event_id": old.events[len(old.events)-1].id}),
	}}
	for k, e := range old.state {
		switch {
		case k.kind == "m.room.power_levels":
			spec.Powers = upgradedPowers(e, by, in.Version)
		case slices.Contains(carried, k.kind) && !strings.HasPrefix(k.state, "@"):
			spec.InitialState = append(spec.InitialState, initial{k.kind, k.state, e.content})
		}
	}
	next, err := s.create(by, spec)
	if err != nil {
		return nil, err
	}
	tombstone.content = encode(map[string]string{"body": "This room has been replaced", "replacement_room": next.id})
	s.u.add(old, tombstone)
	return map[string]any{"replacement_room": next.id}, nil
}

// carried are the state events that an upgrade copies (specification, "Room upgrades").
var carried = []string{
	"m.room.server_acl", "m.room.encryption", "m.room.name", "m.room.avatar", "m.room.topic", "m.room.guest_access",
	"m.room.history_visibility", "m.room.join_rules",
}

// upgradedPowers returns the old room's powers for a new room whose creator has full power.
func upgradedPowers(e *event, by, version string) map[string]json.RawMessage {
	var content map[string]json.RawMessage
	_ = json.Unmarshal(e.content, &content)
	users := map[string]int64{}
	_ = json.Unmarshal(content["users"], &users)
	if delete(users, by); number(version) < 12 {
		users[by] = 100
	}
	content["users"] = encode(users)
	return content
}
