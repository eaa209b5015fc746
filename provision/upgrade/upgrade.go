// Package upgrade upgrades an installation: it refuses what cannot work, makes a
// backup, changes the host, runs the health checks, and rolls back if they fail.
package upgrade

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"slices"
	"strings"
	"time"

	"appliance/provision"
	"appliance/provision/archive"
	"appliance/provision/checkup"
	"appliance/provision/finding"
	"appliance/provision/internal/atomicfile"
	"appliance/provision/plan"
	"appliance/provision/site"
	"appliance/provision/stack"
)

// Options say what to upgrade to.
type Options struct {
	provision.Options
	NewVersions []byte        // content of another versions.env; nil for this program's
	Breaking    bool          // breaking changes are accepted
	Patience    time.Duration // how long until all checks must pass
	Version     string        // of this program
	Keep        int           // how many backups of upgrades to keep, the newest ones; 0 for all
}

// An Upgrade is a prepared upgrade.
type Upgrade struct {
	Changes []plan.Change
	Plan    plan.Plan
	Removed []string         // backups of earlier upgrades, after a successful one
	NewKey  *archive.KeyInfo // the key to the backups, if this upgrade's backup created it
	o       Options
	site    *site.Site
}

// A FailedError says that an upgrade failed, and what is there now.
type FailedError struct {
	Cause      error
	RolledBack bool
	Backup     string
}

func (e *FailedError) Error() string { return e.Outcome() + ": " + e.Cause.Error() }

// Outcome says what became of the installation.
func (e *FailedError) Outcome() string {
	if e.RolledBack {
		return "the upgrade failed and was rolled back"
	}
	return "the upgrade failed, and so did the rollback"
}

// Unwrap returns the failure.
func (e *FailedError) Unwrap() error { return e.Cause }

// Hint says what to do.
func (e *FailedError) Hint() string {
	if e.RolledBack {
		return "nothing was lost; fix what the new version complains about, or stay on the old one. The backup is " + e.Backup
	}
	return "try again with: appliance upgrade --rollback; the backup is " + e.Backup
}

// Prepare looks at what an upgrade would change. It changes nothing.
func Prepare(ctx context.Context, o Options) (*Upgrade, error) {
	s, err := site.Open(o.Dir)
	if err != nil {
		return nil, err
	}
	o.Answers, o.Upgrade, o.Versions = s.Answers, true, &o.NewVersions
	u := &Upgrade{o: o, site: s}
	if err := provision.CheckVersions(o.NewVersions); err != nil {
		return u, err
	}
	p, err := provision.Prepare(ctx, o.Options)
	if p != nil {
		defer func() { _ = p.Close() }()
		u.Changes, u.Plan = p.Changes(), p.Plan
	}
	return u, err
}

// Close releases what Prepare opened.
func (u *Upgrade) Close() error { return u.site.Close() }

// Gate returns why the upgrade should not begin.
func (u *Upgrade) Gate(ctx context.Context) error {
	var refused, breaking []string
	for _, c := range plan.Severe(u.Changes) {
		if c.Refused != "" {
			refused = append(refused, c.Service+": "+c.Refused)
		} else {
			breaking = append(breaking, c.Service+": "+c.Breaking)
		}
	}
	switch {
	case len(refused) > 0:
		return &provision.GateError{Reasons: refused, Advice: "choose versions that can be reached from the installed ones: appliance upgrade --versions FILE"}
	case len(breaking) > 0 && !u.o.Breaking:
		return &provision.GateError{Reasons: breaking, Advice: "if that is wanted, run: appliance upgrade --accept-breaking"}
	}
	if _, err := archive.ReadReturnPoint(u.site); err == nil {
		return nil // an interrupted upgrade continues
	}
	if ill := finding.Failures(checkup.Run(ctx, u.site)); len(ill) > 0 {
		reasons := []string{"the installation is not healthy, and an upgrade would hide the cause"}
		for _, f := range ill {
			reasons = append(reasons, f.Summary)
		}
		return &provision.GateError{Reasons: reasons, Advice: "fix it first; see: appliance doctor"}
	}
	return nil
}

// Run makes a backup, starts the new versions and waits until the health checks
// pass. If they do not, or if anything else fails, it rolls back: it restores the files
// and the data and starts the old versions.
func (u *Upgrade) Run(ctx context.Context, r provision.Reporter) error {
	unlock, err := u.site.Stack.Lock()
	if err != nil {
		return err
	}
	defer unlock()
	if err := u.fetch(ctx, r); err != nil {
		return err // nothing has changed
	}
	at, err := u.begin(ctx, r)
	if err != nil {
		return err
	}
	err = u.change(ctx, at, r)
	if err == nil {
		return u.end(ctx, r)
	}
	back := rollBack(context.WithoutCancel(ctx), u.site, at, r)
	return &FailedError{Cause: errors.Join(err, back), RolledBack: back == nil, Backup: at.Backup}
}

