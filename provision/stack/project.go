package stack

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// projectOf returns the Compose project name of an installation: the one in its manifest, the
// one that earlier versions used if the manifest has none, or a new one for the directory if
// nothing is installed yet. It never changes, because containers, networks and volumes are
// found by it. If the manifest is damaged or gone, Compose's own file still has it.
func projectOf(dir string) string {
	m, err := (&Stack{Dir: dir}).Tree().Manifest()
	switch {
	case err == nil && m.Project != "":
		return m.Project
	case err == nil && len(m.Files) > 0:
		return BaseName(dir)
	}
	env, _ := os.ReadFile(filepath.Join(dir, ".env")) //nolint:gosec // below the installation directory
	for line := range strings.Lines(string(env)) {
		if name, found := strings.CutPrefix(strings.TrimSpace(line), "COMPOSE_PROJECT_NAME="); found && name != "" && name == BaseName(name) {
			return name
		}
	}
	return ProjectName(dir)
}

// ProjectName returns the name for a new Compose project in a directory. It includes a hash of
// the whole path, so that no two installations on a host have the same.
func ProjectName(dir string) string {
	sum := sha256.Sum256([]byte(resolved(dir)))
	return BaseName(dir) + "-" + hex.EncodeToString(sum[:4])
}

// resolved returns a path without symbolic links, as far as it exists.
func resolved(dir string) string {
	if real, err := filepath.EvalSymlinks(dir); err == nil {
		return real
	}
	if parent := filepath.Dir(dir); parent != dir {
		return filepath.Join(resolved(parent), filepath.Base(dir))
	}
	return dir
}

// BaseName returns the last element of a directory, as far as Compose allows its characters.
// Earlier versions used it as the project name, without a hash.
func BaseName(dir string) string {
	name := strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= '0' && r <= '9', r == '-', r == '_':
			return r
		case r >= 'A' && r <= 'Z':
			return r + 'a' - 'A'
		}
		return -1
	}, filepath.Base(dir))
	name = strings.TrimLeft(name, "-_")
	if name == "" {
		return "appliance"
	}
	return name
}

// A ForeignError says that the name of our Compose project is taken.
type ForeignError struct{ Project, Dir string }

func (e *ForeignError) Error() string {
	return fmt.Sprintf("containers of the name %s belong to the installation in %s", e.Project, e.Dir)
}

// Hint says what to do.
func (e *ForeignError) Hint() string {
	return "manage that one with: " + Elsewhere(e.Dir, "status")
}

// Elsewhere returns the command line for a command of this program on an installation other
// than the one that the operator named.
func Elsewhere(dir, command string) string {
	return "appliance --dir " + Quoted(dir) + " " + command
}

// Quoted returns a word as it has to be written in a shell.
func Quoted(word string) string {
	if word != "" && !strings.ContainsFunc(word, func(r rune) bool {
		return !strings.ContainsRune("/._-+:,@%=", r) && (r < '0' || r > '9') && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z')
	}) {
		return word
	}
	return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
}

// own returns a *ForeignError if containers with the project's name belong to an installation
// in another directory. It is called before Compose is used, because Compose goes by the name
// alone.
func (s *Stack) own(ctx context.Context) error {
	_, err := s.Services(ctx)
	return err
}

func sameDir(a, b string) bool { return resolved(a) == resolved(b) }
