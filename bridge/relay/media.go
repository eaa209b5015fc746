package relay

import (
	"io"
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
