package rocketchat_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"appliance/bridge/mustrun"
	"appliance/bridge/rocketchat"
	"appliance/bridge/rocketchat/ddp"
)

func TestSendMessage(t *testing.T) {
	w := begin(t)
	p, stranger := w.puppet(), w.puppet()
	r := w.group(p)
	n := rocketchat.NewMessage{ID: w.Name("m"), RoomID: r.ID, Text: "hello @" + stranger.Username + " 🐙\n\n  two spaces"}
	m, err := p.SendMessage(t.Context(), n)
	w.ok(err)
	if m.ID != n.ID || m.RoomID != r.ID || m.Text != n.Text || m.User.ID != p.ID || m.Time.IsZero() || m.Updated.IsZero() {
		t.Errorf("got %+v", m)
	}
	if len(m.Mentions) != 1 || m.Mentions[0].Username != stranger.Username || m.Mentions[0].ID != stranger.ID {
		t.Errorf("mentions: %+v", m.Mentions)
	}
	found, ok, err := p.Message(t.Context(), n.ID)
	w.ok(err)
	if !ok || found.Text != n.Text {
		t.Errorf("found %v %+v", ok, found)
	}

	_, err = stranger.SendMessage(t.Context(), rocketchat.NewMessage{ID: w.Name("m"), RoomID: r.ID, Text: "let me in"})
	w.refused(err, http.StatusBadRequest, "error-not-allowed")
	_, err = p.SendMessage(t.Context(), rocketchat.NewMessage{ID: w.Name("m"), RoomID: w.Name("room"), Text: "anybody?"})
	w.refused(err, http.StatusBadRequest, "error-invalid-room", "error-not-allowed")
	_, err = p.SendMessage(t.Context(), rocketchat.NewMessage{ID: w.Name("m"), RoomID: r.ID, Text: strings.Repeat("a", 200_000)})
	w.refused(err, http.StatusBadRequest, "error-message-size-exceeded")
	equal(t, w.said(p, r.ID), []string{n.Text}, "what was said")
}

func TestTheSameMessageTwiceIsThereOnce(t *testing.T) {
	w := begin(t)
	p, other := w.puppet(), w.puppet()
	r := w.group(p, other)
	n := rocketchat.NewMessage{ID: w.Name("m"), RoomID: r.ID, Text: "once"}
	for range 3 {
		m, err := p.SendMessage(t.Context(), n)
		w.ok(err)
		equal(t, m.ID, n.ID, "id")
	}
	if _, err := other.SendMessage(t.Context(), n); err == nil {
		t.Error("another user's message was taken for one's own")
	}
	equal(t, w.said(p, r.ID), []string{"once"}, "what was said")
}

func TestALostAnswerIsSettledByLooking(t *testing.T) {
	w := begin(t)
	s := w.Server(t)
	p := w.puppet()
	r := w.group(p)
	s.LoseNext("POST /api/v1/chat.sendMessage")
	m, err := p.SendMessage(t.Context(), rocketchat.NewMessage{ID: "lost", RoomID: r.ID, Text: "lost"})
	w.ok(err)
	equal(t, m.Text, "lost", "text")

	s.FailNext("POST /api/v1/chat.sendMessage", 502, "bad gateway")
	_, err = p.SendMessage(t.Context(), rocketchat.NewMessage{ID: "never", RoomID: r.ID, Text: "never"})
	w.refused(err, http.StatusBadGateway)

	// The message is there already, and looking it up fails: that must not look like a refusal.
	s.FailNext("GET /api/v1/chat.getMessage", 503, "busy")
	_, err = p.SendMessage(t.Context(), rocketchat.NewMessage{ID: "lost", RoomID: r.ID, Text: "lost"})
	w.refused(err, http.StatusServiceUnavailable)
	equal(t, w.said(p, r.ID), []string{"lost"}, "what was said")
}

func TestAnUnknownMessageIsNoError(t *testing.T) {
	w := begin(t)
	p := w.puppet()
	m := w.say(p, w.group(p).ID, "private")
	for _, id := range []string{m.ID, w.Name("m")} {
		if _, ok, err := w.puppet().Message(t.Context(), id); ok || err != nil {
			t.Errorf("%s: %v %v", id, ok, err)
		}
	}
}

