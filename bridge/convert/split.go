package convert

import (
	"strings"
	"unicode/utf8"
)

// units returns the length of a text as Rocket.Chat counts it: in UTF-16 units.
func units(s string) int {
	n := 0
	for _, r := range s {
		n++
		if r > 0xFFFF {
			n++
		}
	}
	return n
}

// splitMarkdown splits a message into parts of at most limit UTF-16 units: at an
// empty line if one is near, else at the end of a line, else at a blank, else
// between two characters. Code blocks and quotes that are cut continue in the next
// part; list items carry their own numbers.
func splitMarkdown(text string, limit int) []string {
	if len(text) <= limit || units(text) <= limit {
		return []string{text}
	}
	s := splitter{limit: limit}
	lines := strings.Split(text, "\n")
	ends := fenceEnds(lines)
	for i, l := range lines {
		switch _, starts := fenceStart(l); {
		case s.fence != "" && ends[i] == i:
			s.end(l)
		case s.fence == "" && starts && ends[i+1] < len(lines) && 2*(len(l)+fenceCost) < limit:
			s.begin(l)
		default:
			s.line(l)
		}
	}
	s.part()
	return s.parts
}

// fenceCost is what it takes to close a code block at the end of a part.
const fenceCost = len("\n```")

// A splitter collects lines until they fill a part.
type splitter struct {
	limit int
	parts []string
	lines []string
	size  int    // of lines, in UTF-16 units, with the breaks after them
	fence string // the line that began the code block we are in
}

// room is how long the next line may be.
func (s *splitter) room() int {
	room := s.limit - s.size
	if s.fence != "" {
		room -= fenceCost
	}
	return room
}

func (s *splitter) add(l string) {
	s.lines = append(s.lines, l)
	s.size += units(l) + 1
}

func (s *splitter) begin(l string) {
	if units(l)+fenceCost >= s.room() {
		s.part()
	}
	s.add(l)
	s.fence = l
}

func (s *splitter) end(l string) {
	s.fence = ""
	if len(s.lines) > 0 {
		s.add("```")
	}
	if strings.TrimSpace(l[3:]) != "" {
		s.line(l[3:])
	}
}

// line adds a line, in as many parts as necessary.
func (s *splitter) line(l string) {
	if units(l) <= s.room() {
		s.add(l)
		return
	}
	if s.size > s.limit/2 || units(l) <= s.limit/2 {
		s.breakPart()
	}
	lead := quoteLead(l)
	for units(l) > s.room() {
		if s.room() < min(s.limit/4, 8) {
			s.breakPart()
		}
		n := cutPoint(l, max(s.room(), 2))
		s.add(strings.TrimSuffix(l[:n], " "))
		s.breakPart()
		l = lead + l[n:]
		if len(lead) >= n { // a lead as long as a part would never end
			lead = ""
		}
	}
	s.add(l)
}

// quoteLead returns the beginning of each part of a quoted line.
func quoteLead(l string) string {
	lead := l[:len(l)-len(strings.TrimLeft(l, "> "))]
	if !strings.HasPrefix(lead, ">") || len(lead) > 2*maxDepth {
		return ""
	}
	return lead
}

// cutPoint returns where to cut a line so that the first piece has at most limit
// units.
func cutPoint(l string, limit int) int {
	n := prefix(l, limit)
	if n == len(l) || n == 0 {
		return max(n, 1)
	}
	if i := strings.LastIndexByte(l[:n], ' '); i > n/2 {
		return i + 1
	}
	for i := n; i > n-40 && i > 0; i-- { // not between an emoji and its modifiers
		if utf8.RuneStart(l[i]) && !joins(l, i) {
			return i
		}
	}
	return n
}

// joins reports whether the characters around i belong together.
func joins(l string, i int) bool {
	before, _ := utf8.DecodeLastRuneInString(l[:i])
	after, _ := utf8.DecodeRuneInString(l[i:])
	return before == '\u200d' || after == '\u200d' || after == '\ufe0f' || after >= firstTone && after <= firstTone+4 || after >= 0x300 && after <= 0x36f || before == '\\'
}

// prefix returns how many bytes of text fit into limit UTF-16 units.
func prefix(text string, limit int) int {
	n := 0
	for i, r := range text {
		n++
		if r > 0xFFFF {
			n++
		}
		if n > limit {
			return i
		}
	}
	return len(text)
}

// breakPart ends a part in the middle of something that continues.
func (s *splitter) breakPart() {
	if len(s.lines) == 0 || s.fence != "" && len(s.lines) == 1 && s.lines[0] == s.fence {
		return
	}
	var rest []string
	if s.fence == "" {
		rest = s.takeParagraph()
	} else {
		s.lines = append(s.lines, "```")
	}
	s.part()
	if s.fence != "" {
		s.add(s.fence)
	}
	for _, l := range rest {
		s.add(l)
	}
}

// takeParagraph removes the lines after the last empty one from the part, if that
// leaves at least half of it.
func (s *splitter) takeParagraph() []string {
	size := 0
	for i := len(s.lines) - 1; i > 0 && size < s.limit/4; i-- {
		l := s.lines[i]
		if strings.HasPrefix(l, "```") {
			break
		}
		if strings.TrimSpace(l) == "" && i < len(s.lines)-1 && size < s.size/2 {
			rest := append([]string{}, s.lines[i+1:]...)
			s.lines = s.lines[:i]
			return rest
		}
		size += units(l) + 1
	}
	return nil
}

// part ends a part. Empty lines at its ends are not needed as separators.
func (s *splitter) part() {
	lines := s.lines
	for len(lines) > 0 && strings.TrimSpace(lines[len(lines)-1]) == "" {
		lines = lines[:len(lines)-1]
	}
	for len(lines) > 0 && len(s.parts) > 0 && strings.TrimSpace(lines[0]) == "" {
		lines = lines[1:]
	}
	if len(lines) > 0 {
		s.parts = append(s.parts, strings.Join(lines, "\n"))
	}
	s.lines, s.size = nil, 0
}

// fenceStart reads the first line of a code block.
func fenceStart(s string) (lang string, ok bool) {
	lang, ok = strings.CutPrefix(s, "```")
	if !ok || strings.ContainsFunc(lang, func(r rune) bool { return r != ' ' && !isLangChar(r) }) {
		return "", false
	}
	lang, _, _ = strings.Cut(strings.TrimSpace(lang), " ")
	return lang, true
}

// fenceEnds returns for each line the next line, itself included, that ends a code
// block.
func fenceEnds(lines []string) []int {
	ends := make([]int, len(lines)+1)
	ends[len(lines)] = len(lines)
	for i := len(lines) - 1; i >= 0; i-- {
		ends[i] = ends[i+1]
		if strings.HasPrefix(lines[i], "```") && strings.Trim(lines[i][3:], " \t") == "" {
			ends[i] = i
		}
	}
	return ends
}
