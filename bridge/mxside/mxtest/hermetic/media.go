package hermetic

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"
)

// file is an upload.
type file struct {
	kind, name string
	data       []byte
}

// mediaConfig is GET /_matrix/client/v1/media/config.
func (s *Server) mediaConfig(*request) (any, error) {
	return map[string]any{"m.upload.size": s.UploadLimit}, nil
}

// upload is POST /_matrix/media/v3/upload.
func (s *Server) upload(q *request) (any, error) {
	data, err := io.ReadAll(io.LimitReader(q.Body, s.UploadLimit+1))
	if err != nil {
		return nil, badJSON(err)
	}
	if int64(len(data)) > s.UploadLimit {
		return nil, &apiError{http.StatusRequestEntityTooLarge, "M_TOO_LARGE", "the file is too large", nil}
	}
	id := opaque()[:24]
	s.u.mu.Lock()
	defer s.u.mu.Unlock()
	s.media[id] = file{kind: q.Header.Get("Content-Type"), name: q.query("filename"), data: data}
	return map[string]any{"content_uri": "mxc://" + s.Name + "/" + id}, nil
}

// download is GET /_matrix/client/v1/media/download/{server}/{id}, and its path before
// Matrix 1.11. Files of servers outside the universe are requested over the network, if
// that is loopback.
func (s *Server) download(q *request) (any, error) {
	server, id := q.PathValue("server"), q.PathValue("id")
	s.u.mu.Lock()
	at := s.u.server(server)
	var f file
	found := false
	if at != nil {
		f, found = at.media[id]
	}
	s.u.mu.Unlock()
	switch {
	case at == nil:
		return nil, s.fetch(q.Context(), server, id)
	case !found:
		return nil, notFound("there is no such file")
	}
	h := q.w.Header()
	h.Set("Content-Type", f.kind)
	h.Set("Content-Length", strconv.Itoa(len(f.data)))
	h.Set("Content-Disposition", "attachment")
	h.Set("Content-Security-Policy", "sandbox; default-src 'none'")
	q.w.WriteHeader(http.StatusOK)
	_, _ = q.w.Write(f.data)
	return nil, nil
}

// fetchFor is how long Dendrite waits for a file from another server.
const fetchFor = 2 * time.Minute

// fetch requests a file from another server, and fails: none has one. If a server does not
// respond, Dendrite (0.15.2, mediaapi/routing/download.go) also reports that it has no such file.
func (s *Server) fetch(ctx context.Context, server, id string) error {
	gone := &apiError{http.StatusNotFound, "M_NOT_FOUND", fmt.Sprintf("Failed to download: file with media ID %q could not be downloaded from %s: connection refused", id, server), nil}
	if !loopback(server) {
		return gone
	}
	ctx, cancel := context.WithTimeout(ctx, fetchFor)
	defer cancel()
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}} //nolint:gosec // certificates of tests
	defer client.CloseIdleConnections()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+server+"/_matrix/federation/v1/media/download/"+id, nil)
	if err != nil {
		return gone
	}
	res, err := client.Do(req)
	if err != nil {
		return gone
	}
	_ = res.Body.Close()
	return notFound("there is no such file")
}
