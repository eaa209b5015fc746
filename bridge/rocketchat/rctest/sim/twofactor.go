package sim

import (
	"net/http"
	"time"
)

// remembered2FA holds, per token and client, until when a second factor is
// remembered. It is not kept on disk: Rocket.Chat asks again often enough.
type remembered2FA map[string]time.Time

// checkTwoFactor challenges the caller of a marked endpoint (facts 1.4).
func (c *call) checkTwoFactor(strict bool) error {
	e := c.e
	method := e.factorOf(c.user)
	if e.env.testMode || !e.settingOn("Accounts_TwoFactorAuthentication_Enabled") || method == "" {
		return nil
	}
	if e.rel.bypassTokens && tokenEntry(c.user, c.token).flag("bypassTwoFactor") {
		return nil
	}
	key := c.token + " " + c.r.UserAgent() + " " + c.ip
	if !strict && time.Now().Before(e.codes[key]) {
		return nil
	}
	code, given := c.r.Header.Get("x-2fa-code"), c.r.Header.Get("x-2fa-method")
	if code == "" || given == "" { // one alone is ignored
		return totpRequired(method)
	}
	if given != method || !codeFits(c.user, method, code) {
		return meteorError("totp-invalid", "TOTP Invalid").with(Doc{"method": method})
	}
	e.codes[key] = time.Now().Add(time.Duration(e.settingNum("Accounts_TwoFactorAuthentication_RememberFor")) * time.Second)
	return nil
}

func totpRequired(method string) *fault {
	return meteorError("totp-required", "TOTP Required").with(Doc{"method": method, "codeGenerated": method == "email",
		"availableMethods": []string{}})
}

// factorOf selects the method: e-mail when enabled and verified, else the
// password; none for a user without either. The simulator knows no TOTP.
func (e *Engine) factorOf(u Doc) string {
	if emailFactor(u) {
		return "email"
	}
	if e.settingOn("Accounts_TwoFactorAuthentication_Enforce_Password_Fallback") &&
		u.doc("services").doc("password").str("digest") != "" {
		return "password"
	}
	return ""
}

func emailFactor(u Doc) bool {
	if !u.doc("services").doc("email2fa").flag("enabled") {
		return false
	}
	for _, m := range u.docs("emails") {
		if m.flag("verified") {
			return true
		}
	}
	return false
}

// codeFits: the password's code is its lower-case hex sha256; nobody can read the
// e-mails of a simulator.
func codeFits(u Doc, method, code string) bool {
	return method == "password" && code == u.doc("services").doc("password").str("digest")
}

// loginFactor is the trap of facts 1.4: a verified address turns password login
// into password and e-mailed code.
func (e *Engine) loginFactor(u Doc, code string) error {
	if e.env.testMode || !e.settingOn("Accounts_TwoFactorAuthentication_Enabled") || !emailFactor(u) {
		return nil
	}
	f := totpRequired("email")
	if code != "" {
		f = meteorError("totp-invalid", "TOTP Invalid").with(Doc{"method": "email"})
	}
	return &fault{status: http.StatusUnauthorized, code: f.code, text: f.text, details: f.details,
		body: Doc{"success": false, "status": "error", "error": f.code, "message": f.Error(), "details": f.details}}
}
