package backup

import (
	"archive/tar"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"sync/atomic"

	"github.com/klauspost/compress/zstd"
)

// Bounds on what an archive may hold. A small one that others have written could otherwise fill
// the disk or the memory of this host.
const (
	maxMembers = 2_000_000
	maxName    = 4096
	maxHeader  = 1 << 20
	// maxRatio is how many times its own size an archive may unpack to, beyond what is plainly
	// harmless: text compresses to a tenth, a log of one line to a hundredth.
	maxRatio = 200
	harmless = 256 << 20
)

// A Reader reads an archive from its beginning to its end, once.
type Reader struct {
	Header Header
	// OutsideLinks says that symbolic links that lead out of the installation are
	// unpacked. Without it they are refused.
	OutsideLinks bool

	file     *sized
	tar      *tar.Reader
	under    *zstd.Decoder
	seen     Manifest
	progress func(int64)
	read     int64
}

// Open reads the header of an archive. Newer formats are refused.
func Open(r io.Reader, k Keys, progress func(read int64)) (*Reader, error) {
	file := &sized{r: r}
	plain, err := k.decrypt(file)
	if err != nil {
		return nil, err
	}
	z, err := zstd.NewReader(plain, zstd.WithDecoderMaxMemory(256<<20))
	if err != nil {
		return nil, corrupt(err)
	}
	out := &Reader{file: file, tar: tar.NewReader(z), under: z, progress: progress}
	if out.progress == nil {
		out.progress = func(int64) {}
	}
	h, err := out.tar.Next()
	if err == nil && h.Name != headerName {
		err = corruptf("it does not begin like a backup")
	}
	if err == nil {
		err = out.document(h, &out.Header, maxHeader)
	}
	if err == nil && out.Header.Format != Format {
		err = corruptf("it has format %d, and this program reads format %d: use the program that made it (%s)", out.Header.Format, Format, out.Header.Program)
	}
	if err != nil {
		z.Close()
		return nil, corrupt(err)
	}
	return out, nil
}

// Close ends reading. It does not close the underlying reader.
func (r *Reader) Close() { r.under.Close() }

// document reads a JSON member.
func (r *Reader) document(h *tar.Header, v any, most int64) error {
	if h.Size > most {
		return corruptf("%s is too large", h.Name)
	}
	data, err := r.member(h, io.ReadAll)
	if err != nil {
		return err
	}
	return json.Unmarshal(data, v)
}

// member reads one member and notes its checksum.
func (r *Reader) member(h *tar.Header, consume func(io.Reader) ([]byte, error)) ([]byte, error) {
	switch {
	case len(r.seen.Members) >= maxMembers:
		return nil, corruptf("it has more than %d members", maxMembers)
	case len(h.Name) > maxName, len(h.Linkname) > maxName:
		return nil, corruptf("it has a name of more than %d bytes", maxName)
	}
	sum := sha256.New()
	in := io.TeeReader(r.tar, io.MultiWriter(sum, readCounter{r}))
	data, err := consume(in)
	if err != nil {
		return nil, err
	}
	if _, err := io.Copy(io.Discard, in); err != nil {
		return nil, err
	}
	m := Member{Name: h.Name, Size: h.Size}
	if h.Typeflag == tar.TypeReg {
		m.SHA256 = hex.EncodeToString(sum.Sum(nil))
	}
	r.seen.Members = append(r.seen.Members, m)
	return data, nil
}

type readCounter struct{ r *Reader }

func (c readCounter) Write(p []byte) (int, error) {
	c.r.read += int64(len(p))
	c.r.progress(c.r.read)
	if c.r.read > harmless && c.r.read > maxRatio*c.r.file.n.Load() {
		return 0, corruptf("it unpacks to more than %d times its size", maxRatio)
	}
	return len(p), nil
}

// sized counts the bytes that are read from a file.
type sized struct {
	r io.Reader
	n atomic.Int64
}

func (s *sized) Read(p []byte) (int, error) {
	n, err := s.r.Read(p)
	s.n.Add(int64(n))
	return n, err
}

// Verify reads the whole archive and returns the manifest if everything is as it was written.
func (r *Reader) Verify(ctx context.Context) (Manifest, error) {
	return r.each(ctx, func(*tar.Header, io.Reader) error { return nil })
}

// each calls do for every member, and fails at the end if anything differs from the manifest.
// What do has done by then must be discarded.
func (r *Reader) each(ctx context.Context, do func(*tar.Header, io.Reader) error) (Manifest, error) {
	for {
		h, err := r.tar.Next()
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return Manifest{}, or(ctx.Err(), corrupt(err))
		}
		if h.Name == manifestName {
			return r.compare(h)
		}
		var doErr error
		_, err = r.member(h, func(in io.Reader) ([]byte, error) { doErr = do(h, in); return nil, doErr })
		if doErr != nil && !fromTheArchive(doErr) {
			return Manifest{}, doErr
		}
		if err != nil {
			return Manifest{}, or(ctx.Err(), corrupt(err))
		}
	}
}

