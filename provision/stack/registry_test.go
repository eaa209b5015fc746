package stack

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// Recorded messages of engines and registries are interpreted correctly.
func TestWordsOfRegistriesAreUnderstood(t *testing.T) {
	for words, want := range map[string]string{
		"Error response from daemon: toomanyrequests: You have reached your unauthenticated pull rate limit. https://www.docker.com/increase-rate-limit":                               "limited",
		"toomanyrequests: You have reached your pull rate limit. You may increase the limit by authenticating and upgrading: https://www.docker.com/increase-rate-limit":               "limited",
		"Error response from daemon: received unexpected HTTP status: 429 Too Many Requests":                                                                                           "limited",
		"failed to copy: httpReadSeeker: failed open: unexpected status code https://registry-1.docker.io/v2/library/mongo/manifests/sha256:0: 429 Too Many Requests":                  "limited",
		"Error response from daemon: received unexpected HTTP status: 503 Service Unavailable":                                                                                         "again",
		`Error response from daemon: Get "https://registry-1.docker.io/v2/": net/http: request canceled while waiting for connection (Client.Timeout exceeded while awaiting headers)`: "again",
		`Error response from daemon: Get "https://ghcr.io/v2/": net/http: TLS handshake timeout`:                                                                                       "again",
		`Get "https://registry-1.docker.io/v2/": read tcp 10.0.0.5:4711->3.94.224.37:443: read: connection reset by peer`:                                                              "again",
		"error pulling image configuration: download failed after attempts=6: dial tcp: i/o timeout":                                                                                   "again",
		`Error response from daemon: Get "https://registry-1.docker.io/v2/": dial tcp: lookup registry-1.docker.io on 127.0.0.53:53: no such host`:                                     "fails",
		"Error response from daemon: manifest for rocketchat/rocket.chat:9.9.9 not found: manifest unknown: manifest unknown":                                                          "refused",
		"Error response from daemon: pull access denied for chat, repository does not exist or may require 'docker login': denied: requested access to the resource is denied":         "refused",
		"Error response from daemon: unauthorized: authentication required":                                                                                                            "refused",
	} {
		e := registryError(words)
		got := "fails"
		switch {
		case e.Limited:
			got = "limited"
		case e.Refused:
			got = "refused"
		case e.again():
			got = "again"
		}
		if got != want || e.again() != (want == "limited" || want == "again") || e.Hint() == "" {
			t.Errorf("%s: it %s, want %s", words, got, want)
		}
	}
}

// A standIn is a registry with one small image. It refuses manifests as often as it is told.
type standIn struct {
	*httptest.Server
	refuse   atomic.Int32
	asked    atomic.Int32
	answer   int    // status of a refusal
	document string // and its body
}

func newRegistry(t *testing.T, answer int, document string) *standIn {
	t.Helper()
	var layer, plain bytes.Buffer
	_ = tar.NewWriter(&plain).Close()
	z := gzip.NewWriter(&layer)
	_, _ = z.Write(plain.Bytes())
	_ = z.Close()
	digest := func(data []byte) string { return fmt.Sprintf("sha256:%x", sha256.Sum256(data)) }
	config := fmt.Appendf(nil, `{"architecture":%q,"os":"linux","config":{"Labels":{"test":%q}},"rootfs":{"type":"layers","diff_ids":[%q]}}`, runtime.GOARCH, t.Name(), digest(plain.Bytes()))
	const kind = "application/vnd.docker.distribution.manifest.v2+json"
	manifest := fmt.Appendf(nil, `{"schemaVersion":2,"mediaType":%q,"config":{"mediaType":"application/vnd.docker.container.image.v1+json","size":%d,"digest":%q},"layers":[{"mediaType":"application/vnd.docker.image.rootfs.diff.tar.gzip","size":%d,"digest":%q}]}`,
		kind, len(config), digest(config), layer.Len(), digest(layer.Bytes()))
	r := &standIn{answer: answer, document: document}
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if !strings.Contains(req.URL.Path, "/manifests/") {
			for _, blob := range [][]byte{config, layer.Bytes()} {
				if strings.HasSuffix(req.URL.Path, digest(blob)) {
					_, _ = w.Write(blob)
				}
			}
			return
		}
		if r.asked.Add(1); r.refuse.Add(-1) >= 0 {
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(r.answer)
			_, _ = w.Write([]byte(r.document))
			return
		}
		w.Header().Set("Content-Type", kind)
		w.Header().Set("Docker-Content-Digest", digest(manifest))
		_, _ = w.Write(manifest)
	}))
	t.Cleanup(r.Close)
	return r
}

func (r *standIn) image() string { return strings.TrimPrefix(r.URL, "http://") + "/small:1" }

const tooMany = `{"errors":[{"code":"TOOMANYREQUESTS","message":"You have reached your unauthenticated pull rate limit. https://www.docker.com/increase-rate-limit"}]}`

// Pulls are retried while a registry answers 429 or 503, until the attempts are used up.
func TestARegistryThatLimitsIsWaitedFor(t *testing.T) {
	s := onThisMachine(t)
	was := pauses
	t.Cleanup(func() { pauses = was })
	pauses = []time.Duration{time.Millisecond, time.Millisecond, time.Millisecond}
	if err := os.MkdirAll(s.Dir, 0o700); err != nil {
		t.Fatal(err)
	}

	r := newRegistry(t, http.StatusTooManyRequests, tooMany)
	r.refuse.Store(2)
	var said []string
	if err := s.Images().pull(t.Context(), r.image(), func(what string, _, _ int64) { said = append(said, what) }); err != nil {
		t.Fatalf("%v, having heard %q", err, said)
	}
	t.Cleanup(func() { s.Images().Remove(context.WithoutCancel(t.Context()), r.image()) })
	if len(said) < 2 || !strings.HasPrefix(said[len(said)-1], "the registry limits how many images this address may fetch; attempt ") {
		t.Errorf("it told %q", said)
	}

	// By Compose, until the attempts are used up.
	for status, c := range map[int]struct{ document, says, hint string }{
		http.StatusTooManyRequests:    {tooMany, "the registry limits how many images this address may fetch: ", "docker login; "},
		http.StatusServiceUnavailable: {`{"errors":[{"code":"UNAVAILABLE","message":"down for maintenance"}]}`, "fetch images: ", "appliance bundle load"},
	} {
		r := newRegistry(t, status, c.document)
		r.refuse.Store(1 << 20)
		if err := os.WriteFile(filepath.Join(s.Dir, "compose.yaml"), []byte("services: {small: {image: '"+r.image()+"'}}\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		var heard []string
		err := s.Compose().Pull(t.Context(), func(e Event) {
			if e.ID == "images:" {
				heard = append(heard, e.Text)
			}
		})
		failed, ok := errors.AsType[*RegistryError](err)
		if !ok || !strings.HasPrefix(err.Error(), c.says) || !strings.Contains(failed.Hint(), c.hint) || len(heard) != len(pauses) {
			t.Errorf("%d: %v, having heard %q; asked %d times", status, err, heard, r.asked.Load())
		}
	}

	// An image that does not exist is not requested again.
	r = newRegistry(t, http.StatusNotFound, `{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown"}]}`)
	r.refuse.Store(1 << 20)
	before := time.Now()
	pauses = []time.Duration{time.Hour}
	err := s.Images().pull(t.Context(), r.image(), func(string, int64, int64) {})
	if failed, ok := errors.AsType[*RegistryError](err); !ok || !failed.Refused || time.Since(before) > time.Minute {
		t.Errorf("%v after %s", err, time.Since(before))
	}
}
