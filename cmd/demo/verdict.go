package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"appliance/bridge/mxside"
)

// A verdict counts what is wrong with one side of a room, or of many.
type verdict struct {
	lost, doubled, disordered, stale, sender, target, member int
	found                                                    []string // what was found first
	worst                                                    []string // the first that waiting cannot correct
}

// ownPrefix begins every text that is said in Rocket.Chat and sent to Matrix by the bridge.
const ownPrefix = "r "

// maxFound bounds how many findings are spelled out, and maxOfAKind how many of each kind
// in one room.
const (
	maxFound   = 12
	maxOfAKind = 2
)

func (v *verdict) fine() bool {
	return v.lost+v.doubled+v.disordered+v.stale+v.sender+v.target+v.member == 0
}

// onlyMembers reports whether nothing but members differs.
func (v *verdict) onlyMembers() bool {
	return v.member > 0 && v.lost+v.doubled+v.disordered+v.stale+v.sender+v.target == 0
}

func (v *verdict) add(o verdict) {
	v.lost += o.lost
	v.doubled += o.doubled
	v.disordered += o.disordered
	v.stale += o.stale
	v.sender += o.sender
	v.target += o.target
	v.member += o.member
	v.found, v.worst = append(v.found, o.found...), append(v.worst, o.worst...)
	v.found, v.worst = v.found[:min(len(v.found), maxFound)], v.worst[:min(len(v.worst), maxFound)]
}

func (v *verdict) String() string {
	text := fmt.Sprintf("lost %d, doubled %d, out of order %d, not as last edited, reacted to or deleted %d, wrong sender %d, wrong target %d, members that differ %d",
		v.lost, v.doubled, v.disordered, v.stale, v.sender, v.target, v.member)
	for _, found := range slices.Concat(v.worst, v.found) {
		text += "\n           " + found
	}
	return text
}

func (v *verdict) note(count *int, format string, args ...any) {
	*count++
	list := &v.worst
	if count == &v.lost || count == &v.stale || count == &v.member {
		list = &v.found
	}
	if *count <= maxOfAKind && len(*list) < maxFound {
		*list = append(*list, fmt.Sprintf(format, args...))
	}
}

// shown is a message as the other side shows it.
type shown struct {
	id, sender string
	number     int    // by its first text
	text       string // as it was last edited
	parent     string // the ID of the message that it answers
	thumbs     int    // of the person who wrote it
	hidden     bool   // whether there is a reaction of theirs in the room's history that no client was shown
	rewritten  string // the newest edit in the room's history that no client was shown; "" if none
	moved      bool   // the homeserver has it in two orders
}

// judge compares both sides of a room with what was done.
func (s *stage) judge(ctx context.Context) (v verdict, err error) {
	onMatrix, err := s.witness.shown(ctx, ownPrefix)
	if err != nil {
		return v, err
	}
	fromMX, err := s.witness.shown(ctx, "m ")
	if err != nil {
		return v, err
	}
	inChat, err := s.chat.shown(ctx, "m ")
	if err != nil {
		return v, err
	}
	v.add(s.fromRC.judge(onMatrix, "@meter:"+serverName))
	s.told, s.moved, s.followed = s.fromMX.told(fromMX), 0, 0
	for _, m := range fromMX {
		if s.late.has(m.id) {
			s.told.moved[m.number] = true
			s.followed++
		}
	}
	for _, m := range slices.Concat(onMatrix, fromMX) {
		if m.moved {
			s.moved++
		}
	}
	v.add(s.told.judge(inChat, bobPuppet))
	for _, g := range s.guests {
		found, err := g.judge(ctx)
		if err != nil {
			return v, err
		}
		v.add(found)
	}
	for _, list := range [][]string{v.found, v.worst} {
		for i := range list {
			list[i] = s.name + ": " + list[i]
		}
	}
	return v, nil
}

// told is the script as the homeserver of the bridge has it, oldest first. Two
// homeservers that are cut off from each other, or killed, may miss each other's events,
// for a while or for good; the bridge carries what its own homeserver sends it.
func (s *script) told(have []shown) *script {
	t := &script{prefix: s.prefix, said: slices.Clone(s.said), places: map[int]int{}, moved: map[int]bool{}}
	byNumber, byID := map[int]shown{}, map[string]int{}
	for i, m := range have {
		byNumber[m.number], byID[m.id], t.places[m.number], t.moved[m.number] = m, m.number, i, m.moved
	}
	for i := range t.said {
		want := &t.said[i]
		m, ok := byNumber[i]
		if !ok {
			want.unheard = !want.deleted
			continue
		}
		want.text, want.reacted, want.either, want.deleted = m.text, m.thumbs > 0, m.hidden, false
		want.rewritten = m.rewritten
		parent, heard := byID[m.parent]
		switch {
		case heard:
			want.parent = parent
		case m.parent == "":
			want.parent = -1
		default:
			want.orphan = true
		}
	}
	return t
}

