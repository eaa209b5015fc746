package backup

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"filippo.io/age"
	"github.com/klauspost/compress/zstd"
)

// partSize is how much of a dump becomes one member. A tar needs the size of a member before
// its content, and this much fits into memory.
const partSize = 8 << 20

// A Writer makes an archive.
type Writer struct {
	tar      *tar.Writer
	under    []io.Closer // innermost first
	manifest Manifest
	dirs     map[string]bool // written already
	progress func(written int64)
	written  int64

	OutsideLinks []string // paths of symbolic links that lead out of the installation
}

// NewWriter starts an archive. progress receives the number of bytes read so far; it may be
// nil.
func NewWriter(w io.Writer, h Header, k Keys, progress func(int64)) (*Writer, error) {
	out := &Writer{progress: progress, dirs: map[string]bool{".": true}}
	if out.progress == nil {
		out.progress = func(int64) {}
	}
	if k.Encrypts() {
		secret, err := age.Encrypt(w, k.recipients...)
		if err != nil {
			return nil, err
		}
		out.under = append(out.under, secret)
		w = secret
	}
	small, err := zstd.NewWriter(w, zstd.WithEncoderLevel(zstd.SpeedDefault))
	if err != nil {
		return nil, err
	}
	out.under = append([]io.Closer{small}, out.under...)
	out.tar = tar.NewWriter(small)
	h.Format = Format
	return out, out.document(headerName, h)
}

// Close writes the manifest and finishes the archive. It does not close the underlying writer.
func (w *Writer) Close() (Manifest, error) {
	err := w.document(manifestName, w.manifest)
	err = errors.Join(err, w.tar.Close())
	for _, c := range w.under {
		err = errors.Join(err, c.Close())
	}
	return w.manifest, err
}

// Tree adds a directory of the installation, or one file of it, with everything below. skip is
// called with every path relative to root; a skipped directory is left out with its content.
// Files that vanish meanwhile are left out.
func (w *Writer) Tree(ctx context.Context, root, below string, skip func(path string) bool) error {
	if err := w.parents(root, below); errors.Is(err, fs.ErrNotExist) {
		return nil
	} else if err != nil {
		return err
	}
	return filepath.WalkDir(filepath.Join(root, below), func(name string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, name)
		if err != nil || rel == "." {
			return err
		}
		if skip != nil && skip(rel) {
			if d.IsDir() {
				return fs.SkipDir
			}
			return nil
		}
		err = w.entry(name, filesDir+filepath.ToSlash(rel))
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return err
	})
}

// parents adds the directories above a path.
func (w *Writer) parents(root, below string) error {
	dir := filepath.Dir(below)
	if w.dirs[filepath.ToSlash(dir)] {
		return nil
	}
	if err := w.parents(root, dir); err != nil {
		return err
	}
	return w.entry(filepath.Join(root, dir), filesDir+filepath.ToSlash(dir))
}

// File adds one file from elsewhere under a path of the installation.
func (w *Writer) File(from, path string) error { return w.file(from, filesDir+filepath.ToSlash(path)) }

// entry adds one file, directory or symbolic link.
func (w *Writer) entry(from, name string) error {
	info, err := os.Lstat(from)
	if err != nil {
		return err
	}
	target := ""
	switch {
	case info.Mode().IsRegular():
		return w.file(from, name)
	case info.Mode()&fs.ModeSymlink != 0:
		if target, err = os.Readlink(from); err != nil {
			return err
		}
		if rel := strings.TrimPrefix(name, filesDir); leavesTree(rel, target) {
			w.OutsideLinks = append(w.OutsideLinks, rel)
		}
	case !info.IsDir():
		return nil // a socket or a pipe is useless without its process
	case w.dirs[strings.TrimPrefix(name, filesDir)]:
		return nil
	default:
		w.dirs[strings.TrimPrefix(name, filesDir)] = true
	}
	h, err := header(info, target, name)
	if err != nil {
		return err
	}
	return w.put(h, nil)
}

// file adds a file with the size that it has when it is opened: one that is being appended to
// is cut off there.
func (w *Writer) file(from, name string) error {
	f, err := os.Open(from) //nolint:gosec // below the installation directory
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	h, err := header(info, "", name)
	if err != nil {
		return err
	}
	err = w.put(h, f)
	if errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("%s became shorter while it was saved", from)
	}
	return err
}

func header(info fs.FileInfo, target, name string) (*tar.Header, error) {
	h, err := tar.FileInfoHeader(info, target)
	if err != nil {
		return nil, err
	}
	h.Name, h.Uname, h.Gname, h.Format = name, "", "", tar.FormatPAX
	h.AccessTime, h.ChangeTime = time.Time{}, time.Time{}
	if owner, ok := info.Sys().(*syscall.Stat_t); ok {
		h.Uid, h.Gid = int(owner.Uid), int(owner.Gid)
	}
	return h, nil
}

// put writes one member and notes it in the manifest.
func (w *Writer) put(h *tar.Header, content io.Reader) error {
	if err := w.tar.WriteHeader(h); err != nil {
		return err
	}
	m := Member{Name: h.Name}
	if content != nil {
		sum := sha256.New()
		n, err := io.CopyN(io.MultiWriter(w.tar, sum, counter{w}), content, h.Size)
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		if err != nil {
			return err
		}
		m.Size, m.SHA256 = n, hex.EncodeToString(sum.Sum(nil))
	}
	w.manifest.Members = append(w.manifest.Members, m)
	return nil
}

type counter struct{ w *Writer }

func (c counter) Write(p []byte) (int, error) {
	c.w.written += int64(len(p))
	c.w.progress(c.w.written)
	return len(p), nil
}

func (w *Writer) document(name string, v any) error {
	data, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	return w.put(&tar.Header{Name: name, Mode: 0o600, Size: int64(len(data)), ModTime: time.Now(), Format: tar.FormatPAX}, bytes.NewReader(data))
}

// Database returns a writer for the dump of a database. It has to be closed before anything
// else is added.
func (w *Writer) Database(name string) io.WriteCloser {
	return &dump{w: w, name: databasesDir + name}
}

type dump struct {
	w    *Writer
	name string
	part int
	buf  []byte
}

func (d *dump) Write(p []byte) (int, error) {
	d.buf = append(d.buf, p...)
	for len(d.buf) >= partSize {
		if err := d.flush(partSize); err != nil {
			return 0, err
		}
	}
	return len(p), nil
}

// Close writes the last part even if it is empty, because that shows that there was a database.
func (d *dump) Close() error { return d.flush(len(d.buf)) }

func (d *dump) flush(n int) error {
	h := &tar.Header{Name: path.Join(d.name, fmt.Sprintf("%05d", d.part)), Mode: 0o600, Size: int64(n), ModTime: time.Now(), Format: tar.FormatPAX}
	if err := d.w.put(h, bytes.NewReader(d.buf[:n])); err != nil {
		return err
	}
	d.part++
	d.buf = append(d.buf[:0], d.buf[n:]...)
	return nil
}
