package cli

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"appliance/provision/operator"
	"appliance/provision/plan"
	"appliance/provision/settings"
	"appliance/provision/site"
)

func reloadCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:        "reload",
		Short:      "Make the bridge reload bridge.yaml and show the result (it reloads by itself when the file changes)",
		Args:       exactly(0),
		SuggestFor: []string{"restart"},
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.with(func(on *site.Site) error {
				out, err := reload(cmd, on)
				if err != nil {
					return err
				}
				return a.show(map[string]any{"file": on.Path(plan.BridgeFile), "in_force": true, "changed": out.Changed, "at": timeOrNil(out.At)}, func(w io.Writer) {
					fmt.Fprintf(w, "%s is in force\n", on.Path(plan.BridgeFile))
					if len(out.Changed) > 0 {
						fmt.Fprintf(w, "the last reload, at %s UTC, changed %s\n", out.At.Format(time.DateTime), strings.Join(out.Changed, ", "))
					} else {
						fmt.Fprintln(w, "nothing in it has changed since the bridge was started")
					}
				})
			})
		},
	}
}

// reload checks the file here, where its path means something to the operator, and then
// asks the bridge.
func reload(cmd *cobra.Command, on *site.Site) (operator.Reloaded, error) {
	if err := settings.Check(on); err != nil {
		return operator.Reloaded{}, &notInForceError{err, "correct the file and run: appliance reload"}
	}
	out, err := operator.Reload(cmd.Context(), on)
	switch {
	case err != nil:
		return out, err
	case strings.Contains(out.Error, "needs a restart"):
		return out, &notInForceError{errors.New(out.Error), "these keys come from the answers: put them back with: appliance up --overwrite"}
	case out.Error != "":
		return out, &notInForceError{errors.New(out.Error), "see: appliance logs bridge"}
	}
	_ = settings.Reload(cmd.Context(), on) // further processes of the bridge; they watch the file too
	return out, nil
}

// A notInForceError says that the bridge keeps its previous configuration.
type notInForceError struct {
	cause  error
	advice string
}

func (e *notInForceError) Error() string {
	return e.cause.Error() + ": nothing has changed, the bridge keeps its previous configuration"
}
func (e *notInForceError) Hint() string  { return e.advice }
func (e *notInForceError) Unwrap() error { return e.cause }

func timeOrNil(t time.Time) any {
	if t.IsZero() {
		return nil
	}
	return t
}
