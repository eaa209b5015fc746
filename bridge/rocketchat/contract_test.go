package rocketchat_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"image"
	"image/png"
	"io"
	"maps"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"appliance/bridge/mustrun"
	"appliance/bridge/rocketchat"
	"appliance/bridge/rocketchat/rctest"
	"appliance/bridge/secret"
)

// The contract of the client, tested against the simulator or the real server that
// ROCKETCHAT_URL names: see rctest.Subject and docs/testing.md.

func TestMain(m *testing.M) { rctest.VerifyTestMain(m) }

// A world is the server of one test, and its administrator.
type world struct {
	*rctest.Subject
	t     *testing.T
	admin *rocketchat.Client
}

func begin(t *testing.T, configure ...func(*rctest.Server)) world {
	t.Helper()
	t.Parallel()
	s := rctest.NewSubject(t, configure...)
	return world{Subject: s, t: t, admin: as(s, s.Admin(t))}
}

func as(s *rctest.Subject, p rctest.Person) *rocketchat.Client {
	return rocketchat.New(s.URL, p.ID, secret.New(p.Token))
}

// A person is a user with a client.
type person struct {
	*rocketchat.Client
	rctest.Person
}

// puppet creates a person as the bridge does.
func (w world) puppet() person {
	w.t.Helper()
	p := w.Puppet(w.t)
	return person{as(w.Subject, p), p}
}

// channel and group create rooms.
func (w world) channel(owner person, members ...person) rocketchat.Room {
	w.t.Helper()
	r, err := owner.CreateChannel(w.t.Context(), w.Name("channel"), usernames(members))
	w.ok(err)
	return r
}

func (w world) group(owner person, members ...person) rocketchat.Room {
	w.t.Helper()
	r, err := owner.CreateGroup(w.t.Context(), w.Name("group"), usernames(members))
	w.ok(err)
	return r
}

func usernames(people []person) []string {
	names := []string{}
	for _, p := range people {
		names = append(names, p.Username)
	}
	return names
}

func (w world) say(p person, rid, text string) rocketchat.Message {
	w.t.Helper()
	m, err := p.SendMessage(w.t.Context(), rocketchat.NewMessage{ID: w.Name("m"), RoomID: rid, Text: text})
	w.ok(err)
	return m
}

func (w world) ok(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// refused checks that err is the server's refusal with a status and one of the
// codes, if any.
func (w world) refused(err error, status int, codes ...string) {
	w.t.Helper()
	if rocketchat.Status(err) != status || len(codes) > 0 && !rocketchat.Says(err, codes...) {
		e, _ := errors.AsType[*rocketchat.Error](err)
		w.t.Errorf("got %v (%+v), want a refusal with status %d and one of %q", err, e, status, codes)
	}
}

// history returns every message of a room, by SyncMessages.
func (w world) history(p person, rid string) []rocketchat.Message {
	w.t.Helper()
	var all []rocketchat.Message
	w.ok(p.SyncMessages(w.t.Context(), rid, time.UnixMilli(0), func(ms []rocketchat.Message) error {
		all = append(all, ms...)
		return nil
	}))
	return all
}

// said returns what people said in a room, oldest change first.
func (w world) said(p person, rid string) []string {
	w.t.Helper()
	var l []string
	for _, m := range w.history(p, rid) {
		if m.Type == "" {
			l = append(l, m.Text)
		}
	}
	return l
}

func equal[T any](t *testing.T, got, want T, what string) {
	t.Helper()
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%s: got %v, want %v", what, got, want)
	}
}

