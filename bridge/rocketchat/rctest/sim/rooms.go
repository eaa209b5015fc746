package sim

import (
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"
)

// findRoom finds the room that roomId or roomName (or rid) names, of one of the
// types, and refuses callers who may not see it.
func (c *call) findRoom(from Doc, types string) (Doc, error) {
	id, name := firstText(from.str("roomId"), from.str("rid")), from.str("roomName")
	r := firstDoc(c.e.room(id), c.e.roomNamed(firstText(name, id)))
	if u := c.e.userNamed(from.str("username")); r == nil && u != nil && types == "d" {
		r = c.e.room(c.e.data.direct[directKey([]string{c.user.id(), u.id()})])
	}
	notFound := meteorError("error-room-not-found", "The required \"roomId\" or \"roomName\" param provided does not match any "+kindName(types))
	if r == nil || !strings.Contains(types, r.str("t")) {
		return nil, notFound
	}
	if !c.e.canRead(r, c.user) && !(r.str("t") == "c") {
		return nil, notFound // private rooms do not exist for strangers, administrators included (6.4)
	}
	return r, nil
}

func kindName(types string) string {
	switch types {
	case "p":
		return "group"
	case "d":
		return "direct message"
	}
	return "channel"
}

// open finds a room as findRoom does and refuses archived ones (6.4).
func (c *call) open(from Doc, types string) (Doc, error) {
	r, err := c.findRoom(from, types)
	if err == nil && r.flag("archived") {
		err = meteorError("error-room-archived", "The "+kindName(types)+", "+r.str("name")+", is archived")
	}
	return r, err
}

// roomTypes maps an endpoint family to its room types.
var roomTypes = map[string]string{"channels": "c", "groups": "p", "im": "d", "dm": "d", "rooms": "cpd"}

func (c *call) types() string {
	family, _, _ := strings.Cut(strings.TrimPrefix(c.r.URL.Path, "/api/v1/"), ".")
	return roomTypes[family]
}

// kind is the key of the response document: channel, group or room.
func (c *call) kind() string {
	return map[string]string{"c": "channel", "p": "group"}[c.types()]
}

// where returns the parameters that name the room: the query of a GET, the body of a POST.
func (c *call) where() Doc {
	if c.r.Method == "GET" {
		return queryDoc(c.q)
	}
	return c.body
}

// roomCreate is POST channels.create and groups.create (facts 6.2).
func roomCreate(c *call) (any, error) {
	t := c.types()
	if !c.e.may(c.user, "create-"+t, "") {
		if t == "p" {
			return nil, notAllowed("createPrivateGroup")
		}
		return nil, unauthorizedCall()
	}
	b := c.body
	r, err := c.e.createRoom(t, b.str("name"), c.user, b.strs("members"), b.flag("excludeSelf"),
		c.e.extraData(b.doc("extraData")).with(Doc{"ro": b.flag("readOnly") || b.flag("readonly"), "customFields": b["customFields"]}))
	if err != nil {
		return nil, err
	}
	return Doc{c.kind(): c.e.room(r.id())}, nil
}

// extraData returns the fields that a client may set on a room besides its name.
// Federated rooms exist only where federation is on.
func (e *Engine) extraData(d Doc) Doc {
	if !e.settingOn("Federation_Service_Enabled") {
		d = d.without("federated")
	}
	return d.only("broadcast", "topic", "teamId", "encrypted", "federated")
}

func (e *Engine) createRoom(t, name string, owner Doc, members []string, excludeSelf bool, extra Doc) (Doc, error) {
	slug, err := e.slug(name)
	if err != nil {
		return nil, err
	}
	for _, m := range members {
		if strings.Contains(m, "@") && strings.Contains(m, ":") {
			return nil, meteorError("error-federated-users-in-non-federated-rooms", "Cannot add federated users to non-federated rooms")
		}
	}
	if other := e.roomNamed(slug); other != nil {
		code := "error-duplicate-channel-name"
		if other.flag("archived") {
			code = "error-archived-duplicate-name"
		}
		return nil, meteorError(code, "A channel with name '"+slug+"' exists").with(Doc{"function": "RocketChat.getValidRoomName", "channel_name": slug})
	}
	base := Doc{"_id": newObjectID(), "t": t, "name": slug, "fname": name, "msgs": 0, "usersCount": 0, "ts": e.now(),
		"ro": false, "u": userRef(owner)}
	if e.rel.roomFields {
		base["customFields"] = Doc{}
	}
	r := e.put(rooms, base.with(extra))
	if !excludeSelf {
		e.addMember(r, owner, []string{"owner"})
	}
	for _, m := range members { // unknown names are silently dropped
		if u := e.userNamed(m); u != nil && e.sub(r.id(), u.id()) == nil {
			e.addMember(e.room(r.id()), u, nil)
		}
	}
	return e.room(r.id()), nil
}

