package cli

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"appliance/provision"
	"appliance/provision/archive"
	"appliance/provision/rotate"
	"appliance/provision/site"
)

func secretsCommand(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "secrets",
		Short: "Replace secrets of the installation",
		Args:  noSubcommand,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(rotateCommand(a))
	return cmd
}

type rotateOptions struct{ all, dryRun, yes bool }

func rotateCommand(a *app) *cobra.Command {
	var o rotateOptions
	cmd := &cobra.Command{
		Use:   "rotate [SECRET...]",
		Short: "Replace secrets, tell the servers and restart what uses them",
		Long: "Replaces secrets with new ones: the servers that know them are told, what uses them is restarted, and at the end\n" +
			"the new ones must be accepted and the old ones rejected. If that fails, the old ones are put back; if it is\n" +
			"interrupted, appliance up completes it. The secrets are\n" + listing(rotate.Keys()) + ".",
		Example:   "  appliance secrets rotate create-token\n  appliance secrets rotate postgres-password --dry-run\n  appliance secrets rotate --all --yes",
		ValidArgs: rotate.Keys(),
		RunE: func(cmd *cobra.Command, keys []string) error {
			if o.all == (len(keys) > 0) {
				return &usageError{err: fmt.Errorf("name the secrets to replace, or all of them with --all: %s", strings.Join(rotate.Keys(), ", "))}
			}
			for _, key := range keys {
				if key != rotate.SigningKey && !slices.Contains(rotate.Keys(), key) {
					return &usageError{err: fmt.Errorf("there is no secret %q; the secrets are: %s", key, strings.Join(rotate.Keys(), ", "))}
				}
			}
			if err := a.absolute(); err != nil {
				return err
			}
			return rotateSecrets(cmd.Context(), a, keys, o)
		},
	}
	cmd.Flags().BoolVar(&o.all, "all", false, "replace every secret that this installation can replace itself")
	cmd.Flags().BoolVar(&o.dryRun, "dry-run", false, "print what would be changed and restarted, and exit")
	cmd.Flags().BoolVarP(&o.yes, "yes", "y", false, "do not ask for confirmation")
	return cmd
}

// listing breaks a list of words into lines.
func listing(words []string) string {
	var b strings.Builder
	for i, w := range words {
		switch {
		case i > 0 && i%6 == 0:
			b.WriteString(",\n")
		case i > 0:
			b.WriteString(", ")
		}
		b.WriteString(w)
	}
	return b.String()
}

// A rotated is what the command did.
type rotated struct {
	Rotated []string         `json:"rotated"`
	Key     *archive.KeyInfo `json:"backup_key,omitempty"` // new
	Plan    []rotate.Secret  `json:"secrets,omitempty"`    // of a dry run
	Steps   []string         `json:"steps,omitempty"`
}

func rotateSecrets(ctx context.Context, a *app, keys []string, o rotateOptions) error {
	services, key := withoutKey(keys)
	key = key || o.all
	program, err := a.env.Executable()
	if err != nil {
		return err
	}
	var r *provision.Rotation
	if o.all || len(services) > 0 {
		r, err = provision.PrepareRotation(ctx, provision.Options{Dir: a.dir, Program: program}, services)
		defer func() { _ = r.Close() }()
		if err != nil {
			return err
		}
	}
	if o.dryRun {
		return showRotation(a, r, key)
	}
	if !o.yes {
		question := "Replace " + strings.Join(names(r, key), ", ") + "?"
		if list := restarted(r); len(list) > 0 {
			question = "Replace " + strings.Join(names(r, key), ", ") + " and restart " + strings.Join(list, ", ") + "?"
		}
		if err := a.confirm(question); err != nil {
			return err
		}
	}
	if r != nil {
		if err := a.reporting(func(reporter provision.Reporter) error { return r.Run(ctx, reporter) }); err != nil {
			return err
		}
	}
	out := rotated{Rotated: names(r, key)}
	if key {
		if out.Key, err = newBackupKey(a); err != nil {
			return err
		}
	}
	return a.show(out, func(w io.Writer) {
		fmt.Fprintln(w, "rotated; earlier backups still contain the old values")
		if out.Key != nil {
			newKey(a, *out.Key)
		}
	})
}

// withoutKey takes the key to the backups out of a list.
func withoutKey(keys []string) (others []string, key bool) {
	for _, k := range keys {
		if k == rotate.BackupKey {
			key = true
			continue
		}
		others = append(others, k)
	}
	return others, key
}

func names(r *provision.Rotation, key bool) (out []string) {
	if r != nil {
		for _, s := range r.Secrets {
			out = append(out, s.Key)
		}
	}
	if key {
		out = append(out, rotate.BackupKey)
	}
	return out
}

// restarted returns the services that a rotation restarts, each once.
func restarted(r *provision.Rotation) (out []string) {
	if r == nil {
		return nil
	}
	seen := map[string]bool{}
	for _, s := range r.Secrets {
		for _, service := range s.Restarts {
			if !seen[service] {
				out, seen[service] = append(out, service), true
			}
		}
	}
	return out
}

func newBackupKey(a *app) (*archive.KeyInfo, error) {
	s, err := site.Open(a.dir)
	if err != nil {
		return nil, err
	}
	defer func() { _ = s.Close() }()
	key, err := archive.NewKey(s)
	return &key, err
}

// showRotation prints what would be done.
func showRotation(a *app, r *provision.Rotation, key bool) error {
	out := rotated{Rotated: []string{}}
	if r != nil {
		out.Plan = r.Secrets
		for _, s := range r.Plan.Steps {
			out.Steps = append(out.Steps, s.ID)
		}
	}
	if key {
		out.Plan = append(out.Plan, rotate.Secret{Key: rotate.BackupKey, Does: "the key for new backups; the old one stays, for the old backups"})
	}
	return a.show(out, func(w io.Writer) {
		table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
		for _, s := range out.Plan {
			restarts := "restarts nothing"
			if len(s.Restarts) > 0 {
				restarts = "restarts " + strings.Join(s.Restarts, ", ")
			}
			fmt.Fprintf(table, "%s\t%s\t%s\n", s.Key, s.Does, restarts)
		}
		_ = table.Flush()
		if r != nil {
			fmt.Fprintln(w)
			fmt.Fprint(w, r.Plan.String())
		}
	})
}
