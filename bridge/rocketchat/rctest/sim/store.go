package sim

import (
	"slices"
	"strings"
)

// The collections. Their names are written to the journal.
const (
	users    = "users"
	rooms    = "rooms"
	subs     = "subscriptions"
	messages = "messages"
	trash    = "trash" // deleted messages: _id, rid, _deletedAt
	settings = "settings"
	perms    = "permissions"
	uploads  = "uploads"
	avatars  = "avatars" // by username, or room-<rid>

	customEmojis = "custom-emojis"

	integrations = "integrations"
	hookHistory  = "integration-history"
	goneSubs     = "gone-subscriptions"
	goneRooms    = "gone-rooms"
)

// A store holds all documents and the indexes over them.
type store struct {
	colls map[string]map[string]Doc

	byName   map[string]string         // user: lower-case username -> id
	byEmail  map[string]string         // user: lower-case address -> id
	byToken  map[string]string         // user: hashed login token -> id
	roomName map[string]string         // room: name -> id
	direct   map[string]string         // room: sorted user ids -> id
	members  map[string]map[string]Doc // subscriptions by room, then user
	memberOf map[string]map[string]Doc // subscriptions by user, then room
	inRoom   map[string][]Doc          // messages of a room, oldest first
	gone     map[string][]Doc          // trash of a room, in order of deletion
}

func newStore() *store {
	s := &store{colls: map[string]map[string]Doc{}, byName: map[string]string{}, byEmail: map[string]string{},
		byToken: map[string]string{}, roomName: map[string]string{}, direct: map[string]string{},
		members: map[string]map[string]Doc{}, memberOf: map[string]map[string]Doc{},
		inRoom: map[string][]Doc{}, gone: map[string][]Doc{}}
	for _, c := range []string{users, rooms, subs, messages, trash, settings, perms, uploads, avatars, customEmojis, integrations, hookHistory, goneSubs, goneRooms} {
		s.colls[c] = map[string]Doc{}
	}
	return s
}

// apply replaces or removes one document and keeps the indexes up to date.
func (s *store) apply(o op) {
	coll := s.colls[o.Coll]
	if coll == nil {
		coll = map[string]Doc{}
		s.colls[o.Coll] = coll
	}
	old := coll[o.ID]
	if o.Doc == nil {
		delete(coll, o.ID)
	} else {
		coll[o.ID] = o.Doc
	}
	switch o.Coll {
	case users:
		s.indexUser(old, o.Doc)
	case rooms:
		s.indexRoom(old, o.Doc)
	case subs:
		s.indexSub(old, o.Doc)
	case messages:
		s.indexMessage(old, o.Doc)
	case trash:
		s.gone[o.Doc.str("rid")] = append(s.gone[o.Doc.str("rid")], o.Doc)
	}
}

// each visits every document, messages and trash in order.
func (s *store) each(f func(op)) {
	for name, coll := range s.colls {
		if name == messages || name == trash {
			continue
		}
		for id, d := range coll {
			f(op{name, id, d})
		}
	}
	for _, l := range s.inRoom {
		for _, d := range l {
			f(op{messages, d.id(), d})
		}
	}
	for _, l := range s.gone {
		for _, d := range l {
			f(op{trash, d.id(), d})
		}
	}
}

func (s *store) indexUser(old, new Doc) {
	delete(s.byName, strings.ToLower(old.str("username")))
	for _, m := range old.docs("emails") {
		delete(s.byEmail, strings.ToLower(m.str("address")))
	}
	for _, t := range loginTokens(old) {
		delete(s.byToken, t.str("hashedToken"))
	}
	if new == nil {
		return
	}
	s.byName[strings.ToLower(new.str("username"))] = new.id()
	for _, m := range new.docs("emails") {
		s.byEmail[strings.ToLower(m.str("address"))] = new.id()
	}
	for _, t := range loginTokens(new) {
		s.byToken[t.str("hashedToken")] = new.id()
	}
}

func (s *store) indexRoom(old, new Doc) {
	delete(s.roomName, old.str("name"))
	delete(s.direct, directKey(old.strs("uids")))
	if new == nil {
		return
	}
	if new.str("t") == "d" {
		s.direct[directKey(new.strs("uids"))] = new.id()
		return
	}
	s.roomName[new.str("name")] = new.id()
}