// slug checks a display name, or turns it into a slug when special characters are
// allowed (facts 6.2).
func (e *Engine) slug(name string) (string, error) {
	slug := name
	if e.settingOn("UI_Allow_room_names_with_special_chars") {
		slug = strings.Trim(regexp.MustCompile(`[^0-9A-Za-z_.-]+`).ReplaceAllString(strings.ToLower(name), "-"), "-")
	}
	re, err := regexp.Compile("^" + e.settingText("UTF8_Channel_Names_Validation") + "$")
	if err != nil || !re.MatchString(slug) {
		return "", meteorError("error-invalid-room-name", name+" is not a valid room name.").with(
			Doc{"function": "RocketChat.getValidRoomName", "channel_name": name})
	}
	return slug, nil
}

func userRef(u Doc) Doc { return u.only("_id", "username", "name") }

// imCreate is POST im.create and dm.create: the existing room for the exact same
// member set, else a new one (facts 6.2).
func imCreate(c *call) (any, error) {
	if !c.e.may(c.user, "create-d", "") {
		return nil, notAllowed("createDirectMessage")
	}
	names := commas(firstText(c.body.str("usernames"), c.body.str("username")))
	r, _, err := c.e.createDirect(c.user, names, c.body.flag("excludeSelf"))
	if err != nil {
		return nil, err
	}
	return Doc{"room": r.only("_id", "t", "usernames").with(Doc{"rid": r.id()})}, nil
}

func (e *Engine) createDirect(by Doc, names []string, excludeSelf bool) (r Doc, inserted bool, err error) {
	var people []Doc
	if !excludeSelf {
		people = append(people, by)
	}
	for _, n := range names {
		u := e.userNamed(n)
		if u == nil {
			if e.rel.unknownIsSelf {
				continue
			}
			return nil, false, meteorError("error-invalid-user", "Invalid user").in("createDirectMessage")
		}
		if !slices.ContainsFunc(people, func(p Doc) bool { return p.id() == u.id() }) {
			people = append(people, u)
		}
	}
	if len(people) == 0 || len(people) > e.settingNum("DirectMesssage_maxUsers") {
		return nil, false, meteorError("error-direct-message-max-user-exceeded", "You cannot add more than the allowed users to a direct message")
	}
	if old := e.room(e.data.direct[directKey(idsOf(people))]); old != nil {
		e.reopen(old, by)
		return e.room(old.id()), false, nil
	}
	return e.insertDirect(by, people), true, nil
}

func idsOf(people []Doc) []string {
	var l []string
	for _, p := range people {
		l = append(l, p.id())
	}
	return l
}

func (e *Engine) insertDirect(by Doc, people []Doc) Doc {
	uids := idsOf(people)
	id := newObjectID()
	if len(uids) == 2 && e.rel.joinedDirectID {
		id = strings.Join(slices.Sorted(slices.Values(uids)), "")
	}
	var usernames []string
	for _, p := range people {
		usernames = append(usernames, p.str("username"))
	}
	r := e.put(rooms, Doc{"_id": id, "t": "d", "uids": uids, "usernames": usernames, "usersCount": len(uids), "msgs": 0,
		"ts": e.now()})
	for _, p := range people {
		e.insertSub(r, p, nil, Doc{"open": p.id() == by.id()})
	}
	return r
}

// reopen shows a hidden DM again to the user who requested it.
func (e *Engine) reopen(r, u Doc) {
	if s := e.sub(r.id(), u.id()); s != nil && !s.flag("open") {
		e.changeSub(s, Doc{"open": true})
	}
}

// roomInfo is GET rooms.info (facts 6.4).
func roomInfo(c *call) (any, error) {
	r := firstDoc(c.e.room(c.q.Get("roomId")), c.e.roomNamed(c.q.Get("roomName")))
	if r == nil {
		return nil, meteorError("error-room-not-found", "The required \"roomId\" or \"roomName\" param provided does not match any channel")
	}
	if !c.e.canRead(r, c.user) {
		return nil, &fault{status: 400, text: "not-allowed", body: Doc{"success": false, "error": "not-allowed", "errorType": "Not Allowed"}}
	}
	if r.flag("archived") && c.e.rel.archivedInfoRefused {
		return nil, meteorError("error-room-archived", "The channel, "+r.str("name")+", is archived")
	}
	d := Doc{"room": r}
	if p := c.e.room(r.str("prid")); p != nil {
		d["parent"] = p.only("_id", "name", "fname", "t", "prid", "u", "sidepanel")
	}
	return d, nil
}

