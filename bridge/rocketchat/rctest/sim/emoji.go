package sim

import (
	_ "embed"
	"strings"
)

// emojiNames are the shortcodes of JoyPixels' emoji-toolkit 7 (its names are under
// the MIT licence), one a line, without those of skin tones.
//
//go:embed emoji.txt
var emojiNames string

var emoji = func() map[string]bool {
	known := map[string]bool{}
	for name := range strings.Lines(emojiNames) {
		known[strings.TrimSpace(name)] = true
	}
	return known
}()

// knownEmoji tells whether name, without colons, is a shortcode. There are no
// custom emoji.
func knownEmoji(name string) bool {
	base, _, _ := strings.Cut(name, "_tone")
	return emoji[base]
}

// emojiList is GET emoji-custom.list: there is none.
func emojiList(*call) (any, error) {
	return Doc{"emojis": Doc{"update": []any{}, "remove": []any{}}}, nil
}
