package rocketchat_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"
	"time"

	"appliance/bridge/rocketchat"
	"appliance/bridge/rocketchat/rctest"
	"appliance/bridge/secret"
)

func noise(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(rand.Uint32())
	}
	return b
}

// onlyReader hides the other methods of a reader.
type onlyReader struct{ io.Reader }

func TestAFileCrossesAsItIs(t *testing.T) {
	w := begin(t)
	p, other := w.puppet(), w.puppet()
	r := w.group(p, other)
	pixel := aPicture(t)
	for _, f := range []struct {
		name, kind string
		data       []byte
		size       int64
	}{
		{"big noise.bin", "application/octet-stream", noise(3 << 20), 3 << 20},
		{"größe \"a\" 🐙.txt", "text/plain; charset=utf-8", []byte("text"), -1},
		{"pixel.png", "image/png", pixel, int64(len(pixel))},
		{"empty.txt", "text/plain", nil, 0},
		{"no\r\nX-Evil: header.txt", "text/plain\r\nX-Evil: header", []byte("text"), 4},
	} {
		up, err := p.UploadMedia(t.Context(), r.ID, rocketchat.Media{Name: f.name, Type: f.kind, Size: f.size, Body: onlyReader{bytes.NewReader(f.data)}})
		if err != nil && f.data == nil {
			continue // a server may refuse empty files
		}
		w.ok(err)
		m, err := p.ConfirmMedia(t.Context(), r.ID, up.ID, rocketchat.MediaMessage{Text: "see " + f.kind, Description: "caption"})
		w.ok(err)
		if m.File == nil || m.File.ID != up.ID || m.User.ID != p.ID || len(m.Files) == 0 || m.Files[0].ID != up.ID || len(m.Attachments) != 1 {
			t.Fatalf("got %+v", m)
		}
		if f.name == "pixel.png" && m.Attachments[0].ImageURL == "" {
			t.Errorf("the picture: %+v", m.Attachments[0])
		}
		d, err := other.Download(t.Context(), m.Attachments[0].TitleLink, int64(len(f.data)))
		w.ok(err)
		got, err := io.ReadAll(d.Body)
		w.ok(errors.Join(err, d.Body.Close()))
		if !bytes.Equal(got, f.data) || d.Size >= 0 && d.Size != int64(len(f.data)) || !strings.Contains(d.Type, "/") {
			t.Errorf("%s: %d bytes of %s came back, announced %d", f.name, len(got), d.Type, d.Size)
		}
		found, ok, err := other.MessageWithFile(t.Context(), r.ID, up.ID, m.Time.Add(-time.Second))
		w.ok(err)
		if !ok || found.ID != m.ID {
			t.Errorf("looking for it: %v %+v", ok, found)
		}
	}
	thread := w.say(p, r.ID, "root")
	up, err := p.UploadMedia(t.Context(), r.ID, rocketchat.Media{Name: "a.txt", Type: "text/plain", Size: 4, Body: strings.NewReader("text")})
	w.ok(err)
	m, err := p.ConfirmMedia(t.Context(), r.ID, up.ID, rocketchat.MediaMessage{Thread: thread.ID})
	w.ok(err)
	if m.ThreadID != thread.ID || m.File.Name != "a.txt" {
		t.Errorf("in a thread: %+v", m)
	}
	up, err = p.UploadMedia(t.Context(), r.ID, rocketchat.Media{Name: "a.txt", Type: "text/plain", Size: 4, Body: strings.NewReader("text")})
	w.ok(err)
	m, err = p.ConfirmMedia(t.Context(), r.ID, up.ID, rocketchat.MediaMessage{FileName: "b.txt"})
	if !w.Expect(t).FileNameInConfirm {
		w.refused(err, http.StatusBadRequest)
	} else if w.ok(err); m.File.Name != "b.txt" {
		t.Errorf("under another name: %+v", m)
	}
	_, ok, err := p.MessageWithFile(t.Context(), r.ID, w.Name("file"), time.UnixMilli(0))
	if ok || err != nil {
		t.Errorf("a file that is not there: %v %v", ok, err)
	}
}

