// Package stack manages the host and its containers: it observes them, and carries out what a
// plan says about them. It alone starts processes and talks to Docker. Compose is driven
// through its command, so that an operator can repeat what happens here; everything else goes
// through Docker's API. Package plan makes the decisions.
package stack

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/docker/docker/api/types/versions"
	"github.com/docker/docker/client"
)

// A Stack is the installation in one directory.
type Stack struct {
	Dir     string // the installation directory
	Project string // the name of the Compose project
	docker  *client.Client
	once    sync.Once
}

// A Stack has parts, each for one subject.
type (
	// Compose starts and stops services with the docker compose command.
	Compose struct{ stack *Stack }
	// Images builds, pulls, locks and removes images.
	Images struct{ stack *Stack }
	// Loaded tracks the files that the services were started with.
	Loaded struct{ stack *Stack }
	// Tree is the directory of the installation.
	Tree struct{ stack *Stack }
	// Engine is Docker itself: its version and what it has allocated to whom.
	Engine struct{ stack *Stack }
)

// Compose returns the part that starts and stops services.
func (s *Stack) Compose() Compose { return Compose{s} }

// Images returns the part that handles images.
func (s *Stack) Images() Images { return Images{s} }

// Loaded returns the part that compares what runs with what is on disk.
func (s *Stack) Loaded() Loaded { return Loaded{s} }

// Tree returns the part that reads and writes files.
func (s *Stack) Tree() Tree { return Tree{s} }

// Engine returns the part that queries Docker about itself.
func (s *Stack) Engine() Engine { return Engine{s} }

// Open prepares the connection to Docker but does not open it yet.
func Open(dir string) (*Stack, error) {
	docker, err := client.NewClientWithOpts(client.FromEnv, client.WithAPIVersionNegotiation(), traced)
	if err != nil {
		return nil, fmt.Errorf("docker: %w", err)
	}
	return &Stack{Dir: dir, Project: projectOf(dir), docker: docker}, nil
}

// api returns the client once it has negotiated an API version with Docker, which the client
// does not do safely for concurrent callers.
func (s *Stack) api(ctx context.Context) *client.Client {
	s.once.Do(func() { s.docker.NegotiateAPIVersion(ctx) })
	return s.docker
}

// Close ends the connection to Docker.
func (s *Stack) Close() error { return s.docker.Close() }

// Versions describes the software that has to be installed.
type Versions struct {
	Docker, API string
	Compose     string // "dev" for one built from source
	Rootless    bool   // Docker runs as an ordinary user
	Cgroup      string // cgroup driver: cgroupfs, systemd or none
	Root        string // where Docker keeps its data
}

// Versions asks Docker and Compose for their versions. dockerErr and composeErr say which of
// them did not answer.
func (s Engine) Versions(ctx context.Context) (v Versions, dockerErr, composeErr error) {
	server, dockerErr := s.stack.api(ctx).ServerVersion(ctx)
	v.Docker, v.API = server.Version, server.APIVersion
	if dockerErr == nil {
		info, err := s.stack.api(ctx).Info(ctx)
		v.Root, v.Cgroup, dockerErr = info.DockerRootDir, info.CgroupDriver, err
		v.Rootless = slices.ContainsFunc(info.SecurityOptions, func(o string) bool { return strings.HasPrefix(o, "name=rootless") })
	}
	out, composeErr := s.stack.command(ctx, "compose", "version", "--short").Output()
	v.Compose = strings.TrimPrefix(strings.TrimSpace(string(out)), "v")
	return v, dockerErr, composeErr
}

// CanCheckStart reports whether the engine can check a starting container more
// often than a running one, which came with API 1.44.
func (s Engine) CanCheckStart(ctx context.Context) (bool, error) {
	ping, err := s.stack.api(ctx).Ping(ctx)
	if err != nil {
		return false, fmt.Errorf("docker: %w", err)
	}
	return !versions.LessThan(ping.APIVersion, "1.44"), nil
}

// command prepares `docker <args>` in the installation directory. Variables of the operator's
// shell are withheld from it, because they would override .env.
func (s *Stack) command(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "docker", args...) //nolint:gosec // arguments are ours
	if _, err := os.Stat(s.Dir); err == nil {
		cmd.Dir = s.Dir
	}
	for _, e := range os.Environ() {
		name, _, _ := strings.Cut(e, "=")
		if strings.HasPrefix(name, "DOCKER_") || passed[name] {
			cmd.Env = append(cmd.Env, e)
		}
	}
	// It overrides .env, which may have come from another host.
	cmd.Env = append(cmd.Env, "COMPOSE_PROJECT_NAME="+s.Project)
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 10 * time.Second
	return logged(ctx, cmd)
}

var passed = map[string]bool{
	"PATH": true, "HOME": true, "USER": true, "TMPDIR": true, "XDG_RUNTIME_DIR": true, "XDG_CONFIG_HOME": true,
	"HTTP_PROXY": true, "HTTPS_PROXY": true, "NO_PROXY": true, "http_proxy": true, "https_proxy": true, "no_proxy": true,
	"SSH_AUTH_SOCK": true, "SSL_CERT_FILE": true, "SSL_CERT_DIR": true, "TERM": true, "NO_COLOR": true,
}
