package bundle

import (
	"archive/tar"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"runtime"
	"slices"
	"strings"
)

// Load verifies a bundle and loads its images into Docker. want is the checksum of the
// whole file, in hex, or "".
func Load(ctx context.Context, images Images, file, want string, progress func(what string, done, total int64)) (Outcome, error) {
	f, err := os.Open(file)
	if errors.Is(err, fs.ErrNotExist) {
		return Outcome{}, &MissingError{File: file}
	}
	if err != nil {
		return Outcome{}, err
	}
	defer func() { _ = f.Close() }()
	info, err := f.Stat()
	if err != nil {
		return Outcome{}, err
	}
	damaged := func(err error) error {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return &DamagedError{File: file, Reason: err.Error()}
	}
	whole := sha256.New()
	seen := &counted{hear: func(n int64) { progress("verify "+file, n, info.Size()) }}
	v := &verified{sums: map[string]string{}}
	if err := v.read(ctx, io.TeeReader(f, io.MultiWriter(whole, seen))); err != nil {
		return Outcome{}, damaged(err)
	}
	sum := hex.EncodeToString(whole.Sum(nil))
	if want != "" && !strings.EqualFold(want, sum) {
		return Outcome{}, damaged(fmt.Errorf("its SHA-256 is %s, and should be %s", sum, want))
	}
	if platform := runtime.GOOS + "/" + runtime.GOARCH; v.header.Platform != platform {
		return Outcome{}, damaged(fmt.Errorf("it is for %s, and this host is %s", v.header.Platform, platform))
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return Outcome{}, err
	}
	out := Outcome{File: file, SHA256: sum, Version: v.header.Version}
	for _, i := range v.header.Images {
		out.Images = append(out.Images, i.Name)
	}
	return out, v.load(ctx, images, f, progress)
}

// verified is what is known about a bundle after it was read.
type verified struct {
	header Header
	sums   map[string]string // of all members, by name
}

// read reads a whole bundle and compares everything with its checksum.
func (v *verified) read(ctx context.Context, r io.Reader) error {
	members := tar.NewReader(r)
	for n := 0; ; n++ {
		h, err := members.Next()
		if errors.Is(err, io.EOF) {
			return errors.New("it ends before its list of checksums")
		}
		if err != nil || n >= maxMembers {
			return errors.Join(err, fmt.Errorf("member %d cannot be read", n+1))
		}
		if err := v.admit(h, n); err != nil {
			return err
		}
		if h.Name == sumsName {
			return errors.Join(v.compare(members), end(members, r))
		}
		sum := sha256.New()
		content := io.TeeReader(whileContext(ctx, members), sum)
		if h.Name == headerName {
			err = json.NewDecoder(content).Decode(&v.header)
		}
		if _, rest := io.Copy(io.Discard, content); err != nil || rest != nil {
			return fmt.Errorf("%s cannot be read: %w", h.Name, errors.Join(err, rest))
		}
		v.sums[h.Name] = hex.EncodeToString(sum.Sum(nil))
	}
}

// admit refuses members that do not belong in a bundle.
func (v *verified) admit(h *tar.Header, n int) error {
	_, twice := v.sums[h.Name]
	text := h.Name == headerName || h.Name == lockName || h.Name == sumsName
	known := text || h.Name == programName || strings.HasPrefix(h.Name, imageDir)
	switch {
	case h.Typeflag != tar.TypeReg || !known || twice:
		return fmt.Errorf("%q does not belong in it", h.Name)
	case n == 0 && h.Name != headerName:
		return fmt.Errorf("it begins with %q and not with %s", h.Name, headerName)
	case text && h.Size > maxText || h.Size > maxMember:
		return fmt.Errorf("%s is too large", h.Name)
	}
	return nil
}

// compare reads the list of checksums and compares it with what was read.
func (v *verified) compare(r io.Reader) error {
	text, err := io.ReadAll(io.LimitReader(r, maxText))
	if err != nil {
		return err
	}
	listed := map[string]bool{}
	for line := range strings.Lines(string(text)) {
		sum, name, _ := strings.Cut(strings.TrimSpace(line), "  ")
		if v.sums[name] != sum || sum == "" {
			return fmt.Errorf("%s does not have the checksum that is listed", name)
		}
		listed[name] = true
	}
	for name := range v.sums {
		if !listed[name] {
			return fmt.Errorf("%s has no checksum", name)
		}
	}
	needed := []string{headerName, programName, lockName}
	for _, i := range v.header.Images {
		needed = append(needed, i.File)
	}
	for _, name := range needed {
		if v.sums[name] == "" {
			return fmt.Errorf("it lacks %s", name)
		}
	}
	if v.header.Format != Format || len(v.header.Images) == 0 {
		return fmt.Errorf("it has the format %d with %d images; this program reads format %d", v.header.Format, len(v.header.Images), Format)
	}
	return nil
}

// end makes sure that nothing follows the last member, and reads the padding of the file.
func end(members *tar.Reader, r io.Reader) error {
	if h, err := members.Next(); err == nil {
		return fmt.Errorf("%q follows the list of checksums", h.Name)
	} else if !errors.Is(err, io.EOF) {
		return err
	}
	_, err := io.Copy(io.Discard, r)
	return err
}

// load reads the bundle again and loads each image into Docker, which must then have what
// the bundle names.
func (v *verified) load(ctx context.Context, images Images, r io.Reader, progress func(string, int64, int64)) error {
	members := tar.NewReader(r)
	for {
		h, err := members.Next()
		if err != nil || h.Name == sumsName {
			return err
		}
		n := slices.IndexFunc(v.header.Images, func(i Image) bool { return i.File == h.Name })
		if n < 0 {
			continue
		}
		want, sum := v.header.Images[n], sha256.New()
		seen := &counted{hear: func(n int64) { progress("load "+want.Name, n, h.Size) }}
		content := io.TeeReader(whileContext(ctx, members), io.MultiWriter(sum, seen))
		if err := images.Import(ctx, content); err != nil {
			return fmt.Errorf("%s: %w", want.Name, err)
		}
		if _, err := io.Copy(io.Discard, content); err != nil {
			return err
		}
		if hex.EncodeToString(sum.Sum(nil)) != v.sums[h.Name] {
			return fmt.Errorf("%s changed while it was loaded", want.Name)
		}
		have, layers, err := images.Describe(ctx, want.Name)
		if err != nil {
			return err
		}
		if have.ID != want.ID && !slices.Equal(layers, want.Layers) {
			return fmt.Errorf("%s is %s after loading, and should be %s", want.Name, have.ID, want.ID)
		}
	}
}

// whileContext stops reading when ctx ends.
func whileContext(ctx context.Context, r io.Reader) io.Reader {
	return reader(func(p []byte) (int, error) {
		if err := ctx.Err(); err != nil {
			return 0, err
		}
		return r.Read(p)
	})
}

type reader func([]byte) (int, error)

func (r reader) Read(p []byte) (int, error) { return r(p) }
