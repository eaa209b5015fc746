package sim

import "fmt"

// addRemovalRoutes adds the routes with which administrators clean up a workspace.
func addRemovalRoutes() {
	post("rooms.delete", "roomId!:s", roomErase)
	post("emoji-custom.delete", "emojiId!:s", emojiDelete, needs("manage-emoji"))
	post("users.logout", "userId:s", usersLogout)
}

// roomErase is POST rooms.delete, which does not require membership.
func roomErase(c *call) (any, error) {
	r := c.e.room(c.body.str("roomId"))
	if r == nil {
		return nil, meteorError("error-invalid-room", "Invalid room")
	}
	if !c.e.may(c.user, "delete-"+r.str("t"), r.id()) {
		return nil, meteorError("error-action-not-allowed", "Not allowed")
	}
	c.e.deleteRoom(r)
	return Doc{}, nil
}

// emojiDelete is POST emoji-custom.delete.
func emojiDelete(c *call) (any, error) {
	d := c.e.get(customEmojis, c.body.str("emojiId"))
	if d == nil {
		return nil, textError("Emoji not found.")
	}
	c.e.remove(customEmojis, d.id())
	c.e.emit("stream-notify-logged", "deleteEmojiCustom", "", Doc{"emojiData": d})
	return Doc{}, nil
}

// usersLogout is POST users.logout: it ends all tokens and sessions of a user.
func usersLogout(c *call) (any, error) {
	u := c.user
	if id := c.body.str("userId"); id != "" && id != u.id() {
		if !c.e.may(c.user, "logout-other-user", "") {
			return nil, noPermission()
		}
		if u = c.e.user(id); u == nil {
			return nil, meteorError("error-invalid-user", "Invalid user")
		}
	}
	c.e.setTokens(u, nil)
	c.e.dropUser(u.id())
	return Doc{"message": fmt.Sprintf("User %s has been logged out!", u.id())}, nil
}
