package convert

import (
	"bytes"
	"encoding/json"
	"strconv"

	"appliance/bridge/rocketchat"
)

// maxContent is how many bytes of an event its text may take. An event has at most
// 65,536, including everything that servers add: signatures, hashes, the IDs of its
// predecessors, and what the bridge writes beside the text.
const maxContent = 48 << 10

// ToMatrix returns a Rocket.Chat message as it looks on Matrix: more than one event
// only if it does not fit into one, none if there is nothing to show. A quoted
// message becomes the event that the first one replies to, or a quotation if its
// event is unknown.
func ToMatrix(m rocketchat.Message, look Lookup) []Content {
	if len(m.Text) > maxText { // Rocket.Chat's limit can be raised, but not without end
		m.Text = cutText(m.Text, maxText) + "…"
	}
	if place, ok := place(m); ok {
		return []Content{place}
	}
	reply, before, text := quoted(m, look)
	after := attachments(m, look)
	parts := toContents(before, text, after, look)
	if reply != "" && len(parts) > 0 {
		parts[0] = parts[0].Reply(reply)
	}
	return parts
}

// place returns the event for a message that shares a location.
func place(m rocketchat.Message) (Content, bool) {
	if m.Location == nil || len(m.Location.Coordinates) < 2 {
		return Content{}, false
	}
	lon, lat := m.Location.Coordinates[0], m.Location.Coordinates[1]
	if !(lat >= -90 && lat <= 90 && lon >= -180 && lon <= 180) {
		return Content{}, false
	}
	geo := "geo:" + strconv.FormatFloat(lat, 'f', -1, 64) + "," + strconv.FormatFloat(lon, 'f', -1, 64)
	body := cleanText(m.Text)
	if body == "" {
		body = "Location: " + geo
	}
	return Content{MsgType: "m.location", Body: body, Geo: geo, Mentions: &Mentions{}}, true
}

// toContents turns a text, with more before and after it, into events, and splits
// the text as often as necessary.
func toContents(before []block, text string, after []block, look Lookup) []Content {
	whole, ok := toContent(before, text, after, look)
	if !ok {
		return nil
	}
	size := contentSize(whole)
	if size <= maxContent {
		return []Content{whole}
	}
	limit := max(units(text)*(maxContent*3/4)/size, minPart)
	var parts []Content
	if len(before) > 0 {
		parts = append(parts, toContents(nil, printMarkdown(before, look.Dialect), nil, look)...)
	}
	for _, t := range splitMarkdown(text, limit) {
		if c, ok := toContent(nil, t, nil, look); ok && (contentSize(c) <= maxContent || units(t) <= minPart) {
			parts = append(parts, c)
		} else if ok {
			parts = append(parts, toContents(nil, t, nil, look)...)
		}
	}
	if len(after) > 0 {
		parts = append(parts, toContents(nil, printMarkdown(after, look.Dialect), nil, look)...)
	}
	return parts
}

// minPart is a length in UTF-16 units that always fits, whatever the text is.
const minPart = 20

// toContent creates one event; ok is false if there is nothing to show.
func toContent(before []block, text string, after []block, look Lookup) (Content, bool) {
	c := Content{MsgType: "m.text", Mentions: &Mentions{}}
	doc := append(append(append([]block{}, before...), parseMarkdown(text, look)...), after...)
	c.Body = printBody(doc)
	if !visible(doc) {
		return Content{}, false
	}
	if !isPlain(doc) {
		c.Format, c.FormattedBody = HTML, printHTML(doc)
	}
	mentionsOf(doc, c.Mentions)
	return c, true
}

// contentSize returns the size of c in bytes, in the JSON that servers measure. If
// c is clearly small, the result is an estimate.
func contentSize(c Content) int {
	if n := 6 * (len(c.Body) + len(c.FormattedBody)); n < maxContent/2 && len(c.Mentions.UserIDs) < 40 {
		return n
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if enc.Encode(c) != nil {
		return maxContent
	}
	return b.Len()
}

// ReplyTarget returns the event that a message without a text of its own replies
// to, "" if it replies to none.
func ReplyTarget(m rocketchat.Message, look Lookup) string {
	reply, _, _ := quoted(m, look)
	return reply
}

// quoted splits the quoted messages off the text. The first one whose event is
// known is the one replied to; of the others the text is kept.
func quoted(m rocketchat.Message, look Lookup) (reply string, before []block, text string) {
	ids, rest := SplitQuotes(m.Text)
	for _, id := range ids {
		if event, ok := look.event(id); ok && reply == "" {
			reply = string(event)
		} else if b, ok := quotation(m.Attachments, id, look); ok {
			before = append(before, b)
		} else if !ok && reply == "" {
			return "", nil, m.Text
		}
	}
	return reply, before, rest
}

// quotation turns the copy that Rocket.Chat attaches into a quote.
func quotation(list []rocketchat.Attachment, message string, look Lookup) (block, bool) {
	for _, a := range list {
		if quotedID(a.MessageLink) != message {
			continue
		}
		_, text := SplitQuotes(a.Text)
		kids := parseMarkdown(text, look)
		silence(kids)
		if author := visibleName(a.AuthorName); author != "" {
			kids = append([]block{{kind: line, runs: []run{{text: author, style: bold}}}}, kids...)
		}
		return block{kind: quote, kids: kids}, len(kids) > 0
	}
	return block{}, false
}

// silence turns mentions into text: quoting does not notify people again.
func silence(doc []block) {
	for i := range doc {
		silence(doc[i].kids)
		for j, r := range doc[i].runs {
			if r.kind == userMention || r.kind == roomMention {
				doc[i].runs[j] = run{text: r.text, style: r.style}
			}
		}
	}
}

// attachments shows what is attached to a message as text: names of files and their
// captions, and what integrations send.
func attachments(m rocketchat.Message, look Lookup) []block {
	var out []block
	for _, a := range m.Attachments {
		if a.MessageLink != "" {
			continue
		}
		title, link := visibleName(a.Title), outside(a)
		switch {
		case link != "":
			if title == "" {
				title = link
			}
			out = append(out, block{kind: line, runs: []run{{text: title, target: link}}})
		case title != "" && a.TitleLink != "":
			out = append(out, block{kind: line, runs: []run{{text: "[" + title + "]"}}})
		case title != "":
			out = append(out, block{kind: line, runs: []run{{text: title, style: bold}}})
		}
		for _, s := range []string{a.Text, a.Description} {
			if s != "" {
				out = append(out, parseMarkdown(s, look)...)
			}
		}
	}
	return out
}
