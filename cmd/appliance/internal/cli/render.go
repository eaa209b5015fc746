package cli

import "github.com/spf13/cobra"

// renderCommand is the parent of the commands that write an installation for more than one host.
func renderCommand(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "render",
		Short: "Write the same installation for a cluster of several hosts",
		Long: "Turns the answers of an installation into files for a cluster. Nothing on this host or in the\n" +
			"cluster changes: you review the files and apply them yourself.",
		SuggestFor: []string{"cluster", "stack"},
		Args:       noSubcommand,
		RunE:       func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(renderKubernetesCommand(a), renderSwarmCommand(a))
	return cmd
}
