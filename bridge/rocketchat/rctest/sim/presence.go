package sim

import "strings"

// statusNumber maps a status to its number in the streams (facts 7.2).
var statusNumber = map[string]int{"offline": 0, "online": 1, "away": 2, "busy": 3}

// setStatus is POST users.setStatus (facts 3.5).
func setStatus(c *call) (any, error) {
	u := c.user
	if id := firstText(c.body.str("userId"), c.body.str("username")); id != "" {
		other, err := c.target(c.body)
		if err != nil {
			return nil, err
		}
		if other.id() != u.id() && !c.e.may(u, "edit-other-user-info", "") {
			return nil, c.e.forbidden()
		}
		u = other
	}
	if !c.e.settingOn("Accounts_AllowUserStatusMessageChange") {
		return nil, meteorError("error-not-allowed", "Change status is not allowed")
	}
	if err := c.e.changeStatus(u, c.body); err != nil {
		return nil, err
	}
	return Doc{}, nil
}

func (e *Engine) changeStatus(u, b Doc) error {
	changes := Doc{}
	if b.has("message") {
		changes["statusText"] = b.str("message")
	}
	if s := b.str("status"); s != "" {
		if _, ok := statusNumber[s]; !ok {
			return meteorError("error-invalid-status", "Valid status types include online, away, offline, and busy.")
		}
		changes["status"], changes["statusDefault"] = s, s
	}
	e.emitStatus(e.update(users, u, changes))
	return nil
}

// emitStatus announces a status on stream-notify-logged/user-status and stream-user-presence.
func (e *Engine) emitStatus(u Doc) {
	if e.settingOn("Presence_broadcast_disabled") {
		return
	}
	n := statusNumber[u.str("status")]
	e.emit("stream-notify-logged", "user-status", "", []any{u.id(), u.str("username"), n, u.str("statusText"), u.str("name"), u.strs("roles")})
	e.emit("stream-user-presence", u.id(), "", []any{u.str("username"), n, u.str("statusText")})
}

// sessionStatus follows websocket sessions: the first one makes a user online,
// the end of the last one offline.
func (e *Engine) sessionStatus(uid string) {
	u := e.user(uid)
	if u == nil {
		return
	}
	want, connection := "offline", "offline"
	for c := range e.conns {
		if c.uid == uid {
			want, connection = firstText(u.str("statusDefault"), "online"), "online"
		}
	}
	if u.str("status") != want {
		e.emitStatus(e.update(users, u, Doc{"status": want, "statusConnection": connection}))
	}
}

// getPresence is GET users.getPresence.
func getPresence(c *call) (any, error) {
	u := c.user
	if c.q.Get("userId") != "" || c.q.Get("username") != "" || c.q.Get("user") != "" {
		var err error
		if u, err = c.target(queryDoc(c.q)); err != nil {
			return nil, err
		}
	}
	d := Doc{"presence": firstText(u.str("status"), "offline")}
	if u.id() == c.user.id() {
		d["connectionStatus"] = d["presence"]
		d["lastLogin"] = u["lastLogin"]
	}
	return d, nil
}

// getStatus is GET users.getStatus.
func getStatus(c *call) (any, error) {
	u, err := c.target(queryDoc(c.q).with(Doc{"userId": firstText(c.q.Get("userId"), c.user.id())}))
	if err != nil {
		return nil, err
	}
	return Doc{"_id": u.id(), "status": firstText(u.str("status"), "offline"), "message": u.str("statusText")}, nil
}

// presence is GET users.presence: named users, or those changed since from.
func presence(c *call) (any, error) {
	ids := append(append([]string{}, c.q["ids[]"]...), c.q["ids"]...)
	if len(ids) == 1 {
		ids = strings.Split(ids[0], ",")
	}
	from := c.timeParam("from")
	l := []Doc{}
	add := func(u Doc) {
		if u != nil && u.time("_updatedAt").After(from) {
			l = append(l, u.only("_id", "username", "name", "status", "statusText", "utcOffset", "avatarETag"))
		}
	}
	if len(ids) == 0 {
		for _, u := range c.e.listed(users, "username") {
			add(u)
		}
		return Doc{"users": l, "full": from.IsZero()}, nil
	}
	from = parseTime("")
	for _, id := range ids {
		add(c.e.user(id))
	}
	return Doc{"users": l, "full": false}, nil
}
