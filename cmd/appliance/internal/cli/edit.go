package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"

	"appliance/cmd/appliance/internal/wizard"
	"appliance/provision/answers"
	"appliance/provision/settings"
	"appliance/provision/site"
	"appliance/provision/stack"
)

func configEditCommand(a *app) *cobra.Command {
	o := upOptions{ask: true, own: true}
	cmd := &cobra.Command{
		Use:   "edit",
		Short: "Edit the answers with $EDITOR and apply them",
		Args:  exactly(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := a.with(func(*site.Site) error { return nil }); err != nil {
				return err
			}
			if variable(a.env.Environ, "VISUAL") == "" && variable(a.env.Environ, "EDITOR") == "" && !a.onTerminal() {
				return &usageError{err: errors.New("there is no terminal for an editor"), hint: "use: appliance config set KEY=VALUE, or name a program in EDITOR"}
			}
			name, err := edited(a, cmd.Context())
			if err != nil {
				return keepEdit(a, name, err)
			}
			o.file = name
			return keepEdit(a, name, a.up(cmd.Context(), o))
		},
	}
	cmd.Flags().BoolVar(&o.dryRun, "dry-run", false, "print the plan and exit")
	cmd.Flags().BoolVarP(&o.yes, "yes", "y", false, "do not ask for confirmation")
	cmd.Flags().DurationVar(&o.patience, "patience", 20*time.Second, "how long to wait for a changed installation to become healthy")
	return cmd
}

// edited opens a copy of the answers in the editor, again and again until they are usable
// or the operator gives up. It returns the file as it was left, even with an error.
func edited(a *app, ctx context.Context) (string, error) {
	data, err := os.ReadFile(site.AnswersPath(a.dir))
	if err != nil {
		return "", err
	}
	f, err := os.CreateTemp("", "appliance-*.yaml")
	if err != nil {
		return "", err
	}
	_, err = f.Write(data)
	if err = errors.Join(err, f.Close()); err != nil {
		return f.Name(), err
	}
	for {
		if err := stack.Edit(ctx, a.env.Environ, f.Name(), a.env.Stdin, a.env.Stdout, a.env.Stderr); err != nil {
			return f.Name(), err
		}
		if err = usable(f.Name()); err == nil || !again(a, err) {
			return f.Name(), err
		}
	}
}

// usable returns what is wrong with the answers in a file.
func usable(name string) error {
	data, err := os.ReadFile(name) //nolint:gosec // a file of our own
	if err == nil {
		_, err = answers.Parse(name, data)
	}
	return err
}

// again asks whether to correct an edit that cannot be used.
func again(a *app, problem error) bool {
	tty := a.terminal()
	if tty == nil {
		return false
	}
	defer func() { _ = tty.Close() }()
	for _, c := range complaints(problem) {
		fmt.Fprintf(tty, "%s\n", c.Error)
	}
	yes, err := wizard.Confirm(tty, "Edit it again?", true)
	return err == nil && yes
}

// keepEdit removes an edit that was applied or changed nothing; otherwise it says where
// the edit is.
func keepEdit(a *app, name string, err error) error {
	if name == "" {
		return err
	}
	edit, editErr := os.ReadFile(name) //nolint:gosec // a file of our own
	now, nowErr := os.ReadFile(site.AnswersPath(a.dir))
	if err == nil || editErr != nil || nowErr != nil || string(edit) == string(now) {
		_ = os.Remove(name)
		return err
	}
	note(a, "your edit is kept: correct "+name+" and apply it with: appliance up --answers "+name)
	return err
}

// completeKeys offers the keys of config list, with end after each.
func completeKeys(a *app, end string) cobra.CompletionFunc {
	return func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		var keys []string
		_ = a.with(func(on *site.Site) error {
			all, err := settings.List(on)
			for _, one := range all {
				keys = append(keys, one.Key+end+"\t"+one.Help)
			}
			return err
		})
		return keys, cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveNoSpace
	}
}
