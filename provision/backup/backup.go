// Package backup defines the file format of a backup: one file with a whole installation, which
// can be verified without that installation. It knows nothing of Docker or of databases: its
// caller supplies the files and the dumps.
//
// An archive is a tar, compressed with zstd and, if asked for, encrypted with
// age, so that it can be opened without this program:
//
//	backup.json             what it is of: see Header
//	databases/<name>/00000  a dump of a database, in parts
//	files/...               the installation directory
//	manifest.json           size and SHA-256 of every member before it
//
// The manifest comes last: an archive without one is truncated.
package backup

import (
	"errors"
	"fmt"
	"io"
	"time"
)

// Format is the version of the archive. A reader refuses newer ones.
const Format = 1

// Names inside an archive.
const (
	headerName   = "backup.json"
	manifestName = "manifest.json"
	filesDir     = "files/"
	databasesDir = "databases/"
)

// A Header describes a backup and the installation it is from.
type Header struct {
	Format     int               `json:"format"`
	Created    time.Time         `json:"created"`
	Program    string            `json:"program"` // version of the program that made it
	Domain     string            `json:"domain"`
	ServerName string            `json:"server_name"`
	Homeserver string            `json:"homeserver"`
	Images     map[string]string `json:"images,omitempty"` // service -> image
}

// A Member is one file, directory or part of a dump.
type Member struct {
	Name   string `json:"name"`
	Size   int64  `json:"size,omitempty"`
	SHA256 string `json:"sha256,omitempty"` // of regular files; in hexadecimal
}

// A Manifest lists the members of an archive in order.
type Manifest struct {
	Members []Member `json:"members"`
}

// Size is the sum of all members in bytes.
func (m Manifest) Size() int64 {
	var n int64
	for _, member := range m.Members {
		n += member.Size
	}
	return n
}

// A CorruptError says that an archive differs from what was written.
type CorruptError struct{ Reason string }

func (e *CorruptError) Error() string { return "the backup cannot be used: " + e.Reason }

// Hint says what to do.
func (e *CorruptError) Hint() string {
	return "use another backup; nothing was changed. Check one with: appliance backup verify FILE"
}

// A LinkError says that an archive has a symbolic link that leads out of the
// installation: whatever follows it would write elsewhere on this host.
type LinkError struct{ Name, Target string }

func (e *LinkError) Error() string {
	return fmt.Sprintf("the backup has a symbolic link that points outside the installation: %s -> %q", e.Name, e.Target)
}

// Hint says what to do.
func (e *LinkError) Hint() string {
	return "if you created that link yourself, restore it with: appliance restore FILE --accept-links"
}

// A KeyError says that an archive cannot be decrypted.
type KeyError struct{ Reason string }

func (e *KeyError) Error() string { return "the backup is encrypted: " + e.Reason }

// Hint says what to do.
func (e *KeyError) Hint() string {
	return "name the key with --identity FILE or --passphrase-file FILE; unless another was chosen, it is the file backup.key of the installation that made the backup, or your copy of it"
}

// corrupt explains a failure to read.
func corrupt(err error) error {
	var already *CorruptError
	var link *LinkError
	switch {
	case err == nil, errors.As(err, &already), errors.As(err, &link):
		return err
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return &CorruptError{"it is truncated"}
	}
	return &CorruptError{"it is damaged: " + err.Error()}
}

func corruptf(format string, args ...any) error { return &CorruptError{fmt.Sprintf(format, args...)} }
