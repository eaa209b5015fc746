package console

import (
	"cmp"
	"context"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// direction is one direction on the overview.
type direction struct {
	Name string
	Backlog
	Why                 string // why the oldest item, or one after it, waits; "" if nothing has failed
	Hour, Day           Series
	HourPlot, DayPlot   plot // messages
	HourDelay, DayDelay plot
	Delay               string // of the last hour
}

// view is the overview.
type view struct {
	State
	Directions []direction
	Healthy    bool
}

// overviewPage is the overview.
type overviewPage struct {
	*views
	state   *sharedState
	queue   Queue
	history *History
}

func (p *overviewPage) routes(r routes) { r.page("{$}", p.overview) }

func (p *overviewPage) overview(w http.ResponseWriter, r *http.Request, s session) {
	state, err := p.state.get(r.Context())
	if err != nil {
		p.failed(w, r, s, err)
		return
	}
	why, err := p.causes(r.Context(), state)
	if err != nil {
		p.failed(w, r, s, err)
		return
	}
	now := time.Now()
	v := view{State: state, Healthy: !slices.ContainsFunc(state.Parts, func(p Part) bool { return p.Why != "" }) && state.Enabled && state.ConfigError == "" && state.HostProblem == "" && (state.Host == nil || len(state.Host.Problems()) == 0)}
	for d, name := range []string{"Rocket.Chat to Matrix", "Matrix to Rocket.Chat"} {
		hour, day := p.history.Series(d, now, 60, 1), p.history.Series(d, now, 96, 15)
		v.Directions = append(v.Directions, direction{
			Name: name, Backlog: state.Waiting[d], Why: why[d], Hour: hour, Day: day, Delay: meanDelay(hour),
			HourPlot: plotOf(hour.Numbers, count), DayPlot: plotOf(day.Numbers, count), HourDelay: plotOf(hour.Delays, seconds), DayDelay: plotOf(day.Delays, seconds),
		})
	}
	p.show(w, http.StatusOK, "overview.html", page{Title: "Overview", Here: "overview", User: s.username, Token: s.token, Body: v})
}

func meanDelay(s Series) string {
	if s.Total == 0 {
		return "nothing was carried"
	}
	sum := 0.0
	for i, n := range s.Numbers {
		sum += s.Delays[i] * float64(n)
	}
	return seconds(sum / float64(s.Total))
}

// causedBy is how many lanes, those with the oldest items first, are examined to find out
// why something waits.
const causedBy = 20

// causes returns, for both directions, why the oldest items wait.
func (p *overviewPage) causes(ctx context.Context, state State) (why [2]string, err error) {
	if state.Waiting[ToMatrix].Waiting+state.Waiting[ToRocketChat].Waiting == 0 {
		return why, nil
	}
	lanes, err := p.queue.Lanes(ctx, causedBy)
	for _, l := range lanes {
		d := ToMatrix
		if strings.HasPrefix(l.Lane, "mx:") {
			d = ToRocketChat
		}
		why[d] = cmp.Or(why[d], l.LastError)
	}
	return why, err
}

// bar is one step of a plot.
type bar struct{ X, Y, H int }

// plot is a series as bars in a picture with a height of 40 and a width of 4 per step.
type plot struct {
	Bars  []bar
	Width int
	Most  string
}

// labelledPlot is a plot with a caption, and a label for those who cannot see it.
type labelledPlot struct {
	plot
	Label, Caption string
}

func labelled(p plot, name, text string) labelledPlot {
	return labelledPlot{p, name + ", " + text, strings.ToUpper(text[:1]) + text[1:]}
}

// plotOf draws numbers; show formats the largest one.
func plotOf[N int64 | float64](list []N, show func(N) string) plot {
	most := slices.Max(list)
	p := plot{Width: 4 * len(list), Most: show(most)}
	for i, n := range list {
		if n > 0 {
			h := max(1, int(n*40/most))
			p.Bars = append(p.Bars, bar{X: 4 * i, Y: 40 - h, H: h})
		}
	}
	return p
}

func count(n int64) string { return strconv.FormatInt(n, 10) }

func seconds(s float64) string {
	return time.Duration(s * float64(time.Second)).Round(time.Millisecond).String()
}
