package preflight

import (
	"context"
	"fmt"
	"io/fs"
	"strings"
	"sync"

	"appliance/provision/finding"
	"appliance/provision/stack"
)

// The oldest versions that the installation works with.
const (
	leastAPI     = "1.41"
	leastCompose = "2.24"
)

// A dockerOnce queries Docker and Compose once for all checks that need it.
type dockerOnce struct {
	host Host
	once sync.Once
	got  dockerAnswer
}

type dockerAnswer struct {
	v                     stack.Versions
	dockerErr, composeErr error
}

func once(h Host) *dockerOnce { return &dockerOnce{host: h} }

func (d *dockerOnce) get(ctx context.Context) dockerAnswer {
	d.once.Do(func() { d.got.v, d.got.dockerErr, d.got.composeErr = d.host.Versions(ctx) })
	return d.got
}

func (d *dockerOnce) check(ctx context.Context) finding.Finding {
	got := d.get(ctx)
	switch {
	case got.dockerErr != nil:
		return finding.Failure("no Docker daemon answers", got.dockerErr.Error(), remedy(d.host, true, got.composeErr != nil).fix())
	case older(got.v.API, leastAPI):
		return finding.Failure(fmt.Sprintf("Docker %s speaks API %s, %s required", got.v.Docker, got.v.API, leastAPI), "it is too old", "install Docker Engine 20.10 or newer")
	case strings.HasPrefix(got.v.Root, "/var/snap/"):
		return finding.Failure("Docker was installed as a snap", "it cannot see files outside the home directories",
			"remove it with: snap remove docker; then run: appliance prepare")
	case got.v.Rootless:
		return finding.Failure("Docker runs without root", "it can neither open ports 80 and 443 nor chown files to the users of the containers",
			"use the system's Docker: systemctl start docker, and unset DOCKER_HOST")
	case got.v.Cgroup == "none":
		return finding.Warning("Docker cannot limit memory", "this kernel has no usable cgroups, so one service can take all memory", "boot with cgroup_enable=memory, or use cgroups version 2")
	}
	return finding.Good("Docker %s (API %s)", got.v.Docker, got.v.API)
}

// oldCompose reports whether Compose from before 2022 is installed.
func (h Host) oldCompose() bool {
	for _, name := range []string{"usr/bin/docker-compose", "usr/local/bin/docker-compose"} {
		if _, err := fs.Stat(h.Root, name); err == nil {
			return true
		}
	}
	return false
}

func (d *dockerOnce) compose(ctx context.Context, h Host) finding.Finding {
	got := d.get(ctx)
	fix := remedy(h, false, true).fix()
	switch {
	case got.dockerErr != nil && got.composeErr != nil: // one remedy covers both
		f := finding.Failure("`docker compose` does not answer", got.composeErr.Error(), fix)
		f.Because = "docker"
		return f
	case got.composeErr != nil && h.oldCompose():
		return finding.Failure("only Compose 1 is installed", "docker-compose 1 is no longer maintained and cannot read the Compose file", fix)
	case got.composeErr != nil:
		return finding.Failure("`docker compose` does not answer", got.composeErr.Error(), fix)
	case got.v.Compose == "dev" || got.v.Compose == "":
		return finding.Warning("Compose does not say its version", "it was built from source", "make sure that it is "+leastCompose+" or newer")
	case older(got.v.Compose, leastCompose):
		return finding.Failure(fmt.Sprintf("Compose %s, %s required", got.v.Compose, leastCompose), "it is too old for the Compose file", fix)
	}
	return finding.Good("Compose %s", got.v.Compose)
}

// older compares versions by their first two numbers.
func older(version, least string) bool {
	var a, b, c, d int
	_, _ = fmt.Sscanf(version, "%d.%d", &a, &b)
	_, _ = fmt.Sscanf(least, "%d.%d", &c, &d)
	return a < c || a == c && b < d
}