// calls returns one call of every method that makes a request to the server.
func calls() map[string]func(context.Context, *rocketchat.Client) error {
	type ctx = context.Context
	type client = *rocketchat.Client
	none := func([]rocketchat.Message) error { return nil }
	picture := func() rocketchat.Media {
		return rocketchat.Media{Name: "a.png", Type: "image/png", Size: 3, Body: strings.NewReader("png")}
	}
	return map[string]func(ctx, client) error{
		"Info":  func(c ctx, r client) error { _, err := r.Info(c); return err },
		"Login": func(c ctx, r client) error { _, err := r.Login(c, "who", secret.New("password")); return err },
		"LoginWithCode": func(c ctx, r client) error {
			_, err := r.LoginWithCode(c, "who", secret.New("password"), "123456")
			return err
		},
		"Logout":     func(c ctx, r client) error { return r.Logout(c) },
		"Me":         func(c ctx, r client) error { _, err := r.Me(c); return err },
		"UserByName": func(c ctx, r client) error { _, _, err := r.UserByName(c, "who"); return err },
		"UserByID":   func(c ctx, r client) error { _, _, err := r.UserByID(c, "who"); return err },
		"CreateUser": func(c ctx, r client) error {
			_, err := r.CreateUser(c, rocketchat.NewUser{Username: "who"})
			return err
		},
		"CreateToken":       func(c ctx, r client) error { _, err := r.CreateToken(c, "who", secret.New("secret")); return err },
		"SetPassword":       func(c ctx, r client) error { return r.SetPassword(c, "who", secret.New("password")) },
		"NewAccessToken":    func(c ctx, r client) error { _, err := r.NewAccessToken(c, "t"); return err },
		"AccessTokens":      func(c ctx, r client) error { _, err := r.AccessTokens(c); return err },
		"RemoveAccessToken": func(c ctx, r client) error { return r.RemoveAccessToken(c, "t") },
		"SetOwnName":        func(c ctx, r client) error { return r.SetOwnName(c, "Who") },
		"SetAvatar":         func(c ctx, r client) error { return r.SetAvatar(c, picture()) },
		"Permissions":       func(c ctx, r client) error { _, err := r.Permissions(c); return err },
		"PublicSettings":    func(c ctx, r client) error { _, err := r.PublicSettings(c, "Site_Url"); return err },
		"SendMessage": func(c ctx, r client) error {
			_, err := r.SendMessage(c, rocketchat.NewMessage{ID: "m", RoomID: "r"})
			return err
		},
		"PostMessage":  func(c ctx, r client) error { return r.PostMessage(c, "r", "text") },
		"Message":      func(c ctx, r client) error { _, _, err := r.Message(c, "m"); return err },
		"SyncMessages": func(c ctx, r client) error { return r.SyncMessages(c, "r", time.Now(), none) },
		"SyncDeleted": func(c ctx, r client) error {
			return r.SyncDeleted(c, "r", time.Now(), func([]rocketchat.Deletion) error { return nil })
		},
		"MessageWithFile": func(c ctx, r client) error { _, _, err := r.MessageWithFile(c, "r", "f", time.Now()); return err },
		"UpdateMessage":   func(c ctx, r client) error { _, err := r.UpdateMessage(c, "r", "m", "text"); return err },
		"DeleteMessage":   func(c ctx, r client) error { return r.DeleteMessage(c, "r", "m") },
		"React":           func(c ctx, r client) error { return r.React(c, "m", ":smile:", true) },
		"Pin":             func(c ctx, r client) error { return r.Pin(c, "m", true) },
		"Typing":          func(c ctx, r client) error { return r.Typing(c, "r", "", "who", true) },
		"UploadMedia":     func(c ctx, r client) error { _, err := r.UploadMedia(c, "r", picture()); return err },
		"ConfirmMedia": func(c ctx, r client) error {
			_, err := r.ConfirmMedia(c, "r", "f", rocketchat.MediaMessage{})
			return err
		},
		"Download": func(c ctx, r client) error { _, err := r.Download(c, "/file-upload/f/a.png", 10); return err },
		"RoomHasUpload": func(c ctx, r client) error {
			_, err := r.RoomHasUpload(c, rocketchat.Group, "r", "f", "a.png")
			return err
		},
		"RoomByID":        func(c ctx, r client) error { _, _, err := r.RoomByID(c, "r"); return err },
		"RoomByName":      func(c ctx, r client) error { _, _, err := r.RoomByName(c, "r"); return err },
		"Subscription":    func(c ctx, r client) error { _, _, err := r.Subscription(c, "r"); return err },
		"Subscriptions":   func(c ctx, r client) error { _, err := r.Subscriptions(c); return err },
		"CreateGroup":     func(c ctx, r client) error { _, err := r.CreateGroup(c, "name", nil); return err },
		"CreateChannel":   func(c ctx, r client) error { _, err := r.CreateChannel(c, "name", nil); return err },
		"CreateDirect":    func(c ctx, r client) error { _, err := r.CreateDirect(c, "who"); return err },
		"Invite":          func(c ctx, r client) error { return r.Invite(c, rocketchat.Group, "r", "u") },
		"Join":            func(c ctx, r client) error { return r.Join(c, "r") },
		"Leave":           func(c ctx, r client) error { return r.Leave(c, rocketchat.Group, "r") },
		"Kick":            func(c ctx, r client) error { return r.Kick(c, rocketchat.Group, "r", "u") },
		"AddOwner":        func(c ctx, r client) error { return r.AddOwner(c, rocketchat.Group, "r", "u") },
		"RemoveOwner":     func(c ctx, r client) error { return r.RemoveOwner(c, rocketchat.Group, "r", "u") },
		"AddModerator":    func(c ctx, r client) error { return r.AddModerator(c, rocketchat.Channel, "r", "u") },
		"RemoveModerator": func(c ctx, r client) error { return r.RemoveModerator(c, rocketchat.Channel, "r", "u") },
		"SetTopic":        func(c ctx, r client) error { return r.SetTopic(c, rocketchat.Direct, "r", "topic") },
		"SetAnnouncement": func(c ctx, r client) error { return r.SetAnnouncement(c, rocketchat.Channel, "r", "text") },
		"Rename":          func(c ctx, r client) error { return r.Rename(c, rocketchat.Channel, "r", "name") },
		"Members":         func(c ctx, r client) error { _, err := r.Members(c, rocketchat.Channel, "r"); return err },
		"RoomRoles":       func(c ctx, r client) error { _, err := r.RoomRoles(c, rocketchat.Group, "r"); return err },
		"SaveRoom":        func(c ctx, r client) error { return r.SaveRoom(c, "r", rocketchat.RoomChange{}) },
		"Archive":         func(c ctx, r client) error { return r.Archive(c, "r", true) },
		"History": func(c ctx, r client) error {
			_, err := r.History(c, rocketchat.Group, "r", 10, time.Time{})
			return err
		},
		"Webhooks":      func(c ctx, r client) error { _, err := r.Webhooks(c); return err },
		"RemoveWebhook": func(c ctx, r client) error { return r.RemoveWebhook(c, "id") },
		"AdminRoom":     func(c ctx, r client) error { _, err := r.AdminRoom(c, "r"); return err },
		"Users":         func(c ctx, r client) error { return r.Users(c, func([]rocketchat.User) error { return nil }) },
		"AdminDirects": func(c ctx, r client) error {
			return r.AdminDirects(c, false, func([]rocketchat.Room) (bool, error) { return false, nil })
		},
		"Channels": func(c ctx, r client) error {
			return r.Channels(c, func([]rocketchat.Room) bool { return false })
		},
		"MarkRead":     func(c ctx, r client) error { return r.MarkRead(c, "r") },
		"Counters":     func(c ctx, r client) error { _, err := r.Counters(c, rocketchat.Group, "r", "u"); return err },
		"SetStatus":    func(c ctx, r client) error { return r.SetStatus(c, "away") },
		"Avatar":       func(c ctx, r client) error { _, err := r.Avatar(c, "who", 10); return err },
		"CustomEmojis": func(c ctx, r client) error { _, err := r.CustomEmojis(c); return err },
		"EmojiPicture": func(c ctx, r client) error {
			_, err := r.EmojiPicture(c, rocketchat.CustomEmoji{Name: "no-such", Extension: "png"}, 10)
			return err
		},
		"RoomAvatar":  func(c ctx, r client) error { _, err := r.RoomAvatar(c, "r", 10); return err },
		"ResetAvatar": func(c ctx, r client) error { return r.ResetAvatar(c) },
	}
}

