package stack

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"appliance/bridge/mustrun"
)

const oldTable = "UUID=1 / ext4 defaults 0 1" // no newline, as on some hosts

func swapFile(t *testing.T) SwapFile {
	t.Helper()
	dir := t.TempDir()
	f := SwapFile{File: filepath.Join(dir, "swap"), Table: filepath.Join(dir, "fstab"), MB: 4, Dir: "/opt/appliance"}
	if err := os.WriteFile(f.Table, []byte(oldTable), 0o640); err != nil {
		t.Fatal(err)
	}
	return f
}

func (f SwapFile) table(t *testing.T) string {
	t.Helper()
	data, err := os.ReadFile(f.Table)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// The host's own commands make a swap file, a second run changes nothing, and removing the file
// leaves what was there before. Where the kernel does not allow swap, as in most containers,
// nothing is left behind and the hint says how to go on.
func TestASwapFileIsMadeAndRemoved(t *testing.T) {
	if os.Geteuid() != 0 {
		mustrun.Skip(t, "only root may have swap; make test runs as root")
	}
	f := swapFile(t)
	t.Cleanup(func() { _ = f.Remove(t.Context()) })
	err := f.Make(t.Context())
	var refused *SwapError
	if errors.As(err, &refused) {
		if _, statErr := os.Stat(f.File); statErr == nil || f.table(t) != oldTable || !strings.Contains(refused.Hint(), "swap_file=no") {
			t.Fatalf("it left something, or says too little: %v, %v, %q", err, statErr, f.table(t))
		}
		t.Logf("this host may not have swap: %v", err)
		return
	}
	want := oldTable + "\n# Swap that appliance has made for /opt/appliance; its uninstall removes it.\n" + f.File + " none swap sw 0 0\n"
	if err != nil || !f.on() || !f.Made() || f.table(t) != want {
		t.Fatalf("%v, on: %v, the table:\n%s", err, f.on(), f.table(t))
	}
	for _, name := range []string{f.File, f.Table} {
		if info, err := os.Stat(name); err != nil || info.Mode().Perm() != map[string]os.FileMode{f.File: 0o600, f.Table: 0o640}[name] {
			t.Errorf("%v %v", info, err)
		}
	}
	if err := f.Make(t.Context()); err != nil || f.table(t) != want {
		t.Errorf("a second time: %v, the table:\n%s", err, f.table(t))
	}
	other := f
	other.Dir = "/srv/other"
	if err := other.Remove(t.Context()); err != nil || !f.on() {
		t.Errorf("another installation took it away: %v", err)
	}
	if err := f.Remove(t.Context()); err != nil || f.on() || f.Made() || f.table(t) != oldTable+"\n" {
		t.Errorf("%v, on: %v, the table:\n%s", err, f.on(), f.table(t))
	}
}

// Half a file, left by an interrupted run, does not stop the next one, and a command that
// fails leaves nothing behind.
func TestASwapFileThatFailsLeavesNothing(t *testing.T) {
	f := swapFile(t)
	bin := t.TempDir()
	t.Setenv("PATH", bin)
	for name, does := range map[string]string{
		"fallocate": "echo not supported; exit 1", "dd": `echo zeros >"${2#of=}"`, "chmod": "exit 0", "mkswap": "exit 0", "swapon": "echo Operation not permitted; exit 255",
	} {
		if err := os.WriteFile(filepath.Join(bin, name), []byte("#!/bin/sh\n"+does+"\n"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(f.File, []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	err := f.Make(t.Context())
	if _, statErr := os.Stat(f.File); err == nil || !strings.Contains(err.Error(), "swapon "+f.File+": Operation not permitted") || statErr == nil || f.table(t) != oldTable {
		t.Errorf("%v, %v, %q", err, statErr, f.table(t))
	}
}

func TestFileSystemsThatHoldNoSwapFiles(t *testing.T) {
	for kind, says := range map[int64]string{0xef53: "", 0x58465342: "", 0x9123683e: "subvolume", 0x2fc12fc1: "ZFS", 0x794c7630: "0x794c7630"} {
		if why := noSwapOn(kind); why == "" != (says == "") || !strings.Contains(why, says) {
			t.Errorf("%#x: %q", kind, why)
		}
	}
	f := swapFile(t)
	f.MB = 1 << 30
	if why := f.Obstacle(); why == "" {
		t.Error("a petabyte of swap fits here")
	}
	f.MB, f.Table = 1, filepath.Join(t.TempDir(), "none")
	if why := f.Obstacle(); why == "" {
		t.Error("a host without a table of file systems gets swap")
	}
}
