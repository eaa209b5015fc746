package kubernetes_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/compose-spec/compose-go/v2/dotenv"

	"appliance/bridge/config"
	"appliance/bridge/mustrun"
	"appliance/provision/answers"
	"appliance/provision/conversation"
	"appliance/provision/kubernetes"
	"appliance/provision/render"
	"appliance/provision/secrets"
)

// A story is a conversation on a cluster, and what happens to it.
type story struct {
	*conversation.Conversation

	c       *cluster
	in      kubernetes.Installation
	files   render.Files // of the installation on one host, which provides Rocket.Chat's environment
	images  map[string]string
	program string
	dead    *node // killed by nodeDies, and restarted by nodeReturns
}

const (
	namespace = "chat"
	domain    = "chat.kubernetes.test"
)

// TestKubernetes: a conversation survives failures, upgrades and maintenance of a cluster. It needs root
// and the images of the stack in Docker, and takes some minutes: make test-kubernetes runs it.
func TestKubernetes(t *testing.T) {
	bin := os.Getenv("APPLIANCE_KUBERNETES")
	if bin == "" {
		mustrun.Skip(t, "it takes minutes, and kubelets: make test-kubernetes")
	}
	s := &story{Conversation: conversation.New(t), images: render.Images()}
	s.c = newCluster(t, bin, 3)
	s.Inquest = s.inquest
	s.Say("three kubelets are ready: %s", s.c.mustKubectl("get", "node", s.c.nodes[0].name, "-o", "jsonpath={.status.nodeInfo.kubeletVersion} with {.status.nodeInfo.containerRuntimeVersion} on {.status.nodeInfo.kernelVersion}"))
	s.load()
	s.roles()
	s.render("appliance:v1")
	s.neighbours()
	s.apply(kubernetes.NamespaceFile, kubernetes.SecretsFile, kubernetes.ManifestsFile)
	s.settle()
	s.Say("the pods are ready: %s", s.pods())
	s.run("appliance:v1")
	s.meet()

	end := s.Begin()
	s.Phase("nothing happens", 5*time.Second, func() {})
	s.Phase("the process of the bridge that reads is killed", 15*time.Second, s.processDies)
	s.Phase("the node of the bridge that reads loses its power", 15*time.Second, s.nodeDies)
	s.Phase("it comes back", 15*time.Second, s.nodeReturns)
	s.Phase("a rolling upgrade to a good version", 15*time.Second, s.upgrade)
	s.Phase("a rolling upgrade to a broken version, which replaces no pod", 15*time.Second, s.breakUpgrade)
	s.Phase("the node of the bridge that reads is paused for 20 s", 15*time.Second, s.pause)
	s.Phase("the node of the bridge that reads is drained", 15*time.Second, s.drain)
	end()
}

// load imports the images on the nodes, because there is no registry.
func (s *story) load() {
	s.T.Helper()
	s.program = filepath.Join(s.c.dir, "appliance")
	archives := map[string][]*node{}
	for _, version := range []string{"v2", "v1"} { // v1 is built last, and stays
		build := exec.CommandContext(s.T.Context(), "go", "build", "-ldflags", "-s -w -X main.version="+version, "-o", s.program, "appliance/cmd/appliance")
		build.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := build.CombinedOutput(); err != nil {
			s.T.Fatalf("%v\n%s", err, out)
		}
		archive := filepath.Join(s.c.dir, version+".tar")
		s.c.image(archive, "appliance:"+version, s.program)
		archives[archive] = s.c.nodes
	}
	broken := filepath.Join(s.c.dir, "broken.tar")
	s.c.image(broken, "appliance:broken", s.program, "not-a-command")
	archives[broken] = s.c.nodes
	save := func(name string, nodes []*node, images ...string) {
		archive := filepath.Join(s.c.dir, name+".tar")
		s.c.must("docker", append([]string{"save", "-o", archive}, images...)...)
		archives[archive] = nodes
	}
	save("front", s.c.nodes, s.images["NGINX_IMAGE"])
	save("data", s.c.nodes[:1], s.images["POSTGRES_IMAGE"], s.images["DENDRITE_IMAGE"], s.images["ROCKETCHAT_IMAGE"])
	var all sync.WaitGroup
	for archive, nodes := range archives {
		for _, n := range nodes {
			all.Go(func() { n.load(archive) })
		}
	}
	all.Wait()
	if !s.T.Failed() {
		s.Say("the images are loaded")
	}
}

