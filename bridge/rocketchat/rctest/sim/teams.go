package sim

import "slices"

// Teams: rooms with rooms of their own. A team's main room carries teamMain, its
// other rooms teamId; members of the team are those of the main room.

func addTeamRoutes() {
	named := func(rest string) string { return "teamId!:s" + rest + "|teamName!:s" + rest }
	post("teams.create", "name!:s type!:n members:l room:o owner:s", teamsCreate)
	get("teams.list", paging, teamsList)
	get("teams.info", "teamId!|teamName!", withTeam(func(_ *call, t Doc) (any, error) { return Doc{"teamInfo": teamView(t)}, nil }))
	get("teams.members", "teamId! name username status count offset|teamName! name username status count offset", withTeam(teamMembers))
	post("teams.addMembers", named(" members!:l"), withTeam(teamAddMembers))
	post("teams.removeMember", named(" userId!:s rooms:l"), withTeam(teamRemoveMember))
	post("teams.leave", named(" rooms:l"), withTeam(teamLeave))
	post("teams.delete", named(" roomsToRemove:l"), withTeam(teamDelete))
	get("teams.listRooms", "teamId! filter type count offset|teamName! filter type count offset", withTeam(teamRooms))
	post("teams.addRooms", named(" rooms!:l"), withTeam(teamAddRooms))
	post("teams.removeRoom", named(" roomId!:s"), withTeam(teamRemoveRoom))
}

// withTeam finds the team that teamId or teamName names, for members and, if the team is
// public, for everybody who may read it.
func withTeam(run func(*call, Doc) (any, error)) func(*call) (any, error) {
	return func(c *call) (any, error) {
		w := c.where()
		var main Doc
		for _, r := range c.e.listed(rooms, "name") {
			if r.flag("teamMain") && (r.str("teamId") == w.str("teamId") || r.str("name") == w.str("teamName")) {
				main = r
			}
		}
		if main == nil {
			return nil, textError("team-does-not-exist")
		}
		if c.e.sub(main.id(), c.user.id()) == nil && !(main.str("t") == "c" && c.e.canRead(main, c.user)) {
			return nil, unauthorizedCall()
		}
		return run(c, main)
	}
}

// teamView returns a team, as seen from its main room.
func teamView(main Doc) Doc {
	kind := 0
	if main.str("t") == "p" {
		kind = 1
	}
	return Doc{"_id": main.str("teamId"), "name": main.str("name"), "type": kind, "roomId": main.id(), "createdBy": main.doc("u").only("_id", "username"),
		"createdAt": main["ts"], "_updatedAt": main["_updatedAt"]}
}

func teamsCreate(c *call) (any, error) {
	kind := "c"
	if c.body.num("type") == 1 {
		kind = "p"
	}
	main, err := c.e.createRoom(kind, c.body.str("name"), c.user, c.body.strs("members"), false, Doc{"teamId": newObjectID(), "teamMain": true})
	if err != nil {
		return nil, err
	}
	return Doc{"team": teamView(main)}, nil
}

func teamsList(c *call) (any, error) {
	var l []Doc
	for _, r := range c.e.joined(c.user.id(), "cp") {
		if r.flag("teamMain") {
			l = append(l, teamView(r).with(Doc{"rooms": len(c.e.roomsOfTeam(r)), "numberOfUsers": r.num("usersCount")}))
		}
	}
	return c.paged("teams", l), nil
}

func (e *Engine) roomsOfTeam(main Doc) (l []Doc) {
	for _, r := range e.roomsOf("cp", "") {
		if r.str("teamId") == main.str("teamId") && !r.flag("teamMain") {
			l = append(l, r)
		}
	}
	return l
}

func teamMembers(c *call, main Doc) (any, error) {
	var l []Doc
	for _, s := range c.e.memberSubs(main.id()) {
		u := c.e.user(s.doc("u").id())
		l = append(l, Doc{"user": u.only("_id", "username", "name", "status", "nickname"), "roles": s["roles"], "createdAt": s["ts"],
			"createdBy": main.doc("u").only("_id", "username")}.with(nil))
	}
	return c.paged("members", l), nil
}

