package swarm_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A cluster is three Docker Engines in network namespaces of this machine, connected by a
// network bridge in a fourth one. Each is the process tree below the first process of a PID
// namespace: when that one dies, all of them end, as if the power was cut.
type cluster struct {
	t     *testing.T
	dir   string
	wire  string // the namespace with the bridge
	nodes []*node
}

// A node is one engine.
type node struct {
	c         *cluster
	name, net string // net is its network namespace
	ip        string
	dir       string
	root      *exec.Cmd // nsenter, whose child is the first process of the node
}

const subnet = "10.213.7."

func (c *cluster) command(ctx context.Context, name string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		return out.String(), fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, strings.TrimSpace(errs.String()))
	}
	return strings.TrimSpace(out.String()), nil
}

func (c *cluster) must(name string, args ...string) string {
	c.t.Helper()
	out, err := c.command(c.t.Context(), name, args...)
	if err != nil {
		c.t.Fatal(err)
	}
	return out
}

// newCluster creates the namespaces and starts the engines. The test removes all of it, even if
// it fails.
func newCluster(t *testing.T, size int) *cluster {
	t.Helper()
	c := &cluster{t: t, dir: t.TempDir(), wire: "swtest-wire"}
	c.sweep(size) // left by a killed run
	t.Cleanup(func() { c.remove(size) })
	interrupted := make(chan os.Signal, 1)
	signal.Notify(interrupted, os.Interrupt, syscall.SIGTERM)
	go func() {
		<-interrupted
		c.remove(size)
		_ = os.RemoveAll(filepath.Dir(c.dir))
		os.Exit(1)
	}()
	c.must("ip", "netns", "add", c.wire)
	c.must("ip", "-n", c.wire, "link", "add", "br0", "type", "bridge")
	c.must("ip", "-n", c.wire, "addr", "add", subnet+"254/24", "dev", "br0")
	c.must("ip", "-n", c.wire, "link", "set", "br0", "up")
	c.must("ip", "-n", c.wire, "link", "set", "lo", "up")
	for i := 1; i <= size; i++ {
		n := &node{c: c, name: fmt.Sprint("n", i), net: fmt.Sprint("swtest-n", i), ip: subnet + strconv.Itoa(i), dir: filepath.Join(c.dir, fmt.Sprint("n", i))}
		c.nodes = append(c.nodes, n)
		c.must("ip", "netns", "add", n.net)
		c.must("ip", "link", "add", n.name, "netns", c.wire, "type", "veth", "peer", "name", "eth0", "netns", n.net)
		c.must("ip", "-n", c.wire, "link", "set", n.name, "master", "br0", "up")
		c.must("ip", "-n", n.net, "addr", "add", n.ip+"/24", "dev", "eth0")
		c.must("ip", "-n", n.net, "link", "set", "eth0", "up")
		c.must("ip", "-n", n.net, "link", "set", "lo", "up")
		c.must("ip", "-n", n.net, "route", "add", "default", "via", subnet+"254")
		if err := os.MkdirAll(n.dir, 0o700); err != nil {
			t.Fatal(err)
		}
		n.start()
	}
	for _, n := range c.nodes {
		n.await()
	}
	return c
}

// engine restarts the engine when it ends, as systemd does. No name server answers: a Swarm asks
// the registry before each task, and uses the local image if that fails.
const engine = `hostname %[1]s; mount --make-rprivate /
echo nameserver 127.0.0.1 >%[2]s/resolv.conf; mount --bind %[2]s/resolv.conf /etc/resolv.conf
while :; do
	rm -f %[2]s/docker.pid
	dockerd --data-root %[2]s/data --exec-root %[2]s/exec --host unix://%[2]s/docker.sock --pidfile %[2]s/docker.pid --storage-driver overlay2 --cgroup-parent /swtest-%[1]s
	sleep 3
done`

func (n *node) start() {
	n.c.t.Helper()
	log, err := os.OpenFile(filepath.Join(n.c.dir, n.name+".log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		n.c.t.Fatal(err)
	}
	defer func() { _ = log.Close() }()
	n.root = exec.Command("nsenter", "--net=/run/netns/"+n.net, "unshare", "-m", "-u", "-p", "-f", "--kill-child", "--mount-proc", "sh", "-c", fmt.Sprintf(engine, n.name, n.dir))
	n.root.Stdout, n.root.Stderr = log, log
	n.root.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := n.root.Start(); err != nil {
		n.c.t.Fatal(err)
	}
}

// docker runs a docker command on the node.
func (n *node) docker(ctx context.Context, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute) // images are large
	defer cancel()
	return n.c.command(ctx, "docker", append([]string{"-H", "unix://" + filepath.Join(n.dir, "docker.sock")}, args...)...)
}

func (n *node) must(args ...string) string {
	n.c.t.Helper()
	out, err := n.docker(n.c.t.Context(), args...)
	if err != nil {
		n.c.t.Fatal(err)
	}
	return out
}

// await waits until the engine answers.
func (n *node) await() {
	n.c.t.Helper()
	n.c.until(engineBack, n.name+" answers", func() (bool, string) {
		_, err := n.docker(n.c.t.Context(), "version")
		return err == nil, fmt.Sprint(err)
	})
}

