package console

import (
	"context"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// stateFor is how long a State serves everybody who looks.
const stateFor = 2 * time.Second

// cachedState asks for the state once for all who look at the same time.
type cachedState struct {
	mu    sync.Mutex
	state State
	until time.Time
}

func (c *Console) state(ctx context.Context) (State, error) {
	c.states.mu.Lock()
	defer c.states.mu.Unlock()
	if time.Now().Before(c.states.until) {
		return c.states.state, nil
	}
	s, err := c.Bridge.State(ctx)
	if err == nil {
		c.states.state, c.states.until = s, time.Now().Add(stateFor)
	}
	return s, err
}

// direction is one direction on the overview.
type direction struct {
	Name string
	Backlog
	Hour, Day         Series
	HourPlot, DayPlot plot
	Delay             string // of the last hour
}

// view is the overview.
type view struct {
	State
	Directions []direction
	Healthy    bool
}

func (c *Console) overview(w http.ResponseWriter, r *http.Request, s session) {
	state, err := c.state(r.Context())
	if err != nil {
		c.failed(w, r, s, err)
		return
	}
	now := time.Now()
	v := view{State: state, Healthy: !slices.ContainsFunc(state.Parts, func(p Part) bool { return p.Why != "" }) && state.Enabled && state.ConfigError == "" && state.HostProblem == "" && (state.Host == nil || len(state.Host.Problems()) == 0)}
	for d, name := range []string{"Rocket.Chat to Matrix", "Matrix to Rocket.Chat"} {
		hour, day := c.History.Series(d, now, 60, 1), c.History.Series(d, now, 96, 15)
		v.Directions = append(v.Directions, direction{
			Name: name, Backlog: state.Waiting[d], Hour: hour, Day: day, Delay: meanDelay(hour),
			HourPlot: plotOf(hour), DayPlot: plotOf(day),
		})
	}
	c.show(w, http.StatusOK, "overview.html", page{Title: "Overview", Here: "overview", User: s.username, Token: s.token, Body: v})
}

func meanDelay(s Series) string {
	if s.Total == 0 {
		return "nothing was carried"
	}
	sum := 0.0
	for i, n := range s.Numbers {
		sum += s.Delays[i] * float64(n)
	}
	return time.Duration(sum / float64(s.Total) * float64(time.Second)).Round(time.Millisecond).String()
}

// bar is a step of a plot.
type bar struct{ X, Y, H int }

// plot is a series as bars in a picture of 40 in height, four for each step.
type plot struct {
	Bars  []bar
	Width int
	Most  int64
}

func plotOf(s Series) plot {
	p := plot{Width: 4 * len(s.Numbers), Most: slices.Max(s.Numbers)}
	for i, n := range s.Numbers {
		if n > 0 {
			h := max(1, int(n*40/p.Most))
			p.Bars = append(p.Bars, bar{X: 4 * i, Y: 40 - h, H: h})
		}
	}
	return p
}

const (
	listedLanes   = 200
	listedLetters = 200
	// maxLetters bounds how many dead letters a filter looks at and changes.
	maxLetters = 10_000
)

func filterOf(q url.Values) DeadFilter {
	return DeadFilter{Direction: q.Get("direction"), Reason: q.Get("reason"), Kind: q.Get("kind"), Lane: strings.TrimSpace(q.Get("lane"))}
}

// query is the filter in an address.
func (f DeadFilter) query() string {
	q := url.Values{}
	for name, value := range map[string]string{"direction": f.Direction, "reason": f.Reason, "kind": f.Kind, "lane": f.Lane} {
		if value != "" {
			q.Set(name, value)
		}
	}
	return q.Encode()
}

// queueView is the page of the queue.
type queueView struct {
	Filter DeadFilter
	Lanes  []Lane
	DeadPage
}

func (c *Console) queue(w http.ResponseWriter, r *http.Request, s session) {
	v := queueView{Filter: filterOf(r.URL.Query())}
	var err error
	if v.DeadPage, err = c.Queue.Dead(r.Context(), v.Filter, listedLetters); err == nil {
		v.Lanes, err = c.Queue.Lanes(r.Context(), listedLanes)
	}
	if err != nil {
		c.failed(w, r, s, err)
		return
	}
	c.show(w, http.StatusOK, "queue.html", page{Title: "Queue", Here: "queue", User: s.username, Token: s.token, Notice: notice(r), Body: v})
}

// notice reads back what a change has led to. It shows numbers only, so that an address
// that another site has written says nothing of its own.
func notice(r *http.Request) string {
	q := r.URL.Query()
	n, err := strconv.Atoi(q.Get("n"))
	if err != nil || n < 0 {
		return ""
	}
	switch q.Get("done") {
	case "retry":
		return counted(n, "item waits again, as the last of its room.", "items wait again, as the last of their rooms.")
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

// changeQueue retries or drops one dead letter, or all that a filter fits.
func (c *Console) changeQueue(w http.ResponseWriter, r *http.Request, s session) {
	f := filterOf(r.PostForm)
	var chosen []string
	switch id := r.PostForm.Get("id"); {
	case id != "":
		chosen = []string{id}
	case r.PostForm.Get("all") == "yes":
		letters, err := c.Queue.DeadLetters(r.Context(), maxLetters)
		if err != nil {
			c.failed(w, r, s, err)
			return
		}
		for _, d := range letters {
			if f.Fits(d) {
				chosen = append(chosen, d.ID)
			}
		}
	default:
		c.problem(w, r, s, http.StatusBadRequest, "No item was chosen. To change all that are listed, tick the box beside the button.")
		return
	}
	did, do := r.PostForm.Get("do"), c.Queue.Retry
	switch did {
	case "retry":
	case "drop":
		do = c.Queue.Drop
	default:
		c.problem(w, r, s, http.StatusBadRequest, "The form does not say what to do.")
		return
	}
	n, err := do(r.Context(), chosen)
	c.Log.Info("dead letters were changed in the console", "user", s.userID, "action", did, "chosen", len(chosen), "changed", n)
	if err != nil {
		c.failed(w, r, s, err)
		return
	}
	back := url.Values{"done": {did}, "n": {strconv.Itoa(n)}}.Encode()
	if q := f.query(); q != "" {
		back += "&" + q
	}
	http.Redirect(w, r, Path+"queue?"+back, http.StatusSeeOther) //nolint:gosec // it leads to this page, whatever the query is
}
