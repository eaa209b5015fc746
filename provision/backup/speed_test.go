package backup_test

import (
	"io"
	"os"
	"testing"

	"appliance/provision/backup"
)

// BenchmarkMedia saves data that cannot be compressed, like most media. Compare:
// tar -c DIR | zstd | cat >/dev/null
func BenchmarkMedia(b *testing.B) {
	dir := os.Getenv("APPLIANCE_MEDIA")
	if dir == "" {
		b.Skip("APPLIANCE_MEDIA names no directory")
	}
	for b.Loop() {
		w, err := backup.NewWriter(io.Discard, header, backup.Keys{}, nil)
		if err != nil {
			b.Fatal(err)
		}
		if err := w.Tree(b.Context(), dir, ".", nil); err != nil {
			b.Fatal(err)
		}
		m, err := w.Close()
		if err != nil {
			b.Fatal(err)
		}
		b.SetBytes(m.Size())
	}
}
