package convert

import (
	"strconv"
	"strings"

	"maunium.net/go/mautrix/id"
)

// maxMessage is Rocket.Chat's default Message_MaxAllowedSize, in UTF-16 units.
const maxMessage = 5000

// maxParts bounds how many messages one event becomes. An honest event, which has
// 65,536 bytes, stays far below.
const maxParts = 40

// ToRocketChat returns the messages that a Matrix message becomes, in order: more
// than one if it is longer than Rocket.Chat allows, none if there is nothing to
// show. For an edit it is the new version.
func ToRocketChat(e Event, look Lookup) []string {
	c := e.Content
	if c.New != nil {
		c = *c.New
	}
	doc := document(c, look)
	if c.Mentions != nil && c.Mentions.Room && !look.Quiet && len(doc) > 0 && !markEveryone(doc) {
		doc = callEveryone(doc)
	}
	if !visible(doc) {
		return nil
	}
	text := replyTo(e.Content, printMarkdown(doc, look.Dialect), look)
	limit := look.Limit
	if limit <= 0 {
		limit = maxMessage
	}
	parts := splitMarkdown(text, limit)
	if len(parts) > maxParts {
		parts = append(parts[:maxParts-1], "…")
	}
	return parts
}

// AsTyped returns a line of text as a Rocket.Chat message that shows it literally
// and notifies nobody: for file names, and other text that strangers choose.
func AsTyped(text string, d Dialect) string {
	return printMarkdown([]block{{kind: line, runs: []run{{text: oneLine(cleanText(text))}}}}, d)
}

// document reads what a message shows.
func document(c EventContent, look Lookup) (doc []block) {
	switch c.MsgType {
	case "m.image", "m.file", "m.audio", "m.video":
		return fileDocument(c, look)
	case "m.location":
		return locationDocument(c)
	}
	if c.FormattedBody != "" {
		doc = parseHTML(c.FormattedBody, look)
	}
	if len(doc) == 0 {
		body := c.Body
		if c.ReplyTo != "" {
			_, body = SplitReplyFallback(body)
		}
		doc = plainDocument(body)
	}
	if c.MsgType == "m.emote" {
		for i := range doc {
			for j := range doc[i].runs {
				doc[i].runs[j].style |= italic
			}
		}
	}
	return doc
}

// plainDocument turns literal text into lines.
func plainDocument(body string) []block {
	body = cleanText(strings.NewReplacer("\r\n", "\n", "\r", "\n").Replace(cutText(body, maxText)))
	var doc []block
	for _, s := range strings.Split(body, "\n") {
		b := block{kind: line}
		if s != "" {
			b.runs = []run{{text: s}}
		}
		doc = append(doc, b)
	}
	return doc
}

// fileDocument shows the name of a file, and its caption if there is one.
func fileDocument(c EventContent, look Lookup) []block {
	name, caption := c.FileName, EventContent{}
	if name == "" {
		name = c.Body
	} else if c.Body != name {
		caption = EventContent{Body: c.Body, FormattedBody: c.FormattedBody, ReplyTo: c.ReplyTo}
	}
	if name = visibleName(name); name == "" {
		name = "file"
	}
	doc := []block{{kind: line, runs: []run{{text: "[" + name + "]"}}}}
	if caption.Body != "" {
		more := document(caption, look)
		doc = append(doc, more...)
	}
	return doc
}

// locationDocument shows a place, with a link to a map.
func locationDocument(c EventContent) []block {
	doc := plainDocument(c.Body)
	if lat, lon, ok := position(c.GeoURI); ok {
		link := "https://www.openstreetmap.org/?mlat=" + lat + "&mlon=" + lon
		doc = append(doc, block{kind: line, runs: []run{{text: link, target: link}}})
	}
	return doc
}

// position reads "geo:51.5,-0.12;u=35".
func position(uri string) (lat, lon string, ok bool) {
	rest, ok := strings.CutPrefix(uri, "geo:")
	rest, _, _ = strings.Cut(rest, ";")
	p := strings.Split(rest, ",")
	if !ok || len(p) < 2 {
		return "", "", false
	}
	for i, limit := range []float64{90, 180} {
		f, err := strconv.ParseFloat(p[i], 64)
		if err != nil || !(f >= -limit && f <= limit) {
			return "", "", false
		}
		p[i] = strconv.FormatFloat(f, 'f', -1, 64)
	}
	return p[0], p[1], true
}

// callEveryone puts a mention of everybody at the beginning of a document.
func callEveryone(doc []block) []block {
	call := []run{{kind: roomMention, text: "@all"}}
	if doc[0].kind == line {
		doc[0].runs = append(append(call, run{text: " "}), doc[0].runs...)
		return doc
	}
	return append([]block{{kind: line, runs: call}}, doc...)
}

// replyTo turns a text into a reply: with a link to the message if it is known,
// otherwise with what the sender's client quoted.
func replyTo(c EventContent, text string, look Lookup) string {
	if c.ReplyTo == "" || c.FallsBack {
		return text
	}
	if link, ok := look.permalink(id.EventID(c.ReplyTo)); ok {
		return Quote(link, text)
	}
	body := c.Body
	if c.New != nil {
		body = c.New.Body
	}
	if original, _ := SplitReplyFallback(body); original != "" {
		return printMarkdown([]block{fallbackQuote(original)}, look.Dialect) + "\n" + text
	}
	return text
}

// fallbackQuote turns what a client puts before the body of a reply into a quote:
// "<@author:server> text". The author is only what the sender claims, so it is left
// out: otherwise anybody could make anybody say anything.
func fallbackQuote(original string) block {
	author, text, ok := strings.Cut(strings.TrimPrefix(original, "* "), "> ")
	if !ok || !strings.HasPrefix(author, "<@") {
		text = original
	}
	return block{kind: quote, kids: trimLines(plainDocument(text))}
}
