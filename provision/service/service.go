// Package service runs an installation as a service of the host: systemd units and
// timers, and the same chores without systemd.
package service

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"appliance/provision/render"
	"appliance/provision/site"
	"appliance/provision/stack"
)

// DefaultKeep is how many backups of the nightly timer are kept by default.
const DefaultKeep = 7

// Options of the service.
type Options struct {
	Program    string // the file of this program, as the units run it
	Keep       int    // how many backups to keep; 0 for no automatic backups
	Recipients string // file with public keys that backups are encrypted for, or ""
	Plain      bool   // backups are not encrypted
	UnitDir    string // "" for that of this host, whose systemd is notified
}

// A NoSystemdError says that this host was not started by systemd.
type NoSystemdError struct{}

func (*NoSystemdError) Error() string { return "this host does not run systemd" }

// Hint says what to do.
func (*NoSystemdError) Hint() string {
	return "containers restart with Docker; for the rest, run this under your supervisor: appliance service run"
}

// units returns the installation's units, in the given directory or in the host's.
func units(s *site.Site, dir string) (stack.Units, error) {
	u := stack.Units{Dir: dir, Prefix: render.UnitPrefix(stack.BaseName(s.Dir))}
	if dir == "" {
		u.Dir, u.Live = stack.UnitDir, true
		if !stack.Systemd() {
			return u, &NoSystemdError{}
		}
	}
	if owner := u.Owner(); owner != "" && owner != s.Dir {
		u.Prefix = render.UnitPrefix(s.Stack.Project)
	}
	return u, nil
}

// Install adds a unit that starts the installation at boot, and
// timers for backups, drills with them, the doctor and, where no service renews them,
// certificates. It reports whether anything had to be changed.
func Install(ctx context.Context, s *site.Site, o Options) (changed bool, err error) {
	u, err := units(s, o.UnitDir)
	if err != nil {
		return false, err
	}
	if o.Recipients != "" {
		if o.Recipients, err = filepath.Abs(o.Recipients); err != nil {
			return false, err
		}
	}
	files, err := o.files(s, u.Prefix)
	if err != nil {
		return false, err
	}
	return u.Install(ctx, files)
}

// Drill reports whether backups are tested every month: if they are made, and their key
// is on this host.
func (o Options) Drill() bool { return o.Keep > 0 && o.Recipients == "" }

// drillWanted reports whether the installed units should include a drill and lack it,
// because an earlier release installed them.
func drillWanted(u stack.Units, have []string) bool {
	if !slices.Contains(have, u.Prefix+"-backup.timer") || slices.Contains(have, u.Prefix+"-drill.timer") {
		return false
	}
	unit, err := os.ReadFile(filepath.Join(u.Dir, u.Prefix+"-backup.service"))
	return err == nil && !strings.Contains(string(unit), " --recipients-file ")
}

// files renders the units.
func (o Options) files(s *site.Site, prefix string) (map[string][]byte, error) {
	docker, err := stack.Docker()
	if err != nil {
		return nil, err
	}
	return render.Units{
		Drill: o.Drill(), Answers: s.Answers, Prefix: prefix, Dir: s.Dir, Program: o.Program, Docker: docker, Keep: o.Keep, Recipients: o.Recipients, Plain: o.Plain,
	}.Files()
}

// Lacking says why units should be installed, or "" if none are wanted, this host has no
// systemd, or all are there. An operator who left out the backup goes without it.
func Lacking(s *site.Site) string {
	if !s.Answers.Systemd {
		return ""
	}
	u, err := units(s, "")
	if err != nil {
		return ""
	}
	have := u.Names()
	if len(have) == 0 {
		return "no units of systemd are installed"
	}
	for _, name := range render.UnitNames(s.Answers, u.Prefix, 0, drillWanted(u, have)) {
		if !slices.Contains(have, name) {
			return name + " is missing"
		}
	}
	return ""
}

// Complete installs the units that Lacking finds missing. Existing ones stay as they are:
// they may have been installed with other options.
func Complete(ctx context.Context, s *site.Site, program string) error {
	u, err := units(s, "")
	if err != nil {
		return err
	}
	o := Options{Keep: DefaultKeep}
	if o.Program, err = ProgramFile(program); err != nil {
		return err
	}
	have := u.Names()
	if len(have) > 0 {
		o.Keep = 0
	}
	files, err := o.files(s, u.Prefix)
	if err != nil {
		return err
	}
	if drillWanted(u, have) {
		all, err := Options{Program: o.Program, Keep: DefaultKeep}.files(s, u.Prefix)
		if err != nil {
			return err
		}
		for _, name := range []string{u.Prefix + "-drill.service", u.Prefix + "-drill.timer"} {
			files[name] = all[name]
		}
	}
	for _, name := range have {
		if files[name], err = os.ReadFile(filepath.Join(u.Dir, name)); err != nil {
			return err
		}
	}
	_, err = u.Install(ctx, files)
	return err
}

// Remove removes the units and returns their names. Running services stay up.
func Remove(ctx context.Context, s *site.Site, unitDir string) ([]string, error) {
	u, err := units(s, unitDir)
	if err != nil {
		return nil, err
	}
	return u.Remove(ctx)
}

// Forget is Remove for an installation that is being removed; without systemd
// there is nothing to do.
func Forget(ctx context.Context, s *site.Site) error {
	_, err := Remove(ctx, s, "")
	if _, none := errors.AsType[*NoSystemdError](err); none {
		return nil
	}
	return err
}

// Status returns the state of the units.
func Status(ctx context.Context, s *site.Site, unitDir string) ([]stack.UnitStatus, error) {
	u, err := units(s, unitDir)
	if err != nil {
		return nil, err
	}
	return u.Status(ctx)
}

// ProgramFile returns the file that units run: name, with symbolic links resolved. It fails
// if that file cannot be executed.
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