func TestThreads(t *testing.T) {
	w := begin(t)
	p := w.puppet()
	r := w.channel(p)
	root := w.say(p, r.ID, "root")
	hidden, err := p.SendMessage(t.Context(), rocketchat.NewMessage{ID: w.Name("m"), RoomID: r.ID, Text: "reply", Thread: root.ID})
	w.ok(err)
	shown, err := p.SendMessage(t.Context(), rocketchat.NewMessage{ID: w.Name("m"), RoomID: r.ID, Text: "reply too", Thread: root.ID, Shown: true})
	w.ok(err)
	if hidden.ThreadID != root.ID || hidden.ThreadShown || shown.ThreadID != root.ID || !shown.ThreadShown {
		t.Errorf("got %+v and %+v", hidden, shown)
	}
}

func TestPostMessage(t *testing.T) {
	w := begin(t)
	p, other := w.puppet(), w.puppet()
	r := w.channel(p)
	w.ok(p.PostMessage(t.Context(), r.ID, "hello"))
	equal(t, w.said(p, r.ID), []string{"hello"}, "in the room")
	w.ok(p.PostMessage(t.Context(), "@"+other.Username, "psst"))
	dm, err := other.CreateDirect(t.Context(), p.Username)
	w.ok(err)
	equal(t, w.said(other, dm.ID), []string{"psst"}, "in the direct room")
	if err := p.PostMessage(t.Context(), w.Name("room"), "hello"); rocketchat.Status(err) != http.StatusBadRequest {
		t.Errorf("unknown room: %v", err)
	}
	if err := p.PostMessage(t.Context(), "@"+w.Name("nobody"), "hello"); rocketchat.Status(err) != http.StatusBadRequest {
		t.Errorf("unknown user: %v", err)
	}
}

func TestUpdateMessage(t *testing.T) {
	w := begin(t)
	p, other := w.puppet(), w.puppet()
	r := w.channel(p, other)
	m := w.say(p, r.ID, "first")
	for _, text := range []string{"second", "second", "third"} {
		got, err := p.UpdateMessage(t.Context(), r.ID, m.ID, text)
		w.ok(err)
		if got.Text != text || got.ID != m.ID || got.EditedAt == nil || got.EditedBy == nil || got.EditedBy.ID != p.ID {
			t.Errorf("got %+v", got)
		}
	}
	_, err := other.UpdateMessage(t.Context(), r.ID, m.ID, "mine now")
	w.refused(err, http.StatusBadRequest, "error-action-not-allowed")
	_, err = p.UpdateMessage(t.Context(), r.ID, w.Name("m"), "text")
	w.refused(err, http.StatusBadRequest)
	_, err = p.UpdateMessage(t.Context(), w.channel(p).ID, m.ID, "elsewhere")
	w.refused(err, http.StatusBadRequest)
	equal(t, w.said(p, r.ID), []string{"third"}, "what is there")
}

func TestDeleteMessage(t *testing.T) {
	w := begin(t)
	p, other := w.puppet(), w.puppet()
	r := w.channel(p, other)
	since := time.UnixMilli(0)
	m := w.say(p, r.ID, "gone soon")
	w.refused(other.DeleteMessage(t.Context(), r.ID, m.ID), http.StatusBadRequest, "error-action-not-allowed")
	for range 2 {
		w.ok(p.DeleteMessage(t.Context(), r.ID, m.ID))
	}
	w.ok(p.DeleteMessage(t.Context(), r.ID, w.Name("m")))
	equal(t, w.said(p, r.ID), nil, "what is there")
	var gone []string
	w.ok(p.SyncDeleted(t.Context(), r.ID, since, func(ds []rocketchat.Deletion) error {
		for _, d := range ds {
			if d.Time.IsZero() {
				t.Error("a deletion without a time")
			}
			gone = append(gone, d.ID)
		}
		return nil
	}))
	equal(t, gone, []string{m.ID}, "what is gone")
}

func TestADeletedThreadLeavesAPlaceholder(t *testing.T) {
	w := begin(t)
	p := w.puppet()
	r := w.channel(p)
	root := w.say(p, r.ID, "root")
	_, err := p.SendMessage(t.Context(), rocketchat.NewMessage{ID: w.Name("m"), RoomID: r.ID, Text: "reply", Thread: root.ID})
	w.ok(err)
	w.ok(p.DeleteMessage(t.Context(), r.ID, root.ID))
	m, ok, err := p.Message(t.Context(), root.ID)
	w.ok(err)
	if !ok || m.Type != "rm" || m.Text != "" {
		t.Errorf("got %v %+v", ok, m)
	}
}