// roles labels the node that has the data, and those that may fail.
func (s *story) roles() {
	s.T.Helper()
	s.c.mustKubectl("label", "node", s.c.nodes[0].name, "role=data")
	for _, n := range s.c.nodes[1:] {
		s.c.mustKubectl("label", "node", n.name, "role=bridge")
	}
}

// render writes the manifests as an operator would, with one version of the bridge.
func (s *story) render(image string) {
	s.T.Helper()
	if s.in.Release.Name == "" {
		s.installation()
	}
	s.in.Image = image
	_, s.in.Release.Version, _ = strings.Cut(image, ":")
	files, err := s.in.Files()
	if err == nil {
		_, err = kubernetes.Write(filepath.Join(s.c.dir, "manifests"), files)
	}
	if err != nil {
		s.T.Fatal(err)
	}
}

// installation prepares one with two bridges, whose databases are in the cluster.
func (s *story) installation() {
	s.T.Helper()
	set, _, err := secrets.Prepare(s.c.dir)
	if err != nil {
		s.T.Fatal(err)
	}
	database := func(name string) string {
		return "postgres://postgres:" + set[secrets.PostgresPassword].Reveal() + "@postgres.data.svc/" + name + "?sslmode=disable"
	}
	d := answers.NewDraft()
	for _, answer := range []string{
		"domain=" + domain, "email=ops@example.org", "tls=none", "namespace=prefixed", "bridge_replicas=2",
		"bridge_database=" + database("bridge"), "mongo_url=mongodb://u:p@db.example.org/rc",
	} {
		d.Assign(answer)
	}
	a, err := d.Finish()
	if err != nil {
		s.T.Fatal(err)
	}
	s.in = kubernetes.Installation{
		Release:            kubernetes.Release{Name: "appliance", Namespace: namespace},
		Render:             render.Input{Answers: a, Secrets: set, Project: "appliance", Image: "x", Host: render.Host{MemoryMB: 8192}},
		HomeserverDatabase: database("dendrite"),
	}
	for _, value := range []string{"rocketchat.url=http://rocketchat.rocketchat.svc:3000", "ingress.enabled=true", "bridge.nodeSelector={role: bridge}"} {
		setting, err := kubernetes.ParseSetting(value)
		if err != nil {
			s.T.Fatal(err)
		}
		s.in.Settings = append(s.in.Settings, setting)
	}
	if s.files, err = render.Tree(s.in.Render); err != nil {
		s.T.Fatal(err)
	}
}

// neighbours adds what else the cluster needs: PostgreSQL, the simulator in place of Rocket.Chat,
// here without rate limits, and a disk for Dendrite.
func (s *story) neighbours() {
	s.T.Helper()
	environment, err := dotenv.UnmarshalBytesWithLookup(s.files["rocketchat.env"].Data, nil)
	if err != nil {
		s.T.Fatal(err)
	}
	environment["TEST_MODE"] = "api"
	disk := filepath.Join(s.c.dir, "disk")
	if err := os.MkdirAll(disk, 0o777); err != nil { //nolint:gosec // the kubelet gives it to the homeserver
		s.T.Fatal(err)
	}
	secret := func(namespace, name string, data map[string]string) any {
		return map[string]any{"apiVersion": "v1", "kind": "Secret", "metadata": map[string]any{"name": name, "namespace": namespace}, "stringData": data}
	}
	list := []any{
		secret("data", "postgres", map[string]string{"password": s.in.Render.Secrets[secrets.PostgresPassword].Reveal(), "dendrite.sql": "CREATE DATABASE dendrite;\n"}),
		secret("rocketchat", "rocketchat", environment),
	}
	var text strings.Builder
	for _, o := range list {
		data, err := json.Marshal(o)
		if err != nil {
			s.T.Fatal(err)
		}
		fmt.Fprintf(&text, "%s\n---\n", data)
	}
	fmt.Fprintf(&text, neighbours, s.images["POSTGRES_IMAGE"], s.images["ROCKETCHAT_IMAGE"], disk)
	for _, name := range []string{"data", "rocketchat"} {
		s.c.mustKubectl("create", "namespace", name)
	}
	s.c.mustKubectl("apply", "--server-side", "-f", s.c.write("neighbours.yaml", text.String()))
	for _, name := range []string{"data", "rocketchat"} {
		s.c.mustKubectl("wait", "-n", name, "--for=condition=Ready", "--timeout=4m", "pod", "--all")
	}
}

