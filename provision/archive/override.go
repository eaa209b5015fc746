package archive

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"unicode"

	"appliance/provision/plan"
	"appliance/provision/site"
	"appliance/provision/stack"
)

// A ForeignChoice says what to do with the files of a backup that decide what runs
// on this host and are not rendered from the answers.
type ForeignChoice int

// Choices about those files.
const (
	ForeignRefuse ForeignChoice = iota // stop and show them
	ForeignAccept
	ForeignDrop // restore without them
)

// A ForeignError says that a backup has files that decide what runs on this host.
// Their author gets root here.
type ForeignError struct {
	Files []string
	Texts []string // what is in them, for people to read; "" for what holds secrets
}

func (e *ForeignError) Error() string {
	return "the backup contains files that decide what runs on this host: " + strings.Join(e.Files, ", ")
}

// Hint says what to do.
func (e *ForeignError) Hint() string {
	return "review them; then restore them with: appliance restore FILE --accept-overrides; or without them: appliance restore FILE --drop-overrides"
}

// Show formats the content of the files for people.
func (e *ForeignError) Show() string {
	var b strings.Builder
	for i, name := range e.Files {
		fmt.Fprintf(&b, "---- %s\n", name)
		if e.Texts[i] == "" {
			b.WriteString("(holds secrets, and is not shown)\n")
		}
		b.WriteString(e.Texts[i])
	}
	b.WriteString("----\n")
	return b.String()
}

// foreign applies a choice to what was unpacked below a directory.
func foreign(dir string, choice ForeignChoice) error {
	if choice == ForeignAccept {
		return nil
	}
	from, err := stack.Open(dir)
	if err != nil {
		return err
	}
	defer func() { _ = from.Close() }()
	m, err := from.Tree().Manifest()
	if err != nil {
		return err
	}
	var found ForeignError
	names := []string{site.OverrideFile, site.VersionsFile}
	for name, record := range m.Files {
		if record.Kept != "" && name != plan.BridgeFile && name != plan.AnswersFile {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	for _, name := range names {
		file := filepath.Join(dir, filepath.FromSlash(name))
		if !filepath.IsLocal(filepath.FromSlash(name)) {
			continue
		}
		info, err := os.Lstat(file)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		found.Files = append(found.Files, name)
		found.Texts = append(found.Texts, shown(file, info))
		if choice == ForeignDrop {
			if err := os.Remove(file); err != nil {
				return err
			}
		}
	}
	if choice == ForeignDrop || len(found.Files) == 0 {
		return nil
	}
	return &found
}

// shown returns the text of a file that a stranger may have written, made harmless for a
// terminal.
func shown(file string, info fs.FileInfo) string {
	if !info.Mode().IsRegular() || info.Mode()&0o044 == 0 && filepath.Base(file) != site.OverrideFile {
		return ""
	}
	data, err := os.ReadFile(file) //nolint:gosec // just unpacked
	if err != nil {
		return err.Error() + "\n"
	}
	const most = 16 << 10
	text := string(data[:min(len(data), most)])
	if len(data) > most {
		text += "\n(and more)"
	}
	return strings.TrimRight(strings.Map(func(r rune) rune {
		if r == '\n' || r == '\t' || unicode.IsPrint(r) {
			return r
		}
		return '?'
	}, text), "\n") + "\n"
}
