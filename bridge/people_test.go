package bridge_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"image"
	"image/color"
	_ "image/jpeg" // servers convert pictures to it
	"image/png"
	"io"
	"mime/multipart"
	"net/http"
	"net/textproto"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"appliance/bridge/mxside/mxtest"
	"appliance/bridge/rocketchat/ddp"
	"appliance/bridge/rocketchat/rctest"
	"appliance/bridge/secret"
)

// configure adds keys to the configuration that the bridge started with.
func (w *world) configure(extra string) {
	w.t.Helper()
	file := filepath.Join(w.dir, "bridge.yaml")
	if w.base == "" {
		old, err := os.ReadFile(file)
		if err != nil {
			w.t.Fatal(err)
		}
		w.base = string(old)
	}
	reloads := strings.Count(w.log.String(), "the configuration was reloaded")
	w.write("bridge.yaml", w.base+extra)
	mxtest.WaitFor(w.t, "the configuration to be reloaded", func() bool {
		return strings.Count(w.log.String(), "the configuration was reloaded") > reloads
	})
}

// passing collects what bob's client is shown but homeservers do not store.
type passing struct {
	w     *world
	who   *mxtest.Person
	since string
	seen  []map[string]any
}

func (w *world) watch(p *mxtest.Person) *passing {
	w.t.Helper()
	v := &passing{w: w, who: p}
	v.look()
	return v
}

func (v *passing) look() {
	v.w.t.Helper()
	var ans struct {
		Next     string `json:"next_batch"`
		Presence struct {
			Events []map[string]any `json:"events"`
		} `json:"presence"`
		Rooms struct {
			Join map[string]struct {
				Ephemeral struct {
					Events []map[string]any `json:"events"`
				} `json:"ephemeral"`
			} `json:"join"`
		} `json:"rooms"`
	}
	v.who.Must("GET", "/_matrix/client/v3/sync?timeout=100&since="+url.QueryEscape(v.since), nil, &ans)
	v.since = ans.Next
	v.seen = append(v.seen, ans.Presence.Events...)
	for _, r := range ans.Rooms.Join {
		v.seen = append(v.seen, r.Ephemeral.Events...)
	}
}

func (v *passing) wait(what string, fits func(kind string, text string) bool) {
	v.w.t.Helper()
	v.during(what, func() {}, fits)
}

// during waits as wait does while something is repeated: nothing shows when a bridge
// begins to listen.
func (v *passing) during(what string, do func(), fits func(kind string, text string) bool) {
	v.w.t.Helper()
	mxtest.WaitFor(v.w.t, what, func() bool {
		do()
		v.look()
		return v.has(fits)
	})
}

func (v *passing) has(fits func(kind string, text string) bool) bool {
	return slices.ContainsFunc(v.seen, func(e map[string]any) bool {
		text, _ := json.Marshal(e)
		return fits(fmt.Sprint(e["type"]), string(text))
	})
}

// activity collects who is typing in a Rocket.Chat room, as a user there sees it.
type activity struct {
	mu   sync.Mutex
	seen []string
}

func (s *stage) activity() *activity {
	s.t.Helper()
	a := &activity{}
	conn, err := ddp.Dial(s.t.Context(), s.rc.URL, secret.New(s.people["alice"].Token), func(e ddp.Event) {
		a.mu.Lock()
		defer a.mu.Unlock()
		var parts []string
		for _, raw := range e.Args {
			parts = append(parts, string(raw))
		}
		a.seen = append(a.seen, strings.Join(parts, " "))
	})
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(conn.Close)
	if err := conn.Subscribe(s.t.Context(), "stream-notify-room", s.room+"/user-activity"); err != nil {
		s.t.Fatal(err)
	}
	return a
}

func (a *activity) has(text string) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.ContainsFunc(a.seen, func(s string) bool { return strings.Contains(s, text) })
}

func (s *stage) bobTypes(on bool) {
	s.bob.Must("PUT", "/_matrix/client/v3/rooms/"+s.mxRoom+"/typing/"+s.bob.ID, map[string]any{"typing": on, "timeout": 20000}, nil)
}

