package bundle_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"sync"
	"testing"

	"appliance/provision/bundle"
	"appliance/provision/stack"
)

// An engine is the part of Docker's API that a bundle needs. An image is "NAME\n" and content.
type engine struct {
	mu     sync.Mutex
	images map[string]string // content by name
	loads  int
	empty  bool // images have no content after loading
	huge   int  // bytes that follow the content of every saved image
}

var version = regexp.MustCompile(`^/v1\.\d+`)

func (e *engine) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	e.mu.Lock()
	defer e.mu.Unlock()
	w.Header().Set("Api-Version", "1.41")
	path := version.ReplaceAllString(r.URL.Path, "")
	switch {
	case path == "/_ping":
	case strings.HasSuffix(path, "/json"):
		content, ok := e.images[strings.TrimSuffix(strings.TrimPrefix(path, "/images/"), "/json")]
		if !ok {
			w.WriteHeader(http.StatusNotFound)
			_, _ = io.WriteString(w, `{"message":"no such image"}`)
			return
		}
		sum := fmt.Sprintf("sha256:%x", sha256.Sum256([]byte(content)))
		_ = json.NewEncoder(w).Encode(map[string]any{"Id": sum, "RootFS": map[string]any{"Layers": []string{sum}}})
	case path == "/images/get":
		name := r.URL.Query().Get("names")
		_, _ = io.WriteString(w, name+"\n"+e.images[name])
		for n := 0; n < e.huge; n += 1 << 20 {
			_, _ = w.Write(make([]byte, 1<<20))
		}
	case path == "/images/load":
		e.loads++
		small, err := gzip.NewReader(r.Body)
		if err != nil {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		text, _ := io.ReadAll(small)
		name, content, _ := strings.Cut(string(text), "\n")
		if e.empty {
			content = ""
		}
		e.images[name] = content
		_, _ = io.WriteString(w, `{"stream":"Loaded image"}`)
	default:
		w.WriteHeader(http.StatusNotImplemented)
	}
}

// docker serves an engine on a socket and returns a client for its images.
func docker(t *testing.T, e *engine) stack.Images {
	t.Helper()
	socket := filepath.Join(t.TempDir(), "sock")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	srv := &http.Server{Handler: e}
	go func() { _ = srv.Serve(l) }()
	t.Cleanup(func() { _ = srv.Close() })
	t.Setenv("DOCKER_HOST", "unix://"+socket)
	s, err := stack.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s.Images()
}

func quiet(string, int64, int64) {}

var names = []string{"mongo:8.0", "rocketchat/rocket.chat:8.6.1"}

