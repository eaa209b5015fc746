package bundle

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"appliance/provision/stack"
)

// A Plan says what goes into a bundle.
type Plan struct {
	File     string                               // which must not exist
	Program  string                               // the file of the program
	Version  string                               // of the program
	Names    []string                             // of the images
	Progress func(what string, done, total int64) // bytes; total is 0 where it is unknown
}

// Create makes a bundle. Missing images are fetched from the registries. The file gets
// its name only once it is complete; images are kept beside it meanwhile, one at a time,
// because a tar has to know how long a member is.
func Create(ctx context.Context, images Images, p Plan) (out Outcome, err error) {
	if _, err := os.Lstat(p.File); err == nil {
		return out, &ExistsError{File: p.File}
	}
	if err := images.Fetch(ctx, p.Names, p.Progress); err != nil {
		return out, err
	}
	h := Header{Format: Format, Version: p.Version, Platform: runtime.GOOS + "/" + runtime.GOARCH}
	for n, name := range p.Names {
		locked, layers, err := images.Describe(ctx, name)
		if err != nil {
			return out, err
		}
		h.Images = append(h.Images, Image{Name: name, LockedImage: locked, Layers: layers, File: fmt.Sprintf("%s%02d.tar.gz", imageDir, n+1)})
	}
	f, err := os.CreateTemp(filepath.Dir(p.File), ".bundle-*")
	if err != nil {
		return out, err
	}
	defer func() { _ = os.Remove(f.Name()) }() // a complete bundle has another name
	whole := sha256.New()
	w := &writer{tar: tar.NewWriter(io.MultiWriter(f, whole)), dir: filepath.Dir(p.File)}
	err = w.all(ctx, images, p, h)
	if err = errors.Join(err, w.tar.Close(), f.Sync(), f.Close()); err != nil {
		return out, err
	}
	if err := os.Link(f.Name(), p.File); err != nil { // unlike a rename, it replaces nothing
		return out, err
	}
	return Outcome{File: p.File, SHA256: hex.EncodeToString(whole.Sum(nil)), Version: p.Version, Images: p.Names}, nil
}

// A writer writes members and records their checksums.
type writer struct {
	tar  *tar.Writer
	dir  string // for temporary files
	sums bytes.Buffer
}

func (w *writer) all(ctx context.Context, images Images, p Plan, h Header) error {
	lock := map[string]stack.LockedImage{}
	for _, i := range h.Images {
		lock[i.Name] = i.LockedImage
	}
	if err := w.document(headerName, h); err != nil {
		return err
	}
	if err := w.program(p); err != nil {
		return err
	}
	if err := w.document(lockName, map[string]any{"version": 1, "images": lock}); err != nil {
		return err
	}
	for _, i := range h.Images {
		if err := w.image(ctx, images, i, p.Progress); err != nil {
			return err
		}
	}
	sums := bytes.NewReader(bytes.Clone(w.sums.Bytes()))
	return w.member(sumsName, 0o644, int64(sums.Len()), sums)
}

func (w *writer) document(name string, doc any) error {
	text, err := json.MarshalIndent(doc, "", "  ")
	if err != nil {
		return err
	}
	return w.member(name, 0o644, int64(len(text)+1), bytes.NewReader(append(text, '\n')))
}

func (w *writer) program(p Plan) error {
	f, err := os.Open(p.Program)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	return w.member(programName, 0o755, info.Size(), f)
}

// image compresses an image into an unnamed temporary file, and adds that.
func (w *writer) image(ctx context.Context, images Images, i Image, progress func(string, int64, int64)) error {
	f, err := os.CreateTemp(w.dir, ".bundle-*")
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	if err := os.Remove(f.Name()); err != nil {
		return err
	}
	small, err := gzip.NewWriterLevel(f, gzip.BestSpeed)
	if err != nil {
		return err
	}
	seen := &counted{hear: func(n int64) { progress("save "+i.Name, n, 0) }}
	if err := errors.Join(images.Export(ctx, i.Name, io.MultiWriter(small, seen)), small.Close()); err != nil {
		return err
	}
	size, err := f.Seek(0, io.SeekEnd)
	if err == nil {
		_, err = f.Seek(0, io.SeekStart)
	}
	if err != nil {
		return err
	}
	return w.member(i.File, 0o644, size, f)
}

// member writes a member and records its checksum.
func (w *writer) member(name string, mode, size int64, from io.Reader) error {
	if err := w.tar.WriteHeader(&tar.Header{Name: name, Mode: mode, Size: size, ModTime: time.Unix(0, 0), Format: tar.FormatPAX}); err != nil {
		return err
	}
	h := sha256.New()
	if _, err := io.Copy(io.MultiWriter(w.tar, h), from); err != nil {
		return err
	}
	fmt.Fprintf(&w.sums, "%x  %s\n", h.Sum(nil), name)
	return nil
}
