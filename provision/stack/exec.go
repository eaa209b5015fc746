package stack

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/mount"

	"appliance/bridge/secret"
	"appliance/provision/plan"
)

// Exec runs a command in the container of a service. If it fails, its stderr is part of the
// error. in may be nil.
func (s *Stack) Exec(ctx context.Context, service string, in io.Reader, out io.Writer, args ...string) error {
	services, err := s.Services(ctx)
	if err != nil {
		return err
	}
	found := services[service]
	if found.State != "running" {
		return &NotRunningError{Service: service}
	}
	cmd := s.command(ctx, append([]string{"exec", "-i", found.ID}, args...)...)
	var output bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = in, out, &output
	if err := cmd.Run(); err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		text := strings.TrimSpace(output.String())
		if text == "" {
			text = err.Error()
		}
		return fmt.Errorf("%s in %s: %s", args[0], service, text[max(0, len(text)-1000):])
	}
	return nil
}

// Stop stops running services in the given order and returns the containers that it stopped.
func (s *Stack) Stop(ctx context.Context, names ...string) ([]plan.Service, error) {
	services, err := s.Services(ctx)
	if err != nil {
		return nil, err
	}
	var stopped []plan.Service
	seconds := 30
	for _, name := range names {
		for _, service := range services[name].Containers() {
			if service.State != "running" && service.State != "restarting" {
				continue
			}
			stopped = append(stopped, service) // even if stopping it fails
			if err := s.api(ctx).ContainerStop(ctx, service.ID, container.StopOptions{Timeout: &seconds}); err != nil {
				return stopped, fmt.Errorf("stop %s: %w", name, err)
			}
		}
	}
	return stopped, nil
}

// Start starts what Stop stopped, in reverse order. It does not wait.
func (s *Stack) Start(ctx context.Context, services []plan.Service) error {
	var errs []error
	for i := len(services) - 1; i >= 0; i-- {
		if err := s.api(ctx).ContainerStart(ctx, services[i].ID, container.StartOptions{}); err != nil {
			errs = append(errs, fmt.Errorf("start %s: %w", services[i].Name, err))
		}
	}
	return errors.Join(errs...)
}

// Freeze pauses the processes of the services that use a directory below the installation, and
// returns a function that resumes them.
func (s *Stack) Freeze(ctx context.Context, below string) (thaw func() error, err error) {
	services, err := s.Services(ctx)
	if err != nil {
		return nil, err
	}
	var frozen []string
	thaw = func() error {
		var errs []error
		for _, id := range frozen {
			errs = append(errs, s.api(ctx).ContainerUnpause(context.WithoutCancel(ctx), id))
		}
		return errors.Join(errs...)
	}
	for _, service := range services {
		if service.State != "running" || !s.mounts(ctx, service.ID, s.path(below)) {
			continue
		}
		if err := s.api(ctx).ContainerPause(ctx, service.ID); err != nil {
			return nil, errors.Join(fmt.Errorf("pause %s: %w", service.Name, err), thaw())
		}
		frozen = append(frozen, service.ID)
	}
	return thaw, nil
}

// mounts reports whether a container can write to a directory.
func (s *Stack) mounts(ctx context.Context, id, dir string) bool {
	info, err := s.api(ctx).ContainerInspect(ctx, id)
	if err != nil {
		return false
	}
	for _, m := range info.Mounts {
		if m.Type == mount.TypeBind && m.RW && (sameDir(m.Source, dir) || strings.HasPrefix(m.Source, dir+"/")) {
			return true
		}
	}
	return false
}

// AwaitStarted waits until the containers that Start started are healthy. Another container of
// the same service may be down, as it was before.
func (s *Stack) AwaitStarted(ctx context.Context, limit time.Duration, started []plan.Service) error {
	return awaitOK(ctx, s, limit, func(services map[string]plan.Service) (bad plan.Service, found bool) {
		for _, one := range started {
			now := plan.Service{Name: one.Name, Status: "gone"}
			for _, c := range services[one.Name].Containers() {
				if c.ID == one.ID {
					now = c
				}
			}
			if !now.OK() {
				return now, true
			}
		}
		return plan.Service{}, false
	})
}

// AwaitHealthy waits until all containers of the services are healthy.
func (s *Stack) AwaitHealthy(ctx context.Context, limit time.Duration, names ...string) error {
	return awaitOK(ctx, s, limit, func(services map[string]plan.Service) (bad plan.Service, found bool) {
		for _, name := range names {
			if service := services[name]; !service.OK() {
				service.Name = name
				return service, true
			}
		}
		return plan.Service{}, false
	})
}

