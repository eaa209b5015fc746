// Package bundle packs what an installation needs from the internet into one file, for
// hosts without access: the program and the images that belong to it. The file is a tar:
//
//	bundle.json              what it holds: the version and platform of the program, the images
//	appliance                the program; `tar xf FILE appliance` takes it out
//	images.lock              which image each name stands for, as in an installation
//	images/01.tar.gz ...     each image as `docker save` writes it, compressed
//	SHA256SUMS               the checksum of each of these, as sha256sum writes it
//
// Load reads the whole file and verifies every checksum before it passes anything to
// Docker. Neither direction holds more than a buffer of the file in memory.
package bundle

import (
	"context"
	"io"
	"path/filepath"

	"appliance/provision/stack"
)

// Format is the version of the file format.
const Format = 1

// Names of members.
const (
	headerName  = "bundle.json"
	programName = "appliance"
	lockName    = stack.ImageLockFile
	sumsName    = "SHA256SUMS"
	imageDir    = "images/"
)

// Limits on what is read.
const (
	maxMembers = 64
	maxText    = 1 << 20  // of bundle.json, images.lock and SHA256SUMS
	maxMember  = 16 << 30 // of others
)

// Images is the part of Docker that is used: stack.Images.
type Images interface {
	Fetch(ctx context.Context, names []string, hear func(what string, done, total int64)) error
	Describe(ctx context.Context, name string) (stack.LockedImage, []string, error)
	Export(ctx context.Context, name string, w io.Writer) error
	Import(ctx context.Context, r io.Reader) error
}

// A Header says what a bundle holds.
type Header struct {
	Format   int     `json:"format"`
	Version  string  `json:"version"`  // of the program
	Platform string  `json:"platform"` // such as linux/amd64
	Images   []Image `json:"images"`
}

// An Image is one image of a bundle.
type Image struct {
	Name string `json:"name"`
	stack.LockedImage
	Layers []string `json:"layers"`
	File   string   `json:"file"` // the member that holds it
}

// An Outcome is what was made or loaded.
type Outcome struct {
	File    string   `json:"file"`
	SHA256  string   `json:"sha256"` // of the whole file
	Version string   `json:"version"`
	Images  []string `json:"images"`
}

// A DamagedError says that a file is not a complete bundle.
type DamagedError struct{ File, Reason string }

func (e *DamagedError) Error() string { return e.File + " cannot be used: " + e.Reason }

// Hint says what to do.
func (*DamagedError) Hint() string {
	return "nothing was loaded; copy the file again and compare its SHA-256 with what appliance bundle create printed"
}

// An ExistsError says that a bundle would overwrite a file.
type ExistsError struct{ File string }

func (e *ExistsError) Error() string { return e.File + " is there already" }

// Hint says what to do.
func (e *ExistsError) Hint() string { return "choose another name, or remove it: rm " + e.File }

// A MissingError says that there is no bundle with that name.
type MissingError struct{ File string }

func (e *MissingError) Error() string { return "there is no file " + e.File }

// Hint says what to do.
func (e *MissingError) Hint() string {
	return "make one on a host with a network, and copy it here: appliance bundle create " + filepath.Base(e.File)
}

// counted reports how many bytes pass through it.
type counted struct {
	n    int64
	hear func(n int64)
}

func (c *counted) Write(p []byte) (int, error) {
	c.n += int64(len(p))
	c.hear(c.n)
	return len(p), nil
}
