package bridge

import (
	"bufio"
	"context"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// startTakes is when a start has done most of its work. From then on, pages that were
	// needed only once are released every releaseEvery.
	startTakes   = 5 * time.Second
	releaseEvery = time.Minute
)

// releasePages releases the memory that the program's own file occupies, shortly after
// the start and then at intervals. A start runs code of every linked package, even of
// those that only the other commands need.
func (s *service) releasePages(ctx context.Context) error {
	next := time.NewTimer(startTakes)
	defer next.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-next.C:
		}
		released, err := releaseProgram()
		if err != nil { // continue without: nothing depends on it
			s.Log.Debug("pages of the program were not released", "err", err)
			return nil
		}
		s.Log.Debug("pages of the program were released", "bytes", released)
		next.Reset(releaseEvery)
	}
}

// releaseProgram unmaps the pages of the program's own file, and returns how many bytes
// were resident. The kernel keeps them in its cache, and maps those that are used again
// without reading the disk. A mapping that was ever written to is left alone.
func releaseProgram() (released int64, err error) {
	mappings, err := programMappings()
	for _, m := range mappings {
		if _, _, failed := unix.Syscall(unix.SYS_MADVISE, m.begin, m.end-m.begin, unix.MADV_DONTNEED); failed != 0 {
			return released, os.NewSyscallError("madvise", failed)
		}
		released += m.resident
	}
	return released, err
}

// mapping is a range of this process's addresses that maps unchanged file content.
type mapping struct {
	begin, end uintptr
	resident   int64 // bytes
}

// programMappings returns the mappings of the program's file that are not writable
// (proc_pid_smaps(5)).
func programMappings() (all []mapping, err error) {
	program, err := os.Readlink("/proc/self/exe")
	if err != nil {
		return nil, err
	}
	smaps, err := os.Open("/proc/self/smaps")
	if err != nil {
		return nil, err
	}
	defer func() { _ = smaps.Close() }()
	var m mapping // of the program if end is not 0
	lines := bufio.NewScanner(smaps)
	for lines.Scan() {
		switch fields := strings.Fields(lines.Text()); {
		case len(fields) == 0:
		case !strings.HasSuffix(fields[0], ":"): // addresses, rights, offset, device, inode, file
			m = mapping{}
			if len(fields) == 6 && fields[5] == program && !strings.Contains(fields[1], "w") {
				m.begin, m.end = addresses(fields[0])
			}
		case fields[0] == "Rss:":
			m.resident = kilobytes(fields)
		case fields[0] == "Anonymous:" && len(fields) > 1 && fields[1] == "0" && m.end > m.begin:
			all = append(all, m)
		}
	}
	return all, lines.Err()
}

// addresses reads "BEGIN-END", in hexadecimal.
func addresses(s string) (begin, end uintptr) {
	from, to, _ := strings.Cut(s, "-")
	b, _ := strconv.ParseUint(from, 16, strconv.IntSize)
	e, _ := strconv.ParseUint(to, 16, strconv.IntSize)
	return uintptr(b), uintptr(e)
}

// kilobytes reads "Name: N kB".
func kilobytes(fields []string) int64 {
	if len(fields) < 2 {
		return 0
	}
	n, _ := strconv.ParseInt(fields[1], 10, 64)
	return n << 10
}
