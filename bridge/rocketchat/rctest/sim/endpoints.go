package sim

import "time"

// endpoints holds all REST routes, by routeKey. The shapes of bodies and queries
// are strict: see schema.
var endpoints map[string]*endpoint

func init() {
	endpoints = map[string]*endpoint{}
	addAuthRoutes()
	addUserRoutes()
	addSettingRoutes()
	for _, family := range []string{"channels", "groups"} {
		addFamilyRoutes(family)
	}
	addChannelRoutes()
	addDirectRoutes()
	addRoomRoutes()
	addChatRoutes()
	addOtherRoutes()
	addClientRoutes()
	addTeamRoutes()
	addRemovalRoutes()
}

// An option changes an endpoint as it is added.
type option func(*endpoint)

func anonymous(ep *endpoint)    { ep.anonymous = true }
func secondFactor(ep *endpoint) { ep.twoFactor = true }
func unlimited(ep *endpoint)    { ep.unlimited = true }

// in adds an endpoint only to versions that have it.
func in(has func(release) bool) option { return func(ep *endpoint) { ep.exists = has } }

func needs(perm ...string) option { return func(ep *endpoint) { ep.perms = perm } }

func limited(calls int, per time.Duration) option {
	return func(ep *endpoint) { ep.limit = rate{calls: calls, interval: per} }
}

// get and post add a route; shape "*" leaves the parameters unchecked.
func get(path, shape string, run func(*call) (any, error), opts ...option) {
	ep := &endpoint{method: "GET", path: path, run: run}
	if shape != "*" {
		ep.query = parseSchema(shape)
	}
	ep.add(opts)
}

func post(path, shape string, run func(*call) (any, error), opts ...option) {
	ep := &endpoint{method: "POST", path: path, run: run}
	if shape != "*" {
		ep.body = parseSchema(shape)
	}
	ep.add(opts)
}

func (ep *endpoint) add(opts []option) {
	for _, o := range opts {
		o(ep)
	}
	name, params := splitRoute(ep.path)
	endpoints[routeKey(ep.method, name, params)] = ep
}

// splitRoute counts the ":x" at the end of a path.
func splitRoute(path string) (name string, params int) {
	for i := range path {
		if path[i] == ':' {
			params++
		}
	}
	for i := range path {
		if path[i] == '/' && path[i+1] == ':' {
			return path[:i], params
		}
	}
	return path, params
}

func addAuthRoutes() {
	post("login", "*", login, anonymous)
	post("logout", "*", logout)
	get("logout", "*", logout) // older clients
	get("me", "fields", me)
	post("users.createToken", "userId:s username:s user:s secret:s", createToken)
	post("users.generatePersonalAccessToken", "tokenName!:s bypassTwoFactor:b", patGenerate, secondFactor)
	post("users.regeneratePersonalAccessToken", "tokenName!:s", patRegenerate, secondFactor)
	post("users.removePersonalAccessToken", "tokenName!:s", patRemove, secondFactor)
	get("users.getPersonalAccessTokens", "", patList)
}

