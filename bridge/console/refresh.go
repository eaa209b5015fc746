package console

import (
	"bytes"
	"context"
	"crypto/rand"
	"io"
	"maps"
	"net/http"
	"strings"
	"sync"
	"time"
)

const (
	// maxShared bounds how many pages are kept for other viewers, and maxSharedSize their
	// total size in bytes.
	maxShared     = 32
	maxSharedSize = 4 << 20
	// makeFor bounds how long rendering one may take.
	makeFor = 20 * time.Second
)

// refreshes holds the pages rendered since the last look, so that ten consoles showing
// the same page cost as much as one. Methods are safe for concurrent use.
type refreshes struct {
	views *views

	mu   sync.Mutex
	all  map[string]*refresh // by address
	size int                 // of all, in bytes
}

// A refresh is a page without the data of one visitor: the content that htmx swaps in,
// split where the token of the visitor's forms belongs.
type refresh struct {
	once   sync.Once
	status int
	header http.Header
	parts  [][]byte
}

// place stands for a visitor's token while a page is rendered. It is secret.
var place = "token-" + strings.ToLower(rand.Text())

// forget drops all pages, which are outdated.
func (f *refreshes) forget() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.all, f.size = nil, 0
}

// serve responds with a page, which next renders unless there is one already.
func (f *refreshes) serve(w http.ResponseWriter, r *http.Request, s session, next handler) {
	address := r.URL.Path + "?" + r.URL.RawQuery
	f.mu.Lock()
	made := f.all[address]
	if made == nil {
		made = &refresh{}
		if len(f.all) < maxShared && f.size < maxSharedSize {
			if f.all == nil {
				f.all = map[string]*refresh{}
			}
			f.all[address] = made
		}
	}
	f.mu.Unlock()
	made.once.Do(func() { f.make(made, address, r, next) })
	maps.Copy(w.Header(), made.header)
	w.WriteHeader(made.status)
	for i, part := range made.parts {
		if i > 0 {
			_, _ = io.WriteString(w, s.token)
		}
		if _, err := w.Write(part); err != nil {
			f.views.log.Debug("a console page could not be sent", "err", err)
			return
		}
	}
}

// make renders a page. It continues even if the visitor who first requested the page
// leaves. A failed page is not kept.
func (f *refreshes) make(made *refresh, address string, r *http.Request, next handler) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), makeFor)
	defer cancel()
	into := &kept{header: http.Header{}, status: http.StatusOK}
	next(into, r.WithContext(ctx), session{token: place})
	made.status, made.header, made.parts = into.status, into.header, bytes.Split(into.body.Bytes(), []byte(place))
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case f.all[address] != made:
	case made.status != http.StatusOK:
		delete(f.all, address)
	default:
		f.size += into.body.Len()
	}
}

// kept records a response.
type kept struct {
	header http.Header
	status int
	body   bytes.Buffer
}

// Header implements http.ResponseWriter.
func (k *kept) Header() http.Header { return k.header }

// WriteHeader implements http.ResponseWriter.
func (k *kept) WriteHeader(status int) { k.status = status }

// Write implements http.ResponseWriter.
func (k *kept) Write(data []byte) (int, error) { return k.body.Write(data) }
