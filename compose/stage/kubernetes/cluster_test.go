package kubernetes_test

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"helm.sh/helm/v3/pkg/action"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/cli-runtime/pkg/genericclioptions"
	"k8s.io/client-go/discovery/cached/memory"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/restmapper"
)

// cluster is a Kubernetes without a kubelet: etcd, API server, controllers, scheduler.
type cluster struct {
	t      *testing.T
	dir    string
	config *rest.Config
	typed  *kubernetes.Clientset
	any    *dynamic.DynamicClient
	mapper *restmapper.DeferredDiscoveryRESTMapper
}

// program starts a server of the cluster, and ends it with the test. The end of its log is
// shown when the test fails.
func (c *cluster) program(name string, args ...string) {
	c.t.Helper()
	bin := filepath.Join(os.Getenv("APPLIANCE_KUBERNETES"), name)
	log, err := os.Create(filepath.Join(c.dir, name+".log"))
	if err != nil {
		c.t.Fatal(err)
	}
	cmd := exec.Command(bin, args...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if c.t.Failed() {
			text, _ := os.ReadFile(log.Name())
			c.t.Logf("%s:\n%s", name, text[max(0, len(text)-3000):])
		}
	})
}

func freePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	return l.Addr().(*net.TCPAddr).Port
}

// until waits for something that a server does.
func until(t *testing.T, what string, most time.Duration, done func() error) {
	t.Helper()
	deadline := time.After(most)
	for {
		err := done()
		if err == nil {
			return
		}
		select {
		case <-deadline:
			t.Fatalf("no %s within %v: %v", what, most, err)
		case <-time.After(500 * time.Millisecond):
		}
	}
}

func newCluster(t *testing.T) *cluster {
	t.Helper()
	if os.Getenv("APPLIANCE_KUBERNETES") == "" {
		t.Fatal("APPLIANCE_KUBERNETES names no directory with kube-apiserver; make test-kubernetes builds it")
	}
	c := &cluster{t: t, dir: t.TempDir()}
	start := time.Now()
	write := func(name, text string) string {
		file := filepath.Join(c.dir, name)
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	signing := write("signing.pem", string(pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)})))
	token := rand.Text()
	tokens := write("tokens.csv", token+",admin,admin,system:masters\n")
	etcd, peer, port := fmt.Sprintf("http://127.0.0.1:%d", freePort(t)), fmt.Sprintf("http://127.0.0.1:%d", freePort(t)), freePort(t)
	c.program("etcd", "--data-dir", filepath.Join(c.dir, "etcd"), "--listen-client-urls", etcd, "--advertise-client-urls", etcd,
		"--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer, "--initial-cluster", "default="+peer)
	c.program("kube-apiserver", "--etcd-servers", etcd, "--bind-address", "127.0.0.1", "--secure-port", fmt.Sprint(port), "--cert-dir", filepath.Join(c.dir, "certs"),
		"--service-cluster-ip-range", "10.96.0.0/24", "--service-account-issuer", "https://kubernetes.default.svc", "--service-account-signing-key-file", signing,
		"--service-account-key-file", signing, "--authorization-mode", "RBAC", "--token-auth-file", tokens)
	c.config = &rest.Config{Host: fmt.Sprintf("https://127.0.0.1:%d", port), BearerToken: token, TLSClientConfig: rest.TLSClientConfig{Insecure: true}, QPS: 100, Burst: 200, Timeout: time.Minute}
	c.typed, c.any = kubernetes.NewForConfigOrDie(c.config), dynamic.NewForConfigOrDie(c.config)
	c.mapper = restmapper.NewDeferredDiscoveryRESTMapper(memory.NewMemCacheClient(c.typed.Discovery()))
	until(t, "API server", 5*time.Minute, func() error {
		_, err := c.typed.Discovery().RESTClient().Get().AbsPath("/readyz").DoRaw(t.Context())
		return err
	})
	kubeconfig := write("kubeconfig", fmt.Sprintf(`apiVersion: v1
kind: Config
clusters: [{name: c, cluster: {server: %q, insecure-skip-tls-verify: true}}]
users: [{name: u, user: {token: %s}}]
contexts: [{name: x, context: {cluster: c, user: u}}]
current-context: x
`, c.config.Host, token))
	c.program("kube-controller-manager", "--kubeconfig", kubeconfig, "--service-account-private-key-file", signing, "--leader-elect=false", "--secure-port", "0")
	c.program("kube-scheduler", "--kubeconfig", kubeconfig, "--leader-elect=false", "--secure-port", "0")
	version, err := c.typed.Discovery().ServerVersion()
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("Kubernetes %s answers after %v", version.GitVersion, time.Since(start).Round(time.Second))
	return c
}

