package grammar

import (
	"strconv"
	"strings"
	"time"
)

// time reads <t:1630360800:f>, a moment that everybody sees in their own time zone.
func (p *parser) time(i int) (Node, int) {
	if !p.is(i, "<t:") {
		return none()
	}
	seconds, j := p.moment(i + 3)
	if j < 0 {
		return none()
	}
	format := "t"
	if p.at(j) == ':' && strings.IndexByte("tTdDfFR", p.at(j+1)) >= 0 && p.at(j+1) != 0 {
		format, j = p.s[j+1:j+2], j+2
	}
	if p.at(j) != '>' {
		return none()
	}
	n := Node{Kind: Time, Text: format, Target: seconds}
	if seconds == "" {
		n.Kids = []Node{text(strings.TrimSuffix(p.s[i+3:j], ":"+format))}
	}
	return n, j + 1
}

// escapedTime reads the same after a backslash, which turns it into text.
func (p *parser) escapedTime(i int) (Node, int) {
	if p.at(i) != '\\' {
		return none()
	}
	_, j := p.time(i + 1)
	if j < 0 {
		return none()
	}
	return text(p.s[i+1 : j]), j
}

// layouts are the forms of a moment besides the ten digits of its seconds, told
// apart by their length without a zone. Those with only a time of day mean today,
// which only the client that shows them knows: Target is then empty.
var layouts = []string{"2006-01-02T15:04:05.000", "2006-01-02T15:04:05", "15:04:05", "15:04"}

// moment reads a point in time, in seconds since 1970.
func (p *parser) moment(i int) (string, int) {
	if j := p.span(i, isDigit); j >= i+10 {
		return p.s[i : i+10], i + 10
	}
	if p.d == V31 {
		return "", fail
	}
	for _, layout := range layouts {
		j := i + len(layout)
		if j > len(p.s) || !looksLike(p.s[i:j], layout) {
			continue
		}
		zone := ""
		if p.zone(j) {
			zone = p.s[j : j+len("+00:00")]
		}
		at, err := time.Parse(layout+"Z07:00", p.s[i:j]+orUTC(zone))
		end := j + len(zone)
		if err != nil || len(layout) < 10 {
			return "", end
		}
		return strconv.FormatInt(at.Unix(), 10), end
	}
	return "", fail
}

func orUTC(zone string) string {
	if zone == "" {
		return "Z"
	}
	return zone
}

// zone reports whether "+02:00" stands here.
func (p *parser) zone(i int) bool {
	return i+6 <= len(p.s) && (p.s[i] == '+' || p.s[i] == '-') && looksLike(p.s[i+1:i+6], "00:00")
}

// looksLike reports whether a text has digits where a layout has them, and equals
// it elsewhere.
func looksLike(s, layout string) bool {
	for i := range len(layout) {
		if isDigit(rune(layout[i])) != isDigit(rune(s[i])) || !isDigit(rune(s[i])) && s[i] != layout[i] {
			return false
		}
	}
	return true
}
