package console

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// A Person is on both sides: a person of Rocket.Chat with a ghost on
// Matrix, or a person of Matrix with a puppet in Rocket.Chat.
type Person struct {
	MXUser, RCUser string
	Username, Name string
	Puppet         bool // of Matrix, with a puppet in Rocket.Chat
	Denied         string
	// Linked is the other side of a person with two accounts: the username of the account
	// that a Matrix user writes with, or the Matrix user who writes with this account. Both
	// have agreed. "" is nobody.
	Linked string
}

// A PersonView is everything about one person.
type PersonView struct {
	Person
	Server string
	Items  []PersonItem // what they wrote or did that waits or was given up, the oldest first
	More   bool         // there are more than the items that are listed
	Next   int64        // where to look for later ones; 0 when all were looked at
	Later  bool         // it is not the first page
}

// A PersonItem is something that a person did and that is not delivered, without what it
// says.
type PersonItem struct {
	ID, Lane, Kind, LastError string
	Accepted                  time.Time
	Attempts                  int
	Dead                      bool
}

// ErrNoPerson is wrapped when a person is on one side only.
var ErrNoPerson = errors.New("is not known to the bridge")

// People shows who is who.
type People interface {
	// People returns the people of Matrix, or those of Rocket.Chat, whose names or
	// identifiers hold some words, in the order of their Matrix addresses, from a place on
	// and at most limit. next is where the list goes on, "" at its end.
	People(ctx context.Context, ofMatrix bool, words, from string, limit int) (list []Person, next string, err error)
	// Person returns one person by their Matrix address, with what of theirs is not delivered
	// among some thousand items from a place on, 0 or the Next of an earlier view.
	Person(ctx context.Context, mxUser string, from int64) (PersonView, error)
	// AskToLink sends the owner of an account in Rocket.Chat a code that makes a Matrix user
	// write with it once the Matrix user sends it. Unlink ends that, by either person's Matrix
	// address. Errors are a *RefusedError where the administrator can do something about them.
	AskToLink(ctx context.Context, mxUser, username string) error
	Unlink(ctx context.Context, mxUser string) error
}

// maxUsername bounds the name of an account, in bytes.
const maxUsername = 255

// peopleOnPage is how many people a page lists.
const peopleOnPage = 50

func (c *Console) peopleRoutes(own *http.ServeMux) {
	own.HandleFunc("GET "+Path+"people", c.inside(c.people))
	own.HandleFunc("GET "+Path+"person", c.inside(c.person))
	own.HandleFunc("POST "+Path+"people/link", c.inside(c.linkPerson))
	own.HandleFunc("POST "+Path+"people/permit", c.inside(func(w http.ResponseWriter, r *http.Request, s session) { c.permit(w, r, s, ListUsers) }))
}

// peopleView is the page of the people.
type peopleView struct {
	Words      string
	RocketChat bool // the people of Rocket.Chat are listed, not those of Matrix
	Later      bool // it is not the first page
	List       []Person
	Next       string
	Patterns   Patterns
}

func (c *Console) people(w http.ResponseWriter, r *http.Request, s session) {
	q := r.URL.Query()
	v := peopleView{Words: cut(strings.TrimSpace(q.Get("q")), maxWords), RocketChat: q.Get("of") == "rocketchat", Later: q.Get("from") != "", Patterns: c.Lists.Patterns(ListUsers)}
	var err error
	if v.List, v.Next, err = c.People.People(r.Context(), !v.RocketChat, v.Words, q.Get("from"), peopleOnPage); err != nil {
		c.failed(w, r, s, err)
		return
	}
	c.show(w, http.StatusOK, "people.html", page{Title: "People", Here: "people", User: s.username, Token: s.token, Notice: notice(r), Body: v})
}

func (c *Console) person(w http.ResponseWriter, r *http.Request, s session) {
	from, _ := strconv.ParseInt(r.URL.Query().Get("from"), 10, 64) // what is no number is the beginning
	v, err := c.People.Person(r.Context(), r.URL.Query().Get("id"), from)
	v.Later = from > 0
	if errors.Is(err, ErrNoPerson) {
		c.problem(w, r, s, http.StatusNotFound, "The bridge knows nobody with this address, or no longer.")
		return
	}
	if err != nil {
		c.failed(w, r, s, err)
		return
	}
	c.show(w, http.StatusOK, "person.html", page{Title: "Person", Here: "people", User: s.username, Token: s.token, Notice: notice(r), Body: v})
}

// linkPerson begins to link a person with an account in Rocket.Chat, or ends it.
func (c *Console) linkPerson(w http.ResponseWriter, r *http.Request, s session) {
	person, username, did := r.PostForm.Get("person"), strings.TrimPrefix(strings.TrimSpace(r.PostForm.Get("username")), "@"), r.PostForm.Get("do")
	var err error
	switch {
	case did == "link" && username == "":
		c.problem(w, r, s, http.StatusBadRequest, "Nothing was done. The form needs the name of an account in Rocket.Chat.")
		return
	case did == "link" && len(username) > maxUsername:
		c.problem(w, r, s, http.StatusBadRequest, "Nothing was done. No account has so long a name.")
		return
	case did == "link":
		err = c.People.AskToLink(r.Context(), person, username)
	case did == "unlink":
		err = c.People.Unlink(r.Context(), person)
	default:
		c.problem(w, r, s, http.StatusBadRequest, "The form does not say what to do.")
		return
	}
	c.Log.Info("a link of two accounts was changed in the console", "user", s.userID, "action", did, "mx_user", cut(person, 255), "username", cut(username, 80), "err", err)
	if errors.Is(err, ErrNoPerson) {
		c.problem(w, r, s, http.StatusNotFound, "The bridge knows nobody with this address, or no longer.")
		return
	}
	if err != nil {
		c.refused(w, r, s, err)
		return
	}
	q := url.Values{"done": {did + "ed"}, "n": {"1"}, "id": {person}}
	http.Redirect(w, r, Path+"person?"+q.Encode(), http.StatusSeeOther) //nolint:gosec // it leads to this console, whatever the query is
}

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

// permit allows or denies a person or a server.
func (c *Console) permit(w http.ResponseWriter, r *http.Request, s session, list string) {
	pattern, did := strings.TrimSpace(r.PostForm.Get("pattern")), r.PostForm.Get("do")
	if pattern == "" || did != "allow" && did != "deny" {
		c.problem(w, r, s, http.StatusBadRequest, "Nothing was changed. The form needs an address, and whether to allow or to deny it.")
		return
	}
	if r.PostForm.Get("exact") == "yes" {
		pattern = literal.Replace(pattern)
	}
	err := c.Lists.Permit(r.Context(), list, pattern, did == "allow")
	c.Log.Info("who may be talked with was changed in the console", "user", s.userID, "list", list, "action", did, "pattern", cut(pattern, 255), "err", err)
	if err != nil {
		c.refused(w, r, s, err)
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
