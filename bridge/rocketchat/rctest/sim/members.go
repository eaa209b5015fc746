package sim

import (
	"slices"
	"strings"
	"time"
)

// subsOf returns a user's subscriptions, ordered by room name.
func (e *Engine) subsOf(uid string) []Doc {
	out := make([]Doc, 0, len(e.data.memberOf[uid]))
	for _, s := range e.data.memberOf[uid] {
		out = append(out, s)
	}
	sortBy(out, "name")
	return out
}

func (e *Engine) owners(rid string) (n int) {
	for _, s := range e.data.members[rid] {
		if slices.Contains(s.strs("roles"), "owner") {
			n++
		}
	}
	return n
}

// insertSub makes u a member, without any message.
func (e *Engine) insertSub(r, u Doc, roles []string, extra Doc) {
	s := Doc{"_id": newObjectID(), "rid": r.id(), "u": userRef(u), "t": r.str("t"), "name": r.str("name"), "fname": r.str("fname"),
		"open": true, "alert": false, "unread": 0, "userMentions": 0, "groupMentions": 0, "ts": e.now()}.with(extra)
	if len(roles) > 0 {
		s["roles"], s["ls"] = roles, e.now()
		if !e.rel.namedRef {
			s["u"] = u.only("_id", "username")
		}
	}
	if e.rel.roomFields && r.str("t") != "d" {
		s["customFields"] = Doc{}
	}
	if r.str("t") == "d" {
		s["name"], s["fname"] = e.directName(r, u)
	}
	if p := r.str("prid"); p != "" {
		s["prid"] = p
	}
	s = e.put(subs, s)
	e.emitSub("inserted", s)
	e.emit("stream-notify-user", u.id()+"/rooms-changed", r.id(), "inserted", r)
}

// directName returns the name of a DM in u's list: the others (facts 6.1).
func (e *Engine) directName(r, u Doc) (name, fname string) {
	var names, fnames []string
	for _, id := range r.strs("uids") {
		if other := e.user(id); other != nil && id != u.id() {
			names, fnames = append(names, other.str("username")), append(fnames, firstText(other.str("name"), other.str("username")))
		}
	}
	if len(names) == 0 {
		return u.str("username"), u.str("name")
	}
	return strings.Join(names, ", "), strings.Join(fnames, ", ")
}

func (e *Engine) changeSub(s, changes Doc) {
	s = e.update(subs, s, changes)
	e.emitSub("updated", s)
}

// dropSub ends a membership: the event carries hardly more than ids (facts 7.2).
func (e *Engine) dropSub(s Doc) {
	e.remove(subs, s.id())
	e.change(op{goneSubs, s.id(), s.only("_id", "rid", "u").with(Doc{"_deletedAt": e.now()})})
	e.emitSub("removed", s.only("_id", "rid", "u", "t"))
}

func (e *Engine) emitSub(action string, s Doc) {
	e.emit("stream-notify-user", s.doc("u").id()+"/subscriptions-changed", s.str("rid"), action, s)
}

func (e *Engine) addMember(r, u Doc, roles []string) {
	e.insertSub(r, u, roles, nil)
	e.count(r.id())
}

func (e *Engine) removeSub(s Doc) {
	r := e.room(s.str("rid"))
	e.dropSub(s)
	e.emit("stream-notify-user", s.doc("u").id()+"/rooms-changed", r.id(), "removed", r)
	e.count(r.id())
}

// count updates usersCount.
func (e *Engine) count(rid string) {
	if r := e.room(rid); r != nil && r.str("t") != "d" {
		e.changeRoom(r, Doc{"usersCount": len(e.data.members[rid])})
	}
}

// joinDefaults adds a new user to every default channel.
func (e *Engine) joinDefaults(u Doc) {
	var l []Doc
	for _, r := range e.data.colls[rooms] {
		if r.flag("default") && e.sub(r.id(), u.id()) == nil {
			l = append(l, r)
		}
	}
	sortBy(l, "name")
	for _, r := range l {
		e.join(r, u)
	}
}

