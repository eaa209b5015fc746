package bridge

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"time"
)

// A part is something that the bridge needs, and why it is not ready, "" if it is.
type part struct{ name, why string }

// readyFor bounds how long checking readiness may take.
const readyFor = 2 * time.Second

// parts returns each part and whether it is ready.
func (s *service) parts(ctx context.Context) []part {
	ctx, cancel := context.WithTimeout(ctx, readyFor)
	defer cancel()
	all := []part{{"database", ""}, {"rocketchat", s.rc.Problem()}, {"matrix", ""}}
	if _, err := s.store.Cursor(ctx, "ready"); err != nil {
		all[0].why = "does not answer"
	}
	if !s.rc.Connected() {
		all[1].why = "not connected"
	}
	if !s.mx.Connected() {
		all[2].why = "not connected"
	}
	return all
}

// readyz serves GET /readyz: a line for each part, and 503 if one is not ready. As in
// Kubernetes, ?exclude=NAME leaves a part out, and may be repeated.
func (s *service) readyz(w http.ResponseWriter, r *http.Request) {
	excluded := r.URL.Query()["exclude"]
	all := slices.DeleteFunc(s.parts(r.Context()), func(p part) bool { return slices.Contains(excluded, p.name) })
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	for _, p := range all {
		if p.why != "" {
			w.WriteHeader(http.StatusServiceUnavailable)
			break
		}
	}
	for _, p := range all {
		if p.why == "" {
			fmt.Fprintf(w, "[+]%s ok\n", p.name)
		} else {
			fmt.Fprintf(w, "[-]%s %s\n", p.name, p.why)
		}
	}
}
