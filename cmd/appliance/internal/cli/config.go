package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"appliance/provision/settings"
	"appliance/provision/site"
	"appliance/provision/support"
)

func configCommand(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "config",
		Short: "Show and change the answers and the bridge's live keys",
		Args:  noSubcommand,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(configListCommand(a), configGetCommand(a), configSetCommand(a), configEditCommand(a))
	return cmd
}

func configListCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "list",
		Short: "Show every key and its value",
		Args:  exactly(0),
		RunE: func(*cobra.Command, []string) error {
			return a.with(func(on *site.Site) error {
				all, err := settings.List(on)
				if err != nil {
					return err
				}
				return a.show(all, func(w io.Writer) {
					for _, s := range all {
						fmt.Fprintf(w, "%-28s %s\n", s.Key, s.Value)
					}
				})
			})
		},
	}
}

func configGetCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:               "get KEY",
		Short:             "Show the value of one key",
		Args:              exactly(1),
		ValidArgsFunction: completeKeys(a, ""),
		RunE: func(_ *cobra.Command, args []string) error {
			return a.with(func(on *site.Site) error {
				s, err := settings.Get(on, args[0])
				if err != nil {
					return err
				}
				return a.show(s, func(w io.Writer) { fmt.Fprintln(w, s.Value) })
			})
		},
	}
}

func configSetCommand(a *app) *cobra.Command {
	o := upOptions{}
	cmd := &cobra.Command{
		Use:               "set KEY=VALUE...",
		Short:             "Change answers and apply them; keys that begin with bridge. take effect at once",
		Args:              atLeast(1),
		Example:           "  appliance config set bridge.log_level=debug\n  appliance config set bridge.permissions.invite=admin,owner\n  appliance config set email=ops@example.org --dry-run",
		ValidArgsFunction: completeKeys(a, "="),
		RunE: func(cmd *cobra.Command, args []string) error {
			return configSet(a, cmd.Context(), o, args)
		},
	}
	cmd.Flags().BoolVar(&o.dryRun, "dry-run", false, "print the plan and exit")
	cmd.Flags().BoolVarP(&o.yes, "yes", "y", false, "do not ask for confirmation")
	cmd.Flags().DurationVar(&o.patience, "patience", 20*time.Second, "how long to wait for a changed installation to become healthy")
	return cmd
}

func configSet(a *app, ctx context.Context, o upOptions, args []string) error {
	live := map[string]string{}
	for _, arg := range args {
		key, value, ok := strings.Cut(arg, "=")
		if !ok {
			return &usageError{err: fmt.Errorf("%q must be written as key=value", arg)}
		}
		if name, ok := strings.CutPrefix(key, settings.LivePrefix); ok {
			live[name] = value
		} else {
			o.set = append(o.set, arg)
		}
	}
	if len(live) > 0 {
		if o.dryRun {
			return &usageError{err: fmt.Errorf("%s keys take effect at once and have no dry run", settings.LivePrefix)}
		}
		if err := a.with(func(on *site.Site) error { return setLive(a, on, live) }); err != nil {
			return err
		}
	}
	if len(o.set) == 0 {
		return nil
	}
	if err := a.with(func(*site.Site) error { return nil }); err != nil {
		return err // nothing to change
	}
	o.ask = true
	return a.up(ctx, o)
}

func setLive(a *app, on *site.Site, values map[string]string) error {
	changed, err := settings.SetLive(on, values)
	if err != nil {
		return err
	}
	return printChanged(a, changed)
}

// printChanged prints which live keys changed.
func printChanged(a *app, changed []string) error {
	switch {
	case a.json:
		return json.NewEncoder(a.env.Stdout).Encode(map[string]any{"changed": append([]string{}, changed...)})
	case len(changed) == 0:
		fmt.Fprintln(a.env.Stdout, "nothing to do")
	default:
		fmt.Fprintf(a.env.Stdout, "changed %s; the bridge applies it within a second\n", strings.Join(changed, ", "))
	}
	return nil
}

func federationCommand(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "federation",
		Short: "Switch federation on or off and choose servers; takes effect at once",
		Args:  noSubcommand,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	for _, c := range []struct{ use, short, value string }{
		{"enable", "Deliver messages, including those held back in the meantime", "true"},
		{"disable", "Hold back messages in both directions until federation is enabled again", "false"},
	} {
		cmd.AddCommand(&cobra.Command{Use: c.use, Short: c.short, Args: exactly(0), RunE: func(*cobra.Command, []string) error {
			return a.with(func(on *site.Site) error { return setLive(a, on, map[string]string{"enabled": c.value}) })
		}})
	}
	for _, c := range []struct {
		use, short string
		allow      bool
	}{
		{"allow SERVER...", "Allow servers, given as patterns such as *.example.org", true},
		{"deny SERVER...", "Deny servers", false},
	} {
		cmd.AddCommand(&cobra.Command{Use: c.use, Short: c.short, Args: atLeast(1), RunE: func(_ *cobra.Command, args []string) error {
			return a.with(func(on *site.Site) error {
				changed, err := settings.Federate(on, c.allow, args)
				if err != nil {
					return err
				}
				return printChanged(a, changed)
			})
		}})
	}
	cmd.AddCommand(federationStatusCommand(a))
	return cmd
}

func federationStatusCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "status",
		Short: "Show whether federation is on and which servers are allowed",
		Args:  exactly(0),
		RunE: func(*cobra.Command, []string) error {
			return a.with(func(on *site.Site) error {
				live, err := settings.Live(on)
				if err != nil {
					return err
				}
				if a.json {
					return json.NewEncoder(a.env.Stdout).Encode(map[string]any{
						"enabled": live.Enabled, "server_name": on.Answers.ServerName, "allow": live.Servers.Allow, "deny": live.Servers.Deny,
					})
				}
				state := "on"
				if !live.Enabled {
					state = "off: messages are held back in both directions"
				}
				fmt.Fprintf(a.env.Stdout, "federation   %s\nMatrix name  %s\nallowed      %s\ndenied       %s\n", state, on.Answers.ServerName,
					strings.Join(live.Servers.Allow, ", "), strings.Join(live.Servers.Deny, ", "))
				return nil
			})
		},
	}
}

func supportCommand(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "support",
		Short: "Collect diagnostics",
		Args:  noSubcommand,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	var output string
	bundle := &cobra.Command{
		Use:   "bundle",
		Short: "Write versions, findings, configuration and logs to one file, without secrets or messages",
		Args:  exactly(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if output == "" {
				output = "appliance-support-" + time.Now().UTC().Format("20060102T150405Z") + ".tar.gz"
			}
			return examine(a, func(on *site.Site) error {
				if err := support.Bundle(cmd.Context(), on, output, a.buildInfo()); err != nil {
					return err
				}
				if a.json {
					return json.NewEncoder(a.env.Stdout).Encode(map[string]string{"file": output})
				}
				fmt.Fprintf(a.env.Stdout, "wrote %s; review it before you share it: tar xzf %s\n", output, output)
				return nil
			})
		},
	}
	bundle.Flags().StringVarP(&output, "output", "o", "", "write to `FILE`")
	cmd.AddCommand(bundle)
	return cmd
}
