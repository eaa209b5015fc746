// Command appliance sets up and maintains a chat server on one host: a Rocket.Chat whose
// people can talk to anybody on Matrix.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"appliance/cmd/appliance/internal/cli"
)

// version is set by the linker, and so are the public keys of those who may sign releases:
// the current one and its successor. Without them self-update refuses everything.
var version, releaseKey, nextReleaseKey string

func main() { os.Exit(run(os.Executable)) }

// run is the program; executable finds the file that becomes an image.
func run(executable func() (string, error)) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	return cli.Run(ctx, cli.Env{
		Args: os.Args[1:], Environ: os.Environ(), Version: version, ReleaseKeys: []string{releaseKey, nextReleaseKey},
		Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr,
		Executable: executable,
	})
}
