package swarm_test

import (
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"

	"appliance/bridge/mustrun"
	"appliance/provision/conversation"
	"appliance/provision/render"
)

// A story is a conversation on a cluster, and what happens to it.
type story struct {
	*conversation.Conversation
	c       *cluster
	out     string // where the stack is
	program string
	images  map[string]string
}

const stackName = "chat"

// TestSwarm: a conversation survives failures and upgrades of a Swarm. It needs root, Docker and the
// images of the stack, and takes some minutes: make test-swarm runs it.
func TestSwarm(t *testing.T) {
	if os.Getenv("APPLIANCE_TEST_SWARM") == "" {
		mustrun.Skip(t, "it takes minutes and three Docker Engines: make test-swarm")
	}
	c := newCluster(t, 3)
	s := &story{c: c, Conversation: conversation.New(t), images: render.Images()}
	s.Inquest = s.inquest
	s.Say("three Docker Engines answer; %s", strings.ReplaceAll(c.nodes[0].must("version", "-f", "{{.Server.Version}} on {{.Server.KernelVersion}}"), "\n", " "))
	s.load()
	s.form()
	s.render("appliance:v1")
	s.deploy()
	s.settle()
	s.Say("the stack %s runs: %s", stackName, s.services())
	s.refuseAnother()
	s.meet()

	end := s.Begin()
	s.Phase("nothing happens", 5*time.Second, func() {})
	s.Phase("the node of the bridge that reads loses its power", 15*time.Second, s.nodeDies)
	s.Phase("it comes back", 15*time.Second, s.nodeReturns)
	s.Phase("the manager changes: the engine of the leader is killed", 20*time.Second, s.managerChanges)
	s.Phase("a rolling upgrade to a good version", 20*time.Second, func() { s.upgrade("appliance:v2", "completed") })
	s.Phase("a rolling upgrade to a broken version, which goes back by itself", 20*time.Second, func() { s.upgrade("appliance:broken", "rollback_completed") })
	s.Phase("the network between two managers is split for 20 s", 20*time.Second, s.split)
	s.Phase("a node is paused for 20 s and comes back", 20*time.Second, s.pause)

	end()
}

// load imports the images on the nodes, because there is no registry.
func (s *story) load() {
	s.T.Helper()
	s.program = filepath.Join(s.c.dir, "appliance")
	for _, version := range []string{"v2", "v1"} { // v1 is built last, and stays
		build := exec.CommandContext(s.T.Context(), "go", "build", "-ldflags", "-s -w -X main.version="+version, "-o", s.program, "appliance/cmd/appliance")
		build.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := build.CombinedOutput(); err != nil {
			s.T.Fatalf("%v\n%s", err, out)
		}
		tmp := filepath.Join(s.c.dir, "tmp")
		if err := os.MkdirAll(tmp, 0o700); err != nil {
			s.T.Fatal(err)
		}
		if err := os.Chmod(tmp, 0o777|os.ModeSticky); err != nil {
			s.T.Fatal(err)
		}
		s.c.must("tar", "-C", s.c.dir, "-cf", filepath.Join(s.c.dir, version+".tar"), "appliance", "tmp")
	}
	archive := filepath.Join(s.c.dir, "images.tar")
	nginx := filepath.Join(s.c.dir, "nginx.tar")
	s.c.must("docker", "save", "-o", nginx, s.images["NGINX_IMAGE"])
	s.c.must("docker", "save", "-o", archive, s.images["POSTGRES_IMAGE"], s.images["DENDRITE_IMAGE"], s.images["ROCKETCHAT_IMAGE"])
	for i, n := range s.c.nodes {
		n.must("load", "-q", "-i", nginx)
		if i == 0 {
			n.must("load", "-q", "-i", archive)
		}
		for image, from := range map[string]string{"v1": "v1", "v2": "v2", "broken": "v1"} {
			entry := `ENTRYPOINT ["/appliance"]`
			if image == "broken" {
				entry = `ENTRYPOINT ["/appliance", "not-a-command"]`
			}
			n.must("import", "-c", entry, filepath.Join(s.c.dir, from+".tar"), "appliance:"+image)
		}
	}
	s.Say("the images are loaded")
}

// form makes a Swarm of three managers. The first node has the data.
func (s *story) form() {
	s.T.Helper()
	first := s.c.nodes[1] // the node with the data does not lead
	first.must("swarm", "init", "--advertise-addr", first.ip, "--listen-addr", first.ip)
	token := first.must("swarm", "join-token", "-q", "manager")
	for _, n := range []*node{s.c.nodes[0], s.c.nodes[2]} {
		n.must("swarm", "join", "--token", token, first.ip+":2377")
	}
	first.must("node", "update", "--label-add", "appliance.state=true", s.c.nodes[0].name)
	s.Say("they form a Swarm of three managers; %s leads, %s has the data", s.c.leader(first).name, s.c.nodes[0].name)
}

