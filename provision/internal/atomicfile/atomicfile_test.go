package atomicfile_test

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"appliance/provision/internal/atomicfile"
)

func TestADirectoryIsThereOnlyWhenItIsItsOwners(t *testing.T) {
	name := filepath.Join(t.TempDir(), "data", "postgres")
	// Left over from an interrupted run.
	if err := os.MkdirAll(filepath.Join(filepath.Dir(name), ".postgres.new"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := atomicfile.Mkdir(name, 0o700, 999, 999); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(name)
	if err != nil || info.Mode().Perm() != 0o700 {
		t.Fatalf("%v, %v", info, err)
	}
	if owner, ok := info.Sys().(*syscall.Stat_t); os.Geteuid() == 0 && (!ok || owner.Uid != 999) {
		t.Errorf("it belongs to %d", owner.Uid)
	}
	if left, _ := os.ReadDir(filepath.Dir(name)); len(left) != 1 {
		t.Errorf("%v is left", left)
	}
	if err := atomicfile.Mkdir(name, 0o750, -1, -1); err != nil {
		t.Errorf("a second time: %v", err)
	}
}

func TestAFileIsReplacedWholeOrNotAtAll(t *testing.T) {
	dir := t.TempDir()
	name := filepath.Join(dir, "a")
	for _, text := range []string{"one", "two"} {
		if err := atomicfile.Write(name, []byte(text), 0o640); err != nil {
			t.Fatal(err)
		}
		if data, err := os.ReadFile(name); err != nil || string(data) != text {
			t.Errorf("%q, %v", data, err)
		}
	}
	if err := atomicfile.Write(filepath.Join(dir, "none", "a"), nil, 0o600); err == nil {
		t.Error("it was written into a directory that is not there")
	}
	if left, _ := os.ReadDir(dir); len(left) != 1 {
		t.Errorf("%v is left", left)
	}
}
