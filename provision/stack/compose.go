package stack

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/network"
	"github.com/docker/docker/pkg/stdcopy"
)

// An Event is one line of `docker compose --progress json`.
type Event struct {
	ID       string `json:"id"`
	ParentID string `json:"parent_id"`
	Status   string `json:"status"` // Working, Done, Warning, Error
	Text     string `json:"text"`   // Creating, Started, Healthy, Pulling ...
	Details  string `json:"details"`
	Current  int64  `json:"current"`
	Total    int64  `json:"total"`
	Error    bool   `json:"error"`
	Message  string `json:"message"`
}

// An UnhealthyError says that a service did not come up.
type UnhealthyError struct {
	Service string
	Reason  string   // "is unhealthy", "exited (3)"
	Log     []string // its last lines
}

func (e *UnhealthyError) Error() string {
	text := fmt.Sprintf("service %s %s", e.Service, e.Reason)
	if len(e.Log) > 0 {
		text += "; its last lines:\n    " + strings.Join(e.Log, "\n    ")
	}
	return text
}

// Hint says what to do.
func (e *UnhealthyError) Hint() string {
	return "fix what the lines above complain about and run again: appliance up (more: appliance logs " + e.Service + ")"
}

// Up starts the services that are not running, restarts those that have changed and waits until
// all are healthy. It immediately starts those that Docker would start later or never.
func (s Compose) Up(ctx context.Context, hear func(Event)) error {
	if err := s.unblock(ctx, hear); err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var watch sync.WaitGroup
	watch.Go(func() { s.watchForCrashes(ctx, cancel) })
	err := s.run(ctx, hear, "up", "--detach", "--wait", "--wait-timeout", "900", "--remove-orphans", "--quiet-pull")
	crashed, _ := errors.AsType[*UnhealthyError](context.Cause(ctx))
	cancel(nil)
	watch.Wait()
	switch {
	case crashed != nil:
		return crashed
	case err != nil && ctx.Err() != nil && !errors.Is(context.Cause(ctx), context.Canceled):
		return err
	case err != nil:
		return s.explain(context.WithoutCancel(ctx), err)
	}
	return nil
}

// unblock removes containers on networks that are gone, as left by `docker network prune` for
// stopped ones: Docker refuses to start them, and Compose does not recreate them. It restarts
// crashed containers, because Docker waits longer after each crash, up to a minute, and
// services that need them would crash as well.
func (s Compose) unblock(ctx context.Context, hear func(Event)) error {
	networks, err := s.stack.api(ctx).NetworkList(ctx, network.ListOptions{})
	if err != nil {
		return fmt.Errorf("docker: %w", err)
	}
	containers, err := s.stack.Engine().containers(ctx)
	if err != nil {
		return err
	}
	var stranded, crashed []string
	for _, c := range containers {
		name := c.Labels["com.docker.compose.service"]
		switch {
		case onLostNetwork(c, networks) && !slices.Contains(stranded, name):
			stranded = append(stranded, name)
		case c.State == container.StateRestarting && !slices.Contains(crashed, name):
			crashed = append(crashed, name)
		}
	}
	if err := s.Remove(ctx, stranded, hear); err != nil {
		return err
	}
	if len(crashed) > 0 {
		_ = s.run(ctx, hear, append([]string{"restart", "--no-deps"}, crashed...)...) // Up says why one does not start
	}
	return nil
}

func onLostNetwork(c container.Summary, networks []network.Summary) bool {
	if c.NetworkSettings == nil {
		return false
	}
	for _, on := range c.NetworkSettings.Networks {
		if on.NetworkID != "" && !slices.ContainsFunc(networks, func(n network.Summary) bool { return n.ID == on.NetworkID }) {
			return true
		}
	}
	return false
}

// Remove stops and removes services. Their data stays.
func (s Compose) Remove(ctx context.Context, services []string, hear func(Event)) error {
	if len(services) == 0 {
		return nil
	}
	return s.run(ctx, hear, append([]string{"rm", "--stop", "--force"}, services...)...)
}

// Pull fetches the images that are missing on this host, and is patient with registries. It
// returns a *RegistryError if they cannot be fetched.
func (s Compose) Pull(ctx context.Context, hear func(Event)) error {
	tell := func(what string) { hear(Event{ID: "images:", Status: "Working", Text: what}) }
	return patiently(ctx, tell, func() (string, error) {
		err := s.run(ctx, hear, "pull", "--policy", "missing", "--ignore-buildable")
		if failed, ok := errors.AsType[*composeError](err); ok {
			return failed.message, err
		}
		return "", err
	})
}

// Down stops and removes the containers. Data stays. With volumes, the volumes that an
// operator's override created are removed too.
func (s Compose) Down(ctx context.Context, volumes bool, hear func(Event)) error {
	args := []string{"down", "--remove-orphans"}
	if volumes {
		args = append(args, "--volumes")
	}
	return s.run(ctx, hear, args...)
}

// A composeError is a failure in Compose's own words.
type composeError struct{ message string }

func (e *composeError) Error() string { return e.message }

// run runs a Compose command and passes its progress events to hear.
func (s Compose) run(ctx context.Context, hear func(Event), args ...string) error {
	if err := s.stack.own(ctx); err != nil {
		return err
	}
	cmd := s.stack.command(ctx, append([]string{"compose", "--progress", "json"}, args...)...)
	stderr, err := cmd.StderrPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("docker compose: %w", err)
	}
	message := listen(stderr, hear)
	err = cmd.Wait()
	if err == nil {
		return nil
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if message == "" {
		message = "docker compose " + args[0] + ": " + err.Error()
	}
	return &composeError{message}
}

