package cli

import (
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"appliance/provision/operator"
	"appliance/provision/site"
)

// buriedCommand is what `queue dead` and `queue retry` were called in earlier
// releases. Scripts rely on its output, which stays as it was.
func buriedCommand(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:    "buried",
		Short:  "The name of appliance queue dead in earlier releases",
		Hidden: true,
		Args:   exactly(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.with(func(on *site.Site) error {
				list, err := operator.Buried(cmd.Context(), on)
				if err != nil {
					return err
				}
				return a.show(list, func(w io.Writer) { printBuried(w, list) })
			})
		},
	}
	var all bool
	retry := &cobra.Command{
		Use:   "retry [ITEM...]",
		Short: "The name of appliance queue retry in earlier releases",
		RunE: func(cmd *cobra.Command, ids []string) error {
			return a.retry(cmd.Context(), ids, all, func(w io.Writer, n int) { fmt.Fprintf(w, "%d tried again\n", n) })
		},
	}
	a.chooseDeadLetters(retry, &all, "retry all dead letters")
	cmd.AddCommand(retry)
	return cmd
}

func printBuried(w io.Writer, list []operator.BuriedLetter) {
	if len(list) == 0 {
		fmt.Fprintln(w, "nothing was given up")
		return
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "GIVEN UP\tKIND\tTRIED\tFROM\tITEM\tWHY")
	for _, b := range list {
		fmt.Fprintf(t, "%s\t%s\t%d\t%s\t%s\t%s\n", b.Buried.Format(time.DateTime), b.Kind, b.Attempts, b.Lane, b.ID, b.Cause)
	}
	_ = t.Flush()
	fmt.Fprintln(w, "\nTry again with: appliance buried retry ITEM..., or --all")
}
