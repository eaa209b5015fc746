package selfupdate_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"aead.dev/minisign"

	"appliance/provision/selfupdate"
)

// A release is on a web server that can misbehave.
type release struct {
	*httptest.Server
	key     minisign.PrivateKey
	mu      sync.Mutex
	program []byte
	sums    string // "" for the correct ones
	version string // that is signed
	sign    func(key minisign.PrivateKey, sums []byte, version string) []byte
	cut     int      // bytes after which the connection is cut, 0 for never
	slow    bool     // sends a little at a time
	noRange bool     // always sends from the beginning
	ranges  []string // that were requested
}

func newRelease(t *testing.T, program []byte) *release {
	t.Helper()
	r := &release{key: newKey(t), program: program, version: "v2.0.0", sign: func(key minisign.PrivateKey, sums []byte, version string) []byte {
		out, err := selfupdate.Sign(key, sums, version, time.Unix(1_700_000_000, 0))
		if err != nil {
			t.Error(err)
		}
		return out
	}}
	r.Server = httptest.NewUnstartedServer(http.HandlerFunc(r.serve))
	r.Config.ErrorLog = log.New(io.Discard, "", 0) // of clients that do not trust it
	r.StartTLS()
	t.Cleanup(r.Close)
	return r
}

func newKey(t *testing.T) minisign.PrivateKey {
	t.Helper()
	_, key, err := minisign.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// public returns the half of a key that a program is built with.
func public(key minisign.PrivateKey) string { return key.Public().(minisign.PublicKey).String() }

func sum(data []byte) string { s := sha256.Sum256(data); return hex.EncodeToString(s[:]) }

func (r *release) set(change func(*release)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	change(r)
}

func (r *release) asked() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.ranges
}

func (r *release) serve(w http.ResponseWriter, req *http.Request) {
	r.mu.Lock()
	program, sums, cut, slow, noRange := r.program, r.sums, r.cut, r.slow, r.noRange
	version, sign := r.version, r.sign
	r.mu.Unlock()
	if sums == "" {
		sums = fmt.Sprintf("%s  other_file\n%s  %s\n", sum(nil), strings.ToUpper(sum(program)), selfupdate.Name())
	}
	switch req.URL.Path {
	case "/v2/SHA256SUMS":
		_, _ = w.Write([]byte(sums))
	case "/v2/SHA256SUMS.minisig":
		if signature := sign(r.key, []byte(sums), version); signature != nil {
			_, _ = w.Write(signature)
			return
		}
		http.NotFound(w, req)
	case "/v2/" + selfupdate.Name():
		r.set(func(r *release) { r.ranges = append(r.ranges, req.Header.Get("Range")) })
		if noRange {
			req.Header.Del("Range")
		}
		out := &unpleasant{ResponseWriter: w, cut: cut, slow: slow}
		http.ServeContent(out, req, "", time.Time{}, bytes.NewReader(program))
	case "/v2/plain":
		http.Redirect(w, req, "http://"+req.Host+"/", http.StatusFound)
	default:
		http.NotFound(w, req)
	}
}

type unpleasant struct {
	http.ResponseWriter
	cut  int
	slow bool
	n    int
}

func (u *unpleasant) Write(p []byte) (int, error) {
	written := 0
	for len(p) > 0 {
		part := p[:min(len(p), 4096)]
		if u.cut > 0 && u.n >= u.cut {
			panic(http.ErrAbortHandler)
		}
		n, err := u.ResponseWriter.Write(part)
		written, u.n, p = written+n, u.n+n, p[len(part):]
		if err != nil {
			return written, err
		}
		if u.slow {
			_ = http.NewResponseController(u.ResponseWriter).Flush()
			time.Sleep(time.Millisecond) // this makes it slow
		}
	}
	return written, nil
}

// program returns a script that prints says, padded with size bytes of noise.
func program(says string, size int) []byte {
	head := []byte("#!/bin/sh\necho " + says + "\nexit\n")
	tail := make([]byte, size)
	r := rand.New(rand.NewPCG(7, uint64(size))) //nolint:gosec // noise
	for i := range tail {
		tail[i] = byte(r.Uint32())
	}
	return append(head, tail...)
}

func installed(t *testing.T) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "appliance")
	if err := os.WriteFile(name, program("old", 1000), 0o755); err != nil { //nolint:gosec // a program
		t.Fatal(err)
	}
	return name
}

func says(t *testing.T, name string) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), name).CombinedOutput()
	if err != nil {
		t.Fatalf("%s does not run: %v", name, err)
	}
	return strings.TrimSpace(string(out))
}

func try(ctx context.Context, name string) error { return exec.CommandContext(ctx, name).Run() }

