package cli

import (
	"encoding/json"
	"fmt"

	"github.com/spf13/cobra"
)

func initCommand(a *app) *cobra.Command {
	var flags answerFlags
	var out string
	cmd := &cobra.Command{
		Use:   "init",
		Short: "Run the wizard and write the answers to a file, without changing the host",
		Args:  exactly(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := a.absolute(); err != nil {
				return err
			}
			got, _, err := a.collect(cmd.Context(), flags, true)
			if err != nil {
				return err
			}
			if err := got.Save(out); err != nil {
				return err
			}
			if a.json {
				return json.NewEncoder(a.env.Stdout).Encode(map[string]string{"answers": out})
			}
			fmt.Fprintf(a.env.Stdout, "wrote %s; install with: appliance up --answers %s\n", out, out)
			return nil
		},
	}
	flags.add(cmd)
	cmd.Flags().StringVarP(&out, "output", "o", "appliance.yaml", "write the answers to `FILE`")
	return cmd
}
