package console

import (
	"cmp"
	"context"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

// A Server is a Matrix server with users who take part.
type Server struct {
	Name             string
	People           int64 // those with an account in Rocket.Chat
	Messages, GaveUp int64 // since the bridge started
	Last             time.Time
	Denied           string // the pattern that denies it; "" when it is allowed
}

// Servers shows the Matrix servers.
type Servers interface {
	// Servers returns the servers whose names contain words, those with the most traffic
	// first, at most limit, and the total number.
	Servers(ctx context.Context, words string, limit int) (list []Server, total int, err error)
}

// serversOnPage is how many servers the page lists.
const serversOnPage = 200

// serversPage is the servers page.
type serversPage struct {
	*views
	servers Servers
	permits *permits
}

func (p *serversPage) routes(r routes) {
	r.page("servers", p.list)
	r.post("servers/permit", p.permits.of(ListServers))
}

// serversView is the servers page.
type serversView struct {
	Words    string
	List     []Server
	Total    int
	Patterns Patterns
}

func (p *serversPage) list(w http.ResponseWriter, r *http.Request, s session) {
	v := serversView{Words: cut(strings.TrimSpace(r.URL.Query().Get("q")), maxWords), Patterns: p.permits.lists.Patterns(ListServers)}
	var err error
	if v.List, v.Total, err = p.servers.Servers(r.Context(), v.Words, serversOnPage); err != nil {
		p.failed(w, r, s, err)
		return
	}
	p.show(w, http.StatusOK, "servers.html", page{Title: "Servers", Here: "servers", User: s.username, Token: s.token, Notice: notice(r), Body: v})
}

// maxHeard bounds how many servers a Traffic remembers.
const maxHeard = 2000

// Traffic counts what came from each Matrix server since the bridge started, for the
// 2,000 most recently heard servers. Methods are safe for concurrent use; the zero value
// is ready.
type Traffic struct {
	mu  sync.Mutex
	all map[string]*Server
}

// Heard records that a message from a server was delivered or given up.
func (t *Traffic) Heard(server string, gaveUp bool, now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := t.all[server]
	if s == nil {
		if t.all == nil {
			t.all = map[string]*Server{}
		}
		t.trim()
		s = &Server{Name: server}
		t.all[server] = s
	}
	s.Last = now
	if gaveUp {
		s.GaveUp++
	} else {
		s.Messages++
	}
}

// trim drops the eighth of the servers that have been silent the longest, when there are
// too many.
func (t *Traffic) trim() {
	if len(t.all) < maxHeard {
		return
	}
	list := t.list()
	slices.SortFunc(list, func(a, b Server) int { return a.Last.Compare(b.Last) })
	for _, s := range list[:maxHeard/8] {
		delete(t.all, s.Name)
	}
}

func (t *Traffic) list() []Server {
	list := make([]Server, 0, len(t.all))
	for _, s := range t.all {
		list = append(list, *s)
	}
	return list
}

// All returns all remembered servers, in no particular order.
func (t *Traffic) All() []Server {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.list()
}

// ByTraffic orders servers by most messages first, then by most failures and by most
// people.
func ByTraffic(a, b Server) int {
	return cmp.Or(cmp.Compare(b.Messages, a.Messages), cmp.Compare(b.GaveUp, a.GaveUp), cmp.Compare(b.People, a.People), cmp.Compare(a.Name, b.Name))
}
