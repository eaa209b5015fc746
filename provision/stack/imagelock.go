package stack

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"slices"
	"strings"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/image"

	"appliance/provision/internal/atomicfile"
)

// ImageLockFile records, below the installation, which images the names in the Compose file
// stand for. Names may move in a registry; the recorded images do not.
const ImageLockFile = "images.lock"

// A LockedImage is what a name stands for.
type LockedImage struct {
	ID string `json:"id"` // the digest of the image's configuration
	// Digest is the digest of the manifest in the registry that the image came from. An image
	// that was built or loaded on this host has none.
	Digest string `json:"digest,omitempty"`
}

type imageLock struct {
	Version int                    `json:"version"`
	Images  map[string]LockedImage `json:"images"`
}

// Locked reads the lock; there is none on a new host.
func (s Images) Locked() (map[string]LockedImage, error) {
	data, err := os.ReadFile(s.stack.path(ImageLockFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var lock imageLock
	if err == nil {
		err = json.Unmarshal(data, &lock)
	}
	if err != nil {
		return nil, &BadLockError{File: s.stack.path(ImageLockFile), Cause: err}
	}
	return lock.Images, nil
}

// A BadLockError says that the lock cannot be read.
type BadLockError struct {
	File  string
	Cause error
}

func (e *BadLockError) Error() string { return e.File + ": " + e.Cause.Error() }

// Unwrap returns the cause.
func (e *BadLockError) Unwrap() error { return e.Cause }

// Hint says what to do.
func (e *BadLockError) Hint() string {
	return "restore it from a backup; or lock the images that are on this host with: rm " + e.File + " && appliance up"
}

// here inspects an image on this host.
func (s Images) here(ctx context.Context, ref string) (info image.InspectResponse, ok bool, err error) {
	info, err = s.stack.api(ctx).ImageInspect(ctx, ref)
	if errdefs.IsNotFound(err) {
		return info, false, nil
	}
	return info, err == nil, err
}

// is reports whether an image is the locked one.
func (l LockedImage) is(info image.InspectResponse) bool {
	return info.ID == l.ID || l.Digest != "" && slices.ContainsFunc(info.RepoDigests, func(d string) bool { return strings.HasSuffix(d, "@"+l.Digest) })
}

// A LostImageError says that a locked image is neither on this host nor available.
type LostImageError struct {
	Ref, Lock string
	Cause     error
}

func (e *LostImageError) Error() string {
	return "cannot fetch " + e.Ref + ", which is locked: " + e.Cause.Error()
}

// Unwrap returns the cause.
func (e *LostImageError) Unwrap() error { return e.Cause }

// Hint says what to do.
func (e *LostImageError) Hint() string {
	if failed, ok := errors.AsType[*RegistryError](e.Cause); ok && failed.again() {
		return failed.Hint()
	}
	return "allow access to the registry; or, if it no longer has the image, lock the image that has this name today: rm " + e.Lock + " && appliance up"
}

// A Holding is how an image on this host compares with the lock.
type Holding struct {
	Here     bool // an image has the name
	Locked   bool // it is the locked one, or may become it
	Recorded bool // the lock already says which image it has to be
}

// holdings compares images with the lock. A name whose locked image came from a registry
// belongs to that image; if the image was built here, its builder may reassign the name.
func (s Images) holdings(ctx context.Context, names []string) (map[string]Holding, error) {
	lock, err := s.Locked()
	if err != nil {
		return nil, err
	}
	out := map[string]Holding{}
	for _, name := range names {
		info, here, err := s.here(ctx, name)
		if err != nil {
			return nil, err
		}
		entry, recorded := lock[name]
		same := recorded && entry.is(info)
		out[name] = Holding{Here: here, Locked: here && (same || entry.Digest == ""), Recorded: same || entry.Digest != ""}
	}
	return out, nil
}

// Lock records what the names in the Compose file stand for on this host. What is locked stays
// locked.
func (s Images) Lock(ctx context.Context) error {
	names := slices.DeleteFunc(s.stack.Compose().lines(ctx, "config", "--images"), ours)
	was, err := s.Locked()
	if err != nil {
		return err
	}
	lock := imageLock{Version: 1, Images: map[string]LockedImage{}}
	for _, name := range names {
		info, here, err := s.here(ctx, name)
		switch entry, recorded := was[name]; {
		case err != nil:
			return err
		case recorded && (!here || entry.is(info) || entry.Digest != ""):
			lock.Images[name] = entry
		case here:
			lock.Images[name] = LockedImage{ID: info.ID, Digest: digestOf(name, info.RepoDigests)}
		}
	}
	data, err := json.MarshalIndent(lock, "", "  ")
	if err != nil {
		return err
	}
	return atomicfile.Write(s.stack.path(ImageLockFile), append(data, '\n'), 0o644)
}

// repositoryOf returns the name of an image without tag and digest.
func repositoryOf(name string) string {
	name, _, _ = strings.Cut(name, "@")
	if i := strings.LastIndex(name, ":"); i > strings.LastIndex(name, "/") {
		name = name[:i]
	}
	return name
}

// digestOf finds the digest that an image has in the repository of its name.
func digestOf(name string, digests []string) string {
	repo := repositoryOf(name)
	for _, d := range digests {
		from, digest, _ := strings.Cut(d, "@")
		if from == repo || from == "docker.io/"+repo || from == "docker.io/library/"+repo {
			return digest
		}
	}
	return ""
}

// RestoreLocked points the given names, or all names in the lock if none are given, back at
// their locked images, found on this host or pulled from their registries by digest. It returns
// the names for which the lock does not help.
func (s Images) RestoreLocked(ctx context.Context, hear func(what string, done, total int64), names ...string) (unknown []string, err error) {
	lock, err := s.Locked()
	if err != nil {
		return nil, err
	}
	if names == nil {
		for name := range lock {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	for _, name := range names {
		entry, recorded := lock[name]
		if !recorded {
			unknown = append(unknown, name)
			continue
		}
		restored, err := s.restore(ctx, name, entry, hear)
		if err != nil {
			if ctx.Err() != nil {
				return nil, ctx.Err()
			}
			return nil, &LostImageError{Ref: repositoryOf(name) + "@" + entry.Digest, Lock: s.stack.path(ImageLockFile), Cause: err}
		}
		if !restored {
			unknown = append(unknown, name)
		}
	}
	return unknown, nil
}

func (s Images) restore(ctx context.Context, name string, entry LockedImage, hear func(string, int64, int64)) (bool, error) {
	if info, here, err := s.here(ctx, name); err != nil || here && entry.is(info) {
		return err == nil, err
	}
	id := entry.ID
	if _, here, err := s.here(ctx, id); err != nil {
		return false, err
	} else if !here {
		if entry.Digest == "" {
			return false, nil
		}
		ref := repositoryOf(name) + "@" + entry.Digest
		if err := s.pull(ctx, ref, hear); err != nil {
			return false, err
		}
		id = ref
	}
	return true, s.stack.api(ctx).ImageTag(ctx, id, name)
}

// pull fetches one image with the docker command, which has the credentials for registries.
// Docker itself verifies the digest.
func (s Images) pull(ctx context.Context, ref string, hear func(string, int64, int64)) error {
	hear("Pulling "+ref, 0, 0)
	err := patiently(ctx, func(what string) { hear(what, 0, 0) }, func() (string, error) {
		out, err := s.stack.command(ctx, "pull", "--quiet", ref).CombinedOutput()
		return string(out), err
	})
	if err != nil && ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil {
		return err
	}
	return nil
}
