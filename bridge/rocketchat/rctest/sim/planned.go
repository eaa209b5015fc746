package sim

import (
	"net/http"
	"slices"
)

// A plan is one failure that a test has arranged for one request.
type plan struct {
	status int    // respond with this instead of doing anything
	text   string // with this error text
	lose   bool   // do the work and lose the response
}

// FailNext makes the next request for what, such as "POST /api/v1/chat.sendMessage",
// fail with status and text before it does anything.
func (e *Engine) FailNext(what string, status int, text string) {
	e.look(func() { e.planned[what] = append(e.planned[what], plan{status: status, text: text}) })
}

// LoseNext does the work of the next request for what and loses the response.
func (e *Engine) LoseNext(what string) {
	e.look(func() { e.planned[what] = append(e.planned[what], plan{lose: true}) })
}

// nextPlan takes the next plan for a request, a zero one when there is none.
func (e *Engine) nextPlan(what string) (p plan) {
	e.look(func() {
		if l := e.planned[what]; len(l) > 0 {
			p, e.planned[what] = l[0], slices.Clone(l[1:])
		}
	})
	return p
}

// interfere refuses a request, by plan or out of rudeness, or else reports whether
// its response is to be lost.
func (e *Engine) interfere(w http.ResponseWriter, r *http.Request) (answered, lose bool) {
	p := e.nextPlan(r.Method + " " + r.URL.Path)
	if p.status != 0 {
		faultAnswer(&fault{status: p.status, text: p.text}).write(w)
		return true, false
	}
	if e.opts.OnRequest != nil && e.opts.OnRequest(w, r) || e.opts.Rude.refuse(w) {
		return true, false
	}
	return false, p.lose || e.opts.Rude.loses()
}
