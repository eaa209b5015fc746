package archive

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"time"

	"appliance/provision/backup"
	"appliance/provision/internal/atomicfile"
	"appliance/provision/plan"
	"appliance/provision/site"
	"appliance/provision/stack"
)

// A DrillError says that a backup failed a restore drill.
type DrillError struct {
	File string
	Err  error
}

func (e *DrillError) Error() string { return e.File + " would not serve: " + e.Err.Error() }

// Unwrap returns the reason.
func (e *DrillError) Unwrap() error { return e.Err }

// Hint says what to do.
func (e *DrillError) Hint() string {
	return "the running installation was not touched; make a new backup and try again: appliance backup && appliance backup drill"
}

// A Drilled is a backup that passed a restore drill.
type Drilled struct {
	File      string         `json:"file"`
	Created   time.Time      `json:"created"`
	Bytes     int64          `json:"bytes"`     // of what is in it
	Databases map[string]int `json:"databases"` // tables or collections in each
	Took      time.Duration  `json:"took_ns"`
}

// Newest is the newest backup in backups/ that was not made by an upgrade.
func Newest(s *site.Site) (string, error) {
	all, err := filepath.Glob(filepath.Join(s.Path(site.BackupsDir), s.Answers.ServerName+"-*.tar.zst*"))
	all = slices.DeleteFunc(all, func(name string) bool { return strings.HasSuffix(name, ".partial") })
	if err == nil && len(all) == 0 {
		return "", errors.New("there is no backup in " + s.Path(site.BackupsDir))
	}
	slices.SortFunc(all, func(a, b string) int { return strings.Compare(stamp(a), stamp(b)) })
	return all[len(all)-1], err
}

// Drill restores a backup beside the running installation: it verifies the archive, unpacks it
// into a separate directory and loads the databases into separate servers that nothing else can
// reach. All of that is removed at the end. The running installation is not touched.
func Drill(ctx context.Context, s *site.Site, file string, keys backup.Keys, r plan.Reporter) (done Drilled, err error) {
	unlock, err := s.Stack.Lock()
	if err != nil {
		return done, err
	}
	defer unlock()
	begin := time.Now()
	header, manifest, err := Verify(ctx, file, keys, r)
	if key, locked := errors.AsType[*backup.KeyError](err); locked {
		return done, key
	}
	if err == nil && header.ServerName != s.Answers.ServerName {
		err = fmt.Errorf("it is of %s, not of %s", header.ServerName, s.Answers.ServerName)
	}
	if err == nil {
		err = room(s, manifest.Size())
	}
	if full, ok := errors.AsType[*FullDiskError](err); ok {
		return done, full
	}
	if missing, ok := errors.AsType[*MissingError](err); ok {
		return done, missing
	}
	if err != nil {
		return done, &DrillError{file, err}
	}
	done = Drilled{File: file, Created: header.Created, Bytes: manifest.Size()}
	dir := s.Path(site.DrillDir)
	if err := sweep(ctx, s, dir); err != nil { // left by an interrupted drill
		return done, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	err = unpack(ctx, dir, RestoreOptions{File: file, Keys: keys}, r) // a link could lead to live files
	if err == nil {
		err = place(dir)
	}
	if err == nil {
		done.Databases, err = tryDatabases(ctx, s, dir, r)
	}
	done.Took = time.Since(begin).Round(time.Millisecond)
	if err != nil && ctx.Err() == nil {
		err = &DrillError{file, err}
	}
	return done, err
}

// room makes sure that the running installation keeps enough disk space.
func room(s *site.Site, size int64) error {
	var st syscall.Statfs_t
	if err := syscall.Statfs(s.Dir, &st); err != nil {
		return err
	}
	if free := int64(st.Bavail) * st.Bsize; free < 3*size+1<<30 {
		return &FullDiskError{Dir: s.Dir}
	}
	return nil
}

// sweep removes what an interrupted drill left behind, its servers first.
func sweep(ctx context.Context, s *site.Site, dir string) error {
	if site.Exists(dir) {
		beside, err := openBeside(s, dir)
		if err == nil {
			err = errors.Join(beside.Stack.Compose().Down(ctx, true, func(stack.Event) {}), beside.Close())
		}
		if err != nil {
			return err
		}
	}
	return os.RemoveAll(dir)
}

// openBeside opens what was unpacked, under a project name that no other installation on this
// host uses for its drills.
func openBeside(s *site.Site, dir string) (*site.Site, error) {
	beside, err := site.Open(dir)
	if err == nil {
		beside.Stack.Project = stack.ProjectName(s.Dir) + "-drill"
	}
	return beside, err
}

// fixedSubnet matches how the Compose file gives a network addresses from docker_subnet, which
// the running installation uses.
var fixedSubnet = regexp.MustCompile(`\[\{subnet: [^}]*\}\]`)

// isolate makes sure that the servers of a drill share nothing with the running ones: no
// directory, port or network.
func isolate(beside *site.Site) error {
	m, err := beside.Stack.Tree().Manifest()
	if err != nil {
		return err
	}
	if m.Files[composeFile].Kept != "" {
		return errors.New(composeFile + " was edited by hand, so it cannot be told what else its services would touch")
	}
	if err := os.Remove(beside.Path(site.OverrideFile)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	data, err := os.ReadFile(beside.Path(composeFile))
	if err != nil {
		return err
	}
	return atomicfile.Write(beside.Path(composeFile), fixedSubnet.ReplaceAll(data, []byte("[]")), 0o644)
}

const composeFile = "compose.yaml"

// tryDatabases loads the dumps below dir into servers under another project name and counts
// what is in them.
func tryDatabases(ctx context.Context, s *site.Site, dir string, r plan.Reporter) (found map[string]int, err error) {
	beside, err := openBeside(s, dir)
	if err != nil {
		return nil, err
	}
	defer func() { _ = beside.Close() }()
	if err := isolate(beside); err != nil {
		return nil, err
	}
	step := plan.Step{ID: "databases", Title: "load the databases beside those that run"}
	hear := stack.Progress(r, step.ID)
	found = map[string]int{}
	return found, plan.Track(r, step, func() (err error) {
		defer func() {
			err = errors.Join(err, beside.Stack.Compose().Down(context.WithoutCancel(ctx), true, hear))
		}()
		have := Dumps(dir)
		for _, d := range databases(beside.Answers) {
			if !slices.Contains(have, d.service) {
				return errors.New("it has no dump of the database " + d.service)
			}
			if err := load(ctx, beside, d, hear); err != nil {
				return fmt.Errorf("load the database %s: %w", d.service, err)
			}
			if found[d.service], err = count(ctx, beside, d); err != nil {
				return err
			}
		}
		return nil
	})
}

// count returns how many tables or collections a database has.
func count(ctx context.Context, s *site.Site, d database) (n int, err error) {
	var out bytes.Buffer
	if err := s.Stack.Exec(ctx, d.service, nil, &out, d.count...); err != nil {
		return 0, fmt.Errorf("count what is in the database %s: %w", d.service, err)
	}
	if _, err := fmt.Sscan(out.String(), &n); err != nil || n == 0 {
		return 0, fmt.Errorf("the database %s is empty once it is loaded", d.service)
	}
	return n, nil
}