// apply applies an object server-side; unknown and doubled fields are refused.
func (c *cluster) apply(o *unstructured.Unstructured, dry bool) error {
	c.t.Helper()
	kind := o.GroupVersionKind()
	mapping, err := c.mapper.RESTMapping(kind.GroupKind(), kind.Version)
	if meta.IsNoMatchError(err) {
		c.mapper.Reset()
		mapping, err = c.mapper.RESTMapping(kind.GroupKind(), kind.Version)
	}
	if err != nil {
		return err
	}
	data, err := json.Marshal(o.Object)
	if err != nil {
		return err
	}
	options := metav1.PatchOptions{FieldManager: "appliance-test", FieldValidation: metav1.FieldValidationStrict}
	if dry {
		options.DryRun = []string{metav1.DryRunAll}
	}
	var to dynamic.ResourceInterface = c.any.Resource(mapping.Resource)
	if mapping.Scope.Name() == meta.RESTScopeNameNamespace {
		to = c.any.Resource(mapping.Resource).Namespace(o.GetNamespace())
	}
	_, err = to.Patch(c.t.Context(), o.GetName(), types.ApplyPatchType, data, options)
	return err
}

// definitions teaches the API server the kinds of the Gateway API and of the Prometheus Operator.
func (c *cluster) definitions() {
	c.t.Helper()
	files := filepath.SplitList(os.Getenv("APPLIANCE_DEFINITIONS"))
	if len(files) == 0 {
		c.t.Fatal("APPLIANCE_DEFINITIONS names no files")
	}
	for _, file := range files {
		for _, o := range objects(c.t, read(c.t, file)) {
			until(c.t, file, time.Minute, func() error { return c.apply(o, false) })
		}
	}
}

// node adds a node that no kubelet runs: pods are given to it, and stay there.
func (c *cluster) node(name, zone string) {
	c.t.Helper()
	ctx := c.t.Context()
	n := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{corev1.LabelHostname: name, corev1.LabelTopologyZone: zone}}}
	if _, err := c.typed.CoreV1().Nodes().Create(ctx, n, metav1.CreateOptions{}); err != nil {
		c.t.Fatal(err)
	}
	until(c.t, "node "+name, time.Minute, func() error { // a controller changes it too
		n, err := c.typed.CoreV1().Nodes().Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		n.Status.Capacity = corev1.ResourceList{
			corev1.ResourceCPU: resource.MustParse("8"), corev1.ResourceMemory: resource.MustParse("16Gi"), corev1.ResourcePods: resource.MustParse("100"),
		}
		n.Status.Allocatable = n.Status.Capacity
		n.Status.Conditions = []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionTrue, LastHeartbeatTime: metav1.Now(), LastTransitionTime: metav1.Now(), Reason: "Test"}}
		_, err = c.typed.CoreV1().Nodes().UpdateStatus(ctx, n, metav1.UpdateOptions{})
		return err
	})
}

// restricted makes a namespace as namespace.yaml has it.
func (c *cluster) restricted(name string) {
	c.t.Helper()
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"pod-security.kubernetes.io/enforce": "restricted"}}}
	if _, err := c.typed.CoreV1().Namespaces().Create(c.t.Context(), ns, metav1.CreateOptions{}); err != nil {
		c.t.Fatal(err)
	}
	until(c.t, "service account", time.Minute, func() error {
		_, err := c.typed.CoreV1().ServiceAccounts(name).Get(c.t.Context(), "default", metav1.GetOptions{})
		return err
	})
}

// helm is Helm's own configuration for a namespace.
func (c *cluster) helm(namespace string) *action.Configuration {
	c.t.Helper()
	flags := genericclioptions.NewConfigFlags(false)
	file := filepath.Join(c.dir, "kubeconfig")
	flags.KubeConfig, flags.Namespace = &file, &namespace
	cfg := new(action.Configuration)
	if err := cfg.Init(flags, namespace, "secret", func(string, ...any) {}); err != nil {
		c.t.Fatal(err)
	}
	return cfg
}

// install is helm install.
func (c *cluster) install(name, namespace string, v map[string]any) error {
	c.t.Helper()
	i := action.NewInstall(c.helm(namespace))
	i.ReleaseName, i.Namespace, i.Timeout = name, namespace, time.Minute
	_, err := i.RunWithContext(c.t.Context(), loadChart(c.t), v)
	return err
}

// The API server takes what Helm and the program render, to the last field; the controllers
// make pods of it, which a namespace of the restricted standard admits, and the scheduler
// spreads them. What is wrong is refused.
func TestARealAPIServerTakesIt(t *testing.T) {
	c := newCluster(t)
	c.definitions()
	c.restricted("chat")
	c.node("one", "a")
	c.node("two", "b")
	for _, name := range installations {
		files, err := helmTemplate(t, loadChart(t), values(t, name), "appliance", "chat")
		if err != nil {
			t.Fatal(err)
		}
		all := objects(t, read(t, golden+name+"-manifests.yaml"))
		for _, text := range files {
			all = append(all, objects(t, text)...)
		}
		for _, o := range all {
			if err := c.apply(o, true); err != nil {
				t.Errorf("%s: %s %s: %v", name, o.GetKind(), o.GetName(), err)
			}
		}
		t.Logf("%s: %d objects taken, strictly and without a change", name, len(all))
	}
	for _, o := range objects(t, read(t, golden+"beside-manifests.yaml")) {
		if err := c.apply(o, false); err != nil {
			t.Fatalf("%s %s: %v", o.GetKind(), o.GetName(), err)
		}
	}
	for _, component := range []string{"bridge", "front"} {
		c.spread(component)
	}
	c.budget("appliance-bridge")
	c.refusals()
}

