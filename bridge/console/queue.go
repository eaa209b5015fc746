package console

import (
	"net/http"
	"net/url"
	"strconv"
	"strings"
)

const (
	listedLanes   = 100
	listedLetters = 100
	// maxLetters bounds how many dead letters a filter is applied to and changes.
	maxLetters = 10_000
)

func filterOf(q url.Values) DeadFilter {
	return DeadFilter{Direction: q.Get("direction"), Reason: q.Get("reason"), Kind: q.Get("kind"), Lane: strings.TrimSpace(q.Get("lane"))}
}

// query returns the filter as the query of an address.
func (f DeadFilter) query() string {
	q := url.Values{}
	for name, value := range map[string]string{"direction": f.Direction, "reason": f.Reason, "kind": f.Kind, "lane": f.Lane} {
		if value != "" {
			q.Set(name, value)
		}
	}
	return q.Encode()
}

// queueView is the queue page.
type queueView struct {
	Filter DeadFilter
	Lanes  []Lane
	DeadPage
}

// queuePage is the queue page.
type queuePage struct {
	*views
	queue Queue
}

func (p *queuePage) routes(r routes) {
	r.page("queue", p.list)
	r.post("queue", p.change)
}

func (p *queuePage) list(w http.ResponseWriter, r *http.Request, s session) {
	v := queueView{Filter: filterOf(r.URL.Query())}
	var err error
	if v.DeadPage, err = p.queue.Dead(r.Context(), v.Filter, listedLetters); err == nil {
		v.Lanes, err = p.queue.Lanes(r.Context(), listedLanes)
	}
	if err != nil {
		p.failed(w, r, s, err)
		return
	}
	p.show(w, http.StatusOK, "queue.html", page{Title: "Queue", Here: "queue", User: s.username, Token: s.token, Notice: notice(r), Body: v})
}

// notice describes the result of a change. It shows only numbers, so that an address
// written by another site cannot display text of its own.
func notice(r *http.Request) string {
	q := r.URL.Query()
	n, err := strconv.Atoi(q.Get("n"))
	if err != nil || n < 0 {
		return ""
	}
	switch q.Get("done") {
	case "retry":
		return counted(n, "item is queued again, last in its room.", "items are queued again, last in their rooms.")
	case "drop":
		return counted(n, "item was dropped.", "items were dropped.")
	case "settings":
		return counted(n, "setting was changed, and is in force.", "settings were changed, and are in force.")
	}
	return noticeOfRooms(q.Get("done"), n)
}

func counted(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return strconv.Itoa(n) + " " + many
}

// change retries or drops one dead letter, or all that match a filter.
func (p *queuePage) change(w http.ResponseWriter, r *http.Request, s session) {
	f := filterOf(r.PostForm)
	var chosen []string
	switch id := r.PostForm.Get("id"); {
	case id != "":
		chosen = []string{id}
	case r.PostForm.Get("all") == "yes":
		letters, err := p.queue.DeadLetters(r.Context(), maxLetters)
		if err != nil {
			p.failed(w, r, s, err)
			return
		}
		for _, d := range letters {
			if f.Fits(d) {
				chosen = append(chosen, d.ID)
			}
		}
	default:
		p.problem(w, s, http.StatusBadRequest, "No item was chosen. To change all that are listed, tick the box beside the button.")
		return
	}
	did, do := r.PostForm.Get("do"), p.queue.Retry
	switch did {
	case "retry":
	case "drop":
		do = p.queue.Drop
	default:
		p.problem(w, s, http.StatusBadRequest, "The form does not say what to do.")
		return
	}
	n, err := do(r.Context(), chosen)
	p.log.Info("dead letters were changed in the console", "user", s.userID, "action", did, "chosen", len(chosen), "changed", n)
	if err != nil {
		p.failed(w, r, s, err)
		return
	}
	back := url.Values{"done": {did}, "n": {strconv.Itoa(n)}}.Encode()
	if q := f.query(); q != "" {
		back += "&" + q
	}
	http.Redirect(w, r, Path+"queue?"+back, http.StatusSeeOther) //nolint:gosec // it leads to this page, whatever the query is
}
