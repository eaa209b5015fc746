package convert

import (
	"net/url"
	"strings"

	"appliance/bridge/convert/internal/grammar"
)

// A Rocket.Chat reply begins with a link that has no text and leads to the quoted
// message: "[ ](https://chat.example.org/channel/general?msg=abc) yes".

// SplitQuotes returns the IDs of the messages that a Rocket.Chat message quotes,
// in order, and the text after the links to them.
func SplitQuotes(text string) (ids []string, rest string) {
	for {
		s := strings.TrimLeft(text, " \t\n")
		body, ok := strings.CutPrefix(s, "[ ](")
		if !ok {
			return ids, text
		}
		link, after, ok := strings.Cut(body, ")")
		id := quotedID(link)
		if !ok || id == "" {
			return ids, text
		}
		ids, text = append(ids, id), after
		if after != "" && (after[0] == ' ' || after[0] == '\n') {
			text = after[1:]
		}
	}
}

// quotedID returns the message that a permalink leads to.
func quotedID(link string) string {
	if len(link) > maxURL || strings.ContainsAny(link, " \t\n") {
		return ""
	}
	u, err := url.Parse(link)
	if err != nil || u.Host == "" {
		return ""
	}
	return u.Query().Get("msg")
}

// quoteMark is the beginning of a text that quotes a message: a link without a label.
const quoteMark = "[ ]("

// Quote returns text as a reply to the message that permalink leads to. Text with a
// meaning only at the beginning of a line begins one.
func Quote(permalink, text string) string {
	sep := " "
	if beginsBlock(text, grammar.V31) || beginsBlock(text, grammar.V32) {
		sep = "\n"
	}
	return quoteMark + linkPart(permalink) + ")" + sep + text
}

// SplitReplyFallback splits off the body of a Matrix reply what older clients put
// before it: the message replied to, in lines that begin with ">", and an empty
// line. quoted is that message, its first line beginning with the author.
func SplitReplyFallback(body string) (quoted, rest string) {
	if !strings.HasPrefix(body, "> <@") && !strings.HasPrefix(body, "> * <@") && !strings.HasPrefix(body, "> In reply to") {
		return "", body
	}
	var lines []string
	rest = body
	for strings.HasPrefix(rest, ">") {
		var l string
		l, rest, _ = strings.Cut(rest, "\n")
		lines = append(lines, strings.TrimPrefix(strings.TrimPrefix(l, ">"), " "))
	}
	return strings.Join(lines, "\n"), strings.TrimPrefix(rest, "\n")
}