func (s *store) indexSub(old, new Doc) {
	if old != nil {
		rid, uid := old.str("rid"), old.doc("u").id()
		delete(s.members[rid], uid)
		delete(s.memberOf[uid], rid)
	}
	if new != nil {
		rid, uid := new.str("rid"), new.doc("u").id()
		setIn(s.members, rid, uid, new)
		setIn(s.memberOf, uid, rid, new)
	}
}

func setIn(m map[string]map[string]Doc, a, b string, d Doc) {
	if m[a] == nil {
		m[a] = map[string]Doc{}
	}
	m[a][b] = d
}

// indexMessage keeps a room's messages in order of creation. Nearly every message
// is newer than all others, and changes are mostly to recent ones.
func (s *store) indexMessage(old, new Doc) {
	d := new
	if d == nil {
		d = old
	}
	rid := d.str("rid")
	l := s.inRoom[rid]
	if old == nil {
		i := len(l)
		for i > 0 && l[i-1].time("ts").After(new.time("ts")) {
			i--
		}
		s.inRoom[rid] = slices.Insert(l, i, new)
		return
	}
	for i := len(l) - 1; i >= 0; i-- {
		if l[i].id() != d.id() {
			continue
		}
		if new == nil {
			s.inRoom[rid] = slices.Delete(l, i, i+1)
		} else {
			l[i] = new
		}
		return
	}
}

// directKey identifies a DM by its members (facts 6.2: exact member set).
func directKey(uids []string) string {
	ids := slices.Clone(uids)
	slices.Sort(ids)
	return strings.Join(slices.Compact(ids), ",")
}

func loginTokens(u Doc) []Doc { return u.doc("services").doc("resume").docs("loginTokens") }

// Changes of the running request; the caller holds the lock.

// put stores d, stamped with _updatedAt, and returns what was stored.
func (e *Engine) put(coll string, d Doc) Doc {
	d = d.with(Doc{"_updatedAt": e.now()})
	e.change(op{coll, d.id(), d})
	return d
}

// update changes some keys of a stored document; nil removes a key.
func (e *Engine) update(coll string, d Doc, changes Doc) Doc { return e.put(coll, d.with(changes)) }

func (e *Engine) remove(coll, id string) { e.change(op{Coll: coll, ID: id}) }

func (e *Engine) change(o op) {
	e.data.apply(o)
	e.ops = append(e.ops, o)
}

// Look-ups; nil when there is none.

func (e *Engine) get(coll, id string) Doc    { return e.data.colls[coll][id] }
func (e *Engine) user(id string) Doc         { return e.get(users, id) }
func (e *Engine) room(id string) Doc         { return e.get(rooms, id) }
func (e *Engine) message(id string) Doc      { return e.get(messages, id) }
func (e *Engine) sub(rid, uid string) Doc    { return e.data.members[rid][uid] }
func (e *Engine) userNamed(name string) Doc  { return e.user(e.data.byName[strings.ToLower(name)]) }
func (e *Engine) userMailed(addr string) Doc { return e.user(e.data.byEmail[strings.ToLower(addr)]) }
func (e *Engine) userByToken(tok string) Doc { return e.user(e.data.byToken[hashToken(tok)]) }
func (e *Engine) roomNamed(name string) Doc  { return e.room(e.data.roomName[name]) }

// listed returns a collection in a stable order.
func (e *Engine) listed(coll, by string) []Doc {
	out := make([]Doc, 0, len(e.data.colls[coll]))
	for _, d := range e.data.colls[coll] {
		out = append(out, d)
	}
	sortBy(out, by)
	return out
}

func sortBy(l []Doc, key string) {
	slices.SortFunc(l, func(a, b Doc) int {
		if c := strings.Compare(strings.ToLower(a.str(key)), strings.ToLower(b.str(key))); c != 0 {
			return c
		}
		return strings.Compare(a.id(), b.id())
	})
}

// memberSubs returns the subscriptions of a room, ordered by username.
func (e *Engine) memberSubs(rid string) []Doc {
	out := make([]Doc, 0, len(e.data.members[rid]))
	for _, d := range e.data.members[rid] {
		out = append(out, d)
	}
	slices.SortFunc(out, func(a, b Doc) int {
		return strings.Compare(a.doc("u").str("username"), b.doc("u").str("username"))
	})
	return out
}
