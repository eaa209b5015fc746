// Package ui prints what provision reports: for people at a terminal, for logs,
// and for scripts. It is the only package besides cli that writes to the
// operator's streams, and it only prints what it is given.
package ui

import (
	"fmt"
	"io"
	"os"
	"slices"

	"github.com/mattn/go-isatty"

	"appliance/provision"
	"appliance/provision/finding"
	"appliance/provision/plan"
)

// A Printer shows the progress of a plan.
type Printer interface {
	provision.Reporter
	closer
}

// A Quiet printer shows nothing: results and errors are printed elsewhere.
type Quiet struct{}

// Step implements plan.Reporter.
func (Quiet) Step(plan.Step, plan.StepState, string) {}

// Progress implements plan.Reporter.
func (Quiet) Progress(string, string, int64, int64) {}

// Close implements Printer.
func (Quiet) Close() {}

// Colours says whether words are coloured.
type Colours bool

// severity is the word for a severity, padded to the longest.
func (c Colours) severity(s finding.Severity) string {
	word := fmt.Sprintf("%-4s", s)
	if !c {
		return word
	}
	return map[finding.Severity]string{finding.OK: green, finding.Warn: yellow, finding.Fail: red}[s] + word + plain
}

// faint dims text that matters less than what is next to it.
func (c Colours) faint(text string) string {
	if !c {
		return text
	}
	return dim + text + plain
}

type closer interface {
	Close() // ends what is unfinished on the screen
}

// Fancy reports whether a stream is a terminal that may be drawn on.
func Fancy(w io.Writer, environ []string) bool {
	f, ok := w.(*os.File)
	return ok && isatty.IsTerminal(f.Fd()) && !slices.Contains(environ, "TERM=dumb") &&
		!slices.ContainsFunc(environ, func(e string) bool { return len(e) > 9 && e[:9] == "NO_COLOR=" })
}
