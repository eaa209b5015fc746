package model

import (
	"io"
	"sync"
	"time"
)

// Media is a file on its way from one side to the other. It is read once. Whoever
// takes a Media closes its Body, also on errors.
type Media struct {
	Name string
	Type string // content type
	Size int64  // bytes; -1 when unknown. A Body of another size is an error.
	Body io.ReadCloser
}

// A File remembers what a file has become on the other side.
type File struct {
	Source string // RCFile or MXFile
	Target string // "mxc://server/id", or the ID of an upload to Rocket.Chat
	Info   string // convert.FileInfo as JSON, of files on Matrix
	At     time.Time
}

// Limits is what a side takes.
type Limits struct {
	File int64 // bytes of a file; 0 when it takes none
	Text int   // UTF-16 units of a message; 0 when unknown
}

// limitsFor is how long a RememberedLimits is believed: administrators change what
// their servers take now and then.
const limitsFor = 5 * time.Minute

// RememberedLimits is what a side was last found to take. The zero value knows
// nothing. It is safe for concurrent use; while one asks, the others wait.
type RememberedLimits struct {
	mu    sync.Mutex
	known Limits
	until time.Time
}

// Get returns what is known, or asks when it is not known or too old. What fails is
// not remembered.
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

// Forget makes the next Get ask.
func (r *RememberedLimits) Forget() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.until = time.Time{}
}