// familyInfo is GET channels.info and groups.info.
func familyInfo(c *call) (any, error) {
	r, err := c.findRoom(c.where(), c.types())
	if err != nil {
		return nil, err
	}
	return Doc{c.kind(): r}, nil
}

// roomsGet is GET rooms.get: the caller's rooms, changed since.
func roomsGet(c *call) (any, error) { return c.e.roomsSince(c.user, c.timeParam("updatedSince")), nil }

func (e *Engine) roomsSince(u Doc, since time.Time) Doc {
	l := []Doc{}
	for _, s := range e.subsOf(u.id()) {
		if r := e.room(s.str("rid")); r.time("_updatedAt").After(since) {
			l = append(l, r)
		}
	}
	gone := []Doc{}
	for _, d := range e.listed(goneRooms, "_id") {
		if deletedSince(d, since) {
			gone = append(gone, d)
		}
	}
	return Doc{"update": l, "remove": gone}
}

// channelsList is GET channels.list: all public channels.
func channelsList(c *call) (any, error) {
	var l []Doc
	for _, r := range c.e.listed(rooms, "name") {
		if r.str("t") == "c" && c.e.canRead(r, c.user) {
			l = append(l, r)
		}
	}
	return c.paged("channels", l), nil
}

// joinedList is GET channels.list.joined, groups.list and im.list.
func joinedList(key string) func(*call) (any, error) {
	return func(c *call) (any, error) {
		l := c.e.joined(c.user.id(), map[string]string{"channels": "c", "groups": "p", "ims": "d"}[key])
		sortBy(l, "name")
		return c.paged(key, l), nil
	}
}

func (e *Engine) joined(uid, types string) []Doc {
	var l []Doc
	for _, s := range e.subsOf(uid) {
		if r := e.room(s.str("rid")); strings.Contains(types, r.str("t")) {
			l = append(l, r)
		}
	}
	return l
}

// groupsListAll is GET groups.listAll.
func groupsListAll(c *call) (any, error) {
	return c.paged("groups", c.e.roomsOf("p", "")), nil
}

func (e *Engine) roomsOf(types, filter string) []Doc {
	var l []Doc
	for _, r := range e.listed(rooms, "name") {
		if strings.Contains(types, r.str("t")) && strings.Contains(strings.ToLower(r.str("name")+" "+r.str("fname")), strings.ToLower(filter)) {
			l = append(l, r)
		}
	}
	return l
}

// adminRooms is GET rooms.adminRooms: metadata of all rooms, or of those of the
// types named. Discussions and teams alone name no type, so all rooms are listed.
func adminRooms(c *call) (any, error) {
	if !c.e.may(c.user, "view-room-administration", "") {
		return nil, textError("error-not-authorized")
	}
	types := slices.DeleteFunc(append(c.q["types[]"], c.q["types"]...), func(t string) bool { return len(t) > 1 })
	var l []Doc
	for _, r := range c.e.roomsOf("cpd", c.q.Get("filter")) {
		if len(types) == 0 || slices.Contains(types, r.str("t")) {
			l = append(l, r)
		}
	}
	d := c.paged("rooms", l) // sorted by hidden fields, too
	shown := []Doc{}
	for _, r := range d.docs("rooms") {
		shown = append(shown, adminView(r))
	}
	return d.with(Doc{"rooms": shown}), nil
}

// adminView is what the administration shows of a room: neither its last message
// nor the time of it.
func adminView(r Doc) Doc {
	return r.only("_id", "prid", "fname", "name", "t", "cl", "u", "usernames", "ts", "usersCount", "muted", "unmuted", "ro", "default",
		"favorite", "featured", "reactWhenReadOnly", "topic", "msgs", "archived", "teamId", "teamMain", "announcement", "description",
		"broadcast", "uids", "avatarETag")
}

// adminRoom is GET rooms.adminRooms.getRoom.
func adminRoom(c *call) (any, error) {
	if !c.e.may(c.user, "view-room-administration", "") {
		return nil, textError("error-not-authorized")
	}
	r := c.e.room(c.q.Get("rid"))
	if r == nil {
		return nil, meteorError("error-invalid-room", "Invalid room")
	}
	return adminView(r), nil
}

// roomDelete is POST channels.delete, groups.delete and im.delete.
func roomDelete(c *call) (any, error) {
	r, err := c.findRoom(c.body, c.types())
	if err != nil {
		return nil, err
	}
	if !c.e.may(c.user, "delete-"+r.str("t"), r.id()) {
		return nil, meteorError("error-action-not-allowed", "Not allowed")
	}
	c.e.deleteRoom(r)
	return Doc{}, nil
}

