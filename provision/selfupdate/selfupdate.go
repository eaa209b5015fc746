// Package selfupdate replaces the file of this program with that of another release. A release
// is a directory on a web server:
//
//	SHA256SUMS               "<hex>  <name>" in every line, as sha256sum writes it
//	SHA256SUMS.minisig       its signature by one of the keys that are built into the program
//	appliance_linux_amd64    the program, for each platform
//
// The signature is minisign's. The comment that it covers names the file and the version
// of the release ("timestamp:1700000000	file:SHA256SUMS	version:v1.2.3", separated by
// tabs), so that neither another signed file nor an older release can take its place.
// Nothing is downloaded before the signature is verified. The download is kept beside the
// program under another name until its checksum is verified and it has been started once; then
// it replaces the program atomically, and the old one is kept beside it. An interruption before
// that, however hard, leaves the program as it was, and the next run resumes the download. It
// changes nothing in an installation.
package selfupdate

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Options say which program to update, and to which release.
type Options struct {
	Program  string                                          // the file of this program
	Release  string                                          // address of the directory of a release
	Keys     []string                                        // public keys, in minisign's form, one of which has signed the release
	Version  string                                          // of this program; an older release is refused
	SHA256   string                                          // what the program of the release must also have, in hex; "" for what SHA256SUMS says
	Try      func(ctx context.Context, program string) error // starts a program to see whether it runs; may be nil
	Progress func(what string, done, total int64)            // bytes; may be nil
	Client   *http.Client                                    // nil for one that trusts this host's roots
}

// An Outcome is the result of an update.
type Outcome struct {
	Changed  bool   `json:"changed"`
	SHA256   string `json:"sha256"`
	Version  string `json:"version"`            // of the release, according to its signature
	Previous string `json:"previous,omitempty"` // the file of the program that was there before
}

// A ChecksumError says that a download is not what it should be.
type ChecksumError struct{ File, Want, Got string }

func (e *ChecksumError) Error() string {
	return fmt.Sprintf("%s has the checksum %s, and should have %s", e.File, e.Got, e.Want)
}

// Hint says what to do.
func (e *ChecksumError) Hint() string {
	return "nothing was changed; the download was altered, or the release is incomplete: ask whoever publishes it"
}

// A ReleaseError says that a release cannot be used.
type ReleaseError struct{ Reason, Advice string }

func (e *ReleaseError) Error() string { return e.Reason }

// Hint says what to do.
func (e *ReleaseError) Hint() string { return e.Advice }

// A StartError says that the program of a release does not start here.
type StartError struct{ Cause error }

func (e *StartError) Error() string {
	return "the downloaded program does not start: " + e.Cause.Error()
}

// Unwrap returns the cause.
func (e *StartError) Unwrap() error { return e.Cause }

// Hint says what to do.
func (e *StartError) Hint() string { return "nothing was changed; it may be for another kind of host" }

// packaged is a file that packages install, relative to the program.
const packaged = "../lib/appliance/package"

// Name is the name of the program in a release for this platform.
func Name() string { return "appliance_" + runtime.GOOS + "_" + runtime.GOARCH }

// Previous returns the file that keeps the previous program.
func Previous(program string) string { return program + ".previous" }

// Run downloads, verifies and replaces.
func Run(ctx context.Context, o Options) (Outcome, error) {
	if err := o.normalize(); err != nil {
		return Outcome{}, err
	}
	keys, err := parseKeys(o.Keys)
	if err != nil {
		return Outcome{}, err
	}
	want, version, err := o.checksum(ctx, keys)
	if err != nil {
		return Outcome{}, err
	}
	if have, err := sumOf(o.Program); err != nil || have == want {
		return Outcome{SHA256: want, Version: version}, err
	}
	resumed, err := o.update(ctx, want)
	if _, wrong := errors.AsType[*ChecksumError](err); wrong && resumed {
		_, err = o.update(ctx, want) // the first half may have been damaged when an earlier run was stopped
	}
	if err != nil {
		return Outcome{}, err
	}
	return Outcome{Changed: true, SHA256: want, Version: version, Previous: Previous(o.Program)}, nil
}

// Newest returns the version of the release at an address, after verifying its signature. newer
// says whether it is later than that of this program. Of the options it needs only Release,
// Keys and Version; it stores nothing.
func Newest(ctx context.Context, o Options) (version string, newer bool, err error) {
	keys, err := parseKeys(o.Keys)
	if err != nil {
		return "", false, err
	}
	if err := o.reach(); err != nil {
		return "", false, err
	}
	_, version, err = o.signed(ctx, keys)
	return version, err == nil && version != o.Version && !older(version, o.Version), err
}

