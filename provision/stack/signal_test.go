package stack

import (
	"os"
	"syscall"
	"testing"
	"time"

	"appliance/bridge/mustrun"
	"appliance/provision/render"
)

// A service that was told to reload is still restarted when it later ends on its own.
func TestAServiceThatReloadedStartsAgain(t *testing.T) {
	t.Parallel()
	s := onThisMachine(t)
	image := render.Images()["NGINX_IMAGE"]
	if have, err := s.Images().present(t.Context(), []string{image}); err != nil || !have[image] {
		mustrun.Skip(t, "the image "+image+" is not on this machine")
	}
	if os.Geteuid() != 0 {
		mustrun.Skip(t, "only root ends the process of a container")
	}
	s.Project = "appliance-signal"
	if err := os.MkdirAll(s.Dir, 0o755); err != nil { //nolint:gosec // as an installation has it
		t.Fatal(err)
	}
	file := "name: " + s.Project + "\nservices: {one: {image: \"" + image + "\", entrypoint: [sh, -c, 'trap : HUP; while :; do sleep 0.1; done'], restart: unless-stopped, stop_grace_period: 0s}}\n"
	if err := os.WriteFile(s.path("compose.yaml"), []byte(file), 0o600); err != nil {
		t.Fatal(err)
	}
	quiet := func(Event) {}
	defer func() { _ = s.Compose().Down(t.Context(), true, quiet) }()
	if err := s.Compose().Up(t.Context(), quiet); err != nil {
		t.Fatal(err)
	}
	// A container that ends within its first ten seconds is restarted all the same.
	if err := s.Signal(t.Context(), "one", "HUP"); err != nil {
		t.Fatal(err)
	}
	pid := func() int {
		services, err := s.Services(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		info, err := s.api(t.Context()).ContainerInspect(t.Context(), services["one"].ID)
		if err != nil {
			t.Fatal(err)
		}
		return info.State.Pid
	}
	first := pid()
	if err := syscall.Kill(first, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(30 * time.Second); ; {
		if now := pid(); now != 0 && now != first {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal("the service was not started again")
		}
		<-time.After(100 * time.Millisecond)
	}
}
