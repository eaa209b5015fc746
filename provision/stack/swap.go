package stack

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"appliance/provision/internal/atomicfile"
)

// A SwapFile is a swap file on this host, and its line in the table of file systems, which
// enables it at every boot.
type SwapFile struct {
	File  string
	Table string // fstab(5)
	MB    int
	Dir   string // the installation whose uninstall removes it
}

// SwapFileOf returns the swap file that an installation makes on this host. It has the
// program's name, so that no other software makes or removes it.
func SwapFileOf(dir string) SwapFile {
	return SwapFile{File: "/var/lib/appliance.swap", Table: "/etc/fstab", MB: 2048, Dir: dir}
}

// roomBeside is how much disk space, in MB, has to stay free beside a swap file.
const roomBeside = 6 << 10

// A SwapError says that a swap file could not be made or removed.
type SwapError struct{ Reason, Advice string }

func (e *SwapError) Error() string { return e.Reason }

// Hint says what to do.
func (e *SwapError) Hint() string { return e.Advice }

func (f SwapFile) fallocate() []string {
	return []string{"fallocate", "-l", fmt.Sprintf("%dM", f.MB), f.File}
}

// dd is for file systems without fallocate.
func (f SwapFile) dd() []string {
	return []string{"dd", "if=/dev/zero", "of=" + f.File, "bs=1M", fmt.Sprintf("count=%d", f.MB)}
}

// rest returns the commands to run once the file has its size.
func (f SwapFile) rest() [][]string {
	return [][]string{{"chmod", "600", f.File}, {"mkswap", f.File}, {"swapon", f.File}}
}

func (f SwapFile) line() string { return f.File + " none swap sw 0 0" }

func (f SwapFile) mark() string {
	return "# Swap that appliance has made for " + f.Dir + "; its uninstall removes it."
}

// Commands returns what Make does, as shell commands.
func (f SwapFile) Commands() []string {
	out := []string{strings.Join(f.fallocate(), " ") + " || " + strings.Join(f.dd(), " ")}
	for _, args := range f.rest() {
		out = append(out, strings.Join(args, " "))
	}
	return append(out, fmt.Sprintf("echo '%s' >>%s", f.line(), f.Table))
}

// Obstacle returns why the file cannot be made on this host, or "".
func (f SwapFile) Obstacle() string {
	for _, name := range []string{"fallocate", "mkswap", "swapon"} {
		if _, err := exec.LookPath(name); err != nil {
			return name + " is not installed"
		}
	}
	if _, err := os.Stat(f.Table); err != nil {
		return err.Error()
	}
	var st unix.Statfs_t
	if err := unix.Statfs(filepath.Dir(f.File), &st); err != nil {
		return fmt.Sprintf("%s: %v", filepath.Dir(f.File), err)
	}
	if why := noSwapOn(int64(st.Type)); why != "" { //nolint:unconvert // other sizes elsewhere
		return why
	}
	if free := int64(st.Bavail) * st.Bsize >> 20; free < int64(f.MB+roomBeside) {
		return fmt.Sprintf("%d MB of the disk are free, and %d MB are needed for the file and for what has to stay free beside it", free, f.MB+roomBeside)
	}
	return ""
}

// noSwapOn returns why a file system, given by its magic number (statfs(2)), cannot hold a swap
// file that is made like any other file.
func noSwapOn(kind int64) string {
	switch kind {
	case unix.EXT4_SUPER_MAGIC, unix.XFS_SUPER_MAGIC: // ext2 and ext3 share the number of ext4
		return ""
	case unix.BTRFS_SUPER_MAGIC:
		return "on btrfs a swap file needs a subvolume of its own, without snapshots: see man 5 btrfs"
	case 0x2fc12fc1:
		return "swap in a file on ZFS can stop the host"
	}
	return fmt.Sprintf("a file system of kind %#x is not known to hold swap files", kind)
}

// Made reports whether the file exists and is in the table.
func (f SwapFile) Made() bool {
	_, err := os.Lstat(f.File)
	table, _ := os.ReadFile(f.Table)
	return err == nil && strings.Contains(string(table), f.line())
}

// on reports whether the kernel uses the file.
func (f SwapFile) on() bool {
	table, _ := os.ReadFile("/proc/swaps")
	for line := range strings.Lines(string(table)) {
		if name, _, _ := strings.Cut(line, " "); name == f.File {
			return true
		}
	}
	return false
}

// Make creates the file, enables it and adds it to the table. A file left by an interrupted run
// is created again. After a failure nothing is left of it.
func (f SwapFile) Make(ctx context.Context) error {
	if !f.on() {
		if err := f.create(ctx); err != nil {
			_ = os.Remove(f.File)
			return &SwapError{"no swap file could be made, and nothing is left of it: " + err.Error(), "go on without one: appliance up --set swap_file=no"}
		}
	}
	table, err := os.ReadFile(f.Table)
	if err != nil || strings.Contains(string(table), f.line()) {
		return err
	}
	text := string(table)
	if text != "" && !strings.HasSuffix(text, "\n") {
		text += "\n"
	}
	return f.write(text + f.mark() + "\n" + f.line() + "\n")
}

func (f SwapFile) create(ctx context.Context) error {
	if err := os.Remove(f.File); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := hostCommand(ctx, f.fallocate()); err != nil {
		if err := hostCommand(ctx, f.dd()); err != nil {
			return err
		}
	}
	for _, args := range f.rest() {
		if err := hostCommand(ctx, args); err != nil {
			return err
		}
	}
	return nil
}

// write replaces the table and keeps its mode.
func (f SwapFile) write(text string) error {
	name, err := filepath.EvalSymlinks(f.Table)
	if err != nil {
		return err
	}
	info, err := os.Stat(name)
	if err != nil {
		return err
	}
	return atomicfile.Write(name, []byte(text), info.Mode().Perm())
}

// Remove disables the file and removes it and its line, if this installation made it.
func (f SwapFile) Remove(ctx context.Context) error {
	table, err := os.ReadFile(f.Table)
	if err != nil || !strings.Contains(string(table), f.mark()+"\n") {
		return nil //nolint:nilerr // without a table there was none
	}
	if f.on() {
		if err := hostCommand(ctx, []string{"swapoff", f.File}); err != nil {
			return &SwapError{"the swap file is still in use: " + err.Error(), "free some memory and try again: appliance uninstall"}
		}
	}
	if err := os.Remove(f.File); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return f.write(strings.NewReplacer(f.mark()+"\n", "", f.line()+"\n", "").Replace(string(table)))
}