const neighbours = `
apiVersion: v1
kind: Pod
metadata: {name: postgres, namespace: data, labels: {app: postgres}}
spec:
  nodeSelector: {role: data}
  automountServiceAccountToken: false
  securityContext: {runAsUser: 999, runAsGroup: 999, fsGroup: 999}
  containers:
    - name: postgres
      image: %[1]s
      env: [{name: PGDATA, value: /data/db}, {name: POSTGRES_DB, value: bridge}, {name: POSTGRES_PASSWORD_FILE, value: /run/secrets/postgres/password}]
      args: [postgres, -c, max_connections=200]
      readinessProbe: {exec: {command: [pg_isready, -h, 127.0.0.1]}, periodSeconds: 2, timeoutSeconds: 10}
      volumeMounts:
        - {name: data, mountPath: /data}
        - {name: secret, mountPath: /run/secrets/postgres}
        - {name: secret, mountPath: /docker-entrypoint-initdb.d/dendrite.sql, subPath: dendrite.sql}
  volumes: [{name: data, emptyDir: {}}, {name: secret, secret: {secretName: postgres, defaultMode: 288}}]
---
apiVersion: v1
kind: Service
metadata: {name: postgres, namespace: data}
spec: {selector: {app: postgres}, ports: [{port: 5432}]}
---
apiVersion: v1
kind: Pod
metadata: {name: rocketchat, namespace: rocketchat, labels: {app: rocketchat}}
spec:
  nodeSelector: {role: data}
  automountServiceAccountToken: false
  enableServiceLinks: false
  containers:
    - name: rocketchat
      image: %[2]s
      envFrom: [{secretRef: {name: rocketchat}}]
      readinessProbe: {httpGet: {path: /api/info, port: 3000}, periodSeconds: 2, timeoutSeconds: 10}
---
apiVersion: v1
kind: Service
metadata: {name: rocketchat, namespace: rocketchat}
spec: {selector: {app: rocketchat}, ports: [{port: 3000}]}
---
apiVersion: v1
kind: PersistentVolume
metadata: {name: disk}
spec:
  capacity: {storage: 20Gi}
  accessModes: [ReadWriteOnce]
  local: {path: %[3]s}
  nodeAffinity: {required: {nodeSelectorTerms: [{matchExpressions: [{key: role, operator: In, values: [data]}]}]}}
`

// apply applies files to the cluster.
func (s *story) apply(files ...string) {
	s.T.Helper()
	for _, name := range files {
		s.c.mustKubectl("apply", "--server-side", "-f", filepath.Join(s.c.dir, "manifests", name))
	}
}

// A pod is a pod as the API server describes it.
type pod struct {
	Metadata struct {
		Name              string
		DeletionTimestamp string
	}
	Spec struct {
		NodeName   string
		Containers []struct{ Image string }
	}
	Status struct {
		PodIP             string
		Conditions        []struct{ Type, Status string }
		ContainerStatuses []struct {
			ContainerID  string
			RestartCount int
			State        struct{ Waiting struct{ Reason string } }
		}
	}
}

func (p pod) ready() bool {
	return p.Metadata.DeletionTimestamp == "" && slices.ContainsFunc(p.Status.Conditions, func(c struct{ Type, Status string }) bool { return c.Type == "Ready" && c.Status == "True" })
}

// bridges returns the pods of the bridge.
func (s *story) bridges() (list []pod, err error) {
	var out struct{ Items []pod }
	err = s.c.get(&out, "pods", "-n", namespace, "-l", "app.kubernetes.io/component=bridge")
	return out.Items, err
}

// pods describes the pods and the nodes that they run on.
func (s *story) pods() string {
	out, err := s.c.kubectl("get", "pods", "-A", "--no-headers", "-o", "custom-columns=N:.metadata.name,W:.spec.nodeName,R:.status.containerStatuses[*].ready,S:.status.phase,C:.status.containerStatuses[*].restartCount,I:.status.containerStatuses[*].state.waiting.reason")
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(out, "\n")
	for i, line := range lines {
		lines[i] = strings.Join(strings.Fields(strings.ReplaceAll(line, "<none>", "")), " ")
	}
	return strings.Join(lines, ", ")
}

