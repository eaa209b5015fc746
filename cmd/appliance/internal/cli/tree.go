package cli

import "github.com/spf13/cobra"

// Tree is every command of the program, for those who write its manual. They do not
// run any of them.
func Tree() *cobra.Command { return (&app{}).root() }
