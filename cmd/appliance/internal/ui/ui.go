// Package ui prints what provision reports: for people at a terminal, for logs,
// and for scripts. It is the only package besides cli that writes to the
// operator's streams, and it only prints what it is given.
package ui

import (
	"io"
	"os"
	"slices"

	"github.com/mattn/go-isatty"

	"appliance/provision"
)

// A Printer shows the progress of a plan.
type Printer interface {
	provision.Reporter
	closer
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
