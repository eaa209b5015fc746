package bridge_test

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// asInstalled is the environment that the appliance sets for the bridge (compose.yaml).
const asInstalled = "GOGC=50"

// buildProgram builds the program with the flags of a release.
func buildProgram(tb testing.TB) string {
	tb.Helper()
	program := filepath.Join(tb.TempDir(), "appliance")
	build := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w", "-o", program, "appliance/cmd/appliance") //nolint:gosec,noctx // our own program
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		tb.Fatalf("%v: %s", err, out)
	}
	return program
}

// runProgram runs the bridge as a process of its own until stop is called, and returns once it is ready.
func runProgram(tb testing.TB, program, file, url string, environment ...string) (pid int, stop func()) {
	tb.Helper()
	ctx, cancel := context.WithCancel(context.WithoutCancel(tb.Context()))
	cmd := exec.CommandContext(ctx, program, "bridge", "--config", file)
	cmd.Env = append(os.Environ(), environment...)
	cmd.Stdout, cmd.Stderr = tb.Output(), tb.Output()
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		tb.Fatal(err)
	}
	stop = sync.OnceFunc(func() { cancel(); _ = cmd.Wait() })
	tb.Cleanup(stop)
	for start := time.Now(); ; time.Sleep(5 * time.Millisecond) {
		if res, err := http.Get(url + "/ready"); err == nil {
			_ = res.Body.Close()
			if res.StatusCode == http.StatusOK {
				return cmd.Process.Pid, stop
			}
		}
		if time.Since(start) > 5*time.Minute {
			tb.Fatal("not ready after five minutes")
		}
	}
}

// footprint is the memory of a process, in MB. What is backed by files, such as the
// program itself, the kernel reclaims when it needs to.
type footprint struct{ all, file float64 }

func footprintOf(tb testing.TB, pid int) footprint {
	tb.Helper()
	return footprint{float64(resident(tb, pid)) / (1 << 20), float64(memory(tb, pid, "RssFile:")) / (1 << 20)}
}

// settledMemory returns a process's memory once it has not changed for ten seconds, or after a
// minute. Five seconds after its start, a bridge releases what only the start needed.
func settledMemory(tb testing.TB, pid int) footprint {
	tb.Helper()
	is, since := footprintOf(tb, pid), time.Now()
	for start := time.Now(); time.Since(since) < 10*time.Second && time.Since(start) < time.Minute; time.Sleep(250 * time.Millisecond) {
		if now := footprintOf(tb, pid); now.all > is.all+0.5 || now.all < is.all-0.5 {
			is, since = now, time.Now()
		}
	}
	return is
}

// mostMemory samples a process until stop is called, which returns its peak.
func mostMemory(tb testing.TB, pid int) (stop func() footprint) {
	tb.Helper()
	end, most := make(chan struct{}), make(chan footprint, 1)
	go func() {
		var m footprint
		for {
			if now := footprintOf(tb, pid); now.all > m.all {
				m = now
			}
			select {
			case <-end:
				most <- m
				return
			case <-time.After(100 * time.Millisecond):
			}
		}
	}()
	return func() footprint { close(end); return <-most }
}

// processorOf returns the processor time of a process, to a hundredth of a second.
func processorOf(tb testing.TB, pid int) time.Duration {
	tb.Helper()
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		tb.Fatal(err)
	}
	_, after, _ := strings.Cut(string(stat), ") ")
	fields := strings.Fields(after)
	user, _ := strconv.Atoi(fields[11])
	system, _ := strconv.Atoi(fields[12])
	return time.Duration(user+system) * 10 * time.Millisecond
}
