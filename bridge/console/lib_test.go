package console

import (
	"crypto/sha256"
	"encoding/hex"
	"io/fs"
	"net/http"
	"strings"
	"testing"
	"time"
)

// libraries holds the SHA-256 sums of the files in the npm packages: dist/htmx.min.js of
// htmx.org and dist/sse.min.js of htmx-ext-sse.
var libraries = map[string]string{
	"htmx.org-2.0.11.min.js":    "d6fdc75f204e6bdefa99b69bf1e6d4ac69b8a364f77929f45c13476b4000f717",
	"htmx-ext-sse-2.2.4.min.js": "98a46496de0c3605fbffdce9167ba427bdd9553184f83f149c261891a92c0136",
}

// The libraries match npm's byte for byte. Each page names them, and browsers may cache them,
// because another version has another name.
func TestTheLibrariesAreThoseOfNPM(t *testing.T) {
	notice, err := files.ReadFile("static/lib/NOTICE.txt")
	if err != nil {
		t.Fatal(err)
	}
	o := open(t, 0, time.Hour)
	page := o.read("", "sign-in", false)
	list, err := fs.ReadDir(files, "static/lib")
	if err != nil || len(list) != len(libraries)+1 {
		t.Errorf("%d files, of which %d are known: %v", len(list), len(libraries), err)
	}
	for name, want := range libraries {
		res := o.ask(t.Context(), "", "static/lib/"+name, false)
		_ = res.Body.Close()
		if c := res.Header.Get("Cache-Control"); res.StatusCode != http.StatusOK || !strings.Contains(c, "immutable") || strings.Contains(c, "no-store") {
			t.Errorf("%s: %s, %q", name, res.Status, c)
		}
		if sum := sha256.Sum256([]byte(o.read("", "static/lib/"+name, false))); hex.EncodeToString(sum[:]) != want {
			t.Errorf("%s is not what npm has: %x", name, sum)
		}
		if !strings.Contains(page, `<script src="/_appliance/static/lib/`+name+`" defer></script>`) || !strings.Contains(string(notice), name) {
			t.Errorf("%s is not named", name)
		}
	}
	if c := o.ask(t.Context(), "", "static/console.js", false).Header.Get("Cache-Control"); c != "no-store" {
		t.Errorf("our own script changes with each version, and browsers keep it: %q", c)
	}
}

// An open page whose session has ended is led to the sign-in form through htmx; a newly
// opened one by an ordinary redirect.
func TestAnOpenPageIsLedToTheForm(t *testing.T) {
	o := open(t, 1, time.Hour)
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	get := func(page, htmx string) *http.Response {
		req, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, o.server.URL+Path+page, nil)
		req.Header.Set("Cookie", cookieName+"=unknown")
		if htmx != "" {
			req.Header.Set("HX-Request", htmx)
		}
		res, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = res.Body.Close() })
		return res
	}
	if res := get("queue", "true"); res.Header.Get("HX-Redirect") != Path+"sign-in" {
		t.Error(res.Status, res.Header)
	}
	if res := get("queue", ""); res.StatusCode != http.StatusSeeOther || res.Header.Get("Location") != Path+"sign-in" {
		t.Error(res.Status, res.Header)
	}
	for _, stream := range []string{"events?of=queue", "log/events"} {
		if text := o.read("unknown", stream, false); text != ended {
			t.Errorf("%s: %q", stream, text)
		}
	}
}