func text(s string) rocketchat.Media {
	return rocketchat.Media{Name: "a.txt", Type: "text/plain", Size: int64(len(s)), Body: strings.NewReader(s)}
}

func TestRefusedFiles(t *testing.T) {
	w := begin(t)
	p, other, stranger := w.puppet(), w.puppet(), w.puppet()
	r := w.group(p, other)
	_, err := stranger.UploadMedia(t.Context(), r.ID, text("text"))
	w.refused(err, http.StatusForbidden)
	_, err = p.UploadMedia(t.Context(), w.Name("room"), text("text"))
	w.refused(err, http.StatusForbidden)
	_, err = p.UploadMedia(t.Context(), r.ID, rocketchat.Media{Name: "a.svg", Type: "image/svg+xml", Size: 6, Body: strings.NewReader("<svg/>")})
	w.refused(err, http.StatusBadRequest, "error-invalid-file-type")
	up, err := p.UploadMedia(t.Context(), r.ID, text("text"))
	w.ok(err)
	if !w.Expect(t).OthersConfirm {
		_, err = other.ConfirmMedia(t.Context(), r.ID, up.ID, rocketchat.MediaMessage{})
		w.refused(err, http.StatusBadRequest, "invalid-file")
	}
	_, err = p.ConfirmMedia(t.Context(), r.ID, w.Name("file"), rocketchat.MediaMessage{})
	w.refused(err, http.StatusBadRequest, "invalid-file")
	equal(t, w.said(p, r.ID), nil, "messages")

	_, err = stranger.Download(t.Context(), up.Path, 100)
	w.refused(err, http.StatusForbidden)
	_, err = p.As(p.ID, secret.New("wrong")).Download(t.Context(), up.Path, 100)
	w.refused(err, http.StatusForbidden)
	_, err = p.Download(t.Context(), "/file-upload/"+w.Name("file")+"/a.txt", 100)
	w.refused(err, http.StatusNotFound)
}

// The server lists the files of a room, so that an upload to another room is detected.
// The wanted file may be older than a page.
func TestARoomTellsItsFiles(t *testing.T) {
	w := begin(t)
	p, other := w.puppet(), w.puppet()
	here, there := w.group(p, other), w.group(p, other)
	show := func(room, name string) string {
		up, err := p.UploadMedia(t.Context(), room, rocketchat.Media{Name: name, Type: "text/plain", Size: 4, Body: strings.NewReader("text")})
		w.ok(err)
		_, err = p.ConfirmMedia(t.Context(), room, up.ID, rocketchat.MediaMessage{})
		w.ok(err)
		return up.ID
	}
	foreign, old := show(there.ID, "plan (1).txt"), show(here.ID, "plan (1).txt")
	has := func(file, name string, want bool) {
		t.Helper()
		got, err := other.RoomHasUpload(t.Context(), rocketchat.Group, here.ID, file, name)
		w.ok(err)
		if got != want {
			t.Errorf("the room has %s: %v, want %v", file, got, want)
		}
	}
	has(old, "another name.txt", true)
	has(foreign, "plan (1).txt", false)
	for range 101 {
		show(here.ID, "new.txt")
	}
	has(old, "plan (1).txt", true)
	has(foreign, "plan (1).txt", false)
	_, err := w.puppet().RoomHasUpload(t.Context(), rocketchat.Group, here.ID, old, "plan (1).txt")
	w.refused(err, http.StatusBadRequest)
}

