package rctest_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"

	"appliance/bridge/rocketchat/rctest/sim"
)

// The responses of a genuine Rocket.Chat are kept in testdata/recorded: one REST
// exchange of each shape, for each recorded version. Each request is repeated on the
// simulator, in a world that is prepared for it. Refusals must be equal in status
// and body; responses must have the same fields of the same types. What still
// differs is listed in testdata/recorded/differences.txt with a reason.

// An exchange is one recorded request and its response. In paths, identifiers are
// replaced by ID; tokens and passwords are masked.
type exchange struct {
	Request   string
	Query     map[string]string
	Body      object
	Anonymous bool
	Status    int
	Answer    any
}

func recordedExchanges(t *testing.T, version string) (l []exchange) {
	t.Helper()
	b, err := os.ReadFile("testdata/recorded/exchanges-" + version + ".json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, &l); err != nil {
		t.Fatal(err)
	}
	return l
}

// TestAnswersAreThoseOfAGenuineServer replays the recorded exchanges.
func TestAnswersAreThoseOfAGenuineServer(t *testing.T) {
	var found []string
	asked := 0
	for _, version := range []string{"7.2", "8.3"} {
		kinds := map[string]*kind{}
		for _, x := range recordedExchanges(t, version) {
			status, answer := newWorld(t, version).replay(x)
			asked++
			k := kinds[x.kind()]
			if k == nil {
				k = &kind{recorded: &form{}, served: &form{}}
				kinds[x.kind()] = k
			}
			k.compare(x, status, answer)
		}
		for name, k := range kinds {
			for _, d := range k.differences() {
				found = append(found, version+" "+name+": "+d)
			}
		}
	}
	slices.Sort(found)
	t.Logf("%d exchanges replayed, %d differences", asked, len(found))
	judge(t, "testdata/recorded/differences.txt", found)
}

// judge compares the differences found with those listed: an unlisted difference is
// a failure, and so is a listed one that no longer occurs. A line of the list is a
// pattern, " | " and a reason.
func judge(t *testing.T, list string, found []string) {
	t.Helper()
	b, err := os.ReadFile(list)
	if err != nil {
		t.Fatal(err)
	}
	var patterns []string
	for line := range strings.Lines(string(b)) {
		if line = strings.TrimSpace(line); line == "" || line[0] == '#' {
			continue
		}
		pattern, reason, ok := strings.Cut(line, " | ")
		if !ok || strings.TrimSpace(reason) == "" {
			t.Errorf("%s: no reason in %q", list, line)
		}
		patterns = append(patterns, strings.TrimSpace(pattern))
	}
	used := map[string]bool{}
	for _, f := range found {
		i := slices.IndexFunc(patterns, func(p string) bool { return fits(p, f) })
		if i < 0 {
			t.Errorf("not listed: %s", f)
			continue
		}
		used[patterns[i]] = true
	}
	for _, p := range patterns {
		if !used[p] {
			t.Errorf("%s lists what is no longer so: %s", list, p)
		}
	}
}

// fits matches a pattern in which * stands for anything.
func fits(pattern, s string) bool {
	var re strings.Builder
	for i, part := range strings.Split(pattern, "*") {
		if i > 0 {
			re.WriteString(".*")
		}
		re.WriteString(regexp.QuoteMeta(part))
	}
	return regexp.MustCompile("^" + re.String() + "$").MatchString(s)
}

// kind groups exchanges whose responses have the same form.
func (x exchange) kind() string {
	method, p, _ := strings.Cut(x.Request, " ")
	switch {
	case strings.HasPrefix(p, "/avatar/room/"):
		p = "/avatar/room/ID"
	case strings.HasPrefix(p, "/avatar/"):
		p = "/avatar/NAME"
	case strings.HasPrefix(p, "/file-upload/"):
		p = "/file-upload/ID/" + path.Ext(p)
	case strings.HasPrefix(p, "/api/v1/rooms.media"):
		p = "/api/v1/" + strings.SplitN(strings.TrimPrefix(p, "/api/v1/"), "/", 2)[0]
	}
	return strings.TrimSpace(fmt.Sprintf("%s %s %d %s", method, strings.TrimPrefix(p, "/api/v1/"), x.Status, x.code()))
}

// code returns the error code of a refusal, or its text if it has none.
func (x exchange) code() string {
	if x.Status < 400 {
		return ""
	}
	code, _ := dig(x.Answer, "errorType").(string)
	if code == "" {
		code, _ = dig(x.Answer, "error").(string)
	}
	return plainNames(code)
}

// A kind collects recorded and served responses.
type kind struct {
	recorded, served *form
	other            []string
}

func (k *kind) compare(x exchange, status int, answer any) {
	if status != x.Status {
		k.other = append(k.other, fmt.Sprintf("status %d, recorded %d (%s)", status, x.Status, jsonText(answer)))
		return
	}
	if status >= 400 {
		if got, want := plainNames(jsonText(answer)), plainNames(jsonText(x.Answer)); got != want {
			k.other = append(k.other, fmt.Sprintf("answer %s, recorded %s", got, want))
		}
		return
	}
	k.recorded.add(x.Answer)
	k.served.add(answer)
}

func (k *kind) differences() []string {
	l := k.recorded.differences(k.served, "")
	for _, d := range k.other {
		if !slices.Contains(l, d) {
			l = append(l, d)
		}
	}
	return l
}

