package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"appliance/provision/operator"
	"appliance/provision/site"
)

// buriedCommand shows what the bridge has given up, and makes it try again.
func (a *app) buriedCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "buried",
		Short: "List what the bridge could not deliver and has given up, with the reasons",
		Args:  exactly(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.with(func(on *site.Site) error {
				list, err := operator.DeadLetters(cmd.Context(), on)
				if err != nil {
					return err
				}
				if a.json {
					return json.NewEncoder(a.env.Stdout).Encode(list)
				}
				if len(list) == 0 {
					fmt.Fprintln(a.env.Stdout, "nothing was given up")
					return nil
				}
				w := tabwriter.NewWriter(a.env.Stdout, 0, 0, 2, ' ', 0)
				fmt.Fprintln(w, "GIVEN UP\tKIND\tTRIED\tFROM\tITEM\tWHY")
				for _, b := range list {
					fmt.Fprintf(w, "%s\t%s\t%d\t%s\t%s\t%s\n", b.Buried.Format(time.DateTime), b.Kind, b.Attempts, b.Lane, b.ID, b.Cause)
				}
				if err := w.Flush(); err != nil {
					return err
				}
				fmt.Fprintln(a.env.Stdout, "\nTry again with: appliance buried retry ITEM..., or --all")
				return nil
			})
		},
	}
	var all bool
	retry := &cobra.Command{
		Use:   "retry [ITEM...]",
		Short: "Try again what was given up, behind what waits in its room",
		RunE: func(cmd *cobra.Command, ids []string) error {
			if all == (len(ids) > 0) {
				return &usageError{errors.New("name items, or give --all")}
			}
			return a.with(func(on *site.Site) error {
				out, err := operator.Retry(cmd.Context(), on, ids...)
				if err != nil {
					return err
				}
				if a.json {
					if err := json.NewEncoder(a.env.Stdout).Encode(out); err != nil {
						return err
					}
				} else {
					fmt.Fprintf(a.env.Stdout, "%d tried again\n", len(out.Retried))
				}
				if len(out.Unknown) > 0 {
					return fmt.Errorf("%d items were not given up, or are not there any more: %q", len(out.Unknown), out.Unknown)
				}
				return nil
			})
		},
	}
	retry.Flags().BoolVar(&all, "all", false, "try again everything that was given up")
	cmd.AddCommand(retry)
	return cmd
}
