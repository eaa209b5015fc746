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

// A Person is on both sides: a Rocket.Chat user with a ghost on Matrix, or a Matrix user
// with a puppet in Rocket.Chat.
type Person struct {
	MXUser, RCUser string
	Username, Name string
	Puppet         bool // a Matrix user, with a puppet in Rocket.Chat
	Denied         string
	// Linked is the other side of a person with two accounts: the username of the account
	// that a Matrix user writes with, or the Matrix user who writes with this account.
	// Both have agreed. "" means no link.
	Linked string
}

// A PersonView is everything about one person.
type PersonView struct {
	Person
	Server string
	Items  []PersonItem // their waiting items and dead letters, oldest first
	More   bool         // there are more items than listed
	Next   int64        // where the search for later ones continues; 0 if all items were searched
	Later  bool         // it is not the first page
}

// A PersonItem is an undelivered item of a person, without its content.
type PersonItem struct {
	ID, Lane, Kind, LastError string
	Accepted                  time.Time
	Attempts                  int
	Dead                      bool
}

// ErrNoPerson is wrapped when a person exists on one side only.
var ErrNoPerson = errors.New("is not known to the bridge")

// People shows who is who on the two sides.
type People interface {
	// People returns the Matrix users, or the Rocket.Chat users, whose names or
	// identifiers contain words, in the order of their Matrix addresses, starting at from
	// and at most limit. next is where the list continues, "" at its end.
	People(ctx context.Context, ofMatrix bool, words, from string, limit int) (list []Person, next string, err error)
	// Person returns one person by their Matrix address, with their undelivered items among
	// some thousand items starting at from, which is 0 or the Next of an earlier view.
	Person(ctx context.Context, mxUser string, from int64) (PersonView, error)
	// AskToLink sends the owner of a Rocket.Chat account a code. Once the Matrix user sends
	// it, they write with that account. Unlink ends that, by either person's Matrix address.
	// Errors are a *RefusedError if the administrator can do something about them.
	AskToLink(ctx context.Context, mxUser, username string) error
	Unlink(ctx context.Context, mxUser string) error
}

// maxUsername bounds the length of a username, in bytes.
const maxUsername = 255

// peopleOnPage is how many people a page lists.
const peopleOnPage = 50

// peoplePages serves the list of people, the page of each, and the actions on them.
type peoplePages struct {
	*views
	people  People
	permits *permits
}

func (p *peoplePages) routes(r routes) {
	r.page("people", p.list)
	r.page("person", p.one)
	r.post("people/link", p.link)
	r.post("people/permit", p.permits.of(ListUsers))
}

// peopleView is the people page.
type peopleView struct {
	Words      string
	RocketChat bool // Rocket.Chat users are listed, not Matrix users
	Later      bool // it is not the first page
	List       []Person
	Next       string
	Patterns   Patterns
}

func (p *peoplePages) list(w http.ResponseWriter, r *http.Request, s session) {
	q := r.URL.Query()
	v := peopleView{Words: cut(strings.TrimSpace(q.Get("q")), maxWords), RocketChat: q.Get("of") == "rocketchat", Later: q.Get("from") != "", Patterns: p.permits.lists.Patterns(ListUsers)}
	var err error
	if v.List, v.Next, err = p.people.People(r.Context(), !v.RocketChat, v.Words, q.Get("from"), peopleOnPage); err != nil {
		p.failed(w, r, s, err)
		return
	}
	p.show(w, http.StatusOK, "people.html", page{Title: "People", Here: "people", User: s.username, Token: s.token, Notice: notice(r), Body: v})
}

func (p *peoplePages) one(w http.ResponseWriter, r *http.Request, s session) {
	from, _ := strconv.ParseInt(r.URL.Query().Get("from"), 10, 64) // without a number: from the beginning
	v, err := p.people.Person(r.Context(), r.URL.Query().Get("id"), from)
	v.Later = from > 0
	if errors.Is(err, ErrNoPerson) {
		p.problem(w, s, http.StatusNotFound, "The bridge does not know this address, or no longer does.")
		return
	}
	if err != nil {
		p.failed(w, r, s, err)
		return
	}
	p.show(w, http.StatusOK, "person.html", page{Title: "Person", Here: "people", User: s.username, Token: s.token, Notice: notice(r), Body: v})
}

// link starts linking a person with a Rocket.Chat account, or ends the link.
func (p *peoplePages) link(w http.ResponseWriter, r *http.Request, s session) {
	person, username, did := r.PostForm.Get("person"), strings.TrimPrefix(strings.TrimSpace(r.PostForm.Get("username")), "@"), r.PostForm.Get("do")
	var err error
	switch {
	case did == "link" && username == "":
		p.problem(w, s, http.StatusBadRequest, "Nothing was done. The form needs the name of an account in Rocket.Chat.")
		return
	case did == "link" && len(username) > maxUsername:
		p.problem(w, s, http.StatusBadRequest, "Nothing was done. No account has so long a name.")
		return
	case did == "link":
		err = p.people.AskToLink(r.Context(), person, username)
	case did == "unlink":
		err = p.people.Unlink(r.Context(), person)
	default:
		p.problem(w, s, http.StatusBadRequest, "The form does not say what to do.")
		return
	}
	p.log.Info("an account link was changed in the console", "user", s.userID, "action", did, "mx_user", cut(person, 255), "username", cut(username, 80), "err", err)
	if errors.Is(err, ErrNoPerson) {
		p.problem(w, s, http.StatusNotFound, "The bridge does not know this address, or no longer does.")
		return
	}
	if err != nil {
		p.refused(w, r, s, err)
		return
	}
	q := url.Values{"done": {did + "ed"}, "n": {"1"}, "id": {person}}
	http.Redirect(w, r, Path+"person?"+q.Encode(), http.StatusSeeOther) //nolint:gosec // it leads to this console, whatever the query is
}
