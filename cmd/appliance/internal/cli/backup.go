package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"appliance/provision"
	"appliance/provision/answers"
	"appliance/provision/archive"
	"appliance/provision/backup"
	"appliance/provision/checkup"
	"appliance/provision/doctor"
	"appliance/provision/finding"
	"appliance/provision/site"
)

// keyFlags are the ways to encrypt and to decrypt a backup.
type keyFlags struct {
	recipients              []string
	recipientsFile          string
	identities              []string
	passphraseFile          string
	plain                   bool // no encryption at all
	canEncrypt, canIdentify bool
}

func (f *keyFlags) add(cmd *cobra.Command) {
	if f.canEncrypt {
		cmd.Flags().StringArrayVarP(&f.recipients, "recipient", "r", nil, "encrypt for this age public `KEY`; may be repeated")
		cmd.Flags().StringVar(&f.recipientsFile, "recipients-file", "", "encrypt for the age public keys in `FILE`, one per line")
		cmd.Flags().BoolVar(&f.plain, "no-encryption", false, "do not encrypt: anyone who can read the file gets all secrets")
		for _, other := range []string{"recipient", "recipients-file"} {
			cmd.MarkFlagsMutuallyExclusive("no-encryption", other)
		}
	}
	if f.canIdentify {
		cmd.Flags().StringArrayVarP(&f.identities, "identity", "i", nil, "decrypt with the age private key in `FILE`; may be repeated")
	}
	cmd.Flags().StringVar(&f.passphraseFile, "passphrase-file", "", "read the passphrase from the first line of `FILE`")
}

func (f *keyFlags) keys() (k backup.Keys, err error) {
	if err := k.To(f.recipients, f.recipientsFile); err != nil {
		return k, &usageError{err: err}
	}
	for _, file := range f.identities {
		if err := k.Identity(file); err != nil {
			return k, &usageError{err: err}
		}
	}
	if f.passphraseFile != "" {
		if f.plain {
			return k, &usageError{err: errors.New("--no-encryption and --passphrase-file cannot be combined")}
		}
		if err := k.Passphrase(f.passphraseFile); err != nil {
			return k, &usageError{err: err}
		}
	}
	return k, nil
}

// reading returns the keys to decrypt with: those that were named, or the key of the
// installation in dir.
func (f *keyFlags) reading(dir string) (backup.Keys, error) {
	if len(f.identities) == 0 && f.passphraseFile == "" {
		return archive.OwnKeys(dir)
	}
	return f.keys()
}

func backupCommand(a *app) *cobra.Command {
	var output string
	var keep int
	var local, alarm bool
	keys := keyFlags{canEncrypt: true}
	cmd := &cobra.Command{
		Use:   "backup",
		Short: "Back up databases, media, keys, configuration and secrets to one file",
		Long: "Writes the whole installation to one file. The bridge and the homeserver are stopped while the\n" +
			"databases are read; Rocket.Chat stays open. The file is encrypted with the key of the installation, which the\n" +
			"first backup makes, unless other keys are named: keep a copy of it off this host. See: appliance backup key",
		Args: exactly(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			k, err := keys.keys()
			if err != nil {
				return err
			}
			if keep < 0 || keep > 0 && output != "" {
				return &usageError{err: errors.New("--keep takes a number of backups in backups/ of the installation and cannot be combined with --output")}
			}
			if output != "" {
				if output, err = filepath.Abs(output); err != nil {
					return err
				}
			}
			return a.with(func(on *site.Site) error {
				saved, err := a.backup(cmd.Context(), on, archive.Options{File: output, Keys: k, Plain: keys.plain, Keep: keep, Local: local}, alarm)
				switch {
				case saved.File != "":
					err = errors.Join(a.saved(saved), err) // it is here, whatever became of it elsewhere
				case saved.NewKey != nil:
					newKey(a, *saved.NewKey)
				}
				return err
			})
		},
	}
	keys.add(cmd)
	cmd.Flags().StringVarP(&output, "output", "o", "", "write the backup to `FILE` instead of the installation's backups directory")
	cmd.Flags().BoolVar(&local, "local", false, "do not send it to the location in backup_offsite")
	cmd.Flags().BoolVar(&alarm, "alarm", false, "send an alarm if it fails (see the answer alarms)")
	cmd.Flags().IntVar(&keep, "keep", 0, "keep the newest `N` in the backups directory and remove older ones")
	cmd.AddCommand(backupVerifyCommand(a), backupKeyCommand(a), backupListCommand(a), backupFetchCommand(a), backupDrillCommand(a))
	return cmd
}