// differs counts the messages on which the two homeservers differ.
func (s *script) differs(told *script) (n int) {
	for i, said := range s.said {
		if other := told.said[i]; other.unheard || said.text != other.text || said.reacted != other.reacted || said.deleted != other.deleted {
			n++
		}
	}
	return n
}

// overtook reports whether message b reached the bridge before message a, by number.
func (s *script) overtook(a, b int) bool {
	if s.places == nil {
		return b < a
	}
	at, known := s.places[a]
	before, also := s.places[b]
	return known && also && before < at
}

// isMoved reports whether any place is right for a message.
func (s *script) isMoved(m shown) bool { return m.moved || s.moved[m.number] }

// judge compares what the other side shows, oldest first, with the script. Messages that
// reached the bridge in another order than they were said in may be shown in either.
func (s *script) judge(got []shown, sender string) (v verdict) {
	byNumber, byID := map[int]shown{}, map[string]int{}
	var before []int
	for _, m := range got {
		if _, ok := byNumber[m.number]; ok {
			v.note(&v.doubled, "%q twice", m.text)
			continue
		}
		byNumber[m.number], byID[m.id] = m, m.number
		for _, n := range before {
			if m.number < n && s.overtook(n, m.number) && !s.isMoved(m) && !s.isMoved(byNumber[n]) {
				v.note(&v.disordered, "%q after number %d", m.text, n)
				break
			}
		}
		before = append(before, m.number)
		if m.sender != sender {
			v.note(&v.sender, "%q of %s", m.text, m.sender)
		}
		if m.number >= len(s.said) {
			v.note(&v.doubled, "%q was never said", m.text)
		}
	}
	for i, want := range s.said {
		m, ok := byNumber[i]
		switch {
		case want.deleted && ok:
			v.note(&v.stale, "%q was deleted and is shown", m.text)
		case want.deleted, want.unheard:
		case !ok:
			v.note(&v.lost, "%q", want.text)
		default:
			s.compare(&v, m, want, byID)
		}
	}
	return v
}

func (s *script) compare(v *verdict, m shown, want said, byID map[string]int) {
	if m.text != want.text && (want.rewritten == "" || m.text != want.rewritten) {
		v.note(&v.stale, "%q, want %q", m.text, want.text)
	}
	thumbs := 0
	if want.reacted {
		thumbs = 1
	}
	if m.thumbs != thumbs && (!want.either || m.thumbs != 1) {
		v.note(&v.stale, "%q has %d reactions of its writer, want %d", m.text, m.thumbs, thumbs)
	}
	parent, ok := byID[m.parent]
	if !ok {
		parent = -1
	}
	if parent != want.parent && (!want.orphan || parent != -1) {
		v.note(&v.target, "%q answers number %d, want %d", m.text, parent, want.parent)
	}
}

// number reads the number of a text: "r 12", or "r 12 edit 3".
func number(text, prefix string) (int, bool) {
	rest, ok := strings.CutPrefix(text, prefix)
	if !ok {
		return 0, false
	}
	digits, _, _ := strings.Cut(rest, " ")
	n, err := strconv.Atoi(digits)
	return n, err == nil
}

// roomMessage is a message of Rocket.Chat, as far as a verdict needs it.
type roomMessage struct {
	ID        string `json:"_id"`
	Text      string `json:"msg"`
	Type      string `json:"t"`
	Thread    string `json:"tmid"`
	Reactions map[string]struct {
		Usernames []string `json:"usernames"`
	} `json:"reactions"`
	User struct {
		Username string `json:"username"`
	} `json:"u"`
	File struct {
		Name string `json:"name"`
	} `json:"file"`
}

// shown lists the messages of a room of Rocket.Chat that begin with prefix.
func (w *chatWriter) shown(ctx context.Context, prefix string) (all []shown, err error) {
	for offset := 0; ; {
		page, err := w.page(ctx, w.room, offset)
		if err != nil {
			return nil, err
		}
		for _, m := range page {
			text := cmp.Or(m.Text, m.File.Name)
			n, ok := number(text, prefix)
			if !ok || m.Type != "" {
				continue
			}
			s := shown{id: m.ID, sender: m.User.Username, number: n, text: text, parent: m.Thread}
			for _, r := range m.Reactions {
				for _, name := range r.Usernames {
					if name == m.User.Username {
						s.thumbs++
					}
				}
			}
			all = append(all, s)
		}
		if offset += len(page); len(page) == 0 {
			slices.Reverse(all)
			return all, nil
		}
	}
}

