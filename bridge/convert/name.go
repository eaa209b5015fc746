package convert

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxName bounds a display name: real ones are short, hostile ones are not.
const maxName = 120

// Name returns a display name that Rocket.Chat accepts for a Matrix user: without
// the characters it refuses, without invisible ones, of sensible length, and
// never empty.
func Name(displayName, fallback string) string {
	clean := visibleName(strings.Map(func(r rune) rune {
		if strings.ContainsRune(`<>\/%`, r) {
			return -1
		}
		return r
	}, displayName))
	if clean == "" {
		return fallback
	}
	return clean
}

// ShortName is Name with room for spare more characters after it.
func ShortName(displayName, fallback string, spare int) string {
	clean := []rune(Name(displayName, fallback))
	return strings.TrimSpace(string(clean[:min(len(clean), max(1, maxName-spare))]))
}

// visibleName returns a name on one line, without invisible characters, and of
// sensible length. It is empty if nothing is visible.
func visibleName(name string) string {
	if len(name) > 16*maxName {
		name = name[:16*maxName]
	}
	clean := strings.Map(func(r rune) rune {
		switch {
		case unicode.IsSpace(r):
			return ' '
		case invisible(r), r == utf8.RuneError:
			return -1
		}
		return r
	}, name)
	clean = strings.Join(strings.Fields(clean), " ")
	if r := []rune(clean); len(r) > maxName {
		clean = strings.TrimSpace(string(r[:maxName]))
	}
	return clean
}

// invisible reports whether r alone would show nothing.
func invisible(r rune) bool {
	return unicode.IsSpace(r) || unicode.Is(unicode.Cf, r) || unicode.IsControl(r) || hidden(r)
}

// FirstLine returns a text up to its first line break.
func FirstLine(text string) string {
	line, _, _ := strings.Cut(text, "\n")
	return strings.TrimSuffix(line, "\r")
}
