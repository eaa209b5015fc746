package kubernetes_test

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"appliance/provision/conversation"
)

// A cluster is a Kubernetes in network namespaces of this machine: the control plane and the DNS
// of Services in one, whose network bridge connects the others, and a containerd, a kubelet and a
// kube-proxy in each of those. A node is the process tree below the first process of a PID
// namespace: when that one dies, all of them end, as if the power was cut.
type cluster struct {
	t     *testing.T
	dir   string
	bin   string // the programs built by make test-kubernetes
	nodes []*node
	plane map[string]*exec.Cmd
}

// A node runs pods.
type node struct {
	c         *cluster
	name, net string // net is its network namespace
	ip        string
	dir       string
	root      *exec.Cmd // nsenter, whose child is the first process of the node
}

const (
	wire   = "k8test-wire" // the namespace of the control plane
	subnet = "10.213.8."   // of the nodes
	pods   = "10.214."     // of the pods, a third number per node
	plane  = subnet + "254"
	group  = "k8test-" // prefix of the nodes' namespaces and control groups
)

func (c *cluster) command(ctx context.Context, name string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		return out.String(), fmt.Errorf("%s %s: %w: %s", filepath.Base(name), strings.Join(args, " "), err, strings.TrimSpace(errs.String()))
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

// kubectl runs kubectl as an operator would.
func (c *cluster) kubectl(args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(c.t.Context()), 5*time.Minute)
	defer cancel()
	return c.command(ctx, "nsenter", append([]string{"--net=/run/netns/" + wire, filepath.Join(c.bin, "kubectl"), "--kubeconfig", filepath.Join(c.dir, "kubeconfig"), "--cache-dir", filepath.Join(c.dir, "cache")}, args...)...)
}

func (c *cluster) mustKubectl(args ...string) string {
	c.t.Helper()
	out, err := c.kubectl(args...)
	if err != nil {
		c.t.Fatal(err)
	}
	return out
}

// until checks a condition twice a second, and fails the test if it does not become true in time.
func (c *cluster) until(patience time.Duration, what string, so func() (bool, string)) {
	c.t.Helper()
	tick := time.NewTicker(500 * time.Millisecond)
	defer tick.Stop()
	end := time.After(patience)
	for {
		ok, why := so()
		if ok {
			return
		}
		select {
		case <-tick.C:
		case <-end:
			c.t.Fatalf("not after %v: %s: %s", patience, what, why)
		case <-c.t.Context().Done():
			c.t.Fatal(c.t.Context().Err())
		}
	}
}

// newCluster creates the namespaces and starts everything. The test removes it all, even if it fails.
func newCluster(t *testing.T, bin string, size int) *cluster {
	t.Helper()
	c := &cluster{t: t, dir: t.TempDir(), bin: bin, plane: map[string]*exec.Cmd{}}
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
	c.must("ip", "netns", "add", wire)
	c.must("ip", "-n", wire, "link", "add", "br0", "type", "bridge")
	c.must("ip", "-n", wire, "addr", "add", plane+"/24", "dev", "br0")
	c.must("ip", "-n", wire, "link", "set", "br0", "up")
	c.must("ip", "-n", wire, "link", "set", "lo", "up")
	for i := 1; i <= size; i++ {
		n := &node{c: c, name: fmt.Sprint("n", i), net: fmt.Sprint(group, "n", i), ip: subnet + strconv.Itoa(i), dir: filepath.Join(c.dir, fmt.Sprint("n", i))}
		c.nodes = append(c.nodes, n)
		n.wired(i, size)
	}
	c.must("ip", "-n", wire, "route", "add", "10.96.0.0/24", "via", subnet+"1") // Services, through the first node
	c.controlPlane()
	for _, n := range c.nodes {
		n.start()
	}
	pause := filepath.Join(c.dir, "pause.tar")
	c.image(pause, "appliance-test/pause:1", "/usr/bin/busybox", "sleep", "infinity")
	for _, n := range c.nodes {
		n.ready()
		n.load(pause)
	}
	return c
}

