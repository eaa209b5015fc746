package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"aead.dev/minisign"
	"github.com/creack/pty"

	"appliance/bridge/mustrun"
	"appliance/provision/selfupdate"
)

const script = "../../../../compose/release/install.sh"

// archive is the name of the release file that install.sh fetches on this machine.
var archive = "appliance_linux_" + runtime.GOARCH + ".tar.gz"

// A host is a machine on which install.sh runs, with a release in a directory of its own.
type host struct {
	t      *testing.T
	dir    string // with stubs of the host's commands in bin
	key    minisign.PrivateKey
	from   string // where the release is
	script string
}

// newHost makes a release of a program that prints its version, and a host that has Docker.
func newHost(t *testing.T) *host {
	t.Helper()
	for _, needed := range []string{"curl", "openssl"} {
		if _, err := exec.LookPath(needed); err != nil {
			mustrun.Skip(t, needed+" is not here; compose/stage/setup.sh installs it for make test")
		}
	}
	_, key, err := minisign.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	h := &host{t: t, dir: t.TempDir(), key: key}
	h.from = filepath.Join(h.dir, "release")
	h.release("v1.0.0")
	h.stub("docker", "exit 0")
	text, err := os.ReadFile(script)
	if err != nil {
		t.Fatal(err)
	}
	h.script = strings.Replace(string(text), "\nkey=\n", "\nkey="+key.Public().(minisign.PublicKey).String()+"\n", 1)
	return h
}

// put writes a file below the host's directory.
func (h *host) put(name string, data []byte) {
	h.t.Helper()
	file := filepath.Join(h.dir, name)
	if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o755), os.WriteFile(file, data, 0o755)); err != nil { //nolint:gosec // programs
		h.t.Fatal(err)
	}
}

// stub adds a command that takes precedence over those of this machine.
func (h *host) stub(name, does string) { h.put("bin/"+name, []byte("#!/bin/sh\n"+does+"\n")) }

// release makes a release, as compose/stage/release.sh does.
func (h *host) release(version string) {
	h.t.Helper()
	top := strings.TrimSuffix(archive, ".tar.gz")
	var packed bytes.Buffer
	small := gzip.NewWriter(&packed)
	w := tar.NewWriter(small)
	for _, f := range []struct{ name, text string }{
		{"appliance", "#!/bin/sh\n[ $1 = version ] && echo appliance " + version + " && exit\necho $* >>" + h.dir + "/ran\n[ ! -e " + h.dir + "/offline ] || exit 5\n[ $# = 2 ] || { read -r line && echo heard $line; }\n"},
		{"share/man/man1/appliance.1.gz", "manual"},
	} {
		err := w.WriteHeader(&tar.Header{Name: top + "/" + f.name, Mode: 0o755, Size: int64(len(f.text))})
		if _, more := w.Write([]byte(f.text)); err != nil || more != nil {
			h.t.Fatal(err, more)
		}
	}
	if err := errors.Join(w.Close(), small.Close()); err != nil {
		h.t.Fatal(err)
	}
	sums := fmt.Appendf(nil, "%x  %s\n", sha256.Sum256(packed.Bytes()), archive)
	signature, err := selfupdate.Sign(h.key, sums, version, time.Unix(0, 0))
	if err != nil {
		h.t.Fatal(err)
	}
	h.put("release/"+archive, packed.Bytes())
	h.put("release/SHA256SUMS", sums)
	h.put("release/SHA256SUMS.minisig", signature)
}

func (h *host) prefix() string { return filepath.Join(h.dir, "usr") }

// command runs the script without a terminal.
func (h *host) command(args ...string) *exec.Cmd {
	ctx, cancel := context.WithTimeout(h.t.Context(), time.Minute)
	h.t.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, "sh", append([]string{"-s", "--", "--from", h.from, "--prefix", h.prefix()}, args...)...)
	cmd.Stdin = strings.NewReader(h.script)
	cmd.Env = append(os.Environ(), "PATH="+filepath.Join(h.dir, "bin")+":"+os.Getenv("PATH"))
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	return cmd
}

// installs expects that the script succeeds and prints says.
func (h *host) installs(says string, args ...string) {
	h.t.Helper()
	out, err := h.command(args...).CombinedOutput()
	if err != nil || !strings.Contains(string(out), says) {
		h.t.Errorf("%v, want %q:\n%s", err, says, out)
	}
}