func TestFeatureTyping(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	seen, shown := s.watch(s.bob), s.activity()
	aliceTypes := func(kind, text string) bool { return kind == "m.typing" && strings.Contains(text, s.alice()) }
	seen.during("alice to type on Matrix", func() { s.rc.Typing(s.room, "alice", true) }, aliceTypes)
	s.rc.Typing(s.room, "alice", false)
	seen.wait("alice to have stopped", func(kind, text string) bool { return kind == "m.typing" && strings.Contains(text, `"user_ids":[]`) })
	s.bobTypes(true)
	mxtest.WaitFor(t, "bob to type in Rocket.Chat", func() bool { return shown.has(`"` + s.puppet + `" ["user-typing"]`) })
	s.bobTypes(false)
	mxtest.WaitFor(t, "bob to have stopped", func() bool { return shown.has(`"` + s.puppet + `" []`) })
	s.configure("typing: false\n")
	seen.look()
	seen.seen = nil
	s.rc.Typing(s.room, "alice", true)
	s.rc.Say(s.room, "alice", "typed unseen")
	s.findText("typed unseen")
	seen.look()
	if seen.has(aliceTypes) {
		t.Error("alice's typing crossed although it is off")
	}
}

// With typing off, the bridge does not listen for it. Only the simulator shows who listens.
func TestFeatureTypingThatIsOffIsNotListenedTo(t *testing.T) {
	t.Parallel()
	s := newStageOn(t, &rctest.Server{Simulator: true, Polite: true})
	listening := func() int { return s.rc.Subscribers("stream-notify-room", s.room+"/user-activity") }
	mxtest.WaitFor(t, "the bridge to listen", func() bool { return listening() == 1 })
	s.configure("typing: false\n")
	mxtest.WaitFor(t, "the bridge to stop listening", func() bool { return listening() == 0 })
}

func TestFeatureReceipts(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	seen := s.watch(s.bob)
	unread := func(p rctest.Person) float64 {
		var out struct {
			Subscription struct {
				Unread float64 `json:"unread"`
				Alert  bool    `json:"alert"`
			} `json:"subscription"`
		}
		s.call(p, http.MethodGet, "subscriptions.getOne?roomId="+s.room, nil, &out)
		if out.Subscription.Alert {
			return 1
		}
		return out.Subscription.Unread
	}
	puppet := s.rc.Login(s.puppet)
	s.rc.Say(s.room, "alice", "read me")
	event, _ := s.findText("read me")
	if unread(puppet) == 0 {
		t.Fatal("bob's account has read it before bob")
	}
	s.bob.Must("POST", "/_matrix/client/v3/rooms/"+s.mxRoom+"/receipt/m.read/"+url.PathEscape(event), map[string]any{}, nil)
	mxtest.WaitFor(t, "bob's account to have read the room", func() bool { return unread(puppet) == 0 })
	mine := s.bob.Send(s.mxRoom, "and you me")
	s.messageText("and you me")
	s.call(s.people["alice"], http.MethodPost, "subscriptions.read", map[string]any{"rid": s.room}, nil)
	seen.wait("alice's receipt", func(kind, text string) bool {
		return kind == "m.receipt" && strings.Contains(text, mine) && strings.Contains(text, s.alice())
	})
}

func TestFeaturePresence(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.configure("presence: true\n")
	seen := s.watch(s.bob)
	again := "online"
	seen.during("alice to be away on Matrix", func() {
		again = map[string]string{"online": "away", "away": "online"}[again]
		s.rc.SetStatus("alice", again, "")
	}, func(kind, text string) bool {
		return kind == "m.presence" && strings.Contains(text, s.alice()) && strings.Contains(text, "unavailable")
	})
	s.bob.Must("PUT", "/_matrix/client/v3/presence/"+s.bob.ID+"/status", map[string]any{"presence": "unavailable"}, nil)
	mxtest.WaitFor(t, "bob to be away in Rocket.Chat", func() bool { return s.rc.User(s.puppet)["status"] == "away" })
	s.bob.Must("PUT", "/_matrix/client/v3/presence/"+s.bob.ID+"/status", map[string]any{"presence": "online"}, nil)
	mxtest.WaitFor(t, "bob to be back in Rocket.Chat", func() bool { return s.rc.User(s.puppet)["status"] == "online" })
}