// roomEvent is an event of a room, as far as a verdict needs it.
type roomEvent struct {
	ID      string `json:"event_id"`
	Type    string `json:"type"`
	Sender  string `json:"sender"`
	Time    int64  `json:"origin_server_ts"`
	moved   bool   // see arrivals.markMoved
	Content struct {
		Body string `json:"body"`
		New  struct {
			Body string `json:"body"`
		} `json:"m.new_content"`
		Relates struct {
			Type  string `json:"rel_type"`
			Event string `json:"event_id"`
		} `json:"m.relates_to"`
	} `json:"content"`
}

// shown lists the messages of a room of Matrix that begin with prefix. A message from
// another homeserver counts once a client was shown it; one that the bridge sent counts
// once the room's history has it.
func (w *matrixWriter) shown(ctx context.Context, prefix string) (all []shown, err error) {
	events, err := w.events(ctx)
	if err != nil {
		return nil, err
	}
	own := prefix == ownPrefix
	hidden, unseenEdits := map[string]bool{}, map[string]roomEvent{}
	if !own {
		events, hidden, unseenEdits = w.seen(events)
	}
	edits, thumbs := map[string]roomEvent{}, map[string]int{}
	for _, e := range events {
		switch {
		case e.Type == "m.reaction" && e.Content.Relates.Event != "":
			thumbs[e.Content.Relates.Event+" "+e.Sender]++
		case e.Content.Relates.Type == "m.replace":
			newest(edits, e)
		}
	}
	for _, e := range events {
		n, ok := number(e.Content.Body, prefix)
		if e.Type != "m.room.message" || !ok || e.Content.Relates.Type == "m.replace" {
			continue
		}
		if own && !w.timeline.showed(e.ID) {
			w.timeline.late.Add(1)
		}
		s := shown{id: e.ID, sender: e.Sender, number: n, text: e.Content.Body, thumbs: thumbs[e.ID+" "+e.Sender], hidden: hidden[e.ID+" "+e.Sender], moved: e.moved}
		edit, edited := edits[e.ID]
		if edited {
			s.text = edit.Content.New.Body
		}
		if unseen, ok := unseenEdits[e.ID]; ok && (!edited || newer(unseen, edit)) {
			s.rewritten = unseen.Content.New.Body
		}
		if e.Content.Relates.Type == "m.thread" {
			s.parent = e.Content.Relates.Event
		}
		all = append(all, s)
	}
	return all, nil
}

// seen returns the events that a client was shown and, of the others, those that the
// bridge may know of, as it is told in another way: which messages have a reaction, by
// event and sender, and the newest edit of each.
func (w *matrixWriter) seen(events []roomEvent) (shown []roomEvent, hidden map[string]bool, edits map[string]roomEvent) {
	hidden, edits = map[string]bool{}, map[string]roomEvent{}
	for _, e := range events {
		switch {
		case w.timeline.showed(e.ID):
			shown = append(shown, e)
		case e.Type == "m.reaction":
			hidden[e.Content.Relates.Event+" "+e.Sender] = true
		case e.Content.Relates.Type == "m.replace":
			newest(edits, e)
		}
	}
	return shown, hidden, edits
}

// newest keeps the edit of a message that counts: the newest, regardless of its position
// (specification, "Applying m.new_content").
func newest(edits map[string]roomEvent, e roomEvent) {
	if old, ok := edits[e.Content.Relates.Event]; !ok || newer(e, old) {
		edits[e.Content.Relates.Event] = e
	}
}

func newer(a, b roomEvent) bool {
	return cmp.Or(cmp.Compare(a.Time, b.Time), cmp.Compare(a.ID, b.ID)) > 0
}

// events returns the events of the room, oldest first.
func (w *matrixWriter) events(ctx context.Context) (all []roomEvent, err error) {
	seen := map[string]bool{} // pages overlap, see mxside.Earlier
	for from := ""; ; {
		var out struct {
			Chunk []json.RawMessage `json:"chunk"`
			End   string            `json:"end"`
		}
		path := "/_matrix/client/v3/rooms/" + url.PathEscape(w.room) + "/messages?dir=b&limit=200"
		if from != "" {
			path += "&from=" + url.QueryEscape(from)
		}
		if err := w.do(ctx, http.MethodGet, path, nil, &out); err != nil {
			return nil, err
		}
		fresh := 0
		for _, raw := range out.Chunk {
			var e roomEvent
			if json.Unmarshal(raw, &e) != nil || seen[e.ID] {
				continue
			}
			seen[e.ID] = true
			fresh++
			all = append(all, e)
		}
		if out.End == "" || len(out.Chunk) == 0 {
			slices.Reverse(all)
			w.timeline.sort(all)
			return all, nil
		}
		if from = mxside.Earlier(out.End); fresh == 0 {
			from = out.End
		}
	}
}
