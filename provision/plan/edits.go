package plan

import (
	"slices"

	"appliance/provision/render"
)

// A Choice says what to do with files that were edited by hand.
type Choice int

// Choices about edited files.
const (
	Ask       Choice = iota // stop and say so
	Accept                  // keep what the operator wrote, from now on
	Overwrite               // put the rendered file back
)

// Edited returns the files that were edited by hand and whose rendered content differs, so that
// writing them would lose the edit.
func Edited(w Wanted, s State) []string {
	var out []string
	for path, want := range w.Files {
		disk, record := s.Disk[path], s.Manifest.Files[path]
		if !disk.Exists || path == AnswersFile && w.OwnAnswers {
			continue
		}
		have, wanted := Identity(path, disk.Data), Identity(path, want.Data)
		ours := have == wanted || record.Written(path, disk.Data)
		accepted := have == record.Kept && wanted == record.Rendered
		if !ours && !accepted {
			out = append(out, path)
		}
	}
	slices.Sort(out)
	return out
}

// stale returns the files that have to be written.
func stale(w Wanted, s State, choice Choice) []string {
	edited := Edited(w, s)
	var out []string
	for path, want := range w.Files {
		disk, record := s.Disk[path], s.Manifest.Files[path]
		have, wanted := Identity(path, disk.Data), Identity(path, want.Data)
		accepted := have == record.Kept && wanted == record.Rendered
		kept := accepted && choice != Overwrite || choice == Accept && slices.Contains(edited, path)
		same := have == wanted && access(path, disk.File, want)
		if !disk.Exists || !same && !kept {
			out = append(out, path)
		}
	}
	slices.Sort(out)
	return out
}

// unrecorded returns the files that are as wanted, but not because of the last run: an operator
// edited them, and the record still has what they were before.
func unrecorded(files render.Files, s State) []string {
	var out []string
	for path, want := range files {
		record, known := s.Manifest.Files[path]
		if !known || !s.Disk[path].Exists {
			continue
		}
		disk := s.Disk[path].Data
		if wanted := Identity(path, want.Data); record.Rendered != wanted && Identity(path, disk) == wanted && !record.Written(path, disk) {
			out = append(out, path)
		}
	}
	slices.Sort(out)
	return out
}

// access reports whether exactly the intended users can read a file. An operator's editor may
// have changed the owner of one that operators are invited to edit.
func access(path string, have, want render.File) bool {
	switch path {
	case AnswersFile:
		return true
	case BridgeFile:
		return have.UID == want.UID || have.Mode&0o004 != 0
	}
	return have.Mode == want.Mode && have.UID == want.UID
}