// listen reads events until the end and returns the message of the last error, or else the last
// lines that were not events.
func listen(r io.Reader, hear func(Event)) string {
	var message string
	var other []string
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var e Event
		if json.Unmarshal(lines.Bytes(), &e) != nil {
			if text := strings.TrimSpace(lines.Text()); text != "" {
				other = append(other, text)
			}
			continue
		}
		switch {
		case e.Error:
			message = e.Message
		case e.Status == "Error" && message == "":
			message = strings.TrimSpace(e.ID + " " + e.Text + " " + e.Details)
		}
		hear(e)
	}
	if message == "" {
		message = strings.Join(other[max(0, len(other)-3):], "; ")
	}
	return message
}

// explain finds the service that a Compose failure is about, and adds the end of its log.
func (s Compose) explain(ctx context.Context, err error) error {
	failed, ok := errors.AsType[*composeError](err)
	if !ok {
		return err
	}
	for _, prefix := range []string{"container ", "dependency failed to start: container "} {
		rest, found := strings.CutPrefix(failed.message, prefix)
		name, reason, two := strings.Cut(rest, " ")
		if !found || !two {
			continue
		}
		service := strings.TrimSuffix(strings.TrimPrefix(name, s.stack.Project+"-"), "-1")
		return &UnhealthyError{Service: service, Reason: reason, Log: s.lastLines(ctx, service)}
	}
	return err
}

// lastLines returns the end of a service's log.
func (s Compose) lastLines(ctx context.Context, service string) []string {
	services, err := s.stack.Services(ctx)
	if err != nil {
		return nil
	}
	r, err := s.stack.api(ctx).ContainerLogs(ctx, services[service].ID, container.LogsOptions{ShowStdout: true, ShowStderr: true, Tail: "12"})
	if err != nil {
		return nil
	}
	defer func() { _ = r.Close() }()
	var b bytes.Buffer
	_, _ = stdcopy.StdCopy(&b, &b, r)
	var out []string
	for line := range strings.Lines(b.String()) {
		out = append(out, strings.TrimRight(line, "\r\n"))
	}
	return out
}

// UpOnly starts some services, without those that they depend on, and waits until they are
// healthy.
func (s Compose) UpOnly(ctx context.Context, hear func(Event), services ...string) error {
	err := s.run(ctx, hear, append([]string{"up", "--detach", "--wait", "--wait-timeout", "300", "--no-deps", "--quiet-pull"}, services...)...)
	if err != nil && ctx.Err() == nil {
		return s.explain(context.WithoutCancel(ctx), err)
	}
	return err
}

// lines returns the output of a Compose command, or nothing if there is no Compose file yet or
// it cannot be used. In that case the files are about to be rewritten, or Up will report what
// is wrong.
func (s Compose) lines(ctx context.Context, args ...string) []string {
	if _, err := os.Stat(s.stack.path("compose.yaml")); err != nil {
		return nil
	}
	return s.linesWith(ctx, nil, args...)
}

// linesWith is lines with variables that override those of .env.
func (s Compose) linesWith(ctx context.Context, env []string, args ...string) []string {
	cmd := s.stack.command(ctx, append([]string{"compose"}, args...)...)
	cmd.Env = append(cmd.Env, env...)
	out, err := cmd.Output()
	if err != nil {
		return nil
	}
	return strings.Split(strings.TrimSpace(string(out)), "\n")
}

// imagesWith lists the images of the services, with the operator's override, as they
// will be once .env has the given content.
func (s Compose) imagesWith(ctx context.Context, env []byte) []string {
	if _, err := os.Stat(s.stack.path("compose.yaml")); err != nil {
		return nil
	}
	if m, err := s.stack.Tree().Manifest(); err != nil || m.Files[".env"].Kept != "" {
		env = nil // the operator's own .env stays
	}
	var variables []string
	for line := range strings.Lines(string(env)) {
		if line = strings.TrimSpace(line); strings.Contains(line, "=") && !strings.HasPrefix(line, "#") && !strings.HasPrefix(line, "COMPOSE_PROJECT_NAME=") {
			variables = append(variables, line)
		}
	}
	return s.linesWith(ctx, variables, "config", "--images")
}

// hashes returns Compose's hash of every service's configuration, including the operator's
// override.
func (s Compose) hashes(ctx context.Context) map[string]string {
	hashes := map[string]string{}
	for _, line := range s.lines(ctx, "config", "--hash", "*") {
		if f := strings.Fields(line); len(f) == 2 {
			hashes[f[0]] = f[1]
		}
	}
	return hashes
}

// Logs writes the logs of the named services, or of all if none is named. With follow it
// continues until ctx ends. since is a time or duration in Docker's format, or empty.
func (s Compose) Logs(ctx context.Context, stdout, stderr io.Writer, follow bool, tail, since string, services ...string) error {
	if err := s.stack.own(ctx); err != nil {
		return err
	}
	args := []string{"compose", "logs", "--no-color", "--tail", tail}
	if since != "" {
		args = append(args, "--since", since)
	}
	if follow {
		args = append(args, "--follow")
	}
	cmd := s.stack.command(ctx, append(args, services...)...)
	cmd.Stdout, cmd.Stderr = stdout, stderr
	return cmd.Run()
}