func TestReact(t *testing.T) {
	w := begin(t)
	p, other := w.puppet(), w.puppet()
	r := w.channel(p, other)
	m := w.say(p, r.ID, "react to me")
	reactions := func() map[string]rocketchat.Reaction {
		t.Helper()
		found, _, err := p.Message(t.Context(), m.ID)
		w.ok(err)
		return found.Reactions
	}
	for range 2 {
		w.ok(p.React(t.Context(), m.ID, "smile", true))
	}
	w.ok(other.React(t.Context(), m.ID, ":smile:", true))
	got := reactions()[":smile:"].Usernames
	slices.Sort(got)
	want := []string{p.Username, other.Username}
	slices.Sort(want)
	equal(t, got, want, "who smiles")
	for range 2 {
		w.ok(p.React(t.Context(), m.ID, ":smile:", false))
	}
	w.ok(other.React(t.Context(), m.ID, "smile", false))
	equal(t, len(reactions()), 0, "reactions left")
	w.refused(p.React(t.Context(), m.ID, "🐙", true), http.StatusBadRequest, "error-not-allowed")
	w.refused(p.React(t.Context(), m.ID, w.Name("emoji"), true), http.StatusBadRequest, "error-not-allowed")
	w.refused(p.React(t.Context(), w.Name("m"), "smile", true), http.StatusBadRequest)
}

func TestPin(t *testing.T) {
	w := begin(t)
	p, stranger := w.puppet(), w.puppet()
	r := w.group(p)
	m := w.say(p, r.ID, "remember this")
	pinned := func() bool {
		t.Helper()
		found, _, err := p.Message(t.Context(), m.ID)
		w.ok(err)
		return found.Pinned != nil && *found.Pinned
	}
	w.ok(p.Pin(t.Context(), m.ID, true))
	equal(t, pinned(), true, "pinned")
	if err := stranger.Pin(t.Context(), m.ID, false); rocketchat.Status(err)/100 != 4 {
		t.Errorf("by a stranger: %v", err)
	}
	w.ok(p.Pin(t.Context(), m.ID, false))
	equal(t, pinned(), false, "pinned in the end")
	w.refused(p.Pin(t.Context(), w.Name("m"), true), http.StatusBadRequest)
	notes := 0
	for _, m := range w.history(p, r.ID) {
		if m.Type == "message_pinned" {
			notes++
		}
	}
	equal(t, notes, 1, "messages about it")
}

func TestTypingIsSeenByOthers(t *testing.T) {
	w := begin(t)
	p, other := w.puppet(), w.puppet()
	r := w.channel(p, other)
	seen := make(chan ddp.Event, 10)
	c, err := ddp.Dial(t.Context(), w.URL, other.Client.Token(), func(e ddp.Event) { seen <- e })
	w.ok(err)
	defer c.Close()
	w.ok(c.Subscribe(t.Context(), "stream-notify-room", r.ID+"/user-activity"))
	w.ok(p.Typing(t.Context(), r.ID, "", "another", true)) // ignored
	w.ok(p.Typing(t.Context(), r.ID, "", p.Username, true))
	w.ok(p.Typing(t.Context(), r.ID, "", p.Username, false))
	for _, want := range []string{`["user-typing"]`, `[]`} {
		select {
		case e := <-seen:
			if len(e.Args) < 2 || string(e.Args[0]) != `"`+p.Username+`"` || string(e.Args[1]) != want {
				t.Errorf("got %s, want %s", e.Args, want)
			}
		case <-time.After(20 * time.Second):
			t.Fatal("nobody was told")
		}
	}
}

func TestARefusedMethodSaysWhy(t *testing.T) {
	w, c := answered(t, func(rw http.ResponseWriter, _ *http.Request) {
		rw.WriteHeader(http.StatusBadRequest)
		json.NewEncoder(rw).Encode(map[string]any{"success": false,
			"message": `{"msg":"result","id":"1","error":{"isClientSafe":true,"error":"too-many-requests","reason":"slow down","message":"slow down [too-many-requests]"}}`})
	})
	w.refused(c.Typing(t.Context(), "r", "", "me", true), http.StatusBadRequest, "too-many-requests")
}

