package archive

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"appliance/provision/backup"
	"appliance/provision/internal/atomicfile"
	"appliance/provision/site"
	"appliance/provision/stack"
)

// EnsureKey makes the key of the installation unless it has one, and reports whether it did.
// Only its owner can read the file.
func EnsureKey(s *site.Site) (made bool, err error) {
	file := s.Path(site.BackupKey)
	if _, err := os.Lstat(file); !errors.Is(err, fs.ErrNotExist) {
		return false, err
	}
	text, err := backup.NewKey("the key to the backups of " + s.Answers.ServerName + ", made by appliance")
	if err != nil {
		return false, err
	}
	return true, atomicfile.Write(file, text, 0o600)
}

// NewKey makes a new key for future backups. The old ones stay in the file, below it, because
// they open the backups that were made with them. Without a key it makes the first one.
func NewKey(s *site.Site) (KeyInfo, error) {
	file := s.Path(site.BackupKey)
	old, err := os.ReadFile(file)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return KeyInfo{}, err
	}
	if len(old) > mostKeys {
		return KeyInfo{}, fmt.Errorf("%s has more than %d bytes: take out keys of backups that are no longer there", file, mostKeys)
	}
	text, err := backup.NewKey("the key to the backups of " + s.Answers.ServerName + ", made by appliance")
	if err != nil {
		return KeyInfo{}, err
	}
	if err := atomicfile.Write(file, append(text, old...), 0o600); err != nil {
		return KeyInfo{}, err
	}
	return Key(s)
}

// mostKeys bounds the file of keys, in bytes.
const mostKeys = 1 << 20

// OwnKeys returns the keys of the installation in a directory, for reading its backups. They
// are empty if it has none.
func OwnKeys(dir string) (k backup.Keys, err error) {
	file := filepath.Join(dir, site.BackupKey)
	if _, err := os.Lstat(file); errors.Is(err, fs.ErrNotExist) {
		return k, nil
	}
	if err := k.Own(file); err != nil {
		return k, &BadKeyError{File: file, Cause: err}
	}
	return k, nil
}

// A BadKeyError says that the key of an installation cannot be used.
type BadKeyError struct {
	File  string
	Cause error
}

func (e *BadKeyError) Error() string { return e.Cause.Error() }

// Unwrap returns the cause.
func (e *BadKeyError) Unwrap() error { return e.Cause }

// Hint says what to do.
func (e *BadKeyError) Hint() string {
	file := stack.Quoted(e.File)
	return "put your copy of the key back; or set this one aside, and the next backup has a new key: mv " + file + " " + file + ".damaged && appliance backup"
}

// A NoKeyError says that an installation has no key of its own.
type NoKeyError struct{ Dir string }

func (e *NoKeyError) Error() string { return e.Dir + " has no key for its backups" }

// Hint says what to do.
func (e *NoKeyError) Hint() string { return "the first backup makes one: appliance backup" }

// A KeyInfo says where the key of an installation is. It holds nothing secret.
type KeyInfo struct {
	File      string `json:"file"`
	Recipient string `json:"recipient"`
}

// Key describes the key of an installation.
func Key(s *site.Site) (KeyInfo, error) {
	info := KeyInfo{File: s.Path(site.BackupKey)}
	var err error
	info.Recipient, err = backup.Recipient(info.File)
	if errors.Is(err, fs.ErrNotExist) {
		return info, &NoKeyError{Dir: s.Dir}
	}
	return info, err
}

// encryption returns the keys to save with: the given ones, or the installation's own.
func encryption(s *site.Site, o Options) (k backup.Keys, made bool, err error) {
	if o.Plain || o.Keys.Encrypts() {
		return o.Keys, false, nil
	}
	if made, err = EnsureKey(s); err != nil {
		return k, made, err
	}
	k, err = OwnKeys(s.Dir)
	return k, made, err
}