// settle waits until everything that was applied is ready.
func (s *story) settle() {
	s.T.Helper()
	s.c.until(4*time.Minute, "all pods are ready", func() (bool, string) {
		for _, what := range []string{"deployment/appliance-bridge", "deployment/appliance-front", "statefulset/appliance-homeserver"} {
			out, err := s.c.kubectl("rollout", "status", "-n", namespace, "--timeout=30s", what)
			if err != nil {
				return false, fmt.Sprintf("%s %v: %s", out, err, s.pods())
			}
		}
		return true, ""
	})
}

// meet brings alice and bob into one room. Requests from outside are routed as the Ingress says.
func (s *story) meet() {
	s.T.Helper()
	ctx := s.T.Context()
	of := func(name secrets.Name) string { return s.in.Render.Secrets[name].Reveal() }
	door := &http.Client{Timeout: 30 * time.Second, Transport: s.ingress()}
	admin := &conversation.Person{Base: "http://" + domain, HTTP: door}
	s.Alice = &conversation.Person{Base: "http://" + domain, HTTP: door}
	s.Bob = &conversation.Person{Base: "http://" + s.service(namespace, "appliance-homeserver") + ":8008", HTTP: client()}
	steps := []func() error{
		func() error { return conversation.SignIn(ctx, admin, "admin", of(secrets.AdminPassword)) },
		func() error {
			return admin.Do(ctx, http.MethodPost, "/api/v1/users.create", map[string]any{"username": "alice", "name": "Alice", "email": "alice@example.org", "password": "a long password", "joinDefaultChannels": false}, nil)
		},
		func() error { return conversation.SignIn(ctx, s.Alice, "alice", "a long password") },
		func() error { return conversation.RegisterAt(ctx, s.Bob, of(secrets.RegistrationSecret), "bob") },
		func() error {
			var out struct {
				Group struct {
					ID string `json:"_id"`
				}
			}
			err := s.Alice.Do(ctx, http.MethodPost, "/api/v1/groups.create", map[string]any{"name": "kubernetes"}, &out)
			s.Room = out.Group.ID
			return err
		},
		func() error {
			return s.Alice.Do(ctx, http.MethodPost, "/api/v1/commands.run", map[string]string{"command": "bridge", "params": "invite @bob:" + domain, "roomId": s.Room}, nil)
		},
	}
	for i, step := range steps {
		if err := step(); err != nil {
			s.T.Fatalf("step %d: %v", i+1, err)
		}
	}
	s.c.until(30*time.Second, "bob is invited", func() (bool, string) {
		var out struct {
			Rooms struct{ Invite map[string]any }
		}
		err := s.Bob.Do(ctx, http.MethodGet, "/_matrix/client/v3/sync?timeout=0", nil, &out)
		for s.MX = range out.Rooms.Invite {
			err = s.Bob.Do(ctx, http.MethodPost, "/_matrix/client/v3/join/"+s.MX, map[string]any{}, nil)
			return err == nil, fmt.Sprint(err)
		}
		return false, fmt.Sprint(err)
	})
	s.Say("alice of Rocket.Chat has invited bob of Matrix into a room")
}

// service returns the address of a Service.
func (s *story) service(namespace, name string) string {
	s.T.Helper()
	return s.c.mustKubectl("get", "service", "-n", namespace, name, "-o", "jsonpath={.spec.clusterIP}")
}

// A route forwards requests as an Ingress controller does: those of the Ingress to the front, all
// others to Rocket.Chat.
type route struct {
	exact, prefix     []string
	front, rocketchat string
	http.RoundTripper
}

func (r *route) RoundTrip(req *http.Request) (*http.Response, error) {
	req = req.Clone(req.Context())
	req.Host = req.URL.Host
	req.URL.Host = r.rocketchat
	if slices.Contains(r.exact, req.URL.Path) || slices.ContainsFunc(r.prefix, func(p string) bool { return strings.HasPrefix(req.URL.Path+"/", p+"/") }) {
		req.URL.Host = r.front
	}
	return r.RoundTripper.RoundTrip(req)
}

