package sim

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// An endpoint is one REST route below /api/v1/.
type endpoint struct {
	method, path string
	body, query  schema // nil: not checked
	perms        []string
	anonymous    bool // needs no login
	twoFactor    bool // facts 1.4
	strict2FA    bool // does not remember an earlier success
	unlimited    bool
	limit        rate
	exists       func(release) bool // nil: in every version
	run          func(*call) (any, error)
}

// A call is one REST request being processed by the simulator.
type call struct {
	e      *Engine
	r      *http.Request
	header http.Header // of the response
	ip     string
	user   Doc    // the caller; nil when not logged in
	token  string // what the caller logged in with
	body   Doc
	q      url.Values
	path   []string // the values of ":x" in the route
	file   *upload  // the file part of a multipart request
	ep     *endpoint
	seen   Doc // the message as a racing chat.react read it
}

// An upload is the file part of a multipart request.
type upload struct {
	field, name, kind string
	data              []byte
}

// An answer is a complete REST response, for responses that are not plain documents.
type answer struct {
	status int
	body   Doc
	header http.Header
	raw    []byte // instead of body
}

// maxBody is larger than any upload the default settings allow.
const maxBody = 256 << 20

// ServeHTTP serves REST, the websocket and the files.
func (e *Engine) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !e.enter() {
		panic(http.ErrAbortHandler)
	}
	defer e.serving.Done()
	setCORS(w.Header())
	switch {
	case r.URL.Path == "/websocket":
		e.serveWebsocket(w, r)
	case r.Method == http.MethodOptions:
		w.WriteHeader(http.StatusNoContent)
	default:
		e.serveREST(w, r)
	}
}

func setCORS(h http.Header) {
	h.Set("Access-Control-Allow-Origin", "*")
	h.Set("Access-Control-Allow-Headers", "Origin, X-Requested-With, Content-Type, Accept, X-User-Id, X-Auth-Token, x-2fa-code, x-2fa-method")
}

func (e *Engine) serveREST(w http.ResponseWriter, r *http.Request) {
	e.locked(func() { e.counts[r.Method+" "+r.URL.Path]++ })
	answered, lose := e.interfere(w, r)
	if answered {
		return
	}
	c := &call{e: e, r: r, header: w.Header(), ip: e.clientIP(r), q: r.URL.Query()}
	a, seq := e.answer(c)
	e.record.exchange(e.rel.short(), c, a.encoded())
	if err := e.journal.wait(seq); err != nil {
		a = answer{status: http.StatusInternalServerError, body: Doc{"success": false, "error": err.Error()}}
	}
	if lose {
		panic(http.ErrAbortHandler) // the work is done, but the response is lost
	}
	a.write(w)
}

// answer reads the request, then runs it exclusively.
func (e *Engine) answer(c *call) (a answer, seq uint64) {
	if err := c.read(); err != nil {
		return faultAnswer(asFault(err)), 0
	}
	if strings.HasSuffix(c.r.URL.Path, "/chat.react") {
		e.race(c)
	}
	seq = e.locked(func() { a = e.respond(c) })
	return a, seq
}

func (e *Engine) respond(c *call) (a answer) {
	defer func() {
		if p := recover(); p != nil {
			e.log.Error("handler failed", "path", c.r.URL.Path, "panic", p)
			a = faultAnswer(asFault(fmt.Errorf("%v", p)))
		}
	}()
	if a, ok := e.page(c); ok {
		return a
	}
	v, err := e.route(c)
	if err != nil {
		return faultAnswer(asFault(err))
	}
	if a, ok := v.(answer); ok {
		return a.encoded()
	}
	d := asDoc(v)
	if d == nil {
		d = Doc{}
	}
	return answer{status: http.StatusOK, body: d.with(Doc{"success": true})}.encoded()
}

func faultAnswer(f *fault) answer {
	if f.page != "" {
		return answer{status: f.status, raw: []byte(f.page), header: http.Header{"Content-Type": {"text/html; charset=utf-8"}}}
	}
	return answer{status: f.status, body: f.rest()}.encoded()
}

