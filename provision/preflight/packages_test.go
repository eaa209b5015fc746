package preflight_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"appliance/provision/preflight"
	"appliance/provision/stack"
)

// Each system gets only what is missing, from its own packages, and nothing but advice if
// those have no Compose 2.
func TestDockerComesFromThePackagesOfTheSystem(t *testing.T) {
	const (
		ubuntu = "ID=ubuntu\nID_LIKE=debian\nVERSION_ID=\"24.04\"\n"
		mint   = "ID=linuxmint\nID_LIKE=\"ubuntu debian\"\nVERSION_ID=\"22\"\n"
		debian = "ID=debian\nVERSION_ID=\"13\"\n"
		older  = "ID=debian\nVERSION_ID=\"12\"\n"
		fedora = "ID=fedora\nVERSION_ID=42\n"
	)
	silent := errors.New("it does not answer")
	for what, c := range map[string]struct {
		system          string
		docker, compose error
		version         string // of Compose
		files           string // that exist
		want            string // how the last command ends; "" for advice only
	}{
		"a fresh Ubuntu":                {ubuntu, silent, silent, "", "", " docker.io docker-compose-v2"},
		"one that comes from it":        {mint, silent, silent, "", "", " docker.io docker-compose-v2"},
		"a fresh Debian 13":             {debian, silent, silent, "", "", " docker.io docker-compose"},
		"Debian 12 has Compose 1 only":  {older, silent, silent, "", "", ""},
		"Fedora has no apt":             {fedora, silent, silent, "", "", ""},
		"only Compose":                  {ubuntu, nil, silent, "", "", "Lock::Timeout=300 docker-compose-v2"},
		"an old Compose":                {ubuntu, nil, nil, "2.17.2", "", "Lock::Timeout=300 docker-compose-v2"},
		"Compose for Docker's own":      {older, nil, silent, "", "var/lib/dpkg/info/docker-ce.list", "Lock::Timeout=300 docker-compose-plugin"},
		"Docker is stopped":             {older, silent, nil, "2.30.0", "usr/bin/dockerd", "systemctl enable --now docker"},
		"stopped, and without Compose":  {debian, silent, silent, "", "usr/sbin/dockerd", "systemctl enable --now docker"},
		"Compose that was built by you": {ubuntu, nil, nil, "dev", "", "nothing"},
		"all is there":                  {older, nil, nil, "2.30.0", "", "nothing"},
	} {
		h := droplet()
		h.Root = fstest.MapFS{"etc/os-release": file(c.system), "usr/bin/apt-get": file("")}
		if c.system == fedora {
			delete(h.Root.(fstest.MapFS), "usr/bin/apt-get")
		}
		if c.files != "" {
			h.Root.(fstest.MapFS)[c.files] = file("")
		}
		h.Versions = func(context.Context) (stack.Versions, error, error) {
			return stack.Versions{Compose: c.version}, c.docker, c.compose
		}
		r := preflight.DockerRemedy(t.Context(), h)
		last := ""
		if n := len(r.Commands); n > 0 {
			last = strings.Join(r.Commands[n-1], " ")
		}
		switch {
		case c.want == "nothing":
			if r.Lacking != "" || last != "" {
				t.Errorf("%s: %+v", what, r)
			}
		case r.Lacking == "", r.Advice == "", c.want == "" && last != "", !strings.HasSuffix(last, c.want):
			t.Errorf("%s: %+v, want %q", what, r, c.want)
		}
		for _, args := range r.Commands {
			if slices.Contains(args, "install") && !slices.Contains(args, "--no-remove") {
				t.Errorf("%s: it could remove what is here: %v", what, args)
			}
		}
	}
}
