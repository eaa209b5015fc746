package stack

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"time"
)

// TryProgram starts another version of this program to see whether it runs here.
func TryProgram(ctx context.Context, name string) error {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, name, "version", "--json").Output() //nolint:gosec // its checksum is right
	if exit, ok := errors.AsType[*exec.ExitError](err); ok && len(exit.Stderr) > 0 {
		return fmt.Errorf("%w: %s", err, strings.TrimSpace(string(exit.Stderr)))
	}
	if err == nil && !strings.Contains(string(out), `"version"`) {
		return errors.New("it does not say its version")
	}
	return err
}
