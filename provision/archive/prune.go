package archive

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"appliance/provision/site"
)

// BeforeUpgrade is the prefix of the names of backups that upgrades make.
const BeforeUpgrade = "before-upgrade-"

// Prune removes the oldest backups in site.BackupsDir beyond the number to keep: those that
// upgrades made if prefix is BeforeUpgrade, the others if it is empty. A backup that an upgrade
// may have to roll back to stays, and so does any file that is not named like a backup.
func Prune(s *site.Site, prefix string, keep int) (removed []string, err error) {
	dir := s.Path(site.BackupsDir)
	all, err := filepath.Glob(filepath.Join(dir, prefix+s.Answers.ServerName+"-*.tar.zst*"))
	if err != nil {
		return nil, err
	}
	all = slices.DeleteFunc(all, func(name string) bool {
		rest := strings.TrimPrefix(filepath.Base(name), prefix+s.Answers.ServerName+"-")
		stamp, ending, _ := strings.Cut(rest, ".")
		return len(stamp) != len("20060102T150405Z") || ending != "tar.zst" && ending != "tar.zst.age"
	})
	slices.Sort(all) // by time, which is in the name
	at, _ := ReadReturnPoint(s)
	var errs []error
	for _, name := range all[:max(0, len(all)-keep)] {
		if name == at.Backup {
			continue
		}
		errs = append(errs, os.Remove(name))
		removed = append(removed, name)
	}
	return removed, errors.Join(errs...)
}
