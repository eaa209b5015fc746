package sim

import (
	"encoding/json"
	"strings"
)

// builtin are the slash commands a fresh server has. /federation and /bridge are
// not among them: the web client knows the first, the server neither (facts 8.2).
var builtin = []Doc{
	{"command": "archive", "params": "#channel", "description": "Archive"},
	{"command": "create", "params": "#channel", "description": "Create_A_New_Channel"},
	{"command": "gimme", "params": "your_message_optional", "description": "Slash_Gimme_Description"},
	{"command": "help", "params": "", "description": "Show_the_keyboard_shortcut_list"},
	{"command": "hide", "params": "#room", "description": "Hide_room"},
	{"command": "invite", "params": "@username", "description": "Invite_user_to_join_channel"},
	{"command": "invite-all-from", "params": "#room", "description": "Invite_user_to_join_channel_all_from"},
	{"command": "invite-all-to", "params": "#room", "description": "Invite_user_to_join_channel_all_to"},
	{"command": "join", "params": "#channel", "description": "Join_the_given_channel"},
	{"command": "kick", "params": "@username", "description": "Remove_someone_from_room"},
	{"command": "leave", "params": "", "description": "Leave_the_current_channel"},
	{"command": "lennyface", "params": "your_message_optional", "description": "Slash_LennyFace_Description"},
	{"command": "me", "params": "your_message", "description": "Displays_action_text"},
	{"command": "msg", "params": "@username message", "description": "Direct_message_someone"},
	{"command": "mute", "params": "@username", "description": "Mute_someone_in_room"},
	{"command": "part", "params": "", "description": "Leave_the_current_channel"},
	{"command": "shrug", "params": "your_message_optional", "description": "Slash_Shrug_Description"},
	{"command": "status", "params": "message", "description": "Slash_Status_Description"},
	{"command": "tableflip", "params": "your_message_optional", "description": "Slash_Tableflip_Description"},
	{"command": "topic", "params": "Slash_Topic_Params", "description": "Slash_Topic_Description"},
	{"command": "unarchive", "params": "#channel", "description": "Unarchive"},
	{"command": "unflip", "params": "your_message_optional", "description": "Slash_TableUnflip_Description"},
	{"command": "unmute", "params": "@username", "description": "Unmute_someone_in_room"},
}

func commandNamed(name string) Doc {
	for _, d := range builtin {
		if d.str("command") == name {
			return d.with(Doc{"clientOnly": name == "help", "providesPreview": false})
		}
	}
	return nil
}

// commandsList is GET commands.list.
func commandsList(c *call) (any, error) {
	var l []Doc
	for _, d := range builtin {
		l = append(l, commandNamed(d.str("command")))
	}
	d := c.paged("commands", l)
	d["appsLoaded"] = true
	return d, nil
}

// commandsGet is GET commands.get.
func commandsGet(c *call) (any, error) {
	if !c.q.Has("command") {
		return nil, textError("The query param \"command\" must be provided.")
	}
	d := commandNamed(strings.ToLower(c.q.Get("command")))
	if d == nil {
		return nil, textError("There is no command in the system by the name of: " + c.q.Get("command"))
	}
	return Doc{"command": d}, nil
}

// commandsRun is POST commands.run: the name is lower-cased, then the existence of
// the command, access to the room, and the thread are checked (facts 8.2, 8.3).
func commandsRun(c *call) (any, error) {
	name := strings.ToLower(c.body.str("command"))
	if commandNamed(name) == nil {
		return nil, textError("The command provided does not exist (or is disabled).")
	}
	r := c.e.room(c.body.str("roomId"))
	if !c.e.canRead(r, c.user) {
		return nil, c.e.forbidden()
	}
	if id := c.body.str("tmid"); id != "" && c.e.message(id).str("rid") != r.id() {
		return nil, textError("Invalid thread.")
	}
	v, err := c.e.runCommand(c.user, r, name, strings.TrimSpace(c.body.str("params")), c.body.str("tmid"))
	if err != nil {
		return nil, err
	}
	return Doc{"result": orNothing(v)}, nil
}

func orNothing(v Doc) any {
	if v == nil {
		return nil
	}
	return v
}

// ddpSlash is the method slashCommand({cmd, params, msg}).
func ddpSlash(m *method) (any, error) {
	d := m.doc(0)
	if commandNamed(d.str("cmd")) == nil {
		return nil, meteorError("error-command-not-found", "Executing a command that does not exist.").with(Doc{"method": "executeSlashCommand"})
	}
	r, err := m.readable(d.doc("msg").str("rid"))
	if err != nil {
		return nil, err
	}
	v, err := m.e.runCommand(m.user, r, d.str("cmd"), strings.TrimSpace(d.str("params")), d.doc("msg").str("tmid"))
	if err != nil {
		return nil, err
	}
	if v == nil {
		return json.RawMessage("null"), nil
	}
	return v, nil
}

// faces are commands that only append something to the text.
var faces = map[string]string{"gimme": "༼ つ ◕_◕ ༽つ", "lennyface": "( ͡° ͜ʖ ͡°)", "shrug": "¯\\_(ツ)_/¯",
	"tableflip": "(╯°□°）╯︵ ┻━┻", "unflip": "┬─┬ ノ( ゜-゜ノ)"}

func (e *Engine) runCommand(u, r Doc, name, params, tmid string) (Doc, error) {
	post := func(text string) (Doc, error) {
		m := Doc{"rid": r.id(), "msg": text}
		if tmid != "" {
			m["tmid"] = tmid
		}
		_, err := e.sendLoudly(u, m)
		return nil, err
	}
	if face := faces[name]; face != "" {
		return post(strings.TrimSpace(params + " " + face))
	}
	switch name {
	case "me":
		return post("_" + params + "_")
	case "topic":
		return nil, e.applyRoomSettings(u, r, Doc{"roomTopic": params})
	case "leave", "part":
		return nil, e.leave(r, u)
	case "invite", "kick", "mute", "unmute", "msg":
		return nil, e.personCommand(u, r, name, params)
	case "join":
		if to := e.roomNamed(strings.TrimPrefix(params, "#")); to != nil && to.str("t") == "c" && e.sub(to.id(), u.id()) == nil {
			e.join(to, u)
		}
	case "status":
		return nil, e.changeStatus(u, Doc{"message": params})
	case "archive", "unarchive":
		return nil, e.archive(u, r, name == "archive")
	case "create":
		_, err := e.createRoom("c", strings.TrimPrefix(params, "#"), u, nil, false, nil)
		return nil, err
	}
	return nil, nil
}

func (e *Engine) personCommand(u, r Doc, name, params string) error {
	word, rest, _ := strings.Cut(params, " ")
	who := e.userNamed(strings.TrimPrefix(word, "@"))
	if who == nil {
		e.ephemeral(u, r.id(), "Username_doesnt_exist")
		return nil
	}
	switch name {
	case "invite":
		if err := e.mayInvite(u, r); err != nil {
			e.ephemeral(u, r.id(), err.Error())
			return nil
		}
		e.invite(r.id(), who, u)
	case "kick":
		if !e.may(u, "remove-user", r.id()) {
			return meteorError("error-not-allowed", "Not allowed")
		}
		return e.kick(r, who, u)
	case "mute", "unmute":
		return e.mute(u, r, who, name == "mute")
	case "msg":
		d, _, err := e.createDirect(u, []string{who.str("username")}, false)
		if err != nil {
			return err
		}
		_, err = e.sendLoudly(u, Doc{"rid": d.id(), "msg": rest})
		return err
	}
	return nil
}