func TestSyncMessagesWalksThroughPagesOldestChangeFirst(t *testing.T) {
	w := begin(t)
	p := w.puppet()
	r := w.channel(p)
	const n = 230
	var want []string
	for i := range n {
		w.say(p, r.ID, fmt.Sprint(i))
		want = append(want, fmt.Sprint(i))
	}
	equal(t, w.said(p, r.ID), want, "everything")

	all := w.history(p, r.ID)
	middle := all[n/2].Updated.Time
	var later []string
	w.ok(p.SyncMessages(t.Context(), r.ID, middle, func(ms []rocketchat.Message) error {
		for _, m := range ms {
			later = append(later, m.ID)
			if !m.Updated.After(middle) {
				t.Errorf("%s did not change after %s", m.ID, middle)
			}
		}
		return nil
	}))
	var expect []string
	for _, m := range all {
		if m.Updated.After(middle) {
			expect = append(expect, m.ID)
		}
	}
	equal(t, later, expect, "after the middle")

	stop := fmt.Errorf("enough")
	calls := 0
	err := p.SyncMessages(t.Context(), r.ID, time.UnixMilli(0), func([]rocketchat.Message) error { calls++; return stop })
	if !errors.Is(err, stop) || calls != 1 {
		t.Errorf("stopped with %v after %d calls", err, calls)
	}
	w.ok(p.SyncMessages(t.Context(), r.ID, time.Now().Add(time.Hour), func([]rocketchat.Message) error { t.Error("the future has happened"); return nil }))
	_, err = p.UpdateMessage(t.Context(), r.ID, all[len(all)-n].ID, "edited")
	w.ok(err)
	again := w.history(p, r.ID)
	equal(t, again[len(again)-1].Text, "edited", "the newest change")
}

func TestSyncMessagesIsForThoseWhoMayRead(t *testing.T) {
	w := begin(t)
	p := w.puppet()
	r := w.group(p)
	nothing := func([]rocketchat.Message) error { t.Error("something was shown"); return nil }
	w.refused(w.puppet().SyncMessages(t.Context(), r.ID, time.UnixMilli(0), nothing), http.StatusBadRequest, "error-not-allowed")
	w.refused(p.SyncMessages(t.Context(), w.Name("room"), time.UnixMilli(0), nothing), http.StatusBadRequest)
}

// Renaming a user changes all messages of that user in one millisecond.
func TestEqualMillisecondsLoseNothing(t *testing.T) {
	w := begin(t)
	s := w.Server(t, "it changes messages in one millisecond, which only the simulator does on request")
	p := w.puppet()
	for _, n := range []int{1, 99, 100, 101, 350} {
		r := w.channel(p)
		for i := range n {
			s.Say(r.ID, p.Username, fmt.Sprint(i))
		}
		s.Touch(r.ID)
		for i := range 5 {
			s.Say(r.ID, p.Username, fmt.Sprint("later ", i))
		}
		count := map[string]int{}
		for _, text := range w.said(p, r.ID) {
			count[text]++
		}
		for i := range n {
			if count[fmt.Sprint(i)] != 1 {
				t.Errorf("of %d, message %d was seen %d times", n, i, count[fmt.Sprint(i)])
			}
		}
		if len(count) != n+5 {
			t.Errorf("of %d and 5 later ones, %d were seen", n, len(count))
		}
	}
}

func TestSyncDeletedWalksThroughPages(t *testing.T) {
	w := begin(t)
	p := w.puppet()
	r := w.channel(p)
	const n = 130
	var want []string
	for i := range n {
		m := w.say(p, r.ID, fmt.Sprint(i))
		w.ok(p.DeleteMessage(t.Context(), r.ID, m.ID))
		want = append(want, m.ID)
	}
	var got []string
	var last time.Time
	w.ok(p.SyncDeleted(t.Context(), r.ID, time.UnixMilli(0), func(ds []rocketchat.Deletion) error {
		for _, d := range ds {
			got = append(got, d.ID)
			if d.Time.Before(last) {
				t.Error("out of order")
			}
			last = d.Time.Time
		}
		return nil
	}))
	slices.Sort(got)
	slices.Sort(want)
	equal(t, got, want, "deletions")
	stranger := w.puppet()
	private := w.group(p)
	w.refused(stranger.SyncDeleted(t.Context(), private.ID, time.UnixMilli(0), nil), http.StatusBadRequest, "error-not-allowed")
}

func TestAWalkThatDoesNotMoveEnds(t *testing.T) {
	_, c := answered(t, func(rw http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(rw, `{"success":true,"result":{"updated":[{"_id":"a","_updatedAt":"2020-01-01T00:00:00.000Z"}],"cursor":{"next":"1","previous":"1"}}}`)
	})
	for _, since := range []time.Time{time.UnixMilli(0), time.Now()} {
		pages := 0
		err := c.SyncMessages(t.Context(), "r", since, func([]rocketchat.Message) error { pages++; return nil })
		if err == nil || pages > 1 {
			t.Errorf("after %v: %v, %d pages", since, err, pages)
		}
	}
}

