package config_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"appliance/bridge/config"
)

const good = `
homeserver: {url: "http://homeserver:8008", domain: example.org}
appservice: {url: "http://bridge:29328", hs_token_file: hs, as_token_file: as}
rocketchat: {url: "http://rocketchat:3000", site_url: "https://chat.example.org", user_id: u, token_file: t, create_token_secret_file: c}
database: sqlite:/data/bridge.db
`

func TestDefaultsFillWhatIsLeftOut(t *testing.T) {
	c, err := config.Parse("bridge.yaml", []byte(good))
	if err != nil {
		t.Fatal(err)
	}
	if !c.Enabled || c.LogLevel != "info" || c.AppService.Bot != "rocket.cat" || c.Namespace != "native" || !c.Servers.Allowed("matrix.org") {
		t.Errorf("defaults: %+v", c)
	}
}

func TestEveryProblemIsNamedAtOnce(t *testing.T) {
	_, err := config.Parse("bridge.yaml", []byte("log_level: loud\nhomeserver: {url: 'homeserver:8008/', domain: 'https://x'}\ndatabase: mysql:x\ntrace_percent: 101\ntraces: {endpoint: 'http://me:pw@collector'}\n"))
	if err == nil {
		t.Fatal("accepted")
	}
	for _, want := range []string{
		`log_level: must be one of debug, info, warn, error (got "loud")`,
		`homeserver.url: must be an http or https URL (got "homeserver:8008/")`,
		`homeserver.domain: must be a bare server name (got "https://x")`,
		`rocketchat.user_id: is required`,
		`trace_percent: must be from 0 to 100 (got 101)`,
		`traces.endpoint: must hold no password: a header in traces.headers_file does`,
		`database: must start with "sqlite:" or "postgres:" (it has "mysql")`,
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("missing %q in\n%v", want, err)
		}
	}
}

func TestUnknownKeyIsNamedWithItsLine(t *testing.T) {
	_, err := config.Parse("bridge.yaml", []byte(good+"colour: red\n"))
	if err == nil || !strings.Contains(err.Error(), "line 6: colour: unknown key") {
		t.Errorf("err = %v", err)
	}
}

func TestNothingAfterALineFurtherLeftIsLostSilently(t *testing.T) {
	for _, file := range []string{"  log_level: debug\nenabled: false\n", "log_level: debug\n---\nenabled: false\n"} {
		if c, err := config.Parse("bridge.yaml", []byte(file)); err == nil || strings.Contains(err.Error(), "homeserver") {
			t.Errorf("%q: enabled is %v, %v", file, c.Enabled, err)
		}
	}
}

func TestHeadersAreReadAndNeverQuoted(t *testing.T) {
	got, err := config.Headers([]byte("Authorization: Bearer only-for-tests\n\nX-Scope: a\n"))
	if err != nil || len(got) != 2 || got["Authorization"].Reveal() != "Bearer only-for-tests" || got["X-Scope"].Reveal() != "a" {
		t.Errorf("%v, %v", got, err)
	}
	for _, bad := range []string{"X: 1\nonly-for-tests\n", "X: 1\nonly for tests: x\n", "X: 1\nonly-for-tests: \x01\n"} {
		if _, err := config.Headers([]byte(bad)); err == nil || err.Error() != "line 2 is not a header such as Authorization: Bearer x" {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

func TestReload(t *testing.T) {
	cur, _ := config.Parse("a", []byte(good))
	next := cur
	next.LogLevel = "debug"
	if live, err := config.Reload(cur, next); err != nil || live.LogLevel != "debug" {
		t.Errorf("live = %+v, err = %v", live, err)
	}
	next.Homeserver.URL = "http://other:8008"
	live, err := config.Reload(cur, next)
	if !errors.Is(err, config.ErrNeedsRestart) || err.Error() != "changed homeserver.url: needs a restart" {
		t.Errorf("err = %v", err)
	}
	if live.LogLevel != "info" {
		t.Error("a refused reload changed a live key")
	}
}

func TestDenyBeatsAllow(t *testing.T) {
	s := config.Servers{Allow: []string{"*.example.org", "friends.net"}, Deny: []string{"bad.example.org"}}
	for server, want := range map[string]bool{"a.example.org": true, "BAD.example.org": false, "friends.net": true, "evil.com": false} {
		if got := s.Allowed(server); got != want {
			t.Errorf("Allowed(%q) = %v", server, got)
		}
	}
}

func TestWatchSeesAReplacedFile(t *testing.T) {
	name := filepath.Join(t.TempDir(), "bridge.yaml")
	if err := os.WriteFile(name, []byte("a"), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	changed := make(chan struct{}, 10)
	done := make(chan error, 1)
	go func() { done <- config.Watch(ctx, name, func() { changed <- struct{}{} }) }()
	deadline := time.After(10 * time.Second)
	for i := 0; ; i++ { // the watcher may not be up yet: replace until it notices
		tmp := name + ".tmp"
		if err := os.WriteFile(tmp, []byte{byte(i)}, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(tmp, name); err != nil {
			t.Fatal(err)
		}
		select {
		case <-changed:
			cancel()
			if err := <-done; err != nil {
				t.Fatal(err)
			}
			return
		case <-time.After(300 * time.Millisecond):
		case <-deadline:
			t.Fatal("the change was not noticed")
		}
	}
}

// Kubernetes mounts a ConfigMap as links into a directory that it replaces as a whole: the
// file itself is never touched, but its change is noticed.
func TestWatchSeesAReplacedMount(t *testing.T) {
	dir := t.TempDir()
	name := filepath.Join(dir, "bridge.yaml")
	mount := func(i int) {
		version := fmt.Sprint("..version", i)
		fresh := filepath.Join(dir, "..data_tmp")
		if err := errors.Join(os.Mkdir(filepath.Join(dir, version), 0o700), os.WriteFile(filepath.Join(dir, version, "bridge.yaml"), []byte{byte(i)}, 0o600),
			os.Symlink(version, fresh), os.Rename(fresh, filepath.Join(dir, "..data"))); err != nil {
			t.Fatal(err)
		}
	}
	mount(0)
	if err := os.Symlink(filepath.Join("..data", "bridge.yaml"), name); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	changed := make(chan struct{}, 10)
	go func() { _ = config.Watch(ctx, name, func() { changed <- struct{}{} }) }()
	deadline := time.After(10 * time.Second)
	for i := 1; ; i++ { // the watcher may not be up yet
		mount(i)
		select {
		case <-changed:
			return
		case <-time.After(300 * time.Millisecond):
		case <-deadline:
			t.Fatal("the change was not noticed")
		}
	}
}
