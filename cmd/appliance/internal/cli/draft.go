package cli

import (
	"crypto/sha256"
	"encoding/hex"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"appliance/provision/answers"
)

// A draftFile keeps answers that have been given but not used yet. It is "" if there is
// no place for one.
type draftFile string

// keptDraft is the file for this installation, in the operator's own state directory:
// nothing of an installation exists before it is agreed to.
func keptDraft(a *app) draftFile {
	state := variable(a.env.Environ, "XDG_STATE_HOME")
	if home := variable(a.env.Environ, "HOME"); !filepath.IsAbs(state) && filepath.IsAbs(home) {
		state = filepath.Join(home, ".local", "state")
	}
	if !filepath.IsAbs(state) {
		return ""
	}
	sum := sha256.Sum256([]byte(a.dir))
	return draftFile(filepath.Join(state, "appliance", "draft-"+hex.EncodeToString(sum[:4])+".yaml"))
}

// forget removes the kept answers, and their directory when it is empty.
func (f draftFile) forget() {
	if f != "" {
		_ = os.Remove(string(f))
		_ = os.Remove(filepath.Dir(string(f)))
	}
}

// exists reports whether there are kept answers.
func (f draftFile) exists() bool {
	_, err := os.Stat(string(f))
	return err == nil
}

// variable is the value of an environment variable, or "".
func variable(environ []string, name string) string {
	for _, e := range environ {
		if value, ok := strings.CutPrefix(e, name+"="); ok {
			return value
		}
	}
	return ""
}

// An interruptedError says that the operator ended the command, and how to continue.
type interruptedError struct{ hint string }

func (e *interruptedError) Error() string { return errInterrupted.Error() }
func (e *interruptedError) Hint() string  { return e.hint }
func (e *interruptedError) Unwrap() error { return errInterrupted }

// interrupted is the error of a command that was ended during its questions.
func interrupted(a *app) error {
	if !keptDraft(a).exists() {
		return errInterrupted
	}
	return &interruptedError{"your answers are kept; run the same command again to continue where you were"}
}

// unknownVariables returns the variables that look like answers but are not. Those that
// are used to develop and test the program are known.
func unknownVariables(environ []string) []string {
	var out []string
	for _, e := range environ {
		name, _, _ := strings.Cut(e, "=")
		key, ours := strings.CutPrefix(name, "APPLIANCE_")
		if !ours || name == dirVariable || strings.HasPrefix(key, "TEST_") || slices.Contains([]string{"CACHE", "DENDRITE", "SYNAPSE", "MUST_RUN"}, key) {
			continue
		}
		if _, known := answers.Lookup(strings.ToLower(key)); !known {
			out = append(out, name)
		}
	}
	return out
}
