package provision

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"appliance/provision/answers"
	"appliance/provision/certs"
	"appliance/provision/plan"
	"appliance/provision/render"
	"appliance/provision/stack"
)

// ServiceOptions say how the host looks after an installation.
type ServiceOptions struct {
	Program    string // the file of this program, as the units run it
	Keep       int    // how many backups stay; 0 for none that are made by themselves
	Recipients string // file with public keys that backups are encrypted for, or ""
	UnitDir    string // "" for that of this host, whose systemd is told
}

// A NoSystemdError says that this host was not started by systemd.
type NoSystemdError struct{}

func (*NoSystemdError) Error() string { return "this host does not run systemd" }

// Hint says what to do.
func (*NoSystemdError) Hint() string {
	return "containers start again by themselves when Docker does; for the rest, run under what supervises services here: appliance service run"
}

// Units are the installation's, in the directory that was given or in the host's.
func (i *Installed) units(dir string) (stack.Units, error) {
	u := stack.Units{Dir: dir, Prefix: render.UnitPrefix(stack.BaseName(i.p.opts.Dir))}
	if dir == "" {
		u.Dir, u.Live = stack.UnitDir, true
		if !stack.Systemd() {
			return u, &NoSystemdError{}
		}
	}
	if owner := u.Owner(); owner != "" && owner != i.p.opts.Dir {
		u.Prefix = render.UnitPrefix(i.p.stack.Project)
	}
	return u, nil
}

// InstallService makes systemd start what is installed with the host, and adds
// timers for backups, the doctor and, where no service sees to them,
// certificates. It reports whether anything had to be changed.
func (i *Installed) InstallService(ctx context.Context, o ServiceOptions) (changed bool, err error) {
	units, err := i.units(o.UnitDir)
	if err != nil {
		return false, err
	}
	if o.Recipients != "" {
		if o.Recipients, err = filepath.Abs(o.Recipients); err != nil {
			return false, err
		}
	}
	docker, err := stack.Docker()
	if err != nil {
		return false, err
	}
	files, err := render.Units{
		Answers: i.Answers, Prefix: units.Prefix, Dir: i.p.opts.Dir, Program: o.Program, Docker: docker, Keep: o.Keep, Recipients: o.Recipients,
	}.Files()
	if err != nil {
		return false, err
	}
	return units.Install(ctx, files)
}

// RemoveService takes the units away and returns their names. What runs goes on.
func (i *Installed) RemoveService(ctx context.Context, unitDir string) ([]string, error) {
	units, err := i.units(unitDir)
	if err != nil {
		return nil, err
	}
	return units.Remove(ctx)
}

// forgetService is RemoveService for an installation that goes away itself.
func (i *Installed) forgetService(ctx context.Context) error {
	_, err := i.RemoveService(ctx, "")
	if _, none := errors.AsType[*NoSystemdError](err); none {
		return nil
	}
	return err
}

// Service returns what has become of the units.
func (i *Installed) Service(ctx context.Context, unitDir string) ([]stack.UnitStatus, error) {
	units, err := i.units(unitDir)
	if err != nil {
		return nil, err
	}
	return units.Status(ctx)
}

// RenewCertificates sees to the certificates that it is time for: from this
// host's own authority, from the operator's files when they have changed, and
// from an ACME authority where the service that does so has not. It returns the
// hosts that have new ones.
func (i *Installed) RenewCertificates(ctx context.Context, r Reporter) (renewed []string, err error) {
	unlock, err := i.p.stack.Lock()
	if err != nil {
		return nil, err
	}
	defer unlock()
	a := i.Answers
	if a.TLS == answers.Files {
		if i.p.bundle, err = certs.ReadFiles(a.TLSCertFile, a.TLSKeyFile, a.Hosts(), time.Now()); err != nil {
			return nil, asAnswerError("tls_cert_file", err)
		}
	}
	for _, host := range a.Hosts() {
		cause := i.p.needCertificate(host)
		if cause == "" {
			continue
		}
		step := plan.Step{ID: "certificate", Title: "get a certificate for " + host, Cause: cause}
		err := reported(r, step, func() error {
			return (&executor{Prepared: i.p, step: step.ID, r: r}).GetCertificate(ctx, plan.GetCertificate{Host: host})
		})
		if err != nil {
			return renewed, err
		}
		renewed = append(renewed, host)
	}
	return renewed, nil
}

// A Chore is something that is done again and again.
type Chore struct {
	Name  string
	Every time.Duration
	Do    func(context.Context) error
}

// Chores does them until ctx ends, each at once and then as often as it is due,
// one after the other. last says when a chore was done before; said hears of
// those that failed.
func Chores(ctx context.Context, chores []Chore, last func(name string) time.Time, said func(name string, err error)) {
	due := make([]time.Time, len(chores))
	for n, c := range chores {
		due[n] = last(c.Name).Add(c.Every)
	}
	for {
		next := time.Now().Add(time.Hour)
		for n, c := range chores {
			if !time.Now().Before(due[n]) {
				if err := c.Do(ctx); err != nil && ctx.Err() == nil {
					said(c.Name, err)
				}
				due[n] = time.Now().Add(c.Every)
			}
			if due[n].Before(next) {
				next = due[n]
			}
		}
		timer := time.NewTimer(time.Until(next))
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
		}
	}
}

// LastBackup is when the installation was saved last, or zero.
func (i *Installed) LastBackup() time.Time {
	_, last := i.p.backupTimes()
	return last
}

// ProgramFile is the file that units run: name, when it stays where it is.
func ProgramFile(name string) (string, error) {
	name, err := filepath.EvalSymlinks(name)
	if err != nil {
		return "", err
	}
	if info, err := os.Stat(name); err != nil || info.Mode()&0o111 == 0 {
		return "", errors.Join(err, fmt.Errorf("%s cannot be executed", name))
	}
	return name, nil
}