var (
	madeUpNames = regexp.MustCompile(`\b(person|new|room|channel|group|renamed|nobody|m|file|hook)-[0-9a-z]{10,14}\b`)
	identifiers = regexp.MustCompile(`\b([0-9a-f]{24}|[2-9A-HJ-NP-Za-km-z]{17})\b`)
	dates       = regexp.MustCompile(`\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z`)
	seconds     = regexp.MustCompile(`wait \d+ seconds`)
)

// plainNames masks what differs each time.
func plainNames(s string) string {
	s = dates.ReplaceAllString(s, "DATE")
	s = madeUpNames.ReplaceAllString(s, "$1-X")
	s = seconds.ReplaceAllString(s, "wait N seconds")
	return identifiers.ReplaceAllString(s, "ID")
}

// A form is the merged form of several values: the types seen, and for objects how
// often each field was present.
type form struct {
	seen   int
	types  map[string]bool
	fields map[string]*form
	item   *form
}

func (f *form) add(v any) {
	f.seen++
	if f.types == nil {
		f.types, f.fields = map[string]bool{}, map[string]*form{}
	}
	switch x := v.(type) {
	case map[string]any:
		f.types["object"] = true
		for k, y := range x {
			if strings.HasPrefix(k, ":") {
				k = ":emoji:"
			}
			f.field(k).addField(k, y)
		}
	case []any:
		f.types["array"] = true
		if f.item == nil {
			f.item = &form{}
		}
		for _, y := range x {
			f.item.add(y)
		}
	case string:
		f.types[typeOfText(x)] = true
	default:
		f.types[map[bool]string{true: "null", false: fmt.Sprintf("%T", v)}[v == nil]] = true
	}
}

// addField leaves parsed text and preferences whole: they have tests of their own.
func (f *form) addField(key string, v any) {
	if key == "md" || key == "descriptionMd" {
		f.seen++
		f.types = map[string]bool{"parsed text": true}
		return
	}
	f.add(v)
}

func (f *form) field(k string) *form {
	if f.fields[k] == nil {
		f.fields[k] = &form{}
	}
	return f.fields[k]
}

var hex24 = regexp.MustCompile(`^[0-9a-f]{24}$`)

func typeOfText(s string) string {
	switch {
	case dates.MatchString(s) && len(s) == 24:
		return "date"
	case hex24.MatchString(s):
		return "id of 24 digits"
	case identifiers.FindString(s) == s && s != "":
		return "id of 17 letters"
	}
	return "string"
}

// differences returns how served differs from f, which was recorded.
func (f *form) differences(served *form, at string) (l []string) {
	if f.seen == 0 || served.seen == 0 {
		return nil
	}
	for ty := range served.types {
		if !f.types[ty] && !(f.types["string"] && strings.HasPrefix(ty, "id of ")) {
			l = append(l, fmt.Sprintf("%s is %s, recorded %s", orTop(at), ty, strings.Join(sortedNames(f.types), " or ")))
		}
	}
	for k, want := range f.fields {
		got := served.fields[k]
		switch {
		case got == nil:
			l = append(l, "lacks "+at+"."+k)
		case want.seen == f.seen && got.seen < served.seen:
			l = append(l, "lacks sometimes "+at+"."+k)
		default:
			l = append(l, want.differences(got, at+"."+k)...)
		}
	}
	for k := range served.fields {
		if f.fields[k] == nil && f.types["object"] {
			l = append(l, "adds "+at+"."+k)
		}
	}
	if f.item != nil && served.item != nil {
		l = append(l, f.item.differences(served.item, at+"[]")...)
	}
	return l
}

func orTop(at string) string {
	if at == "" {
		return "the answer"
	}
	return at
}

func sortedNames(set map[string]bool) (l []string) {
	for k := range set {
		l = append(l, k)
	}
	slices.Sort(l)
	return l
}

// A request is what is sent to the simulator in place of a recorded one.
type request struct {
	who          sim.Person
	method, path string
	query        map[string]string
	body         object
	file         *part
}

// A part is the file of a multipart request.
type part struct {
	field, name, kind string
	data              []byte
}

// send makes a request to the simulator and returns the response; one that is not
// JSON is represented as in the recordings.
func (w *world) send(q request) (int, any) {
	w.t.Helper()
	var body bytes.Buffer
	kind := "application/json"
	switch {
	case q.file != nil:
		kind = q.file.write(&body, q.body)
	case q.body != nil:
		body.WriteString(jsonText(q.body))
	}
	values := url.Values{}
	for k, v := range q.query {
		values.Set(k, v)
	}
	r := httptest.NewRequest(q.method, q.path, &body)
	r.URL.RawQuery = values.Encode()
	r.Header.Set("Content-Type", kind)
	if q.who.Token != "" {
		r.Header.Set("X-User-Id", q.who.ID)
		r.Header.Set("X-Auth-Token", q.who.Token)
		if strings.HasPrefix(q.path, "/avatar/") || strings.HasPrefix(q.path, "/file-upload/") {
			r.AddCookie(&http.Cookie{Name: "rc_uid", Value: q.who.ID})
			r.AddCookie(&http.Cookie{Name: "rc_token", Value: q.who.Token})
		}
	}
	rec := httptest.NewRecorder()
	w.e.ServeHTTP(rec, r)
	var v any
	if err := json.Unmarshal(rec.Body.Bytes(), &v); err != nil {
		return rec.Code, object{"content_type": rec.Header().Get("Content-Type"), "bytes": float64(rec.Body.Len())}
	}
	return rec.Code, v
}
