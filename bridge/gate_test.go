package bridge_test

import (
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"path"
	"strings"
	"sync"
	"testing"

	"appliance/bridge/mxside/mxtest"
	"appliance/bridge/rocketchat/rctest"
)

// gate is a proxy between the bridge and its homeserver. It passes everything on except
// what a test has it refuse.
type gate struct {
	url      string
	mu       sync.Mutex
	refusals []*refusal
	answered map[string]int // by method, end of the path and status
}

// refusal is one request that the homeserver refuses.
type refusal struct {
	g            *gate
	method, part string // of the path
	user         string // on whose behalf the bridge asks, "" for anybody
	left         int    // how often it still refuses
	status       int
	code         string
	refused      int
}

// always is the count of a refusal that lasts until the test lifts it.
const always = 1 << 30

func newGate(t testing.TB, homeserver string) *gate {
	t.Helper()
	target, err := url.Parse(homeserver)
	if err != nil {
		t.Fatal(err)
	}
	g := &gate{answered: map[string]int{}}
	proxy := &httputil.ReverseProxy{FlushInterval: -1, ErrorLog: log.New(io.Discard, "", 0), Rewrite: func(pr *httputil.ProxyRequest) { pr.SetURL(target) }, ModifyResponse: g.note}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if status, code := g.answer(r); status != 0 {
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(status)
			_, _ = fmt.Fprintf(w, `{"errcode":%q,"error":"the test refuses it","retry_after_ms":1}`, code)
			return
		}
		proxy.ServeHTTP(w, r)
	}))
	t.Cleanup(s.Close)
	g.url = s.URL
	return g
}

// note counts the homeserver's responses.
func (g *gate) note(res *http.Response) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.answered[fmt.Sprint(res.Request.Method, " ", path.Base(res.Request.URL.Path), " ", res.StatusCode)]++
	return nil
}

// count returns how often the homeserver gave a response, such as "POST join 200".
func (g *gate) count(answer string) int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.answered[answer]
}

// answer returns how a request is refused, or 0 if it is not.
func (g *gate) answer(r *http.Request) (status int, code string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, f := range g.refusals {
		if f.left > 0 && f.method == r.Method && strings.Contains(r.URL.Path, f.part) && (f.user == "" || f.user == r.URL.Query().Get("user_id")) {
			f.left--
			f.refused++
			return f.status, f.code
		}
	}
	return 0, ""
}

// refuse refuses the next n requests with the given method and part in their path.
func (g *gate) refuse(n int, method, part string, status int, code string) *refusal {
	g.mu.Lock()
	defer g.mu.Unlock()
	f := &refusal{g: g, method: method, part: part, left: n, status: status, code: code}
	g.refusals = append(g.refusals, f)
	return f
}

// to limits a refusal to one user.
func (f *refusal) to(user string) *refusal {
	f.g.mu.Lock()
	defer f.g.mu.Unlock()
	f.user = user
	return f
}

// lift ends a refusal.
func (f *refusal) lift() {
	f.g.mu.Lock()
	defer f.g.mu.Unlock()
	f.left = 0
}

// waitFor waits until n requests have been refused.
func (f *refusal) waitFor(t testing.TB, n int) {
	t.Helper()
	mxtest.WaitFor(t, fmt.Sprintf("%s %s to be refused %d times", f.method, f.part, n), func() bool {
		f.g.mu.Lock()
		defer f.g.mu.Unlock()
		return f.refused >= n
	})
}

// newGatedStage is newStage with a gate in front of the homeserver.
func newGatedStage(t *testing.T) *stage {
	t.Helper()
	return newGatedStageOn(t, &rctest.Server{Polite: true})
}

func newGatedStageOn(t *testing.T, rc *rctest.Server) *stage {
	t.Helper()
	return bridgedStage(gatedWorld(t, rc))
}

// gatedWorld is newWorld with a gate in front of the homeserver.
func gatedWorld(t *testing.T, rc *rctest.Server) *world {
	t.Helper()
	home := mxtest.Kind(t)
	return worldSpec{namespace: "native", home: home, far: mxtest.Dendrite, version: roomVersion(t, home), gated: true}.start(t, rc)
}
