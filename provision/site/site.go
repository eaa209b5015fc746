// Package site is one installation on this host: its directory, its answers, its
// containers, and the names of the files that the program keeps about it. The
// packages that work on an installation take a Site and keep nothing of their own.
package site

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"appliance/provision/answers"
	"appliance/provision/plan"
	"appliance/provision/stack"
)

// A Site is an installation, or the directory in which one is about to be made.
type Site struct {
	Dir     string // the installation directory, absolute
	Answers answers.Answers
	Stack   *stack.Stack
	// Unusable says why the answers on disk cannot be used; nil when they can. Then
	// Answers are what could be read of them. Only Examine returns such a site.
	Unusable error
}

// New returns the site in dir with answers that may not be on disk yet.
func New(dir string, a answers.Answers) (*Site, error) {
	s, err := stack.Open(dir)
	if err != nil {
		return nil, err
	}
	return &Site{Dir: dir, Answers: a, Stack: s}, nil
}

// Open reads the answers of the installation in dir. It returns an AbsentError if
// there is none.
func Open(dir string) (*Site, error) {
	draft := answers.NewDraft()
	err := draft.File(AnswersPath(dir))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, &AbsentError{Dir: dir}
	}
	if err != nil {
		return nil, err
	}
	a, err := draft.Finish()
	if err != nil {
		return nil, err
	}
	return New(dir, a)
}

// Examine is Open for commands that must work whatever is wrong with the answers:
// inspecting an installation, and stopping it.
func Examine(dir string) (*Site, error) {
	s, err := Open(dir)
	if err == nil || !remains(dir) {
		return s, err
	}
	if s, newErr := New(dir, answers.Answers{}); newErr == nil {
		m, _ := s.Stack.Tree().Manifest() // what is permanent helps, and may be missing too
		data, _ := os.ReadFile(AnswersPath(dir))
		s.Answers, s.Unusable = answers.Salvage(data, m.Permanent), err
		return s, nil
	}
	return nil, err
}

// remains reports whether dir holds something of an installation.
func remains(dir string) bool {
	for _, name := range []string{plan.AnswersFile, "manifest.json", "compose.yaml"} {
		if _, err := os.Lstat(filepath.Join(dir, name)); err == nil {
			return true
		}
	}
	return false
}

// Close ends the connection to Docker.
func (s *Site) Close() error { return s.Stack.Close() }

// Path is the path of a file that is given relative to the installation directory.
func (s *Site) Path(below string) string { return filepath.Join(s.Dir, filepath.FromSlash(below)) }

// CertsDir is where certificates are kept.
func (s *Site) CertsDir() string { return s.Path("data/certs") }

// AnswersPath is where the installation in dir keeps its answers.
func AnswersPath(dir string) string { return filepath.Join(dir, plan.AnswersFile) }

// Exists reports whether there is an installation in dir.
func Exists(dir string) bool { _, err := os.Stat(AnswersPath(dir)); return err == nil }

// DefaultDir is where an installation is unless another directory is named.
const DefaultDir = "/opt/appliance"

// Command is what to type to run a command of this program on the installation in dir.
func Command(dir, command string) string {
	if dir == DefaultDir {
		return "appliance " + command
	}
	return "appliance --dir " + Quoted(dir) + " " + command
}

// Quoted quotes a word for a shell.
func Quoted(word string) string { return stack.Quoted(word) }

// RocketChatURL is where this host reaches Rocket.Chat's container.
func RocketChatURL(s plan.Service) string { return fmt.Sprintf("http://%s:3000", s.Address) }

// An AbsentError says that there is no installation in a directory.
type AbsentError struct{ Dir string }

func (e *AbsentError) Error() string { return "nothing is installed in " + e.Dir }

// Hint says what to do.
func (e *AbsentError) Hint() string {
	if e.Dir != DefaultDir {
		return "install there with: appliance up, or correct the directory"
	}
	return "install with: appliance up, or name another directory with --dir"
}