// wired connects a node with the other nodes, and its pods with their pods.
func (n *node) wired(i, size int) {
	n.c.t.Helper()
	must := n.c.must
	must("ip", "netns", "add", n.net)
	must("ip", "link", "add", n.name, "netns", wire, "type", "veth", "peer", "name", "eth0", "netns", n.net)
	must("ip", "-n", wire, "link", "set", n.name, "master", "br0", "up")
	must("ip", "-n", n.net, "addr", "add", n.ip+"/24", "dev", "eth0")
	must("ip", "-n", n.net, "link", "set", "eth0", "up")
	must("ip", "-n", n.net, "link", "set", "lo", "up")
	must("ip", "-n", n.net, "route", "add", "default", "via", plane)
	must("ip", "netns", "exec", n.net, "sysctl", "-qw", "net.ipv4.ip_forward=1")
	for other := 1; other <= size; other++ {
		if other != i {
			must("ip", "-n", n.net, "route", "add", fmt.Sprint(pods, other, ".0/24"), "via", fmt.Sprint(subnet, other))
		}
	}
	must("ip", "-n", wire, "route", "add", fmt.Sprint(pods, i, ".0/24"), "via", n.ip)
	n.write("cni/10-bridge.conflist", fmt.Sprintf(`{"cniVersion":"0.4.0","name":"pods","plugins":[{"type":"bridge","bridge":"cni0","isDefaultGateway":true,"hairpinMode":true,
"ipam":{"type":"host-local","ranges":[[{"subnet":"%s%d.0/24"}]],"dataDir":%q}}]}`, pods, i, filepath.Join(n.dir, "addresses")))
	n.write("containerd.toml", fmt.Sprintf(`version = 2
root = "%[1]s/containerd"
state = "/run/containerd"
disabled_plugins = ["io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.zfs", "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.aufs"]
[grpc]
  address = "%[1]s/containerd.sock"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "appliance-test/pause:1"
  restrict_oom_score_adj = true
  netns_mounts_under_state_dir = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = %[2]q
    conf_dir = "%[1]s/cni"
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
`, n.dir, filepath.Join(n.c.bin, "cni")))
	n.write("kubelet.yaml", fmt.Sprintf(`apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
containerRuntimeEndpoint: unix://%[1]s/containerd.sock
cgroupDriver: cgroupfs
cgroupRoot: /%[2]s
failCgroupV1: false
failSwapOn: false
oomScoreAdj: 0
clusterDNS: [%[3]q]
clusterDomain: cluster.local
authentication: {anonymous: {enabled: true}, webhook: {enabled: false}}
authorization: {mode: AlwaysAllow}
evictionHard: {memory.available: 50Mi, nodefs.available: 1%%, imagefs.available: 1%%}
imageGCHighThresholdPercent: 100
imageGCLowThresholdPercent: 99
localStorageCapacityIsolation: false
volumePluginDir: %[1]s/plugins
podLogsDir: %[1]s/logs
resolvConf: ""
`, n.dir, n.net, plane))
}

// write writes a file to the directory of the node.
func (n *node) write(name, text string) {
	n.c.t.Helper()
	n.c.write(filepath.Join(n.name, name), text)
}

func (c *cluster) write(name, text string) string {
	c.t.Helper()
	file := filepath.Join(c.dir, name)
	err := os.MkdirAll(filepath.Dir(file), 0o755) //nolint:gosec // users of containers look into it
	if err == nil {
		err = os.WriteFile(file, []byte(text), 0o600)
	}
	if err != nil {
		c.t.Fatal(err)
	}
	return file
}

