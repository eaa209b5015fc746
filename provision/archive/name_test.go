package archive

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

// Backups made within one second have distinct names that sort in the order in which they
// were made, encrypted or not.
func TestBackupsOfOneSecondDoNotCollide(t *testing.T) {
	prefix, now := filepath.Join(t.TempDir(), "example.test"), time.Date(2026, 1, 2, 3, 4, 59, 0, time.UTC)
	var names []string
	for range 3 {
		name := newName(prefix, true, now)
		if err := os.WriteFile(name, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		names = append(names, filepath.Base(name))
	}
	want := []string{"example.test-20260102T030459Z.tar.zst.age", "example.test-20260102T030500Z.tar.zst.age", "example.test-20260102T030501Z.tar.zst.age"}
	if !slices.Equal(names, want) {
		t.Errorf("%q", names)
	}
}