// encoded turns the body into bytes while the lock is held.
func (a answer) encoded() answer {
	if a.raw == nil && a.body != nil {
		a.raw = restJSON(a.body)
		a.header = maps.Clone(a.header)
		if a.header == nil {
			a.header = http.Header{}
		}
		a.header.Set("Content-Type", "application/json")
	}
	return a
}

func (a answer) write(w http.ResponseWriter) {
	a = a.encoded()
	maps.Copy(w.Header(), a.header)
	w.WriteHeader(a.status)
	w.Write(a.raw)
}

// route finds the endpoint and applies, in Rocket.Chat's order: limiter, login,
// schema, permissions, second factor.
func (e *Engine) route(c *call) (any, error) {
	ep := findEndpoint(c)
	c.ep = ep
	if ep == nil || ep.exists != nil && !ep.exists(e.rel) {
		return e.noEndpoint(c.r.Method), nil
	}
	c.authenticate()
	if err := c.limitREST(ep); err != nil {
		return nil, err
	}
	if c.user == nil && !ep.anonymous {
		return nil, e.notLoggedIn()
	}
	if err := c.validate(ep); err != nil {
		return nil, err
	}
	for _, p := range ep.perms {
		if !e.may(c.user, p, "") {
			return nil, noPermission()
		}
	}
	if ep.twoFactor {
		if err := c.checkTwoFactor(ep.strict2FA); err != nil {
			return nil, err
		}
	}
	return ep.run(c)
}

// findEndpoint matches /api/v1/name/param/param.
func findEndpoint(c *call) *endpoint {
	rest, ok := strings.CutPrefix(c.r.URL.Path, "/api/v1/")
	if !ok {
		return nil
	}
	parts := strings.Split(strings.TrimSuffix(rest, "/"), "/")
	if ep := endpoints[routeKey(c.r.Method, strings.Join(parts, "/"), 0)]; ep != nil {
		return ep
	}
	c.path = parts[1:]
	return endpoints[routeKey(c.r.Method, parts[0], len(c.path))]
}

func routeKey(method, name string, params int) string {
	return method + " " + name + strings.Repeat("/:", params)
}

func (c *call) validate(ep *endpoint) error {
	if ep.body != nil {
		if problem := ep.body.check(c.body, !c.e.rel.strictNulls); problem != "" {
			return meteorError("invalid-params", problem)
		}
	}
	if ep.query != nil {
		if problem := ep.query.check(queryDoc(c.q), true); problem != "" {
			return meteorError("error-invalid-params", problem)
		}
	}
	return nil
}

// read reads the body: JSON, a form, or multipart with one file.
func (c *call) read() error {
	c.body = Doc{}
	if c.r.Body == nil {
		return nil
	}
	if c.r.Method == http.MethodGet {
		return c.readNothing()
	}
	if strings.HasPrefix(c.r.Header.Get("Content-Type"), "multipart/form-data") {
		return c.readMultipart()
	}
	b, err := io.ReadAll(io.LimitReader(c.r.Body, maxBody))
	if err != nil {
		return textError("unreadable body")
	}
	if len(b) == 0 {
		return nil
	}
	if strings.HasPrefix(c.r.Header.Get("Content-Type"), "application/x-www-form-urlencoded") {
		return c.readForm(string(b))
	}
	var v any
	if err := json.Unmarshal(b, &v); err != nil {
		return textError("Invalid JSON: " + err.Error())
	}
	if c.body = asDoc(revive(v, false)); c.body == nil {
		return meteorError("invalid-params", "must be object")
	}
	return nil
}

// readNothing handles GET, where 7.x reads a body nevertheless and refuses one that
// is not an object.
func (c *call) readNothing() error {
	b, err := io.ReadAll(io.LimitReader(c.r.Body, maxBody))
	if err == nil && c.e.rel.nullBodyRefused && strings.TrimSpace(string(b)) == "null" {
		return &fault{status: http.StatusBadRequest, page: "<!DOCTYPE html>\n<html lang=\"en\">\n<title>Error</title>\n<pre>Bad Request</pre>\n"}
	}
	return nil
}

