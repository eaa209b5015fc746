package bridge_test

import (
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"appliance/bridge/mxside/mxtest"
	"appliance/bridge/relay/model"
	"appliance/bridge/rocketchat/rctest"
)

// speakers is the number of people who have posted in a room with history.
const speakers = 8

// past is a pair of instant servers with a Rocket.Chat room that has history.
type past struct {
	*instant
	began   time.Time
	said    int
	carried atomic.Int64
	all     chan struct{} // closed when everything was carried
}

func newPast(b *testing.B, said int) *past {
	p := &past{instant: newInstant(b), began: time.Now().Add(-time.Duration(said+60) * time.Second), said: said, all: make(chan struct{})}
	p.first = p.answer
	return p
}

// speaker returns a member of the room as JSON.
func speaker(n int) string {
	return fmt.Sprintf(`{"_id":"user%d","username":"user%d","name":"User %d","roles":["user"],"active":true}`, n, n, n)
}

// answer serves the requests that connecting a room makes, and counts messages.
func (p *past) answer(w http.ResponseWriter, r *http.Request) bool {
	q := r.URL.Query()
	var text string
	switch path := r.URL.Path; {
	case strings.Contains(path, "/send/m.room.message/"):
		if p.carried.Add(1) == int64(p.said) {
			close(p.all)
		}
		return false
	case strings.HasSuffix(path, "/v1/me"):
		text = strings.TrimPrefix(speaker(0), "{")
	case strings.HasSuffix(path, "/users.info"):
		n, _ := strconv.Atoi(strings.TrimPrefix(q.Get("userId")+q.Get("username"), "user"))
		text = `"user":` + speaker(n) + "}"
	case strings.HasSuffix(path, "/subscriptions.getOne"):
		text = `"subscription":{"rid":"past","roles":["owner"]}}`
	case strings.HasSuffix(path, "/rooms.info"):
		text = `"room":{"_id":"past","t":"p","name":"past","fname":"past"}}`
	case strings.HasSuffix(path, "/permissions.listAll"):
		text = `"update":[{"_id":"add-user-to-joined-room","roles":["user"]}]}`
	case strings.HasSuffix(path, "/groups.members"):
		var all []string
		for n := range speakers {
			all = append(all, speaker(n))
		}
		text = fmt.Sprintf(`"total":%d,"members":[%s]}`, speakers, strings.Join(all, ","))
	case strings.HasSuffix(path, "/groups.history"):
		text = `"messages":[` + p.page(q.Get("latest"), q.Get("count")) + "]}"
	case strings.HasPrefix(path, "/_matrix/") && strings.HasSuffix(path, "/members"):
		text = `"chunk":[]}`
	default:
		return false
	}
	_, _ = io.Copy(io.Discard, r.Body)
	w.Header().Set("Content-Type", "application/json")
	_, _ = io.WriteString(w, `{"success":true,`+text)
	return true
}

// page returns a page of the history, newest message first.
func (p *past) page(latest, count string) string {
	until, _ := time.Parse(time.RFC3339, latest)
	most, _ := strconv.Atoi(count)
	var page []string
	for n := min(p.said-1, int(until.Sub(p.began)/time.Second)); n >= 0 && len(page) < most; n-- {
		at := p.began.Add(time.Duration(n) * time.Second).UTC().Format(time.RFC3339Nano)
		page = append(page, fmt.Sprintf(`{"_id":"past%d","rid":"past","msg":"What a person said in a room, with *some* marks.","ts":%q,"_updatedAt":%q,"u":%s}`, n, at, at, speaker(n%speakers)))
	}
	return strings.Join(page, ",")
}

// BenchmarkBackfill connects a room with 10,000 messages of history, the most the bridge
// backfills, on servers that answer at once. The bridge runs as a process of its own, so its
// processor time and memory growth are its own.
func BenchmarkBackfill(b *testing.B) {
	program := buildProgram(b)
	b.Run(fmt.Sprintf("messages=%d", model.MaxHistory), func(b *testing.B) {
		for range b.N {
			p, dir := newPast(b, model.MaxHistory), b.TempDir()
			filled(b, filepath.Join(dir, "bridge.db"), 0, 0, 0)
			file, url := p.configure(b, dir, mxtest.FreePort(b))
			pid, stop := runProgram(b, program, file, url, asInstalled)
			before := settledMemory(b, pid)
			most, used, start := mostMemory(b, pid), processorOf(b, pid), time.Now()
			w := &world{t: b, url: url}
			w.must(rctest.Person{ID: "user0", Username: "user0", Token: "token"}, "past", "bridge", fmt.Sprint("history ", model.MaxHistory))
			stored := time.Since(start)
			select {
			case <-p.all:
			case <-time.After(4 * time.Minute):
				b.Fatalf("%d of %d messages have come out within four minutes", p.carried.Load(), p.said)
			}
			took := time.Since(start)
			used, grown := processorOf(b, pid)-used, most()
			stop()
			b.ReportMetric(float64(p.said)/took.Seconds(), "messages/s")
			b.ReportMetric(stored.Seconds(), "until-stored-s")
			b.ReportMetric(float64(used.Microseconds())/float64(p.said), "bridge-cpu-µs/message")
			b.ReportMetric(before.all, "before-MB")
			b.ReportMetric(grown.all-before.all, "grows-MB")
		}
	})
}
