package main

import (
	"errors"
	"flag"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"appliance/bridge/mustrun"
	"appliance/provision/certs/acmetest"
	"appliance/provision/stack"
)

func TestMain(m *testing.M) {
	testscript.Main(withFakes{m}, map[string]func(){
		"appliance": func() {
			releaseKey = os.Getenv("TEST_RELEASE_KEY") // which the linker sets in a release
			os.Exit(run(program))
		},
	})
}

// withFakes puts docker and systemctl of package fakehost first in the PATH while tests run.
type withFakes struct{ *testing.M }

func (m withFakes) Run() int {
	root, err := os.MkdirTemp("", "appliance-fakes-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() { _ = os.RemoveAll(root) }()
	dir := filepath.Join(root, "bin")
	build := exec.Command("go", "build", "-o", filepath.Join(dir, "docker"), "./testdata/fakehost")
	build.Stdout, build.Stderr = os.Stderr, os.Stderr
	if err := errors.Join(build.Run(), os.Symlink("docker", filepath.Join(dir, "systemctl")), os.Setenv("PATH", dir+string(os.PathListSeparator)+os.Getenv("PATH"))); err != nil {
		fmt.Fprintln(os.Stderr, "build testdata/fakehost:", err)
		return 1
	}
	if err := flag.Set("test.parallel", "6"); err != nil { // stories wait more than they work
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return m.M.Run()
}

// program stands in for this program's executable, which in tests may need libraries:
// it is the ELF header of a program that needs none.
func program() (string, error) {
	name := filepath.Join(os.Getenv("WORK"), "docker", "program")
	head := append([]byte("\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\x3e\x00\x01\x00\x00\x00"), make([]byte, 40)...)
	head[52], head[54], head[58] = 64, 56, 64 // the sizes of its headers
	return name, os.WriteFile(name, head, 0o600)
}

// exits is the command "exits STATUS program args...".
func exits(ts *testscript.TestScript, _ bool, args []string) {
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	got := 0
	if err := ts.Exec(args[1], args[2:]...); err != nil {
		var exit *exec.ExitError
		if !errors.As(err, &exit) {
			ts.Fatalf("%v", err)
		}
		got = exit.ExitCode()
	}
	if got != want {
		ts.Fatalf("exit status %d, want %d", got, want)
	}
}

// occupy is the command "occupy PORT": another program listens there until the story ends.
func occupy(ts *testscript.TestScript, _ bool, args []string) {
	ln, err := net.Listen("tcp", ":"+args[0])
	ts.Check(err)
	ts.Defer(func() { _ = ln.Close() })
}

// addresses counts the addresses that were given out.
var addresses atomic.Int32

// ownAddress returns a loopback address that no other test, and no other run of these tests,
// uses at the same time.
func ownAddress() string {
	v := os.Getpid()<<8 | int(addresses.Add(1))&255
	return fmt.Sprintf("127.%d.%d.%d", 128+v>>16&63, v>>8&255, v&255)
}

// TestScript runs the stories of testdata/script. Each has a Docker of its own, which
// logs its commands in docker/log, and shares a certificate authority with the
// others. See fake_test.go for how that Docker is controlled.
func TestScript(t *testing.T) {
	authority := acmetest.New(t)
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script", RequireExplicitExec: true, RequireUniqueNames: true,
		Cmds: map[string]func(*testscript.TestScript, bool, []string){"exits": exits, "occupy": occupy, "storedata": storeData, "postgres": newPostgres},
		Condition: func(name string) (bool, error) {
			if name == "root" {
				return os.Geteuid() == 0, nil
			}
			if name == "postgres" {
				return os.Getenv("APPLIANCE_TEST_POSTGRES") != "" || os.Getenv(mustrun.Variable) != "", nil
			}
			if name == "namespaces" {
				return exec.Command("unshare", "-m", "mount", "-t", "tmpfs", "none", "/run").Run() == nil, nil
			}
			if name == "swapfile" {
				return stack.SwapFile{File: filepath.Join(os.TempDir(), "swap"), Table: "/etc/fstab", MB: 2048}.Obstacle() == "", nil
			}
			return false, fmt.Errorf("unknown condition %s", name)
		},
		Setup: func(env *testscript.Env) error {
			if err := droplet(env.WorkDir); err != nil {
				return err
			}
			d := &daemon{dir: filepath.Join(env.WorkDir, "docker"), address: ownAddress()}
			stop, err := d.start()
			if err != nil {
				return err
			}
			env.Defer(stop)
			env.Setenv("DOCKER_HOST", "unix://"+d.socket())
			env.Setenv("HOOK", "http://"+d.address+":3000/hook")
			env.Setenv("ACME", authority.Directory)
			env.Setenv("ACME_PORT", strconv.Itoa(authority.HTTPPort))
			env.Setenv("ACME_CA", authority.CAFile)
			for key, value := range map[string]string{"MIN_CPUS": "1", "MIN_MEMORY_MB": "100", "MIN_DISK_GB": "1", "SYSTEMD": "false", "MONGO_URL": mongoURL()} {
				env.Setenv("APPLIANCE_"+key, value)
			}
			env.Setenv("APPLIANCE_HTTP_PORT", strconv.Itoa(acmetest.FreePort(t)))
			env.Setenv("APPLIANCE_HTTPS_PORT", strconv.Itoa(acmetest.FreePort(t)))
			env.Setenv("FREE_PORT", strconv.Itoa(acmetest.FreePort(t)))
			return nil
		},
	})
}