// render writes the stack as an operator would, with one version of the bridge.
func (s *story) render(image string) {
	s.T.Helper()
	s.out = filepath.Join(s.c.dir, "stack")
	answers := "domain: chat.swarm.test\nemail: ops@example.org\ntls: none\nhttp_port: 80\nnamespace: prefixed\nbridge_database: bundled\nbridge_replicas: 2\nmongo_url: mongodb://u:p@db.example.org/rc\n"
	file := filepath.Join(s.c.dir, "answers.yaml")
	if err := os.WriteFile(file, []byte(answers), 0o600); err != nil {
		s.T.Fatal(err)
	}
	args := []string{"render", "swarm", "--dir", filepath.Join(s.c.dir, "none"), "--answers", file, "--out", s.out, "--stack", stackName, "--replicas", "nginx=3", "--image", image, "--state", filepath.Join(s.c.dir, "state")}
	s.c.must(s.program, append(args, options()...)...)
	s.standIn()
}

// options returns those for this kernel: APPLIANCE_TEST_SWARM_OPTIONS, or what every kernel supports.
func options() []string {
	if set := os.Getenv("APPLIANCE_TEST_SWARM_OPTIONS"); set != "" {
		return strings.Fields(set)
	}
	return []string{"--encrypted=false"}
}

// standIn adds what the simulator needs: it keeps its data in its container, and has no rate
// limits. The bridges are on the nodes that may fail. Health checks may take longer, because
// three nodes share the processors of one machine.
func (s *story) standIn() {
	s.T.Helper()
	file := filepath.Join(s.out, "stack.yaml")
	data, err := os.ReadFile(file)
	if err != nil {
		s.T.Fatal(err)
	}
	var doc map[string]any
	if err := yaml.Unmarshal(data, &doc); err != nil {
		s.T.Fatal(err)
	}
	services, _ := doc["services"].(map[string]any)
	for name, constraint := range map[string]string{"rocketchat": "node.labels.appliance.state == true", "bridge": "node.labels.appliance.state != true"} {
		service, _ := services[name].(map[string]any)
		deploy, _ := service["deploy"].(map[string]any)
		deploy["placement"] = map[string]any{"constraints": []string{constraint}}
	}
	for _, service := range services {
		if check, ok := service.(map[string]any)["healthcheck"].(map[string]any); ok {
			check["interval"], check["timeout"] = "5s", "30s"
		}
	}
	if data, err = yaml.Marshal(doc); err != nil {
		s.T.Fatal(err)
	}
	env := filepath.Join(s.out, "rocketchat.env")
	was, err := os.ReadFile(env)
	if err != nil {
		s.T.Fatal(err)
	}
	if !strings.Contains(string(was), "TEST_MODE") {
		was = append(was, "TEST_MODE=api\n"...)
	}
	for name, content := range map[string][]byte{file: data, env: was} {
		if err := os.WriteFile(name, content, 0o600); err != nil {
			s.T.Fatal(err)
		}
	}
}

// deploy deploys the stack on the Swarm.
func (s *story) deploy() {
	s.T.Helper()
	for name, user := range map[string]int{"homeserver": 10500, "postgres": 999, "run/postgres": 999} {
		dir := filepath.Join(s.c.dir, "state", name)
		if err := os.MkdirAll(dir, 0o700); err != nil {
			s.T.Fatal(err)
		}
		if err := os.Chown(dir, user, user); err != nil {
			s.T.Fatal(err)
		}
	}
	_ = os.Chmod(filepath.Join(s.c.dir, "state"), 0o755) //nolint:gosec // containers look into it
	s.c.nodes[0].must("stack", "deploy", "--detach=true", "--prune", "--resolve-image", "never", "-c", filepath.Join(s.out, "stack.yaml"), stackName)
}

// services says how many replicas of each service run.
func (s *story) services() string {
	out, err := s.c.nodes[0].docker(s.T.Context(), "service", "ls", "--format", "{{.Name}} {{.Replicas}}")
	if err != nil {
		return err.Error()
	}
	return strings.ReplaceAll(out, "\n", ", ")
}

// settle waits until all replicas of every service are healthy.
func (s *story) settle() {
	s.T.Helper()
	ok, out := s.c.becomes(6*time.Minute, func() (bool, string) {
		out := s.services()
		for part := range strings.SplitSeq(out, ", ") {
			_, replicas, _ := strings.Cut(part, " ")
			have, want, ok := strings.Cut(replicas, "/")
			if !ok || have != want {
				return false, out
			}
		}
		return true, ""
	})
	if !ok {
		s.T.Fatalf("not every service is healthy: %s\n%s", out, s.why())
	}
}

