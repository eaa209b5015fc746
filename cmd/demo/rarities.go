package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// rarities are the faults that change the installation or the whole machine.
func (d trouble) rarities(docker bool) []fault {
	l := []fault{{"all secrets are replaced", func(ctx context.Context, _ time.Duration) error { return d.rotate(ctx) }}}
	if ownDisk(d.data()) {
		l = append(l, fault{"the bridge's disk is full", d.fill})
	}
	if docker {
		l = append(l, fault{"Docker is restarted", func(ctx context.Context, _ time.Duration) error {
			if err := d.restartDocker(ctx); err != nil {
				return err
			}
			return d.trustNewRoot(ctx)
		}})
	}
	return l
}

// rotate replaces every secret. An interrupted rotation is completed by the next one.
func (d trouble) rotate(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	return insist(ctx, func() error {
		_, err := d.command(ctx, d.program, "secrets", "rotate", "--all", "--yes", "--dir", d.install())
		return err
	})
}

// data is where the bridge keeps its database.
func (d trouble) data() string { return d.path("install/data/bridge") }

// fill fills the bridge's disk for a while.
func (d trouble) fill(ctx context.Context, length time.Duration) error {
	ballast := filepath.Join(d.data(), "ballast")
	file, err := os.Create(ballast) //nolint:gosec // a path of the demo's own
	if err != nil {
		return err
	}
	block := make([]byte, 1<<20)
	for err == nil {
		_, err = file.Write(block)
	}
	for size := len(block); size > 0; size /= 2 { // fills what is left
		_, err = file.Write(block[:size/2])
	}
	_ = file.Close()
	wait(ctx, length)
	if rerr := os.Remove(ballast); rerr != nil {
		return rerr
	}
	if !errors.Is(err, syscall.ENOSPC) {
		return err
	}
	return nil
}

// smallDisk is how large the bridge's own disk is.
const smallDisk = "size=256m,mode=0700"

// ownDisk reports whether a directory is a file system of its own.
func ownDisk(dir string) bool {
	var here, above syscall.Stat_t
	return syscall.Stat(dir, &here) == nil && syscall.Stat(filepath.Dir(dir), &above) == nil && here.Dev != above.Dev
}

// confine gives the bridge's data a small disk of its own. release undoes that.
func (d trouble) confine(ctx context.Context) (release func(context.Context) error, err error) {
	dir, old := d.data(), d.data()+".before"
	info, err := os.Stat(dir)
	if err != nil {
		return nil, err
	}
	owner, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return nil, errors.New("the owner of " + dir + " is not known")
	}
	if err := d.compose(ctx, "stop", "bridge"); err != nil {
		return nil, err
	}
	steps := [][]string{
		{"mv", dir, old}, {"mkdir", "-m", "0700", dir}, {"mount", "-t", "tmpfs", "-o", smallDisk, "tmpfs", dir},
		{"cp", "-a", old + "/.", dir}, {"chown", fmt.Sprintf("%d:%d", owner.Uid, owner.Gid), dir},
	}
	if err := d.steps(ctx, steps); err != nil {
		return nil, err
	}
	return func(ctx context.Context) error {
		if err := d.compose(ctx, "stop", "bridge"); err != nil {
			return err
		}
		back := [][]string{
			{"rm", "-rf", old}, {"cp", "-a", dir, old}, {"umount", dir}, {"rmdir", dir}, {"mv", old, dir},
		}
		return errors.Join(d.steps(ctx, back), d.compose(ctx, "start", "bridge"))
	}, d.compose(ctx, "start", "bridge")
}

func (d trouble) steps(ctx context.Context, steps [][]string) error {
	for _, s := range steps {
		if _, err := d.command(ctx, s[0], s[1:]...); err != nil {
			return err
		}
	}
	return nil
}

// restartDocker ends the Docker daemon, and with it every container of this machine.
func (d trouble) restartDocker(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	if _, err := os.Stat("/run/systemd/system"); err == nil {
		_, err := d.command(ctx, "systemctl", "restart", "docker")
		return err
	}
	text, err := os.ReadFile("/var/run/docker.pid")
	if err != nil {
		return err
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		return err
	}
	line, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	if err != nil {
		return err
	}
	if err := syscall.Kill(pid, syscall.SIGTERM); err != nil {
		return err
	}
	for syscall.Kill(pid, 0) == nil && ctx.Err() == nil {
		wait(ctx, 100*time.Millisecond)
	}
	args := strings.Split(strings.TrimRight(string(line), "\x00"), "\x00")
	cmd := exec.Command(args[0], args[1:]...) //nolint:gosec,noctx // the daemon as it ran before; it outlives the demo
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	log, err := os.OpenFile(filepath.Join(filepath.Dir(d.dir), ".cache/dockerd.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer func() { _ = log.Close() }()
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		return err
	}
	go func() { _ = cmd.Wait() }() // otherwise it would seem to run on when it is ended next time
	return insist(ctx, func() error {
		_, err := d.command(ctx, "docker", "version")
		return err
	})
}

// trustNewRoot makes everybody trust the root that the authority created when it was
// restarted, besides the earlier ones: certificates of both are in use.
func (d trouble) trustNewRoot(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	elsewhere := world(d)
	fresh, err := elsewhere.trustRoots(ctx)
	if err != nil {
		return err
	}
	known, err := os.ReadFile(d.path("ca.pem"))
	if err != nil {
		return err
	}
	if err := elsewhere.trust(append(known, fresh...)); err != nil {
		return err
	}
	// A homeserver reads roots when it starts.
	return insist(ctx, func() error {
		return errors.Join(elsewhere.composeElsewhere(ctx, "restart", "remote-homeserver"), d.appliance(ctx, false))
	})
}