// refuses expects that the script fails, says why and what to do, and leaves nothing behind.
func (h *host) refuses(says string, args ...string) {
	h.t.Helper()
	out, err := h.command(args...).CombinedOutput()
	if exit, failed := errors.AsType[*exec.ExitError](err); !failed || exit.ExitCode() != 1 {
		h.t.Errorf("%v:\n%s", err, out)
	}
	if !strings.Contains(string(out), "install: error: ") || !strings.Contains(string(out), says) || !strings.Contains(string(out), "\ninstall: hint: ") {
		h.t.Errorf("want %q:\n%s", says, out)
	}
	h.unchanged()
}

// unchanged expects that nothing is below the prefix.
func (h *host) unchanged() {
	h.t.Helper()
	if found, err := filepath.Glob(h.prefix() + "/*/*"); err != nil || len(found) > 0 {
		h.t.Errorf("it left %v, %v", found, err)
	}
}

// version returns the version that the installed program prints.
func (h *host) version(name string) string {
	h.t.Helper()
	out, err := exec.CommandContext(h.t.Context(), filepath.Join(h.prefix(), "bin", name), "version").CombinedOutput()
	if err != nil {
		h.t.Errorf("%s: %v", name, err)
	}
	return strings.TrimPrefix(strings.TrimSpace(string(out)), "appliance ")
}

func TestInstallFromADirectoryAndASecondTime(t *testing.T) {
	h := newHost(t)
	h.installs("verified " + archive + ": signature and checksum\n")
	if h.version("appliance") != "v1.0.0" {
		t.Error("another program was installed")
	}
	if _, err := os.Stat(filepath.Join(h.prefix(), "share/man/man1/appliance.1.gz")); err != nil {
		t.Error(err)
	}
	h.installs("appliance v1.0.0 is here already")
	h.release("v1.1.0")
	h.installs("installed appliance v1.1.0")
	if h.version("appliance") != "v1.1.0" || h.version("appliance.previous") != "v1.0.0" {
		t.Errorf("%s, and before %s", h.version("appliance"), h.version("appliance.previous"))
	}
	if found, _ := filepath.Glob(h.prefix() + "/bin/.*"); len(found) > 0 {
		t.Errorf("it left %v", found)
	}
}

// serve makes the release available on a web server.
func (h *host) serve(change func(w http.ResponseWriter, r *http.Request) bool) {
	h.t.Helper()
	files := http.FileServer(http.Dir(h.from))
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if change == nil || !change(w, r) {
			files.ServeHTTP(w, r)
		}
	}))
	h.t.Cleanup(srv.Close)
	h.from = srv.URL
}

func TestInstallFromAWebServer(t *testing.T) {
	h := newHost(t)
	h.serve(nil)
	h.installs("installed appliance v1.0.0")
	if h.version("appliance") != "v1.0.0" {
		t.Error("another program was installed")
	}
}

func TestInstallRefusesWhatIsNotRight(t *testing.T) {
	foreign := newHost(t).key
	for what, c := range map[string]struct {
		change func(*host)
		says   string
	}{
		"an archive that was altered": {func(h *host) { h.put("release/"+archive, []byte("other")) }, "does not have the checksum"},
		"sums that were altered":      {func(h *host) { h.put("release/SHA256SUMS", []byte("0000  "+archive+"\n")) }, "is not signed with the key"},
		"signed by others":            {func(h *host) { h.key = foreign; h.release("v1.0.0") }, "is not signed with the key"},
		"half a signature":            {func(h *host) { h.put("release/SHA256SUMS.minisig", []byte("untrusted comment: x\n")) }, "is not signed with the key"},
		"no signature":                {func(h *host) { _ = os.Remove(filepath.Join(h.from, "SHA256SUMS.minisig")) }, "SHA256SUMS.minisig cannot be fetched"},
		"no archive":                  {func(h *host) { _ = os.Remove(filepath.Join(h.from, archive)) }, archive + " cannot be fetched"},
		"no release":                  {func(h *host) { h.from += "/nowhere" }, "SHA256SUMS cannot be fetched"},
		"a server without it":         {func(h *host) { h.serve(nil); h.from += "/nowhere" }, "SHA256SUMS cannot be fetched"},
		"a download that is cut": {func(h *host) {
			h.serve(func(w http.ResponseWriter, r *http.Request) bool {
				if !strings.HasSuffix(r.URL.Path, ".gz") {
					return false
				}
				w.Header().Set("Content-Length", strconv.Itoa(10_000))
				_, _ = w.Write(make([]byte, 1000))
				return true
			})
		}, archive + " cannot be fetched"},
		"an unencrypted address and no key": {func(h *host) { h.serve(nil); h.script = strings.Replace(h.script, "\nkey=RW", "\nkey= #", 1) }, "is not https"},
		"a processor without a release":     {func(h *host) { h.stub("uname", "[ $1 = -s ] && echo Linux || echo riscv64") }, "there is no release for Linux on riscv64"},
		"another system":                    {func(h *host) { h.stub("uname", "[ $1 = -s ] && echo Darwin || echo arm64") }, "there is no release for Darwin"},
		"a place that cannot be written":    {func(h *host) { h.put("usr", []byte("a file")) }, "cannot write to"},
		"no Docker and nobody to ask":       {func(h *host) { h.stub("docker", "exit 1"); h.stub("apt-get", "exit 9") }, "there is no terminal to ask on"},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			h := newHost(t)
			c.change(h)
			h.refuses(c.says)
		})
	}
}