func (r *release) options(program string) selfupdate.Options {
	return selfupdate.Options{Program: program, Release: r.URL + "/v2", Client: r.Client(), Try: try, Version: "v1.9.0", Keys: []string{"", public(r.key)}}
}

// beside lists the other files in the directory of a program.
func beside(t *testing.T, program string) (names []string) {
	t.Helper()
	entries, err := os.ReadDir(filepath.Dir(program))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if e.Name() != filepath.Base(program) {
			names = append(names, e.Name())
		}
	}
	return names
}

func TestAnUpdateAndTheWayBack(t *testing.T) {
	r, name := newRelease(t, program("new", 300_000)), installed(t)
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(name, link); err != nil {
		t.Fatal(err)
	}
	out, err := selfupdate.Run(t.Context(), r.options(link))
	if err != nil || !out.Changed || out.SHA256 != sum(r.program) || out.Version != "v2.0.0" {
		t.Fatalf("%+v, %v", out, err)
	}
	if says(t, name) != "new" || says(t, out.Previous) != "old" || len(beside(t, name)) != 1 {
		t.Errorf("beside it: %v", beside(t, name))
	}
	if info, _ := os.Lstat(name); info.Mode() != 0o755 {
		t.Errorf("mode %v", info.Mode())
	}
	if out, err := selfupdate.Run(t.Context(), r.options(name)); err != nil || out.Changed || len(r.asked()) != 1 {
		t.Errorf("again: %+v, %v, %v", out, err, r.asked())
	}
	for _, want := range []string{"old", "new", "old"} {
		if err := selfupdate.Back(link); err != nil || says(t, name) != want {
			t.Errorf("went to %s: %v", says(t, name), err)
		}
	}
	if err := selfupdate.Back(installed(t)); err == nil || !strings.Contains(err.Error(), "no other program") {
		t.Errorf("%v", err)
	}
}

func TestWhatIsNotRightIsRefusedAndLeavesNothing(t *testing.T) {
	for what, c := range map[string]struct {
		change func(*release, *selfupdate.Options)
		says   string
	}{
		"altered on its way":          {func(r *release, _ *selfupdate.Options) { r.sums = strings.Repeat("0", 64) + "  " + selfupdate.Name() }, "has the checksum"},
		"another than was promised":   {func(_ *release, o *selfupdate.Options) { o.SHA256 = strings.Repeat("1", 64) }, "has the checksum"},
		"a promise that is none":      {func(_ *release, o *selfupdate.Options) { o.SHA256 = "beef" }, "is not a SHA-256"},
		"for other hosts":             {func(r *release, _ *selfupdate.Options) { r.sums = strings.Repeat("0", 64) + "  appliance_plan9_mips" }, "does not name appliance_"},
		"sums that are a web page":    {func(r *release, _ *selfupdate.Options) { r.sums = "<html>" }, "does not name appliance_"},
		"no release":                  {func(_ *release, o *selfupdate.Options) { o.Release = strings.Replace(o.Release, "v2", "v9", 1) }, "404"},
		"without TLS":                 {func(_ *release, o *selfupdate.Options) { o.Release = strings.Replace(o.Release, "https", "http", 1) }, "is not the https address"},
		"from an unknown authority":   {func(_ *release, o *selfupdate.Options) { o.Client = nil }, "cannot be downloaded"},
		"a program that does not run": {func(r *release, _ *selfupdate.Options) { r.program = []byte("#!/bin/sh\nexit 3\n") }, "does not start: exit status 3"},
		"for another processor":       {func(r *release, _ *selfupdate.Options) { r.program = []byte("\x7fELF nothing of ours") }, "does not start"},
	} {
		t.Run(what, func(t *testing.T) {
			r, name := newRelease(t, program("new", 100_000)), installed(t)
			o := r.options(name)
			r.set(func(r *release) { c.change(r, &o) })
			_, err := selfupdate.Run(t.Context(), o)
			if err == nil || !strings.Contains(err.Error(), c.says) {
				t.Errorf("got %v, want %q", err, c.says)
			}
			var hinted interface{ Hint() string }
			if !errors.As(err, &hinted) || hinted.Hint() == "" {
				t.Errorf("%v has no hint", err)
			}
			if says(t, name) != "old" || len(beside(t, name)) > 0 {
				t.Errorf("it says %s; beside it: %v", says(t, name), beside(t, name))
			}
		})
	}
}

