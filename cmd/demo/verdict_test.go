package main

import (
	"fmt"
	"slices"
	"strconv"
	"testing"
)

// TestAVerdictSeesEachKindOfWrong spoils what one side shows in every way that a
// storm counts.
func TestAVerdictSeesEachKindOfWrong(t *testing.T) {
	s := &script{prefix: "r ", said: []said{
		{text: "r 0 edit 0", parent: -1, root: true, reacted: true},
		{text: "r 1", parent: 0},
		{text: "r 2", parent: -1, deleted: true},
		{text: "r 3", parent: -1},
	}}
	good := func() []shown {
		return []shown{
			{id: "a", sender: "alice", number: 0, text: "r 0 edit 0", thumbs: 1},
			{id: "b", sender: "alice", number: 1, text: "r 1", parent: "a"},
			{id: "d", sender: "alice", number: 3, text: "r 3"},
		}
	}
	if v := s.judge(good(), "alice"); !v.fine() {
		t.Errorf("nothing is wrong, and the verdict is %s", v.String())
	}
	for name, c := range map[string]struct {
		spoil func(l []shown) []shown
		count func(v verdict) int
	}{
		"lost":             {func(l []shown) []shown { return l[:2] }, func(v verdict) int { return v.lost }},
		"doubled":          {func(l []shown) []shown { return append(l, l[2]) }, func(v verdict) int { return v.doubled }},
		"never said":       {func(l []shown) []shown { return append(l, shown{sender: "alice", number: 4, text: "r 4"}) }, func(v verdict) int { return v.doubled }},
		"out of order":     {func(l []shown) []shown { return []shown{l[0], l[2], l[1]} }, func(v verdict) int { return v.disordered }},
		"not edited":       {func(l []shown) []shown { l[0].text = "r 0"; return l }, func(v verdict) int { return v.stale }},
		"no reaction":      {func(l []shown) []shown { l[0].thumbs = 0; return l }, func(v verdict) int { return v.stale }},
		"a reaction twice": {func(l []shown) []shown { l[0].thumbs = 2; return l }, func(v verdict) int { return v.stale }},
		"not deleted":      {func(l []shown) []shown { return append(l[:2:2], shown{sender: "alice", number: 2, text: "r 2"}, l[2]) }, func(v verdict) int { return v.stale }},
		"another sender":   {func(l []shown) []shown { l[2].sender = "eve"; return l }, func(v verdict) int { return v.sender }},
		"another thread":   {func(l []shown) []shown { l[1].parent = "d"; return l }, func(v verdict) int { return v.target }},
		"no thread":        {func(l []shown) []shown { l[1].parent = ""; return l }, func(v verdict) int { return v.target }},
	} {
		if v := s.judge(c.spoil(good()), "alice"); c.count(v) != 1 {
			t.Errorf("%s: %s", name, v.String())
		}
	}
}