func (s *story) why() string {
	out, _ := s.c.nodes[0].docker(s.T.Context(), "stack", "ps", "--no-trunc", "--format", "{{.Name}} {{.Node}} {{.CurrentState}} {{.Error}}", stackName)
	return out
}

// refuseAnother checks that a second installation cannot take over the stack by its name.
func (s *story) refuseAnother() {
	s.T.Helper()
	other := filepath.Join(s.c.dir, "other.yaml")
	if err := os.WriteFile(other, []byte("domain: other.swarm.test\nemail: ops@example.org\ntls: none\n"), 0o600); err != nil {
		s.T.Fatal(err)
	}
	out := filepath.Join(s.c.dir, "other")
	s.c.must(s.program, append([]string{"render", "swarm", "--dir", filepath.Join(s.c.dir, "none"), "--answers", other, "--out", out, "--stack", stackName}, options()...)...)
	_, err := s.c.nodes[0].docker(s.T.Context(), "stack", "deploy", "--detach=true", "--resolve-image", "never", "-c", filepath.Join(out, "stack.yaml"), stackName)
	if err == nil || !strings.Contains(err.Error(), stackName+"-identity") {
		s.T.Fatalf("a second stack with the same name: %v", err)
	}
	_, why, _ := strings.Cut(err.Error(), "exit status 1: ")
	s.Say("a second installation with the same name of the stack is refused: %s", why)
}