func TestAProgramOfAPackageIsLeftToThePackageManager(t *testing.T) {
	r, dir := newRelease(t, program("new", 1000)), t.TempDir()
	name, marker := filepath.Join(dir, "bin/appliance"), filepath.Join(dir, "lib/appliance/package")
	for _, file := range []string{name, marker} {
		if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o755), os.WriteFile(file, program("old", 10), 0o755)); err != nil { //nolint:gosec // a program
			t.Fatal(err)
		}
	}
	if _, err := selfupdate.Run(t.Context(), r.options(name)); err == nil || !strings.Contains(err.Error(), "was installed as a package") {
		t.Errorf("%v", err)
	}
	if says(t, name) != "old" {
		t.Error("it was replaced")
	}
	if err := os.Remove(marker); err != nil {
		t.Fatal(err)
	}
	if _, err := selfupdate.Run(t.Context(), r.options(name)); err != nil || says(t, name) != "new" {
		t.Errorf("%v", err)
	}
}

func TestAnInterruptedDownloadGoesOn(t *testing.T) {
	r, name := newRelease(t, program("new", 300_000)), installed(t)
	r.set(func(r *release) { r.cut = 100_000 })
	for range 2 {
		if _, err := selfupdate.Run(t.Context(), r.options(name)); err == nil || !strings.Contains(err.Error(), "the download ended after") {
			t.Fatalf("%v", err)
		}
		if says(t, name) != "old" || len(beside(t, name)) != 1 {
			t.Fatalf("beside it: %v", beside(t, name))
		}
	}
	r.set(func(r *release) { r.cut = 0 })
	if _, err := selfupdate.Run(t.Context(), r.options(name)); err != nil || says(t, name) != "new" {
		t.Fatalf("%v", err)
	}
	asked := r.asked()
	if len(asked) != 3 || asked[0] != "" || !strings.HasPrefix(asked[1], "bytes=") || !strings.HasPrefix(asked[2], "bytes=") || asked[1] == asked[2] {
		t.Errorf("asked for %q", asked)
	}

	// If the server cannot resume, the download starts from the beginning.
	r, name = newRelease(t, program("new", 300_000)), installed(t)
	r.set(func(r *release) { r.cut, r.noRange = 100_000, true })
	_, _ = selfupdate.Run(t.Context(), r.options(name))
	r.set(func(r *release) { r.cut = 0 })
	if _, err := selfupdate.Run(t.Context(), r.options(name)); err != nil || says(t, name) != "new" {
		t.Errorf("%v", err)
	}
}

func TestADamagedDownloadIsRepeated(t *testing.T) {
	r, name := newRelease(t, program("new", 300_000)), installed(t)
	for _, left := range [][]byte{make([]byte, 100_000), make([]byte, len(r.program)), make([]byte, 2*len(r.program))} {
		part := filepath.Join(filepath.Dir(name), ".appliance-"+sum(r.program)[:16]+".part")
		if err := os.WriteFile(part, left, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := selfupdate.Run(t.Context(), r.options(name)); err != nil || says(t, name) != "new" {
			t.Errorf("%d bytes were left: %v", len(left), err)
		}
		if err := selfupdate.Back(name); err != nil {
			t.Fatal(err)
		}
	}
}

// TestKilled kills the program during its update again and again, a moment later each
// time: the program on disk always runs, and in the end it is the new one.
func TestKilled(t *testing.T) {
	if target := os.Getenv("SELFUPDATE_KILLED"); target != "" {
		_, err := selfupdate.Run(t.Context(), selfupdate.Options{Program: target, Release: os.Getenv("SELFUPDATE_RELEASE"), Keys: []string{os.Getenv("SELFUPDATE_KEY")}, Try: try})
		if err != nil {
			t.Fatal(err)
		}
		return
	}
	r, name := newRelease(t, program("new", 400_000)), installed(t)
	r.set(func(r *release) { r.slow = true })
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, pemOf(r.Certificate().Raw), 0o600); err != nil {
		t.Fatal(err)
	}
	killed := 0
	for says(t, name) != "new" {
		if killed > 200 {
			t.Fatal("it never gets done")
		}
		cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestKilled$")
		cmd.Env = append(os.Environ(), "SELFUPDATE_KILLED="+name, "SELFUPDATE_RELEASE="+r.URL+"/v2", "SELFUPDATE_KEY="+public(r.key), "SSL_CERT_FILE="+ca)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		ended := make(chan struct{})
		go func() { _ = cmd.Wait(); close(ended) }()
		select { // a moment later every time
		case <-time.After(time.Duration(10+3*killed) * time.Millisecond):
			_ = cmd.Process.Kill()
			<-ended
		case <-ended:
		}
		killed++
	}
	asked := r.asked()
	if killed < 3 || !strings.HasPrefix(asked[len(asked)-1], "bytes=") {
		t.Errorf("killed %d times, asked for %q", killed, asked)
	}
	t.Logf("killed %d times, %d downloads begun", killed, len(asked))
}

func pemOf(der []byte) []byte { return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}) }
