package console

import (
	"context"
	"net/http"
	"net/url"
	"strings"
)

// The lists of bridge.yaml that say with whom people may talk.
const (
	ListUsers   = "users"
	ListServers = "servers"
)

// Patterns are one such list: who is allowed, unless they are denied.
type Patterns struct{ Allow, Deny []string }

// Lists shows and changes with whom people may talk.
type Lists interface {
	// Patterns returns the list that is in force.
	Patterns(list string) Patterns
	// Permit allows or denies a pattern, or the one person or server that a name stands
	// for, in bridge.yaml, and puts it in force. Errors are a *RefusedError where the
	// administrator can do something about them.
	Permit(ctx context.Context, list, pattern string, allow bool) error
}

// literal makes a pattern of bridge.yaml, as of package path, that fits one name alone.
var literal = strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`)

// permits are the forms that allow and deny people and servers.
type permits struct {
	*views
	lists Lists
}

// of serves the form of one list.
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
	p.log.Info("who may be talked with was changed in the console", "user", s.userID, "list", list, "action", did, "pattern", cut(pattern, 255), "err", err)
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

// noticeOfLists says what a change of a list has led to.
func noticeOfLists(what string) string {
	switch what {
	case "allow":
		return "Allowed. It is in bridge.yaml, and in force."
	case "linked":
		return "The owner of the account has got a code. When it is sent from Matrix, the two are linked."
	case "unlinked":
		return "The link has ended: the puppet writes again."
	case "deny":
		return "Denied. It is in bridge.yaml, and in force: what they write is not carried any more."
	}
	return ""
}