// backup makes a backup and sends it off-site if the answers say so. The outcome of both
// is recorded for the doctor, unless the backup is of another kind.
func (a *app) backup(ctx context.Context, on *site.Site, o archive.Options, alarm bool) (saved archive.Saved, err error) {
	o.Program = a.buildInfo().Version
	away := on.Answers.Offsite != "" && o.File == "" && !o.Local
	if away && o.Plain {
		return saved, &archive.PlainError{}
	}
	err = a.reporting(func(r provision.Reporter) (err error) {
		saved, err = archive.Save(ctx, on, o, r)
		if o.File == "" {
			noted(a, ctx, on, doctor.ChoreBackup, err, alarm)
		}
		if err == nil && away {
			err = archive.SendOffsite(ctx, on, &saved, r)
			noted(a, ctx, on, doctor.ChoreOffsite, err, alarm)
		}
		return err
	})
	if err == nil {
		err = checkup.Saved(ctx, on)
	}
	return saved, err
}

// noted records the outcome of a chore, and alerts the operator of a failure at once when
// nobody may be watching. An interrupted chore has not failed.
func noted(a *app, ctx context.Context, on *site.Site, chore string, failed error, alarm bool) {
	if ctx.Err() != nil && !alarm {
		return
	}
	ctx = context.WithoutCancel(ctx)
	f, err := checkup.Note(on, chore, failed)
	if alarm {
		_, alarmErr := checkup.AlarmOf(ctx, on, a.findings([]finding.Finding{f})[0])
		err = errors.Join(err, alarmErr)
	}
	if err != nil {
		fmt.Fprintf(a.env.Stderr, "appliance: %v\n", err) // the failure itself matters more
	}
}

func (a *app) saved(s archive.Saved) error {
	if a.json {
		return json.NewEncoder(a.env.Stdout).Encode(s)
	}
	fmt.Fprintf(a.env.Stdout, "saved %.1f MB in %s (%.1f MB); the bridge was stopped for %s\n",
		float64(s.Content)/1e6, s.File, float64(s.Bytes)/1e6, s.Pause.Round(100*time.Millisecond))
	if n := len(s.Removed); n > 0 {
		fmt.Fprintf(a.env.Stdout, "removed %d older\n", n)
	}
	if s.Offsite != "" {
		fmt.Fprintf(a.env.Stdout, "sent to %s and read back\n", s.Offsite)
	}
	if n := len(s.OffsiteRemoved); n > 0 {
		fmt.Fprintf(a.env.Stdout, "removed %d older there\n", n)
	}
	for _, link := range s.Links {
		note(a, link+" points outside the installation: its target is not saved, and appliance restore needs --accept-links")
	}
	if !s.Encrypted {
		fmt.Fprintln(a.env.Stderr, "the file holds all secrets unencrypted: keep it safe, or leave out --no-encryption")
	}
	if s.NewKey != nil {
		newKey(a, *s.NewKey)
	}
	return nil
}

// newKey says once what matters most about a newly created key.
func newKey(a *app, key archive.KeyInfo) {
	fmt.Fprint(a.env.Stderr, a.exact("\nBackups are encrypted, and the only key is on this host: "+key.File+"\n"+
		"Copy it to another place now. If this host is lost without a copy, no backup of it can be restored.\n"+
		"To see its location and public part again: appliance backup key\n"))
}

func backupKeyCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "key",
		Short: "Show where the backup key is kept, and its public part",
		Args:  exactly(0),
		RunE: func(*cobra.Command, []string) error {
			return a.with(func(on *site.Site) error {
				key, err := archive.Key(on)
				if err != nil {
					return err
				}
				return a.show(key, func(w io.Writer) {
					fmt.Fprintf(w, "private key     %s (keep a copy off this host)\npublic key      %s\n", key.File, key.Recipient)
				})
			})
		},
	}
}

func backupVerifyCommand(a *app) *cobra.Command {
	keys := keyFlags{canIdentify: true}
	cmd := &cobra.Command{
		Use:   "verify FILE",
		Short: "Read a whole backup and verify every checksum",
		Args:  exactly(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			k, err := keys.reading(a.dir)
			if err != nil {
				return err
			}
			printer := a.printer()
			h, m, err := archive.Verify(cmd.Context(), args[0], k, printer)
			printer.Close()
			if err != nil {
				return err
			}
			if a.json {
				return json.NewEncoder(a.env.Stdout).Encode(struct {
					backup.Header
					Members int   `json:"members"`
					Content int64 `json:"content"`
				}{h, len(m.Members), m.Size()})
			}
			fmt.Fprintf(a.env.Stdout, "%s is complete: %s (%s), made on %s by appliance %s, %.1f MB in %d members\n",
				args[0], h.ServerName, h.Homeserver, h.Created.Format(time.RFC3339), h.Program, float64(m.Size())/1e6, len(m.Members))
			return nil
		},
	}
	keys.add(cmd)
	return cmd
}

func restoreCommand(a *app) *cobra.Command {
	var o upOptions
	var trust archive.RestoreOptions
	var accept, drop bool
	keys := keyFlags{canIdentify: true}
	cmd := &cobra.Command{
		Use:   "restore FILE",
		Short: "Restore a backup onto an empty host and start it",
		Long: "Unpacks a backup into an empty directory, verifies it, loads the databases and starts everything.\n" +
			"A damaged backup leaves nothing behind. Complete an interrupted restore with: appliance up",
		Args: exactly(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := a.absolute(); err != nil {
				return err
			}
			k, err := keys.reading(a.dir)
			if err != nil {
				return err
			}
			trust.File, trust.Keys = args[0], k
			switch {
			case accept:
				trust.Foreign = archive.ForeignAccept
			case drop:
				trust.Foreign = archive.ForeignDrop
			}
			trust.Fit = func(ctx context.Context, saved answers.Answers) error {
				got, err := changed(a, saved, o.set)
				if err == nil {
					err = provision.Fit(ctx, a.dir, got)
				}
				return err
			}
			err = a.reporting(func(r provision.Reporter) error { return archive.Restore(cmd.Context(), a.dir, trust, r) })
			if foreign, ok := errors.AsType[*archive.ForeignError](err); ok && !a.json {
				fmt.Fprint(a.env.Stderr, foreign.Show())
			}
			if err != nil {
				return err
			}
			o.yes = true
			return a.up(cmd.Context(), o)
		},
	}
	keys.add(cmd)
	cmd.Flags().BoolVar(&accept, "accept-overrides", false, "restore compose.override.yaml and other files of the backup that decide what runs on this host")
	cmd.Flags().BoolVar(&drop, "drop-overrides", false, "restore without them")
	cmd.MarkFlagsMutuallyExclusive("accept-overrides", "drop-overrides")
	cmd.Flags().BoolVar(&trust.Links, "accept-links", false, "restore symbolic links that point outside the installation")
	cmd.Flags().StringArrayVar(&o.set, "set", nil, "change an answer, as `key=value`; may be repeated")
	cmd.Flags().DurationVar(&o.patience, "patience", 60*time.Second, "how long to wait for the installation to become healthy")
	return cmd
}
