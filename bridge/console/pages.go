package console

import (
	"context"
	"errors"
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
	v := view{State: state, Healthy: !slices.ContainsFunc(state.Parts, func(p Part) bool { return p.Why != "" }) && state.Enabled && state.ConfigError == ""}
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

// filter says which dead letters are meant.
type filter struct{ Direction, Reason, Kind, Lane string }

func filterOf(q url.Values) filter {
	return filter{Direction: q.Get("direction"), Reason: q.Get("reason"), Kind: q.Get("kind"), Lane: strings.TrimSpace(q.Get("lane"))}
}

func (f filter) fits(d DeadLetter) bool {
	return (f.Direction == "" || strings.HasPrefix(d.Lane, f.Direction+":")) && (f.Reason == "" || d.Reason == f.Reason) &&
		(f.Kind == "" || d.Kind == f.Kind) && (f.Lane == "" || strings.Contains(d.Lane, f.Lane))
}

// query is the filter in an address.
func (f filter) query() string {
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
	Filter         filter
	Lanes          []Lane
	Letters        []DeadLetter
	Fitting, Total int
	Reasons, Kinds []string
}

func (c *Console) queue(w http.ResponseWriter, r *http.Request, s session) {
	v := queueView{Filter: filterOf(r.URL.Query())}
	letters, err := c.Queue.DeadLetters(r.Context(), maxLetters)
	if err == nil {
		v.Lanes, err = c.Queue.Lanes(r.Context(), listedLanes)
	}
	if err != nil {
		c.failed(w, r, s, err)
		return
	}
	v.Total = len(letters)
	for _, d := range letters {
		if !slices.Contains(v.Reasons, d.Reason) {
			v.Reasons = append(v.Reasons, d.Reason)
		}
		if !slices.Contains(v.Kinds, d.Kind) {
			v.Kinds = append(v.Kinds, d.Kind)
		}
		if !v.Filter.fits(d) {
			continue
		}
		if v.Fitting++; len(v.Letters) < listedLetters {
			v.Letters = append(v.Letters, d)
		}
	}
	slices.Sort(v.Reasons)
	slices.Sort(v.Kinds)
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
	case "disconnect":
		return "The room is no longer connected with Matrix. What was said stays on both sides."
	}
	return ""
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
			if f.fits(d) {
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

// roomsOnPage is how many rooms a page lists.
const roomsOnPage = 50

// roomsView is the page of the rooms.
type roomsView struct {
	Words                string
	List                 []Room
	Total                int
	From, To             int
	Earlier, Later       int // offsets of the pages beside this one
	HasEarlier, HasLater bool
}

func (c *Console) rooms(w http.ResponseWriter, r *http.Request, s session) {
	q := r.URL.Query()
	offset, _ := strconv.Atoi(q.Get("from"))
	offset = max(0, offset)
	v := roomsView{Words: cut(strings.TrimSpace(q.Get("q")), 200)}
	var err error
	if v.List, v.Total, err = c.Rooms.Rooms(r.Context(), v.Words, offset, roomsOnPage); err != nil {
		c.failed(w, r, s, err)
		return
	}
	v.From, v.To = min(offset+1, v.Total), offset+len(v.List)
	v.Earlier, v.HasEarlier = max(0, offset-roomsOnPage), offset > 0
	v.Later, v.HasLater = offset+roomsOnPage, v.To < v.Total
	c.show(w, http.StatusOK, "rooms.html", page{Title: "Rooms", Here: "rooms", User: s.username, Token: s.token, Notice: notice(r), Body: v})
}

// disconnect ends a portal. The form asks for a tick, because it cannot be undone.
func (c *Console) disconnect(w http.ResponseWriter, r *http.Request, s session) {
	room := r.PostForm.Get("room")
	if r.PostForm.Get("sure") != "yes" {
		c.problem(w, r, s, http.StatusBadRequest, "Nothing was changed. Tick the box beside the button: people of Matrix leave the room, and that cannot be undone.")
		return
	}
	err := c.Rooms.Disconnect(r.Context(), room, s.username)
	if errors.Is(err, ErrNoRoom) {
		c.problem(w, r, s, http.StatusNotFound, "This room is not connected with Matrix, or no longer.")
		return
	}
	c.Log.Info("a room was disconnected in the console", "user", s.userID, "rc_room", room, "err", err)
	if err != nil {
		c.failed(w, r, s, err)
		return
	}
	http.Redirect(w, r, Path+"rooms?done=disconnect&n=1", http.StatusSeeOther)
}
