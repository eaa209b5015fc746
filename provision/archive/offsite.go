package archive

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"appliance/provision/answers"
	"appliance/provision/offsite"
	"appliance/provision/plan"
	"appliance/provision/site"
)

// A PlainError says that an unencrypted backup would leave the host.
type PlainError struct{}

func (*PlainError) Error() string { return "only encrypted backups leave this host" }

// Hint says what to do.
func (*PlainError) Hint() string {
	return "leave out --no-encryption, or keep the backup here with --local"
}

// Place is where the answers send backups.
func Place(a answers.Answers) offsite.Config {
	return offsite.Config{URL: a.Offsite, KeyFile: a.OffsiteKeyFile, HostKey: a.OffsiteHostKey}
}

// SendOffsite sends a backup to the place in the answers, reads it back, and then removes the
// backups there that exceed the limits in the answers. It records in saved what it did.
func SendOffsite(ctx context.Context, s *site.Site, saved *Saved, r plan.Reporter) error {
	if !saved.Encrypted {
		return &PlainError{}
	}
	step := plan.Step{ID: "offsite", Title: "send the backup to " + s.Answers.Offsite + " and read it back"}
	return plan.Track(r, step, func() error {
		to, err := offsite.Open(ctx, Place(s.Answers))
		if err != nil {
			return err
		}
		defer func() { _ = to.Close() }()
		var shown time.Time
		err = offsite.Send(ctx, to, saved.File, func(done, total int64) {
			if now := time.Now(); now.Sub(shown) > 200*time.Millisecond {
				shown = now
				r.Progress(step.ID, fmt.Sprintf("%.1f MB", float64(done)/1e6), done, total)
			}
		})
		if err != nil {
			return err
		}
		saved.Offsite = s.Answers.Offsite
		saved.OffsiteRemoved, err = pruneOffsite(ctx, to, s.Answers)
		return err
	})
}

func pruneOffsite(ctx context.Context, at offsite.Store, a answers.Answers) (removed []string, err error) {
	list, err := at.List(ctx)
	if err != nil {
		return nil, err
	}
	for _, o := range offsite.Expired(list, a.ServerName+"-", a.OffsiteKeep, time.Duration(a.OffsiteDays)*24*time.Hour, time.Now()) {
		if err := at.Remove(ctx, o.Name); err != nil {
			return removed, err
		}
		removed = append(removed, o.Name)
	}
	return removed, nil
}

// ListOffsite lists the backups at a place, newest first.
func ListOffsite(ctx context.Context, c offsite.Config) ([]offsite.Object, error) {
	at, err := offsite.Open(ctx, c)
	if err != nil {
		return nil, err
	}
	defer func() { _ = at.Close() }()
	list, err := at.List(ctx)
	list = slices.DeleteFunc(list, func(o offsite.Object) bool {
		return !strings.Contains(o.Name, ".tar.zst") || strings.HasSuffix(o.Name, ".partial")
	})
	slices.SortFunc(list, func(a, b offsite.Object) int { return strings.Compare(stamp(b.Name), stamp(a.Name)) })
	return list, err
}

// stamp is the time in the name of a backup.
func stamp(name string) string {
	base, _, _ := strings.Cut(name, ".tar.zst")
	return base[strings.LastIndex(base, "-")+1:]
}

// Fetch downloads a backup from a place into a new file: the named one, or else the newest.
func Fetch(ctx context.Context, c offsite.Config, name, file string, r plan.Reporter) (string, error) {
	if name == "" {
		list, err := ListOffsite(ctx, c)
		if err != nil {
			return "", err
		}
		if len(list) == 0 {
			return "", fmt.Errorf("there is no backup at %s", c.URL)
		}
		name = list[0].Name
	}
	if file == "" {
		file = filepath.Base(name)
	}
	if _, err := os.Lstat(file); !errors.Is(err, fs.ErrNotExist) {
		return "", errors.Join(err, fmt.Errorf("%s exists already", file))
	}
	step := plan.Step{ID: "fetch", Title: "fetch " + name}
	return file, plan.Track(r, step, func() error {
		at, err := offsite.Open(ctx, c)
		if err != nil {
			return err
		}
		defer func() { _ = at.Close() }()
		in, err := at.Get(ctx, name)
		if err != nil {
			return err
		}
		defer func() { _ = in.Close() }()
		out, err := os.OpenFile(file+".partial", os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600) //nolint:gosec // the operator names the file
		if err != nil {
			return err
		}
		_, err = io.CopyBuffer(struct{ io.Writer }{out}, struct{ io.Reader }{in}, make([]byte, 256<<10))
		err = errors.Join(err, out.Sync(), out.Close())
		if err == nil {
			err = os.Rename(out.Name(), file)
		}
		if err != nil {
			return fullDisk(errors.Join(err, os.Remove(out.Name())), file)
		}
		return nil
	})
}