func (o *Options) update(ctx context.Context, want string) (resumed bool, err error) {
	file, resumed, done, err := o.download(ctx, want)
	if err != nil {
		return resumed, err
	}
	defer done()
	if err := o.finish(ctx, file, want); err != nil {
		return resumed, err
	}
	return resumed, replace(o.Program, file)
}

// reach makes sure that the address is one of a release, and sets up how to reach it.
func (o *Options) reach() error {
	u, err := url.Parse(o.Release)
	if err != nil || u.Scheme != "https" || u.Host == "" {
		return &ReleaseError{fmt.Sprintf("%q is not the https address of a release", o.Release), "give the address of the directory that holds SHA256SUMS"}
	}
	o.Release = strings.TrimSuffix(o.Release, "/") + "/"
	if o.Client == nil {
		o.Client = &http.Client{Transport: &http.Transport{
			Proxy: http.ProxyFromEnvironment, TLSHandshakeTimeout: 20 * time.Second, ResponseHeaderTimeout: time.Minute,
		}}
	}
	client := *o.Client
	client.CheckRedirect = func(req *http.Request, via []*http.Request) error {
		if req.URL.Scheme != "https" {
			return fmt.Errorf("redirected to %s, which is not https", req.URL.Redacted())
		}
		if len(via) > 5 {
			return errors.New("redirected too often")
		}
		return nil
	}
	o.Client = &client
	return nil
}

func (o *Options) normalize() (err error) {
	if err := o.reach(); err != nil {
		return err
	}
	o.SHA256 = strings.ToLower(o.SHA256)
	if o.SHA256 != "" && !isSum(o.SHA256) {
		return &ReleaseError{fmt.Sprintf("%q is not a SHA-256 in hex", o.SHA256), "it has 64 digits"}
	}
	if o.Program, err = filepath.EvalSymlinks(o.Program); err != nil {
		return err
	}
	if _, err := os.Stat(filepath.Join(filepath.Dir(o.Program), packaged)); err == nil {
		return &ReleaseError{o.Program + " was installed as a package, and is replaced by the next package", "install that of the release: apt install ./" + Name() + ".deb, or: dnf install ./" + Name() + ".rpm"}
	}
	if o.Progress == nil {
		o.Progress = func(string, int64, int64) {}
	}
	return nil
}

// finish makes sure that a complete download is what it should be and runs.
func (o *Options) finish(ctx context.Context, file, want string) error {
	got, err := sumOf(file)
	if err != nil {
		return err
	}
	if got != want {
		return errors.Join(&ChecksumError{File: Name(), Want: want, Got: got}, os.Remove(file))
	}
	info, err := os.Stat(o.Program)
	if err != nil {
		return err
	}
	if owner, ok := info.Sys().(*syscall.Stat_t); ok && os.Geteuid() == 0 {
		if err := os.Chown(file, int(owner.Uid), int(owner.Gid)); err != nil {
			return err
		}
	}
	if err := os.Chmod(file, info.Mode().Perm()|0o500); err != nil {
		return err
	}
	if o.Try != nil {
		if err := o.Try(ctx, file); err != nil {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			return errors.Join(&StartError{err}, os.Remove(file))
		}
	}
	return nil
}

// replace puts a file in the program's place and keeps the program beside it.
func replace(program, file string) error {
	kept := Previous(program)
	spare := kept + ".new"
	_ = os.Remove(spare)
	if err := os.Link(program, spare); err != nil {
		return err
	}
	if err := os.Rename(spare, kept); err != nil {
		return err
	}
	if err := os.Rename(file, program); err != nil {
		return err
	}
	return syncDir(filepath.Dir(program))
}

// Back exchanges the program with the one that was there before, and keeps both: a second call
// undoes it.
func Back(program string) error {
	program, err := filepath.EvalSymlinks(program)
	if err != nil {
		return err
	}
	kept := Previous(program)
	if _, err := os.Stat(kept); errors.Is(err, fs.ErrNotExist) {
		return &ReleaseError{"no other program is kept in " + kept, "it is there after a self-update"}
	}
	if err := unix.Renameat2(unix.AT_FDCWD, program, unix.AT_FDCWD, kept, unix.RENAME_EXCHANGE); err != nil {
		return fmt.Errorf("exchange %s and %s: %w", program, kept, err)
	}
	return syncDir(filepath.Dir(program))
}

func syncDir(dir string) error {
	d, err := os.Open(dir) //nolint:gosec // where the program is
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
