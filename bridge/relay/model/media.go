package model

import (
	"io"
	"sync"
	"time"
)

// Media is a file in transit from one side to the other. It is read once. The receiver of
// a Media closes its Body, also on errors.
type Media struct {
	Name string
	Type string // content type
	Size int64  // bytes; -1 when unknown. A Body of another size is an error.
	Body io.ReadCloser
}

// A File records the copy of a file on the other side.
type File struct {
	Source string // RCFile or MXFile
	Target string // "mxc://server/id", or the ID of an upload to Rocket.Chat
	Info   string // convert.FileInfo as JSON, for files on Matrix
	At     time.Time
}

// Limits is what a side accepts.
type Limits struct {
	File int64 // bytes of a file; 0 when none are accepted
	Text int   // UTF-16 units of a message; 0 when unknown
}

// limitsFor is how long RememberedLimits are trusted: administrators change the limits of
// their servers now and then.
const limitsFor = 5 * time.Minute

// RememberedLimits caches the limits of a side. The zero value is an empty cache. It is
// safe for concurrent use; while one caller fetches the limits, the others wait.
type RememberedLimits struct {
	mu    sync.Mutex
	known Limits
	until time.Time
}

// Get returns the cached limits, or fetches them with ask if there are none or they are
// too old. Errors are not cached.
func (r *RememberedLimits) Get(ask func() (Limits, error)) (Limits, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if time.Now().Before(r.until) {
		return r.known, nil
	}
	found, err := ask()
	if err != nil {
		return Limits{}, err
	}
	r.known, r.until = found, time.Now().Add(limitsFor)
	return found, nil
}

// Forget makes the next Get fetch the limits.
func (r *RememberedLimits) Forget() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.until = time.Time{}
}