// Events are judged in the order in which a client received them; those that it did not
// receive keep their place in the history of the room.
func TestEventsAreInTheOrderOfTheirArrival(t *testing.T) {
	a := &arrivals{at: map[string]int{"a": 0, "b": 1, "c": 2, "d": 3}}
	history := []roomEvent{{ID: "before"}, {ID: "a"}, {ID: "d"}, {ID: "with d"}, {ID: "b"}, {ID: "c"}}
	a.sort(history)
	var got []string
	for _, e := range history {
		got = append(got, e.ID)
	}
	if want := []string{"before", "a", "b", "c", "d", "with d"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

// A homeserver that lost its database shows a message after one that it has before it. Where
// that message is shown says nothing about the bridge; the others are judged as always.
func TestAMessageThatTheHomeserverMovedHasNoPlace(t *testing.T) {
	a := &arrivals{at: map[string]int{"0": 0, "2": 1, "1": 2, "3": 3, "hers": 4, "4": 5}}
	var history []roomEvent
	for _, id := range []string{"0", "1", "2", "hers", "3", "4"} {
		e := roomEvent{ID: id, Type: "m.room.message", Sender: "@bob:elsewhere.test"}
		if id == "hers" {
			e.Sender = "@eve:elsewhere.test"
		}
		history = append(history, e)
	}
	a.sort(history)
	var got []shown
	moved := 0
	for _, e := range history {
		if n, err := strconv.Atoi(e.ID); err == nil {
			got = append(got, shown{id: e.ID, number: n, text: "m " + e.ID, moved: e.moved})
		}
		if e.moved {
			moved++
		}
	}
	if moved != 1 {
		t.Fatalf("%d messages were moved, want one of two: %v", moved, history)
	}
	s := &script{prefix: "m "}
	for n := range 5 {
		s.said = append(s.said, said{text: fmt.Sprint("m ", n), parent: -1})
	}
	if v := s.judge(got, ""); !v.fine() {
		t.Errorf("the homeserver moved a message, and the verdict is %s", v.String())
	}
	told := s.told(got)
	for _, c := range []struct {
		order      []int
		disordered int
	}{{[]int{0, 1, 2, 3, 4}, 0}, {[]int{0, 2, 1, 3, 4}, 0}, {[]int{0, 1, 2, 4, 3}, 1}} {
		var list []shown
		for _, n := range c.order {
			list = append(list, shown{id: fmt.Sprint(n), number: n, text: fmt.Sprint("m ", n)})
		}
		if v := told.judge(list, ""); v.disordered != c.disordered {
			t.Errorf("%v: the verdict is %s, want %d out of order", c.order, v.String(), c.disordered)
		}
	}
}

func TestTheNumberOfAText(t *testing.T) {
	for text, want := range map[string]int{"r 12": 12, "r 12 edit 3": 12, "m 12": -1, "r twelve": -1, "": -1} {
		n, ok := number(text, "r ")
		if !ok {
			n = -1
		}
		if n != want {
			t.Errorf("number(%q) = %d, want %d", text, n, want)
		}
	}
}

// The bridge must deliver what its homeserver received, and not what another one kept from it.
func TestAVerdictOnWhatTheHomeserverWasTold(t *testing.T) {
	s := &script{prefix: "m ", said: []said{
		{text: "m 0 edit 1", parent: -1},
		{text: "m 1", parent: -1},
		{text: "m 2", parent: -1},
		{text: "m 3", parent: 2},
		{text: "m 4", parent: -1, deleted: true},
	}}
	// The edit, number 1 and the deletion never came, and number 3 came before number 2.
	told := s.told([]shown{{id: "a", number: 0, text: "m 0"}, {id: "d", number: 3, text: "m 3", parent: "c"}, {id: "c", number: 2, text: "m 2"}, {id: "e", number: 4, text: "m 4"}})
	if n := s.differs(told); n != 3 {
		t.Errorf("%d messages differ, want 3", n)
	}
	zero, two, three, four := shown{id: "A", number: 0, text: "m 0"}, shown{id: "C", number: 2, text: "m 2"}, shown{id: "D", number: 3, text: "m 3"}, shown{id: "E", number: 4, text: "m 4"}
	for _, list := range [][]shown{{zero, two, three, four}, {zero, three, two, four}} {
		for i := range list {
			if list[i].number == 3 {
				list[i].parent = "C"
			}
		}
		if v := told.judge(list, ""); v.disordered+v.lost+v.stale+v.doubled != 0 {
			t.Errorf("nothing is wrong, and the verdict is %s", v.String())
		}
	}
	if v := told.judge([]shown{zero, two, four}, ""); v.lost != 1 {
		t.Errorf("number 3 is lost, and the verdict is %s", v.String())
	}
	two.thumbs = 1
	if v := told.judge([]shown{zero, two, four}, ""); v.stale != 1 {
		t.Errorf("nobody reacted to number 2, and the verdict is %s", v.String())
	}
	told = s.told([]shown{{id: "a", number: 0, text: "m 0"}, {id: "d", number: 3, text: "m 3", parent: "c"}, {id: "c", number: 2, text: "m 2", hidden: true}, {id: "e", number: 4, text: "m 4"}})
	if v := told.judge([]shown{zero, two, four}, ""); v.stale != 0 {
		t.Errorf("a reaction to number 2 is in the history, and the verdict is %s", v.String())
	}
	two.thumbs, two.text = 0, "m 2 edit 7"
	if v := told.judge([]shown{zero, two, four}, ""); v.stale != 1 {
		t.Errorf("number 2 was never edited, and the verdict is %s", v.String())
	}
	told = s.told([]shown{{id: "a", number: 0, text: "m 0"}, {id: "d", number: 3, text: "m 3", parent: "c"}, {id: "c", number: 2, text: "m 2", rewritten: "m 2 edit 7"}, {id: "e", number: 4, text: "m 4"}})
	if v := told.judge([]shown{zero, two, four}, ""); v.stale != 0 {
		t.Errorf("an edit of number 2 is in the history, and the verdict is %s", v.String())
	}
	two.text = "m 2"
	if v := told.judge([]shown{two, zero, three, four}, ""); v.disordered != 1 {
		t.Errorf("number 0 is too late, and the verdict is %s", v.String())
	}
}

// Bob's own order is right, and so is the order in which the homeserver received the messages. No
// other order is, and no message may be missing or doubled.
func TestABurstIsJudgedByWhatTheHomeserverShowed(t *testing.T) {
	home := []shown{{id: "a", number: 0, text: "m 0"}, {id: "c", number: 2, text: "m 2"}, {id: "b", number: 1, text: "m 1"}, {id: "d", number: 3, text: "m 3"}}
	for _, c := range []struct {
		good bool
		got  []string
	}{
		{true, []string{"m 0", "m 1", "m 2", "m 3"}},
		{true, []string{"m 0", "m 2", "m 1", "m 3"}},
		{false, []string{"m 1", "m 0", "m 2", "m 3"}},
		{false, []string{"m 0", "m 3", "m 1", "m 2"}},
		{false, []string{"m 0", "m 1", "m 2"}},
		{false, []string{"m 0", "m 1", "m 1", "m 2", "m 3"}},
	} {
		if err := asTold(c.got, home, 4); (err == nil) != c.good {
			t.Errorf("%q: %v", c.got, err)
		}
	}
	var taken []shown // one of ten was refused
	var got []string
	for i := range 10 {
		if text := "m " + strconv.Itoa(i); i != 4 {
			taken, got = append(taken, shown{id: text, number: i, text: text}), append(got, text)
		}
	}
	if err := asTold(got, taken, 10); err != nil {
		t.Errorf("Rocket.Chat has what the homeserver took: %v", err)
	}
	if asTold(got[1:], taken, 10) == nil {
		t.Error("one that the homeserver took is missing, and all is well")
	}
	if asTold([]string{"m 0"}, home[:1], 2) == nil {
		t.Error("the homeserver has one message of two, and all is well")
	}
}

// A reply to a message that no client received may be shown as a reply or not: the bridge may
// have found the message in the room's history.
func TestAVerdictOnAnAnswerToWhatNobodyWasTold(t *testing.T) {
	s := &script{prefix: "m ", said: []said{{text: "m 0", parent: -1}, {text: "m 1", parent: -1}, {text: "m 2", parent: 1}}}
	told := s.told([]shown{{id: "a", number: 0, text: "m 0"}, {id: "c", number: 2, text: "m 2", parent: "b"}})
	zero, one := shown{id: "A", number: 0, text: "m 0"}, shown{id: "B", number: 1, text: "m 1"}
	for parent, wrong := range map[string]int{"B": 0, "": 0, "A": 1} {
		if v := told.judge([]shown{zero, one, {id: "C", number: 2, text: "m 2", parent: parent}}, ""); v.target != wrong {
			t.Errorf("number 2 answers %q: %s", parent, v.String())
		}
	}
}

// If a homeserver contradicts itself, that is not the bridge's fault; one that does not is
// believed.
func TestViewsOfAMember(t *testing.T) {
	for _, c := range []struct {
		is      views
		in, out bool
	}{
		{views{true, "join"}, true, false},
		{views{false, "leave"}, false, true},
		{views{false, "invite"}, false, true},
		{views{false, "join"}, true, true},
		{views{true, "leave"}, true, true},
	} {
		if c.is.agree(true) != c.in || c.is.agree(false) != c.out {
			t.Errorf("%+v agrees with in: %t, with out: %t", c.is, c.is.agree(true), c.is.agree(false))
		}
	}
}
