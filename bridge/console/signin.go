package console

import (
	"cmp"
	"crypto/subtle"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"appliance/bridge/secret"
)

// cookieName names the cookie; with this prefix browsers accept it over HTTPS only.
const cookieName = "__Secure-appliance-console"

// maxField bounds each field of the form, in bytes.
const maxField = 512

// A gate lets administrators in: it tracks who is signed in, and how often others have tried.
type gate struct {
	*views
	rocketchat Accounts
	sessions   Sessions
	rolesFor   time.Duration // how long a role confirmed by Rocket.Chat is trusted
	addresses  tries         // failed attempts by address
	accounts   tries         // by account name
}

func newGate(o Options, v *views) *gate {
	return &gate{
		views: v, rocketchat: o.Accounts, sessions: o.Sessions, rolesFor: cmp.Or(o.RolesFor, rolesFor),
		addresses: tries{most: triesOfAddress}, accounts: tries{most: triesOfAccount},
	}
}

func (g *gate) routes(r routes) {
	r.mux.HandleFunc("GET "+Path+"sign-in", g.showSignIn)
	r.mux.HandleFunc("POST "+Path+"sign-in", g.signIn)
	r.post("sign-out", g.signOut)
}

func (g *gate) showSignIn(w http.ResponseWriter, _ *http.Request) {
	g.show(w, http.StatusOK, "signin.html", page{Title: "Sign in", Body: signInForm{}})
}

// signInForm holds the values that the form shows again.
type signInForm struct {
	Username string
	Code     bool // ask for the code of the second factor
}

// signIn serves the form. The password goes to Rocket.Chat and is not kept.
func (g *gate) signIn(w http.ResponseWriter, r *http.Request) {
	username, password, code := strings.TrimSpace(r.PostForm.Get("username")), r.PostForm.Get("password"), strings.TrimSpace(r.PostForm.Get("code"))
	form := signInForm{Username: username}
	refuse := func(status int, why string) {
		g.show(w, status, "signin.html", page{Title: "Sign in", Problem: why, Body: form})
	}
	if username == "" || password == "" || len(username) > maxField || len(password) > maxField || len(code) > maxField {
		form.Username = cut(username, 100)
		refuse(http.StatusBadRequest, "Please type your name and your password.")
		return
	}
	address, network := visitor(r)
	now, account := time.Now(), strings.ToLower(username)
	if wait := max(g.addresses.wait(network, now), g.accounts.wait(account, now)); wait > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(1+int(wait.Seconds())))
		g.log.Warn("too many attempts to sign in to the console", "address", address)
		refuse(http.StatusTooManyRequests, "Too many attempts. Please wait "+ago(wait, false)+" and try again.")
		return
	}
	a, err := g.rocketchat.SignIn(r.Context(), username, secret.New(password), code, address)
	if err == nil && !a.Admin {
		g.log.Warn("a user who is not an administrator tried to sign in to the console", "user", a.ID, "address", address)
		refuse(http.StatusForbidden, "This account is not an administrator of Rocket.Chat. Ask one for the role.")
		return
	}
	if err != nil {
		form.Code = errors.Is(err, ErrCode) || errors.Is(err, ErrWrongCode)
		if errors.Is(err, ErrCode) { // the password was right
			g.addresses.forgive(network)
			g.accounts.forgive(account)
		}
		g.log.Warn("signing in to the console failed", "address", address, "err", err)
		refuse(refusal(err))
		return
	}
	g.addresses.forgive(network)
	g.accounts.forgive(account)
	value, err := g.begin(r.Context(), a, now)
	if err != nil {
		g.log.Warn("a console session could not be stored", "err", err)
		refuse(http.StatusServiceUnavailable, "The bridge cannot store your session now. Please try again in a moment.")
		return
	}
	g.log.Info("signed in to the console", "user", a.ID, "address", address)
	http.SetCookie(w, cookie(value, 0))
	http.Redirect(w, r, Path, http.StatusSeeOther)
}

// refusal returns the response for an error of Accounts.SignIn.
func refusal(err error) (status int, why string) {
	switch {
	case errors.Is(err, ErrCode):
		return http.StatusUnauthorized, "This account has a second factor. Please type its code, and your password again."
	case errors.Is(err, ErrWrongCode):
		return http.StatusUnauthorized, "Rocket.Chat does not accept this code. Please try a new one."
	case errors.Is(err, ErrBlocked):
		return http.StatusTooManyRequests, "Rocket.Chat accepts no more attempts from here for a while. Please wait a few minutes."
	case errors.Is(err, ErrWrong):
		return http.StatusUnauthorized, "Rocket.Chat does not accept this name and password, or the account is locked."
	}
	return http.StatusServiceUnavailable, "Rocket.Chat does not answer now, so nobody can sign in. Please try again in a moment."
}