// isFile reports whether a method fetches a file: such methods are not REST, and may
// be redirected.
func isFile(name string) bool {
	return slices.Contains([]string{"Download", "Avatar", "RoomAvatar", "EmojiPicture"}, name)
}

var withoutLogin = []string{"Info", "Login", "LoginWithCode", "PublicSettings"}

func TestEveryMethodThatTakesAContextIsInTheContract(t *testing.T) {
	t.Parallel()
	have := calls()
	typ := reflect.TypeFor[*rocketchat.Client]()
	for i := range typ.NumMethod() {
		m := typ.Method(i)
		if m.Type.NumIn() > 1 && m.Type.In(1) == reflect.TypeFor[context.Context]() && have[m.Name] == nil {
			t.Errorf("there is no contract test of %s", m.Name)
		}
	}
}

func TestAWrongTokenIsRefusedByEveryMethod(t *testing.T) {
	w := begin(t)
	wrong := w.admin.As(w.admin.UserID(), secret.New("not-the-token"))
	nobody := rocketchat.New(w.URL, "", secret.String{})
	for name, call := range calls() {
		switch {
		case slices.Contains([]string{"Avatar", "RoomAvatar", "EmojiPicture"}, name): // see TestPicturesAreForThoseWhoSignIn
		case isFile(name):
			w.refused(call(t.Context(), wrong), http.StatusNotFound)
		case !slices.Contains(withoutLogin, name):
			t.Run(name, func(t *testing.T) {
				w := world{w.Subject, t, w.admin}
				err := call(t.Context(), wrong)
				w.refused(err, http.StatusUnauthorized)
				if name != "SetOwnName" { // one call per minute, for strangers too
					w.refused(call(t.Context(), nobody), http.StatusUnauthorized)
				}
			})
		}
	}
}