// made creates a bundle of two images and returns its plan and the outcome.
func made(t *testing.T, e *engine) (bundle.Plan, bundle.Outcome) {
	t.Helper()
	dir := t.TempDir()
	p := bundle.Plan{File: filepath.Join(dir, "b.tar"), Program: filepath.Join(dir, "program"), Version: "v1.2.3", Names: names, Progress: quiet}
	if err := os.WriteFile(p.Program, []byte("the program"), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := bundle.Create(t.Context(), docker(t, e), p)
	if err != nil {
		t.Fatal(err)
	}
	return p, out
}

func full() *engine {
	return &engine{images: map[string]string{names[0]: "database", names[1]: "chat"}}
}

func TestABundleCarriesTheImagesToAnotherHost(t *testing.T) {
	from, to := full(), &engine{images: map[string]string{}}
	p, out := made(t, from)
	data, err := os.ReadFile(p.File)
	if err != nil || out.SHA256 != fmt.Sprintf("%x", sha256.Sum256(data)) || len(out.Images) != 2 {
		t.Fatalf("%+v, %v", out, err)
	}
	if left, _ := os.ReadDir(filepath.Dir(p.File)); len(left) != 2 {
		t.Errorf("it left %v", left)
	}
	var shown []string
	loaded, err := bundle.Load(t.Context(), docker(t, to), p.File, out.SHA256, func(what string, _, _ int64) { shown = append(shown, what) })
	if err != nil || loaded.Version != "v1.2.3" || loaded.SHA256 != out.SHA256 {
		t.Fatalf("%+v, %v", loaded, err)
	}
	for name, content := range from.images {
		if to.images[name] != content {
			t.Errorf("%s is %q", name, to.images[name])
		}
	}
	if all := strings.Join(shown, "\n"); !strings.Contains(all, "verify "+p.File) || !strings.Contains(all, "load mongo:8.0") {
		t.Errorf("shown: %s", all)
	}
	// The program can be taken out with tar alone.
	r := tar.NewReader(bytes.NewReader(data))
	for h, err := r.Next(); err == nil; h, err = r.Next() {
		if h.Name == "appliance" {
			program, _ := io.ReadAll(r)
			if string(program) != "the program" || h.Mode != 0o755 {
				t.Errorf("%q, mode %o", program, h.Mode)
			}
			return
		}
	}
	t.Error("the program is not in it")
}

// altered rewrites the members of a bundle.
func altered(t *testing.T, data []byte, change func(h *tar.Header, content []byte) (*tar.Header, []byte)) []byte {
	t.Helper()
	var out bytes.Buffer
	r, w := tar.NewReader(bytes.NewReader(data)), tar.NewWriter(&out)
	for {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		content, _ := io.ReadAll(r)
		if h, content = change(h, content); h == nil {
			continue
		}
		h.Size = int64(len(content))
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		_, _ = w.Write(content)
	}
	_ = w.Close()
	return out.Bytes()
}

// only applies a change to one member.
func only(name string, change func([]byte) []byte) func(*tar.Header, []byte) (*tar.Header, []byte) {
	return func(h *tar.Header, content []byte) (*tar.Header, []byte) {
		if h.Name == name {
			content = change(content)
		}
		return h, content
	}
}

func without(name string) func(*tar.Header, []byte) (*tar.Header, []byte) {
	return func(h *tar.Header, content []byte) (*tar.Header, []byte) {
		if h.Name == name {
			return nil, nil
		}
		return h, content
	}
}

func TestWhatIsNoWholeBundleLoadsNothing(t *testing.T) {
	p, _ := made(t, full())
	whole, err := os.ReadFile(p.File)
	if err != nil {
		t.Fatal(err)
	}
	cases := map[string][]byte{
		"empty":                     {},
		"something else":            []byte(strings.Repeat("no tar at all\n", 100)),
		"an image that was altered": altered(t, whole, only("images/02.tar.gz", func(b []byte) []byte { b[len(b)-1] ^= 1; return b })),
		"another program":           altered(t, whole, only("appliance", func([]byte) []byte { return []byte("bad") })),
		"another lock":              altered(t, whole, only("images.lock", func([]byte) []byte { return []byte("{}") })),
		"another description":       altered(t, whole, only("bundle.json", func(b []byte) []byte { return bytes.Replace(b, []byte("mongo"), []byte("wrong"), 1) })),
		"an image that is missing":  altered(t, whole, without("images/01.tar.gz")),
		"no checksums":              altered(t, whole, without("SHA256SUMS")),
		"a checksum too few": altered(t, whole, only("SHA256SUMS", func(b []byte) []byte {
			return b[bytes.IndexByte(b, '\n')+1:]
		})),
		"an image that the checksums do not list": altered(t, whole, func(h *tar.Header, content []byte) (*tar.Header, []byte) {
			if h.Name == "images/02.tar.gz" {
				h.Name = "images/03.tar.gz"
			}
			return h, content
		}),
		"a path that leads out": altered(t, whole, func(h *tar.Header, content []byte) (*tar.Header, []byte) {
			if h.Name == "appliance" {
				h.Name = "../../etc/passwd"
			}
			return h, content
		}),
		"a link": altered(t, whole, func(h *tar.Header, content []byte) (*tar.Header, []byte) {
			if h.Name == "images.lock" {
				h.Typeflag, h.Linkname, content = tar.TypeSymlink, "/etc/passwd", nil
			}
			return h, content
		}),
	}
	for n := 1; n < 8; n++ {
		cases[fmt.Sprintf("%d eighths", n)] = whole[:len(whole)*n/8]
	}
	to := &engine{images: map[string]string{}}
	images := docker(t, to)
	for what, data := range cases {
		file := filepath.Join(t.TempDir(), "b.tar")
		if err := os.WriteFile(file, data, 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := bundle.Load(t.Context(), images, file, "", quiet)
		damaged, ok := errors.AsType[*bundle.DamagedError](err)
		if !ok || damaged.Hint() == "" {
			t.Errorf("%s: %v", what, err)
		}
	}
	if _, err := bundle.Load(t.Context(), images, p.File, strings.Repeat("0", 64), quiet); err == nil || !strings.Contains(err.Error(), "its SHA-256 is") {
		t.Errorf("another checksum than was promised: %v", err)
	}
	stopped, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := bundle.Load(stopped, images, p.File, "", quiet); !errors.Is(err, context.Canceled) {
		t.Errorf("interrupted: %v", err)
	}
	if to.loads > 0 || len(to.images) > 0 {
		t.Errorf("%d were loaded", to.loads)
	}
}

func TestAnImageThatIsAnotherAfterwardsIsAnError(t *testing.T) {
	p, out := made(t, full())
	to := &engine{images: map[string]string{}, empty: true}
	if _, err := bundle.Load(t.Context(), docker(t, to), p.File, out.SHA256, quiet); err == nil || !strings.Contains(err.Error(), "after loading, and should be sha256:") {
		t.Errorf("%v", err)
	}
}

func TestABundleThatCannotBeMadeLeavesNothing(t *testing.T) {
	e := full()
	p, _ := made(t, e)
	if _, err := bundle.Create(t.Context(), docker(t, e), p); err == nil || !strings.Contains(err.Error(), "is there already") {
		t.Errorf("it was overwritten: %v", err)
	}
	p.File, p.Program = filepath.Join(filepath.Dir(p.File), "other.tar"), "/nonexistent"
	if _, err := bundle.Create(t.Context(), docker(t, e), p); err == nil {
		t.Error("made without a program")
	}
	if left, _ := os.ReadDir(filepath.Dir(p.File)); len(left) != 2 {
		t.Errorf("it left %v", left)
	}
}

// Memory use does not grow with the size of the images.
func TestABundleOfAnySizeNeedsLittleMemory(t *testing.T) {
	e := full()
	e.huge = 256 << 20
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	made(t, e)
	runtime.ReadMemStats(&after)
	if after.HeapSys > before.HeapSys+48<<20 {
		t.Errorf("the heap grew by %d MB for two images of 256 MB", (after.HeapSys-before.HeapSys)>>20)
	}
}