func (s *story) ingress() http.RoundTripper {
	s.T.Helper()
	var rules struct {
		Spec struct {
			Rules []struct {
				Host string
				HTTP struct {
					Paths []struct{ Path, PathType string }
				}
			}
		}
	}
	if err := s.c.get(&rules, "ingress", "-n", namespace, "appliance-front"); err != nil {
		s.T.Fatal(err)
	}
	r := &route{front: s.service(namespace, "appliance-front") + ":80", rocketchat: s.service("rocketchat", "rocketchat") + ":3000", RoundTripper: client().Transport}
	for _, rule := range rules.Spec.Rules {
		for _, p := range rule.HTTP.Paths {
			if rule.Host == domain && p.PathType == "Exact" {
				r.exact = append(r.exact, p.Path)
			} else if rule.Host == domain {
				r.prefix = append(r.prefix, p.Path)
			}
		}
	}
	if !slices.Contains(r.exact, "/api/v1/commands.run") {
		s.T.Fatalf("the Ingress leads commands nowhere: %v", rules)
	}
	return r
}

// ask requests one of the pages of a bridge.
func (s *story) ask(ctx context.Context, p pod, page string, out any) error {
	bearer := config.OperatorToken(s.in.Render.Secrets[secrets.RocketChatToken]).Reveal()
	who := &conversation.Person{Base: "http://" + p.Status.PodIP + ":29328", HTTP: client(), Header: http.Header{"Authorization": {"Bearer " + bearer}}}
	defer who.HTTP.CloseIdleConnections()
	return who.Do(ctx, http.MethodGet, page, nil, out)
}

// reader returns the pod of the bridge that reads the networks for all bridges, and its node.
func (s *story) reader() (found pod, on *node) {
	s.T.Helper()
	s.c.until(30*time.Second, "a bridge reads", func() (bool, string) {
		list, err := s.bridges()
		for _, p := range list {
			var status struct{ Reads bool }
			if p.ready() && s.ask(s.T.Context(), p, "/status", &status) == nil && status.Reads {
				found = p
				return true, ""
			}
		}
		return false, fmt.Sprint(s.pods(), err)
	})
	for _, n := range s.c.nodes {
		if n.name == found.Spec.NodeName {
			on = n
		}
	}
	return found, on
}

// processDies kills the process in the pod, and waits until the kubelet has restarted it.
func (s *story) processDies() {
	p, n := s.reader()
	container := strings.TrimPrefix(p.Status.ContainerStatuses[0].ContainerID, "containerd://")
	killed := 0
	for _, pid := range n.pids() {
		if groups, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", pid)); strings.Contains(string(groups), container) && syscall.Kill(pid, syscall.SIGKILL) == nil {
			killed++
		}
	}
	s.Say("    it is %s on %s: %d process killed", p.Metadata.Name, n.name, killed)
	if killed == 0 {
		s.T.Fatal("no process of the container is there")
	}
	s.c.until(2*time.Minute, "the kubelet has started it again", func() (bool, string) {
		list, err := s.bridges()
		for _, now := range list {
			if now.Metadata.Name == p.Metadata.Name {
				return now.ready() && now.Status.ContainerStatuses[0].RestartCount > p.Status.ContainerStatuses[0].RestartCount, s.pods()
			}
		}
		return false, fmt.Sprint(s.pods(), err)
	})
	s.Say("    the kubelet has started it again, and it is ready")
	p, _ = s.reader()
	s.Say("    now %s reads", p.Metadata.Name)
}

func (s *story) nodeDies() {
	p, n := s.reader()
	s.dead = n
	s.Say("    it is %s, where %s reads", n.name, p.Metadata.Name)
	n.die()
	s.Say("    %s is dead", n.name)
	now, _ := s.reader()
	s.Say("    now %s on %s reads", now.Metadata.Name, now.Spec.NodeName)
	s.c.until(2*time.Minute, "the cluster has noticed", func() (bool, string) {
		list, err := s.bridges()
		ready := 0
		for _, p := range list {
			if p.ready() && p.Spec.NodeName != n.name {
				ready++
			}
		}
		return ready == 2, fmt.Sprint(s.pods(), err)
	})
	s.Say("    the cluster has noticed, and both bridges are ready on the other node")
}

func (s *story) nodeReturns() {
	s.dead.back()
	s.settle()
	s.Say("    %s is ready again", s.dead.name)
}

// upgrade applies the manifests with the next version.
func (s *story) upgrade() {
	s.render("appliance:v2")
	s.apply(kubernetes.SecretsFile, kubernetes.ManifestsFile)
	s.settle()
	s.Say("    kubectl says: %s", s.c.mustKubectl("rollout", "status", "-n", namespace, "deployment/appliance-bridge"))
	s.run("appliance:v2")
}

