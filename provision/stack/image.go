package stack

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"debug/elf"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/image"
)

// repository is the name of our own image; its tag says what is in it.
const repository = "appliance-program"

// systemRoots is where Debian and Ubuntu keep the certificates to trust.
const systemRoots = "/etc/ssl/certs/ca-certificates.crt"

// Roots returns the certificate authorities that this host trusts, or nil if it has none.
func Roots() []byte {
	roots, _ := os.ReadFile(systemRoots)
	return roots
}

// A Program is what our own image is made of: this program, and the authorities
// that this host trusts, because the image has nothing else in it.
type Program struct {
	path  string
	roots []byte
	sum   string
}

// OpenProgram reads the executable at path.
func OpenProgram(path string) (Program, error) {
	roots, err := os.ReadFile(systemRoots)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return Program{}, err
	}
	f, err := os.Open(path) //nolint:gosec // our own executable
	if err != nil {
		return Program{}, err
	}
	defer func() { _ = f.Close() }()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return Program{}, err
	}
	h.Write(roots)
	return Program{path: path, roots: roots, sum: hex.EncodeToString(h.Sum(nil))}, nil
}

// Image is the name of the program's image.
func (p Program) Image() string { return repository + ":" + p.sum[:12] }

// static returns an error if the program needs shared libraries, which the image does not have.
func (p Program) static() error {
	f, err := elf.Open(p.path)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	for _, part := range f.Progs {
		if part.Type == elf.PT_INTERP {
			return fmt.Errorf("%s needs shared libraries and cannot run in a container: build it with CGO_ENABLED=0", p.path)
		}
	}
	return nil
}

// Build builds the image of the program.
func (s Images) Build(ctx context.Context, p Program) error {
	if err := p.static(); err != nil {
		return err
	}
	r, w := io.Pipe()
	go func() { w.CloseWithError(p.archive(w)) }()
	answer, err := s.stack.api(ctx).ImageImport(ctx, image.ImportSource{Source: r, SourceName: "-"}, p.Image(), image.ImportOptions{
		Message: "appliance",
		Changes: []string{
			`ENTRYPOINT ["/appliance"]`,
			"USER 10500:10500",
			"LABEL appliance.sha256=" + p.sum,
		},
	})
	if err != nil {
		_ = r.CloseWithError(err)
		return fmt.Errorf("build image %s: %w", p.Image(), err)
	}
	defer func() { _ = answer.Close() }()
	output, err := io.ReadAll(answer)
	if err == nil && bytes.Contains(output, []byte(`"error"`)) {
		err = errors.New(strings.TrimSpace(string(output)))
	}
	return err
}

func (p Program) archive(to io.Writer) error {
	f, err := os.Open(p.path)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	w := tar.NewWriter(to)
	put := func(name string, mode int64, size int64, from io.Reader) error {
		if err := w.WriteHeader(&tar.Header{Name: name, Mode: mode, Size: size, ModTime: time.Unix(0, 0)}); err != nil {
			return err
		}
		_, err := io.Copy(w, from)
		return err
	}
	if err := put("appliance", 0o755, info.Size(), f); err != nil {
		return err
	}
	if err := put(strings.TrimPrefix(systemRoots, "/"), 0o644, int64(len(p.roots)), bytes.NewReader(p.roots)); err != nil {
		return err
	}
	return w.Close()
}

// RemoveOld removes images of earlier builds; those in use stay.
func (s Images) RemoveOld(ctx context.Context, keep string) {
	list, err := s.stack.api(ctx).ImageList(ctx, image.ListOptions{Filters: filters.NewArgs(filters.Arg("reference", repository+":*"))})
	if err != nil {
		return
	}
	for _, i := range list {
		for _, tag := range i.RepoTags {
			if tag != keep {
				_, _ = s.stack.api(ctx).ImageRemove(ctx, tag, image.RemoveOptions{})
			}
		}
	}
}

// Fetch gets images that are missing on this host from their registries.
func (s Images) Fetch(ctx context.Context, names []string, hear func(what string, done, total int64)) error {
	for _, name := range names {
		have, err := s.present(ctx, []string{name})
		if err != nil {
			return err
		}
		if have[name] {
			continue
		}
		err = patiently(ctx, func(what string) { hear(what, 0, 0) }, func() (string, error) {
			err := s.fetch(ctx, name, hear)
			if err == nil {
				return "", nil
			}
			return err.Error(), err
		})
		if err != nil {
			return fmt.Errorf("fetch %s: %w", name, err)
		}
	}
	return nil
}

func (s Images) fetch(ctx context.Context, name string, hear func(string, int64, int64)) error {
	answer, err := s.stack.api(ctx).ImagePull(ctx, name, image.PullOptions{})
	if err != nil {
		return err
	}
	defer func() { _ = answer.Close() }()
	for dec := json.NewDecoder(answer); ; {
		var line struct {
			Status, ID, Error string
			Progress          struct{ Current, Total int64 } `json:"progressDetail"`
		}
		switch err := dec.Decode(&line); {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		case line.Error != "":
			return errors.New(line.Error)
		}
		hear(strings.TrimSpace(line.ID+" "+line.Status), line.Progress.Current, line.Progress.Total)
	}
}

// Remove removes an image unless a container uses it. Docker itself would untag an image that
// is in use and has another name too.
func (s Images) Remove(ctx context.Context, name string) {
	info, err := s.stack.api(ctx).ImageInspect(ctx, name)
	if err != nil {
		return
	}
	list, err := s.stack.api(ctx).ContainerList(ctx, container.ListOptions{All: true})
	if err != nil || slices.ContainsFunc(list, func(c container.Summary) bool { return c.ImageID == info.ID }) {
		return
	}
	_, _ = s.stack.api(ctx).ImageRemove(ctx, name, image.RemoveOptions{})
}

// IDs returns the image that each service runs, as the digest of its content.
func (s Images) IDs(ctx context.Context) (map[string]string, error) {
	services, err := s.stack.Services(ctx)
	if err != nil {
		return nil, err
	}
	out := map[string]string{}
	for name, service := range services {
		info, err := s.stack.api(ctx).ContainerInspect(ctx, service.ID)
		if err == nil && info.ContainerJSONBase != nil {
			out[name] = info.Image
		}
	}
	return out, nil
}

func (s Images) present(ctx context.Context, names []string) (map[string]bool, error) {
	out := map[string]bool{}
	for _, name := range names {
		_, err := s.stack.api(ctx).ImageInspect(ctx, name)
		if err != nil && !errdefs.IsNotFound(err) {
			return nil, err
		}
		out[name] = err == nil
	}
	return out, nil
}
