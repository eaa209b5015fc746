package convert

import (
	_ "embed"
	"strings"
	"sync"
	"unicode/utf8"
)

// emojiTable is written by internal/emojigen, which describes it.
//
//go:generate sh -c "go run ./internal/emojigen package/emoji.json > emoji.txt"
//go:embed emoji.txt
var emojiTable string

// An emojiIndex finds emoji by either name.
type emojiIndex struct {
	unicode map[string]string // by shortcode, without colons
	names   map[string]string // by emoji, without variation selectors
	toned   map[string]bool   // emoji without variation selectors that take a skin tone
}

var emojis = sync.OnceValue(func() emojiIndex {
	x := emojiIndex{map[string]string{}, map[string]string{}, map[string]bool{}}
	for line := range strings.Lines(emojiTable) {
		f := strings.Fields(line)
		plain := withoutVariation(f[0])
		x.names[plain] = f[1]
		for _, name := range f[1:] {
			if name == "~" {
				x.toned[plain] = true
			} else if x.unicode[name] == "" {
				x.unicode[name] = f[0]
			}
		}
	}
	return x
})

// tones are the skin tones as named in shortcodes, in the order of their
// characters.
var tones = []string{"_light_skin_tone", "_medium_light_skin_tone", "_medium_skin_tone", "_medium_dark_skin_tone", "_dark_skin_tone"}

const firstTone = '\U0001F3FB'

// Unicode returns the emoji of a shortcode, with or without colons: "thumbsup",
// ":+1:", "wave_tone3". Custom emoji are unknown.
func Unicode(shortcode string) (emoji string, ok bool) {
	name := strings.Trim(shortcode, ":")
	x := emojis()
	if e, ok := x.unicode[name]; ok {
		return e, true
	}
	base, tone := cutTone(name)
	e, ok := x.unicode[base]
	if !ok || tone < 0 || !x.toned[withoutVariation(e)] {
		return "", false
	}
	_, size := utf8.DecodeRuneInString(e)
	return e[:size] + string(firstTone+rune(tone)) + strings.TrimPrefix(e[size:], "\ufe0f"), true
}

// cutTone splits the skin tone off a shortcode; tone is -1 if there is none.
func cutTone(name string) (base string, tone int) {
	if b, t, ok := strings.Cut(name, "_tone"); ok && len(t) == 1 && t[0] >= '1' && t[0] <= '5' {
		return b, int(t[0] - '1')
	}
	best, tone := name, -1
	for i, suffix := range tones {
		if b, ok := strings.CutSuffix(name, suffix); ok && len(b) < len(best) {
			best, tone = b, i
		}
	}
	return best, tone
}

// Shortcode returns Rocket.Chat's name for an emoji, without colons. Variation
// selectors do not matter, skin tones do.
func Shortcode(emoji string) (name string, ok bool) {
	x := emojis()
	plain := withoutVariation(emoji)
	if name, ok := x.names[plain]; ok {
		return name, true
	}
	for i, r := range plain {
		if r < firstTone || r > firstTone+4 || i == 0 {
			continue
		}
		base := plain[:i] + plain[i+utf8.RuneLen(r):]
		if name, ok := x.names[base]; ok && x.toned[base] {
			return name + "_tone" + string('1'+(r-firstTone)), true
		}
		break
	}
	return "", false
}

// withoutVariation removes the selectors that request a coloured or a plain form:
// keyboards disagree about them.
func withoutVariation(s string) string {
	return strings.NewReplacer("\ufe0f", "", "\ufe0e", "").Replace(s)
}
