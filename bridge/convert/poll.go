package convert

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// A Poll is a question on Matrix (MSC3381), which Rocket.Chat shows as text.
type Poll struct {
	Question string
	Answers  []PollAnswer
}

// A PollAnswer is one of the choices.
type PollAnswer struct{ ID, Text string }

// maxAnswers bounds a poll: real ones have up to 20 answers.
const maxAnswers = 50

// Poll reads the event that starts a poll, in its stable or its unstable form. ok
// is false if there is nothing to answer.
func (e Event) Poll() (p Poll, ok bool) {
	content := e.content
	start := content.object("m.poll")
	if start == nil {
		start = content.object("org.matrix.msc3381.poll.start")
	}
	p.Question = text1767(start.object("question"))
	var answers []object
	_ = json.Unmarshal(start["answers"], &answers)
	for _, a := range answers {
		id := first(a.str("m.id"), a.str("id"))
		if text := text1767(a); id != "" && text != "" && len(p.Answers) < maxAnswers {
			p.Answers = append(p.Answers, PollAnswer{id, text})
		}
	}
	return p, p.Question != "" && len(p.Answers) > 0
}

// text1767 reads extensible text (MSC1767), in its stable or its unstable form.
func text1767(o object) string {
	s := first(o.str("org.matrix.msc1767.text"), o.str("body"))
	var list []object
	if json.Unmarshal(o["m.text"], &list) == nil {
		for _, t := range list {
			if mime := t.str("mimetype"); mime == "" || mime == "text/plain" {
				s = first(t.str("body"), s)
				break
			}
		}
	}
	return visibleName(s)
}

// PollTarget returns the poll to which an answer or an end belongs.
func (e Event) PollTarget() (event string, ok bool) {
	relates := e.content.object("m.relates_to")
	event = relates.str("event_id")
	return event, event != "" && relates.str("rel_type") == "m.reference"
}

// A Vote is one answer event, as it arrived.
type Vote struct {
	Sender  string
	Time    int64 // milliseconds
	Answers []string
}

// ParseVote reads an answer to a poll; ok is false if the event is not one.
func ParseVote(payload []byte) (v Vote, ok bool) {
	e, err := ParseEvent(payload)
	if err != nil || e.Type != "m.poll.response" && e.Type != "org.matrix.msc3381.poll.response" {
		return Vote{}, false
	}
	content := e.content
	answers := content["m.selections"]
	if answers == nil {
		answers = content.object("org.matrix.msc3381.poll.response")["answers"]
	}
	_ = json.Unmarshal(answers, &v.Answers)
	v.Sender, v.Time = e.Sender, e.Timestamp
	return v, true
}

// Count returns how often each answer was chosen: only the last vote of each sender
// counts, and each answer in it once.
func (p Poll) Count(votes []Vote) map[string]int {
	last := map[string]Vote{}
	for _, v := range votes {
		if old, ok := last[v.Sender]; !ok || v.Time >= old.Time {
			last[v.Sender] = v
		}
	}
	n := map[string]int{}
	for _, v := range last {
		slices.Sort(v.Answers)
		for _, a := range slices.Compact(v.Answers) {
			n[a]++
		}
	}
	return n
}

// Text returns a poll as Rocket.Chat markdown.
func (p Poll) Text() string {
	var b strings.Builder
	fmt.Fprintf(&b, "📊 *%s*", plainMarkdown(p.Question))
	for i, a := range p.Answers {
		fmt.Fprintf(&b, "\n%d. %s", i+1, plainMarkdown(a.Text))
	}
	return b.String()
}

// Result returns the outcome of a poll.
func (p Poll) Result(counts map[string]int) string {
	var b strings.Builder
	fmt.Fprintf(&b, "📊 *%s*: the poll has ended.", plainMarkdown(p.Question))
	for i, a := range p.Answers {
		votes := "votes"
		if counts[a.ID] == 1 {
			votes = "vote"
		}
		fmt.Fprintf(&b, "\n%d. %s: %d %s", i+1, plainMarkdown(a.Text), counts[a.ID], votes)
	}
	return b.String()
}

// plainMarkdown writes text so that every server shows it literally.
func plainMarkdown(s string) string { return AsTyped(s, 0) }
