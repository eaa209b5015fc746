package mxside

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"time"

	"maunium.net/go/mautrix"
	"maunium.net/go/mautrix/id"

	"appliance/bridge/ids"
	"appliance/bridge/relay/model"
	"appliance/bridge/stall"
)

const (
	// patience is how long a transfer may go without a byte.
	patience = time.Minute
	// defaultUpload is the limit assumed for a homeserver that does not report one:
	// Dendrite's default.
	defaultUpload = 10 << 20
)

// errStalled ends a transfer that has stalled.
var errStalled = errors.New("the transfer stands still")

// files moves the content of files to and from the homeserver.
type files struct {
	*client
	limits model.RememberedLimits
}

// Limits implements relay.Matrix: GET /_matrix/client/v1/media/config, or the
// path it had before Matrix 1.11.
func (f *files) Limits(ctx context.Context) (model.Limits, error) {
	return f.limits.Get(func() (model.Limits, error) { return f.askLimits(ctx) })
}

func (f *files) askLimits(ctx context.Context) (model.Limits, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	c := f.as(f.bot())
	var out struct {
		Size *float64 `json:"m.upload.size"`
	}
	_, err := c.MakeRequest(ctx, http.MethodGet, c.BuildURL(mautrix.ClientURLPath{"v1", "media", "config"}), nil, &out)
	if errors.Is(side(err), model.ErrNotFound) || errors.Is(err, mautrix.MUnrecognized) {
		_, err = c.MakeRequest(ctx, http.MethodGet, c.BuildURL(mautrix.MediaURLPath{"v3", "config"}), nil, &out)
	}
	if err != nil {
		return model.Limits{}, side(err)
	}
	known := model.Limits{File: defaultUpload}
	if out.Size != nil && *out.Size > 0 && *out.Size < 1<<50 {
		known.File = int64(*out.Size)
	}
	return known, nil
}

// Upload implements relay.Matrix: POST /_matrix/media/v3/upload. Homeservers want
// to know the size in advance, so a file of unknown size goes through a temporary
// file.
func (f *files) Upload(ctx context.Context, as ids.MXUser, m model.Media) (string, error) {
	if m.Size < 0 {
		whole, err := spool(m)
		if err != nil {
			return "", err
		}
		m = whole
	}
	defer func() { _ = m.Body.Close() }()
	ctx, w := watching(ctx)
	defer w.Stop()
	c := f.as(as)
	target := c.BuildURLWithQuery(mautrix.MediaURLPath{"v3", "upload"}, map[string]string{"filename": m.Name, "user_id": string(as)})
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, target, &moving{r: m.Body, left: m.Size, watch: w})
	if err != nil {
		return "", fmt.Errorf("%w: %w", model.ErrRefused, plain(err))
	}
	if req.ContentLength = m.Size; m.Size == 0 {
		req.Body = http.NoBody
	}
	req.Header.Set("Authorization", "Bearer "+f.token.Reveal())
	req.Header.Set("Content-Type", m.Type)
	res, err := f.http.Do(req)
	if err != nil {
		return "", why(w, err)
	}
	defer func() { _ = res.Body.Close() }()
	var out struct {
		URI string `json:"content_uri"`
	}
	if err := refusal(res); err != nil {
		return "", err
	}
	if err := json.NewDecoder(io.LimitReader(res.Body, 1<<16)).Decode(&out); err != nil || out.URI == "" {
		return "", fmt.Errorf("the homeserver %w: an upload was answered with no address", model.ErrUnavailable)
	}
	return out.URI, nil
}

// Download implements relay.Matrix: GET /_matrix/client/v1/media/download, which
// requires authentication, or the path it had before Matrix 1.11.
func (f *files) Download(ctx context.Context, mxc string, limit int64, patience time.Duration) (model.Media, error) {
	uri, err := id.ParseContentURI(mxc)
	if err != nil || uri.IsEmpty() {
		return model.Media{}, fmt.Errorf("%w: the address of the file is not one", model.ErrRefused)
	}
	c := f.as(f.bot())
	media, err := f.download(ctx, c.BuildURL(mautrix.ClientURLPath{"v1", "media", "download", uri.Homeserver, uri.FileID}), limit, patience)
	if errors.Is(err, errUnrecognized) {
		media, err = f.download(ctx, c.BuildURL(mautrix.MediaURLPath{"v3", "download", uri.Homeserver, uri.FileID}), limit, patience)
	}
	return media, err
}

func (f *files) download(ctx context.Context, address string, limit int64, patience time.Duration) (model.Media, error) {
	ctx, w := stall.New(ctx, patience, model.ErrSlow)
	body, err := f.get(ctx, w, address) //nolint:bodyclose // the reader of the file closes it; see source.Close
	if err != nil {
		w.Stop()
		return model.Media{}, err
	}
	m := model.Media{Type: body.Header.Get("Content-Type"), Size: body.ContentLength}
	src := &source{from: bufio.NewReaderSize(body.Body, 4096), body: body.Body, watch: w, left: limit}
	m.Body = src
	switch wait, isError := f.answeredWithError(body, src.from); {
	case m.Size > limit:
		err = model.ErrTooLarge
	case isError:
		err = &model.WaitError{After: wait, Err: errors.New("the homeserver answered a download with an error")}
	}
	if err != nil {
		_ = src.Close()
		return model.Media{}, err
	}
	return m, nil
}

