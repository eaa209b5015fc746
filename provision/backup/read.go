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

	"github.com/klauspost/compress/zstd"
)

// A Reader reads an archive from its beginning to its end, once.
type Reader struct {
	Header   Header
	tar      *tar.Reader
	under    *zstd.Decoder
	seen     Manifest
	progress func(int64)
	read     int64
}

// Open reads what an archive is of. A format of the future is refused.
func Open(r io.Reader, k Keys, progress func(read int64)) (*Reader, error) {
	plain, err := k.decrypt(r)
	if err != nil {
		return nil, err
	}
	z, err := zstd.NewReader(plain, zstd.WithDecoderMaxMemory(256<<20))
	if err != nil {
		return nil, corrupt(err)
	}
	out := &Reader{tar: tar.NewReader(z), under: z, progress: progress}
	if out.progress == nil {
		out.progress = func(int64) {}
	}
	h, err := out.tar.Next()
	if err == nil && h.Name != headerName {
		err = corruptf("it does not begin as a backup does")
	}
	if err == nil {
		err = out.document(h, &out.Header)
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

// Close ends reading. It does not close what is read from.
func (r *Reader) Close() { r.under.Close() }

// document reads a member that is JSON.
func (r *Reader) document(h *tar.Header, v any) error {
	if h.Size > 1<<30 {
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
	return len(p), nil
}

// Verify reads everything and returns the manifest if all is as it was written.
func (r *Reader) Verify(ctx context.Context) (Manifest, error) {
	return r.each(ctx, func(*tar.Header, io.Reader) error { return nil })
}

// each calls do for every member, and fails at the end when anything was not as
// the manifest says. What do has done by then is to be thrown away.
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

// fromTheArchive tells a failure to read the archive from one to write its
// content, which is about this host.
func fromTheArchive(err error) bool {
	var host *fs.PathError
	var link *os.LinkError
	var sys *os.SyscallError
	return !errors.As(err, &host) && !errors.As(err, &link) && !errors.As(err, &sys)
}

func (r *Reader) compare(h *tar.Header) (Manifest, error) {
	got := r.seen
	var want Manifest
	if err := r.document(h, &want); err != nil {
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

// Unpack puts the files below root, and the dumps, each in one piece, below
// dumps. Both must exist and should be new: when an error is returned their
// content is worthless.
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
		return unpackEntry(files, name, h, in)
	})
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
			return err
		}
		return own(root, name, h)
	case tar.TypeReg:
		if err := root.MkdirAll(path.Dir(name), 0o700); err != nil { // of a file from elsewhere
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
		return err
	}
	_, err = io.Copy(f, in)
	return errors.Join(err, f.Close())
}

// own gives a file to whom it belonged; only root can.
func own(root *os.Root, name string, h *tar.Header) error {
	if os.Geteuid() != 0 {
		return nil
	}
	return root.Lchown(name, h.Uid, h.Gid)
}