func or(a, b error) error {
	if a != nil {
		return a
	}
	return b
}

// fromTheArchive distinguishes a failure to read the archive from a failure to write its
// content, which is a problem of this host.
func fromTheArchive(err error) bool {
	var host *fs.PathError
	var link *os.LinkError
	var sys *os.SyscallError
	return !errors.As(err, &host) && !errors.As(err, &link) && !errors.As(err, &sys)
}

func (r *Reader) compare(h *tar.Header) (Manifest, error) {
	got := r.seen
	var want Manifest
	most := int64(maxHeader)
	for _, m := range got.Members {
		most += int64(6*len(m.Name)) + 200 // as JSON
	}
	if err := r.document(h, &want, most); err != nil {
		return want, corrupt(err)
	}
	// The checksum of the compressed stream is at its end.
	if _, err := r.tar.Next(); !errors.Is(err, io.EOF) {
		return want, or(corrupt(err), corruptf("something follows its manifest"))
	}
	if _, err := io.Copy(io.Discard, r.under); err != nil {
		return want, corrupt(err)
	}
	if len(got.Members) != len(want.Members) {
		return want, corruptf("it has %d members, %d were written", len(got.Members), len(want.Members))
	}
	for i, m := range want.Members {
		if got.Members[i] != m {
			return want, corruptf("%s is not as it was written", m.Name)
		}
	}
	return want, nil
}

// Unpack writes the files below root, and the dumps, each in one piece, below dumps. Both must
// exist and should be new: if an error is returned, their content is worthless.
func (r *Reader) Unpack(ctx context.Context, root, dumps string) (Manifest, error) {
	files, err := os.OpenRoot(root)
	if err != nil {
		return Manifest{}, err
	}
	defer func() { _ = files.Close() }()
	bases, err := os.OpenRoot(dumps)
	if err != nil {
		return Manifest{}, err
	}
	defer func() { _ = bases.Close() }()
	return r.each(ctx, func(h *tar.Header, in io.Reader) error {
		if name, ok := strings.CutPrefix(h.Name, databasesDir); ok {
			return appendDump(bases, path.Dir(name), in)
		}
		name, ok := strings.CutPrefix(strings.TrimSuffix(h.Name, "/"), filesDir)
		if !ok || !filepath.IsLocal(name) {
			return corruptf("it has a member %q, which has no place", h.Name)
		}
		if h.Typeflag == tar.TypeSymlink && !r.OutsideLinks && leavesTree(name, h.Linkname) {
			return &LinkError{Name: name, Target: h.Linkname}
		}
		return unpackEntry(files, name, h, in)
	})
}

// leavesTree reports whether a symbolic link leads out of the tree that it is in.
func leavesTree(name, target string) bool {
	return path.IsAbs(target) || !filepath.IsLocal(path.Join(path.Dir(name), target))
}

func appendDump(dir *os.Root, name string, in io.Reader) error {
	if !filepath.IsLocal(name) || name == "." || strings.Contains(name, "/") {
		return corruptf("it has a database %q", name)
	}
	f, err := dir.OpenFile(name, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, in)
	return errors.Join(err, f.Sync(), f.Close())
}

func unpackEntry(root *os.Root, name string, h *tar.Header, in io.Reader) error {
	mode := h.FileInfo().Mode()
	switch h.Typeflag {
	case tar.TypeDir:
		if err := root.Mkdir(name, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
	case tar.TypeSymlink:
		if err := root.Symlink(h.Linkname, name); err != nil {
			return twice(name, err)
		}
		return own(root, name, h)
	case tar.TypeReg:
		if err := root.MkdirAll(path.Dir(name), 0o700); err != nil { // for a file from elsewhere
			return err
		}
		if err := unpackFile(root, name, in); err != nil {
			return err
		}
	default:
		return corruptf("%s is of a kind that no backup has", name)
	}
	if err := own(root, name, h); err != nil {
		return err
	}
	return root.Chmod(name, mode.Perm())
}

func unpackFile(root *os.Root, name string, in io.Reader) error {
	f, err := root.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return twice(name, err)
	}
	_, err = io.Copy(f, in)
	return errors.Join(err, f.Close())
}

// twice turns the error about a member that occurs twice into a CorruptError.
func twice(name string, err error) error {
	if errors.Is(err, fs.ErrExist) {
		return corruptf("it has %s twice", name)
	}
	return err
}

// own restores the owner of a file; only root can.
func own(root *os.Root, name string, h *tar.Header) error {
	if os.Geteuid() != 0 {
		return nil
	}
	return root.Lchown(name, h.Uid, h.Gid)
}