// A picture that does not exist, or that the caller may not see, is not returned:
// servers refuse, or answer with a letter as SVG, which is no picture.
func TestPicturesAreForThoseWhoSignIn(t *testing.T) {
	w := begin(t)
	p := w.puppet()
	w.ok(p.SetAvatar(t.Context(), rocketchat.Media{Name: "a.png", Type: "image/png", Size: -1, Body: bytes.NewReader(aPicture(t))}))
	none := func(what string, got []byte, err error) {
		t.Helper()
		if err == nil && len(got) > 0 && !bytes.Contains(got, []byte("<svg")) {
			t.Errorf("%s: %d bytes of a picture", what, len(got))
		}
	}
	wrong := w.admin.As(w.admin.UserID(), secret.New("not-the-token"))
	got, err := wrong.Avatar(t.Context(), p.Username, 1<<20)
	none("a person, with a wrong token", got, err)
	got, err = wrong.RoomAvatar(t.Context(), w.channel(p).ID, 1<<20)
	none("a room, with a wrong token", got, err)
	got, err = w.admin.Avatar(t.Context(), w.Name("nobody"), 1<<20)
	none("nobody", got, err)
	got, err = w.admin.EmojiPicture(t.Context(), rocketchat.CustomEmoji{Name: w.Name("emoji"), Extension: "png"}, 1<<20)
	none("an emoji that is not there", got, err)
}

// aPicture returns a PNG.
func aPicture(t *testing.T) []byte {
	t.Helper()
	var data bytes.Buffer
	if err := png.Encode(&data, image.NewGray(image.Rect(0, 0, 4, 4))); err != nil {
		t.Fatal(err)
	}
	return data.Bytes()
}

// answered returns a world whose server answers every request of the client under
// test with f.
func answered(t *testing.T, f http.HandlerFunc) (world, *rocketchat.Client) {
	t.Helper()
	w := begin(t, func(s *rctest.Server) {
		s.Simulator = true // a made-up server
		s.OnRequest = func(rw http.ResponseWriter, r *http.Request) bool { f(rw, r); return true }
	})
	w.Server(t)
	return w, rocketchat.New(w.URL, "me", secret.New("the-token-itself"))
}

func TestARefusalOfAnyKindReachesTheCallerOfEveryMethodAndShowsNoToken(t *testing.T) {
	for _, status := range []int{301, 400, 403, 413, 429, 500, 502, 503} {
		t.Run(fmt.Sprint(status), func(t *testing.T) {
			w, c := answered(t, func(rw http.ResponseWriter, _ *http.Request) {
				rw.Header().Set("Location", "http://127.0.0.1:1/elsewhere")
				rw.Header().Set("Retry-After", "7")
				rw.WriteHeader(status)
				io.WriteString(rw, "<html>no</html>")
			})
			for name, call := range calls() {
				err := call(t.Context(), c)
				if status == 400 && name == "Message" {
					w.ok(err) // this is how a missing message looks
					continue
				}
				if status == 301 && isFile(name) {
					continue // follows the redirect
				}
				w.refused(err, status)
				e, _ := errors.AsType[*rocketchat.Error](err)
				if status == 429 && e != nil && e.RetryAfter != 7*time.Second {
					t.Errorf("%s: RetryAfter is %v", name, e.RetryAfter)
				}
				if err == nil || strings.Contains(err.Error(), "the-token-itself") || !strings.Contains(err.Error(), "rocketchat: ") {
					t.Errorf("%s: %v", name, err)
				}
			}
		})
	}
}

func TestWhatIsNoJSONIsNoSuccess(t *testing.T) {
	for _, body := range []string{"<html>welcome</html>", "", `{"success":true`, `"text"`, `[1]`, `{"success":true}{}`} {
		w, c := world{}, (*rocketchat.Client)(nil)
		t.Run(body, func(t *testing.T) {
			w, c = answered(t, func(rw http.ResponseWriter, _ *http.Request) { io.WriteString(rw, body) })
			for name, call := range calls() {
				if err := call(w.t.Context(), c); err == nil && !isFile(name) || rocketchat.Status(err) != 0 {
					t.Errorf("%s takes %q for success: %v", name, body, err)
				}
			}
		})
	}
}

