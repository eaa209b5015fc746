package sim

import (
	"context"
	"fmt"
	"slices"
)

// What tests do by hand: as people would, but without a client. Rooms are named by
// id or name, people by username. Errors are those that the server would return.

// JSON returns the document as REST would show it.
func (d Doc) JSON() []byte { return restJSON(d) }

// ID returns the document's _id.
func (d Doc) ID() string { return d.id() }

// A Person is a user that tests can sign in as.
type Person struct{ ID, Username, Password, Token string }

// by runs f as a person, exclusively, and waits for the disk.
func (e *Engine) by(username string, f func(u Doc) error) error {
	var failed error
	err := e.do(func() {
		u := e.userNamed(username)
		if u == nil {
			failed = fmt.Errorf("there is no user %q", username)
			return
		}
		failed = f(u)
	})
	return firstError(failed, err)
}

func (e *Engine) in(room string, f func(r Doc) error) error {
	r := firstDoc(e.room(room), e.roomNamed(room))
	if r == nil {
		return fmt.Errorf("there is no room %q", room)
	}
	return f(r)
}

func (e *Engine) byIn(username, room string, f func(u, r Doc) error) error {
	return e.by(username, func(u Doc) error {
		return e.in(room, func(r Doc) error { return f(u, r) })
	})
}

// CreateUser adds a user with the password <username> and a token.
func (e *Engine) CreateUser(username, name string, roles ...string) (p Person, err error) {
	if len(roles) == 0 {
		roles = []string{"user"}
	}
	err = e.do(func() {
		if err = e.usernameProblem(username); err != nil {
			return
		}
		u := e.put(users, e.newUser(Doc{"username": username, "name": name, "email": username + "@example.invalid",
			"password": username, "roles": roles}))
		e.joinDefaults(u)
		p = Person{ID: u.id(), Username: username, Password: username}
		p.Token, _ = e.addToken(u)
	})
	return p, err
}

// Person signs in an existing user.
func (e *Engine) Person(username string) (p Person, err error) {
	err = e.by(username, func(u Doc) error {
		p = Person{ID: u.id(), Username: u.str("username")}
		p.Token, _ = e.addToken(u)
		return nil
	})
	return p, err
}

// CreateRoom creates a room of type "c" or "p".
func (e *Engine) CreateRoom(t, name, owner string, members ...string) (rid string, err error) {
	err = e.by(owner, func(u Doc) error {
		r, err := e.createRoom(t, name, u, members, false, nil)
		rid = r.id()
		return err
	})
	return rid, err
}

// CreateDirect finds or creates the DM of these people.
func (e *Engine) CreateDirect(first string, others ...string) (rid string, err error) {
	err = e.by(first, func(u Doc) error {
		r, _, err := e.createDirect(u, others, false)
		rid = r.id()
		return err
	})
	return rid, err
}

// Say sends a message; extra adds fields such as tmid.
func (e *Engine) Say(room, username, text string, extra Doc) (id string, err error) {
	err = e.byIn(username, room, func(u, r Doc) error {
		m, err := e.sendLoudly(u, Doc{"rid": r.id(), "msg": text}.with(extra))
		id = m.id()
		return err
	})
	return id, err
}

// onMessage runs f as a person on a message.
func (e *Engine) onMessage(id, username string, f func(u, m Doc) error) error {
	return e.by(username, func(u Doc) error {
		m := e.message(id)
		if m == nil {
			return fmt.Errorf("there is no message %q", id)
		}
		return f(u, m)
	})
}

// Edit changes a message.
func (e *Engine) Edit(id, username, text string) error {
	return e.onMessage(id, username, func(u, m Doc) error {
		if err := e.mayEdit(u, m); err != nil {
			return err
		}
		e.edit(u, m, text, nil)
		return nil
	})
}

// Delete removes a message.
func (e *Engine) Delete(id, username string) error {
	return e.onMessage(id, username, func(u, m Doc) error {
		if err := e.mayDelete(u, m); err != nil {
			return err
		}
		e.deleteMessage(m, u)
		return nil
	})
}

// Touch changes all messages of a room in one millisecond, as renaming their author does.
func (e *Engine) Touch(room string) error {
	return e.do(func() {
		at := e.now()
		if r := firstDoc(e.room(room), e.roomNamed(room)); r != nil {
			for _, m := range slices.Clone(e.data.inRoom[r.id()]) {
				e.change(op{messages, m.id(), m.with(Doc{"_updatedAt": at})})
			}
		}
	})
}

// React adds or removes a reaction such as "smile".
func (e *Engine) React(id, username, emoji string, on bool) error {
	return e.onMessage(id, username, func(u, m Doc) error { return e.react(u, m, emoji, &on) })
}

// Typing starts or stops typing.
func (e *Engine) Typing(room, username string, on bool) error {
	return e.byIn(username, room, func(u, r Doc) error {
		what := []any{}
		if on {
			what = append(what, "user-typing")
		}
		e.emit("stream-notify-room", r.id()+"/user-activity", r.id(), u.str("username"), what)
		return nil
	})
}

// Upload posts a file with a caption.
func (e *Engine) Upload(room, username, name, kind string, data []byte, caption string) (id string, err error) {
	err = e.byIn(username, room, func(u, r Doc) error {
		c := &call{e: e, user: u, path: []string{r.id()}, body: Doc{}, file: &upload{"file", name, kind, data}}
		v, err := media(c)
		if err != nil {
			return err
		}
		c.path = append(c.path, asDoc(v).doc("file").id())
		c.body = Doc{"msg": caption}
		if v, err = mediaConfirm(c); err == nil {
			id = asDoc(v).doc("message").id()
		}
		return err
	})
	return id, err
}

