package bridge_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"io"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"testing"

	"appliance/bridge/mxside/mxtest"
	"appliance/bridge/rocketchat/rctest"
)

// picture returns a PNG that no other test sends.
func picture(width, height int) []byte {
	m := image.NewRGBA(image.Rect(0, 0, width, height))
	for i := range width * height {
		m.Set(i%width, i/width, color.RGBA{uint8(i), uint8(i >> 8), uint8(i * 7), 255})
	}
	var b bytes.Buffer
	_ = png.Encode(&b, m) // into memory
	return b.Bytes()
}

func (s *stage) fetch(req *http.Request) (int, []byte) {
	s.t.Helper()
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	data, err := io.ReadAll(res.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return res.StatusCode, data
}

// upload stores a file on bob's server.
func (s *stage) upload(name, contentType string, data []byte) string {
	s.t.Helper()
	req, _ := http.NewRequest(http.MethodPost, s.far.URL+"/_matrix/media/v3/upload?filename="+url.QueryEscape(name), bytes.NewReader(data))
	req.Header.Set("Authorization", "Bearer "+s.bob.Token)
	req.Header.Set("Content-Type", contentType)
	status, body := s.fetch(req)
	var out struct {
		URI string `json:"content_uri"`
	}
	if json.Unmarshal(body, &out) != nil || out.URI == "" {
		s.t.Fatalf("upload: %d %s", status, body)
	}
	return out.URI
}

// download fetches a file as bob, from his own server.
func (s *stage) download(mxc string) []byte {
	s.t.Helper()
	req, _ := http.NewRequest(http.MethodGet, s.far.URL+"/_matrix/client/v1/media/download/"+strings.TrimPrefix(mxc, "mxc://"), nil)
	req.Header.Set("Authorization", "Bearer "+s.bob.Token)
	status, data := s.fetch(req)
	if status != http.StatusOK {
		s.t.Fatalf("download %s: %d %s", mxc, status, data)
	}
	return data
}

// file fetches a file of Rocket.Chat as alice.
func (s *stage) file(m rctest.Message) []byte {
	s.t.Helper()
	link, _ := m.Attachments[0]["title_link"].(string)
	alice := s.rc.Login("alice")
	req, _ := http.NewRequest(http.MethodGet, s.rc.URL+link, nil)
	req.Header.Set("X-User-Id", alice.ID)
	req.Header.Set("X-Auth-Token", alice.Token)
	status, data := s.fetch(req)
	if status != http.StatusOK {
		s.t.Fatalf("GET %s: %d %s", link, status, data)
	}
	return data
}

func (s *stage) withFile(name string) rctest.Message {
	s.t.Helper()
	return s.message(name, func(m rctest.Message) bool { return m.File.Name == name })
}

// shown returns what people read beside a file: the text of its message and the
// captions of its attachments.
func shown(m rctest.Message) string {
	text := m.Text
	for _, a := range m.Attachments {
		if caption, ok := a["description"].(string); ok {
			text = strings.TrimSpace(text + "\n" + caption)
		}
	}
	return text
}

func TestFeatureFiles(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	data := picture(70, 50)
	s.rc.Upload(s.room, "alice", "harbour view.png", "image/png", data, "the *harbour*")
	_, c := s.find("the picture", func(_ string, c map[string]any) bool { return c["msgtype"] == "m.image" })
	info, _ := c["info"].(map[string]any)
	if c["filename"] != "harbour view.png" || c["body"] != "the **harbour**" || !strings.Contains(fmt.Sprint(c["formatted_body"]), "<strong>harbour</strong>") {
		t.Errorf("content = %v", c)
	}
	if info["mimetype"] != "image/png" || info["w"] != 70.0 || info["h"] != 50.0 || info["size"] != float64(len(data)) {
		t.Errorf("info = %v", info)
	}
	if got := s.download(fmt.Sprint(c["url"])); !bytes.Equal(got, data) {
		t.Errorf("%d bytes arrived on Matrix of %d", len(got), len(data))
	}

	back := picture(31, 17)
	event := s.bob.SendEvent(s.mxRoom, "m.room.message", map[string]any{
		"msgtype": "m.image", "body": "what I see", "filename": "window.png", "url": s.upload("window.png", "image/png", back),
		"info": map[string]any{"mimetype": "image/png", "size": len(back), "w": 31, "h": 17},
	})
	m := s.withFile("window.png")
	if shown(m) != "what I see" || m.User.Username != s.puppet || !bytes.Equal(s.file(m), back) {
		t.Errorf("message = %+v", m)
	}
	s.bob.SendEvent(s.mxRoom, "m.sticker", map[string]any{
		"body": "wave", "url": s.upload("sticker", "image/png", back), "info": map[string]any{"mimetype": "image/png"},
	})
	if m := s.withFile("wave.png"); m.Text != "" {
		t.Errorf("sticker = %+v", m)
	}
	// The caption is edited, and the file stays.
	s.bob.SendEvent(s.mxRoom, "m.room.message", map[string]any{
		"msgtype": "m.image", "body": "* what I saw", "m.relates_to": map[string]any{"rel_type": "m.replace", "event_id": event},
		"m.new_content": map[string]any{"msgtype": "m.image", "body": "what I saw", "filename": "window.png", "url": c["url"]},
	})
	s.message("the new caption", func(m rctest.Message) bool { return m.File.Name == "window.png" && shown(m) == "what I saw" })
	s.rc.Say(s.room, "alice", "pretty")
	s.findText("pretty")
	if n := len(s.saidInRC(s.room)); n != 5 {
		t.Errorf("%d messages in Rocket.Chat, want 5 with the one that warms up: %q", n, s.saidInRC(s.room))
	}
}

// Edited captions show in their current form only, on both sides: in Rocket.Chat 7,
// where the text of the message changes, and from 8 on, where the caption of the
// attachment changes and the text stays.
func TestFeatureCaptionEdits(t *testing.T) {
	t.Parallel()
	versions := []string{"7.2", "8.3"}
	if os.Getenv("ROCKETCHAT_URL") != "" {
		versions = []string{"of the server"}
	}
	for _, version := range versions {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			rc := &rctest.Server{Polite: true}
			if len(versions) > 1 {
				rc.Version = version
			}
			s := newStageOn(t, rc)
			t.Run("in Rocket.Chat", func(t *testing.T) { s.in(t).tryCaptionsHere() })
			t.Run("on Matrix", func(t *testing.T) { s.in(t).tryCaptionsThere() })
		})
	}
}