// awaitOK polls the services until bad finds nothing.
func awaitOK(ctx context.Context, s *Stack, limit time.Duration, bad func(map[string]plan.Service) (plan.Service, bool)) error {
	until := time.Now().Add(limit)
	tick := time.NewTicker(250 * time.Millisecond)
	defer tick.Stop()
	for {
		services, err := s.Services(ctx)
		if err != nil {
			return err
		}
		one, found := bad(services)
		if !found {
			return nil
		}
		if time.Now().After(until) {
			return &UnhealthyError{Service: one.Name, Reason: "is " + one.Status, Log: s.Compose().lastLines(ctx, one.Name)}
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}

// Vacant returns an error if containers with the project's name exist.
func (s *Stack) Vacant(ctx context.Context) error {
	services, err := s.Services(ctx)
	if err == nil && len(services) > 0 {
		err = &ForeignError{Project: s.Project, Dir: s.Dir}
	}
	return err
}

// A Runtime is Docker's record of a container; see doctor.Runtime.
type Runtime struct {
	Restarts      int
	Started       time.Time
	OOMKilled     bool
	MemoryMB      int64
	Image, Pinned string
	Stranger      string
	Loose         []string
}

// Runtimes inspects one container of each service of the project.
func (s *Stack) Runtimes(ctx context.Context) (map[string]Runtime, error) {
	services, err := s.Services(ctx)
	if err != nil {
		return nil, err
	}
	lock, _ := s.Images().Locked() // planning reports an unreadable lock
	out := map[string]Runtime{}
	for name, service := range services {
		info, err := s.api(ctx).ContainerInspect(ctx, service.ID)
		if err != nil || info.ContainerJSONBase == nil {
			continue // it has just disappeared
		}
		r := Runtime{Restarts: info.RestartCount, Image: info.Image}
		if info.State != nil {
			r.OOMKilled = info.State.OOMKilled
			r.Started, _ = time.Parse(time.RFC3339Nano, info.State.StartedAt)
		}
		if info.HostConfig != nil {
			r.MemoryMB = info.HostConfig.Memory >> 20
			r.Loose = loose(name, info)
		}
		if info.Config != nil {
			if named, err := s.api(ctx).ImageInspect(ctx, info.Config.Image); err == nil {
				r.Pinned = named.ID
			}
			if entry, locked := lock[info.Config.Image]; locked {
				if running, here, err := s.Images().here(ctx, r.Image); err == nil && here && !entry.is(running) {
					r.Stranger = info.Config.Image
				}
			}
		}
		out[name] = r
	}
	return out, nil
}

// HealthOutput returns the output of a service's last successful health check, "" if there is
// none yet. A service that does not run is an error.
func (s Engine) HealthOutput(ctx context.Context, service string) (string, error) {
	info, err := s.inspect(ctx, service)
	if err != nil || info.ContainerJSONBase == nil || info.State == nil || info.State.Health == nil {
		return "", err
	}
	for _, check := range slices.Backward(info.State.Health.Log) {
		if check != nil && check.ExitCode == 0 {
			return check.Output, nil
		}
	}
	return "", nil
}

// Variable returns an environment variable that a service was started with, which may be a
// secret. It is empty if there was none of that name.
func (s Engine) Variable(ctx context.Context, service, name string) (secret.String, error) {
	info, err := s.inspect(ctx, service)
	if err != nil || info.Config == nil {
		return secret.String{}, err
	}
	for _, line := range slices.Backward(info.Config.Env) {
		if value, is := strings.CutPrefix(line, name+"="); is {
			return secret.New(value), nil
		}
	}
	return secret.String{}, nil
}

// inspect returns what Docker reports about a service's container. It is an error if the
// service is not running.
func (s Engine) inspect(ctx context.Context, service string) (info container.InspectResponse, err error) {
	services, err := s.stack.Services(ctx)
	if err != nil {
		return info, err
	}
	found := services[service]
	if found.State != "running" {
		return info, &NotRunningError{Service: service}
	}
	return s.stack.api(ctx).ContainerInspect(ctx, found.ID)
}

// LogFiles returns the files to which Docker writes the services' logs, by service. Rotated
// parts of each are beside it, with a number at the end of the name.
func (s *Stack) LogFiles(ctx context.Context) (map[string]string, error) {
	services, err := s.Services(ctx)
	if err != nil {
		return nil, err
	}
	out := map[string]string{}
	for name, service := range services {
		info, err := s.api(ctx).ContainerInspect(ctx, service.ID)
		if err == nil && info.ContainerJSONBase != nil && info.LogPath != "" {
			out[name] = info.LogPath
		}
	}
	return out, nil
}
