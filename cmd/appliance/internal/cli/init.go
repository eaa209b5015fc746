package cli

import (
	"encoding/json"
	"fmt"
	"os"

	"github.com/spf13/cobra"
)

func initCommand(a *app) *cobra.Command {
	var flags answerFlags
	var out string
	var force bool
	cmd := &cobra.Command{
		Use:   "init",
		Short: "Run the wizard and write the answers to a file, without changing the host",
		Args:  exactly(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := a.absolute(); err != nil {
				return err
			}
			if _, err := os.Lstat(out); err == nil && !force {
				return &existsError{out}
			}
			got, _, err := a.collect(cmd.Context(), flags, true)
			if err != nil {
				return err
			}
			install := a.exact("appliance up") + " --answers " + out
			if err := got.Save(out, install); err != nil {
				return err
			}
			keptDraft(a).forget()
			if a.json {
				return json.NewEncoder(a.env.Stdout).Encode(map[string]string{"answers": out})
			}
			fmt.Fprintf(a.env.Stdout, "wrote %s; install with: %s\n", out, install)
			return nil
		},
	}
	flags.add(cmd)
	cmd.Flags().BoolVarP(&force, "force", "f", false, "overwrite the file if it exists")
	cmd.Flags().StringVarP(&out, "output", "o", "appliance.yaml", "write the answers to `FILE`")
	return cmd
}

// An existsError says that a file is not overwritten.
type existsError struct{ file string }

func (e *existsError) Error() string { return e.file + " exists already" }

// Hint says what to do.
func (e *existsError) Hint() string {
	return "write to another file with --output FILE, or overwrite this one with --force"
}
