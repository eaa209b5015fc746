package backup_test

import (
	"archive/tar"
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/klauspost/compress/zstd"

	"appliance/provision/backup"
)

// fuzzedTar returns an archive of members, the first of which is the header of a backup.
func fuzzedTar(members ...tar.Header) []byte {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, h := range members {
		content := []byte(`{"format":1,"program":"v1"}`)
		if h.Typeflag != tar.TypeReg {
			content = nil
		}
		h.Size, h.Mode = int64(len(content)), 0o644
		_ = w.WriteHeader(&h)
		_, _ = w.Write(content)
	}
	_ = w.Close()
	return b.Bytes()
}

// FuzzUnpack: whatever an archive contains, nothing is written outside the folder that it
// is unpacked to.
func FuzzUnpack(f *testing.F) {
	head := tar.Header{Name: "backup.json", Typeflag: tar.TypeReg}
	f.Add(fuzzedTar(head, tar.Header{Name: "files/a", Typeflag: tar.TypeReg}), true)
	f.Add(fuzzedTar(head, tar.Header{Name: "files/../../a", Typeflag: tar.TypeReg}, tar.Header{Name: "files/l", Linkname: "../..", Typeflag: tar.TypeSymlink}, tar.Header{Name: "files/l/a", Typeflag: tar.TypeReg}), true)
	f.Add([]byte("not a tar"), true)
	f.Add([]byte("age-encryption.org/v1\n"), false)
	f.Fuzz(func(t *testing.T, data []byte, compress bool) {
		if compress {
			w, err := zstd.NewWriter(nil)
			if err != nil {
				t.Fatal(err)
			}
			data = w.EncodeAll(data, nil)
		}
		r, err := backup.Open(bytes.NewReader(data), backup.Keys{}, nil)
		if err != nil {
			return
		}
		defer r.Close()
		dir := t.TempDir()
		root, dumps := filepath.Join(dir, "root"), filepath.Join(dir, "dumps")
		for _, d := range []string{root, dumps} {
			if err := os.Mkdir(d, 0o700); err != nil {
				t.Fatal(err)
			}
		}
		_, _ = r.Unpack(t.Context(), root, dumps)
		beside, err := os.ReadDir(dir)
		if err != nil || len(beside) != 2 {
			t.Errorf("beside the folders: %v, %v", beside, err)
		}
	})
}
