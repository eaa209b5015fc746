package bridge

import (
	"testing"

	"golang.org/x/sys/unix"
)

// The whole program is brought into memory; after a release most of it is gone, and the
// program goes on.
func TestTheProgramsPagesAreReleased(t *testing.T) {
	mappings, err := programMappings()
	if err != nil {
		t.Fatal(err)
	}
	if len(mappings) < 2 { // code, and read-only data
		t.Fatalf("the program is mapped %d times", len(mappings))
	}
	for _, m := range mappings {
		if _, _, err := unix.Syscall(unix.SYS_MADVISE, m.begin, m.end-m.begin, unix.MADV_POPULATE_READ); err != 0 {
			t.Fatal(err)
		}
	}
	before, err := releaseProgram()
	if err != nil {
		t.Fatal(err)
	}
	after, err := programMappings()
	if err != nil {
		t.Fatal(err)
	}
	var left int64
	for _, m := range after {
		left += m.resident
	}
	if before < 10<<20 || left > before/2 {
		t.Fatalf("%d bytes of the program were in memory, and %d afterwards", before, left)
	}
}