func (s *stage) tryCaptionsHere() {
	s.t.Helper()
	for name, words := range map[string][2]string{
		"notes.pdf":  {"tuesday", "wednesday"},
		"minutes.md": {"@" + s.puppet + " look", "look again, @" + s.puppet + "!"},
		"asked.md":   {"look", "look, @" + s.puppet},
	} {
		id := s.rc.Upload(s.room, "alice", name, "application/pdf", []byte("%PDF-1.4 not much"), words[0])
		event, before := s.find(name, func(_ string, c map[string]any) bool { return c["filename"] == name })
		shows := func(c map[string]any, text string) bool {
			mentions := strings.Contains(fmt.Sprint(c["m.mentions"]), s.bob.ID) && strings.Contains(fmt.Sprint(c["formatted_body"]), "matrix.to/#/"+s.bob.ID)
			return strings.ReplaceAll(fmt.Sprint(c["body"]), "Bob Builder ("+s.far.Name+")", "@"+s.puppet) == text && mentions == s.mentions(s.puppet, text) // from 8 on, a caption of an attachment mentions nobody there either
		}
		if !shows(before, words[0]) {
			s.t.Errorf("%q came as %v", words[0], before)
		}
		s.rc.Edit(id, "alice", words[1])
		_, c := s.find("the edit of "+name, func(_ string, c map[string]any) bool {
			return relation(c)["rel_type"] == "m.replace" && relation(c)["event_id"] == event
		})
		fresh, _ := c["m.new_content"].(map[string]any)
		if !shows(fresh, words[1]) || fresh["url"] != before["url"] || fresh["filename"] != name {
			s.t.Errorf("%q came as %v", words[1], c)
		}
	}
}

func (s *stage) tryCaptionsThere() {
	s.t.Helper()
	pill := fmt.Sprintf(`<a href="https://matrix.to/#/%s">Alice</a>`, s.alice())
	for name, words := range map[string][3]string{ // as written, then edited twice
		"plan.pdf":  {"see page 2", "see page 3", "see page 4"},
		"draft.pdf": {pill + ", see page 2", pill + ", see page 3", "see page 4"},
		"final.pdf": {"see page 2", pill + ", see page 3", pill + ", see page 4"},
	} {
		content := func(html string) map[string]any {
			return map[string]any{"msgtype": "m.file", "body": strings.ReplaceAll(html, pill, "Alice"), "format": "org.matrix.custom.html", "formatted_body": html,
				"filename": name, "url": s.upload(name, "application/pdf", []byte("%PDF-1.4")), "info": map[string]any{"mimetype": "application/pdf", "size": 8}}
		}
		before := len(s.rc.Said(s.room))
		// every text shown in the room since, once each
		read := func() string {
			var texts []string
			for _, m := range s.rc.Said(s.room)[before:] {
				if text := shown(m); text != "" {
					texts = append(texts, text)
				}
			}
			return strings.Join(texts, "\n")
		}
		event := ""
		for i, html := range words {
			c, want := content(html), strings.ReplaceAll(html, pill, "@alice")
			if i == 0 {
				event = s.bob.SendEvent(s.mxRoom, "m.room.message", c)
			} else {
				edit := map[string]any{"m.new_content": c, "m.relates_to": map[string]any{"rel_type": "m.replace", "event_id": event}}
				for k, v := range c {
					edit[k] = v
				}
				s.bob.SendEvent(s.mxRoom, "m.room.message", edit)
			}
			mxtest.WaitFor(s.t, fmt.Sprintf("%s with %q and nothing else", name, want), func() bool { return read() == want })
			if mentioned := s.mentions("alice", want); mentioned != strings.Contains(want, "@alice") {
				s.t.Errorf("%s with %q: that alice is mentioned is %v", name, want, mentioned)
			}
		}
		s.withFile(name)
	}
}

