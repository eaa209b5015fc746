package stack

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"appliance/bridge/mustrun"
	"appliance/provision/plan"
	"appliance/provision/render"
)

func TestListenHearsEventsAndKeepsTheLastError(t *testing.T) {
	const said = `{"id":"Image nginx","status":"Working","text":"Pulling"}
{"id":"abc","parent_id":"Image nginx","status":"Working","text":"Downloading","current":5,"total":10,"percent":50}
some warning that is no event
{"id":"Container appliance-nginx-1","status":"Error","text":"unhealthy"}
{"error":true,"message":"container appliance-nginx-1 is unhealthy"}
`
	var heard []string
	message := listen(strings.NewReader(said), func(e Event) { heard = append(heard, e.ID) })
	if message != "container appliance-nginx-1 is unhealthy" || len(heard) != 4 {
		t.Errorf("%q, %v", message, heard)
	}
	if message := listen(strings.NewReader("one\ntwo\nthree\nfour\n"), func(Event) {}); message != "two; three; four" {
		t.Errorf("%q", message)
	}
}

func TestProjectNames(t *testing.T) {
	for dir, want := range map[string]string{"/opt/appliance": "appliance", "/srv/My Chat.1": "mychat1", "/": "appliance", "/x/-_a": "a"} {
		if got := BaseName(dir); got != want {
			t.Errorf("%s: %q", dir, got)
		}
	}
}

func TestHealthIsInTheStatusLine(t *testing.T) {
	for status, want := range map[string]string{
		"Up 3 minutes (healthy)": "healthy", "Up 3 seconds (health: starting)": "starting", "Up 1 hour (unhealthy)": "unhealthy", "Exited (1)": "",
	} {
		if got := health(status); got != want {
			t.Errorf("%s: %q", status, got)
		}
	}
}

func TestTheLockNamesItsHolder(t *testing.T) {
	s := &Stack{Dir: filepath.Join(t.TempDir(), "new")}
	unlock, err := s.Lock()
	if err != nil {
		t.Fatal(err)
	}
	_, err = s.Lock()
	locked, ok := errors.AsType[*LockedError](err)
	if !ok || !strings.HasPrefix(locked.Holder, "pid ") || !strings.Contains(locked.Holder, " since 20") {
		t.Errorf("%v", err)
	}
	unlock()
	if unlock, err = s.Lock(); err != nil {
		t.Errorf("after it was let go: %v", err)
	} else {
		unlock()
	}
}

