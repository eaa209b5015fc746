// Package console is the operator's web page, which the bridge serves below /_appliance/
// behind the web server. Signing in requires a Rocket.Chat account that is an
// administrator there; sessions are stored for all processes of the bridge. Pages are
// complete without JavaScript, which only keeps them up to date. The package decides
// nothing about messages: it shows what the bridge reports (interfaces.go) and passes on
// an administrator's requests. It never shows the content of messages.
package console

import (
	"cmp"
	"embed"
	"io/fs"
	"log/slog"
	"net/http"
	"time"
)

// Path is the URL path of the console.
const Path = "/_appliance/"

//go:embed static templates
var files embed.FS

// Options are what a console shows and whom it lets in.
type Options struct {
	Accounts Accounts
	Sessions Sessions
	Bridge   Bridge
	Queue    Queue
	Rooms    Rooms
	People   People
	Servers  Servers
	Lists    Lists
	History  *History
	Settings Settings
	Tail     *Tail        // shown on the log page
	Log      *slog.Logger // also the audit log
	// RolesFor is how long a role confirmed by Rocket.Chat is trusted; 0 is the default.
	RolesFor time.Duration
	// LookEvery is how often open pages are compared with the current state; 0 is the default.
	LookEvery time.Duration
}

// Console serves the pages: a gate lets administrators in, each page is its own type, and
// a live keeps open pages up to date. Methods are safe for concurrent use.
type Console struct {
	live  *live
	pages http.Handler
}

// New returns a console. Sessions are in the store, so they survive a restart.
func New(o Options) (*Console, error) {
	views, err := newViews(o.Log)
	if err != nil {
		return nil, err
	}
	static, err := fs.Sub(files, "static")
	if err != nil {
		return nil, err
	}
	gate := newGate(o, views)
	state := &sharedState{bridge: o.Bridge}
	live := newLive(cmp.Or(o.LookEvery, lookEvery), gate, views, state, o.History)

	own := http.NewServeMux()
	own.Handle("GET "+Path+"static/", http.StripPrefix(Path+"static/", http.FileServerFS(static)))
	own.Handle("GET "+Path+"static/lib/", http.StripPrefix(Path+"static/", keptByBrowsers(http.FileServerFS(static))))
	r := routes{mux: own, gate: gate, live: live}
	gate.routes(r)
	live.routes(r)
	permits := &permits{views: views, lists: o.Lists}
	for _, p := range []interface{ routes(routes) }{
		&overviewPage{views: views, state: state, queue: o.Queue, history: o.History}, &queuePage{views: views, queue: o.Queue}, &roomPages{views: views, rooms: o.Rooms},
		&peoplePages{views: views, people: o.People, permits: permits}, &serversPage{views: views, servers: o.Servers, permits: permits},
		&settingsPage{views: views, file: o.Settings}, &logPage{views: views, live: live, tail: o.Tail},
	} {
		p.routes(r)
	}
	r.all(func(w http.ResponseWriter, _ *http.Request, s session) {
		views.problem(w, s, http.StatusNotFound, "There is no such page.")
	})
	return &Console{live: live, pages: guarded(own)}, nil
}

// Close ends the streams of open pages.
func (c *Console) Close() { c.live.close() }

// Routes adds the console's pages.
func (c *Console) Routes(mux *http.ServeMux) { mux.Handle(Path, c.pages) }

// handler serves a page to an administrator.
type handler func(http.ResponseWriter, *http.Request, session)

// routes registers pages, behind the gate.
type routes struct {
	mux  *http.ServeMux
	gate *gate
	live *live
}

// page serves GET for a page that stays up to date while it is open.
func (r routes) page(name string, h handler) { r.get(name, r.live.shared(h)) }

// get serves GET for a response made separately for each visitor.
func (r routes) get(name string, h handler) { r.mux.HandleFunc("GET "+Path+name, r.gate.inside(h)) }

// post serves a form.
func (r routes) post(name string, h handler) { r.mux.HandleFunc("POST "+Path+name, r.gate.inside(h)) }

// all serves all other paths.
func (r routes) all(h handler) { r.mux.HandleFunc(Path, r.gate.inside(h)) }

// policy lets a page load only what the console itself serves, and nothing inline.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"

// keptByBrowsers lets browsers cache files whose names include their version.
func keptByBrowsers(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "public, max-age=31536000, immutable")
		next.ServeHTTP(w, r)
	})
}

// maxForm bounds the size of a form, in bytes.
const maxForm = 512 << 10

// guarded adds the headers common to all responses, and refuses forms sent by other sites.
func guarded(next http.Handler) http.Handler {
	cross := http.NewCrossOriginProtection()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", policy)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "same-origin")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Cache-Control", "no-store")
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			if r.Header.Get("Origin") == "" && r.Header.Get("Sec-Fetch-Site") == "" || cross.Check(r) != nil {
				http.Error(w, "This form does not come from the console.", http.StatusForbidden)
				return
			}
			r.Body = http.MaxBytesReader(w, r.Body, maxForm)
			if err := r.ParseForm(); err != nil {
				http.Error(w, "The form cannot be read.", http.StatusBadRequest)
				return
			}
		}
		next.ServeHTTP(w, r)
	})
}
