package stack

import (
	"context"
	"io"
)

// Logs writes the logs of services, all without a name, until ctx ends when
// following.
func (s *Stack) Logs(ctx context.Context, stdout, stderr io.Writer, follow bool, tail string, services ...string) error {
	args := []string{"compose", "logs", "--tail", tail}
	if follow {
		args = append(args, "--follow")
	}
	cmd := s.command(ctx, append(args, services...)...)
	cmd.Stdout, cmd.Stderr = stdout, stderr
	return cmd.Run()
}

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
	return s.api(ctx).ContainerKill(ctx, found.ID, signal)
}

// A NotRunningError says that a service is not running.
type NotRunningError struct{ Service string }

func (e *NotRunningError) Error() string { return "service " + e.Service + " is not running" }

// Hint says what to do.
func (e *NotRunningError) Hint() string { return "start it with: appliance up" }
