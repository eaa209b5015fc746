package ui

import (
	"encoding/json"
	"fmt"
	"io"
	"sync"
	"time"

	"appliance/provision/plan"
)

// A Plain printer writes one line per step and never moves the cursor.
type Plain struct {
	mu      sync.Mutex
	w       io.Writer
	started map[string]time.Time
	now     func() time.Time
}

// NewPlain returns a Plain that writes to w.
func NewPlain(w io.Writer) *Plain {
	return &Plain{w: w, started: map[string]time.Time{}, now: time.Now}
}

// Step implements plan.Reporter.
func (p *Plain) Step(s plan.Step, state plan.StepState, _ string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch state {
	case plan.Started:
		p.started[s.ID] = p.now()
		fmt.Fprintf(p.w, "==> %s%s\n", s.Title, cause(s))
	case plan.Done:
		fmt.Fprintf(p.w, "    done in %s\n", took(p.now().Sub(p.started[s.ID])))
	case plan.Failed:
		fmt.Fprintf(p.w, "    failed after %s\n", took(p.now().Sub(p.started[s.ID])))
	case plan.NotReached:
		fmt.Fprintf(p.w, "    not reached: %s\n", s.Title)
	}
}

// Progress implements plan.Reporter; a log has no use for it.
func (p *Plain) Progress(string, string, int64, int64) {}

// Close implements Printer.
func (p *Plain) Close() {}

// A Text printer draws on a terminal: the line of the current step is overwritten until the
// step is done. It is never wider than the terminal, because only one row can be overwritten.
type Text struct {
	width   func() int
	mu      sync.Mutex
	w       io.Writer
	title   string
	started time.Time
	open    bool
}

// NewText returns a Text that draws on w.
func NewText(w io.Writer) *Text { return &Text{w: w, width: func() int { return Width(w) }} }

const (
	clear  = "\r\x1b[K"
	green  = "\x1b[32m"
	red    = "\x1b[31m"
	yellow = "\x1b[33m"
	dim    = "\x1b[2m"
	plain  = "\x1b[0m"
)

// Step implements plan.Reporter.
func (t *Text) Step(s plan.Step, state plan.StepState, _ string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch state {
	case plan.Started:
		t.title, t.started, t.open = s.Title, time.Now(), true
		fmt.Fprintf(t.w, "%s  %s%s", dim, t.fit(s.Title+cause(s), 2), plain)
	case plan.Done:
		t.end(green + "✓" + plain)
	case plan.Failed:
		t.end(red + "✗" + plain)
	case plan.NotReached:
		fmt.Fprintf(t.w, "%s- %s (not reached)%s\n", dim, t.fit(s.Title, 16), plain)
	}
}

func (t *Text) end(mark string) {
	time := took(time.Since(t.started))
	fmt.Fprintf(t.w, "%s%s %s %s%s%s\n", clear, mark, t.fit(t.title, 3+len(time)), dim, time, plain)
	t.open = false
}

// Progress implements plan.Reporter.
func (t *Text) Progress(_, what string, done, total int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.open {
		return
	}
	bar := ""
	if total > 0 {
		bar = fmt.Sprintf(" %d%%", done*100/total)
	}
	title := t.fit(t.title, 3+len(bar))
	if runes := []rune(what); len(runes) > 60 {
		what = string(runes[:60])
	}
	what = t.fit(what, 3+len([]rune(title))+len(bar))
	fmt.Fprintf(t.w, "%s  %s %s%s%s%s", clear, title, dim, what, bar, plain)
}

// fit cuts a text so that it fits in the row beside the rest. The last column stays free:
// some terminals move on to the next row when it is used.
func (t *Text) fit(text string, beside int) string {
	width := t.width()
	if width == 0 {
		return text
	}
	return cut(text, max(width-1-beside, 0))
}

// Close implements Printer.
func (t *Text) Close() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.open {
		fmt.Fprintln(t.w)
		t.open = false
	}
}

// A JSON printer writes one object per line.
type JSON struct {
	mu  sync.Mutex
	enc *json.Encoder
}

// NewJSON returns a JSON that writes to w.
func NewJSON(w io.Writer) *JSON { return &JSON{enc: json.NewEncoder(w)} }

type event struct {
	Event  string         `json:"event"`
	Step   string         `json:"step"`
	Title  string         `json:"title,omitempty"`
	Cause  string         `json:"cause,omitempty"`
	State  plan.StepState `json:"state,omitempty"`
	Detail string         `json:"detail,omitempty"`
	Done   int64          `json:"done,omitempty"`
	Total  int64          `json:"total,omitempty"`
}

// Step implements plan.Reporter.
func (j *JSON) Step(s plan.Step, state plan.StepState, detail string) {
	j.write(event{Event: "step", Step: s.ID, Title: s.Title, Cause: s.Cause, State: state, Detail: detail})
}

// Progress implements plan.Reporter.
func (j *JSON) Progress(id, what string, done, total int64) {
	j.write(event{Event: "progress", Step: id, Detail: what, Done: done, Total: total})
}

func (j *JSON) write(e event) {
	j.mu.Lock()
	defer j.mu.Unlock()
	_ = j.enc.Encode(e)
}

// Close implements Printer.
func (j *JSON) Close() {}

func cause(s plan.Step) string {
	if s.Cause == "" {
		return ""
	}
	return " (" + s.Cause + ")"
}

func took(d time.Duration) string {
	if d < time.Second {
		return d.Round(10 * time.Millisecond).String()
	}
	return d.Round(100 * time.Millisecond).String()
}
