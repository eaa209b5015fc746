package stack

import (
	"slices"
	"strings"
	"testing"

	"appliance/bridge/mustrun"
	"appliance/provision/render"
)

// The privileges of a container are read from Docker, not from its configuration.
func TestContainersThatMayDoMoreThanTheyNeed(t *testing.T) {
	s := onThisMachine(t)
	image := render.Images()["NGINX_IMAGE"]
	if have, err := s.Images().present(t.Context(), []string{image}); err != nil || !have[image] {
		mustrun.Skip(t, "the image "+image+" is not on this machine")
	}
	for service, flags := range map[string][]string{
		"nginx":  {"--user", "101:101", "--read-only", "--cap-drop", "ALL", "--security-opt", "no-new-privileges:true"},
		"bridge": {"--user", "0:0", "--cap-add", "NET_ADMIN", "--privileged", "--volume", "/var/run/docker.sock:/var/run/docker.sock"},
		"mongo":  {"--user", "999:999", "--cap-drop", "ALL", "--security-opt", "no-new-privileges:true"},
	} {
		id := strings.TrimSpace(docker(t, slices.Concat([]string{"create", "--label", "com.docker.compose.project=" + s.Project, "--label", "com.docker.compose.service=" + service}, flags, []string{image})...))
		t.Cleanup(func() { docker(t, "rm", "--force", id) })
	}
	list, err := s.Runtimes(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for service, want := range map[string]string{
		"nginx": "", "mongo": "can write to its own program",
		"bridge": "is privileged; keeps capabilities; has the capabilities NET_ADMIN; may gain privileges; can write to its own program; runs as root; has Docker's socket",
	} {
		if got := strings.ReplaceAll(strings.Join(list[service].Loose, "; "), "CAP_", ""); got != want {
			t.Errorf("%s: %q, want %q", service, got, want)
		}
	}
}
