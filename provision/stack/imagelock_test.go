package stack

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"log"
	"net/http/httptest"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/registry"
)

// A locker is a stack whose Compose file names images of its own registry.
type locker struct {
	*Stack
	t    *testing.T
	host string // of the registry
}

func newLocker(t *testing.T) *locker {
	l := &locker{Stack: onThisMachine(t), t: t}
	l.Project = "appliance-lock"
	srv := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
	t.Cleanup(srv.Close)
	l.host = strings.TrimPrefix(srv.URL, "http://")
	if err := os.MkdirAll(l.Dir, 0o755); err != nil { //nolint:gosec // as an installation has it
		t.Fatal(err)
	}
	return l
}

func (l *locker) docker(args ...string) string {
	l.t.Helper()
	out, err := exec.Command("docker", args...).CombinedOutput()
	if err != nil {
		l.t.Fatalf("docker %v: %v\n%s", args, err, out)
	}
	return strings.TrimSpace(string(out))
}

// build makes an image with one file in it and returns its ID.
func (l *locker) build(name, content string) string {
	l.t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	_ = w.WriteHeader(&tar.Header{Name: "content", Mode: 0o644, Size: int64(len(content))})
	_, _ = w.Write([]byte(content))
	_ = w.Close()
	cmd := exec.Command("docker", "import", "-", name)
	cmd.Stdin = &b
	if out, err := cmd.CombinedOutput(); err != nil {
		l.t.Fatalf("%v: %s", err, out)
	}
	l.t.Cleanup(func() { _ = exec.Command("docker", "rmi", "--force", name).Run() })
	return l.id(name)
}

func (l *locker) id(name string) string {
	return l.docker("image", "inspect", "--format", "{{.Id}}", name)
}

func (l *locker) names(names ...string) {
	file := "name: " + l.Project + "\nservices:\n"
	for i, name := range names {
		file += "  s" + string(rune('a'+i)) + ": {image: \"" + name + "\"}\n"
	}
	if err := os.WriteFile(l.path("compose.yaml"), []byte(file), 0o600); err != nil {
		l.t.Fatal(err)
	}
}

func (l *locker) holding(name string) Holding {
	l.t.Helper()
	h, err := l.Images().holdings(l.t.Context(), []string{name})
	if err != nil {
		l.t.Fatal(err)
	}
	return h[name]
}

func quietly(string, int64, int64) {}

func TestAnImageThatMovedInItsRegistryComesBackByDigest(t *testing.T) {
	t.Parallel()
	l := newLocker(t)
	name := l.host + "/chat:1"
	first := l.build(name, "first")
	l.docker("push", name)
	l.names(name)
	if h := l.holding(name); h != (Holding{Here: true, Locked: true}) {
		t.Fatalf("before it is locked: %+v", h)
	}
	if err := l.Images().Lock(t.Context()); err != nil {
		t.Fatal(err)
	}
	lock, err := l.Images().Locked()
	if err != nil || lock[name].ID != first || !strings.HasPrefix(lock[name].Digest, "sha256:") || lock[name].Digest == first {
		t.Fatalf("lock %+v, %v", lock, err)
	}
	if info, err := os.Stat(l.path(ImageLockFile)); err != nil || info.Mode().Perm() != 0o644 {
		t.Errorf("%v, %v", info.Mode(), err)
	}

	// Another image is published under the same name and pulled.
	second := l.build(name, "second")
	l.docker("push", name)
	if h := l.holding(name); h != (Holding{Here: true, Recorded: true}) || first == second {
		t.Fatalf("with another image: %+v", h)
	}
	if err := l.Images().Lock(t.Context()); err != nil { // a locked image stays locked
		t.Fatal(err)
	}
	if again, _ := l.Images().Locked(); again[name] != lock[name] {
		t.Fatalf("locked again: %+v", again)
	}
	restore := func(when string) {
		t.Helper()
		if unknown, err := l.Images().RestoreLocked(t.Context(), quietly); err != nil || len(unknown) > 0 {
			t.Fatalf("%s: %v, %v", when, unknown, err)
		}
		if got := l.id(name); got != first {
			t.Fatalf("%s: %s, want %s", when, got, first)
		}
	}
	restore("the old image is still here")
	l.docker("rmi", "--force", first, second)
	restore("it is only in the registry, and its name there belongs to another")
	if h := l.holding(name); h != (Holding{Here: true, Locked: true, Recorded: true}) {
		t.Errorf("in the end: %+v", h)
	}

	// If a registry has lost the image, the error says so, and no other image takes its place.
	lock[name] = LockedImage{ID: "sha256:" + strings.Repeat("0", 64), Digest: "sha256:" + strings.Repeat("1", 64)}
	data, _ := json.Marshal(imageLock{Version: 1, Images: lock})
	if err := os.WriteFile(l.path(ImageLockFile), data, 0o600); err != nil {
		t.Fatal(err)
	}
	_, err = l.Images().RestoreLocked(t.Context(), quietly)
	if lost, ok := errors.AsType[*LostImageError](err); !ok || !strings.Contains(lost.Error(), lock[name].Digest) || l.id(name) != first {
		t.Errorf("%v", err)
	}
}

func TestAnImageThatWasBuiltHereIsLockedByItsID(t *testing.T) {
	t.Parallel()
	l := newLocker(t)
	name := "appliance-lock-test:1"
	first := l.build(name, "first")
	l.names(name)
	if err := l.Images().Lock(t.Context()); err != nil {
		t.Fatal(err)
	}
	if lock, _ := l.Images().Locked(); lock[name] != (LockedImage{ID: first}) {
		t.Fatalf("lock %+v", lock)
	}
	second := l.build(name, "second")
	if h := l.holding(name); h != (Holding{Here: true, Locked: true}) { // its name belongs to its builder
		t.Fatalf("rebuilt: %+v", h)
	}
	if err := l.Images().Lock(t.Context()); err != nil {
		t.Fatal(err)
	}
	if lock, _ := l.Images().Locked(); lock[name].ID != second {
		t.Errorf("lock %+v", lock)
	}
	l.docker("rmi", name)
	if unknown, err := l.Images().RestoreLocked(t.Context(), quietly); err != nil || !slices.Equal(unknown, []string{name}) {
		t.Errorf("an image that is nowhere: %v, %v", unknown, err)
	}
}

func TestDigestsAreThoseOfTheNamesRepository(t *testing.T) {
	for name, want := range map[string]string{
		"postgres:17": "sha256:a", "ghcr.io/x/y:v1": "sha256:b", "localhost:5000/z": "sha256:c", "other:17": "",
	} {
		got := digestOf(name, []string{"mirror.example.org/postgres@sha256:d", "postgres@sha256:a", "ghcr.io/x/y@sha256:b", "localhost:5000/z@sha256:c"})
		if got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
}