func addUserRoutes() {
	post("users.create", "email!:s name!:s password!:s username!:s active:b bio:s nickname:s statusText:s roles:L "+
		"joinDefaultChannels:b requirePasswordChange:b setRandomPassword:b sendWelcomeEmail:b verified:b customFields:o "+
		"freeSwitchExtension:s fields:s", usersCreate)
	post("users.register", "username!:s name!:s email!:s pass!:s secret:s reason:s customFields:o", usersRegister, anonymous,
		func(ep *endpoint) { ep.limit = rate{setting: "Rate_Limiter_Limit_RegisterUser"} })
	get("users.info", "userId! includeUserRooms fields|username! includeUserRooms fields|importId! includeUserRooms fields|email! includeUserRooms fields", usersInfo)
	get("users.list", "email"+paging, usersList)
	post("users.update", "userId!:s data!:o confirmRelinquish:b", usersUpdate, secondFactor)
	post("users.updateOwnBasicInfo", "data!:o customFields:o", updateOwn, limited(1, time.Minute))
	post("users.setActiveStatus", "userId!:s activeStatus!:b confirmRelinquish:b", setActive)
	post("users.delete", "userId!:s confirmRelinquish:b|username!:s confirmRelinquish:b", usersDelete, needs("delete-user"))
	post("users.setAvatar", "avatarUrl:s userId:s username:s", setAvatar)
	post("users.resetAvatar", "userId:s username:s", resetAvatar)
	get("users.getAvatar", "userId username user", getAvatar)
	post("users.setStatus", "message:s status:s userId:s username:s user:s", setStatus, limited(5, time.Minute))
	get("users.getStatus", "userId username user", getStatus)
	get("users.getPresence", "userId username user", getPresence)
	get("users.presence", "ids from", presence)
	get("roles.list", "", rolesList)
	post("roles.addUserToRole", "username!:s roleId!:s roomId:s", rolesAdd, needs("access-permissions"))
	post("roles.removeUserFromRole", "username!:s roleId!:s roomId:s scope:s", rolesRemove, needs("access-permissions"))
}

func addSettingRoutes() {
	get("settings", "includeDefaults"+paging, settingsList, needs("view-privileged-setting"))
	post("settings", "settings!:l", settingsBulk, needs("edit-privileged-setting"), secondFactor, func(ep *endpoint) { ep.strict2FA = true },
		in(func(r release) bool { return r.bulkSettings }))
	get("settings/:_id", "", settingsGet, needs("view-privileged-setting"))
	post("settings/:_id", "value!|value! editor|execute!", settingsSet, needs("edit-privileged-setting"), secondFactor)
	get("settings.public", "_id count offset sort query", settingsPublic, anonymous)
	get("cloud.registrationStatus", "", registrationStatus, needs("manage-cloud"))
	get("permissions.listAll", "updatedSince", permissionsList)
	post("permissions.update", "permissions!:l", permissionsUpdate, needs("access-permissions"))
}

// either builds a shape that requires roomId or roomName besides the rest.
func either(rest string) string { return "roomId! " + rest + "|roomName! " + rest }

// eitherIn is either, but in channels.* a room is named by its id alone.
func eitherIn(family, rest string) string {
	if family == "channels" {
		return "roomId! " + rest
	}
	return either(rest)
}

// mongo holds the list parameters that one family accepts and the other does not.
var mongo = map[string]string{"channels": " sort query fields", "groups": ""}

const person = "userId:s username:s user:s"

// addFamilyRoutes adds the routes that channels.* and groups.* share.
func addFamilyRoutes(f string) {
	if f == "channels" {
		post(f+".create", "name!:s members:L teams:l readonly:b extraData:o", roomCreate)
	} else {
		post(f+".create", "name!:s members:l readOnly:b customFields:o extraData:o", roomCreate)
	}
	get(f+".info", either(""), familyInfo)
	post(f+".invite", either(person+" userIds:l usernames:l"), roomInvite)
	kicked := person
	if f == "channels" {
		kicked = "userId:s"
	}
	post(f+".kick", either(kicked), roomKick)
	post(f+".leave", either(""), roomLeave)
	get(f+".members", either("filter status count offset"+mongo[f]), roomMembers)
	get(f+".history", either("latest oldest inclusive unreads showThreadMessages count offset"), roomHistory)
	get(f+".messages", eitherIn(f, "mentionIds starredIds pinned count offset sort query"), roomMessages)
	post(f+".rename", either("name!:s"), roomRename)
	post(f+".setTopic", either("topic!:s"), roomSet("roomTopic", "topic"))
	post(f+".setAnnouncement", either("announcement!:s"), roomSet("roomAnnouncement", "announcement"))
	post(f+".setDescription", either("description!:s"), roomSet("roomDescription", "description"))
	post(f+".setPurpose", either("purpose!:s"), roomSet("roomDescription", "purpose"))
	post(f+".setReadOnly", either("readOnly!:b"), setReadOnly)
	post(f+".setType", either("type!:s"), setTypeCall)
	post(f+".setCustomFields", either("customFields!:o"), setCustomFields)
	post(f+".archive", either(""), roomArchive(true))
	post(f+".unarchive", either(""), roomArchive(false))
	for _, role := range []string{"owner", "moderator", "leader"} {
		title := map[string]string{"owner": "Owner", "moderator": "Moderator", "leader": "Leader"}[role]
		post(f+".add"+title, either(person), roomRole(role, true))
		post(f+".remove"+title, either(person), roomRole(role, false))
	}
	get(f+".roles", either(""), rolesOfRoom)
	get(f+".moderators", either(""), moderators)
	post(f+".delete", either(""), roomDelete)
	get(f+".counters", either("userId"), roomCounters)
	post(f+".open", either(""), openClose(true))
	post(f+".close", either(""), openClose(false))
}