func teamAddMembers(c *call, main Doc) (any, error) {
	if err := c.e.mayInvite(c.user, main); err != nil {
		return nil, err
	}
	for _, m := range c.body.docs("members") {
		u := c.e.user(m.str("userId"))
		if u == nil {
			return nil, meteorError("invalid-user", "")
		}
		if c.e.sub(main.id(), u.id()) == nil {
			c.e.addMember(c.e.room(main.id()), u, m.strs("roles"))
			c.e.systemMessage(c.e.room(main.id()), noteOf(main, "au"), u.str("username"), c.user, nil)
		}
	}
	return Doc{}, nil
}

func teamRemoveMember(c *call, main Doc) (any, error) {
	u := c.e.user(c.body.str("userId"))
	s := c.e.sub(main.id(), u.id())
	switch {
	case s == nil:
		return nil, textError("user-not-found")
	case !c.e.may(c.user, "remove-user", main.id()):
		return nil, unauthorizedCall()
	case slices.Contains(s.strs("roles"), "owner") && c.e.owners(main.id()) == 1:
		return nil, meteorError("last-owner-can-not-be-removed", "Last owner cannot be removed")
	}
	c.e.systemMessage(main, noteOf(main, "ru"), u.str("username"), c.user, nil)
	c.e.removeSub(s)
	return Doc{}, nil
}

func teamLeave(c *call, main Doc) (any, error) {
	s := c.e.sub(main.id(), c.user.id())
	if s == nil {
		return nil, textError("user-not-found")
	}
	if slices.Contains(s.strs("roles"), "owner") && c.e.owners(main.id()) == 1 {
		return nil, meteorError("last-owner-can-not-be-removed", "Last owner cannot be removed")
	}
	c.e.systemMessage(main, noteOf(main, "ul"), c.user.str("username"), c.user, nil)
	c.e.removeSub(s)
	return Doc{}, nil
}

func teamDelete(c *call, main Doc) (any, error) {
	if !c.e.may(c.user, "delete-"+main.str("t"), main.id()) {
		return nil, unauthorizedCall()
	}
	remove := c.body.strs("roomsToRemove")
	for _, r := range c.e.roomsOfTeam(main) {
		if slices.Contains(remove, r.id()) {
			c.e.systemMessage(main, "user-deleted-room-from-team", r.str("name"), c.user, nil)
			c.e.deleteRoom(r)
			continue
		}
		c.e.setRoom(r.id(), Doc{"teamId": nil})
	}
	c.e.deleteRoom(main)
	return Doc{}, nil
}

func teamRooms(c *call, main Doc) (any, error) {
	return c.paged("rooms", c.e.roomsOfTeam(main)), nil
}

func teamAddRooms(c *call, main Doc) (any, error) {
	l := []Doc{}
	for _, rid := range c.body.strs("rooms") {
		r := c.e.room(rid)
		if r == nil || !slices.Contains(c.e.sub(rid, c.user.id()).strs("roles"), "owner") {
			return nil, textError("invalid-room")
		}
		l = append(l, c.e.setRoom(rid, Doc{"teamId": main.str("teamId")}))
		c.e.systemMessage(main, "user-added-room-to-team", r.str("name"), c.user, nil)
	}
	return Doc{"rooms": l}, nil
}

func teamRemoveRoom(c *call, main Doc) (any, error) {
	r := c.e.room(c.body.str("roomId"))
	if r == nil || r.str("teamId") != main.str("teamId") || r.flag("teamMain") {
		return nil, textError("invalid-room")
	}
	if !c.e.may(c.user, "edit-room", r.id()) {
		return nil, unauthorizedCall()
	}
	r = c.e.setRoom(r.id(), Doc{"teamId": nil})
	c.e.systemMessage(main, "user-removed-room-from-team", r.str("name"), c.user, nil)
	return Doc{"room": r}, nil
}
