package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"appliance/bridge/mustrun"
	"appliance/provision/stack"
)

// smallHost has 2 GB of memory and no swap. Its swapon does not reach the kernel.
const smallHost = `
mount --bind meminfo /proc/meminfo
mount --bind etc /etc
mount --bind lib /var/lib
PATH=$WORK/bin:$PATH`

// newSmallHost returns a workplace on such a host.
func newSmallHost(t *testing.T) *workplace {
	t.Helper()
	switch {
	case os.Geteuid() != 0:
		mustrun.Skip(t, "only root can give files to the users of containers")
	case exec.CommandContext(t.Context(), "unshare", "-m", "mount", "-t", "tmpfs", "none", "/run").Run() != nil:
		mustrun.Skip(t, "no mount namespaces here: a host with little memory cannot be pretended")
	case stack.SwapFile{File: filepath.Join(t.TempDir(), "swap"), Table: "/etc/fstab", MB: 2048}.Obstacle() != "":
		mustrun.Skip(t, "the file system of temporary files holds no swap files; ext4 and XFS do")
	}
	place := newWorkplace(t)
	place.host = smallHost
	setUp := `cp -a /etc etc; mkdir lib bin
printf 'MemTotal: 2014312 kB\nSwapTotal: 0 kB\n' >meminfo
printf '#!/bin/sh\nprintf "MemTotal: 2014312 kB\\nSwapTotal: 2097148 kB\\n" >$WORK/meminfo\n' >bin/swapon
chmod 755 bin/swapon`
	cmd := exec.CommandContext(t.Context(), "sh", "-ec", setUp)
	cmd.Dir = place.dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return place
}

// On a host with little memory, up shows what it would run and asks once; Enter means yes.
// After a no it does not ask again.
func TestUpOffersASwapFile(t *testing.T) {
	t.Parallel()
	up := []string{"up", "--dir", "appliance", "--set", "domain=chat.example.test", "--set", "tls=internal", "--patience", "0s"}
	for name, c := range map[string]struct {
		keys string
		made bool
	}{"yes": {"\r", true}, "no": {"n\r", false}} {
		t.Run(name, func(t *testing.T) {
			place := newSmallHost(t)
			term := place.sit(up...)
			if screen := term.wait("Run this now?"); !strings.Contains(screen, "    mkswap /var/lib/appliance.swap\n    swapon /var/lib/appliance.swap\n") || !strings.Contains(screen, "1967 MB of memory and 0 MB of swap") {
				t.Errorf("it does not say what it would run:\n%s", screen)
			}
			term.enter(c.keys)
			term.end()
			if status := term.status(); status != 0 {
				t.Fatalf("exit status %d\n%s", status, term.text())
			}
			if _, err := os.Stat(filepath.Join(place.dir, "lib/appliance.swap")); (err == nil) != c.made {
				t.Errorf("the swap file: %v", err)
			}
			term = place.sit(up...)
			term.end()
			if text := term.raw.String(); term.status() != 0 || strings.Contains(text, "Run this now?") || !strings.Contains(text, "nothing to do") {
				t.Errorf("a second time:\n%s", text)
			}
		})
	}
}
