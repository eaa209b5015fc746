package sim

import (
	"net/http"
	"slices"
	"strings"
	"time"
)

// maxLoginTokens is how many login tokens a user keeps (facts 1.2).
const maxLoginTokens = 50

// authenticate finds the caller by X-Auth-Token and X-User-Id; both are needed.
func (c *call) authenticate() {
	token, id := c.r.Header.Get("X-Auth-Token"), c.r.Header.Get("X-User-Id")
	if token == "" || id == "" {
		return
	}
	if u := c.e.resume(token); u != nil && u.id() == id {
		c.user, c.token = u, token
	}
}

// resume returns the active user that token belongs to.
func (e *Engine) resume(token string) Doc {
	u := e.userByToken(token)
	if u == nil || !u.flag("active") {
		return nil
	}
	if t := tokenEntry(u, token); t.str("type") != "personalAccessToken" && t.has("when") {
		days := time.Duration(e.settingNum("Accounts_LoginExpiration")) * 24 * time.Hour
		if t.time("when").Add(days).Before(time.Now()) {
			return nil
		}
	}
	return u
}

func tokenEntry(u Doc, token string) Doc {
	for _, t := range loginTokens(u) {
		if t.str("hashedToken") == hashToken(token) {
			return t
		}
	}
	return nil
}

// addToken gives u a new login token and drops the oldest ones beyond the maximum.
func (e *Engine) addToken(u Doc) (token string, updated Doc) {
	token = newToken()
	l := append(slices.Clone(loginTokens(u)), Doc{"when": e.now(), "hashedToken": hashToken(token)})
	if len(l) > maxLoginTokens {
		l = l[len(l)-maxLoginTokens:]
	}
	return token, e.setTokens(u, l)
}

func (e *Engine) setTokens(u Doc, l []Doc) Doc {
	services := u.doc("services").with(Doc{"resume": Doc{"loginTokens": anyList(l)}})
	return e.update(users, u, Doc{"services": services})
}

func anyList(l []Doc) []any {
	out := make([]any, len(l))
	for i, d := range l {
		out[i] = d
	}
	return out
}

// login is POST login (facts 1.1).
func login(c *call) (any, error) {
	if token := c.body.str("resume"); token != "" {
		u := c.e.resume(token)
		if u == nil {
			return nil, c.e.unauthorized()
		}
		return c.loggedIn(c.e.update(users, u, Doc{"lastLogin": c.e.now()}), token), nil
	}
	u := c.e.loginUser(c.body)
	if u == nil || !u.flag("active") || !passwordFits(u, c.body["password"]) {
		return nil, c.e.unauthorized()
	}
	if err := c.e.loginFactor(u, firstText(c.body.str("code"), c.r.Header.Get("x-2fa-code"))); err != nil {
		return nil, err
	}
	token, u := c.e.addToken(u)
	return c.loggedIn(c.e.update(users, u, Doc{"lastLogin": c.e.now()}), token), nil
}

func (c *call) loggedIn(u Doc, token string) answer {
	return answer{status: http.StatusOK, body: c.e.envelope(Doc{"status": "success",
		"data": Doc{"userId": u.id(), "authToken": token, "me": c.e.meView(u, true)}}, true)}
}

func (e *Engine) unauthorized() *fault {
	return &fault{status: http.StatusUnauthorized,
		body: e.envelope(Doc{"status": "error", "error": "Unauthorized", "message": "Unauthorized"}, false)}
}

// envelope adds success to the responses about signing in, if the version does.
func (e *Engine) envelope(d Doc, success bool) Doc {
	if e.rel.refusesPlainly {
		d["success"] = success
	}
	return d
}

// loginUser finds the user who is logging in. TRAP (facts 1.1): in "user" a value
// with an '@' is treated as an e-mail address.
func (e *Engine) loginUser(b Doc) Doc {
	if d := b.doc("user"); d != nil {
		if d.has("email") {
			return e.userMailed(d.str("email"))
		}
		return firstDoc(e.userNamed(d.str("username")), e.user(d.str("id")))
	}
	switch name := b.str("user"); {
	case name != "" && strings.Contains(name, "@"):
		return e.userMailed(name)
	case name != "":
		return e.userNamed(name)
	case b.str("email") != "":
		return e.userMailed(b.str("email"))
	}
	return e.userNamed(b.str("username"))
}

func firstDoc(docs ...Doc) Doc {
	for _, d := range docs {
		if d != nil {
			return d
		}
	}
	return nil
}

// passwordFits accepts a plain password or {digest, algorithm: "sha-256"}.
func passwordFits(u Doc, password any) bool {
	want := u.doc("services").doc("password").str("digest")
	if want == "" {
		return false
	}
	if s, ok := password.(string); ok {
		return digest(s) == want
	}
	d := asDoc(password)
	return d.str("algorithm") == "sha-256" && strings.EqualFold(d.str("digest"), want)
}

