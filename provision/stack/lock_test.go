package stack_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"appliance/provision/stack"
)

// A process that is killed while it starts a child leaves its lock with the child for a
// moment.
func TestALockOfAKilledProcessIsWaitedFor(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	lock, err := os.Create(filepath.Join(dir, ".lock"))
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	ended := exec.Command("true")
	if err := ended.Run(); err != nil {
		t.Fatal(err)
	}
	fmt.Fprintf(lock, "pid %d since 2026-01-02T03:04:05Z\n", ended.Process.Pid)
	child := exec.Command("cat") // reads until end of input
	child.ExtraFiles = []*os.File{lock}
	input, err := child.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	_ = lock.Close()
	time.AfterFunc(time.Second, func() { _ = input.Close() })
	unlock, err := (&stack.Stack{Dir: dir}).Lock()
	if err != nil {
		t.Fatal(err)
	}
	unlock()
	if err := child.Wait(); err != nil {
		t.Error(err)
	}
}