func TestMessagesAreReadAsFarAsTheyCanBe(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]rocketchat.Message{
		`{"_id":"a","msg":5,"u":{"_id":"u"}}`:                                                     {ID: "a", User: rocketchat.UserRef{ID: "u"}},
		`{"_id":"a","ts":"yesterday","msg":"text","attachments":"none"}`:                          {ID: "a", Text: "text"},
		`{"_id":"a","attachments":[{"title":5,"text":"b","ts":"x"},null,3]}`:                      {ID: "a", Attachments: []rocketchat.Attachment{{Text: "b"}, {}, {}}},
		`{"_id":"a","reactions":{":a:":{"usernames":["b"]},":c:":5},"tmid":{}}`:                   {ID: "a", Reactions: map[string]rocketchat.Reaction{":a:": {Usernames: []string{"b"}}, ":c:": {}}},
		`{"_id":"a","tshow":true,"mentions":[{"_id":"all","username":"all"}]}`:                    {ID: "a", ThreadShown: true, Mentions: []rocketchat.Mention{{ID: "all", Username: "all"}}},
		`{"_id":"a","attachments":[{"image_dimensions":{"width":3,"height":4}}]}`:                 {ID: "a", Attachments: []rocketchat.Attachment{{ImageDimensions: &rocketchat.Dimensions{Width: 3, Height: 4}}}},
		`{"_id":"a","files":[{"_id":"f","name":"n","type":"t","size":1}],"role":"owner","t":"x"}`: {ID: "a", Type: "x", Role: "owner", Files: []rocketchat.File{{ID: "f", Name: "n", Type: "t", Size: 1}}},
	} {
		var got rocketchat.Message
		if err := json.Unmarshal([]byte(text), &got); err != nil {
			t.Errorf("%s: %v", text, err)
		}
		equal(t, got, want, text)
		data, err := json.Marshal(got)
		var again rocketchat.Message
		if err != nil || json.Unmarshal(data, &again) != nil {
			t.Errorf("%s: %v", data, err)
		}
		equal(t, again, want, string(data))
	}
}

func TestTimes(t *testing.T) {
	t.Parallel()
	want := time.Date(2026, 2, 3, 4, 5, 6, 789e6, time.UTC)
	for text, want := range map[string]time.Time{
		`"2026-02-03T04:05:06.789Z"`: want, `"2026-02-03T05:05:06.789+01:00"`: want, `{"$date":1770091506789}`: want, `1770091506789`: want,
		`null`: {}, `""`: {}, `"soon"`: {}, `true`: {}, `[]`: {}, `{}`: {}, `1e400`: {},
	} {
		got := rocketchat.Time{Time: time.Now()}
		if err := json.Unmarshal([]byte(text), &got); err != nil || !got.Equal(want) {
			t.Errorf("%s: %v, %v", text, got, err)
		}
	}
}

// Clients store what they like in a message; nothing in it may block a room.
func TestAnOddMessageDoesNotStopTheCatchUp(t *testing.T) {
	w := begin(t)
	s := w.Server(t, "it stores a message that real servers refuse to take")
	p := w.puppet()
	r := w.channel(p)
	s.SayWith(r.ID, p.Username, "odd", map[string]any{"files": "none", "editedAt": "never", "role": 5, "reactions": []any{}})
	s.Say(r.ID, p.Username, "after")
	equal(t, w.said(p, r.ID), []string{"odd", "after"}, "what is seen")
}

func TestAQuoteIsAnAttachment(t *testing.T) {
	w := begin(t)
	p := w.puppet()
	r := w.channel(p)
	site, err := p.PublicSettings(t.Context(), "Site_Url")
	w.ok(err)
	first := w.say(p, r.ID, "the original")
	quote := w.say(p, r.ID, fmt.Sprintf("[ ](%s/channel/%s?msg=%s) I agree", strings.TrimRight(site.Text("Site_Url", ""), "/"), r.Name, first.ID))
	if len(quote.Attachments) != 1 || quote.Attachments[0].Text != "the original" || !strings.Contains(quote.Attachments[0].MessageLink, first.ID) {
		if w.URL != strings.TrimRight(site.Text("Site_Url", ""), "/") {
			mustrun.Skip(t, "the server's ROOT_URL is not ROCKETCHAT_URL")
		}
		t.Errorf("attachments: %+v", quote.Attachments)
	}
	if len(quote.Attachments) == 1 && quote.Attachments[0].Time.IsZero() {
		t.Error("when it was said is not known")
	}
}
