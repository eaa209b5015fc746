// Package offsite keeps files on other hosts: in S3-compatible storage or on an SFTP
// server. It streams: a file of any size needs a few megabytes of memory. It knows
// nothing about installations.
package offsite

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"path"
	"slices"
	"strings"
	"time"
)

// stall is how long a connection may go without progress.
const stall = time.Minute

// A Config says where files go.
type Config struct {
	// URL is s3://endpoint/bucket/prefix (s3+http:// without TLS) or sftp://user@host:port/directory.
	URL string
	// KeyFile is readable by its owner only. For S3 it has the access key in its first
	// line and the secret key in the second, for SFTP a private key without a passphrase.
	KeyFile string
	// HostKey is the public key of the SFTP server, such as "ssh-ed25519 AAAA...".
	HostKey string
	// Region is the region of the S3 bucket; "" to look it up.
	Region string
	// Answer is the key of the answer with the URL; "" is backup_offsite.
	Answer string
	// Tries is how often a request to S3 is tried; 0 for the default.
	Tries int
	// Roots are the authorities trusted for the S3 endpoint; nil means those of this host.
	Roots *x509.CertPool
}

// An Object is a stored file.
type Object struct {
	Name string    `json:"name"` // below the prefix or directory of the URL
	Size int64     `json:"size"` // bytes
	Time time.Time `json:"time"`
}

// A File can be read from its beginning, and in several parts at once.
type File interface {
	io.Reader
	io.ReaderAt
}

// A Store is a place for files. Its errors are Errors where the operator can do something
// about them.
type Store interface {
	List(ctx context.Context) ([]Object, error)
	// Put stores size bytes of a file under a name; on failure nothing is left under it.
	Put(ctx context.Context, name string, from File, size int64) error
	Get(ctx context.Context, name string) (io.ReadCloser, error)
	Remove(ctx context.Context, name string) error
	Close() error
}

// An Error is a failure with advice on what to do about it.
type Error struct {
	Host   string
	Err    error
	Advice string
}

func (e *Error) Error() string { return e.Host + ": " + e.Err.Error() }

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// Hint says what to do.
func (e *Error) Hint() string { return e.Advice }

// Check returns what is wrong with a URL, as the end of a sentence.
func Check(address string) error { _, err := parse(address); return err }

func parse(address string) (*url.URL, error) {
	u, err := url.Parse(address)
	bad := err != nil || u.Host == "" || u.RawQuery != "" || u.Fragment != ""
	switch {
	case bad, u.Scheme != "s3" && u.Scheme != "s3+http" && u.Scheme != "sftp":
		return nil, errors.New("must look like s3://s3.example.org/bucket/prefix or sftp://user@host/directory")
	case u.Scheme == "sftp" && u.User.Username() == "":
		return nil, errors.New("must name the user: sftp://user@host/directory")
	case u.Scheme != "sftp" && strings.Trim(u.Path, "/") == "":
		return nil, errors.New("must name the bucket: s3://s3.example.org/bucket")
	}
	if _, has := u.User.Password(); has || u.Scheme != "sftp" && u.User != nil {
		return nil, errors.New("must hold no keys and no password: they belong in the file backup_offsite_key_file")
	}
	return u, nil
}

// Open connects to the location that c names.
func Open(ctx context.Context, c Config) (Store, error) {
	u, err := parse(c.URL)
	if err != nil {
		return nil, fmt.Errorf("the off-site URL %w", err)
	}
	if u.Scheme != "sftp" {
		return openS3(u, c)
	}
	key, err := readKey(c.KeyFile)
	if err != nil {
		return nil, err
	}
	return openSFTP(ctx, u, key, c)
}

func readKey(file string) ([]byte, error) {
	info, err := os.Stat(file)
	switch {
	case err != nil:
		return nil, err
	case info.Mode().Perm()&0o077 != 0:
		return nil, &Error{file, errors.New("others can read it"), "chmod 600 " + file}
	case info.Size() > 64<<10:
		return nil, fmt.Errorf("%s is too large for a key", file)
	}
	return os.ReadFile(file) //nolint:gosec // the operator names the file
}

// Send stores a file under its own name and reads it back: it returns nil only if the
// content that comes back is the same. progress counts the bytes of both directions.
func Send(ctx context.Context, s Store, file string, progress func(done, total int64)) error {
	f, err := os.Open(file) //nolint:gosec // a backup of ours
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	name := path.Base(file)
	if err := s.Put(ctx, name, f, info.Size()); err != nil {
		return err
	}
	progress(info.Size(), 2*info.Size())
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return err
	}
	want, err := digest(f, func(int64) {})
	if err != nil {
		return err
	}
	back, err := s.Get(ctx, name)
	if err != nil {
		return fmt.Errorf("read back %s: %w", name, err)
	}
	defer func() { _ = back.Close() }()
	got, err := digest(io.LimitReader(back, info.Size()+1), func(n int64) { progress(info.Size()+n, 2*info.Size()) })
	if err != nil {
		return fmt.Errorf("read back %s: %w", name, err)
	}
	if got != want {
		return fmt.Errorf("%s came back different from what was sent", name)
	}
	return nil
}

// digest is the SHA-256 of a stream.
func digest(r io.Reader, progress func(int64)) (sum [sha256.Size]byte, err error) {
	h := sha256.New()
	buf := make([]byte, 256<<10)
	var n int64
	for {
		k, err := r.Read(buf)
		h.Write(buf[:k])
		n += int64(k)
		progress(n)
		if errors.Is(err, io.EOF) {
			return [sha256.Size]byte(h.Sum(nil)), nil
		}
		if err != nil {
			return sum, err
		}
	}
}

// Expired returns the objects beyond a number or beyond an age; 0 means no limit. The newest
// always stays. The time is in the names, after their prefix; objects with other names stay.
func Expired(list []Object, prefix string, keep int, age time.Duration, now time.Time) []Object {
	type dated struct {
		Object
		at time.Time
	}
	var ours []dated
	for _, o := range list {
		rest, ok := strings.CutPrefix(o.Name, prefix)
		stamp, ending, _ := strings.Cut(rest, ".")
		at, err := time.Parse("20060102T150405Z", stamp)
		if ok && err == nil && ending == "tar.zst.age" {
			ours = append(ours, dated{o, at})
		}
	}
	slices.SortFunc(ours, func(a, b dated) int { return b.at.Compare(a.at) })
	var out []Object
	for n, o := range ours {
		if n > 0 && (keep > 0 && n >= keep || age > 0 && now.Sub(o.at) > age) {
			out = append(out, o.Object)
		}
	}
	return out
}

// dial connects to a server; the connection fails when it makes no progress.
func dial(ctx context.Context, network, address string) (net.Conn, error) {
	c, err := (&net.Dialer{Timeout: 15 * time.Second}).DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	return &restless{c}, nil
}

// restless is a connection on which every read and write must make progress.
type restless struct{ net.Conn }

func (c *restless) Read(p []byte) (int, error) {
	_ = c.SetReadDeadline(time.Now().Add(stall))
	return c.Conn.Read(p)
}

func (c *restless) Write(p []byte) (int, error) {
	_ = c.SetWriteDeadline(time.Now().Add(stall))
	return c.Conn.Write(p)
}