// Join joins a public channel, Leave leaves any room.
func (e *Engine) Join(room, username string) error {
	return e.byIn(username, room, func(u, r Doc) error {
		if e.sub(r.id(), u.id()) == nil {
			e.join(r, u)
		}
		return nil
	})
}

// Leave leaves a room.
func (e *Engine) Leave(room, username string) error {
	return e.byIn(username, room, func(u, r Doc) error { return e.leave(r, u) })
}

// Invite adds a user to a room.
func (e *Engine) Invite(room, by, username string) error {
	return e.byIn(by, room, func(u, r Doc) error {
		who := e.userNamed(username)
		if who == nil {
			return fmt.Errorf("there is no user %q", username)
		}
		if err := e.mayInvite(u, r); err != nil {
			return err
		}
		e.invite(r.id(), who, u)
		return nil
	})
}

// Kick removes a user from a room.
func (e *Engine) Kick(room, by, username string) error {
	return e.byIn(by, room, func(u, r Doc) error { return e.kick(r, e.userNamed(username), u) })
}

// ChangeRoom applies fields of rooms.saveRoomSettings, such as roomTopic.
func (e *Engine) ChangeRoom(room, by string, fields map[string]any) error {
	return e.byIn(by, room, func(u, r Doc) error { return e.applyRoomSettings(u, r, Doc(fields)) })
}

// Archive archives or unarchives a room.
func (e *Engine) Archive(room, by string, on bool) error {
	return e.byIn(by, room, func(u, r Doc) error { return e.archive(u, r, on) })
}

// ChangeUser applies fields of users.update, such as name.
func (e *Engine) ChangeUser(username string, fields map[string]any) error {
	return e.by(username, func(u Doc) error {
		if err := e.profileProblem(u, u, Doc(fields).with(Doc{"roles": nil})); err != nil {
			return err
		}
		e.editUser(u, Doc(fields))
		return nil
	})
}

// SetStatus changes presence and status text.
func (e *Engine) SetStatus(username, status, text string) error {
	return e.by(username, func(u Doc) error { return e.changeStatus(u, Doc{"status": status, "message": text}) })
}

// Logout ends all sessions and tokens of a user, as a deactivation does.
func (e *Engine) Logout(username string) error {
	return e.by(username, func(u Doc) error {
		e.setTokens(u, nil)
		e.dropUser(u.id())
		return nil
	})
}

// Set changes a setting, bypassing all checks.
func (e *Engine) Set(id string, value any) error {
	return e.do(func() { e.put(settings, Doc{"_id": id, "value": value}) })
}

// Restrict makes the workspace behave as if it had not reported statistics: posting
// fails with restricted-workspace until it is lifted (facts 2.7).
func (e *Engine) Restrict(on bool) {
	left := -1
	if on {
		left = 0
	}
	_ = e.do(func() { e.limited = on; e.put(settings, Doc{"_id": remainingDays, "value": left}) })
}

// License installs a licence with the given number of seats; 0 removes it (facts 3.4).
func (e *Engine) License(seats int) { e.look(func() { e.seats = seats }) }

// What tests look at.

// Messages returns a room's messages, system messages included, oldest first.
func (e *Engine) Messages(room string) (l []Doc) {
	e.look(func() {
		e.in(room, func(r Doc) error { l = e.visible(r.id()); return nil })
	})
	return l
}

// Members returns the usernames of a room's members, sorted.
func (e *Engine) Members(room string) (l []string) {
	e.look(func() {
		e.in(room, func(r Doc) error {
			for _, s := range e.memberSubs(r.id()) {
				l = append(l, s.doc("u").str("username"))
			}
			return nil
		})
	})
	return l
}

// Room returns a room, nil when there is none; User likewise.
func (e *Engine) Room(room string) (d Doc) {
	e.look(func() { d = firstDoc(e.room(room), e.roomNamed(room)) })
	return d
}

// User returns a user by username, without secrets.
func (e *Engine) User(username string) (d Doc) {
	e.look(func() {
		if u := e.userNamed(username); u != nil {
			d = fullUser(u)
		}
	})
	return d
}

// Count returns how often something was requested: "POST /api/v1/chat.sendMessage",
// "method sendMessage", "sub stream-room-messages" or "websocket".
func (e *Engine) Count(what string) (n int) {
	e.look(func() { n = e.counts[what] })
	return n
}

// Sessions returns how many websockets are logged in as username.
func (e *Engine) Sessions(username string) (n int) {
	e.look(func() {
		u := e.userNamed(username)
		for c := range e.conns {
			if u != nil && c.uid == u.id() {
				n++
			}
		}
	})
	return n
}

// Subscribers returns how many subscriptions a stream's event has.
func (e *Engine) Subscribers(stream, event string) (n int) {
	e.look(func() { n = len(e.streams[stream][event]) })
	return n
}

func (e *Engine) look(f func()) {
	e.mu.Lock()
	defer e.mu.Unlock()
	f()
}

// Wait returns when ok returns true, calling it again after every change, or when ctx ends.
func (e *Engine) Wait(ctx context.Context, ok func() bool) error {
	for {
		var changed chan struct{}
		e.look(func() { changed = e.changed })
		if ok() {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
