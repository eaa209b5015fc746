package stack

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
)

// hostCommand runs a command on the host; its output is part of the error.
func hostCommand(ctx context.Context, args []string) error { return RunOnHost(ctx, io.Discard, args) }

// RunOnHost runs a non-interactive command on the host. Its output also goes to out, and the
// end of it is part of the error.
func RunOnHost(ctx context.Context, out io.Writer, args []string) error {
	cmd := exec.CommandContext(ctx, args[0], args[1:]...) //nolint:gosec // our own words
	var said bytes.Buffer
	cmd.Stdout = io.MultiWriter(out, &said)
	cmd.Stderr, cmd.Env = cmd.Stdout, append(os.Environ(), "DEBIAN_FRONTEND=noninteractive")
	err := logged(ctx, cmd).Run()
	if err != nil && ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil {
		text := strings.Join(strings.Fields(said.String()), " ")
		if text == "" {
			text = err.Error()
		}
		return fmt.Errorf("%s: %s", strings.Join(args, " "), text[max(0, len(text)-1000):])
	}
	return nil
}
