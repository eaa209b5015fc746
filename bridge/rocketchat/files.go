package rocketchat

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"net/textproto"
	"net/url"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"appliance/bridge/stall"
)

// patience is how long an upload or a download may go without a single byte.
const patience = time.Minute

var (
	// ErrTooLarge is wrapped by the errors of Download, and of reading its Body,
	// when a file exceeds the caller's limit.
	ErrTooLarge = errors.New("the file is larger than allowed")

	// ErrSize is wrapped by UploadMedia when the size of a file is not the announced one.
	ErrSize = errors.New("the file has another size than announced")

	// ErrNoUpload is returned by Download for a link that does not point to an
	// uploaded file.
	ErrNoUpload = errors.New("rocketchat: the link does not lead to an uploaded file")

	// ErrStalled is wrapped by the errors of UploadMedia, and of reading the Body
	// of a download, when no more data moves.
	ErrStalled = errors.New("the transfer stands still")
)

// Media is a file in transit. It is read once, on demand. Whatever takes a Media
// closes a Body that is an io.Closer, even on errors; a Body that can block must be
// one, because nothing else ends its Read.
type Media struct {
	Name string
	Type string // "image/png"; an invalid type becomes "application/octet-stream"
	Size int64  // -1 when unknown; a mismatch with Body fails the call
	Body io.Reader
}

// An Upload is a file that no message shows yet; the server keeps it for a day.
type Upload struct {
	ID   string `json:"_id"`
	Path string `json:"url"`
}

// UploadMedia calls POST rooms.media: the first half of sending a file.
func (c *Client) UploadMedia(ctx context.Context, rid string, f Media) (Upload, error) {
	var out struct {
		File Upload `json:"file"`
	}
	err := c.multipart(ctx, "rooms.media/"+url.PathEscape(rid), "file", f, &out)
	if err == nil && out.File.ID == "" {
		err = fmt.Errorf("rocketchat: POST /api/v1/rooms.media/%s: unexpected answer: no file", rid)
	}
	return out.File, err
}

// MediaMessage is the content of a message besides its file.
type MediaMessage struct {
	Text        string `json:"msg,omitempty"`
	Thread      string `json:"tmid,omitempty"`
	Description string `json:"description,omitempty"` // the caption as older clients show it
	FileName    string `json:"fileName,omitempty"`
}

// ConfirmMedia calls POST rooms.mediaConfirm as the user who uploaded the file: the
// second half of sending a file, which creates the message. The server creates one
// per call; ConfirmMedia therefore looks for the message when the response is lost,
// and a caller that retries later must check with MessageWithFile first.
func (c *Client) ConfirmMedia(ctx context.Context, rid, fileID string, m MediaMessage) (Message, error) {
	var out struct {
		Message Message `json:"message"`
	}
	started := time.Now()
	err := c.post(ctx, "rooms.mediaConfirm/"+url.PathEscape(rid)+"/"+url.PathEscape(fileID), m, &out)
	if err == nil || certain(err) || ctx.Err() != nil {
		return out.Message, err
	}
	found, ok, lookErr := c.MessageWithFile(ctx, rid, fileID, started.Add(-10*time.Minute))
	switch {
	case lookErr != nil:
		return Message{}, errors.Join(err, lookErr)
	case !ok || found.User.ID != c.userID:
		return Message{}, err
	}
	return found, nil
}

// certain reports whether err proves that nothing was done.
func certain(err error) bool {
	s := Status(err)
	return s >= 400 && s < 500 && s != http.StatusRequestTimeout
}

// A Download is a file being received from the server. The caller closes the Body.
type Download struct {
	Name string // "" when the server sends none
	Type string // as claimed by the server, not to be trusted
	Size int64  // -1 when unknown
	Body io.ReadCloser
}

// Download fetches a file as the caller, who must be a member of its room. link is
// the link in an attachment ("/file-upload/<id>/<name>"); of a full URL only the
// path is used, so that no other server is ever contacted. A file of more than
// limit bytes fails with ErrTooLarge, before or while it is read.
func (c *Client) Download(ctx context.Context, link string, limit int64) (*Download, error) {
	p, err := filePath(link)
	if err != nil {
		return nil, err
	}
	ctx, w := stall.New(ctx, c.patience, ErrStalled)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.base+p, nil)
	if err != nil {
		w.Stop()
		return nil, fmt.Errorf("rocketchat: GET %s: %w", p, err)
	}
	req.Header.Set("Accept-Encoding", "identity")
	c.sign(req)
	res, err := c.stream.Do(req) //nolint:bodyclose // closed with the download that has it
	if err != nil {
		w.Stop()
		return nil, fmt.Errorf("rocketchat: GET %s: %w", p, why(w, err))
	}
	w.Rest()
	body := &downloadBody{path: p, src: res.Body, watch: w, left: limit}
	switch {
	case res.StatusCode != http.StatusOK:
		w.Moved()
		data, _ := io.ReadAll(io.LimitReader(body.src, 4096))
		err = refusal(http.MethodGet, p, res, data)
	case res.ContentLength > limit:
		err = body.fail(ErrTooLarge)
	}
	if err != nil {
		_ = body.Close()
		return nil, err
	}
	d := &Download{Type: mediaType(res.Header.Get("Content-Type")), Size: res.ContentLength, Body: body}
	if _, params, err := mime.ParseMediaType(res.Header.Get("Content-Disposition")); err == nil {
		d.Name = params["filename"]
	}
	return d, nil
}

// filePath returns the path of an uploaded file, escaped for the request.
func filePath(link string) (string, error) {
	u, err := url.Parse(link)
	if err != nil || !strings.HasPrefix(u.Path, "/file-upload/") || path.Clean(u.Path) != u.Path {
		return "", ErrNoUpload
	}
	return u.EscapedPath(), nil
}

