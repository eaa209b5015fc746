package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"appliance/provision/operator"
	"appliance/provision/site"
)

func queueCommand(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "queue",
		Short: "Show the backlog and the dead letters; retry or drop dead letters",
		Args:  noSubcommand,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(queueListCommand(a), queueDeadCommand(a), queueRetryCommand(a), queueDropCommand(a))
	return cmd
}

func queueListCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "list",
		Short: "List the rooms with undelivered messages: how many, since when, and the last error",
		Args:  exactly(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.with(func(on *site.Site) error {
				q, err := operator.Waiting(cmd.Context(), on)
				if err != nil {
					return err
				}
				return a.show(q, func(w io.Writer) { printQueue(w, q) })
			})
		},
	}
}

func printQueue(w io.Writer, q operator.Queue) {
	if len(q.Lanes) == 0 {
		fmt.Fprintln(w, "the queue is empty")
	} else {
		t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
		fmt.Fprintln(t, "WAITING\tOLDEST\tFROM\tKIND\tATTEMPTS\tLAST ERROR")
		for _, l := range q.Lanes {
			fmt.Fprintf(t, "%d\t%s\t%s\t%s\t%d\t%s\n", l.Waiting, l.Oldest.Format(time.DateTime), l.Lane, l.Kind, l.Attempts, l.LastError)
		}
		_ = t.Flush()
		fmt.Fprintf(w, "\n%d waiting\n", q.Waiting)
	}
	if q.DeadLetters > 0 {
		fmt.Fprintf(w, "%s; see: appliance queue dead\n", counted(int(q.DeadLetters), "dead letter", "dead letters"))
	}
}

func queueDeadCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "dead",
		Short: "List the dead letters, which the bridge could not deliver, with the reasons",
		Args:  exactly(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.with(func(on *site.Site) error {
				list, err := operator.DeadLetters(cmd.Context(), on)
				if err != nil {
					return err
				}
				return a.show(list, func(w io.Writer) { printDeadLetters(w, list) })
			})
		},
	}
}

func printDeadLetters(w io.Writer, list []operator.DeadLetter) {
	if len(list) == 0 {
		fmt.Fprintln(w, "there are no dead letters")
		return
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "GIVEN UP\tKIND\tATTEMPTS\tFROM\tITEM\tREASON")
	for _, d := range list {
		fmt.Fprintf(t, "%s\t%s\t%d\t%s\t%s\t%s\n", d.GaveUp.Format(time.DateTime), d.Kind, d.Attempts, d.Lane, d.ID, d.Cause)
	}
	_ = t.Flush()
	fmt.Fprintln(w, "\nRetry with: appliance queue retry ITEM..., or --all. Remove for good with: appliance queue drop ITEM..., or --all")
}

func queueRetryCommand(a *app) *cobra.Command {
	var all bool
	cmd := &cobra.Command{
		Use:   "retry [ITEM...]",
		Short: "Put dead letters back at the end of their rooms' queues",
		RunE: func(cmd *cobra.Command, ids []string) error {
			return a.retry(cmd.Context(), ids, all, func(w io.Writer, n int) { fmt.Fprintf(w, "%s again\n", letters(n, "waits", "wait")) })
		},
	}
	a.chooseDeadLetters(cmd, &all, "retry all dead letters")
	return cmd
}

func queueDropCommand(a *app) *cobra.Command {
	var all, yes bool
	cmd := &cobra.Command{
		Use:   "drop [ITEM...]",
		Short: "Remove dead letters for good: they will never be delivered",
		RunE: func(cmd *cobra.Command, ids []string) error {
			if err := oneChoice(ids, all); err != nil {
				return err
			}
			return a.with(func(on *site.Site) error {
				if all && !yes {
					if err := a.confirm("Remove all dead letters for good?"); err != nil {
						return err
					}
				}
				out, err := operator.Drop(cmd.Context(), on, operator.Choice{IDs: ids, All: all})
				if err != nil {
					return err
				}
				err = a.show(out, func(w io.Writer) { fmt.Fprintf(w, "%s removed\n", letters(len(out.Dropped), "was", "were")) })
				return errors.Join(err, unknownItems(out.Unknown))
			})
		},
	}
	a.chooseDeadLetters(cmd, &all, "remove all dead letters")
	cmd.Flags().BoolVarP(&yes, "yes", "y", false, "do not ask before removing all")
	return cmd
}

// chooseDeadLetters adds --all, and completes the IDs of dead letters.
func (a *app) chooseDeadLetters(cmd *cobra.Command, all *bool, usage string) {
	cmd.Flags().BoolVar(all, "all", false, usage)
	cmd.ValidArgsFunction = func(cmd *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
		var ids []string
		_ = a.with(func(on *site.Site) error {
			list, err := operator.DeadLetters(cmd.Context(), on)
			for _, d := range list {
				ids = append(ids, d.ID+"\t"+d.Cause)
			}
			return err
		})
		return ids, cobra.ShellCompDirectiveNoFileComp
	}
}

func (a *app) retry(ctx context.Context, ids []string, all bool, text func(w io.Writer, n int)) error {
	if err := oneChoice(ids, all); err != nil {
		return err
	}
	return a.with(func(on *site.Site) error {
		out, err := operator.Retry(ctx, on, operator.Choice{IDs: ids, All: all})
		if err != nil {
			return err
		}
		err = a.show(out, func(w io.Writer) { text(w, len(out.Retried)) })
		return errors.Join(err, unknownItems(out.Unknown))
	})
}

func oneChoice(ids []string, all bool) error {
	if all == (len(ids) > 0) {
		return &usageError{err: errors.New("name items, or give --all")}
	}
	return nil
}

func letters(n int, one, many string) string {
	return counted(n, "dead letter "+one, "dead letters "+many)
}

// An unknownItemsError names items that are not dead letters.
type unknownItemsError struct{ ids []string }

func unknownItems(ids []string) error {
	if len(ids) == 0 {
		return nil
	}
	return &unknownItemsError{ids}
}

func (e *unknownItemsError) Error() string {
	return fmt.Sprintf("%s, or no longer: %q", counted(len(e.ids), "item is not a dead letter", "items are not dead letters"), e.ids)
}

// Hint says what to do.
func (*unknownItemsError) Hint() string { return "list the dead letters with: appliance queue dead" }