// mentions reports whether the newest message with a text, or with it as the caption of
// its file, mentions a user according to Rocket.Chat.
func (s *stage) mentions(username, text string) bool {
	for _, m := range slices.Backward(s.rc.Said(s.room)) {
		if text != "" && strings.HasSuffix(shown(m), text) {
			l, _ := m.Raw["mentions"].([]any)
			return strings.Contains(fmt.Sprint(l...), "username:"+username)
		}
	}
	return false
}

func TestFeatureFilesThatDoNotFit(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.rc.Upload(s.room, "alice", "film.bin", "application/octet-stream", make([]byte, mxtest.UploadLimit+1), "")
	s.find("a word about the film", func(_ string, c map[string]any) bool {
		return strings.HasPrefix(fmt.Sprint(c["body"]), "[film.bin] (") && strings.Contains(fmt.Sprint(c["body"]), "at most")
	})
	s.rc.Set("FileUpload_MediaTypeBlackList", "image/svg+xml,application/x-tar")
	s.bob.SendEvent(s.mxRoom, "m.room.message", map[string]any{
		"msgtype": "m.file", "body": "odd.tar", "url": s.upload("odd.tar", "application/x-tar", []byte{0, 1, 2, 3}), "info": map[string]any{"mimetype": "application/x-tar"},
	})
	s.message("a word about the odd file", func(m rctest.Message) bool {
		return strings.HasPrefix(m.Text, "[odd.tar]: Rocket.Chat does not accept")
	})
	// A file name that mentions everybody notifies nobody.
	s.bob.SendEvent(s.mxRoom, "m.room.message", map[string]any{
		"msgtype": "m.file", "body": "minutes for @all please.tar", "url": s.upload("tar", "application/x-tar", []byte{0, 1, 2, 3}), "info": map[string]any{"mimetype": "application/x-tar"},
	})
	s.bob.SendEvent(s.mxRoom, "m.sticker", map[string]any{
		"body": "hello @here you", "url": s.upload("sticker", "application/x-tar", []byte{0, 1, 2, 3}), "info": map[string]any{"mimetype": "application/x-tar"},
	})
	for _, name := range []string{"all", "here"} {
		m := s.message("a word about "+name, func(m rctest.Message) bool {
			return strings.Contains(m.Text, name) && strings.Contains(m.Text, "Rocket.Chat does not accept")
		})
		if mentioned, _ := m.Raw["mentions"].([]any); len(mentioned) != 0 {
			t.Errorf("%q mentions %v", m.Text, mentioned)
		}
	}
	// A file that only claims to be a picture is a file like any other.
	s.bob.SendEvent(s.mxRoom, "m.room.message", map[string]any{
		"msgtype": "m.image", "body": "cat.png", "url": s.upload("cat.png", "image/png", []byte("<html><script>alert(1)</script></html>")), "info": map[string]any{"mimetype": "image/png"},
	})
	m := s.withFile("cat.png.bin")
	if fmt.Sprint(m.Attachments[0]["image_url"]) != "<nil>" {
		t.Errorf("shown as a picture: %v", m.Attachments)
	}
}

func TestFeatureLocations(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.bob.SendEvent(s.mxRoom, "m.room.message", map[string]any{"msgtype": "m.location", "body": "here", "geo_uri": "geo:51.5,-0.12;u=35"})
	s.message("the place", func(m rctest.Message) bool {
		return strings.HasPrefix(m.Text, "here") && strings.Contains(m.Text, "mlat=51.5&mlon=-0.12")
	})
	s.rc.SayWith(s.room, "alice", "", map[string]any{"location": map[string]any{"type": "Point", "coordinates": []any{13.4, 52.5}}})
	_, c := s.find("alice's place", func(_ string, c map[string]any) bool {
		return c["msgtype"] == "m.location" && c["geo_uri"] == "geo:52.5,13.4"
	})
	if c["body"] == "" {
		t.Errorf("content = %v", c)
	}
}

