package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"appliance/provision/checkup"
	"appliance/provision/plan"
	"appliance/provision/selfupdate"
	"appliance/provision/site"
	"appliance/provision/stack"
)

func selfUpdateCommand(a *app) *cobra.Command {
	var sum string
	var back bool
	cmd := &cobra.Command{
		Use:   "self-update URL",
		Short: "Replace this program with the release at URL after verifying its signature; then run: appliance upgrade",
		Long: "Verifies the signature of SHA256SUMS in the directory of a release with the keys that are built into this program,\n" +
			"refuses releases that are older than it, downloads the program for this host, compares its checksum, starts it once,\n" +
			"and replaces this one, which is kept beside it. An interrupted download resumes. It changes no installation: use\n" +
			"appliance upgrade for that.\n\n" +
			"The exit status is 0 when the program was replaced, rolled back, or is already that of the release; 1 when the release was\n" +
			"refused (unsigned, signed by another key, older, altered), does not start here or cannot be reached: then nothing was changed.",
		Example: "  appliance self-update https://releases.example.org/appliance/v2\n  appliance self-update --rollback",
		Args: func(cmd *cobra.Command, args []string) error {
			if back {
				return exactly(0)(cmd, args)
			}
			return exactly(1)(cmd, args)
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			program, err := a.env.Executable()
			if err != nil {
				return err
			}
			if !back {
				return selfUpdate(a, cmd.Context(), selfupdate.Options{
					Program: program, Release: args[0], Keys: a.env.ReleaseKeys, Version: a.buildInfo().Version, SHA256: sum, Try: stack.TryProgram,
				})
			}
			if sum != "" {
				return &usageError{err: errors.New("--rollback downloads nothing: it takes no checksum")}
			}
			if err := selfupdate.Back(program); err != nil {
				return err
			}
			return a.show(map[string]any{"rolled_back": true, "program": program, "previous": selfupdate.Previous(program)}, func(w io.Writer) {
				fmt.Fprintln(w, "the previous program is back in place; the other one is kept beside it")
			})
		},
	}
	cmd.Flags().StringVar(&sum, "sha256", "", "the program must also have the checksum `HEX`")
	cmd.Flags().BoolVar(&back, "rollback", false, "go back to the program from before the last self-update")
	return cmd
}

// askFor bounds how long asking for the newest release may take.
const askFor = 15 * time.Second

// askForRelease looks up the newest release, if the answers say where to, and leaves the
// result for the console. Nothing depends on it: the installation works without it.
func askForRelease(a *app, ctx context.Context, on *site.Site) {
	if on.Answers.Releases == "" {
		return
	}
	ask, cancel := context.WithTimeout(ctx, askFor)
	defer cancel()
	have := a.buildInfo().Version
	newest, newer, err := selfupdate.Newest(ask, selfupdate.Options{Release: on.Answers.Releases, Keys: a.env.ReleaseKeys, Version: have})
	if err := checkup.Released(ctx, on, have, newest, newer, err); err != nil {
		fmt.Fprintf(a.env.Stderr, "appliance: the newest release could not be noted for the console: %v\n", err)
	}
}

func selfUpdate(a *app, ctx context.Context, o selfupdate.Options) error {
	printer := a.printer()
	step := plan.Step{ID: "self-update", Title: "fetch " + selfupdate.Name() + " from " + o.Release}
	o.Progress = func(what string, done, total int64) { printer.Progress(step.ID, what, done, total) }
	printer.Step(step, plan.Started, "")
	out, err := selfupdate.Run(ctx, o)
	if err != nil {
		printer.Step(step, plan.Failed, err.Error())
	} else {
		printer.Step(step, plan.Done, "")
	}
	printer.Close()
	switch {
	case err != nil:
		return err
	case a.json:
		return json.NewEncoder(a.env.Stdout).Encode(out)
	case !out.Changed:
		fmt.Fprintln(a.env.Stdout, "nothing to do: this is already that release")
	default:
		fmt.Fprintf(a.env.Stdout, "updated to %s; the old program is %s. Upgrade the installation with: appliance upgrade\n", out.Version, out.Previous)
	}
	return nil
}