// maxRoomFiles bounds how many files of a room RoomHasUpload checks.
const maxRoomFiles = 5000

// RoomHasUpload reports whether an upload belongs to a room that the caller may
// read, using channels.files, groups.files or im.files. A message is no proof: the
// method sendFileMessage accepts the ID of any upload. The newest files are checked
// first, then those with the name of the file, up to maxRoomFiles of them.
func (c *Client) RoomHasUpload(ctx context.Context, roomType, rid, fileID, name string) (bool, error) {
	q := url.Values{"roomId": {rid}, "sort": {`{"uploadedAt":-1}`}, "count": {strconv.Itoa(page)}}
	for offset := 0; offset <= maxRoomFiles; offset += page {
		var out struct {
			Files []Upload `json:"files"`
		}
		if err := c.get(ctx, family(roomType)+".files", q, &out); err != nil {
			return false, err
		}
		if slices.ContainsFunc(out.Files, func(f Upload) bool { return f.ID == fileID }) {
			return true, nil
		}
		if len(out.Files) < page {
			return false, nil
		}
		q.Set("name", longestWord(name))
		q.Set("offset", strconv.Itoa(offset))
	}
	return false, nil
}

// longestWord returns the longest run of ASCII letters and digits in a name.
// Servers treat the filter as a regular expression, which only some of them escape:
// such a run means the same in both cases.
func longestWord(name string) (longest string) {
	words := strings.FieldsFunc(name, func(r rune) bool {
		return (r < '0' || r > '9') && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z')
	})
	for _, w := range words {
		if len(w) > len(longest) {
			longest = w
		}
	}
	return longest
}

// multipart posts one file as a form with one part. Only the form around the file
// is held in memory.
func (c *Client) multipart(ctx context.Context, endpoint, field string, f Media, out any) error {
	ctx, w := stall.New(ctx, c.patience, ErrStalled)
	defer w.Stop()
	defer closeWith(ctx, f.Body)()
	p := "/api/v1/" + endpoint
	var frame bytes.Buffer
	form := multipart.NewWriter(&frame)
	_, err := form.CreatePart(textproto.MIMEHeader{
		"Content-Disposition": {multipart.FileContentDisposition(field, fileName(f.Name))},
		"Content-Type":        {mediaType(f.Type)},
	})
	head := frame.Len()
	if err = errors.Join(err, form.Close()); err != nil {
		return fmt.Errorf("rocketchat: POST %s: %w", p, err)
	}
	data := frame.Bytes()
	body := io.MultiReader(bytes.NewReader(data[:head]), &source{media: f, watch: w}, bytes.NewReader(data[head:]))
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.base+p, body)
	if err != nil {
		return fmt.Errorf("rocketchat: POST %s: %w", p, err)
	}
	req.Header.Set("Content-Type", form.FormDataContentType())
	if f.Size >= 0 {
		req.ContentLength = int64(len(data)) + f.Size
	}
	return why(w, c.do(c.stream, req, p, out))
}

// closeWith closes r when ctx ends, or when the function it returns is called.
func closeWith(ctx context.Context, r io.Reader) func() {
	closer, ok := r.(io.Closer)
	if !ok {
		return func() {}
	}
	stop := context.AfterFunc(ctx, func() { _ = closer.Close() })
	return func() {
		if stop() {
			_ = closer.Close()
		}
	}
}

// fileName removes what is not allowed in a header.
func fileName(name string) string {
	name = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return -1
		}
		return r
	}, strings.ToValidUTF8(name, ""))
	if name == "" {
		return "file"
	}
	return name
}

// mediaType returns s when it is a content type.
func mediaType(s string) string {
	if kind, params, err := mime.ParseMediaType(s); err == nil && strings.Contains(kind, "/") {
		if full := mime.FormatMediaType(kind, params); full != "" {
			return full
		}
	}
	return "application/octet-stream"
}

// why prefixes err with the reason for which the transfer was ended, if that is
// what caused err.
func why(w *stall.Watch, err error) error {
	cause := w.Cause()
	if err == nil || cause == nil || Status(err) != 0 || errors.Is(err, cause) {
		return err
	}
	return fmt.Errorf("%w (%v)", cause, withoutURL(err)) //nolint:errorlint // the cause alone decides what happens next
}

// source reads a file being uploaded. A file whose size is not the announced one fails
// before the form around it is complete, so that it is never taken for a whole file.
type source struct {
	media Media
	watch *stall.Watch
	read  int64
}

func (s *source) Read(p []byte) (int, error) {
	n, err := s.media.Body.Read(p)
	s.watch.Moved()
	s.read += int64(n)
	if size := s.media.Size; size >= 0 && (s.read > size || errors.Is(err, io.EOF) && s.read < size) {
		return 0, ErrSize
	}
	return n, err
}

// downloadBody reads at most left bytes and is cut off when no data arrives.
type downloadBody struct {
	path  string
	src   io.ReadCloser
	watch *stall.Watch
	left  int64
}

func (b *downloadBody) Read(p []byte) (int, error) {
	b.watch.Moved()
	n, err := b.src.Read(p)
	b.watch.Rest() // the reader may take its time
	if b.left -= int64(n); b.left < 0 {
		return max(n+int(b.left), 0), b.fail(ErrTooLarge)
	}
	if err != nil && !errors.Is(err, io.EOF) {
		return n, b.fail(why(b.watch, err))
	}
	return n, err
}

func (b *downloadBody) fail(err error) error {
	return fmt.Errorf("rocketchat: GET %s: %w", b.path, err)
}

func (b *downloadBody) Close() error {
	b.watch.Stop()
	return b.src.Close()
}
