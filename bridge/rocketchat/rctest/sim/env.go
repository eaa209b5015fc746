package sim

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// env is what Rocket.Chat reads from its environment (facts 2.1, 2.2, 2.3, 1.5).
// MONGO_URL is accepted and ignored, and so is CREATE_TOKENS_FOR_USERS, which 8.x
// has replaced by the secret.
type env struct {
	adminName, adminPass, adminEmail, adminFull string
	adminVerified                               bool
	initialUser                                 Doc
	initialUserErr                              error
	rootURL                                     string
	overwrite                                   map[string]string // OVERWRITE_SETTING_<Id>
	initial                                     map[string]string // <Id>
	blocked, hidden                             []string
	createTokenSecret                           string
	forwarded                                   int  // HTTP_FORWARDED_COUNT
	testMode                                    bool // TEST_MODE: no limits, no second factor (2.9)
}

func readEnv(o Options) env {
	get := o.Env
	v := env{
		adminName: get("ADMIN_USERNAME"), adminPass: get("ADMIN_PASS"),
		adminEmail: get("ADMIN_EMAIL"), adminFull: get("ADMIN_NAME"), adminVerified: get("ADMIN_EMAIL_VERIFIED") == "true",
		rootURL: strings.TrimRight(get("ROOT_URL"), "/"), overwrite: map[string]string{}, initial: map[string]string{},
		blocked: commas(get("SETTINGS_BLOCKED")), hidden: commas(get("SETTINGS_HIDDEN")),
		createTokenSecret: get("CREATE_TOKENS_FOR_USERS_SECRET"),
		testMode:          slices.Contains([]string{"true", "api"}, get("TEST_MODE")),
	}
	v.forwarded, _ = strconv.Atoi(get("HTTP_FORWARDED_COUNT"))
	if raw := get("INITIAL_USER"); raw != "" {
		v.initialUser, v.initialUserErr = decodeDoc([]byte(raw), false)
	}
	for _, pair := range o.Environ {
		v.addSetting(pair)
	}
	return v
}

func (v *env) addSetting(pair string) {
	key, value, _ := strings.Cut(pair, "=")
	if id, ok := strings.CutPrefix(key, "OVERWRITE_SETTING_"); ok {
		v.overwrite[id] = value
	} else if _, known := defaults[key]; known {
		v.initial[key] = value
	}
}

func commas(s string) []string {
	return strings.FieldsFunc(s, func(r rune) bool { return r == ',' || r == ' ' })
}

// convertSetting turns a variable into a value of the type of like (facts 2.2).
func convertSetting(raw string, like any) any {
	if raw == "true" || raw == "false" {
		return raw == "true"
	}
	switch like.(type) {
	case int:
		if n, err := strconv.Atoi(raw); err == nil {
			return n
		}
	case []any:
		var l []any
		if json.Unmarshal([]byte(raw), &l) == nil {
			return l
		}
	}
	return raw
}

// seed sets up a fresh workspace as Rocket.Chat's startup does, and applies what
// the environment forces at every start.
func (e *Engine) seed() error {
	e.seedSettings()
	if e.user("rocket.cat") == nil {
		e.put(users, Doc{"_id": "rocket.cat", "username": "rocket.cat", "name": "Rocket.Cat", "type": "bot",
			"status": "online", "active": true, "roles": []string{"bot"}, "createdAt": e.now()})
	}
	if e.room("GENERAL") == nil {
		own := Doc{"fname": "general"}
		if e.rel.roomFields {
			own = Doc{"usernames": []string{}}
		}
		e.put(rooms, own.with(Doc{"_id": "GENERAL", "t": "c", "name": "general", "default": true,
			"ts": e.now(), "msgs": 0, "usersCount": 0, "u": Doc{"_id": "rocket.cat", "username": "rocket.cat", "name": "Rocket.Cat"}}))
	}
	e.seedAdmin()
	e.seedTestUser()
	return e.seedInitialUser()
}

// seedTestUser creates the administrator of TEST_MODE and removes it at the next
// normal start (facts 2.9).
func (e *Engine) seedTestUser() {
	const name = "rocketchat.internal.admin.test"
	switch u := e.userNamed(name); {
	case u != nil && !e.env.testMode:
		e.remove(users, u.id())
	case u == nil && e.env.testMode:
		e.put(users, Doc{"_id": name, "username": name, "name": name, "type": "user", "active": true, "status": "offline",
			"roles": []string{"admin"}, "createdAt": e.now(), "services": Doc{"password": Doc{"digest": digest(name)}}})
	}
}

// seedAdmin creates the first administrator, once (facts 2.1).
func (e *Engine) seedAdmin() {
	if e.env.adminPass != "" && !e.hasAdmin() {
		e.put(users, e.firstAdmin())
	}
	if e.hasAdmin() {
		return
	}
	if oldest := e.oldestUser(); oldest != nil {
		e.update(users, oldest, Doc{"roles": addTo(oldest.strs("roles"), "admin")})
	}
}

func (e *Engine) firstAdmin() Doc {
	name := e.env.adminName
	if name == "" || e.usernameProblem(name) != nil {
		name = "admin"
	}
	u := Doc{"_id": newObjectID(), "username": name, "avatarOrigin": "none", "statusDefault": "online", "utcOffset": 0, "name": firstText(e.env.adminFull, "Administrator"), "type": "user",
		"active": true, "status": "offline", "roles": []string{"admin"}, "createdAt": e.now(),
		"services": Doc{"password": Doc{"digest": digest(e.env.adminPass)}}}
	if e.env.adminEmail != "" {
		u["emails"] = []any{Doc{"address": e.env.adminEmail, "verified": e.env.adminVerified}}
	}
	return u
}

func (e *Engine) hasAdmin() bool {
	for _, u := range e.data.colls[users] {
		if slices.Contains(u.strs("roles"), "admin") {
			return true
		}
	}
	return false
}

func (e *Engine) oldestUser() Doc {
	var oldest Doc
	for _, u := range e.listed(users, "_id") {
		if u.str("type") == "user" && (oldest == nil || u.time("createdAt").Before(oldest.time("createdAt"))) {
			oldest = u
		}
	}
	return oldest
}

// seedInitialUser inserts INITIAL_USER verbatim when its _id is absent (facts 2.1).
func (e *Engine) seedInitialUser() error {
	if e.env.initialUserErr != nil {
		return fmt.Errorf("INITIAL_USER: %w", e.env.initialUserErr)
	}
	u := e.env.initialUser
	if u == nil {
		return nil
	}
	if u.id() == "" {
		return fmt.Errorf("INITIAL_USER: _id is mandatory")
	}
	if e.user(u.id()) != nil {
		return nil
	}
	if !u.has("createdAt") {
		u = u.with(Doc{"createdAt": e.now(), "avatarOrigin": "none"})
	}
	e.joinDefaults(e.put(users, u))
	return nil
}

func firstText(texts ...string) string {
	for _, t := range texts {
		if t != "" {
			return t
		}
	}
	return ""
}
