package convert

import (
	"regexp"
	"slices"
	"strings"
)

// everyone stands for a mention of all members while a message is printed. It keeps
// intended mentions apart from those that are only text: it is a character that
// cleanText never lets through.
const everyone = "\x01"

// quietly replaces the words that notify everybody by ones whose first letter is
// the Cyrillic one that looks the same.
var quietly = strings.NewReplacer("@all", "@\u0430ll", "@here", "@\u04bbere")

var everyoneTyped = regexp.MustCompile(`(^|[^0-9A-Za-z])@(all|here)\b`)

// quietEveryone makes sure that only intended mentions of everybody notify.
// Rocket.Chat searches the source, including code, and has no escape for "@"; so
// where a Matrix user merely typed "@all", the first letter of the word becomes the
// Cyrillic one that looks the same. Nothing invisible is added, the line keeps its
// width, and people see what was written.
func quietEveryone(s string) string {
	if strings.Contains(s, "@") {
		s = everyoneTyped.ReplaceAllStringFunc(s, quietly.Replace)
	}
	return strings.ReplaceAll(s, everyone, "@all")
}

// matrixEveryone matches how Matrix users address everybody.
var matrixEveryone = regexp.MustCompile(`(^|[^0-9A-Za-z_/.:@-])@(room|all|here)\b`)

// markEveryone turns the words for everybody into mentions of everybody. found is
// false if there were none.
func markEveryone(doc []block) (found bool) {
	for i := range doc {
		if markEveryone(doc[i].kids) {
			found = true
		}
		var runs runBuilder
		for _, r := range doc[i].runs {
			if r.kind != plainText || r.target != "" || !strings.Contains(r.text, "@") {
				runs.add(r)
				continue
			}
			rest := r.text
			for {
				m := matrixEveryone.FindStringSubmatchIndex(rest)
				if m == nil {
					break
				}
				found = true
				at := m[3]
				runs.add(run{text: rest[:at], style: r.style})
				runs.add(run{kind: roomMention, text: rest[at:m[1]], style: r.style})
				rest = rest[m[1]:]
			}
			runs.add(run{text: rest, style: r.style})
		}
		doc[i].runs = runs.take()
	}
	return found
}

// mentionsOf adds to m the users whom a document notifies on Matrix.
func mentionsOf(doc []block, m *Mentions) {
	for _, b := range doc {
		mentionsOf(b.kids, m)
		for _, r := range b.runs {
			switch {
			case r.kind == roomMention:
				m.Room = true
			case r.kind == userMention && !slices.Contains(m.UserIDs, r.target):
				m.UserIDs = append(m.UserIDs, r.target)
			}
		}
	}
}
