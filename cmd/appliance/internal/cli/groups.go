package cli

import "github.com/spf13/cobra"

// groups are the commands by what an operator wants to do. Every command is in one group.
var groups = []struct {
	title    string
	commands []string
}{
	{"Install and change:", []string{"up", "down", "config", "federation", "reload", "init", "prepare", "upgrade", "self-update", "bundle", "render", "uninstall"}},
	{"Inspect and troubleshoot:", []string{"status", "doctor", "logs", "queue", "support", "version"}},
	{"Keep safe:", []string{"backup", "restore", "service", "alarm", "certs", "secrets", "media"}},
	{"Connect:", []string{"attach", "synapse-admin"}},
	{other, []string{"bridge", "completion", "help"}},
}

// other is the group of commands that the program itself or a shell runs.
const other = "Other:"

// group puts the commands of root into groups.
func group(root *cobra.Command) {
	root.SetHelpCommandGroupID(other)
	root.SetCompletionCommandGroupID(other)
	for _, g := range groups {
		root.AddGroup(&cobra.Group{ID: g.title, Title: g.title})
		for _, name := range g.commands {
			if c, _, err := root.Find([]string{name}); err == nil && c != root {
				c.GroupID = g.title
			}
		}
	}
}