// run fails the test unless two pods of an image are ready, on two nodes.
func (s *story) run(image string) {
	s.T.Helper()
	list, err := s.bridges()
	if err != nil {
		s.T.Fatal(err)
	}
	ready := slices.DeleteFunc(list, func(p pod) bool { return !p.ready() || p.Spec.Containers[0].Image != image })
	if len(ready) != 2 {
		s.T.Errorf("%d pods of %s are ready, and not 2: %s", len(ready), image, s.pods())
	} else if ready[0].Spec.NodeName == ready[1].Spec.NodeName {
		s.T.Errorf("both pods of %s are on one node: %s", image, s.pods())
	}
}

// breakUpgrade applies the manifests with a version that does not start, and rolls back.
func (s *story) breakUpgrade() {
	s.render("appliance:broken")
	s.apply(kubernetes.SecretsFile, kubernetes.ManifestsFile)
	s.c.until(2*time.Minute, "the broken version has failed three times", func() (bool, string) {
		list, err := s.bridges()
		for _, p := range list {
			if p.Spec.Containers[0].Image == "appliance:broken" && len(p.Status.ContainerStatuses) > 0 && p.Status.ContainerStatuses[0].RestartCount > 1 {
				return true, ""
			}
		}
		return false, fmt.Sprint(s.pods(), err)
	})
	s.Say("    %s", s.pods())
	s.run("appliance:v2")
	s.Say("    %s", s.c.mustKubectl("rollout", "undo", "-n", namespace, "deployment/appliance-bridge"))
	s.settle()
	s.run("appliance:v2")
}

// drain empties a node for maintenance, as the disruption budget allows.
func (s *story) drain() {
	p, n := s.reader()
	s.Say("    it is %s on %s", p.Metadata.Name, n.name)
	s.c.mustKubectl("drain", n.name, "--delete-emptydir-data", "--ignore-daemonsets", "--timeout=3m")
	s.settle()
	s.Say("    it is drained: %s", s.pods())
	s.c.mustKubectl("uncordon", n.name)
}

// pause stops every process of the node whose bridge reads, like a frozen virtual machine.
func (s *story) pause() {
	p, n := s.reader()
	s.Say("    it is %s, where %s reads", n.name, p.Metadata.Name)
	n.signal(syscall.SIGSTOP)
	<-time.After(20 * time.Second)
	n.signal(syscall.SIGCONT)
	n.ready()
	s.settle()
}

// inquest looks for the missing texts on the servers, and in the bridges and their database.
func (s *story) inquest(before time.Time) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(s.T.Context()), 2*time.Minute)
	defer cancel()
	s.Where(ctx, before)
	s.Say("    the pods: %s", s.pods())
	list, err := s.bridges()
	if err != nil {
		s.Say("    %v", err)
	}
	for _, p := range list {
		for _, page := range []string{"/status", "/queue", "/queue/dead"} {
			var out json.RawMessage
			err := s.ask(ctx, p, page, &out)
			s.Say("    %s on %s says to %s: %.1500s %v", p.Metadata.Name, p.Spec.NodeName, page, out, err)
		}
		log, err := s.c.kubectl("logs", "-n", namespace, p.Metadata.Name, "--tail=3000")
		lines := slices.DeleteFunc(strings.Split(log, "\n"), func(l string) bool { return strings.Contains(l, "level=INFO") || strings.Contains(l, "level=DEBUG") })
		s.Say("    its log: %s %v", strings.Join(lines[max(0, len(lines)-30):], "\n"), err)
	}
	for _, query := range []string{
		"SELECT count(*) AS items FROM items",
		"SELECT seq, id, lane, kind, attempts, failures, cause FROM items ORDER BY seq LIMIT 20",
		"SELECT lane, waiting, due, held, owner, fence FROM lanes WHERE waiting > 0 OR held > 0 LIMIT 20",
		"SELECT * FROM cursors LIMIT 20",
		"SELECT * FROM roles",
	} {
		out, err := s.c.kubectl("exec", "-n", "data", "postgres", "--", "psql", "-U", "postgres", "-d", "bridge", "-c", query)
		s.Say("    %s\n%.3000s %v", query, out, err)
	}
}
