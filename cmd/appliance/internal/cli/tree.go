package cli

import "github.com/spf13/cobra"

// Tree is every command of the program, for programs that generate its manual. They run
// none of them.
func Tree() *cobra.Command { return (&app{}).root() }
