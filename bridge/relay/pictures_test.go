package relay_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"image"
	"image/jpeg"
	"image/png"
	"io"
	"strings"
	"testing"
	"time"

	"appliance/bridge/convert"
	"appliance/bridge/event"
	"appliance/bridge/ids"
	"appliance/bridge/queue"
	"appliance/bridge/relay/model"
)

// fileChat is a Rocket.Chat with one file.
type fileChat struct {
	*chat
	data []byte
}

func (c fileChat) HasUpload(context.Context, model.Portal, string, string) (bool, error) {
	return true, nil
}

func (c fileChat) Open(context.Context, model.Portal, string, int64) (model.Media, error) {
	return model.Media{Size: int64(len(c.data)), Body: io.NopCloser(bytes.NewReader(c.data))}, nil
}

func (c fileChat) Avatar(context.Context, string, int64) ([]byte, error) { return c.data, nil }

// fileMatrix accepts files and shows what it was sent.
type fileMatrix struct{ *matrix }

func (fileMatrix) Limits(context.Context) (model.Limits, error) {
	return model.Limits{File: 1 << 30}, nil
}

func (fileMatrix) Upload(_ context.Context, _ ids.MXUser, m model.Media) (string, error) {
	_, err := io.Copy(io.Discard, m.Body)
	return "mxc://here.org/file", err
}

func (m fileMatrix) Send(_ context.Context, _ ids.MXRoom, _ ids.MXUser, _ string, _ time.Time, c convert.Content) (ids.MXEvent, error) {
	if c.Info == nil {
		return ids.MXEvent("$" + c.Source), nil
	}
	return ids.MXEvent("$" + c.Source), m.do("%s %dx%d", c.MsgType, c.Info.Width, c.Info.Height)
}

func (m fileMatrix) SetAvatar(_ context.Context, ghost ids.MXUser, mxc string) error {
	return m.do("%s has the picture %q", ghost, mxc)
}

// large returns pictures of 700 by 500 pixels, as a camera and a browser make them.
func large(t *testing.T) map[string][]byte {
	t.Helper()
	picture := image.NewGray(image.Rect(0, 0, 700, 500))
	var asPNG, asJPEG bytes.Buffer
	if err := png.Encode(&asPNG, picture); err != nil {
		t.Fatal(err)
	}
	if err := jpeg.Encode(&asJPEG, picture, nil); err != nil {
		t.Fatal(err)
	}
	// A camera's metadata comes first: as much as fits.
	camera := append([]byte{0xff, 0xd8, 0xff, 0xe1, 0xff, 0xff}, make([]byte, 0xfffd)...)
	webp, err := base64.StdEncoding.DecodeString("UklGRh4AAABXRUJQVlA4TBEAAAAvu8J8AAdQ//73v/+BiOh/AAA=")
	if err != nil {
		t.Fatal(err)
	}
	return map[string][]byte{"a.png": asPNG.Bytes(), "a.jpg": append(camera, asJPEG.Bytes()[2:]...), "a.webp": webp}
}

// A picture larger than Rocket.Chat's thumbnail of it has its own width and height
// on Matrix.
func TestALargePictureHasItsOwnSize(t *testing.T) {
	for name, data := range large(t) {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			b.RC, b.MX = fileChat{b.rc, data}, fileMatrix{b.mx}
			b.run()
			kind := "image/" + strings.Replace(name[2:], "jpg", "jpeg", 1)
			payload := fmt.Sprintf(`{"_id":"m","rid":"room","msg":"","ts":"2026-01-01T00:00:00.000Z","u":{"_id":"alice","username":"alice","name":"ALICE"},
				"files":[{"_id":"f","name":%[1]q,"type":%[2]q,"size":%[3]d},{"_id":"t","name":"thumb-%[1]s","type":%[2]q}],"file":{"_id":"f","name":%[1]q,"type":%[2]q},
				"attachments":[{"type":"file","title":%[1]q,"title_link":"/file-upload/f/%[1]s","image_url":"/file-upload/t/%[1]s","image_dimensions":{"width":480,"height":343}}]}`,
				name, kind, len(data))
			b.must(b.Accept(t.Context(), []queue.Item{{ID: "rc:m", Lane: model.RCLane(rcRoom), Kind: event.KindRCMessage, Payload: []byte(payload)}}, nil))
			b.wait("the picture", func() bool { return strings.Contains(strings.Join(b.mx.log(), "\n"), "m.image") })
			if got := strings.Join(b.mx.log(), "\n"); !strings.Contains(got, "m.image 700x500") {
				t.Errorf("on Matrix: %s", got)
			}
		})
	}
}

// If Rocket.Chat returns a letter instead of a user's picture, as it does when it
// rejects the token, the picture on Matrix stays.
func TestALetterDoesNotWipeAPicture(t *testing.T) {
	b := newBench(t)
	svg := `<?xml version="1.0" encoding="UTF-8" standalone="no"?><svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 200 200"><text>A</text></svg>`
	b.RC, b.MX = fileChat{b.rc, []byte(svg)}, fileMatrix{b.mx}
	alice := b.rc.people["alice"]
	alice.Avatar = "new"
	b.rc.people["alice"] = alice
	b.must(b.Store.MoveCursor(t.Context(), model.AvatarCursor("alice"), "old"))
	b.run()
	b.must(b.Accept(t.Context(), []queue.Item{model.RCPersonItem("alice", "has another picture")}, nil))
	b.wait("a look at alice", func() bool {
		n, err := b.Store.Waiting(t.Context(), "rc:people alice")
		return err == nil && n == 0
	})
	if got := strings.Join(b.mx.log(), "\n"); strings.Contains(got, "has the picture") {
		t.Errorf("on Matrix: %s", got)
	}
	if known, err := b.Store.Cursor(t.Context(), model.AvatarCursor("alice")); err != nil || known != "old" {
		t.Errorf("the picture %q is taken for copied (%v)", known, err)
	}
}