func (c *call) readForm(text string) error {
	form, err := url.ParseQuery(text)
	if err != nil {
		return textError("Invalid form")
	}
	c.body = queryDoc(form)
	return nil
}

func (c *call) readMultipart() error {
	mr, err := c.r.MultipartReader()
	if err != nil {
		return textError("Invalid multipart body")
	}
	for {
		part, err := mr.NextPart()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return textError("Invalid multipart body")
		}
		data, err := io.ReadAll(io.LimitReader(part, maxBody))
		if err != nil {
			return textError("Invalid multipart body")
		}
		if part.FileName() == "" {
			c.body[part.FormName()] = string(data)
			continue
		}
		c.file = &upload{part.FormName(), part.FileName(), part.Header.Get("Content-Type"), data}
	}
}

// clientIP is the address that limits apply to (facts 10, last but two).
func (e *Engine) clientIP(r *http.Request) string {
	hops := strings.Split(r.Header.Get("X-Forwarded-For"), ",")
	if n := e.env.forwarded; n > 0 && r.Header.Get("X-Forwarded-For") != "" && len(hops) >= n {
		return strings.TrimSpace(hops[len(hops)-n])
	}
	if ip := r.Header.Get("X-Real-IP"); ip != "" {
		return ip
	}
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	return host
}

// paged sorts and cuts l by the parameters count, offset and sort, and adds count,
// offset and total (facts 0.1).
func (c *call) paged(name string, l []Doc) Doc {
	c.sort(l)
	page, offset := c.page(l)
	return Doc{name: page, "count": len(page), "offset": offset, "total": len(l)}
}

func (c *call) page(l []Doc) (page []Doc, offset int) {
	offset = min(max(atoi(c.q.Get("offset"), 0), 0), len(l))
	count := atoi(c.q.Get("count"), c.e.settingNum("API_Default_Count"))
	switch upper := c.e.settingNum("API_Upper_Count_Limit"); {
	case count == 0 && c.e.settingOn("API_Allow_Infinite_Count"):
		count = len(l)
	case count <= 0:
		count = c.e.settingNum("API_Default_Count")
	default:
		count = min(count, upper)
	}
	return slices.Clone(l[offset:min(offset+count, len(l))]), atoi(c.q.Get("offset"), 0)
}

func (c *call) sort(l []Doc) {
	by, err := decodeDoc([]byte(c.q.Get("sort")), false)
	if err != nil {
		return
	}
	for _, key := range sortedKeys(by) {
		slices.SortStableFunc(l, func(a, b Doc) int { return compareValues(a[key], b[key]) * by.num(key) })
	}
}

// compareValues compares as MongoDB does: missing values come first.
func compareValues(a, b any) int {
	if a == nil || b == nil {
		return boolNum(a != nil) - boolNum(b != nil)
	}
	if t, ok := a.(time.Time); ok {
		u, _ := b.(time.Time)
		return t.Compare(u)
	}
	if n := (Doc{"a": a, "b": b}); n.num("a") != n.num("b") {
		return n.num("a") - n.num("b")
	}
	return strings.Compare(fmt.Sprint(a), fmt.Sprint(b))
}

// timeParam reads a date from the query: ISO or milliseconds.
func (c *call) timeParam(name string) time.Time { return parseTime(c.q.Get(name)) }

func parseTime(s string) time.Time {
	if t, err := time.Parse(time.RFC3339, s); err == nil {
		return t
	}
	if ms, err := strconv.ParseInt(s, 10, 64); err == nil {
		return time.UnixMilli(ms)
	}
	return time.Time{}
}

func atoi(s string, otherwise int) int {
	if n, err := strconv.Atoi(s); err == nil {
		return n
	}
	return otherwise
}

func sortedKeys[V any, M ~map[string]V](m M) []string { return slices.Sorted(maps.Keys(m)) }

func boolNum(b bool) int {
	if b {
		return 1
	}
	return 0
}