// A script that arrived only in part, as through a pipe when a connection breaks, does nothing.
func TestInstallInPartDoesNothing(t *testing.T) {
	h := newHost(t)
	whole := h.script
	for n := 0; n < len(whole)-len("main \"$@\"\n"); n += len(whole)/25 + 1 {
		h.script = whole[:n]
		if out, err := h.command().CombinedOutput(); strings.Contains(string(out), "verified") {
			t.Errorf("the first %d bytes did something: %v\n%s", n, err, out)
		}
		h.unchanged()
	}
}

// ran returns the commands that the installed program was run with.
func (h *host) ran() string {
	text, _ := os.ReadFile(filepath.Join(h.dir, "ran"))
	return string(text)
}

// The program installs the missing parts of Docker: see appliance prepare.
func TestInstallBringsDockerUnattended(t *testing.T) {
	h := newHost(t)
	h.stub("docker", "exit 1")
	h.installs("next, type: appliance up", "--yes")
	if h.ran() != "prepare --yes\n" {
		t.Errorf("it ran %q", h.ran())
	}
	h = newHost(t)
	h.stub("docker", "exit 1")
	h.installs("next, type: appliance up", "--no-docker")
	if h.ran() != "" {
		t.Errorf("it ran %q", h.ran())
	}
	h = newHost(t)
	h.stub("docker", "exit 1")
	h.put("offline", nil)
	out, err := h.command("--yes").CombinedOutput()
	if err == nil || !strings.Contains(string(out), "install: error: Docker was not installed\ninstall: hint: the program is") {
		t.Errorf("%v\n%s", err, out)
	}
}

// On a terminal the script continues with appliance up, which asks; with --no-up it asks about Docker only.
func TestInstallOnATerminal(t *testing.T) {
	for option, ran := range map[string]string{"": "up\n", "--no-up": "prepare\n"} {
		h := newHost(t)
		h.stub("docker", "exit 1")
		cmd := h.command()
		cmd.Stdin, cmd.SysProcAttr = nil, nil
		h.put("install.sh", []byte(h.script))
		cmd.Args = append([]string{"sh", filepath.Join(h.dir, "install.sh")}, cmd.Args[3:]...)
		if option != "" {
			cmd.Args = append(cmd.Args, option)
		}
		terminal, err := pty.Start(cmd)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := terminal.WriteString("from the terminal\n"); err != nil {
			t.Fatal(err)
		}
		var out bytes.Buffer
		_, _ = out.ReadFrom(terminal) // which ends with an error when the script ends
		if err = cmd.Wait(); err != nil || !strings.Contains(out.String(), "heard from the terminal") || h.ran() != ran {
			t.Errorf("%q: %v, it ran %q\n%s", option, err, h.ran(), out.String())
		}
	}
}

// A failure to unpack the archive is reported as it is, and the host is not blamed.
func TestInstallSaysWhyItCannotUnpack(t *testing.T) {
	h := newHost(t)
	h.stub("tar", "echo tar: No space left on device >&2; exit 2")
	h.refuses("cannot be unpacked in ")
	h = newHost(t)
	h.stub("tar", "mkdir -p "+strings.TrimSuffix(archive, ".tar.gz"))
	h.refuses("has no program that can be run in ")
}