func addChannelRoutes() {
	get("channels.list", "_id count offset sort query", channelsList)
	get("channels.list.joined", paging, joinedList("channels"))
	post("channels.join", either("joinCode:s"), roomJoin)
	get("groups.list", paging, joinedList("groups"))
	get("groups.listAll", paging, groupsListAll, needs("view-room-administration"))
}

func addDirectRoutes() {
	for _, f := range []string{"im", "dm"} {
		post(f+".create", "username!:s excludeSelf:b|usernames!:s excludeSelf:b", imCreate)
		get(f+".list", paging, joinedList("ims"))
		get(f+".members", "roomId! filter status"+paging+"|username! filter status"+paging, roomMembers)
		get(f+".history", "roomId! latest oldest inclusive unreads showThreadMessages count offset", roomHistory)
		get(f+".messages", "roomId! mentionIds starredIds pinned"+paging+"|username!"+paging, roomMessages)
		get(f+".counters", "roomId! userId", roomCounters)
		post(f+".close", "roomId!:s", openClose(false))
		post(f+".open", "roomId!:s", openClose(true))
		post(f+".setTopic", "roomId!:s topic!:s", roomSet("roomTopic", "topic"))
		post(f+".delete", "roomId!:s|username!:s", roomDelete)
	}
}

func addRoomRoutes() {
	bans := func(r release) bool { return r.canBan }
	get("rooms.info", "roomId!|roomName!", roomInfo)
	get("rooms.get", "updatedSince fields", roomsGet)
	post("rooms.saveRoomSettings", "rid!:s roomName:s roomTopic:s roomAnnouncement:s roomDescription:s roomAvatar:s "+
		"roomCustomFields:o readOnly:b reactWhenReadOnly:b systemMessages:l joinCode:s roomType:s encrypted:b featured:b default:b "+
		"favorite:o retentionEnabled:b retentionMaxAge:n retentionExcludePinned:b retentionFilesOnly:b retentionIgnoreThreads:b "+
		"retentionOverrideGlobal:b", saveRoomSettings)
	post("rooms.leave", "roomId!:s", roomLeave)
	post("rooms.join", "roomId!:s joinCode:s", roomJoin)
	get("rooms.isMember", "roomId! userId username", isMember)
	get("rooms.membersOrderedByRole", either("filter status count offset sort"), membersByRole)
	get("rooms.roles", "rid!|roomId!", rolesOfRoom)
	get("rooms.adminRooms", "types filter count offset sort query", adminRooms)
	get("rooms.adminRooms.getRoom", "rid!", adminRoom)
	post("rooms.createDiscussion", "prid!:s t_name!:s pmid:s users:l reply:s topic:s encrypted:b", discussionCreate)
	post("rooms.media/:rid", "*", media)
	post("rooms.mediaConfirm/:rid/:fileId", "msg:s tmid:s description:s fileName:s alias:s avatar:s emoji:s groupable:b "+
		"customFields:s t:s content:o fileContent:o", mediaConfirm)
	post("rooms.changeArchivationState", "rid!:s action!:s", changeArchivation)
	post("rooms.muteUser", "roomId!:s userId:s username:s", roomMute(true))
	post("rooms.unmuteUser", "roomId!:s userId:s username:s", roomMute(false))
	post("rooms.banUser", "roomId!:s userId:s username:s", roomBan(true), in(bans))
	post("rooms.unbanUser", "roomId!:s userId:s username:s", roomBan(false), in(bans))
	get("rooms.bannedUsers", "roomId! count offset", bannedUsers, in(bans))
	get("subscriptions.get", "updatedSince", subsGet)
	get("subscriptions.getOne", "roomId!", subsGetOne)
	post("subscriptions.read", "rid!:s readThreads:b|roomId!:s readThreads:b", subsRead)
}