func TestFeaturePolls(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	text := func(body string) map[string]any { return map[string]any{"org.matrix.msc1767.text": body} }
	answer := func(id, body string) map[string]any { return map[string]any{"id": id, "org.matrix.msc1767.text": body} }
	poll := s.bob.SendEvent(s.mxRoom, "org.matrix.msc3381.poll.start", map[string]any{
		"org.matrix.msc1767.text": "Lunch?", "org.matrix.msc3381.poll.start": map[string]any{
			"kind": "org.matrix.msc3381.poll.disclosed", "max_selections": 1, "question": text("Lunch?"),
			"answers": []any{answer("a", "Soup"), answer("b", "*Bread*")},
		},
	})
	s.message("the poll", func(m rctest.Message) bool {
		return strings.HasPrefix(m.Text, "📊 *Lunch?*\n1. Soup\n2. ") && strings.Contains(m.Text, "Bread")
	})
	vote := func(p *mxtest.Person, id string) {
		p.SendEvent(s.mxRoom, "org.matrix.msc3381.poll.response", map[string]any{
			"org.matrix.msc3381.poll.response": map[string]any{"answers": []string{id}},
			"m.relates_to":                     map[string]any{"rel_type": "m.reference", "event_id": poll},
		})
	}
	vote(s.bob, "a")
	vote(s.bob, "b")
	s.bob.SendEvent(s.mxRoom, "org.matrix.msc3381.poll.end", map[string]any{
		"org.matrix.msc1767.text": "ended", "org.matrix.msc3381.poll.end": map[string]any{},
		"m.relates_to": map[string]any{"rel_type": "m.reference", "event_id": poll},
	})
	s.message("the result", func(m rctest.Message) bool {
		return strings.Contains(m.Text, "the poll has ended") && strings.Contains(m.Text, "Soup: 0 votes") && strings.Contains(m.Text, ": 1 vote")
	})
}

func TestFeatureFilesThatAreLate(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	data := []byte("%PDF-1.4 patience")
	mxc := s.upload("late.pdf", "application/pdf", data)
	for range 6 { // more often than a message waits
		s.rc.FailNext("POST /api/v1/rooms.media/"+s.room, http.StatusBadGateway, "away")
	}
	s.bob.SendEvent(s.mxRoom, "m.room.message", map[string]any{
		"msgtype": "m.file", "body": "see page two", "filename": "late.pdf", "url": mxc, "info": map[string]any{"mimetype": "application/pdf", "size": len(data)},
	})
	s.bob.Send(s.mxRoom, "and page three")
	s.messageText("and page three")
	m := s.withFile("late.pdf")
	if !bytes.Equal(s.file(m), data) {
		t.Error("another file arrived")
	}
	var said []string
	for _, m := range s.rc.Said(s.room) {
		said = append(said, m.Text)
	}
	if got := strings.Join(said, "|"); !strings.HasSuffix(got, "see page two|and page three|") {
		t.Errorf("in Rocket.Chat: %q", said)
	}
}

// While Rocket.Chat is away, a message does not go on without its file: later messages would
// arrive before the file.
func TestFilesKeepTheirPlaceWhileRocketChatIsAway(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	mxc := s.upload("plan.pdf", "application/pdf", []byte("%PDF-1.4 patience"))
	away := func(request string) {
		for range 5 { // as often as a message waits
			s.rc.FailNext(request, http.StatusBadGateway, "away")
		}
	}
	away("POST /api/v1/rooms.media/" + s.room)
	s.rc.FailNext("GET /api/info", http.StatusBadGateway, "away")
	s.bobSendsFile("plan.pdf", mxc, 17)
	s.bob.Send(s.mxRoom, "after the plan")
	s.messageText("after the plan")
	said := s.rc.Said(s.room)
	if before := said[len(said)-2]; before.File.Name != "plan.pdf" {
		t.Errorf("before the text: %q, with the file %q", before.Text, before.File.Name)
	}

	away("GET /api/v1/groups.files")
	s.rc.FailNext("GET /api/info", http.StatusBadGateway, "away")
	s.rc.Upload(s.room, "alice", "minutes.pdf", "application/pdf", []byte("%PDF-1.4 minutes"), "")
	s.rc.Say(s.room, "alice", "after the minutes")
	s.findText("after the minutes")
	var bodies []any
	for _, e := range s.bob.Events(s.mxRoom) {
		if c, _ := e["content"].(map[string]any); e["type"] == "m.room.message" {
			bodies = append(bodies, c["body"])
		}
	}
	if got := fmt.Sprint(bodies); !strings.HasSuffix(got, "minutes.pdf after the minutes]") {
		t.Errorf("on Matrix: %s", got)
	}
}
