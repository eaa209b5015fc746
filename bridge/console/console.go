// Package console is the operator's web page, which the bridge serves below /_appliance/
// behind the web server. Whoever signs in shows Rocket.Chat itself that they are an
// administrator there; sessions are stored for all processes of the bridge. Pages are whole without JavaScript, which
// only brings them up to date. The package decides nothing about messages: it shows what
// the bridge tells it (interfaces.go) and passes on what an administrator asks for. It
// never shows what people have said.
package console

import (
	"cmp"
	"embed"
	"io/fs"
	"log/slog"
	"net/http"
	"time"
)

// Path is where the console is.
const Path = "/_appliance/"

//go:embed static templates
var files embed.FS

// Options say what a console shows and whom it lets in.
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
	Tail     *Tail        // what the page of the log shows
	Log      *slog.Logger // the audit log too
	// RolesFor is how long Rocket.Chat's word about a role counts; 0 is the usual.
	RolesFor time.Duration
	// LookEvery is how often open pages are compared with what is; 0 is the usual.
	LookEvery time.Duration
}

// Console serves the pages: a gate lets administrators in, each page is a type of its own, and
// what is open is kept up to date by a live. Methods are safe for concurrent use.
type Console struct {
	live  *live
	pages http.Handler
}

// New returns a console in which nobody is signed in.
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

// Close ends the streams of pages that are open.
func (c *Console) Close() { c.live.close() }

// Routes adds the console's pages.
func (c *Console) Routes(mux *http.ServeMux) { mux.Handle(Path, c.pages) }

// handler serves a page to an administrator.
type handler func(http.ResponseWriter, *http.Request, session)

// routes puts pages in their places, behind the gate.
type routes struct {
	mux  *http.ServeMux
	gate *gate
	live *live
}

// page serves GET for a page that stays up to date while it is open.
func (r routes) page(name string, h handler) { r.get(name, r.live.shared(h)) }

// get serves GET for what is made for each visitor.
func (r routes) get(name string, h handler) { r.mux.HandleFunc("GET "+Path+name, r.gate.inside(h)) }

// post serves a form.
func (r routes) post(name string, h handler) { r.mux.HandleFunc("POST "+Path+name, r.gate.inside(h)) }

// all serves what has no other place.
func (r routes) all(h handler) { r.mux.HandleFunc(Path, r.gate.inside(h)) }

// policy lets a page load what the console itself serves, and nothing inline.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"

// keptByBrowsers lets browsers keep files whose names say their version.
func keptByBrowsers(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "public, max-age=31536000, immutable")
		next.ServeHTTP(w, r)
	})
}

// maxForm bounds a form in bytes.
const maxForm = 512 << 10

// guarded adds what every answer has, and refuses forms that another site sends.
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
