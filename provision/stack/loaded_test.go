package stack

import (
	"context"
	"errors"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"appliance/bridge/mustrun"
	"appliance/provision/plan"
	"appliance/provision/render"
)

// A site is the web server of the stack alone, run by Compose, with a configuration
// file that people edit.
type site struct {
	*Stack
	t *testing.T
}

const (
	siteFile  = "config/nginx/nginx.conf"
	closedWay = "location /metrics { return 404; }"
	openWay   = "location /metrics { return 200; }"
)

func newSite(t *testing.T) *site {
	t.Helper()
	s := &site{onThisMachine(t), t}
	image := render.Images()["NGINX_IMAGE"]
	if have, err := s.Images().present(t.Context(), []string{image}); err != nil || !have[image] {
		mustrun.Skip(t, "the image "+image+" is not on this machine")
	}
	s.write(closedWay)
	file := "services: {nginx: {image: \"" + image + "\", entrypoint: [nginx, -e, /dev/stderr, -c, /etc/appliance-nginx/nginx.conf], user: \"101:101\", stop_grace_period: 1s," +
		" networks: [app], volumes: [\"./config/nginx:/etc/appliance-nginx:ro\"]}}\nnetworks: {app: {}}\n"
	if err := s.Tree().Write(render.Files{"compose.yaml": {Mode: 0o644, Data: []byte(file)}}, []string{"compose.yaml"}); err != nil {
		t.Fatal(err)
	}
	quiet := func(Event) {}
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(docker(t, "logs", s.Project+"-nginx-1"))
		}
		_ = s.Compose().Down(context.WithoutCancel(t.Context()), true, quiet)
	})
	if err := s.Compose().Up(t.Context(), quiet); err != nil {
		t.Fatal(err)
	}
	return s
}

func (s *site) write(way string) {
	s.t.Helper()
	text := "daemon off;\npid /tmp/nginx.pid;\nevents {}\nhttp {\naccess_log off;\nproxy_temp_path /tmp/p; client_body_temp_path /tmp/c; fastcgi_temp_path /tmp/f; uwsgi_temp_path /tmp/u; scgi_temp_path /tmp/s;\nserver {\nlisten 3000;\n" + way + "\n}\n}\n"
	err := s.Tree().MakeDirs([]render.Dir{{Path: "config/nginx", Mode: 0o755}})
	if err == nil {
		err = s.Tree().Write(render.Files{siteFile: {Mode: 0o644, Data: []byte(text)}}, []string{siteFile})
	}
	if err != nil {
		s.t.Fatal(err)
	}
}

// runs checks the status that a visitor gets.
func (s *site) runs(status int) {
	s.t.Helper()
	services, err := s.Services(s.t.Context())
	if err != nil {
		s.t.Fatal(err)
	}
	got := 0
	until := time.Now().Add(10 * time.Second)
	for tick := time.NewTicker(20 * time.Millisecond); time.Now().Before(until); <-tick.C {
		req, err := http.NewRequestWithContext(s.t.Context(), http.MethodGet, "http://"+services["nginx"].Address+":3000/metrics", nil)
		if err != nil {
			s.t.Fatal(err)
		}
		res, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(req)
		if err != nil {
			continue // it does not listen yet
		}
		_ = res.Body.Close()
		if got = res.StatusCode; got == status {
			return
		}
	}
	s.t.Errorf("/metrics answers %d, want %d", got, status)
}

// stale checks which files on disk are known not to be in force.
func (s *site) stale(want string) {
	s.t.Helper()
	list, err := s.Loaded().Stale(s.t.Context())
	if got := strings.Join(list["nginx"], " "); err != nil || got != want || len(list) > 1 {
		s.t.Errorf("not in force are %v, want %q (%v)", list, want, err)
	}
}

func (s *site) load() error {
	s.t.Helper()
	starts, err := s.Loaded().Starts(s.t.Context())
	if err != nil {
		s.t.Fatal(err)
	}
	err = s.Loaded().Restart(s.t.Context(), starts, true, "nginx")
	if again := s.Loaded().Remember(s.t.Context()); again != nil {
		s.t.Fatal(again)
	}
	return err
}

// TestWhatIsOnDiskIsWhatRuns edits the configuration of a running web server in the ways
// that people do: files that are not in force are known, and can be loaded.
func TestWhatIsOnDiskIsWhatRuns(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.stale("")
	s.runs(http.StatusNotFound)
	if err := s.Loaded().Remember(t.Context()); err != nil {
		t.Fatal(err)
	}

	// Edited, and not loaded.
	s.write(openWay)
	s.runs(http.StatusNotFound)
	s.stale(siteFile)
	if err := s.Loaded().Remember(t.Context()); err != nil { // as any other command does meanwhile
		t.Fatal(err)
	}
	s.stale(siteFile)
	if err := s.load(); err != nil {
		t.Fatal(err)
	}
	s.runs(http.StatusOK)
	s.stale("")

	// Reverted after a manual restart with an edit.
	s.write(closedWay)
	if err := s.load(); err != nil {
		t.Fatal(err)
	}
	s.write(openWay)
	docker(t, "restart", "--time", "1", s.Project+"-nginx-1")
	s.runs(http.StatusOK)
	s.stale("")
	s.write(closedWay)
	s.stale(siteFile)
	if err := s.load(); err != nil {
		t.Fatal(err)
	}
	s.runs(http.StatusNotFound)
	s.stale("")

	// Writing the same content again is no change.
	s.write(closedWay)
	s.stale("")

	// A configuration that it would not start with is not loaded.
	s.write("no such thing;")
	refused, ok := errors.AsType[*RefusedError](s.load())
	if !ok || !strings.Contains(refused.Said, `unknown directive "no"`) {
		t.Errorf("a file that is no configuration: %v", refused)
	}
	s.runs(http.StatusNotFound)
	s.stale(siteFile)
}

func TestEditsOfTheBridgeThatItReadsByItselfAreInForce(t *testing.T) {
	s := &Stack{Dir: t.TempDir(), Project: "x"}
	files := render.Files{plan.BridgeFile: rendered(t)[plan.BridgeFile]}
	identity := func(from, to string) string {
		f := files[plan.BridgeFile]
		f.UID, f.GID = os.Getuid(), os.Getgid()
		f.Data = []byte(strings.Replace(string(f.Data), from, to, 1))
		if err := s.Tree().MakeDirs([]render.Dir{{Path: "config/bridge", Mode: 0o755}}); err != nil {
			t.Fatal(err)
		}
		if err := s.Tree().Write(render.Files{plan.BridgeFile: f}, []string{plan.BridgeFile}); err != nil {
			t.Fatal(err)
		}
		got, _, err := s.Loaded().reads("bridge")
		if err != nil {
			t.Fatal(err)
		}
		return got[plan.BridgeFile]
	}
	if was := identity("", ""); identity("enabled: true", "enabled: false") != was || identity("http://rocketchat:3000", "http://rocketchat:3001") == was {
		t.Error("a live key must not count, and a fixed one must")
	}
}