// controlPlane starts etcd, the API server, the controllers, the scheduler and the DNS of Services.
func (c *cluster) controlPlane() {
	c.t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		c.t.Fatal(err)
	}
	signing := c.write("signing.pem", string(pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)})))
	token := rand.Text()
	tokens := c.write("tokens.csv", token+",admin,admin,system:masters\n")
	kubeconfig := c.write("kubeconfig", fmt.Sprintf(`apiVersion: v1
kind: Config
clusters: [{name: c, cluster: {server: "https://%s:6443", insecure-skip-tls-verify: true}}]
users: [{name: u, user: {token: %s}}]
contexts: [{name: x, context: {cluster: c, user: u}}]
current-context: x
`, plane, token))
	const etcd, peer = "http://127.0.0.1:2379", "http://127.0.0.1:2380"
	c.serve("etcd", "--data-dir", filepath.Join(c.dir, "etcd"), "--listen-client-urls", etcd, "--advertise-client-urls", etcd,
		"--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer, "--initial-cluster", "default="+peer)
	// Pods of an unreachable node are replaced after five seconds instead of five minutes.
	c.serve("kube-apiserver", "--etcd-servers", etcd, "--bind-address", plane, "--advertise-address", plane, "--secure-port", "6443", "--cert-dir", filepath.Join(c.dir, "certs"),
		"--service-cluster-ip-range", "10.96.0.0/24", "--service-account-issuer", "https://kubernetes.default.svc", "--service-account-signing-key-file", signing,
		"--service-account-key-file", signing, "--authorization-mode", "RBAC", "--token-auth-file", tokens, "--kubelet-preferred-address-types", "InternalIP",
		"--default-not-ready-toleration-seconds", "5", "--default-unreachable-toleration-seconds", "5")
	c.until(5*time.Minute, "the API server is ready", func() (bool, string) {
		_, err := c.kubectl("get", "--raw", "/readyz")
		return err == nil, fmt.Sprint(err)
	})
	c.serve("kube-controller-manager", "--kubeconfig", kubeconfig, "--service-account-private-key-file", signing, "--leader-elect=false", "--secure-port", "0", "--node-monitor-grace-period", "20s")
	c.serve("kube-scheduler", "--kubeconfig", kubeconfig, "--leader-elect=false", "--secure-port", "0")
	c.serve("coredns", "-conf", c.write("Corefile", fmt.Sprintf(".:53 {\n\tbind %s\n\terrors\n\tkubernetes cluster.local {\n\t\tkubeconfig %s\n\t}\n}\n", plane, kubeconfig)))
}

// serve starts a program of the control plane.
func (c *cluster) serve(name string, args ...string) {
	c.t.Helper()
	log, err := os.OpenFile(filepath.Join(c.dir, name+".log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		c.t.Fatal(err)
	}
	defer func() { _ = log.Close() }()
	cmd := exec.Command("nsenter", append([]string{"--net=/run/netns/" + wire, filepath.Join(c.bin, name)}, args...)...)
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		c.t.Fatal(err)
	}
	c.plane[name] = cmd
}

// inNode is the first process of a node. What its programs write outside of the node's directory stays
// in memory, and kernel settings that they would change for the whole machine are left as they are.
const inNode = `set -e
hostname %[1]s; mount --make-rprivate /
mkdir -p %[2]s/over %[2]s/work %[2]s/kernel %[2]s/plugins %[2]s/logs
mount -t overlay overlay -o lowerdir=/var/lib,upperdir=%[2]s/over,workdir=%[2]s/work /var/lib
mount -t tmpfs tmpfs /run; mount -t tmpfs tmpfs /var/log
for f in vm/overcommit_memory vm/panic_on_oom kernel/panic kernel/panic_on_oops kernel/keys/root_maxkeys kernel/keys/root_maxbytes; do
	cat /proc/sys/$f >%[2]s/kernel/${f##*/}
	mount --bind %[2]s/kernel/${f##*/} /proc/sys/$f
done
set +e
containerd --config %[2]s/containerd.toml >>%[2]s/containerd.log 2>&1 &
(while :; do %[3]s/kubelet --config %[2]s/kubelet.yaml --kubeconfig %[4]s --hostname-override %[1]s --node-ip %[5]s --root-dir %[2]s/kubelet --cert-dir %[2]s/pki >>%[2]s/kubelet.log 2>&1; sleep 2; done) &
(while :; do %[3]s/kube-proxy --kubeconfig %[4]s --hostname-override %[1]s --proxy-mode iptables --cluster-cidr 10.214.0.0/16 --conntrack-max-per-core 0 --conntrack-min 0 --conntrack-tcp-timeout-established 0s --conntrack-tcp-timeout-close-wait 0s --oom-score-adj 0 >>%[2]s/proxy.log 2>&1; sleep 2; done) &
wait`