func addChatRoutes() {
	post("chat.sendMessage", "message!:o previewUrls:l", chatSend)
	post("chat.postMessage", "roomId! text:s alias:s emoji:s avatar:s attachments:l tmid:s customFields:o parseUrls:b|"+
		"channel! text:s alias:s emoji:s avatar:s attachments:l tmid:s customFields:o parseUrls:b", chatPost)
	post("chat.update", "roomId!:s msgId!:s text!:s previewUrls:l customFields:o", chatUpdate)
	post("chat.delete", "msgId!:s roomId!:s asUser:b|fileId!:s roomId!:s asUser:b", chatDelete)
	post("chat.react", "messageId!:s emoji!:s shouldReact:b|messageId!:s reaction!:s shouldReact:b", chatReact)
	get("chat.getMessage", "msgId!", chatGet)
	get("chat.syncMessages", "roomId lastUpdate type next previous count", chatSync)
	get("chat.getThreadMessages", "tmid! count offset sort", threadMessages)
	get("chat.getThreadsList", "rid! type text"+paging, threadsList)
	get("chat.syncThreadsList", "rid! updatedSince!", threadsSince)
	get("chat.syncThreadMessages", "tmid! updatedSince!", threadSince)
	get("chat.getDeletedMessages", "roomId! since! count offset sort", deletedMessages)
	post("chat.pinMessage", "messageId!:s", chatPin(true))
	post("chat.unPinMessage", "messageId!:s", chatPin(false))
	post("chat.starMessage", "messageId!:s", chatStar(true))
	post("chat.unStarMessage", "messageId!:s", chatStar(false))
	post("chat.followMessage", "mid!:s", chatFollow(true))
	post("chat.unfollowMessage", "mid!:s", chatFollow(false))
	get("chat.search", "roomId! searchText! count offset", chatSearch)
}

func addOtherRoutes() {
	get("commands.list", paging, commandsList)
	get("commands.get", "command", commandsGet)
	post("commands.run", "command!:s params:s roomId!:s tmid:s triggerId:s", commandsRun)
	post("method.call/:m", "message!:s", methodCall, unlimited)
	post("method.callAnon/:m", "message!:s", methodCall, unlimited, anonymous)
	post("integrations.create", integrationShape, integrationCreate)
	get("integrations.list", "name type count offset sort query", integrationList, needs("manage-outgoing-integrations"))
	get("integrations.get", "integrationId! createdBy", integrationGet, needs("manage-outgoing-integrations"))
	post("integrations.update", "integrationId!:s "+integrationShape, integrationUpdate, func(ep *endpoint) { ep.method = "PUT" })
	get("integrations.history", "id! count offset sort query", integrationHistory, needs("manage-outgoing-integrations"))
	post("integrations.remove", "type!:s integrationId!:s", integrationRemove, needs("manage-outgoing-integrations"))
	get("emoji-custom.list", "updatedSince query", emojiList)
	post("emoji-custom.create", "name:s aliases:s", emojiCreate, needs("manage-emoji"))
	get("spotlight", "query!", spotlight)
	get("directory", "text type workspace count offset sort query", directory)
}
