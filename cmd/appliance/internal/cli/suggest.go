package cli

import (
	"cmp"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
)

// noSubcommand refuses an argument of a command that has subcommands, and suggests the
// subcommand that was probably meant.
func noSubcommand(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	return unknownCommand(cmd, args[0])
}

func unknownCommand(cmd *cobra.Command, typed string) error {
	err := &usageError{err: fmt.Errorf("unknown command %q for %q", typed, cmp.Or(strings.TrimPrefix(cmd.CommandPath(), cmd.Root().Name()+" "), cmd.Name())), hint: "see: " + cmd.CommandPath() + " --help"}
	cmd.SuggestionsMinimumDistance = 2
	if near := cmd.SuggestionsFor(typed); len(near) > 0 {
		for i := range near {
			near[i] = cmd.CommandPath() + " " + near[i]
		}
		err.hint = "did you mean: " + strings.Join(near, ", or: ")
	}
	return err
}

// flagMistake is the error for a wrong flag. If the command does not exist, the error is
// about the command: its flags are not known either.
func flagMistake(a *app, cmd *cobra.Command, err error) error {
	if cmd.HasSubCommands() {
		words := a.env.Args
		for i, word := range words {
			if strings.HasPrefix(word, "-") || i > 0 && words[i-1] == "--dir" {
				continue
			}
			if found, _, findErr := cmd.Find([]string{word}); findErr != nil || found == cmd {
				if word != cmd.Name() {
					return unknownCommand(cmd, word)
				}
			}
		}
	}
	hint := "see: " + cmd.CommandPath() + " --help"
	return &usageError{err: errors.Join(err), hint: hint}
}

// helpCommand is cobra's, except for what it says about a command that does not exist.
func helpCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "help [COMMAND]",
		Short: "Help about any command",
		ValidArgsFunction: func(cmd *cobra.Command, args []string, _ string) (names []string, _ cobra.ShellCompDirective) {
			if found, _, err := cmd.Root().Find(args); err == nil {
				for _, c := range found.Commands() {
					if !c.Hidden {
						names = append(names, c.Name())
					}
				}
			}
			return names, cobra.ShellCompDirectiveNoFileComp
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			found, rest, err := cmd.Root().Find(args)
			if err != nil || len(rest) > 0 {
				if found == nil {
					found = cmd.Root()
				}
				return unknownCommand(found, append(rest, args...)[0])
			}
			found.InitDefaultHelpFlag()
			found.InitDefaultVersionFlag()
			return found.Help()
		},
	}
}