func (n *node) start() {
	n.c.t.Helper()
	for _, dir := range n.groups(true) {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			n.c.t.Fatal(err)
		}
	}
	log, err := os.OpenFile(filepath.Join(n.dir, "node.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		n.c.t.Fatal(err)
	}
	defer func() { _ = log.Close() }()
	script := fmt.Sprintf(inNode, n.name, n.dir, n.c.bin, filepath.Join(n.c.dir, "kubeconfig"), n.ip)
	n.root = exec.Command("nsenter", "--net=/run/netns/"+n.net, "unshare", "-m", "-u", "-p", "-f", "--kill-child", "--mount-proc", "sh", "-c", script)
	n.root.Stdout, n.root.Stderr = log, log
	n.root.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := n.root.Start(); err != nil {
		n.c.t.Fatal(err)
	}
}

// groups returns the control groups of the node: all of them, or only those that exist.
func (n *node) groups(all bool) (dirs []string) {
	if _, err := os.Stat("/sys/fs/cgroup/cgroup.controllers"); err == nil {
		dirs = []string{"/sys/fs/cgroup/" + n.net}
	} else {
		controllers, _ := filepath.Glob("/sys/fs/cgroup/*")
		for _, dir := range controllers {
			dirs = append(dirs, filepath.Join(dir, n.net))
		}
	}
	if all {
		return dirs
	}
	var there []string
	for _, dir := range dirs {
		if _, err := os.Stat(dir); err == nil {
			there = append(there, dir)
		}
	}
	return there
}

// ready waits until the node can run pods.
func (n *node) ready() {
	n.c.t.Helper()
	n.c.until(4*time.Minute, n.name+" is ready", func() (bool, string) {
		out, err := n.c.kubectl("get", "node", n.name, "-o", `jsonpath={.status.conditions[?(@.type=="Ready")].status} {.status.conditions[?(@.type=="Ready")].message}`)
		return strings.HasPrefix(out, "True"), fmt.Sprint(out, err)
	})
}

// load imports the images of an archive on the node.
func (n *node) load(archive string) {
	n.c.t.Helper()
	n.c.until(2*time.Minute, n.name+" has "+filepath.Base(archive), func() (bool, string) {
		_, err := n.c.command(n.c.t.Context(), "ctr", "--address", filepath.Join(n.dir, "containerd.sock"), "--namespace", "k8s.io", "images", "import", archive)
		return err == nil, fmt.Sprint(err)
	})
}

// image writes an archive of an image that contains one program under its own name, and an empty /tmp.
func (c *cluster) image(archive, name, program string, entry ...string) {
	c.t.Helper()
	binary, err := os.ReadFile(program)
	if err != nil {
		c.t.Fatal(err)
	}
	pack := func(files map[string][]byte) []byte {
		var out bytes.Buffer
		w := tar.NewWriter(&out)
		for name, data := range files {
			h := &tar.Header{Name: name, Mode: 0o755, Size: int64(len(data)), Typeflag: tar.TypeReg}
			if strings.HasSuffix(name, "/") {
				h.Typeflag, h.Mode = tar.TypeDir, 0o1777
			}
			if err := errors.Join(w.WriteHeader(h), only(w.Write(data))); err != nil {
				c.t.Fatal(err)
			}
		}
		if err := w.Close(); err != nil {
			c.t.Fatal(err)
		}
		return out.Bytes()
	}
	encode := func(v any) []byte {
		data, err := json.Marshal(v)
		if err != nil {
			c.t.Fatal(err)
		}
		return data
	}
	layer := pack(map[string][]byte{filepath.Base(program): binary, "tmp/": nil})
	sum := sha256.Sum256(layer)
	config := encode(map[string]any{
		"architecture": "amd64", "os": "linux", "config": map[string]any{"Entrypoint": append([]string{"/" + filepath.Base(program)}, entry...)},
		"rootfs": map[string]any{"type": "layers", "diff_ids": []string{"sha256:" + hex.EncodeToString(sum[:])}},
	})
	manifest := encode([]any{map[string]any{"Config": "config.json", "RepoTags": []string{name}, "Layers": []string{"layer.tar"}}})
	if err := os.WriteFile(archive, pack(map[string][]byte{"layer.tar": layer, "config.json": config, "manifest.json": manifest}), 0o600); err != nil {
		c.t.Fatal(err)
	}
}