// call makes a REST call to Rocket.Chat as a user.
func (w *world) call(p rctest.Person, method, endpoint string, body, out any) {
	w.t.Helper()
	var data []byte // not every version accepts a body of null
	if body != nil {
		data, _ = json.Marshal(body)
	}
	req, _ := http.NewRequest(method, w.rc.URL+"/api/v1/"+endpoint, bytes.NewReader(data))
	req.Header.Set("Content-Type", "application/json")
	rctest.Sign(req, p)
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		w.t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	answer, _ := io.ReadAll(res.Body)
	if res.StatusCode != http.StatusOK {
		w.t.Fatalf("%s: %d %s", endpoint, res.StatusCode, answer)
	}
	if out != nil {
		if err := json.Unmarshal(answer, out); err != nil {
			w.t.Fatal(err)
		}
	}
}

// portrait returns a small picture of one colour.
func portrait(c color.Color) []byte {
	img := image.NewRGBA(image.Rect(0, 0, 16, 16))
	for i := range 256 {
		img.Set(i%16, i/16, c)
	}
	var b bytes.Buffer
	_ = png.Encode(&b, img)
	return b.Bytes()
}

// looks reports whether data is a picture of one colour, as far as that can be
// determined: servers resize pictures, make them square, and change their format.
func looks(data []byte, like color.Color) bool {
	img, _, err := image.Decode(bytes.NewReader(data))
	if err != nil {
		return false
	}
	at := func(c color.Color) string {
		r, g, b, _ := c.RGBA()
		return fmt.Sprint(r>>13, g>>13, b>>13)
	}
	middle := img.Bounds().Min.Add(img.Bounds().Size().Div(2))
	return at(img.At(middle.X, middle.Y)) == at(like)
}

// setAvatar changes a user's picture in Rocket.Chat.
func (w *world) setAvatar(p rctest.Person, data []byte) {
	w.t.Helper()
	w.post(p, "users.setAvatar", "image", data, nil)
}

// post uploads a picture with a form.
func (w *world) post(p rctest.Person, path, field string, data []byte, fields map[string]string) {
	w.t.Helper()
	var b bytes.Buffer
	form := multipart.NewWriter(&b)
	part, _ := form.CreatePart(textproto.MIMEHeader{"Content-Disposition": {`form-data; name="` + field + `"; filename="face.png"`}, "Content-Type": {"image/png"}})
	_, _ = part.Write(data)
	for name, value := range fields {
		_ = form.WriteField(name, value)
	}
	_ = form.Close()
	req, _ := http.NewRequest(http.MethodPost, w.rc.URL+"/api/v1/"+path, &b)
	req.Header.Set("Content-Type", form.FormDataContentType())
	req.Header.Set("X-User-Id", p.ID)
	req.Header.Set("X-Auth-Token", p.Token)
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		w.t.Fatal(err)
	}
	_ = res.Body.Close()
	if res.StatusCode != http.StatusOK {
		w.t.Fatalf("%s: %d", path, res.StatusCode)
	}
}

// avatarInRC returns a user's picture.
func (w *world) avatarInRC(username string) []byte {
	p := w.rc.Login("alice")
	req, _ := http.NewRequest(http.MethodGet, w.rc.URL+"/avatar/"+username, nil)
	req.AddCookie(&http.Cookie{Name: "rc_uid", Value: p.ID})
	req.AddCookie(&http.Cookie{Name: "rc_token", Value: p.Token})
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		w.t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	data, _ := io.ReadAll(res.Body)
	return data
}

