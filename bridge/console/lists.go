package console

import (
	"context"
	"net/http"
	"net/url"
	"strings"
)

// The lists in bridge.yaml of whom people may talk with.
const (
	ListUsers   = "users"
	ListServers = "servers"
)

// Patterns is one such list: who is allowed, unless denied.
type Patterns struct{ Allow, Deny []string }

// Lists shows and changes whom people may talk with.
type Lists interface {
	// Patterns returns the list in force.
	Patterns(list string) Patterns
	// Permit allows or denies a pattern, or the one person or server with that name, in
	// bridge.yaml, and puts it in force. Errors are a *RefusedError if the administrator
	// can do something about them.
	Permit(ctx context.Context, list, pattern string, allow bool) error
}

// literal turns a name into a pattern for bridge.yaml, as in package path, that matches only that name.
var literal = strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`)

// permits serves the forms that allow and deny people and servers.
type permits struct {
	*views
	lists Lists
}

// of returns the handler for the form of one list.
func (p *permits) of(list string) handler {
	return func(w http.ResponseWriter, r *http.Request, s session) { p.permit(w, r, s, list) }
}

// permit allows or denies a person or a server.
func (p *permits) permit(w http.ResponseWriter, r *http.Request, s session, list string) {
	pattern, did := strings.TrimSpace(r.PostForm.Get("pattern")), r.PostForm.Get("do")
	if pattern == "" || did != "allow" && did != "deny" {
		p.problem(w, s, http.StatusBadRequest, "Nothing was changed. The form needs an address, and whether to allow or to deny it.")
		return
	}
	if r.PostForm.Get("exact") == "yes" {
		pattern = literal.Replace(pattern)
	}
	err := p.lists.Permit(r.Context(), list, pattern, did == "allow")
	p.log.Info("permissions were changed in the console", "user", s.userID, "list", list, "action", did, "pattern", cut(pattern, 255), "err", err)
	if err != nil {
		p.refused(w, r, s, err)
		return
	}
	back := map[string]string{ListUsers: "people", ListServers: "servers"}[list]
	q := url.Values{"done": {did}, "n": {"1"}}
	if person := r.PostForm.Get("person"); person != "" && list == ListUsers {
		back = "person"
		q.Set("id", person)
	}
	http.Redirect(w, r, Path+back+"?"+q.Encode(), http.StatusSeeOther) //nolint:gosec // it leads to this console, whatever the query is
}

// noticeOfLists describes the result of a change to a list.
func noticeOfLists(what string) string {
	switch what {
	case "allow":
		return "Allowed. This is saved in bridge.yaml and in force."
	case "linked":
		return "The owner of the account was sent a code. Once it is sent from Matrix, the two are linked."
	case "unlinked":
		return "The link has ended: the puppet writes again."
	case "deny":
		return "Denied. This is saved in bridge.yaml and in force: their messages are no longer carried."
	}
	return ""
}