// cookie returns the cookie of a session; a negative age removes it.
func cookie(value string, age int) *http.Cookie {
	return &http.Cookie{Name: cookieName, Value: value, Path: Path, MaxAge: age, Secure: true, HttpOnly: true, SameSite: http.SameSiteStrictMode}
}

func (g *gate) signOut(w http.ResponseWriter, r *http.Request, s session) {
	if err := g.sessions.End(r.Context(), s.Key); err != nil {
		g.failed(w, r, s, err)
		return
	}
	g.log.Info("signed out of the console", "user", s.userID)
	http.SetCookie(w, cookie("", -1))
	http.Redirect(w, r, Path+"sign-in", http.StatusSeeOther)
}

// inside admits only visitors who are signed in and still administrators. A form also
// needs the session's token.
func (g *gate) inside(next handler) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		s, ok, err := g.sessionOf(r)
		if err != nil {
			g.failed(w, r, session{}, err)
			return
		}
		if !ok {
			http.SetCookie(w, cookie("", -1))
			g.outside(w, r)
			return
		}
		if r.Method != http.MethodGet && subtle.ConstantTimeCompare([]byte(r.PostForm.Get("token")), []byte(s.token)) != 1 {
			g.log.Warn("a forged form was refused by the console", "user", s.userID)
			g.problem(w, s, http.StatusForbidden, "This form does not belong to your session. Nothing was changed. Please open the page again.")
			return
		}
		next(w, r, s)
	}
}

// outside responds to a visitor without a session, or to an open page whose session has
// ended: a stream ends with an event, and htmx is redirected to the form.
func (g *gate) outside(w http.ResponseWriter, r *http.Request) {
	switch {
	case isStream(r):
		w.Header().Set("Content-Type", "text/event-stream")
		fmt.Fprint(w, ended)
	case refreshing(r):
		w.Header().Set("HX-Redirect", Path+"sign-in")
		w.WriteHeader(http.StatusUnauthorized)
	case r.Method == http.MethodGet:
		http.Redirect(w, r, Path+"sign-in", http.StatusSeeOther)
	default:
		g.show(w, http.StatusUnauthorized, "signin.html", page{Title: "Sign in", Problem: "Your session has ended. Nothing was changed.", Body: signInForm{}})
	}
}

// sessionOf returns the session of a request, if its account is still an administrator.
func (g *gate) sessionOf(r *http.Request) (session, bool, error) {
	sent, err := r.Cookie(cookieName)
	if err != nil {
		return session{}, false, nil
	}
	now := time.Now()
	s, ok, err := g.find(r.Context(), sent.Value, now, !isStream(r) && !refreshing(r))
	if !ok || now.Sub(s.Asked) < g.rolesFor {
		return s, ok, err
	}
	a, exists, err := g.rocketchat.Account(r.Context(), s.userID)
	switch {
	case err != nil:
		// An administrator may need the console most while Rocket.Chat is down.
		g.log.Debug("the role of a console user cannot be checked", "user", s.userID, "err", err)
		return s, now.Sub(s.Asked) < idleFor, nil
	case !exists || !a.Admin:
		g.log.Warn("a console session ended: the account is no longer an administrator", "user", s.userID)
		return session{}, false, g.sessions.End(r.Context(), s.Key)
	}
	return s, true, g.sessions.Asked(r.Context(), s.Key, now)
}

// visitor returns the address of a request, which the web server has set in place of what
// the visitor claimed, and the network for which attempts are counted.
func visitor(r *http.Request) (address, network string) {
	address = r.Header.Get("X-Real-Ip")
	ip, err := netip.ParseAddr(address)
	if err != nil {
		address, _, _ = net.SplitHostPort(r.RemoteAddr)
		ip, _ = netip.ParseAddr(address)
	}
	if ip.Is6() && !ip.Is4In6() { // the smallest network that a provider assigns
		if half, err := ip.Prefix(64); err == nil {
			return address, half.String()
		}
	}
	return address, address
}