func TestFeatureNamesAndPictures(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	alice := s.people["alice"]
	s.rc.SetName("alice", "Alice of Wonderland")
	s.rc.Say(s.room, "alice", "under my new name") // which shows it: by default no event announces it
	mxtest.WaitFor(t, "alice's new name on Matrix", func() bool { return s.bob.DisplayName(s.alice()) == "Alice of Wonderland" })
	avatarOf := func(user string) string {
		var out struct {
			Avatar string `json:"avatar_url"`
		}
		_, _ = s.bob.Call(t.Context(), "GET", "/_matrix/client/v3/profile/"+url.PathEscape(user), nil, &out)
		return out.Avatar
	}
	s.setAvatar(alice, portrait(color.White))
	mxtest.WaitFor(t, "alice's picture on Matrix", func() bool { return strings.HasPrefix(avatarOf(s.alice()), "mxc://") })
	first := avatarOf(s.alice())
	s.setAvatar(alice, portrait(color.Black))
	mxtest.WaitFor(t, "alice's other picture on Matrix", func() bool { now := avatarOf(s.alice()); return now != "" && now != first })

	red := color.RGBA{R: 200, A: 255}
	face := portrait(red)
	s.bob.Must("PUT", "/_matrix/client/v3/profile/"+s.bob.ID+"/avatar_url", map[string]any{"avatar_url": s.upload("face.png", "image/png", face)}, nil)
	mxtest.WaitFor(t, "bob's picture in Rocket.Chat", func() bool { return looks(s.avatarInRC(s.puppet), red) })
	s.bob.Must("PUT", "/_matrix/client/v3/profile/"+s.bob.ID+"/displayname", map[string]any{"displayname": "Robert"}, nil)
	mxtest.WaitFor(t, "bob's new name in Rocket.Chat", func() bool { return s.rc.User(s.puppet)["name"] == "Robert ("+s.far.Name+")" })

	// The Matrix address stays the same, whatever the username becomes.
	s.call(s.rc.Admin(), http.MethodPost, "users.update", map[string]any{"userId": alice.ID, "data": map[string]any{"username": "alicia"}}, nil)
	s.rc.Say(s.room, "alicia", "still me")
	mxtest.WaitFor(t, "what was said under the new name", func() bool {
		return slices.Contains(saidOnMatrix(s.bob, s.mxRoom), s.alice()+": still me")
	})
}

func TestFeatureHostileNames(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.rc.CreateUser("carol")
	n := 0
	name := func(shown string) string {
		s.bob.Must("PUT", "/_matrix/client/v3/profile/"+s.bob.ID+"/displayname", map[string]any{"displayname": shown}, nil)
		n++
		mark := fmt.Sprint("this is name ", n)
		s.bob.Send(s.mxRoom, mark)
		s.messageText(mark)
		return fmt.Sprint(s.rc.User(s.puppet)["name"])
	}
	if got := name("Bob\u202egnp.exe"); strings.ContainsRune(got, '\u202e') {
		t.Errorf("a direction override is shown: %q", got)
	}
	if got := name("\u200b\u200b\u2060"); strings.TrimSpace(got) == "" {
		t.Errorf("an invisible name: %q", got)
	}
	for _, shown := range []string{"Ｃarol", "carol", "Carol Danvers", "Administrator", "Matrix bridge", "c\u0430rol", "Carol (" + s.home.Name + ")"} {
		if got := name(shown); !strings.HasSuffix(got, " ("+s.far.Name+")") {
			t.Errorf("bob is shown as %q, without the server that vouches for him", got)
		}
	}
	if s.far.Software.ShortNames {
		return
	}
	if got := name(strings.Repeat("long ", 2000)); len(got) > 200 {
		t.Errorf("a name of %d bytes", len(got))
	}
}

func TestFeatureDepartures(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	carol := s.rc.CreateUser("carol")
	s.rc.Invite(s.room, "alice", "carol")
	ghost := "@carol:" + s.home.Name
	joined := func() bool { return s.bob.Members(s.mxRoom)[ghost] == "join" }
	mxtest.WaitFor(t, "carol on Matrix", joined)
	s.compareOften() // no event announces the deletion of a person whose messages are kept
	s.call(s.rc.Admin(), http.MethodPost, "users.delete", map[string]any{"userId": carol.ID, "confirmRelinquish": true}, nil)
	mxtest.WaitFor(t, "carol to be gone from Matrix", func() bool { return !joined() })
}
