package archive

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"appliance/provision/answers"
	"appliance/provision/backup"
	"appliance/provision/plan"
	"appliance/provision/render"
	"appliance/provision/site"
	"appliance/provision/stack"
)

// site.RestoreDir holds what has been unpacked from a backup and is not in place
// yet: files/ until all of it is verified, databases/ until the dumps are loaded.
// appliance.yaml is put in place last, so that a directory with it is an
// installation and one without it is nothing yet.

func restoredFiles(dir string) string { return filepath.Join(dir, site.RestoreDir, "files") }
func restoredDumps(dir string) string { return filepath.Join(dir, site.RestoreDir, "databases") }

// A PendingError says that a restore was interrupted before its end.
type PendingError struct{ Dir string }

func (e *PendingError) Error() string {
	return "a restore into " + e.Dir + " is incomplete"
}

// Hint says what to do.
func (e *PendingError) Hint() string {
	if site.Exists(e.Dir) {
		return "complete it with: appliance up"
	}
	return "run it again: appliance restore FILE; or remove " + filepath.Join(e.Dir, site.RestoreDir)
}

// A NotEmptyError says that a directory holds something that a restore would replace.
type NotEmptyError struct{ Dir, Found string }

func (e *NotEmptyError) Error() string {
	return fmt.Sprintf("%s is not empty: it has %s", e.Dir, e.Found)
}

// Hint says what to do.
func (e *NotEmptyError) Hint() string {
	return "restore into another directory with --dir, or remove the installation first (certificates and backups are kept): appliance down --purge"
}

// Pending reports whether an interrupted restore is in dir.
func Pending(dir string) (bool, error) {
	_, err := os.Lstat(filepath.Join(dir, site.RestoreDir))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

// CheckPending refuses a directory in which a restore has not yet put everything in place.
func CheckPending(dir string) error {
	pending, err := Pending(dir)
	if err == nil && pending && !site.Exists(dir) {
		err = &PendingError{Dir: dir}
	}
	return err
}

// RestoreOptions say what to restore, and how far to trust a backup that others may have
// written.
type RestoreOptions struct {
	File    string
	Keys    backup.Keys
	Foreign ForeignChoice
	Links   bool // accept symbolic links that lead out of the installation
	// Fit checks from the answers whether this host can take the installation, before anything
	// is put in place; nil to skip that.
	Fit func(context.Context, answers.Answers) error
}

// Restore unpacks a backup into an empty directory. Nothing is put in place
// until the backup has been read to its end and every checksum is right; a
// damaged backup leaves nothing behind. The rest is done by up, which also loads
// the databases.
func Restore(ctx context.Context, dir string, o RestoreOptions, r plan.Reporter) error {
	s, err := stack.Open(dir)
	if err != nil {
		return err
	}
	defer func() { _ = s.Close() }()
	_, statErr := os.Lstat(dir)
	unlock, err := s.Lock()
	if err != nil {
		return err
	}
	defer unlock()
	if err := empty(dir); err != nil {
		return err
	}
	if err := s.Vacant(ctx); err != nil {
		return err
	}
	err = plan.Track(r, plan.Step{ID: "unpack", Title: "unpack and verify " + o.File}, func() error {
		if err := unpack(ctx, dir, o, r); err != nil {
			return err
		}
		return foreign(restoredFiles(dir), o.Foreign)
	})
	if err == nil && o.Fit != nil {
		err = fit(ctx, dir, o, r)
	}
	if err != nil {
		err = errors.Join(fullDisk(err, filepath.Join(dir, "x")), os.RemoveAll(filepath.Join(dir, site.RestoreDir)))
		if errors.Is(statErr, fs.ErrNotExist) {
			_ = os.RemoveAll(dir) // created for this restore
		}
		return err
	}
	if err := rename(dir, s); err != nil {
		return err
	}
	return plan.Track(r, plan.Step{ID: "place", Title: "put the files in place"}, func() error { return place(dir) })
}

// fit checks the host with the answers of the backup.
func fit(ctx context.Context, dir string, o RestoreOptions, r plan.Reporter) error {
	return plan.Track(r, plan.Step{ID: "host", Title: "check this host"}, func() error {
		name := site.AnswersPath(restoredFiles(dir))
		data, err := os.ReadFile(name) //nolint:gosec // just unpacked
		if err != nil {
			return err
		}
		a, err := answers.Parse(name, data)
		if err != nil {
			return err
		}
		return o.Fit(ctx, a)
	})
}

// empty returns an error unless a directory can be restored into. It removes what an
// interrupted restore left behind.
func empty(dir string) error {
	if site.Exists(dir) {
		if pending, _ := Pending(dir); pending {
			return &PendingError{Dir: dir}
		}
		return &NotEmptyError{dir, "an installation"}
	}
	if pending, err := Pending(dir); err != nil || pending {
		// The directory was empty when that restore began.
		if err := errors.Join(err, stack.RemoveBut(dir, kept(dir)...)); err != nil {
			return err
		}
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		switch e.Name() {
		case site.BackupsDir, site.BackupKey, ".lock", stack.MadeFile, site.PurgedFile, "lost+found":
			continue
		case "data":
			below, err := os.ReadDir(filepath.Join(dir, "data"))
			if err == nil && !slices.ContainsFunc(below, func(e fs.DirEntry) bool { return e.Name() != "certs" }) {
				continue
			}
		}
		return &NotEmptyError{dir, e.Name()}
	}
	return nil
}

// kept returns the paths that outlive an installation.
func kept(dir string) []string {
	return []string{filepath.Join(dir, "data", "certs"), filepath.Join(dir, site.BackupsDir), filepath.Join(dir, site.BackupKey), filepath.Join(dir, ".lock"), filepath.Join(dir, stack.MadeFile)}
}

// unpack extracts a backup below site.RestoreDir.
func unpack(ctx context.Context, dir string, o RestoreOptions, r plan.Reporter) error {
	if err := os.RemoveAll(filepath.Join(dir, site.RestoreDir)); err != nil {
		return err
	}
	for _, d := range []string{restoredFiles(dir), restoredDumps(dir)} {
		if err := os.MkdirAll(d, 0o700); err != nil {
			return err
		}
	}
	return readBackup(o.File, o.Keys, r, "unpack", func(in *backup.Reader) error {
		in.OutsideLinks = o.Links
		_, err := in.Unpack(ctx, restoredFiles(dir), restoredDumps(dir))
		if err != nil {
			return err
		}
		return adopt(dir)
	})
}

// rename gives what was unpacked the project name of its new directory: another installation on
// this host may be running under the name in the backup.
func rename(dir string, s *stack.Stack) error {
	from, err := stack.Open(restoredFiles(dir))
	if err != nil {
		return err
	}
	defer func() { _ = from.Close() }()
	m, err := from.Tree().Manifest()
	if err != nil || len(m.Files) == 0 {
		return nil //nolint:nilerr // then there is no name either
	}
	s.Project, from.Project = stack.ProjectName(dir), stack.ProjectName(dir)
	return from.Tree().SaveManifest(m)
}

// adopt makes the answers name the files that came with the backup if this host does not have
// them.
func adopt(dir string) error {
	name := site.AnswersPath(restoredFiles(dir))
	data, err := os.ReadFile(name) //nolint:gosec // just unpacked
	if err != nil {
		return &backup.CorruptError{Reason: "it holds no installation"}
	}
	a, err := answers.Parse(name, data)
	if err != nil {
		return err
	}
	changed := false
	for key, file := range outsideFiles(&a) {
		if *file == "" {
			continue
		}
		brought := filepath.Join(outsideDir, key+".pem")
		if _, err := os.Stat(*file); err == nil {
			_ = os.Remove(filepath.Join(restoredFiles(dir), brought))
		} else {
			*file, changed = filepath.Join(dir, brought), true
		}
	}
	if !changed {
		return nil
	}
	return a.Save(name, site.Command(dir, "up"))
}

// place moves what was unpacked into the installation directory, the answers last. Certificates
// that already exist stay, because they are newer. So does an existing backup key, which may be
// the only one for other backups here.
func place(dir string) error {
	from := restoredFiles(dir)
	stays := func(name string) bool {
		if name == site.BackupKey {
			_, err := os.Lstat(filepath.Join(dir, name))
			return err == nil
		}
		return name == "data" || name == plan.AnswersFile
	}
	if err := moveAll(from, dir, stays); err != nil {
		return err
	}
	if err := os.Mkdir(filepath.Join(dir, "data"), 0o755); err != nil && !errors.Is(err, fs.ErrExist) { //nolint:gosec // as render makes it
		return err
	}
	err := moveAll(filepath.Join(from, "data"), filepath.Join(dir, "data"), func(name string) bool {
		_, err := os.Lstat(filepath.Join(dir, "data", name))
		return err == nil
	})
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := os.Rename(site.AnswersPath(from), site.AnswersPath(dir)); err != nil {
		return err
	}
	return os.RemoveAll(from)
}

func moveAll(from, to string, skip func(name string) bool) error {
	entries, err := os.ReadDir(from)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if skip(e.Name()) {
			continue
		}
		if err := os.Rename(filepath.Join(from, e.Name()), filepath.Join(to, e.Name())); err != nil {
			return err
		}
	}
	return nil
}