func (e *Engine) join(r, u Doc) {
	e.addMember(r, u, nil)
	e.systemMessage(e.room(r.id()), noteOf(r, "uj"), u.str("username"), u, nil)
}

// noteOf returns the type of the system message for a membership change: discussions
// and teams have types of their own where other rooms have "uj", "ul", "au" or "ru".
func noteOf(r Doc, t string) string {
	switch {
	case r.flag("teamMain"):
		return map[string]string{"uj": "ujt", "ul": "ult", "au": "added-user-to-team", "ru": "removed-user-from-team"}[t]
	case r.str("prid") != "" && t == "uj":
		return "ut"
	}
	return t
}

// roomJoin is POST channels.join and rooms.join (facts 6.3).
func roomJoin(c *call) (any, error) {
	r, err := c.open(c.body, c.types())
	if err != nil {
		return nil, err
	}
	if r.str("t") != "c" || !c.e.canRead(r, c.user) {
		return nil, notAllowed("joinRoom")
	}
	if slices.Contains(r.strs("banned"), c.user.id()) {
		return nil, meteorError("error-user-is-banned", "User is banned from this room")
	}
	if want := r.str("joinCode"); want != "" && want != c.body.str("joinCode") && !c.e.may(c.user, "join-without-join-code", "") {
		return nil, meteorError("error-code-invalid", "Invalid Room Password").in("joinRoom")
	}
	if c.e.sub(r.id(), c.user.id()) == nil {
		c.e.join(r, c.user)
	}
	return Doc{firstText(c.kind(), "room"): c.e.room(r.id())}, nil
}

// roomInvite is POST channels.invite and groups.invite (facts 6.3).
func roomInvite(c *call) (any, error) {
	r, err := c.open(c.body, c.types())
	if err != nil {
		return nil, err
	}
	people, err := c.invited()
	if err != nil {
		return nil, inviteFault(c.kind(), err)
	}
	if err := c.e.mayInvite(c.user, r); err != nil {
		return nil, err
	}
	for _, u := range people {
		if slices.Contains(r.strs("banned"), u.id()) {
			return nil, meteorError("error-user-is-banned", "User is banned from this room")
		}
	}
	for _, u := range people {
		c.e.invite(r.id(), u, c.user)
	}
	return Doc{c.kind(): c.e.room(r.id())}, nil
}

// invite adds u, who may already be a member.
func (e *Engine) invite(rid string, u, by Doc) {
	if e.sub(rid, u.id()) != nil {
		return
	}
	e.addMember(e.room(rid), u, nil)
	r := e.room(rid)
	if e.rel.inviteIsJoin && r.str("t") == "c" {
		e.systemMessage(r, noteOf(r, "uj"), u.str("username"), u, nil)
		return
	}
	e.systemMessage(r, noteOf(r, "au"), u.str("username"), by, nil)
}

// inviteFault is each family's error for a person who does not exist.
func inviteFault(kind string, err error) error {
	switch {
	case asFault(err).code != "error-invalid-user":
		return err
	case kind == "channel":
		return &fault{status: 400, body: Doc{"success": false, "error": "invalid-user-invite-list",
			"errorType": "Cannot invite if no users are provided"}}
	}
	return meteorError("error-empty-invite-list", "Cannot invite if no valid users are provided")
}

func (c *call) invited() ([]Doc, error) {
	b := c.body
	var people []Doc
	find := func(key, name string) error {
		u, err := c.target(Doc{key: name})
		people = append(people, u)
		return err
	}
	for _, key := range []string{"userId", "username", "user"} {
		if b.str(key) != "" {
			err := find(key, b.str(key))
			return people, err
		}
	}
	for _, id := range b.strs("userIds") {
		if err := find("userId", id); err != nil {
			return nil, err
		}
	}
	for _, name := range b.strs("usernames") {
		if err := find("username", name); err != nil {
			return nil, err
		}
	}
	if len(people) == 0 {
		return nil, meteorError("error-user-param-not-provided", "Please provide \"userId\" or \"username\"")
	}
	return people, nil
}