// get starts a download. A homeserver that has to fetch the file from another
// server answers with 504 or 404 if that server does not respond.
func (f *files) get(ctx context.Context, w *stall.Watch, address string) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", model.ErrRefused, plain(err))
	}
	req.Header.Set("Authorization", "Bearer "+f.token.Reveal())
	res, err := f.http.Do(req)
	if err != nil {
		return nil, why(w, err)
	}
	w.Moved()
	if err := refusal(res); err != nil {
		_ = res.Body.Close()
		return nil, err
	}
	return res, nil
}

// answeredWithError recognises an error that is sent as a file; see Traits.DisguisesErrors.
func (f *files) answeredWithError(res *http.Response, body *bufio.Reader) (time.Duration, bool) {
	if !f.traits.DisguisesErrors || res.ContentLength > 4096 || res.Header.Get("Content-Disposition") != "" {
		return 0, false
	}
	head, _ := body.Peek(4096)
	var said struct {
		Code *int
		JSON *struct {
			Errcode string `json:"errcode"`
			Retry   int64  `json:"retry_after_ms"`
		}
	}
	dec := json.NewDecoder(bytes.NewReader(head))
	if dec.Decode(&said) != nil || said.Code == nil || said.JSON == nil || *said.Code < 400 {
		return 0, false
	}
	return max(time.Second, min(time.Duration(said.JSON.Retry)*time.Millisecond, time.Minute)), true
}

// spool copies a file of unknown size into a temporary one.
func spool(m model.Media) (model.Media, error) {
	defer func() { _ = m.Body.Close() }()
	f, err := os.CreateTemp("", "appliance-media-")
	if err != nil {
		return model.Media{}, err
	}
	_ = os.Remove(f.Name()) // it lives as long as it is open
	if m.Size, err = io.Copy(f, m.Body); err == nil {
		_, err = f.Seek(0, io.SeekStart)
	}
	if err != nil {
		_ = f.Close()
		return model.Media{}, fmt.Errorf("keep a file: %w", err)
	}
	m.Body = f
	return m, nil
}

func watching(ctx context.Context) (context.Context, *stall.Watch) {
	return stall.New(ctx, patience, errStalled)
}

// why distinguishes a transfer that failed on its own from one that was aborted.
func why(w *stall.Watch, err error) error {
	var size *sizeError
	switch cause := w.Cause(); {
	case errors.As(err, &size):
		return fmt.Errorf("%w: %w", model.ErrUnavailable, size)
	case errors.Is(err, model.ErrUnavailable), errors.Is(err, model.ErrRefused), errors.Is(err, model.ErrNotFound), errors.Is(err, model.ErrSlow):
		return plain(err) // the error from reading the file
	case cause != nil && (errors.Is(cause, context.Canceled) || errors.Is(cause, model.ErrSlow)):
		return cause
	case cause != nil:
		return fmt.Errorf("the homeserver %w: %w", model.ErrUnavailable, cause)
	}
	return side(err)
}

// A sizeError reports that a file does not have the announced size.
type sizeError struct{ want, got int64 }

func (e *sizeError) Error() string {
	return "the file has " + strconv.FormatInt(e.got, 10) + " bytes or more, and was announced with " + strconv.FormatInt(e.want, 10)
}

// moving reads a file that is being sent, and fails if the size differs from the
// announced one, so that nobody takes the file for complete.
type moving struct {
	r     io.Reader
	left  int64
	read  int64
	watch *stall.Watch
}

func (m *moving) Read(p []byte) (int, error) {
	n, err := m.r.Read(p)
	m.watch.Moved()
	m.read += int64(n)
	if m.left -= int64(n); m.left < 0 || errors.Is(err, io.EOF) && m.left > 0 {
		return 0, &sizeError{want: m.read + m.left, got: m.read}
	}
	return n, err
}

// source is a download: it returns no more than left bytes, and is cut off when
// nothing arrives.
type source struct {
	from  *bufio.Reader
	body  io.Closer
	watch *stall.Watch
	left  int64
}

func (s *source) Read(p []byte) (int, error) {
	s.watch.Moved()
	n, err := s.from.Read(p)
	s.watch.Rest() // the reader may take its time
	if s.left -= int64(n); s.left < 0 {
		return 0, model.ErrTooLarge
	}
	if err != nil && !errors.Is(err, io.EOF) {
		return n, why(s.watch, err)
	}
	return n, err
}

func (s *source) Close() error {
	s.watch.Stop()
	return s.body.Close()
}
