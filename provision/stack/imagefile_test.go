package stack

import (
	"archive/tar"
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/docker/docker/api/types/image"
)

// A real Docker saves an image and loads it again under its name.
func TestAnImageIsSavedAndLoaded(t *testing.T) {
	s := onThisMachine(t)
	const name = "appliance-stage/saved:1"
	var layer bytes.Buffer
	w := tar.NewWriter(&layer)
	if err := w.WriteHeader(&tar.Header{Name: "file", Size: 5, Mode: 0o644}); err != nil {
		t.Fatal(err)
	}
	_, _ = w.Write([]byte("hello"))
	_ = w.Close()
	answer, err := s.api(t.Context()).ImageImport(t.Context(), image.ImportSource{Source: &layer, SourceName: "-"}, name, image.ImportOptions{})
	if err != nil {
		t.Fatal(err)
	}
	_, _ = new(bytes.Buffer).ReadFrom(answer)
	_ = answer.Close()
	defer s.Images().Remove(t.Context(), name)

	before, layers, err := s.Images().Describe(t.Context(), name)
	if err != nil || len(layers) != 1 || before.ID == "" {
		t.Fatalf("%+v, %v, %v", before, layers, err)
	}
	f, err := os.Create(filepath.Join(t.TempDir(), "image.tar"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := s.Images().Export(t.Context(), name, f); err != nil {
		t.Fatal(err)
	}
	s.Images().Remove(t.Context(), name)
	if _, _, err := s.Images().Describe(t.Context(), name); err == nil {
		t.Fatal("it was not removed")
	}
	if err := s.Images().Import(t.Context(), bytes.NewReader([]byte("no image"))); err == nil {
		t.Error("what is no image was loaded")
	}
	if _, err := f.Seek(0, 0); err != nil {
		t.Fatal(err)
	}
	if err := s.Images().Import(t.Context(), f); err != nil {
		t.Fatal(err)
	}
	if after, _, err := s.Images().Describe(t.Context(), name); err != nil || after.ID != before.ID {
		t.Errorf("%s before and %s after, %v", before.ID, after.ID, err)
	}
}