// mayInvite: members need add-user-to-joined-room, others add-user-to-any-c-room;
// any-p-room is granted to nobody by default.
func (e *Engine) mayInvite(by, r Doc) error {
	if r.str("t") == "d" {
		return meteorError("error-cant-invite-for-direct-room", "Can't invite user to direct rooms")
	}
	inside := e.sub(r.id(), by.id()) != nil && e.may(by, "add-user-to-joined-room", r.id())
	if !inside && !e.may(by, "add-user-to-any-"+r.str("t")+"-room", "") {
		return notAllowed("addUsersToRoom")
	}
	return nil
}

// roomKick is POST channels.kick and groups.kick.
func roomKick(c *call) (any, error) {
	r, err := c.open(c.body, c.types())
	if err != nil {
		return nil, err
	}
	u, err := c.target(c.body)
	if err != nil {
		return nil, err
	}
	if !c.e.may(c.user, "remove-user", r.id()) {
		return nil, notAllowed("removeUserFromRoom")
	}
	if err := c.e.kick(r, u, c.user); err != nil {
		return nil, err
	}
	return c.channelOnly(r)
}

func (e *Engine) kick(r, u, by Doc) error {
	s := e.sub(r.id(), u.id())
	if s == nil {
		return meteorError("error-user-not-in-room", "User is not in this room").in("removeUserFromRoom")
	}
	if slices.Contains(s.strs("roles"), "owner") && e.owners(r.id()) == 1 {
		return meteorError("error-you-are-last-owner", "You are the last owner. Please set new owner before leaving the room.").in("removeUserFromRoom")
	}
	e.systemMessage(r, noteOf(r, "ru"), u.str("username"), by, nil)
	e.removeSub(s)
	return nil
}

// roomLeave is POST channels.leave, groups.leave, rooms.leave.
func roomLeave(c *call) (any, error) {
	r, err := c.findRoom(c.body, c.types())
	if err != nil {
		return nil, err
	}
	if err := c.e.leave(r, c.user); err != nil {
		return nil, err
	}
	return c.channelOnly(r)
}

// channelOnly returns the room for channels.*, and nothing for the other families.
func (c *call) channelOnly(r Doc) (any, error) {
	if c.kind() != "channel" {
		return Doc{}, nil
	}
	return Doc{"channel": c.e.room(r.id())}, nil
}

func (e *Engine) leave(r, u Doc) error {
	s := e.sub(r.id(), u.id())
	switch {
	case s == nil:
		return meteorError("error-user-not-in-room", "You are not in this room").in("leaveRoom")
	case r.str("t") == "d":
		return notAllowed("leaveRoom")
	case slices.Contains(s.strs("roles"), "owner") && e.owners(r.id()) == 1 && len(e.data.members[r.id()]) > 1:
		return meteorError("error-you-are-last-owner", "You are the last owner. Please set new owner before leaving the room.").in("leaveRoom")
	}
	e.systemMessage(r, noteOf(r, "ul"), u.str("username"), u, nil)
	e.removeSub(s)
	return nil
}

// roomMembers is GET channels.members, groups.members and im.members.
func roomMembers(c *call) (any, error) {
	r, err := c.findRoom(c.where(), c.types())
	if err != nil {
		return nil, err
	}
	if err := c.mayListMembers(r); err != nil {
		return nil, err
	}
	return c.paged("members", c.memberList(r)), nil
}

func (c *call) mayListMembers(r Doc) error {
	if !c.e.canRead(r, c.user) {
		return meteorError("error-not-allowed", "Not allowed")
	}
	if r.flag("broadcast") && !c.e.may(c.user, "view-broadcast-member-list", r.id()) {
		return noPermission()
	}
	return nil
}

func (c *call) memberList(r Doc) []Doc {
	filter := strings.ToLower(c.q.Get("filter"))
	status := append(c.q["status[]"], c.q["status"]...)
	var l []Doc
	for _, s := range c.e.memberSubs(r.id()) {
		u := c.e.user(s.doc("u").id())
		if u == nil || !u.flag("active") || !strings.Contains(strings.ToLower(u.str("username")+" "+u.str("name")), filter) {
			continue
		}
		if len(status) > 0 && !slices.Contains(status, u.str("status")) {
			continue
		}
		d := u.only("_id", "username", "name", "nickname", "status", "statusText", "utcOffset", "avatarETag")
		switch {
		case r.str("t") != "d":
			d["_updatedAt"] = u["_updatedAt"]
		case c.e.rel.memberSubscription:
			d["subscription"] = s.only("_id", "ts", "roles")
		}
		l = append(l, d)
	}
	return l
}

