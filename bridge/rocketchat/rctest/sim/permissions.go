package sim

import (
	"slices"
	"strings"
)

// permissionDefaults are the default roles of facts 3.7, and of the other
// permissions that the endpoints check.
var permissionDefaults = parsePermissions(`
api-bypass-rate-limit: admin bot app
send-many-messages: admin bot app
message-impersonate: bot app
create-c: admin user bot app
create-p: admin user bot app
create-d: admin user bot app
create-user: admin
run-import: admin
delete-user: admin
delete-c: admin owner
delete-p: admin owner
delete-d: admin
edit-other-user-info: admin
edit-other-user-password: admin
edit-other-user-avatar: admin
edit-other-user-active-status: admin
manage-moderation-actions: admin
assign-roles: admin
assign-admin-role: admin
user-generate-access-token: admin
create-personal-access-tokens: admin user
view-full-other-user-info: admin
view-c-room: admin user bot app anonymous
view-p-room: admin user anonymous guest
view-d-room: admin user bot app guest
view-joined-room: guest bot app anonymous
view-outside-room: admin owner moderator user
view-history: admin user anonymous
view-broadcast-member-list: admin owner moderator
delete-own-message: admin user
force-delete-message: admin owner
delete-message: admin owner moderator
edit-message: admin owner moderator
bypass-time-limit-edit-and-delete: bot app
pin-message: owner moderator admin
mention-all: admin owner moderator user
mention-here: admin owner moderator user
add-user-to-joined-room: admin owner moderator
add-user-to-any-c-room: admin
add-user-to-any-p-room:
kick-user-from-any-c-room: admin
kick-user-from-any-p-room:
remove-user: admin owner moderator
ban-user: admin owner moderator
mute-user: admin owner moderator
mobile-upload-file: user admin
leave-c: admin user bot anonymous app
leave-p: admin user bot anonymous app
start-discussion: admin user guest app
start-discussion-other-user: admin user owner app
post-readonly: admin owner moderator
set-readonly: admin owner
set-react-when-readonly: admin owner
edit-room: admin owner moderator
edit-room-avatar: admin owner moderator
archive-room: admin owner
unarchive-room: admin
set-owner: admin owner
set-moderator: admin owner
set-leader: admin owner
join-without-join-code: admin bot app
view-privileged-setting: admin
edit-privileged-setting: admin
manage-selected-settings: admin
access-permissions: admin
view-room-administration: admin
view-user-administration: admin
view-statistics: admin
manage-emoji: admin
manage-cloud: admin
logout-other-user: admin
manage-outgoing-integrations: admin
manage-own-outgoing-integrations: admin
manage-apps: admin
`)

// roleNames are the roles that exist, and where they apply.
var roleNames = map[string]string{"admin": "Users", "user": "Users", "bot": "Users", "app": "Users", "guest": "Users",
	"anonymous": "Users", "owner": "Subscriptions", "moderator": "Subscriptions", "leader": "Subscriptions",
	"federated-external": "Users"}

func parsePermissions(text string) map[string][]string {
	m := map[string][]string{}
	for line := range strings.Lines(text) {
		if name, roles, ok := strings.Cut(strings.TrimSpace(line), ":"); ok {
			m[name] = strings.Fields(roles)
		}
	}
	return m
}

func (e *Engine) rolesWith(perm string) []string {
	if d := e.get(perms, perm); d != nil {
		return d.strs("roles")
	}
	return permissionDefaults[perm]
}

// may reports whether u has perm, in the room rid unless that is empty.
func (e *Engine) may(u Doc, perm, rid string) bool {
	allowed := e.rolesWith(perm)
	has := func(role string) bool { return slices.Contains(allowed, role) }
	if slices.ContainsFunc(u.strs("roles"), has) {
		return true
	}
	return rid != "" && slices.ContainsFunc(e.sub(rid, u.id()).strs("roles"), has)
}

// canRead reports whether u can see a room: public ones with view-c-room, all
// others only as a member, administrators included (facts 6.4).
func (e *Engine) canRead(room, u Doc) bool {
	if room == nil || u == nil {
		return false
	}
	if e.sub(room.id(), u.id()) != nil {
		return true
	}
	return room.str("t") == "c" && e.may(u, "view-c-room", "") && !slices.Contains(room.strs("banned"), u.id())
}

// permissionsList is GET permissions.listAll.
func permissionsList(c *call) (any, error) {
	since := c.timeParam("updatedSince")
	var l []Doc
	for _, id := range sortedKeys(permissionDefaults) {
		d := c.e.get(perms, id)
		if d == nil {
			d = Doc{"_id": id, "roles": c.e.rolesWith(id), "_updatedAt": c.e.started}
		}
		if since.IsZero() || d.time("_updatedAt").After(since) {
			l = append(l, d)
		}
	}
	return Doc{"update": l, "remove": []any{}}, nil
}

// permissionsUpdate is POST permissions.update: it replaces role lists (facts 9).
func permissionsUpdate(c *call) (any, error) {
	for _, p := range c.body.docs("permissions") {
		if _, ok := permissionDefaults[p.str("_id")]; !ok {
			return nil, meteorError("error-invalid-permission", "Invalid permission")
		}
		if slices.ContainsFunc(p.strs("roles"), func(r string) bool { return roleNames[r] == "" }) {
			return nil, meteorError("error-invalid-role", "Invalid role")
		}
	}
	for _, p := range c.body.docs("permissions") {
		d := c.e.put(perms, Doc{"_id": p.str("_id"), "roles": p.strs("roles")})
		c.e.emit("stream-notify-logged", "permissions-changed", "", "updated", d)
	}
	all, err := permissionsList(c)
	return Doc{"permissions": asDoc(all)["update"]}, err
}

// rolesList is GET roles.list.
func rolesList(c *call) (any, error) {
	var l []Doc
	for _, id := range sortedKeys(roleNames) {
		l = append(l, c.e.role(id))
	}
	return Doc{"roles": l}, nil
}

// rolesAdd is POST roles.addUserToRole.
func rolesAdd(c *call) (any, error) {
	return c.changeRole(func(set []string, r string) []string { return addTo(set, r) })
}

// rolesRemove is POST roles.removeUserFromRole.
func rolesRemove(c *call) (any, error) {
	return c.changeRole(removeFrom)
}

func (c *call) changeRole(change func([]string, string) []string) (any, error) {
	role := firstText(c.body.str("roleId"), c.body.str("roleName"))
	u := c.e.userNamed(c.body.str("username"))
	switch {
	case roleNames[role] == "":
		return nil, meteorError("error-role-not-found", "Role not found")
	case u == nil:
		return nil, meteorError("error-user-not-found", "User not found")
	case roleNames[role] == "Subscriptions":
		sub := c.e.sub(c.body.str("roomId"), u.id())
		if sub == nil {
			return nil, meteorError("error-invalid-room", "Invalid room")
		}
		c.e.changeSub(sub, Doc{"roles": change(sub.strs("roles"), role)})
	default:
		c.e.update(users, u, Doc{"roles": change(u.strs("roles"), role)})
	}
	c.e.emit("stream-notify-logged", "roles-change", "", Doc{"type": "changed", "_id": role, "u": u.only("_id", "username")})
	return Doc{"role": c.e.role(role)}, nil
}

// role returns a role of the workspace as roles.list shows it.
func (e *Engine) role(id string) Doc {
	return Doc{"_id": id, "name": id, "scope": roleNames[id], "protected": true, "description": "", "mandatory2fa": false, "_updatedAt": e.started}
}
