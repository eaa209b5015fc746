package console

import (
	"errors"
	"html/template"
	"log/slog"
	"net/http"
	"time"
)

// views renders pages: what all of them have in common. Its log is also the audit log.
type views struct {
	templates *template.Template
	log       *slog.Logger
}

func newViews(log *slog.Logger) (*views, error) {
	t, err := template.New("").Funcs(functions).ParseFS(files, "templates/*.html")
	return &views{templates: t, log: log}, err
}

// page is the input of every template.
type page struct {
	Title   string
	Here    string // the page's name in the navigation
	User    string // "" if not signed in
	Token   string // protects against forged forms
	Notice  string // what was done
	Problem string // why it was not done
	Still   bool   // its content must not be replaced while it is open
	Stream  string // address of its own update stream; "" for the common one
	Body    any
}

// show responds with a page.
func (v *views) show(w http.ResponseWriter, status int, name string, p page) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	if err := v.templates.ExecuteTemplate(w, name, p); err != nil {
		v.log.Debug("a console page could not be sent", "err", err)
	}
}

// problem responds with a page that shows only a problem.
func (v *views) problem(w http.ResponseWriter, s session, status int, text string) {
	v.show(w, status, "problem.html", page{Title: "Problem", User: s.username, Token: s.token, Problem: text})
}

// failed responds that the bridge could not do something; the reason is in the log.
func (v *views) failed(w http.ResponseWriter, r *http.Request, s session, err error) {
	v.log.Warn("a console page failed", "page", r.URL.Path, "err", err)
	v.problem(w, s, http.StatusServiceUnavailable, "The bridge cannot answer that now. Please try again in a moment.")
}

// refused responds that something was not done, in the words of the slash commands if
// there are any.
func (v *views) refused(w http.ResponseWriter, r *http.Request, s session, err error) {
	if errors.Is(err, ErrNoRoom) {
		v.problem(w, s, http.StatusNotFound, "This room is not connected with Matrix, or no longer is.")
		return
	}
	if re, ok := errors.AsType[*RefusedError](err); ok {
		said := "Nothing was changed. Sorry: "
		if re.Saved {
			said = "Sorry: "
		}
		v.problem(w, s, http.StatusConflict, said+cut(re.Text, 600)+".")
		return
	}
	v.failed(w, r, s, err)
}

// functions are available in templates.
var functions = template.FuncMap{
	"cut":      cut,
	"labelled": labelled,
	"ago":      func(t time.Time) string { return ago(time.Since(t), t.IsZero()) },
	"instant":  func(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05 UTC") },
	"plural": func(n int64, one, many string) string {
		if n == 1 {
			return one
		}
		return many
	},
}
