package sim

import (
	"net/http"
	"slices"
)

// A plan is one misfortune that a test has arranged for one request.
type plan struct {
	status int    // answer this instead of doing anything
	text   string // with this error text
	lose   bool   // do the work and lose the answer
}

// FailNext answers the next request for what, such as
// "POST /api/v1/chat.sendMessage", with status and text and does nothing else.
func (e *Engine) FailNext(what string, status int, text string) {
	e.look(func() { e.planned[what] = append(e.planned[what], plan{status: status, text: text}) })
}

// LoseNext does the work of the next request for what and loses the answer.
func (e *Engine) LoseNext(what string) {
	e.look(func() { e.planned[what] = append(e.planned[what], plan{lose: true}) })
}

// nextPlan takes the plan for a request, a zero one when there is none.
func (e *Engine) nextPlan(what string) (p plan) {
	e.look(func() {
		if l := e.planned[what]; len(l) > 0 {
			p, e.planned[what] = l[0], slices.Clone(l[1:])
		}
	})
	return p
}

// interfere answers a request that is to be refused, by plan or out of rudeness,
// and tells whether the answer of any other is to get lost.
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
