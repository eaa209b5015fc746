package stack

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// Describe returns what a name stands for on this host: its image, and the digests of the
// layers, which are the same in every kind of image store.
func (s Images) Describe(ctx context.Context, name string) (LockedImage, []string, error) {
	info, err := s.stack.api(ctx).ImageInspect(ctx, name)
	if err != nil {
		return LockedImage{}, nil, fmt.Errorf("image %s: %w", name, err)
	}
	return LockedImage{ID: info.ID, Digest: digestOf(name, info.RepoDigests)}, info.RootFS.Layers, nil
}

// Export writes an image with its name as a tar that Import takes, as `docker save` does.
func (s Images) Export(ctx context.Context, name string, w io.Writer) error {
	r, err := s.stack.api(ctx).ImageSave(ctx, []string{name})
	if err == nil {
		_, err = io.Copy(w, r)
		err = errors.Join(err, r.Close())
	}
	if err != nil {
		return fmt.Errorf("save the image %s: %w", name, err)
	}
	return nil
}

// Import loads the images of a tar, which may be compressed, with their names.
func (s Images) Import(ctx context.Context, r io.Reader) error {
	answer, err := s.stack.api(ctx).ImageLoad(ctx, r)
	if err != nil {
		return fmt.Errorf("load an image: %w", err)
	}
	defer func() { _ = answer.Body.Close() }()
	for dec := json.NewDecoder(answer.Body); ; {
		var line struct{ Error string }
		switch err := dec.Decode(&line); {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		case line.Error != "":
			return errors.New("load an image: " + line.Error)
		}
	}
}