// spread waits until the two pods of a component are on two nodes.
func (c *cluster) spread(component string) {
	c.t.Helper()
	until(c.t, "two pods of "+component+" on two nodes", 2*time.Minute, func() error {
		pods, err := c.typed.CoreV1().Pods("chat").List(c.t.Context(), metav1.ListOptions{LabelSelector: "app.kubernetes.io/component=" + component})
		if err != nil {
			return err
		}
		nodes := map[string]bool{}
		for _, p := range pods.Items {
			nodes[p.Spec.NodeName] = true
		}
		if len(pods.Items) != 2 || len(nodes) != 2 || nodes[""] {
			return fmt.Errorf("%d pods on %v", len(pods.Items), nodes)
		}
		return nil
	})
	c.t.Logf("two pods of %s are on two nodes", component)
}

// budget waits until the disruption controller counts the pods that a budget is for.
func (c *cluster) budget(name string) {
	c.t.Helper()
	until(c.t, "budget that counts the pods", time.Minute, func() error {
		b, err := c.typed.PolicyV1().PodDisruptionBudgets("chat").Get(c.t.Context(), name, metav1.GetOptions{})
		if err == nil && (b.Status.ExpectedPods != 2 || b.Status.DesiredHealthy != 1) {
			err = fmt.Errorf("%+v", b.Status)
		}
		return err
	})
}

// refusals are what the API server says no to.
func (c *cluster) refusals() {
	c.t.Helper()
	change := func(kind string, value any, path ...string) *unstructured.Unstructured {
		for _, o := range objects(c.t, read(c.t, golden+"beside-manifests.yaml")) {
			if o.GetKind() == kind {
				if err := unstructured.SetNestedField(o.Object, value, path...); err != nil {
					c.t.Fatal(err)
				}
				return o
			}
		}
		c.t.Fatal("no ", kind)
		return nil
	}
	for _, r := range []struct {
		o    *unstructured.Unstructured
		want string
	}{
		{change("Deployment", int64(3), "spec", "replica"), "replica"},
		{change("Deployment", "x", "spec", "selector", "matchLabels", "app.kubernetes.io/instance"), "selector"},
		{change("PodDisruptionBudget", int64(1), "spec", "minAvailable"), "cannot be both set"},
		{change("Service", "Everywhere", "spec", "type"), "type"},
	} {
		if err := c.apply(r.o, true); err == nil || !strings.Contains(err.Error(), r.want) {
			c.t.Errorf("%s: %v, and not %q", r.o.GetKind(), err, r.want)
		}
	}
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "loose"}, Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "loose", Image: "x"}}}}
	_, err := c.typed.CoreV1().Pods("chat").Create(c.t.Context(), pod, metav1.CreateOptions{})
	if !apierrors.IsForbidden(err) || !strings.Contains(err.Error(), `violates PodSecurity "restricted:latest"`) {
		c.t.Errorf("a pod that is not restricted: %v", err)
	} else {
		c.t.Logf("refused: %v", err)
	}
}

// Helm installs and upgrades the chart, refuses a second release of the name, and takes over
// nothing that plain manifests made.
func TestHelmInstallsOnce(t *testing.T) {
	c := newCluster(t)
	c.restricted("chat")
	c.restricted("other")
	if err := c.install("appliance", "chat", values(t, "beside")); err != nil {
		t.Fatal(err)
	}
	err := c.install("appliance", "chat", values(t, "beside"))
	if err == nil || !strings.Contains(err.Error(), "cannot re-use a name that is still in use") {
		t.Errorf("a second release of the name: %v", err)
	}
	v := values(t, "beside")
	set(t, v, "bridge.replica", "3")
	up := action.NewUpgrade(c.helm("chat"))
	up.Namespace = "chat"
	if _, err := up.RunWithContext(t.Context(), "appliance", loadChart(t), v); err == nil || !strings.Contains(err.Error(), "replica") {
		t.Errorf("an upgrade with an unknown key: %v", err)
	}
	delete(v["bridge"].(map[string]any), "replica")
	set(t, v, "bridge.replicas", "3")
	if _, err := up.RunWithContext(t.Context(), "appliance", loadChart(t), v); err != nil {
		t.Errorf("an upgrade: %v", err)
	}
	d, err := c.typed.AppsV1().Deployments("chat").Get(t.Context(), "appliance-bridge", metav1.GetOptions{})
	if err != nil || *d.Spec.Replicas != 3 {
		t.Errorf("after the upgrade: %v %v", d.Spec.Replicas, err)
	}
	for _, o := range objects(t, strings.ReplaceAll(read(t, golden+"beside-manifests.yaml"), "namespace: chat", "namespace: other")) {
		if err := c.apply(o, false); err != nil {
			t.Fatal(err)
		}
	}
	err = c.install("appliance", "other", values(t, "beside"))
	if err == nil || !strings.Contains(err.Error(), "invalid ownership metadata") {
		t.Errorf("a release over plain manifests: %v", err)
	}
}