// membersByRole is GET rooms.membersOrderedByRole (7.3+).
func membersByRole(c *call) (any, error) {
	r, err := c.findRoom(c.where(), "cp")
	if err != nil {
		return nil, err
	}
	if err := c.mayListMembers(r); err != nil {
		return nil, err
	}
	l := c.memberList(r)
	for i, u := range l {
		s := c.e.sub(r.id(), u.id())
		l[i] = u.with(Doc{"roles": s.strs("roles"), "subscription": s.only("_id", "ts", "roles")})
	}
	rank := func(u Doc) int {
		for i, role := range []string{"owner", "leader", "moderator"} {
			if slices.Contains(u.strs("roles"), role) {
				return i
			}
		}
		return 9
	}
	slices.SortStableFunc(l, func(a, b Doc) int { return rank(a) - rank(b) })
	return c.paged("members", l), nil
}

// isMember is GET rooms.isMember.
func isMember(c *call) (any, error) {
	r, err := c.findRoom(c.where(), "cpd")
	if err != nil {
		return nil, err
	}
	u, err := c.target(queryDoc(c.q))
	if err != nil {
		return nil, err
	}
	return Doc{"isMember": c.e.sub(r.id(), u.id()) != nil}, nil
}

// Subscriptions (facts 6.4).

// subsGet is GET subscriptions.get.
func subsGet(c *call) (any, error) { return c.e.subsSince(c.user, c.timeParam("updatedSince")), nil }

func (e *Engine) subsSince(u Doc, since time.Time) Doc {
	l := []Doc{}
	for _, s := range e.subsOf(u.id()) {
		if s.time("_updatedAt").After(since) {
			l = append(l, s)
		}
	}
	gone := []Doc{}
	for _, d := range e.listed(goneSubs, "_id") {
		if d.doc("u").id() == u.id() && deletedSince(d, since) {
			gone = append(gone, d.only("_id", "_deletedAt"))
		}
	}
	return Doc{"update": l, "remove": gone}
}

// deletedSince is false without a date: a caller that requests everything has nothing to remove.
func deletedSince(d Doc, since time.Time) bool {
	return !since.IsZero() && d.time("_deletedAt").After(since)
}

// subsGetOne is GET subscriptions.getOne.
func subsGetOne(c *call) (any, error) {
	var v any
	if s := c.e.sub(c.q.Get("roomId"), c.user.id()); s != nil {
		v = s
	}
	return Doc{"subscription": v}, nil
}

// subsRead is POST subscriptions.read.
func subsRead(c *call) (any, error) {
	rid := firstText(c.body.str("rid"), c.body.str("roomId"))
	s := c.e.sub(rid, c.user.id())
	if s == nil {
		return nil, meteorError("error-invalid-subscription", "Invalid subscription")
	}
	c.e.markRead(s)
	return Doc{}, nil
}

func (e *Engine) markRead(s Doc) {
	e.changeSub(s, Doc{"ls": e.now(), "alert": false, "unread": 0, "userMentions": 0, "groupMentions": 0})
	e.emit("stream-notify-room", s.str("rid")+"/messagesRead", s.str("rid"), Doc{"until": e.now()})
}

// openClose is POST channels.open/close, groups.open/close and im.open/close.
func openClose(open bool) func(*call) (any, error) {
	return func(c *call) (any, error) {
		r, err := c.findRoom(c.body, c.types())
		if err != nil {
			return nil, err
		}
		s := c.e.sub(r.id(), c.user.id())
		if s == nil {
			return nil, textError("The user is not in the " + kindName(c.types()) + " \"" + r.str("name") + "\".")
		}
		c.e.changeSub(s, Doc{"open": open})
		return Doc{}, nil
	}
}