// meet brings alice and bob into one room.
func (s *story) meet() {
	s.T.Helper()
	ctx := s.T.Context()
	read := func(name string) string {
		data, err := os.ReadFile(filepath.Join(s.out, "secrets", name))
		if err != nil {
			s.T.Fatal(err)
		}
		return strings.TrimSpace(string(data))
	}
	first := s.c.nodes[0]
	wire := func() (string, error) { return "/run/netns/" + s.c.wire, nil }
	door := conversation.Through(conversation.Client(wire), first.ip+":80")
	admin := &conversation.Person{Base: "http://chat.swarm.test", HTTP: door}
	s.Alice = &conversation.Person{Base: "http://chat.swarm.test", HTTP: door}
	s.Bob = &conversation.Person{Base: "http://127.0.0.1:8008", HTTP: conversation.Client(func() (string, error) { return first.inside(first.task(stackName + "_homeserver"))() })}
	steps := []func() error{
		func() error { return conversation.SignIn(ctx, admin, "admin", read("admin_password")) },
		func() error {
			return admin.Do(ctx, http.MethodPost, "/api/v1/users.create", map[string]any{"username": "alice", "name": "Alice", "email": "alice@example.org", "password": "a long password", "joinDefaultChannels": false}, nil)
		},
		func() error { return conversation.SignIn(ctx, s.Alice, "alice", "a long password") },
		func() error { return conversation.RegisterAt(ctx, s.Bob, read("registration_shared_secret"), "bob") },
		func() error {
			var out struct {
				Group struct {
					ID string `json:"_id"`
				}
			}
			err := s.Alice.Do(ctx, http.MethodPost, "/api/v1/groups.create", map[string]any{"name": "swarm"}, &out)
			s.Room = out.Group.ID
			return err
		},
		func() error {
			return s.Alice.Do(ctx, http.MethodPost, "/api/v1/commands.run", map[string]string{"command": "bridge", "params": "invite @bob:chat.swarm.test", "roomId": s.Room}, nil)
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

// reader returns the node whose bridge reads the networks for all bridges.
func (s *story) reader() *node {
	s.T.Helper()
	var found *node
	s.c.until(30*time.Second, "a bridge reads", func() (bool, string) {
		for _, n := range s.c.nodes[1:] {
			for _, task := range n.tasks(stackName + "_bridge") {
				var status struct{ Reads bool }
				if s.ask(s.T.Context(), n, task, "/status", &status) == nil && status.Reads {
					found = n
					return true, ""
				}
			}
		}
		return false, "none does"
	})
	return found
}

var dead *node // killed by the last nodeDies

func (s *story) nodeDies() {
	dead = s.reader()
	s.Say("    it is %s, and %s leads", dead.name, s.c.leader(s.c.nodes[0]).name)
	dead.die()
	s.Say("    %s is dead", dead.name)
	s.c.until(engineBack, "the Swarm has replaced its bridge", func() (bool, string) {
		out, _ := s.c.nodes[0].docker(s.T.Context(), "node", "ls", "--format", "{{.Hostname}} {{.Status}}")
		return strings.Contains(out, dead.name+" Down") && strings.Contains(s.services(), "bridge 2/2"), out
	})
	s.Say("    the Swarm has noticed, and both bridges run on the other node")
}

func (s *story) nodeReturns() {
	dead.joinUp()
	dead.start()
	s.ready(dead)
}

// engineBack is how long an engine may take to recover its state after it was killed. It does
// not measure the bridge.
const engineBack = 4 * time.Minute

// ready waits until the Swarm has a node back.
func (s *story) ready(n *node) {
	s.T.Helper()
	s.c.until(engineBack, n.name+" is back", func() (bool, string) {
		out, _ := s.c.nodes[0].docker(s.T.Context(), "node", "ls", "--format", "{{.Hostname}} {{.Status}} {{.ManagerStatus}}")
		return strings.Contains(out, n.name+" Ready Reachable") || strings.Contains(out, n.name+" Ready Leader"), out
	})
	s.Say("    %s is back", n.name)
}

func (s *story) managerChanges() {
	s.apart()
	leads := s.c.leader(s.c.nodes[0])
	if leads == s.c.nodes[0] { // it runs the databases
		leads.must("node", "demote", leads.name)
	} else {
		for _, pid := range leads.called("dockerd") {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
	}
	ask := s.c.nodes[1]
	if leads == ask {
		ask = s.c.nodes[2]
	}
	s.c.until(engineBack, "another one leads", func() (bool, string) {
		out, _ := ask.docker(s.T.Context(), "node", "ls", "--format", "{{.Hostname}} {{.ManagerStatus}}")
		return strings.Contains(out, " Leader") && !strings.Contains(out, leads.name+" Leader"), out
	})
	s.Say("    %s led, now %s leads", leads.name, s.c.leader(ask).name)
	if leads == s.c.nodes[0] {
		ask.must("node", "promote", leads.name)
	}
	leads.await()
	s.ready(leads)
	s.settle()
}

// upgrade deploys the stack with another version and waits for the outcome.
func (s *story) upgrade(image, want string) {
	s.T.Helper()
	s.settle()
	s.render(image)
	s.deploy()
	state := func() (string, error) {
		return s.c.nodes[0].docker(s.T.Context(), "service", "inspect", "-f", "{{if .UpdateStatus}}{{.UpdateStatus.State}}{{end}} {{.Spec.TaskTemplate.ContainerSpec.Image}}", stackName+"_bridge")
	}
	s.c.until(3*time.Minute, image+" is "+want, func() (bool, string) {
		now, err := state()
		return strings.HasPrefix(now, want+" "), fmt.Sprint(now, err)
	})
	now, _ := state()
	s.Say("    the Swarm says: %s", now)
	if strings.Contains(now, "broken") {
		s.T.Errorf("the broken version stays: %s", now)
	}
	s.settle()
}

// split cuts two managers off from each other; both still reach the third one.
func (s *story) split() {
	a, b := s.c.nodes[1], s.c.nodes[2]
	s.c.must("ip", "-n", a.net, "route", "add", "blackhole", b.ip+"/32")
	s.c.must("ip", "-n", b.net, "route", "add", "blackhole", a.ip+"/32")
	<-time.After(20 * time.Second)
	s.c.must("ip", "-n", a.net, "route", "del", "blackhole", b.ip+"/32")
	s.c.must("ip", "-n", b.net, "route", "del", "blackhole", a.ip+"/32")
	s.ready(a)
	s.ready(b)
}

// apart puts a bridge on each of the two nodes. After one was down, both may be on the other one.
func (s *story) apart() {
	s.T.Helper()
	where := func() (on []string) {
		for _, n := range s.c.nodes[1:] {
			on = append(on, fmt.Sprintf("%d on %s", len(n.tasks(stackName+"_bridge")), n.name))
		}
		return on
	}
	for range 3 {
		s.Say("    bridges: %s", strings.Join(where(), ", "))
		if where()[0] == "1 on "+s.c.nodes[1].name {
			return
		}
		s.c.nodes[0].must("service", "update", "--force", "--detach=false", "--quiet", stackName+"_bridge")
		s.settle()
	}
	s.T.Fatalf("the bridges stay on one node: %s", strings.Join(where(), ", "))
}

// pause stops every process of the node whose bridge reads, like a frozen virtual machine.
func (s *story) pause() {
	s.apart()
	n := s.reader()
	s.Say("    it is %s", n.name)
	n.signal(syscall.SIGSTOP)
	<-time.After(20 * time.Second)
	n.signal(syscall.SIGCONT)
	s.ready(n)
}
