package main

import (
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"appliance/cmd/appliance/internal/cli"
)

// everyCommand walks the visible commands of the program.
func everyCommand(t *testing.T, see func(*cobra.Command)) {
	t.Helper()
	root := cli.Tree()
	root.InitDefaultHelpCmd()
	root.InitDefaultCompletionCmd()
	var walk func(*cobra.Command)
	walk = func(c *cobra.Command) {
		for _, below := range c.Commands() {
			if !below.Hidden {
				see(below)
				walk(below)
			}
		}
	}
	walk(root)
}

// A mistyped subcommand is named as one. backup and bridge are left out: they also do something
// without a subcommand, so it may as well be an argument too many.
func TestEveryParentKnowsItsCommands(t *testing.T) {
	everyCommand(t, func(c *cobra.Command) {
		if !c.HasSubCommands() || c.Name() == "backup" || c.Name() == "bridge" {
			return
		}
		typed := c.Commands()[0].Name() + "x"
		if err := c.ValidateArgs([]string{typed}); err == nil || !strings.HasPrefix(err.Error(), `unknown command "`+typed+`"`) {
			t.Errorf("%s %s: %v", c.CommandPath(), typed, err)
		}
	})
}

func TestEveryCommandIsInAGroup(t *testing.T) {
	everyCommand(t, func(c *cobra.Command) {
		if !c.HasParent() || c.Parent().HasParent() || c.IsAdditionalHelpTopicCommand() {
			return
		}
		if c.GroupID == "" {
			t.Errorf("%s is in no group of the help", c.CommandPath())
		}
	})
}

// Each command has a line that fits into a list of commands: no full stop, at most 130
// characters. The generated commands below completion may be longer.
func TestEveryCommandSaysWhatItDoes(t *testing.T) {
	everyCommand(t, func(c *cobra.Command) {
		switch short := c.Short; {
		case short == "", short != strings.TrimSpace(short), strings.HasSuffix(short, "."):
			t.Errorf("%s: %q is no line of a list", c.CommandPath(), short)
		case c.Name() != "completion" && c.Parent().Name() != "completion" && len(short) > 130:
			t.Errorf("%s: its line has %d characters", c.CommandPath(), len(short))
		}
	})
}
