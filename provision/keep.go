package provision

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// beforeUpgrade begins the names of the backups that upgrades make.
const beforeUpgrade = "before-upgrade-"

// removeOld removes the oldest backups of BackupsDir beyond a number of them:
// those that upgrades have made when prefix is beforeUpgrade, the others when it
// is empty. One from which an upgrade may have to go back stays, and so does what
// has another name than backups get there.
func (i *Installed) removeOld(prefix string, keep int) (removed []string, err error) {
	dir := i.p.path(BackupsDir)
	all, err := filepath.Glob(filepath.Join(dir, prefix+i.Answers.ServerName+"-*.tar.zst*"))
	if err != nil {
		return nil, err
	}
	all = slices.DeleteFunc(all, func(name string) bool {
		rest := strings.TrimPrefix(filepath.Base(name), prefix+i.Answers.ServerName+"-")
		stamp, ending, _ := strings.Cut(rest, ".")
		return len(stamp) != len("20060102T150405Z") || ending != "tar.zst" && ending != "tar.zst.age"
	})
	slices.Sort(all) // by time, which is in the name
	at, _ := i.p.readUpgrade()
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
