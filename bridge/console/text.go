package console

import (
	"fmt"
	"strings"
	"time"
	"unicode"
)

// cut makes a text chosen by other people fit for one line of a page: without characters that are
// invisible or reverse the writing direction, and at most n characters. Templates escape it.
func cut(text string, n int) string {
	var b strings.Builder
	for _, r := range strings.ToValidUTF8(text, "\uFFFD") {
		if n == 0 {
			b.WriteRune('…')
			break
		}
		if unicode.IsSpace(r) {
			r = ' '
		}
		if !unicode.IsPrint(r) {
			continue
		}
		b.WriteRune(r)
		n--
	}
	return b.String()
}

// ago puts a duration into words.
func ago(d time.Duration, never bool) string {
	count := func(n int, unit string) string {
		if n == 1 {
			return "1 " + unit
		}
		return fmt.Sprintf("%d %ss", n, unit)
	}
	switch {
	case never:
		return "never"
	case d < time.Minute:
		return count(int(max(1, d.Round(time.Second).Seconds())), "second")
	case d < time.Hour:
		return count(int(d.Minutes()), "minute")
	case d < 48*time.Hour:
		return count(int(d.Hours()), "hour")
	}
	return count(int(d.Hours()/24), "day")
}