func TestSuccessThatSaysItIsNoneIsARefusal(t *testing.T) {
	w, c := answered(t, func(rw http.ResponseWriter, _ *http.Request) {
		io.WriteString(rw, `{"success":false,"error":"No. [error-no]"}`)
	})
	for name, call := range calls() {
		if !isFile(name) {
			w.refused(call(t.Context(), c), http.StatusOK, "error-no")
		}
	}
}

func TestACancelledContextEndsEveryMethod(t *testing.T) {
	w, c := answered(t, func(_ http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body) // otherwise the server does not notice that the client is gone
		<-r.Context().Done()
	})
	for name, call := range calls() {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		if err := call(ctx, c); !errors.Is(err, context.DeadlineExceeded) {
			w.t.Errorf("%s on a silent server: %v", name, err)
		}
		cancel()
		if err := call(ctx, c); !errors.Is(err, context.DeadlineExceeded) {
			w.t.Errorf("%s after its time: %v", name, err)
		}
	}
}

func TestAnAnswerWithoutEndIsNotWaitedFor(t *testing.T) {
	chunk := bytes.Repeat([]byte(" "), 1<<20)
	for _, status := range []int{200, 400} {
		t.Run(fmt.Sprint(status), func(t *testing.T) {
			_, c := answered(t, func(rw http.ResponseWriter, _ *http.Request) {
				rw.WriteHeader(status)
				for {
					if _, err := rw.Write(chunk); err != nil {
						return
					}
				}
			})
			for _, name := range []string{"Me", "SendMessage", "UploadMedia", "Download"} {
				if err := calls()[name](t.Context(), c); err == nil && name != "Download" {
					t.Errorf("%s was content", name)
				}
			}
		})
	}
}

