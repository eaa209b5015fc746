package stack

import (
	"context"
	"fmt"
	"io"
	"os/exec"
	"strings"
)

// Signal sends a signal to the process of a service.
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
		if err := s.api(ctx).ContainerKill(ctx, c.ID, signal); err != nil {
			return err
		}
	}
	return nil
}

// A NotRunningError says that a service is not running.
type NotRunningError struct{ Service string }

func (e *NotRunningError) Error() string { return "service " + e.Service + " is not running" }

// Hint says what to do.
func (e *NotRunningError) Hint() string { return "start it with: appliance up" }

// Edit opens a file in the operator's editor: $VISUAL, $EDITOR or the one that every
// system has.
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
