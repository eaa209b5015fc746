package bridge_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/coder/websocket"

	"appliance/bridge/mxside/mxtest"
	"appliance/bridge/rocketchat/rctest"
)

// years is a Rocket.Chat of years to come: everything from the one behind it passes
// through and gets unknown fields, and it sends more than that.
type years struct {
	t      testing.TB
	behind *url.URL
	added  atomic.Int64 // fields
}

func newYears(t testing.TB, behind string) *httptest.Server {
	t.Helper()
	target, err := url.Parse(behind)
	if err != nil {
		t.Fatal(err)
	}
	y := &years{t: t, behind: target}
	proxy := &httputil.ReverseProxy{ErrorLog: log.New(io.Discard, "", 0), ModifyResponse: y.answer, Rewrite: func(pr *httputil.ProxyRequest) { pr.SetURL(target) }}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/websocket" {
			y.socket(w, r)
			return
		}
		proxy.ServeHTTP(w, r)
	}))
	t.Cleanup(func() {
		s.CloseClientConnections()
		s.Close()
		if y.added.Load() < 100 {
			t.Errorf("the server of years to come has added %d fields", y.added.Load())
		}
	})
	return s
}

var version = regexp.MustCompile(`"version":"[0-9.]+"`)

// age gives every object in a value an unknown field.
func (y *years) age(value any) any {
	switch v := value.(type) {
	case map[string]any:
		for key := range v {
			v[key] = y.age(v[key])
		}
		y.added.Add(1)
		v["hologram"] = map[string]any{"of": []any{1, nil, "kind", map[string]any{}}, "deep": []any{[]any{}}}
	case []any:
		for i := range v {
			v[i] = y.age(v[i])
		}
	}
	return value
}

// aged is age for a JSON text.
func (y *years) aged(text []byte) []byte {
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.UseNumber()
	var value any
	if dec.Decode(&value) != nil {
		return text
	}
	out, err := json.Marshal(y.age(value))
	if err != nil {
		return text
	}
	return out
}

func (y *years) answer(res *http.Response) error {
	if !strings.HasPrefix(res.Header.Get("Content-Type"), "application/json") {
		return nil
	}
	text, err := io.ReadAll(res.Body)
	if err != nil {
		return err
	}
	text = y.aged(text)
	if strings.HasPrefix(res.Request.URL.Path, "/api/info") {
		text = version.ReplaceAll(text, []byte(`"version":"11.4.2"`))
	}
	res.Body, res.ContentLength = io.NopCloser(bytes.NewReader(text)), int64(len(text))
	res.Header.Set("Content-Length", strconv.Itoa(len(text)))
	return nil
}

// socket passes on the frames of a websocket, and adds some unknown ones.
func (y *years) socket(w http.ResponseWriter, r *http.Request) {
	client, err := websocket.Accept(w, r, nil)
	if err != nil {
		return
	}
	defer func() { _ = client.CloseNow() }()
	server, _, err := websocket.Dial(r.Context(), "ws://"+y.behind.Host+"/websocket", nil)
	if err != nil {
		return
	}
	defer func() { _ = server.CloseNow() }()
	client.SetReadLimit(-1)
	server.SetReadLimit(-1)
	ctx, cancel := context.WithCancel(r.Context())
	go func() {
		defer cancel()
		for {
			kind, text, err := client.Read(ctx)
			if err != nil || server.Write(ctx, kind, text) != nil {
				return
			}
		}
	}()
	defer cancel()
	for {
		kind, text, err := server.Read(ctx)
		if err != nil {
			return
		}
		for _, frame := range []string{
			string(y.aged(text)),
			`{"msg":"hologram","of":[1,null]}`,
			`{"msg":"changed","collection":"stream-holograms","id":"id","fields":{"eventName":"all","args":[{"_id":1},null,[]]}}`,
			`{"msg":"changed","collection":"stream-notify-logged","id":"id","fields":{"eventName":"holograms","args":[{"_id":1}]}}`,
			`{"msg":"removed","collection":"holograms","id":7}`,
		} {
			if client.Write(ctx, kind, []byte(frame)) != nil {
				return
			}
		}
	}
}

// A Rocket.Chat that is newer than all known ones: its responses, frames and messages
// carry unknown fields and kinds. A conversation works all the same, and what is new is
// logged once.
func TestARocketChatNewerThanAllThatAreKnown(t *testing.T) {
	t.Parallel()
	home := mxtest.Kind(t)
	w := worldSpec{namespace: "native", home: home, far: mxtest.Dendrite, version: roomVersion(t, home), noBridge: true}.start(t, &rctest.Server{Polite: true, Unrecorded: true})
	front := newYears(t, w.rc.URL)
	file := filepath.Join(w.dir, "bridge.yaml")
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	w.write("bridge.yaml", strings.ReplaceAll(string(text), w.rc.URL, front.URL))
	w.startBridge()
	s := bridgedStage(w)
	for n := range 3 {
		s.rc.SayWith(s.room, "alice", fmt.Sprint("a hologram ", n), map[string]any{"t": "hologram-started"})
		s.rc.SayWith(s.room, "alice", fmt.Sprint("r ", n), map[string]any{"holograms": []any{map[string]any{"of": nil}}, "attachments": []any{map[string]any{"type": "hologram", "cube": []any{1, 2}}}})
		s.bob.Send(s.mxRoom, fmt.Sprint("m ", n))
	}
	for n := range 3 {
		s.findText(fmt.Sprint("r ", n))
		s.messageText(fmt.Sprint("m ", n))
	}
	id := s.rc.Say(s.room, "alice", "before")
	event, _ := s.findText("before")
	s.rc.Edit(id, "alice", "after")
	s.find("the edit", func(_ string, c map[string]any) bool {
		return relation(c)["event_id"] == event && relation(c)["rel_type"] == "m.replace"
	})
	s.rc.React(id, "alice", "smile")
	s.find("the reaction", func(kind string, c map[string]any) bool {
		return kind == "m.reaction" && relation(c)["event_id"] == event
	})
	data := picture(23, 19)
	s.rc.Upload(s.room, "alice", "view.png", "image/png", data, "")
	_, c := s.find("the picture", func(_ string, c map[string]any) bool { return c["msgtype"] == "m.image" })
	if got := s.download(fmt.Sprint(c["url"])); !bytes.Equal(got, data) {
		t.Errorf("%d bytes arrived of %d", len(got), len(data))
	}
	logged := w.log.String()
	for _, once := range []string{"newer than the versions", "kind=hologram-started"} {
		if n := strings.Count(logged, once); n != 1 {
			t.Errorf("%q was logged %d times", once, n)
		}
	}
	if n := strings.Count(logged, "\n"); n > 200 {
		t.Errorf("%d lines were logged", n)
	}
	if waiting := w.status().Waiting; waiting != 0 {
		t.Errorf("%d items wait", waiting)
	}
}