func TestATrickleIsEndedByTheContext(t *testing.T) {
	_, c := answered(t, func(rw http.ResponseWriter, r *http.Request) {
		for r.Context().Err() == nil {
			io.WriteString(rw, " ")
			rw.(http.Flusher).Flush()
			time.Sleep(time.Millisecond)
		}
	})
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := c.Me(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
}

func TestRetryAfterIsReadFromWhateverSaysIt(t *testing.T) {
	for what, set := range map[string]func(http.Header){
		"header": func(h http.Header) { h.Set("Retry-After", " 30 ") },
		"reset": func(h http.Header) {
			h.Set("X-RateLimit-Reset", fmt.Sprint(time.Now().Add(30*time.Second+500*time.Millisecond).UnixMilli()))
		},
		"words": func(http.Header) {},
	} {
		t.Run(what, func(t *testing.T) {
			_, c := answered(t, func(rw http.ResponseWriter, _ *http.Request) {
				set(rw.Header())
				rw.WriteHeader(429)
				io.WriteString(rw, `{"success":false,"error":"Error, too many requests. Please slow down. You must wait 30 seconds before trying this endpoint again. [error-too-many-requests]"}`)
			})
			_, err := c.Me(t.Context())
			e, ok := errors.AsType[*rocketchat.Error](err)
			if !ok || e.RetryAfter < 29*time.Second || e.RetryAfter > 31*time.Second || e.Code != "error-too-many-requests" {
				t.Errorf("got %v %+v", err, e)
			}
		})
	}
}

func TestTheRateLimiterStopsOrdinaryPeople(t *testing.T) {
	t.Parallel()
	s := alone(t)
	s.Set("API_Enable_Rate_Limiter", true)
	ada := s.CreateUser("ada")
	if !s.Expect().Limiter {
		return
	}
	c := rocketchat.New(s.URL, ada.ID, secret.New(ada.Token))
	for range 40 {
		_, err := c.Subscriptions(t.Context())
		if err == nil {
			continue
		}
		e, _ := errors.AsType[*rocketchat.Error](err)
		if e == nil || !rocketchat.Says(err, "error-too-many-requests") || e.RetryAfter <= 0 || e.RetryAfter > time.Minute {
			t.Errorf("got %v, %+v", err, e)
		}
		return
	}
	t.Error("nobody was stopped")
}

// alone returns a server that no other test uses, for a test that changes settings.
func alone(t *testing.T) *rctest.Server {
	t.Helper()
	s := &rctest.Server{Polite: true}
	s.Start(t)
	return s
}

func TestConnectionRefusedIsNoRefusal(t *testing.T) {
	t.Parallel()
	c := rocketchat.New("http://127.0.0.1:1", "me", secret.New("the-token-itself"))
	for name, call := range calls() {
		if err := call(t.Context(), c); err == nil || rocketchat.Status(err) != 0 {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// People

func TestInfoNeedsNoLogin(t *testing.T) {
	w := begin(t)
	info, err := rocketchat.New(w.URL+"/", "", secret.String{}).Info(t.Context())
	w.ok(err)
	if !strings.Contains(info.Version, ".") {
		t.Errorf("version %q", info.Version)
	}
}

func TestLogin(t *testing.T) {
	w := begin(t)
	p := w.Puppet(t)
	anonymous := rocketchat.New(w.URL, "", secret.String{})
	c, err := anonymous.Login(t.Context(), p.Username, secret.New(p.Password))
	w.ok(err)
	equal(t, c.UserID(), p.ID, "user")
	me, err := c.Me(t.Context())
	w.ok(err)
	equal(t, me.Username, p.Username, "username")
	_, err = anonymous.Login(t.Context(), p.Username, secret.New("wrong"))
	w.refused(err, http.StatusUnauthorized)
	_, err = anonymous.Login(t.Context(), w.Name("nobody"), secret.New("wrong"))
	w.refused(err, http.StatusUnauthorized)
}

func (w world) newUser() rocketchat.NewUser {
	name := w.Name("new")
	return rocketchat.NewUser{Username: name, Name: "New " + name, Email: name + "@example.invalid", Password: w.Name("p"), Roles: []string{"user", "bot"}, Nickname: "@new:example.org"}
}

func TestCreateUser(t *testing.T) {
	w := begin(t)
	n := w.newUser()
	u, err := w.admin.CreateUser(t.Context(), n)
	w.ok(err)
	equal(t, u.Username, n.Username, "username")
	for what, find := range map[string]func() (rocketchat.User, bool, error){
		"by name": func() (rocketchat.User, bool, error) { return w.admin.UserByName(t.Context(), n.Username) },
		"by id":   func() (rocketchat.User, bool, error) { return w.admin.UserByID(t.Context(), u.ID) },
	} {
		found, ok, err := find()
		w.ok(err)
		if !ok || found.ID != u.ID || found.Name != n.Name || !found.Active || !slices.Contains(found.Roles, "bot") {
			t.Errorf("%s: %v %+v", what, ok, found)
		}
	}
	_, err = w.admin.CreateUser(t.Context(), n)
	w.refused(err, http.StatusBadRequest, "error-field-unavailable")
	other := w.newUser()
	other.Username = strings.ToUpper(n.Username)
	_, err = w.admin.CreateUser(t.Context(), other)
	w.refused(err, http.StatusBadRequest, "error-field-unavailable")
	other = w.newUser()
	other.Email = n.Email
	_, err = w.admin.CreateUser(t.Context(), other)
	w.refused(err, http.StatusBadRequest, "error-field-unavailable")
	other = w.newUser()
	other.Username = "with space"
	_, err = w.admin.CreateUser(t.Context(), other)
	w.refused(err, http.StatusBadRequest, "error-input-is-not-a-valid-field")
	other = w.newUser()
	other.Name = "<b>"
	_, err = w.admin.CreateUser(t.Context(), other)
	w.refused(err, http.StatusBadRequest)
	_, err = w.puppet().CreateUser(t.Context(), w.newUser())
	if s := rocketchat.Status(err); s != http.StatusForbidden && s != http.StatusBadRequest {
		t.Errorf("without the permission: %v", err)
	}
}

// A code that nobody asked for does no harm, and logging out ends a session.
func TestASessionEnds(t *testing.T) {
	w := begin(t)
	p := w.Puppet(t)
	c, err := rocketchat.New(w.URL, "", secret.String{}).LoginWithCode(t.Context(), p.Username, secret.New(p.Password), "123456")
	w.ok(err)
	me, err := c.Me(t.Context())
	w.ok(err)
	equal(t, me.ID, c.UserID(), "user")
	w.ok(c.Logout(t.Context()))
	_, err = c.Me(t.Context())
	w.refused(err, http.StatusUnauthorized)
}

// users.update asks users with a password for it once more. The account that sets the
// administrator's password has none; TestANewPasswordOfTheAdministratorSignsIn covers it.
func TestAPasswordIsSetOnlyWithASecondFactor(t *testing.T) {
	w := begin(t)
	n := w.newUser()
	u, err := w.admin.CreateUser(t.Context(), n)
	w.ok(err)
	other := secret.New(w.Name("q"))
	anonymous := rocketchat.New(w.URL, "", secret.String{})
	known := w.Admin(t)
	admin, err := anonymous.Login(t.Context(), known.Username, secret.New(known.Password)) // a session without a remembered factor
	w.ok(err)
	w.refused(admin.SetPassword(t.Context(), u.ID, other), http.StatusBadRequest, "totp-required")
	if err := w.puppet().SetPassword(t.Context(), u.ID, other); err == nil {
		t.Error("a user without permission has set the password of another one")
	}
	if _, err := anonymous.Login(t.Context(), n.Username, other); err == nil {
		t.Error("the password that was refused signs in")
	}
	_, err = anonymous.Login(t.Context(), n.Username, secret.New(n.Password))
	w.ok(err)
}

// An account without a password, such as the bridge's, creates its own access tokens,
// replaces one whose value was lost, and removes them.
func TestAccessTokensAreMadeReplacedAndRemoved(t *testing.T) {
	sum := sha256.Sum256([]byte("first"))
	account := fmt.Sprintf(`{"_id":"bridge","username":"bridge","name":"Bridge","type":"bot","active":true,"roles":["bot","admin"],"services":{"resume":{"loginTokens":[`+
		`{"type":"personalAccessToken","name":"bridge","createdAt":"2026-01-01T00:00:00.000Z","lastTokenPart":"first","hashedToken":%q,"bypassTwoFactor":true}]}}}`,
		base64.StdEncoding.EncodeToString(sum[:]))
	w := begin(t, func(s *rctest.Server) { s.Env = map[string]string{"INITIAL_USER": account} })
	w.Server(t, "a real server makes an account without a password only when it is first started")
	w.admin = rocketchat.New(w.URL, "bridge", secret.New("first"))
	name := w.Name("token")
	lost, err := w.admin.NewAccessToken(t.Context(), name)
	w.ok(err)
	token, err := w.admin.NewAccessToken(t.Context(), name)
	w.ok(err)
	_, err = w.admin.As(w.admin.UserID(), lost).Me(t.Context())
	w.refused(err, http.StatusUnauthorized)
	own := w.admin.As(w.admin.UserID(), token)
	_, err = own.Me(t.Context())
	w.ok(err)
	list, err := own.AccessTokens(t.Context())
	w.ok(err)
	if !slices.ContainsFunc(list, func(a rocketchat.AccessToken) bool {
		return a.Name == name && len(a.End) == 6 && strings.HasSuffix(token.Reveal(), a.End)
	}) {
		t.Errorf("the token %s is not among %v", name, list)
	}
	for range 2 { // the second time it is gone
		w.ok(w.admin.RemoveAccessToken(t.Context(), name))
	}
	_, err = own.Me(t.Context())
	w.refused(err, http.StatusUnauthorized)
}

func TestAnUnknownUserIsNoError(t *testing.T) {
	w := begin(t)
	_, ok, err := w.admin.UserByName(t.Context(), w.Name("nobody"))
	w.ok(err)
	_, ok2, err := w.admin.UserByID(t.Context(), w.Name("nobody"))
	w.ok(err)
	if ok || ok2 {
		t.Error("a user was found")
	}
}

func TestCreateToken(t *testing.T) {
	w := begin(t)
	p := w.puppet()
	if w.Expect(t).TokenSecret {
		_, err := w.admin.CreateToken(t.Context(), p.ID, secret.New("wrong"))
		w.refused(err, http.StatusBadRequest, "error-not-authorized")
	}
	if w.CreateTokenSecret == "" {
		mustrun.Skip(t, "ROCKETCHAT_CREATE_TOKENS_SECRET is not set")
	}
	right := secret.New(w.CreateTokenSecret)
	token, err := w.admin.CreateToken(t.Context(), p.ID, right)
	w.ok(err)
	me, err := w.admin.As(p.ID, token).Me(t.Context())
	w.ok(err)
	equal(t, me.ID, p.ID, "whose token it is")
	_, err = w.admin.CreateToken(t.Context(), w.Name("nobody"), right)
	w.refused(err, http.StatusBadRequest)
	if w.Expect(t).TokenPermission {
		_, err = w.puppet().CreateToken(t.Context(), p.ID, right)
		w.refused(err, http.StatusBadRequest, "error-not-authorized")
	}
}

func TestSetOwnName(t *testing.T) {
	w := begin(t)
	p := w.puppet()
	w.ok(p.SetOwnName(t.Context(), "Ada L. 🐙"))
	me, err := p.Me(t.Context())
	w.ok(err)
	equal(t, me.Name, "Ada L. 🐙", "name")
	w.refused(p.SetOwnName(t.Context(), "Ada <3"), http.StatusBadRequest)
}

func TestPermissions(t *testing.T) {
	w := begin(t)
	perms, err := w.admin.Permissions(t.Context())
	w.ok(err)
	if !slices.Contains(perms["create-user"], "admin") {
		t.Errorf("create-user: %v", perms["create-user"])
	}
}

func TestPublicSettings(t *testing.T) {
	w := begin(t)
	ids := []string{"FileUpload_MaxFileSize", "FileUpload_Enabled", "Site_Url", "No_Such_Setting"}
	for i := range 150 {
		ids = append(ids, fmt.Sprintf("No_Such_Setting_%d", i))
	}
	got, err := rocketchat.New(w.URL, "", secret.String{}).PublicSettings(t.Context(), ids...)
	w.ok(err)
	if got.Int("FileUpload_MaxFileSize", 0) == 0 || !got.On("FileUpload_Enabled", false) || !strings.HasPrefix(got.Text("Site_Url", ""), "http") {
		t.Errorf("got %s", slices.Sorted(maps.Keys(got)))
	}
	if _, ok := got["No_Such_Setting"]; ok || got.Int("No_Such_Setting", 7) != 7 || got.Int("Site_Url", 7) != 7 || got.Text("FileUpload_Enabled", "x") != "x" {
		t.Error("what is not there, or something else, must be what the caller says")
	}
}

func TestSetAvatar(t *testing.T) {
	w := begin(t)
	p := w.puppet()
	picture := aPicture(t)
	w.ok(p.SetAvatar(t.Context(), rocketchat.Media{Name: "a.png", Type: "image/png", Size: int64(len(picture)), Body: bytes.NewReader(picture)}))
	w.ok(p.SetAvatar(t.Context(), rocketchat.Media{Name: "a.png", Type: "image/png", Size: -1, Body: bytes.NewReader(picture)}))
	err := p.SetAvatar(t.Context(), rocketchat.Media{Name: "a.txt", Type: "text/plain", Size: 4, Body: strings.NewReader("text")})
	w.refused(err, http.StatusBadRequest)
}

// A rude server loses, repeats and refuses requests; a caller that retries until the
// client reports success has everything once.
func TestOnARudeServerEverythingHappensOnce(t *testing.T) {
	w := begin(t, func(s *rctest.Server) { s.Polite = false })
	s := w.Server(t)
	var p person
	retry := func(what string, f func() error) {
		t.Helper()
		for range 50 {
			err := f()
			if err == nil {
				return
			}
			if st := rocketchat.Status(err); st != 0 && st != 429 && st != 502 {
				t.Fatalf("%s: %v", what, err)
			}
		}
		t.Fatalf("%s: never", what)
	}
	u := s.CreateUser("ada", "user", "bot")
	p = person{as(w.Subject, u), u}
	rid := s.CreateChannel("here", "ada")
	var want []string
	for i := range 100 {
		text := fmt.Sprint("message ", i)
		retry("send", func() error {
			_, err := p.SendMessage(t.Context(), rocketchat.NewMessage{ID: fmt.Sprint("mx", i), RoomID: rid, Text: text})
			return err
		})
		want = append(want, text)
	}
	var said []string
	for _, m := range s.Said(rid) {
		said = append(said, m.Text)
	}
	equal(t, said, want, "what was said")
	for i := range 50 {
		id := fmt.Sprint("mx", i)
		retry("edit", func() error { _, err := p.UpdateMessage(t.Context(), rid, id, "edited"); return err })
		retry("react", func() error { return p.React(t.Context(), id, "smile", true) })
		if i%2 == 0 {
			retry("unreact", func() error { return p.React(t.Context(), id, "smile", false) })
		}
	}
	for i, m := range s.Said(rid)[:50] {
		if m.Text != "edited" || len(m.Reactions) != i%2 {
			t.Errorf("message %d: %q %v", i, m.Text, m.Reactions)
		}
	}
	for i := range 50 {
		retry("delete", func() error { return p.DeleteMessage(t.Context(), rid, fmt.Sprint("mx", i)) })
	}
	equal(t, len(s.Said(rid)), 50, "messages left")
}

func TestTheClientIsSafeForConcurrentUse(t *testing.T) {
	w := begin(t)
	p := w.puppet()
	r := w.channel(p)
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() {
			if _, err := p.SendMessage(t.Context(), rocketchat.NewMessage{ID: w.Name("m"), RoomID: r.ID, Text: fmt.Sprint(i)}); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	equal(t, len(w.said(p, r.ID)), 20, "messages")
}