// logout is POST logout.
func logout(c *call) (any, error) {
	c.e.dropToken(c.user, c.token)
	return answer{status: http.StatusOK,
		body: c.e.envelope(Doc{"status": "success", "data": Doc{"message": "You've been logged out!"}}, true)}, nil
}

func (e *Engine) dropToken(u Doc, token string) {
	e.setTokens(u, slices.DeleteFunc(slices.Clone(loginTokens(u)), func(t Doc) bool {
		return t.str("hashedToken") == hashToken(token)
	}))
}

// me is GET me.
func me(c *call) (any, error) { return c.e.meView(c.user, false), nil }

// createToken is POST users.createToken (facts 1.5). Before 8.0 the secret is
// ignored; in 8.3 only the secret counts; since 8.6 the permission counts too.
func createToken(c *call) (any, error) {
	e, refused := c.e, meteorError("error-not-authorized", "Not authorized")
	if !e.rel.secretCounts {
		refused = refused.in("createToken")
	} else if !c.body.has("secret") || !c.body.has("userId") {
		return nil, meteorError("invalid-params", "must have required property 'secret'")
	}
	if secret := e.env.createTokenSecret; e.rel.secretCounts && (secret == "" || c.body.str("secret") != secret) {
		return nil, refused
	}
	u, err := c.target(c.body)
	if err != nil {
		return nil, err
	}
	free := e.rel.allTokensPermitted || e.rel.secretCounts && u.id() == c.user.id()
	if !free && !e.may(c.user, "user-generate-access-token", "") {
		return nil, refused
	}
	token, _ := e.addToken(u)
	return Doc{"data": Doc{"userId": u.id(), "authToken": token}}, nil
}

// Personal access tokens (facts 1.3).

func isPAT(name string) func(Doc) bool {
	return func(t Doc) bool { return t.str("type") == "personalAccessToken" && t.str("name") == name }
}

// patGenerate is POST users.generatePersonalAccessToken.
func patGenerate(c *call) (any, error) {
	if !c.e.may(c.user, "create-personal-access-tokens", "") {
		return nil, meteorError("not-authorized", "Not Authorized")
	}
	name := c.body.str("tokenName")
	if slices.ContainsFunc(loginTokens(c.user), isPAT(name)) {
		return nil, meteorError("error-token-already-exists", "A token with this name already exists")
	}
	return Doc{"token": c.addPAT(loginTokens(c.user), name, c.body.flag("bypassTwoFactor"))}, nil
}

func (c *call) addPAT(tokens []Doc, name string, bypass bool) string {
	token := newToken()
	c.e.setTokens(c.user, append(slices.Clone(tokens), Doc{"type": "personalAccessToken", "name": name,
		"createdAt": c.e.now(), "lastTokenPart": token[len(token)-6:], "hashedToken": hashToken(token), "bypassTwoFactor": bypass}))
	return token
}

// patRegenerate is POST users.regeneratePersonalAccessToken.
func patRegenerate(c *call) (any, error) {
	old, rest, err := c.takePAT()
	if err != nil {
		return nil, err
	}
	return Doc{"token": c.addPAT(rest, old.str("name"), old.flag("bypassTwoFactor"))}, nil
}

// patRemove is POST users.removePersonalAccessToken.
func patRemove(c *call) (any, error) {
	_, rest, err := c.takePAT()
	if err != nil {
		return nil, err
	}
	c.e.setTokens(c.user, rest)
	return Doc{}, nil
}

func (c *call) takePAT() (old Doc, rest []Doc, err error) {
	if !c.e.may(c.user, "create-personal-access-tokens", "") {
		return nil, nil, meteorError("not-authorized", "Not Authorized")
	}
	l := loginTokens(c.user)
	i := slices.IndexFunc(l, isPAT(c.body.str("tokenName")))
	if i < 0 {
		return nil, nil, meteorError("error-token-does-not-exists", "Token does not exist")
	}
	return l[i], slices.Delete(slices.Clone(l), i, i+1), nil
}

// patList is GET users.getPersonalAccessTokens.
func patList(c *call) (any, error) {
	if !c.e.may(c.user, "create-personal-access-tokens", "") {
		return nil, meteorError("not-authorized", "Not Authorized")
	}
	l := []Doc{}
	for _, t := range loginTokens(c.user) {
		if t.str("type") == "personalAccessToken" {
			l = append(l, t.only("name", "createdAt", "lastTokenPart", "bypassTwoFactor"))
		}
	}
	return Doc{"tokens": l}, nil
}
