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
	"html/template"
	"io/fs"
	"log/slog"
	"net/http"
	"sync"
	"sync/atomic"
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

// Console serves the pages. Methods are safe for concurrent use.
type Console struct {
	Options
	addresses tries // of those that failed, by address
	accounts  tries // by name of the account
	pages     *template.Template
	live      atomic.Int64 // clients that listen
	states    cachedState
	glance    glance
	closing   chan struct{}
	close     sync.Once
}

// New returns a console in which nobody is signed in.
func New(o Options) (*Console, error) {
	pages, err := template.New("").Funcs(functions).ParseFS(files, "templates/*.html")
	if err != nil {
		return nil, err
	}
	o.RolesFor, o.LookEvery = cmp.Or(o.RolesFor, rolesFor), cmp.Or(o.LookEvery, lookEvery)
	return &Console{
		Options: o, pages: pages, closing: make(chan struct{}),
		addresses: tries{most: triesOfAddress}, accounts: tries{most: triesOfAccount},
	}, nil
}

// Close ends the streams of pages that are open.
func (c *Console) Close() { c.close.Do(func() { close(c.closing) }) }

// Routes adds the console's pages.
func (c *Console) Routes(mux *http.ServeMux) {
	static, err := fs.Sub(files, "static")
	if err != nil {
		panic(err) // the folder is part of the program
	}
	assets := http.StripPrefix(Path+"static/", http.FileServerFS(static))
	own := http.NewServeMux()
	own.Handle("GET "+Path+"static/", assets)
	own.HandleFunc("GET "+Path+"sign-in", c.showSignIn)
	own.HandleFunc("POST "+Path+"sign-in", c.signIn)
	own.HandleFunc("POST "+Path+"sign-out", c.inside(c.signOut))
	own.HandleFunc("GET "+Path+"{$}", c.inside(c.overview))
	own.HandleFunc("GET "+Path+"queue", c.inside(c.queue))
	own.HandleFunc("POST "+Path+"queue", c.inside(c.changeQueue))
	c.roomRoutes(own)
	c.peopleRoutes(own)
	c.serverRoutes(own)
	own.HandleFunc("GET "+Path+"settings", c.inside(c.settings))
	own.HandleFunc("POST "+Path+"settings", c.inside(c.changeSettings))
	own.HandleFunc("GET "+Path+"log", c.inside(c.log))
	own.HandleFunc("GET "+Path+"log/events", c.inside(c.logEvents))
	own.HandleFunc("GET "+Path+"events", c.inside(c.events))
	own.HandleFunc(Path, c.inside(func(w http.ResponseWriter, r *http.Request, s session) {
		c.problem(w, r, s, http.StatusNotFound, "There is no such page.")
	}))
	mux.Handle(Path, guarded(own))
}

// policy lets a page load what the console itself serves, and nothing inline.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"

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

// page is what every template gets.
type page struct {
	Title   string
	Here    string // the page's name in the navigation
	User    string // "" for a stranger
	Token   string // against forged forms
	Notice  string // what was done
	Problem string // why something was not
	Still   bool   // what is on it must not be replaced while it is open
	Body    any
}

// show answers with a page.
func (c *Console) show(w http.ResponseWriter, status int, name string, p page) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	if err := c.pages.ExecuteTemplate(w, name, p); err != nil {
		c.Log.Debug("a page of the console could not be sent", "err", err)
	}
}

// problem answers with a page that says why there is no other.
func (c *Console) problem(w http.ResponseWriter, _ *http.Request, s session, status int, text string) {
	c.show(w, status, "problem.html", page{Title: "Problem", User: s.username, Token: s.token, Problem: text})
}

// failed answers that the bridge could not say or do something; the reason is in the log.
func (c *Console) failed(w http.ResponseWriter, r *http.Request, s session, err error) {
	c.Log.Warn("a page of the console failed", "page", r.URL.Path, "err", err)
	c.problem(w, r, s, http.StatusServiceUnavailable, "The bridge cannot answer that now. Please try again in a moment.")
}

// functions are what templates use.
var functions = template.FuncMap{
	"cut":     cut,
	"ago":     func(t time.Time) string { return ago(time.Since(t), t.IsZero()) },
	"instant": func(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05 UTC") },
	"plural": func(n int64, one, many string) string {
		if n == 1 {
			return one
		}
		return many
	},
}