func TestASizeThatIsALieFailsTheUpload(t *testing.T) {
	w := begin(t)
	p := w.puppet()
	r := w.group(p)
	for _, size := range []int64{0, 99, 1 << 20} {
		f := text(strings.Repeat("a", 100))
		f.Size = size
		if _, err := p.UploadMedia(t.Context(), r.ID, f); !errors.Is(err, rocketchat.ErrSize) {
			t.Errorf("100 bytes as %d: %v", size, err)
		}
	}
	broken := errors.New("the source is broken")
	f := rocketchat.Media{Name: "a.txt", Type: "text/plain", Size: -1, Body: io.MultiReader(strings.NewReader("half"), failing{broken})}
	if _, err := p.UploadMedia(t.Context(), r.ID, f); !errors.Is(err, broken) {
		t.Errorf("got %v", err)
	}
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

func TestAFileTooLargeForTheServer(t *testing.T) {
	t.Parallel()
	s := alone(t)
	s.Set("FileUpload_MaxFileSize", 10)
	ada := s.CreateUser("ada", "user", "bot")
	c := rocketchat.New(s.URL, ada.ID, secret.New(ada.Token))
	_, err := c.UploadMedia(t.Context(), s.CreateRoom("p", "files", "ada"), text("more than ten bytes"))
	if rocketchat.Status(err) != http.StatusBadRequest || !rocketchat.Says(err, "error-file-too-large") {
		t.Errorf("got %v", err)
	}
}

func TestALostAnswerToConfirmMediaMakesOneMessage(t *testing.T) {
	w := begin(t)
	s := w.Server(t)
	p := w.puppet()
	r := w.group(p)
	up, err := p.UploadMedia(t.Context(), r.ID, text("text"))
	w.ok(err)
	confirm := "POST /api/v1/rooms.mediaConfirm/" + r.ID + "/" + up.ID
	s.FailNext(confirm, 502, "bad gateway")
	_, err = p.ConfirmMedia(t.Context(), r.ID, up.ID, rocketchat.MediaMessage{Text: "once"})
	w.refused(err, http.StatusBadGateway)
	_, ok, err := p.MessageWithFile(t.Context(), r.ID, up.ID, time.UnixMilli(0))
	w.ok(err)
	equal(t, ok, false, "whether it is there")
	s.LoseNext(confirm)
	m, err := p.ConfirmMedia(t.Context(), r.ID, up.ID, rocketchat.MediaMessage{Text: "once"})
	w.ok(err)
	equal(t, m.File.ID, up.ID, "file")
	equal(t, w.said(p, r.ID), []string{"once"}, "messages")
}

func TestOnlyUploadedFilesAreDownloaded(t *testing.T) {
	asked := 0
	_, c := answered(t, func(rw http.ResponseWriter, r *http.Request) {
		asked++
		if r.URL.RequestURI() != "/file-upload/id/a%20b%3F.txt" {
			t.Errorf("asked for %s", r.URL.RequestURI())
		}
		io.WriteString(rw, "text")
	})
	for _, link := range []string{"", "/", "/api/v1/me", "file-upload/id/a", "/file-upload", "/file-upload/../api/v1/me", "/file-upload/%2e%2e/api/v1/me", "/file-upload/..%2f..%2fapi/v1/me", "/file-upload/..%2Fapi/v1/me",
		"/file-upload/a//b", "//evil.example/x", "javascript:alert(1)", "http://evil.example/", "/file-upload/a\x00b", "/avatar/x"} {
		if _, err := c.Download(t.Context(), link, 10); err == nil || rocketchat.Status(err) != 0 {
			t.Errorf("%q: %v", link, err)
		}
	}
	for _, link := range []string{"/file-upload/id/a%20b%3F.txt", "https://chat.example.org/file-upload/id/a%20b%3F.txt?token=x#y"} {
		d, err := c.Download(t.Context(), link, 10)
		if err != nil {
			t.Fatal(err)
		}
		d.Body.Close()
	}
	equal(t, asked, 2, "times asked")
}

func TestADownloadEndsAtItsLimit(t *testing.T) {
	endless := false
	_, c := answered(t, func(rw http.ResponseWriter, _ *http.Request) {
		if !endless {
			rw.Header().Set("Content-Length", "1000")
			io.CopyN(rw, zeros{}, 1000)
			return
		}
		io.Copy(rw, zeros{})
	})
	if _, err := c.Download(t.Context(), "/file-upload/id/a", 999); !errors.Is(err, rocketchat.ErrTooLarge) {
		t.Errorf("announced: %v", err)
	}
	endless = true
	d, err := c.Download(t.Context(), "/file-upload/id/a", 999)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Body.Close()
	got, err := io.ReadAll(d.Body)
	if len(got) != 999 || !errors.Is(err, rocketchat.ErrTooLarge) {
		t.Errorf("without end: %d bytes, %v", len(got), err)
	}
}

func TestAnObjectStoreDoesNotSeeTheToken(t *testing.T) {
	store := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if r.Header.Get("X-Auth-Token") != "" || r.Header.Get("X-User-Id") != "" {
			t.Error("the store saw the token")
		}
		io.WriteString(rw, "from the store")
	}))
	t.Cleanup(store.Close)
	_, c := answered(t, func(rw http.ResponseWriter, r *http.Request) {
		if r.Header.Get("X-Auth-Token") == "" {
			t.Error("the server did not see the token")
		}
		http.Redirect(rw, r, store.URL+"/signed", http.StatusFound)
	})
	d, err := c.Download(t.Context(), "/file-upload/id/a.txt", 100)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Body.Close()
	got, err := io.ReadAll(d.Body)
	if err != nil || string(got) != "from the store" {
		t.Errorf("got %q, %v", got, err)
	}
}

