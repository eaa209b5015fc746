package convert_test

import (
	"testing"

	"appliance/bridge/convert"
)

// An address that cannot be a link in any form, next to characters that would become
// markup, is written as text in the end.
func TestWritingEndsWhateverIsTried(t *testing.T) {
	for _, version := range []string{"7.2", "8.6", "8.8"} {
		look := convert.Lookup{Dialect: convert.DialectFor(version)}
		s := "https://example.org/a_b</a>@bob</span>a@b.c\\</span></code><b>`@"
		if got := convert.ToRocketChat(text(s), look); len(got) != 1 {
			t.Errorf("%q", got)
		}
		if got := convert.ToRocketChat(html(s), look); len(got) != 1 {
			t.Errorf("%q", got)
		}
	}
}