func only(_ int, err error) error { return err }

// pids returns the processes of the node, starting with the first one of its namespace.
func (n *node) pids() []int {
	if n.root == nil {
		return nil
	}
	var out []int
	queue := []int{n.root.Process.Pid}
	for len(queue) > 0 {
		pid := queue[0]
		queue = queue[1:]
		tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
		for _, task := range tasks {
			data, _ := os.ReadFile(task)
			for child := range strings.FieldsSeq(string(data)) {
				if id, err := strconv.Atoi(child); err == nil {
					out, queue = append(out, id), append(queue, id)
				}
			}
		}
	}
	return out
}

// signal sends a signal to every process of the node.
func (n *node) signal(s syscall.Signal) {
	for _, pid := range n.pids() {
		_ = syscall.Kill(pid, s)
	}
}

// die cuts the power of the node.
func (n *node) die() {
	n.c.must("ip", "-n", wire, "link", "set", n.name, "down")
	n.kill()
}

// kill ends everything in the namespace of the node by killing its first process.
func (n *node) kill() {
	if n.root == nil {
		return
	}
	if all := n.pids(); len(all) > 0 {
		_ = syscall.Kill(all[0], syscall.SIGKILL)
	}
	_ = n.root.Wait()
	n.root = nil
}

// back restores the power of the node.
func (n *node) back() {
	n.c.must("ip", "-n", wire, "link", "set", n.name, "up")
	n.start()
	n.ready()
}

// remove leaves nothing behind.
func (c *cluster) remove(size int) {
	if c.t.Failed() {
		c.logs()
	}
	for _, n := range c.nodes {
		n.signal(syscall.SIGCONT)
		n.kill()
	}
	for _, cmd := range c.plane {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}
	c.sweep(size)
}

func (c *cluster) logs() {
	files, _ := filepath.Glob(filepath.Join(c.dir, "*.log"))
	more, _ := filepath.Glob(filepath.Join(c.dir, "n?", "*.log"))
	for _, file := range append(files, more...) {
		data, _ := os.ReadFile(file)
		c.t.Logf("%s ends with:\n%s", strings.TrimPrefix(file, c.dir), data[max(0, len(data)-2500):])
	}
}

// sweep removes namespaces and control groups by their names, which only these tests use, and ends
// the processes that a killed test has left in them.
func (c *cluster) sweep(size int) {
	ctx := context.Background()
	remove := func(namespace string) {
		left, _ := c.command(ctx, "ip", "netns", "pids", namespace)
		for text := range strings.FieldsSeq(left) {
			if pid, err := strconv.Atoi(text); err == nil && pid != os.Getpid() {
				_ = syscall.Kill(pid, syscall.SIGKILL)
			}
		}
		_, _ = c.command(ctx, "ip", "netns", "del", namespace)
	}
	remove(wire)
	for i := 1; i <= size; i++ {
		n := &node{c: c, net: fmt.Sprint(group, "n", i)}
		remove(n.net)
		for _, dir := range n.groups(false) {
			_, _ = c.command(ctx, "find", dir, "-depth", "-type", "d", "-exec", "rmdir", "{}", "+")
		}
	}
}

// client returns an HTTP client in the namespace of the control plane, which reaches pods and Services.
func client() *http.Client {
	return conversation.Client(func() (string, error) { return "/run/netns/" + wire, nil })
}

// get reads objects from the API server.
func (c *cluster) get(out any, args ...string) error {
	text, err := c.kubectl(append([]string{"get", "-o", "json"}, args...)...)
	if err != nil {
		return err
	}
	return json.NewDecoder(io.LimitReader(strings.NewReader(text), 64<<20)).Decode(out)
}