func TestPurgeKeepsCertificates(t *testing.T) {
	s := &Stack{Dir: t.TempDir()}
	for _, name := range []string{"data/certs/live/a.pem", "data/postgres/base", "secrets/x", "compose.yaml"} {
		_ = os.MkdirAll(filepath.Dir(s.path(name)), 0o700)
		if err := os.WriteFile(s.path(name), []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Tree().Purge(".purged"); err != nil {
		t.Fatal(err)
	}
	var left []string
	_ = filepath.WalkDir(s.Dir, func(name string, d os.DirEntry, _ error) error {
		if !d.IsDir() {
			left = append(left, strings.TrimPrefix(name, s.Dir+"/"))
		}
		return nil
	})
	if !slices.Equal(left, []string{"data/certs/live/a.pem"}) {
		t.Errorf("%v", left)
	}
}

func TestFilesAreWrittenAndObserved(t *testing.T) {
	s := &Stack{Dir: t.TempDir()}
	files := render.Files{"config/a": {Mode: 0o640, Data: []byte("a")}, "config/b": {Mode: 0o600, Data: []byte("b")}}
	dirs := []render.Dir{{Path: "config", Mode: 0o700}}
	if got := s.Tree().missingDirs(dirs); len(got) != 1 {
		t.Errorf("missing %v", got)
	}
	if err := s.Tree().MakeDirs(dirs); err != nil {
		t.Fatal(err)
	}
	if err := s.Tree().Write(files, []string{"config/a"}); err != nil {
		t.Fatal(err)
	}
	disk, err := s.Tree().disk(files)
	if err != nil || !disk["config/a"].Exists || disk["config/a"].Mode != 0o640 || string(disk["config/a"].Data) != "a" || disk["config/b"].Exists {
		t.Errorf("%+v, %v", disk, err)
	}
	m := plan.Manifest{Version: 1, Files: map[string]plan.Record{"config/a": {Rendered: "x"}}, Permanent: map[string]string{"server_name": "a.test"}}
	if err := s.Tree().SaveManifest(m); err != nil {
		t.Fatal(err)
	}
	if got, err := s.Tree().Manifest(); err != nil || got.Files["config/a"].Rendered != "x" || got.Permanent["server_name"] != "a.test" {
		t.Errorf("%+v, %v", got, err)
	}
}

// Directories of a deleted installation that Docker recreated, owned by root, get their owner.
func TestADirectoryThatDockerMadeGetsItsOwner(t *testing.T) {
	if os.Geteuid() != 0 {
		mustrun.Skip(t, "only root gives files away")
	}
	s := &Stack{Dir: t.TempDir()}
	dirs := []render.Dir{{Path: "data", Mode: 0o755, User: 0}, {Path: "data/postgres", Mode: 0o700, User: 999}, {Path: "data/full", Mode: 0o700, User: 999}}
	for _, d := range []string{"data/postgres", "data/full/base"} {
		if err := os.MkdirAll(s.path(d), 0o755); err != nil { //nolint:gosec // as Docker does
			t.Fatal(err)
		}
	}
	if got := s.Tree().missingDirs(dirs); !slices.Equal(got, []string{"data/postgres"}) {
		t.Errorf("missing %v", got)
	}
	if err := s.Tree().MakeDirs(dirs); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(s.path("data/postgres"))
	if err != nil || info.Mode().Perm() != 0o700 || info.Sys().(*syscall.Stat_t).Uid != 999 {
		t.Errorf("%v: %v", info, err)
	}
}

func TestVariablesOfTheShellDoNotReachCompose(t *testing.T) {
	t.Setenv("HTTP_PORT", "9999")
	t.Setenv("COMPOSE_FILE", "other.yaml")
	t.Setenv("DOCKER_HOST", "unix:///x")
	t.Setenv("COMPOSE_PROJECT_NAME", "another")
	env := (&Stack{Dir: t.TempDir(), Project: "ours"}).command(t.Context(), "compose", "up").Env
	theirs := func(e string) bool {
		return strings.HasPrefix(e, "HTTP_PORT=") || strings.HasPrefix(e, "COMPOSE_") && e != "COMPOSE_PROJECT_NAME=ours"
	}
	if slices.ContainsFunc(env, theirs) || !slices.Contains(env, "DOCKER_HOST=unix:///x") || !slices.Contains(env, "COMPOSE_PROJECT_NAME=ours") {
		t.Errorf("%v", env)
	}
}

func TestNoTwoInstallationsShareAName(t *testing.T) {
	root := t.TempDir()
	names := map[string]string{}
	for _, dir := range []string{"one/chat", "two/chat", "one/Chat", "one/chat/chat"} {
		name := ProjectName(filepath.Join(root, dir))
		if other, taken := names[name]; taken || BaseName("/"+name) != name {
			t.Errorf("%s is called %s, as is %q", dir, name, other)
		}
		names[name] = dir
	}
	// The same directory by another path, before and after it exists.
	before := ProjectName(filepath.Join(root, "real/chat"))
	if err := errors.Join(os.MkdirAll(filepath.Join(root, "real/chat"), 0o755), os.Symlink("real", filepath.Join(root, "link"))); err != nil { //nolint:gosec // as an installation has it
		t.Fatal(err)
	}
	for _, dir := range []string{"real/chat", "link/chat"} {
		if got := ProjectName(filepath.Join(root, dir)); got != before {
			t.Errorf("%s is called %s, and was %s", dir, got, before)
		}
	}
	// An installation keeps its name, whether an earlier version or this one created it.
	s := &Stack{Dir: filepath.Join(root, "real/chat"), Project: ""}
	old := plan.Manifest{Version: 1, Files: map[string]plan.Record{".env": {Rendered: "x"}}}
	if err := s.Tree().SaveManifest(old); err != nil {
		t.Fatal(err)
	}
	if got := projectOf(s.Dir); got != "chat" {
		t.Errorf("an old installation is called %s", got)
	}
	s.Project = "elsewhere-0123"
	if err := s.Tree().SaveManifest(old); err != nil {
		t.Fatal(err)
	}
	if got := projectOf(s.Dir); got != "elsewhere-0123" {
		t.Errorf("one with a recorded name is called %s", got)
	}
}