// end finishes an upgrade once the new versions have proved themselves: from here on,
// only a backup leads back.
func (u *Upgrade) end(ctx context.Context, r provision.Reporter) (err error) {
	u.site.Stack.Images().RemoveOld(ctx, u.image())
	if err := os.Remove(u.site.Path(site.UpgradeFile)); err != nil {
		return err
	}
	if u.o.Keep > 0 {
		u.Removed, err = archive.Prune(u.site, archive.BeforeUpgrade, u.o.Keep)
	}
	return errors.Join(err, raise(ctx, u.site, r))
}

// image is the name of this program's image.
func (u *Upgrade) image() string {
	prog, err := stack.OpenProgram(u.o.Program)
	if err != nil {
		return ""
	}
	return prog.Image()
}

// fetch pulls the new images while the old ones still run.
func (u *Upgrade) fetch(ctx context.Context, r provision.Reporter) error {
	var names []string
	for _, c := range u.Changes {
		if c.Service != "bridge" {
			names = append(names, c.To)
		}
	}
	if len(names) == 0 {
		return nil
	}
	step := plan.Step{ID: "fetch", Title: "fetch " + strings.Join(names, ", ")}
	return plan.Track(r, step, func() error {
		return u.site.Stack.Images().Fetch(ctx, names, func(what string, done, total int64) { r.Progress(step.ID, what, done, total) })
	})
}

// begin makes the backup to roll back to, unless an interrupted upgrade has one.
func (u *Upgrade) begin(ctx context.Context, r provision.Reporter) (archive.ReturnPoint, error) {
	at, err := archive.ReadReturnPoint(u.site)
	if err == nil {
		return at, nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return at, err
	}
	saved, err := archive.SaveLocked(ctx, u.site, archive.Options{Program: u.o.Version, Prefix: archive.BeforeUpgrade}, r)
	u.NewKey = saved.NewKey
	if err != nil {
		return at, err
	}
	at = archive.ReturnPoint{Backup: saved.File, Began: time.Now().UTC()}
	return at, at.Write(u.site)
}

func (u *Upgrade) change(ctx context.Context, at archive.ReturnPoint, r provision.Reporter) error {
	name := u.site.Path(site.VersionsFile)
	err := os.Remove(name)
	if u.o.NewVersions != nil {
		err = atomicfile.Write(name, u.o.NewVersions, 0o644)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if slices.ContainsFunc(u.Changes, func(c plan.Change) bool { return c.Service == "postgres" && c.Breaking != "" }) {
		if err := at.UnpackDump(ctx, u.site, "postgres", r); err != nil {
			return err
		}
	}
	p, err := provision.Prepare(ctx, u.o.Options)
	if p != nil {
		defer func() { _ = p.Close() }()
	}
	if err != nil {
		return err
	}
	if err := p.Execute(ctx, r); err != nil {
		return err
	}
	return plan.Track(r, plan.Step{ID: "health", Title: "run the health checks"}, func() error {
		if ill := finding.Failures(checkup.Await(ctx, u.site, u.o.Patience)); len(ill) > 0 {
			return &provision.NotReadyError{Findings: ill}
		}
		return ctx.Err()
	})
}

// rollBack puts the files and the data of a backup back in their places, starts
// what ran before, and forgets the upgrade.
func rollBack(ctx context.Context, s *site.Site, at archive.ReturnPoint, r provision.Reporter) error {
	if err := at.Unpack(ctx, s, r); err != nil {
		return err
	}
	step := plan.Step{ID: "rollback", Title: "restore the previous version"}
	hear := stack.Progress(r, step.ID)
	return plan.Track(r, step, func() error {
		if err := s.Stack.Compose().Down(ctx, false, hear); err != nil {
			return err
		}
		if err := archive.PutBack(s); err != nil {
			return err
		}
		if err := archive.LoadDatabases(ctx, s, archive.Dumps(s.Dir), hear); err != nil {
			return err
		}
		_, err := s.Stack.Images().RestoreLocked(ctx, func(what string, done, total int64) { r.Progress(step.ID, what, done, total) })
		if err != nil {
			return err
		}
		if err := s.Stack.Compose().Up(ctx, hear); err != nil {
			return err
		}
		return os.Remove(s.Path(site.UpgradeFile))
	})
}

// Rollback reverts an upgrade that was interrupted or whose own rollback failed.
func Rollback(ctx context.Context, s *site.Site, r provision.Reporter) error {
	unlock, err := s.Stack.Lock()
	if err != nil {
		return err
	}
	defer unlock()
	at, err := archive.ReadReturnPoint(s)
	if errors.Is(err, fs.ErrNotExist) {
		return &provision.GateError{Reasons: []string{"no upgrade is in progress"}, Advice: "to go back further, restore a backup: see " + s.Path(site.BackupsDir)}
	}
	if err != nil {
		return err
	}
	return rollBack(ctx, s, at, r)
}
