package render

import (
	"io/fs"
	"maps"
	"path"
	"slices"

	"appliance/provision/answers"
)

// A Dir is a directory below the installation directory.
type Dir struct {
	Path string
	Mode fs.FileMode
	User int
}

// Dirs lists the directories of an installation, parents first.
func Dirs(a answers.Answers, files Files) []Dir {
	dirs := []Dir{
		{"config", 0o755, Root},
		{"config/ca", 0o755, Root},
		{"data", 0o755, Root},
		{"data/certs", 0o700, NginxUser},
		{"data/certs/live", 0o700, NginxUser},
	}
	if a.BundledHomeserver() {
		dirs = append(dirs, Dir{"data/homeserver", 0o700, ApplianceUser})
	}
	if a.BundledPostgres() {
		dirs = append(dirs, Dir{"data/postgres", 0o700, DatabaseUser})
	}
	dirs = append(dirs, Dir{"data/bridge", 0o700, ApplianceUser})
	if a.BundledMongo() {
		dirs = append(dirs, Dir{"data/mongo", 0o755, DatabaseUser}, Dir{"data/mongo/db", 0o700, DatabaseUser}, Dir{"data/mongo/configdb", 0o700, DatabaseUser})
	}
	if a.Monitoring {
		dirs = append(dirs, Dir{"data/prometheus", 0o700, Nobody})
	}
	seen := map[string]bool{".": true}
	var more []Dir
	for _, name := range slices.Sorted(maps.Keys(files)) {
		f, dir := files[name], path.Dir(name)
		mode := fs.FileMode(0o755)
		if f.Mode&0o044 == 0 { // a directory of secrets
			mode = 0o700
		}
		if !seen[dir] && !slices.ContainsFunc(dirs, func(d Dir) bool { return d.Path == dir }) {
			seen[dir] = true
			more = append(more, Dir{dir, mode, f.UID})
		}
	}
	return append(dirs, more...)
}
