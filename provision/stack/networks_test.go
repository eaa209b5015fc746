package stack

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"appliance/bridge/mustrun"
	"appliance/provision/render"
)

func TestTheContainersMoveToOtherAddresses(t *testing.T) {
	t.Parallel()
	s, image := onNginx(t, "appliance-networks")
	networks := func(set ...string) { // the rendered networks, around one service
		file := string(rendered(t, set...)["compose.yaml"].Data)
		at := strings.Index(file, "\nnetworks:")
		file = "name: " + s.Project + "\nservices: {one: {image: \"" + image + "\", entrypoint: [sleep, infinity], init: true, stop_grace_period: 1s, networks: [edge, app, data]}}\n" + file[at:]
		if err := os.WriteFile(s.path("compose.yaml"), []byte(file), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	quiet := func(Event) {}
	networks()
	if err := s.Compose().Up(t.Context(), quiet); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Compose().Down(t.Context(), true, quiet) }()
	const subnet = "10.213.0.0/24"
	if !s.Engine().Elsewhere(t.Context(), subnet) || s.Engine().Elsewhere(t.Context(), "") {
		t.Fatal("the networks should be where Docker wants them")
	}
	networks("docker_subnet=" + subnet)
	if err := s.Compose().Down(t.Context(), false, quiet); err != nil {
		t.Fatal(err)
	}
	if err := s.Compose().Up(t.Context(), quiet); err != nil {
		t.Fatal(err)
	}
	if s.Engine().Elsewhere(t.Context(), subnet) {
		t.Error("the networks should be where they were told to be")
	}
	have, err := s.Engine().Networking(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]netip.Prefix{}
	for _, n := range have.Networks {
		if n.Ours {
			got[n.Name] = n.Subnets[0]
		}
	}
	for name, want := range map[string]string{"edge": "10.213.0.0/26", "app": "10.213.0.64/26", "data": "10.213.0.128/26"} {
		if got[s.Project+"_"+name] != netip.MustParsePrefix(want) {
			t.Errorf("%s has %s, want %s (%v)", name, got[s.Project+"_"+name], want, got)
		}
	}
}

// onNginx returns an empty stack, and the name of an image that is on this machine.
func onNginx(t *testing.T, project string) (*Stack, string) {
	t.Helper()
	s := onThisMachine(t)
	image := render.Images()["NGINX_IMAGE"]
	if have, err := s.Images().present(t.Context(), []string{image}); err != nil || !have[image] {
		mustrun.Skip(t, "the image "+image+" is not on this machine")
	}
	s.Project = project
	if err := os.MkdirAll(s.Dir, 0o755); err != nil { //nolint:gosec // as an installation has it
		t.Fatal(err)
	}
	return s, image
}

// alone returns a stack of one service.
func alone(t *testing.T, project, service string) *Stack {
	t.Helper()
	s, image := onNginx(t, project)
	file := fmt.Sprintf("name: %s\nservices: {one: {image: %q, init: true, stop_grace_period: 1s, networks: [app], %s}}\nnetworks: {app: {}}\n", project, image, service)
	if err := os.WriteFile(s.path("compose.yaml"), []byte(file), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Compose().Down(context.WithoutCancel(t.Context()), true, func(Event) {}) })
	return s
}

// `docker network prune` removes the networks of stopped containers; Up creates them again.
func TestNetworksThatAreGoneAreMadeAgain(t *testing.T) {
	t.Parallel()
	s := alone(t, "appliance-stranded", "entrypoint: [sleep, infinity]")
	quiet := func(Event) {}
	if err := s.Compose().Up(t.Context(), quiet); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"stop", s.Project + "-one-1"}, {"network", "rm", s.Project + "_app"}} {
		if out, err := exec.CommandContext(t.Context(), "docker", args...).CombinedOutput(); err != nil {
			t.Fatalf("docker %v: %v\n%s", args, err, out)
		}
	}
	if err := s.Compose().Up(t.Context(), quiet); err != nil {
		t.Error(err)
	}
}

// Docker delays the restart of a crashed container by up to a minute. What needs it would crash
// meanwhile, although the cause is gone, so Up starts it at once.
func TestWhatCrashedIsStartedAtOnce(t *testing.T) {
	t.Parallel()
	s := alone(t, "appliance-crashed", `entrypoint: [sh, -c, "test -e /given/cause-is-gone && exec sleep infinity"], restart: always, volumes: ["./given:/given:ro"]`)
	given := filepath.Join(s.Dir, "given")
	if err := os.Mkdir(given, 0o755); err != nil { //nolint:gosec // another user reads it
		t.Fatal(err)
	}
	if out, err := s.command(t.Context(), "compose", "up", "--detach").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	look := func() (status string, restarts int) {
		info, err := s.api(t.Context()).ContainerInspect(t.Context(), s.Project+"-one-1")
		if err != nil {
			t.Fatal(err)
		}
		return info.State.Status, info.RestartCount
	}
	// After the sixth restart Docker waits for more than six seconds.
	limit := time.Now().Add(2 * time.Minute)
	for status, restarts := look(); restarts < 6 || status != "restarting"; status, restarts = look() {
		if time.Now().After(limit) {
			t.Fatalf("%s after %d restarts", status, restarts)
		}
		time.Sleep(10 * time.Millisecond)
	}
	if err := os.WriteFile(filepath.Join(given, "cause-is-gone"), nil, 0o644); err != nil { //nolint:gosec // another user reads it
		t.Fatal(err)
	}
	if err := s.Compose().Up(t.Context(), func(Event) {}); err != nil {
		t.Fatal(err)
	}
	if status, restarts := look(); status != "running" || restarts != 0 {
		t.Errorf("%s after %d restarts by Docker, for which Up waited", status, restarts)
	}
}
