package configfile_test

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"appliance/bridge/config/configfile"
)

func TestSaveReplacesWhatWasSeen(t *testing.T) {
	name := filepath.Join(t.TempDir(), "bridge.yaml")
	if err := os.WriteFile(name, []byte("old"), 0o640); err != nil {
		t.Fatal(err)
	}
	seen := configfile.Hash([]byte("old"))
	if err := configfile.Save(name, seen, []byte("new")); err != nil {
		t.Fatal(err)
	}
	if err := configfile.Save(name, seen, []byte("other")); !errors.Is(err, configfile.ErrChanged) {
		t.Errorf("err = %v", err)
	}
	data, err := configfile.Read(name)
	if err != nil || string(data) != "new" {
		t.Errorf("%q, %v", data, err)
	}
	if info, _ := os.Stat(name); info.Mode().Perm() != 0o640 {
		t.Error(info.Mode())
	}
	if files, _ := os.ReadDir(filepath.Dir(name)); len(files) != 1 {
		t.Errorf("%v is left", files)
	}
}

// While one process is replacing the file, no other can.
func TestSaveWaitsForTheLock(t *testing.T) {
	name := filepath.Join(t.TempDir(), "bridge.yaml")
	if err := os.WriteFile(name, []byte("old"), 0o600); err != nil {
		t.Fatal(err)
	}
	unlock, err := configfile.Lock(name)
	if err != nil {
		t.Fatal(err)
	}
	if err := configfile.Save(name, configfile.Hash([]byte("old")), []byte("new")); err == nil {
		t.Error("saved in spite of the lock")
	}
	unlock()
	if err := configfile.Save(name, configfile.Hash([]byte("old")), []byte("new")); err != nil {
		t.Error(err)
	}
}

// Reading the file always returns, whatever it was replaced with.
func TestReadTakesFilesOnly(t *testing.T) {
	name := filepath.Join(t.TempDir(), "bridge.yaml")
	if err := syscall.Mkfifo(name, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := configfile.Read(name); err == nil {
		t.Error("read a pipe")
	}
}

// A link is followed if root made it, but not if the container did.
func TestReadFollowsOnlyLinksOfRoot(t *testing.T) {
	dir := t.TempDir()
	secret, name := filepath.Join(dir, "secret"), filepath.Join(dir, "bridge.yaml")
	if err := errors.Join(os.WriteFile(secret, []byte("of the host"), 0o600), os.Symlink(secret, name)); err != nil {
		t.Fatal(err)
	}
	if os.Geteuid() == 0 {
		if data, err := configfile.Read(name); err != nil || string(data) != "of the host" {
			t.Errorf("the link of root: %q, %v", data, err)
		}
		if err := os.Lchown(name, 65534, 65534); err != nil {
			t.Fatal(err)
		}
	}
	if data, err := configfile.Read(name); err == nil {
		t.Errorf("read %q through a link", data)
	}
}