// until checks a condition twice a second, and fails the test if it does not become true in time.
func (c *cluster) until(patience time.Duration, what string, so func() (bool, string)) {
	c.t.Helper()
	if ok, why := c.becomes(patience, so); !ok {
		c.t.Fatalf("not after %v: %s: %s", patience, what, why)
	}
}

// becomes checks a condition twice a second. More often would take processor time from the engines,
// because each check starts a program.
func (c *cluster) becomes(patience time.Duration, so func() (bool, string)) (bool, string) {
	tick := time.NewTicker(500 * time.Millisecond)
	defer tick.Stop()
	end := time.After(patience)
	for {
		ok, why := so()
		if ok {
			return true, ""
		}
		select {
		case <-tick.C:
		case <-end:
			return false, why
		case <-c.t.Context().Done():
			return false, c.t.Context().Err().Error()
		}
	}
}

// pids returns the processes of the node, starting with the first one of its namespace.
func (n *node) pids() []int {
	var out []int
	queue := []int{n.root.Process.Pid}
	for len(queue) > 0 {
		pid := queue[0]
		queue = queue[1:]
		tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
		for _, task := range tasks {
			data, _ := os.ReadFile(task)
			for _, child := range strings.Fields(string(data)) {
				if id, err := strconv.Atoi(child); err == nil {
					out, queue = append(out, id), append(queue, id)
				}
			}
		}
	}
	return out
}

// called returns the processes of the node with a name.
func (n *node) called(name string) (out []int) {
	for _, pid := range n.pids() {
		if data, _ := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid)); strings.TrimSpace(string(data)) == name {
			out = append(out, pid)
		}
	}
	return out
}

// cut takes the node off the network without notice.
func (n *node) cut()    { n.c.must("ip", "-n", n.c.wire, "link", "set", n.name, "down") }
func (n *node) joinUp() { n.c.must("ip", "-n", n.c.wire, "link", "set", n.name, "up") }

// die cuts the power of the node.
func (n *node) die() {
	n.cut()
	n.kill()
}

func (n *node) kill() {
	if n.root == nil {
		return
	}
	if pids := n.pids(); len(pids) > 0 {
		_ = syscall.Kill(pids[0], syscall.SIGKILL) // everything in its namespace ends with it
	}
	_ = n.root.Wait()
	n.root = nil
}

// signal sends a signal to every process of the node.
func (n *node) signal(s syscall.Signal) {
	for _, pid := range n.pids() {
		_ = syscall.Kill(pid, s)
	}
}

// remove leaves nothing behind.
func (c *cluster) remove(size int) {
	c.t.Logf("the logs of the engines end with:\n%s", c.logs())
	for _, n := range c.nodes {
		if n.root != nil {
			n.signal(syscall.SIGCONT)
			n.kill()
		}
	}
	c.sweep(size)
}

func (c *cluster) logs() string {
	if !c.t.Failed() {
		return "(left out: the test passed)"
	}
	var out strings.Builder
	for _, n := range c.nodes {
		data, _ := os.ReadFile(filepath.Join(c.dir, n.name+".log"))
		fmt.Fprintf(&out, "%s: %s\n", n.name, data[max(0, len(data)-3000):])
	}
	return out.String()
}

// sweep removes namespaces and control groups by their names, which only these tests use.
func (c *cluster) sweep(size int) {
	ctx := context.Background()
	_, _ = c.command(ctx, "ip", "netns", "del", c.wire)
	for i := 1; i <= size; i++ {
		_, _ = c.command(ctx, "ip", "netns", "del", fmt.Sprint("swtest-n", i))
		dirs, _ := filepath.Glob(fmt.Sprint("/sys/fs/cgroup/*/swtest-n", i))
		more, _ := filepath.Glob(fmt.Sprint("/sys/fs/cgroup/swtest-n", i))
		for _, dir := range append(dirs, more...) {
			_, _ = c.command(ctx, "find", dir, "-depth", "-type", "d", "-exec", "rmdir", "{}", "+")
		}
	}
}

// inside returns a function that names the network namespace of a container of the node.
func (n *node) inside(container string) func() (string, error) {
	return func() (string, error) {
		key, err := n.docker(context.Background(), "inspect", "-f", "{{.NetworkSettings.SandboxKey}}", container)
		if err != nil {
			return "", err
		}
		pids := n.pids()
		if len(pids) == 0 {
			return "", fmt.Errorf("%s is off", n.name)
		}
		return fmt.Sprintf("/proc/%d/root%s", pids[0], key), nil
	}
}

// tasks returns the healthy containers of a service on the node. After a node was down, another
// one has two of a service.
func (n *node) tasks(service string) []string {
	out, _ := n.docker(n.c.t.Context(), "ps", "-q", "--filter", "label=com.docker.swarm.service.name="+service, "--filter", "health=healthy")
	return strings.Fields(out)
}

// task returns one of tasks, or "" if there is none.
func (n *node) task(service string) string {
	if all := n.tasks(service); len(all) > 0 {
		return all[0]
	}
	return ""
}

// leader returns the manager that leads.
func (c *cluster) leader(ask *node) *node {
	c.t.Helper()
	for line := range strings.Lines(ask.must("node", "ls", "--format", "{{.Hostname}} {{.ManagerStatus}}")) {
		if name, status, _ := strings.Cut(strings.TrimSpace(line), " "); status == "Leader" {
			for _, n := range c.nodes {
				if n.name == name {
					return n
				}
			}
		}
	}
	return nil
}
