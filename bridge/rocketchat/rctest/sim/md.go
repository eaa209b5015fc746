package sim

import (
	"regexp"
	"strings"
)

// A real server fills md with the text as its own parser reads it. This is not that
// parser: it handles paragraphs, plain text, links with and without a label, and
// mentions of people and channels. Emphasis, lists, code, quotes, emoji and
// addresses without https:// stay plain text, so a client that renders md shows
// their markup. official.TestParsedText compares it with the real one.

var markForm = regexp.MustCompile(`\[([^\]\n]*)\]\((https?://[^\s)]+)\)|(https?://[^\s<>()\[\]|]*[^\s<>()\[\]|.,;:!?])|` +
	`(?:^|[^\w@.-])(@[0-9a-zA-Z._:@-]*[0-9a-zA-Z._-])|(?:^|[^\w#])(#[0-9a-zA-Z._-]+)`)

// parsedText returns md for a text, or nil, which is omitted, for an empty one.
func parsedText(text string) any {
	if text == "" {
		return nil
	}
	var blocks []any
	for line := range strings.SplitSeq(text, "\n") {
		if strings.TrimSpace(line) == "" {
			blocks = append(blocks, Doc{"type": "LINE_BREAK"})
			continue
		}
		blocks = append(blocks, Doc{"type": "PARAGRAPH", "value": parsedLine(line)})
	}
	return blocks
}

func plainText(s string) Doc { return Doc{"type": "PLAIN_TEXT", "value": s} }

// parsedLine splits a line at its links and mentions.
func parsedLine(line string) (l []any) {
	add := func(s string) {
		if s != "" {
			l = append(l, plainText(s))
		}
	}
	at := 0
	for _, m := range markForm.FindAllStringSubmatchIndex(line, -1) {
		group := func(i int) string { return line[m[2*i]:m[2*i+1]] }
		switch {
		case m[4] >= 0:
			add(line[at:m[0]])
			l = append(l, link(group(2), plainText(group(1))))
		case m[6] >= 0:
			add(line[at:m[0]])
			l = append(l, link(group(3), plainText(group(3))))
		case m[8] >= 0:
			add(line[at:m[8]])
			l = append(l, Doc{"type": "MENTION_USER", "value": plainText(group(4)[1:])})
		default:
			add(line[at:m[10]])
			l = append(l, Doc{"type": "MENTION_CHANNEL", "value": plainText(group(5)[1:])})
		}
		at = m[1]
	}
	add(line[at:])
	return l
}

func link(to string, label Doc) Doc {
	return Doc{"type": "LINK", "value": Doc{"src": plainText(to), "label": []any{label}}}
}
