package provision

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"appliance/provision/finding"
	"appliance/provision/internal/atomicfile"
	"appliance/provision/plan"
	"appliance/provision/render"
	"appliance/provision/stack"
)

// versionsFile names other images than this program's, as an upgrade was told;
// upgradeFile exists while an upgrade is under way.
const (
	versionsFile = "versions.env"
	upgradeFile  = ".upgrade"
)

// UpgradeOptions say what to upgrade to.
type UpgradeOptions struct {
	Options
	Versions []byte        // content of another versions.env; nil for this program's
	Breaking bool          // breaking changes are accepted
	Patience time.Duration // how long until all checks have to be good
	Version  string        // of this program
	Keep     int           // how many backups of upgrades stay, the oldest go; 0 for all
}

// An Upgrade is one that has been looked at.
type Upgrade struct {
	Changes []plan.Change
	Plan    plan.Plan
	Removed []string // backups of earlier upgrades, after a good one
	o       UpgradeOptions
	i       *Installed
}

// A GateError says why an upgrade is not begun.
type GateError struct {
	Reasons []string
	Advice  string
}

func (e *GateError) Error() string { return strings.Join(e.Reasons, "; ") }

// Hint says what to do.
func (e *GateError) Hint() string { return e.Advice }

// An UpgradeError says that an upgrade failed, and what is there now.
type UpgradeError struct {
	Cause      error
	RolledBack bool
	Backup     string
}

func (e *UpgradeError) Error() string { return e.Outcome() + ": " + e.Cause.Error() }

// Outcome is what has become of the installation.
func (e *UpgradeError) Outcome() string {
	if e.RolledBack {
		return "the upgrade failed and what was before is running again"
	}
	return "the upgrade failed, and going back failed too"
}

// Unwrap is the failure.
func (e *UpgradeError) Unwrap() error { return e.Cause }

// Hint says what to do.
func (e *UpgradeError) Hint() string {
	if e.RolledBack {
		return "nothing was lost; mend what the new version complains about, or stay. The backup that was made is " + e.Backup
	}
	return "try again with: appliance upgrade --rollback; the backup is " + e.Backup
}

// A HalfwayError says that an upgrade was interrupted.
type HalfwayError struct{ Dir string }

func (e *HalfwayError) Error() string { return "an upgrade of " + e.Dir + " was interrupted" }

// Hint says what to do.
func (e *HalfwayError) Hint() string {
	return "go on with: appliance upgrade; or go back with: appliance upgrade --rollback"
}

// under is what upgradeFile holds.
type under struct {
	Backup string    `json:"backup"` // from which the old version can be had back
	Began  time.Time `json:"began"`
}

// PrepareUpgrade looks at what an upgrade would change. It changes nothing.
func PrepareUpgrade(ctx context.Context, o UpgradeOptions) (*Upgrade, error) {
	i, err := OpenInstalled(o.Dir)
	if err != nil {
		return nil, err
	}
	o.Options.Answers, o.Options.upgrade, o.Options.versions = i.Answers, true, &o.Versions
	u := &Upgrade{o: o, i: i}
	if _, err := images(o.Versions); err != nil {
		return u, err
	}
	p, err := Prepare(ctx, o.Options)
	if p != nil {
		defer func() { _ = p.Close() }()
		u.Changes, u.Plan = plan.Changes(p.state.Disk[".env"].Data, p.wanted.Files[".env"].Data), p.Plan
	}
	return u, err
}

// Close ends what PrepareUpgrade opened.
func (u *Upgrade) Close() error { return u.i.Close() }