// Dumps lists the databases whose dumps are still to be loaded.
func Dumps(dir string) []string {
	entries, _ := os.ReadDir(restoredDumps(dir))
	var out []string
	for _, e := range entries {
		out = append(out, e.Name())
	}
	return out
}

// LoadDatabases fills new databases with the dumps of a backup. If it is repeated it starts
// over, so an interruption does no harm.
func LoadDatabases(ctx context.Context, s *site.Site, names []string, hear func(stack.Event)) error {
	if err := s.Stack.Compose().Down(ctx, false, hear); err != nil {
		return err
	}
	for _, d := range databases(s.Answers) {
		if !slices.Contains(names, d.service) {
			continue
		}
		if err := load(ctx, s, d, hear); err != nil {
			return fmt.Errorf("load the database %s: %w", d.service, err)
		}
	}
	return os.RemoveAll(s.Path(site.RestoreDir))
}

func load(ctx context.Context, s *site.Site, d database, hear func(stack.Event)) error {
	for _, dir := range d.data {
		if err := stack.RemoveBut(s.Path(dir)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	if err := s.Stack.Tree().MakeDirs(render.Dirs(s.Answers, nil)); err != nil {
		return err
	}
	if err := s.Stack.Compose().UpOnly(ctx, hear, d.service); err != nil {
		return err
	}
	name := filepath.Join(restoredDumps(s.Dir), d.service)
	f, err := os.Open(name) //nolint:gosec // just unpacked
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	var output strings.Builder
	return s.Stack.Exec(ctx, d.service, f, &output, d.load...)
}
