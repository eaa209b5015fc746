package ui

import (
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"golang.org/x/term"
)

// A Screen shows successive texts in the same place or, where it cannot, one below the other.
type Screen struct {
	w    io.Writer
	size func() (width, height int, err error)
	used bool
}

// NewScreen returns a Screen on w.
func NewScreen(w io.Writer, environ []string) *Screen {
	s := &Screen{w: w}
	if f, ok := w.(*os.File); ok && term.IsTerminal(int(f.Fd())) && !slices.Contains(environ, "TERM=dumb") { //nolint:gosec // a descriptor fits
		s.size = func() (int, int, error) { return term.GetSize(int(f.Fd())) } //nolint:gosec // as above
	}
	return s
}

// Draw shows text, with a last line about it below. What is wider or taller than the
// terminal is cut off, and the last line says so.
func (s *Screen) Draw(text, last string) {
	lines := strings.Split(strings.TrimRight(text, "\n"), "\n")
	if s.size == nil {
		if s.used {
			fmt.Fprintln(s.w)
		}
		s.used = true
		fmt.Fprintf(s.w, "%s\n\n%s\n", strings.Join(lines, "\n"), last)
		return
	}
	width, height, err := s.size()
	if err != nil || width < 1 || height < 3 {
		width, height = 80, 24
	}
	room := height - 2 // an empty line and the last one
	if more := len(lines) - room; more > 0 {
		lines, last = lines[:room], fmt.Sprintf("%d more lines do not fit; %s", more, last)
	}
	var b strings.Builder
	if !s.used {
		b.WriteString("\x1b[2J")
	}
	s.used = true
	b.WriteString("\x1b[H")
	for _, line := range append(lines, "") {
		b.WriteString(cut(line, width) + "\x1b[K\r\n")
	}
	b.WriteString(cut(last, width-1) + "\x1b[K\x1b[J")
	_, _ = io.WriteString(s.w, b.String()) // at once, so that nothing flickers
}

// Close leaves the cursor below what is shown.
func (s *Screen) Close() {
	if s.used && s.size != nil {
		fmt.Fprintln(s.w)
	}
}

// cut shortens a line to a number of columns.
func cut(line string, width int) string {
	r := []rune(line)
	switch {
	case len(r) <= width:
		return line
	case width < 1:
		return ""
	}
	return string(r[:width-1]) + "…"
}

// Width is the number of columns of the terminal w; 0 if w is not a terminal.
func Width(w io.Writer) int {
	f, ok := w.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) { //nolint:gosec // a descriptor fits
		return 0
	}
	width, _, err := term.GetSize(int(f.Fd())) //nolint:gosec // as above
	if err != nil {
		return 0
	}
	return width
}

// Fit cuts the lines of a text to a number of columns; 0 is no limit.
func Fit(text string, width int) string {
	if width == 0 {
		return text
	}
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		lines[i] = cut(line, width)
	}
	return strings.Join(lines, "\n")
}