func (e *Engine) deleteRoom(r Doc) {
	for _, m := range slices.Clone(e.data.inRoom[r.id()]) {
		e.discard(m)
	}
	members := e.memberSubs(r.id())
	for _, s := range members {
		e.dropSub(s)
	}
	e.remove(rooms, r.id())
	e.change(op{goneRooms, r.id(), Doc{"_id": r.id(), "_deletedAt": e.now()}})
	for _, s := range members {
		e.emit("stream-notify-user", s.doc("u").id()+"/rooms-changed", r.id(), "removed", r)
	}
}

// discussionCreate is POST rooms.createDiscussion (facts 6.2).
func discussionCreate(c *call) (any, error) {
	e, b := c.e, c.body
	if e.limited {
		return nil, restricted()
	}
	if !e.may(c.user, "start-discussion", b.str("prid")) {
		return nil, meteorError("error-action-not-allowed", "You are not allowed to create a discussion")
	}
	parent := e.room(b.str("prid"))
	if parent == nil || !e.canRead(parent, c.user) {
		return nil, meteorError("error-not-allowed", "Not allowed")
	}
	if parent.str("prid") != "" {
		return nil, meteorError("error-nested-discussion", "Cannot create nested discussions")
	}
	t := "p"
	if parent.str("t") == "c" {
		t = "c"
	}
	r, err := e.createRoom(t, newID(), c.user, b.strs("users"), false, Doc{"prid": parent.id(), "fname": b.str("t_name"),
		"topic": firstText(b.str("topic"), parent.str("name")), "encrypted": b.flag("encrypted"), "customFields": nil})
	if err != nil {
		return nil, err
	}
	e.systemMessage(parent, "discussion-created", b.str("t_name"), c.user, Doc{"drid": r.id(), "dcount": 0})
	if reply := b.str("reply"); reply != "" {
		if _, err := e.send(c.user, Doc{"rid": r.id(), "msg": reply}); err != nil {
			return nil, err
		}
	}
	return Doc{"discussion": e.room(r.id()).with(Doc{"rid": r.id(), "inserted": true})}, nil
}

// spotlight is GET spotlight: "@" looks for users, "#" for rooms.
func spotlight(c *call) (any, error) {
	return c.e.spotlightFor(c.user, c.q.Get("query")), nil
}

func (e *Engine) spotlightFor(by Doc, query string) Doc {
	q := strings.ToLower(strings.TrimLeft(query, "@#"))
	people, found := []Doc{}, []Doc{}
	for _, u := range e.listed(users, "username") {
		if !strings.HasPrefix(query, "#") && u.flag("active") && strings.Contains(strings.ToLower(u.str("username")+" "+u.str("name")), q) {
			people = append(people, u.only("_id", "username", "name", "nickname", "status", "statusText", "avatarETag"))
		}
	}
	for _, r := range e.roomsOf("cp", q) {
		if !strings.HasPrefix(query, "@") && e.canRead(r, by) {
			found = append(found, r.only("_id", "name", "fname", "t", "lastMessage"))
		}
	}
	return Doc{"users": people[:min(len(people), 5)], "rooms": found[:min(len(found), 5)]}
}

// directory is GET directory: channels or users, by text.
func directory(c *call) (any, error) {
	text := strings.ToLower(c.q.Get("text"))
	kind := firstText(c.q.Get("type"), "channels")
	if q, err := decodeDoc([]byte(c.q.Get("query")), false); err == nil {
		text, kind = strings.ToLower(q.str("text")), firstText(q.str("type"), kind)
	}
	var l []Doc
	if kind == "users" {
		for _, u := range c.e.listed(users, "username") {
			if strings.Contains(strings.ToLower(u.str("username")+" "+u.str("name")), text) {
				l = append(l, u.only("_id", "username", "name", "nickname", "bio", "createdAt", "avatarETag"))
			}
		}
		return c.paged("result", l), nil
	}
	for _, r := range c.e.roomsOf("c", text) {
		l = append(l, r.only("_id", "name", "fname", "t", "topic", "description", "usersCount", "ts", "default", "archived", "lastMessage"))
	}
	return c.paged("result", l), nil
}

// permalink returns the address of a message, from which quotes are made (facts 4.7).
func (e *Engine) permalink(r Doc, msgID string) string {
	place := map[string]string{"c": "/channel/" + r.str("name"), "p": "/group/" + r.str("name"), "d": "/direct/" + r.id()}[r.str("t")]
	return e.siteURL() + place + "?msg=" + url.QueryEscape(msgID)
}
