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
	// maxShared bounds how many pages are kept for others, and maxSharedSize how large
	// together, in bytes.
	maxShared     = 32
	maxSharedSize = 4 << 20
	// makeFor bounds how long making one may take.
	makeFor = 20 * time.Second
)

// refreshes are pages that were made since the last look, so that ten consoles which show the
// same one cost what one costs. Methods are safe for concurrent use.
type refreshes struct {
	views *views

	mu   sync.Mutex
	all  map[string]*refresh // by address
	size int                 // of all, in bytes
}

// A refresh is a page without what belongs to one visitor: the content that htmx
// puts in place, in parts between which the token of the visitor's forms stands.
type refresh struct {
	once   sync.Once
	status int
	header http.Header
	parts  [][]byte
}

// place stands for the token of a visitor while a page is made. Nobody knows it.
var place = "token-" + strings.ToLower(rand.Text())

// forget makes room: what was made is old.
func (f *refreshes) forget() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.all, f.size = nil, 0
}

// serve answers with a page, which next makes unless it was made already.
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
			f.views.log.Debug("a page of the console could not be sent", "err", err)
			return
		}
	}
}

// make makes a page. It is not given up with the visitor who asks for it first. One that
// failed is not kept.
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

// kept is an answer that is kept.
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
