package console

import (
	"bytes"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

const (
	// shownLines is how many lines the log page starts with, and toldLines the maximum
	// number of lines in one event.
	shownLines = 200
	toldLines  = 200
	// tellEvery is how often new lines are sent to an open page.
	tellEvery = time.Second
)

// logView is the log page.
type logView struct {
	Level, Room string
	Levels      []string
	Lines       []Line // newest first
}

// logFilter reads the visitor's filter: a log level and a room.
func logFilter(r *http.Request) (level slog.Level, name, room string) {
	name = r.URL.Query().Get("level")
	if level.UnmarshalText([]byte(name)) != nil || !slices.Contains(logLevels, name) {
		level, name = slog.LevelDebug, ""
	}
	return level, name, cut(strings.TrimSpace(r.URL.Query().Get("room")), 255)
}

var logLevels = []string{"info", "warn", "error"}

// logPage is the log page.
type logPage struct {
	*views
	live *live
	tail *Tail
}

func (p *logPage) routes(r routes) {
	r.get("log", p.lines)
	r.get("log/events", p.events)
}

func (p *logPage) lines(w http.ResponseWriter, r *http.Request, s session) {
	level, name, room := logFilter(r)
	last := strconv.FormatUint(p.tail.last.Load(), 10)
	v := logView{Level: name, Room: room, Levels: logLevels, Lines: p.tail.After(0, level, room, shownLines)}
	slices.Reverse(v.Lines)
	stream := Path + "log/events?" + url.Values{"level": {name}, "room": {room}, "after": {last}}.Encode()
	p.show(w, http.StatusOK, "log.html", page{Title: "Log", Here: "log", User: s.username, Token: s.token, Still: true, Stream: stream, Body: v})
}

// events serves GET /_appliance/log/events: the new lines, as table rows, newest first.
func (p *logPage) events(w http.ResponseWriter, r *http.Request, _ session) {
	level, _, room := logFilter(r)
	seen, err := strconv.ParseUint(r.Header.Get("Last-Event-ID"), 10, 64)
	if err != nil {
		seen, err = strconv.ParseUint(r.URL.Query().Get("after"), 10, 64)
	}
	if last := p.tail.last.Load(); err != nil || seen > last { // the bridge has restarted since
		seen = 0
	}
	quiet := 0
	p.live.stream(w, r, tellEvery, func() {
		last := p.tail.last.Load()
		if last == seen {
			if quiet++; quiet%10 == 1 {
				fmt.Fprint(w, ": still here\n\n")
			}
			return
		}
		list := p.tail.After(seen, level, room, toldLines)
		if seen = last; len(list) == 0 {
			return
		}
		seen = max(seen, list[len(list)-1].Number)
		var rows bytes.Buffer
		for _, l := range slices.Backward(list) {
			if err := p.templates.ExecuteTemplate(&rows, "line", l); err != nil {
				p.log.Debug("a log line could not be sent", "err", err)
				return
			}
		}
		fmt.Fprintf(w, "event: lines\nid: %d\ndata: %s\n\n", seen, bytes.ReplaceAll(rows.Bytes(), []byte("\n"), nil))
	})
}