func TestATransferThatStandsStillEnds(t *testing.T) {
	release := make(chan struct{})
	t.Cleanup(func() { close(release) })
	_, c := answered(t, func(rw http.ResponseWriter, r *http.Request) {
		rw.(http.Flusher).Flush()
		io.WriteString(rw, "a beginning")
		rw.(http.Flusher).Flush()
		select {
		case <-r.Context().Done():
		case <-release:
		}
	})
	c = c.WithPatience(50 * time.Millisecond)
	d, err := c.Download(t.Context(), "/file-upload/id/a.txt", 100)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Body.Close()
	time.Sleep(100 * time.Millisecond) // the reader may take its time
	got, err := io.ReadAll(d.Body)
	if string(got) != "a beginning" || !errors.Is(err, rocketchat.ErrStalled) {
		t.Errorf("download: %q, %v", got, err)
	}
	r, w := io.Pipe() // nobody writes
	defer w.Close()
	if _, err := c.UploadMedia(t.Context(), "r", rocketchat.Media{Name: "a", Size: -1, Body: r}); !errors.Is(err, rocketchat.ErrStalled) {
		t.Errorf("upload: %v", err)
	}
	if _, err := r.Read(nil); !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("the body is still open: %v", err)
	}
	r, w2 := io.Pipe()
	defer w2.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if _, err := c.UploadMedia(ctx, "r", rocketchat.Media{Name: "a", Size: -1, Body: r}); !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, rocketchat.ErrStalled) {
		t.Errorf("cancelled upload: %v", err)
	}
}

// zeros is an endless file.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

func TestALargeFileTakesLittleMemory(t *testing.T) {
	const size = 200 << 20
	s := rctest.Server{Simulator: true, Polite: true, OnRequest: func(rw http.ResponseWriter, r *http.Request) bool {
		if r.Method == http.MethodGet {
			io.CopyN(rw, zeros{}, size)
			return true
		}
		io.Copy(io.Discard, r.Body)
		io.WriteString(rw, `{"success":true,"file":{"_id":"f","url":"/file-upload/f/a"}}`)
		return true
	}}
	s.Start(t)
	c := rocketchat.New(s.URL, "me", secret.New("token"))
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	d, err := c.Download(t.Context(), "/file-upload/f/a", size)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Body.Close()
	up, err := c.UploadMedia(t.Context(), "r", rocketchat.Media{Name: "a", Size: -1, Body: d.Body})
	runtime.ReadMemStats(&after)
	if err != nil || up.ID != "f" {
		t.Fatalf("got %+v, %v", up, err)
	}
	if used := after.TotalAlloc - before.TotalAlloc; used > 8<<20 {
		t.Errorf("200 MB both ways took %d bytes of memory", used)
	}
}
