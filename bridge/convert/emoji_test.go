package convert_test

import (
	"os"
	"strings"
	"testing"

	"appliance/bridge/convert"
)

func TestEmojiHaveNamesOnBothSides(t *testing.T) {
	for _, tc := range []struct{ emoji, name string }{
		{"👍", "thumbsup"}, {"😄", "smile"}, {"❤️", "heart"}, {"❤", "heart"}, {"❤\ufe0e", "heart"}, {"💯", "100"},
		{"👍🏽", "thumbsup_tone3"}, {"🤝🏿", "handshake_tone5"}, {"🏳️‍🌈", "rainbow_flag"}, {"🇩🇪", "flag_de"}, {"👨‍👩‍👧", "family_mwg"},
		{"🕵🏻‍♀️", "woman_detective_tone1"}, {"☝🏾", "point_up_tone4"}, {"☝️", "point_up"},
	} {
		if got, ok := convert.Shortcode(tc.emoji); !ok || got != tc.name {
			t.Errorf("Shortcode(%q) = %q, want %q", tc.emoji, got, tc.name)
		}
		back, ok := convert.Unicode(":" + tc.name + ":")
		if name, _ := convert.Shortcode(back); !ok || name != tc.name {
			t.Errorf("Unicode(%q) = %q", tc.name, back)
		}
	}
}

func TestEmojiAliasesAreUnderstood(t *testing.T) {
	for name, want := range map[string]string{
		"+1": "👍", "+1_tone2": "👍🏼", "thumbsup_medium_dark_skin_tone": "👍🏾", "thumbsup_medium_light_skin_tone": "👍🏼",
		"thumbsup_dark_skin_tone": "👍🏿", "red_heart": "❤️", ":satisfied:": "😆",
	} {
		if got, ok := convert.Unicode(name); !ok || got != want {
			t.Errorf("Unicode(%q) = %q, want %q", name, got, want)
		}
	}
	for _, name := range []string{"", "::", "partyparrot", "heart_tone1", "thumbsup_tone6", "30", "_tone1"} {
		if got, ok := convert.Unicode(name); ok {
			t.Errorf("Unicode(%q) = %q", name, got)
		}
	}
	for _, e := range []string{"", "x", "\ufe0f", "❤🏽", "🏽"} {
		if got, ok := convert.Shortcode(e); ok && e != "🏽" {
			t.Errorf("Shortcode(%q) = %q", e, got)
		}
	}
}

// Every name in the table stands for an emoji, and the emoji's preferred name stands for the same one.
func TestTheEmojiTableIsConsistent(t *testing.T) {
	table, err := os.ReadFile("emoji.txt")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(table)) {
		f := strings.Fields(strings.TrimSuffix(strings.TrimSpace(line), " ~"))
		for _, name := range f[1:] {
			if got, ok := convert.Unicode(name); !ok || got != f[0] {
				t.Errorf("Unicode(%q) = %q, want %q", name, got, f[0])
			}
		}
		if got, ok := convert.Shortcode(f[0]); !ok || got != f[1] {
			t.Errorf("Shortcode(%q) = %q, want %q", f[0], got, f[1])
		}
	}
}