// Gate returns why the upgrade should not be begun.
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
		return &GateError{refused, "choose versions that can be reached from the installed ones: appliance upgrade --versions FILE"}
	case len(breaking) > 0 && !u.o.Breaking:
		return &GateError{breaking, "if that is wanted, run: appliance upgrade --accept-breaking"}
	}
	if _, err := u.i.p.readUpgrade(); err == nil {
		return nil // it goes on
	}
	if ill := finding.Failures(u.i.Doctor(ctx)); len(ill) > 0 {
		reasons := []string{"the installation is not well, and an upgrade would hide why"}
		for _, f := range ill {
			reasons = append(reasons, f.Summary)
		}
		return &GateError{reasons, "mend it first; see: appliance doctor"}
	}
	return nil
}

// Run saves everything, brings up the new version and waits until the doctor is
// content. When it is not, or when anything else fails, the files and the data
// of the old version are put back and started.
func (u *Upgrade) Run(ctx context.Context, r Reporter) error {
	unlock, err := u.i.p.stack.Lock()
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
		u.i.p.stack.RemoveOldImages(ctx, u.image())
		if err := os.Remove(u.i.p.path(upgradeFile)); err != nil || u.o.Keep == 0 {
			return err
		}
		u.Removed, err = u.i.removeOld(beforeUpgrade, u.o.Keep)
		return err
	}
	back := u.i.goBack(context.WithoutCancel(ctx), at, r)
	return &UpgradeError{Cause: errors.Join(err, back), RolledBack: back == nil, Backup: at.Backup}
}

// image is the name of this program's image.
func (u *Upgrade) image() string {
	prog, err := stack.OpenProgram(u.o.Program)
	if err != nil {
		return ""
	}
	return prog.Image()
}

// fetch gets the new images while the old ones still run.
func (u *Upgrade) fetch(ctx context.Context, r Reporter) error {
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
	return reported(r, step, func() error {
		return u.i.p.stack.Fetch(ctx, names, func(what string, done, total int64) { r.Progress(step.ID, what, done, total) })
	})
}

// begin makes the backup that leads back, unless an interrupted upgrade has one.
func (u *Upgrade) begin(ctx context.Context, r Reporter) (under, error) {
	at, err := u.i.p.readUpgrade()
	if err == nil {
		return at, nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return at, err
	}
	saved, err := u.i.save(ctx, BackupOptions{Program: u.o.Version, prefix: beforeUpgrade}, r)
	if err != nil {
		return at, err
	}
	at = under{Backup: saved.File, Began: time.Now().UTC()}
	data, err := json.Marshal(at)
	if err != nil {
		return at, err
	}
	return at, atomicfile.Write(u.i.p.path(upgradeFile), data, 0o600)
}

