package stack

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"

	"github.com/docker/docker/client"
	"golang.org/x/sys/unix"
)

// Signal sends a signal to the process of a service. It bypasses the engine if the process is
// on this host, because a container that was sent any signal through the engine counts as
// stopped by hand and is not restarted when it ends.
func (s *Stack) Signal(ctx context.Context, service, signal string) error {
	services, err := s.Services(ctx)
	if err != nil {
		return err
	}
	found, ok := services[service]
	if !ok || found.State != "running" {
		return &NotRunningError{Service: service}
	}
	for _, c := range found.Containers() {
		if c.State != "running" {
			continue
		}
		if signalHere(ctx, s.api(ctx), c.ID, signal) {
			continue
		}
		if err := s.api(ctx).ContainerKill(ctx, c.ID, signal); err != nil {
			return err
		}
	}
	return nil
}

// signalHere sends a signal to the process of a container, and reports whether it succeeded.
func signalHere(ctx context.Context, api client.APIClient, id, signal string) bool {
	info, err := api.ContainerInspect(ctx, id)
	if err != nil || info.ContainerJSONBase == nil || info.State == nil || info.State.Pid <= 1 {
		return false
	}
	// If the engine is on another host, the number means nothing here.
	groups, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", info.State.Pid))
	if err != nil || !strings.Contains(string(groups), info.ID) {
		return false
	}
	return unix.Kill(info.State.Pid, unix.SignalNum("SIG"+signal)) == nil
}

// A NotRunningError says that a service is not running.
type NotRunningError struct{ Service string }

func (e *NotRunningError) Error() string { return "service " + e.Service + " is not running" }

// Hint says what to do.
func (e *NotRunningError) Hint() string { return "start it with: appliance up" }

// Edit opens a file in the operator's editor: $VISUAL, $EDITOR or vi, which every system has.
func Edit(ctx context.Context, environ []string, file string, in io.Reader, out, errOut io.Writer) error {
	editor := "vi"
	for _, name := range []string{"EDITOR=", "VISUAL="} {
		for _, e := range environ {
			if value, ok := strings.CutPrefix(e, name); ok && value != "" {
				editor = value
			}
		}
	}
	cmd := exec.CommandContext(ctx, "sh", "-c", editor+` "$1"`, "sh", file) //nolint:gosec // the operator's own editor
	cmd.Stdin, cmd.Stdout, cmd.Stderr, cmd.Env = in, out, errOut, environ
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("the editor %s: %w", editor, err)
	}
	return nil
}