func (u *Upgrade) change(ctx context.Context, at under, r Reporter) error {
	name := u.i.p.path(versionsFile)
	err := os.Remove(name)
	if u.o.Versions != nil {
		err = atomicfile.Write(name, u.o.Versions, 0o644)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if slices.ContainsFunc(u.Changes, func(c plan.Change) bool { return c.Service == "postgres" && c.Breaking != "" }) {
		if err := u.i.dumpOnly(ctx, at, "postgres", r); err != nil {
			return err
		}
	}
	p, err := Prepare(ctx, u.o.Options)
	if p != nil {
		defer func() { _ = p.Close() }()
	}
	if err != nil {
		return err
	}
	if err := p.execute(ctx, r); err != nil {
		return err
	}
	return reported(r, plan.Step{ID: "health", Title: "look whether all is well"}, func() error {
		if ill := finding.Failures(p.checkup(ctx, u.o.Patience)); len(ill) > 0 {
			return &NotReadyError{ill}
		}
		return ctx.Err()
	})
}

// dumpOnly brings one database of a backup to where LoadDatabases finds it.
func (i *Installed) dumpOnly(ctx context.Context, at under, name string, r Reporter) error {
	dir := i.p.opts.Dir
	if err := i.unpackBeside(ctx, at, r); err != nil {
		return err
	}
	for _, other := range dumps(dir) {
		if other != name {
			if err := os.Remove(filepath.Join(restoredDumps(dir), other)); err != nil {
				return err
			}
		}
	}
	return os.RemoveAll(restoredFiles(dir))
}

func (i *Installed) unpackBeside(ctx context.Context, at under, r Reporter) error {
	return reported(r, plan.Step{ID: "unpack", Title: "unpack " + at.Backup}, func() error {
		return unpack(ctx, i.p.opts.Dir, RestoreOptions{File: at.Backup, Links: true}, r)
	})
}

// goBack puts the files and the data of a backup back in their places, starts
// what ran before, and forgets the upgrade.
func (i *Installed) goBack(ctx context.Context, at under, r Reporter) error {
	dir := i.p.opts.Dir
	if err := i.unpackBeside(ctx, at, r); err != nil {
		return err
	}
	return reported(r, plan.Step{ID: "rollback", Title: "put back what was before"}, func() error {
		e := &executor{Prepared: i.p, step: "rollback", r: r}
		if err := e.stack.Down(ctx, false, e.hear); err != nil {
			return err
		}
		stay := append(kept(dir), filepath.Join(dir, restoreDir), filepath.Join(dir, upgradeFile))
		if err := errors.Join(clearBut(dir, stay), place(dir)); err != nil {
			return err
		}
		if err := e.LoadDatabases(ctx, plan.LoadDatabases{Names: dumps(dir)}); err != nil {
			return err
		}
		if _, err := e.stack.RestoreLocked(ctx, e.progress); err != nil {
			return err
		}
		if err := e.stack.Up(ctx, e.hear); err != nil {
			return err
		}
		return os.Remove(i.p.path(upgradeFile))
	})
}

// Rollback goes back from an upgrade that was interrupted or could not go back
// by itself.
func (i *Installed) Rollback(ctx context.Context, r Reporter) error {
	unlock, err := i.p.stack.Lock()
	if err != nil {
		return err
	}
	defer unlock()
	at, err := i.p.readUpgrade()
	if errors.Is(err, fs.ErrNotExist) {
		return &GateError{[]string{"no upgrade is under way"}, "to go back further, restore a backup: see " + i.p.path(BackupsDir)}
	}
	if err != nil {
		return err
	}
	return i.goBack(ctx, at, r)
}

func (p *Prepared) readUpgrade() (under, error) {
	var at under
	data, err := os.ReadFile(p.path(upgradeFile))
	if err == nil {
		err = json.Unmarshal(data, &at)
	}
	return at, err
}

// gate refuses, outside an upgrade, what only an upgrade should do.
func (p *Prepared) gate() error {
	if p.opts.upgrade {
		return nil
	}
	if _, err := p.readUpgrade(); err == nil {
		return &HalfwayError{Dir: p.opts.Dir}
	}
	severe := plan.Severe(plan.Changes(p.state.Disk[".env"].Data, p.wanted.Files[".env"].Data))
	if len(p.state.Dumps) > 0 {
		severe = plan.Refused(severe) // databases are made anew anyway
	}
	var reasons []string
	for _, c := range severe {
		reasons = append(reasons, c.Service+": "+c.From+" -> "+c.To+": "+c.Refused+c.Breaking)
	}
	if len(reasons) > 0 {
		return &GateError{reasons, "that is for: appliance upgrade, which saves everything first and goes back when it fails"}
	}
	return nil
}

// images are the names of all images, as this program pins them or as an
// upgrade was told.
func images(versions []byte) (map[string]string, error) {
	out := render.Images()
	for key, value := range render.ParseVersions(versions) {
		if _, known := out[key]; !known || value == "" {
			return nil, &GateError{[]string{fmt.Sprintf("versions: %q is not the name of an image", key)}, "see the names with: appliance version --json"}
		}
		out[key] = value
	}
	return out, nil
}

// images are those of this installation.
func (p *Prepared) images() (map[string]string, error) {
	if p.opts.versions != nil {
		return images(*p.opts.versions)
	}
	data, err := os.ReadFile(p.path(versionsFile))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	return images(data)
}
