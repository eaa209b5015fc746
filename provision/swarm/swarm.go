// Package swarm turns the files of an installation into a Docker Swarm stack. It reads
// the same compose.yaml and the same .env as Docker Compose does, and expresses them in
// terms that a Swarm understands: configuration and secrets become objects of the Swarm,
// named by their content, and data stays on one node.
//
// It is pure: the same input gives the same bytes.
package swarm

import (
	"cmp"
	"fmt"
	"maps"
	"path"
	"regexp"
	"slices"
	"strings"

	"appliance/provision/answers"
	"appliance/provision/render"
	"appliance/provision/secrets"
)

// StateLabel is the label of the node that has the data. Exactly one node bears it.
const StateLabel = "appliance.state"

// StackFile is the name of the stack file among the files of a Stack.
const StackFile = "stack.yaml"

// Options say how the installation is spread over the cluster.
type Options struct {
	Stack    string         // name of the stack
	Replicas map[string]int // by service; the default is 1, and bridge_replicas for the bridge
	DNSRR    bool           // names resolve to the addresses of the tasks: for kernels without IPVS
	Plain    bool           // the networks between the nodes are not encrypted: for kernels without ESP
	State    string         // directory on the node with StateLabel below which the data is
	Image    string         // of this program; "" for what the installation runs
}

// Input is what a stack depends on.
type Input struct {
	Render       render.Input
	Certificates map[string][]byte // key and chain by host name; none with tls: none or acme
	Options      Options
}

// A Service is one service of a stack.
type Service struct {
	Name     string `json:"name"`
	Image    string `json:"image"`
	Replicas int    `json:"replicas"`
	Single   string `json:"single,omitempty"` // why there is only one
}

// A Dir is a directory that has to exist on the node with the data.
type Dir struct {
	Path string `json:"path"`
	User int    `json:"user"`
}

// A Stack is a rendered stack: its files, including the stack file, and what there is to
// know about it.
type Stack struct {
	Name     string       `json:"stack"`
	Services []Service    `json:"services"`
	Dirs     []Dir        `json:"directories"`
	Left     []string     `json:"left_out"` // what Compose does and a Swarm does not
	Files    render.Files `json:"-"`
}

// single are the services that run only once, with the reason.
var single = map[string]string{
	"homeserver": "the homeserver is one process", "postgres": "its data is on one node", "mongo": "its data is on one node",
	"prometheus": "its data is on one node", "certs": "its certificates are on one node", "synapse-admin": "one page is enough",
}

// stateful are the services whose data is on the node with StateLabel.
var stateful = []string{"homeserver", "postgres", "mongo", "prometheus", "certs"}

// A RefusedError says why there is no stack with these options.
type RefusedError struct{ Reason, Advice string }

func (e *RefusedError) Error() string { return e.Reason }

// Hint says what to do.
func (e *RefusedError) Hint() string { return e.Advice }

var stackName = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,23}$`)

// Render makes a stack. It returns a *RefusedError for options from which none can be made.
func Render(in Input) (Stack, error) {
	a := &in.Render.Answers
	if n := in.Options.Replicas["bridge"]; n > 0 {
		a.BridgeReplicas = n
	}
	if err := in.refuse(); err != nil {
		return Stack{}, err
	}
	in.Render.Image = cmp.Or(in.Options.Image, in.Render.Image)
	in.Render.Host.StartInterval = false // stack files have only one interval
	in.Render.Project = in.Options.Stack
	files, err := render.Tree(in.Render)
	if err != nil {
		return Stack{}, err
	}
	t := &translation{
		in: in, files: files, out: Stack{Name: in.Options.Stack, Files: render.Files{}}, objects: map[string]map[string]any{"configs": {}, "secrets": {}},
		env: environment(files[".env"].Data), left: map[string]bool{},
	}
	text, err := t.stack(files["compose.yaml"].Data)
	if err != nil {
		return Stack{}, err
	}
	t.out.Files[StackFile] = render.File{Mode: 0o644, Data: text}
	t.out.Left = slices.Sorted(maps.Keys(t.left))
	return t.out, nil
}

// refuse returns why no stack can be made from the options.
func (in Input) refuse() error {
	a, o := in.Render.Answers, in.Options
	if !stackName.MatchString(o.Stack) {
		return &RefusedError{
			Reason: fmt.Sprintf("%q is not a stack name: it has to have 1 to 24 characters of a-z, 0-9 and -, and begin with a letter or digit", o.Stack),
			Advice: "give it another name with --stack, such as --stack chat",
		}
	}
	if !path.IsAbs(o.State) || path.Clean(o.State) == "/" {
		return &RefusedError{Reason: fmt.Sprintf("%q is no directory for data", o.State), Advice: "name an absolute path with --state, such as --state /var/lib/appliance"}
	}
	running := render.Services(a)
	for _, name := range slices.Sorted(maps.Keys(o.Replicas)) {
		n := o.Replicas[name]
		switch {
		case !slices.Contains(running, name):
			return &RefusedError{Reason: "these answers have no service " + name, Advice: "its services are " + strings.Join(running, ", ")}
		case n < 1 || n > 8:
			return &RefusedError{Reason: fmt.Sprintf("%d replicas of %s: the number has to be from 1 to 8", n, name), Advice: "for example --replicas " + name + "=2"}
		case n > 1 && single[name] != "":
			return &RefusedError{Reason: fmt.Sprintf("%s stays single: %s", name, single[name]), Advice: "leave it out of --replicas; only bridge, nginx and rocketchat may have several"}
		}
	}
	if a.BridgeReplicas > 1 && a.BridgeDatabase == answers.SQLite {
		return &RefusedError{Reason: fmt.Sprintf("%d bridges cannot share an SQLite database", a.BridgeReplicas), Advice: "set the answer bridge_database to bundled or to the URL of a PostgreSQL"}
	}
	if o.Replicas["nginx"] > 1 && a.TLS == answers.ACME {
		return &RefusedError{
			Reason: "several nginx cannot share certificates of tls: acme, which are renewed on one node",
			Advice: "set the answer tls to files, or to none behind a balancer that ends TLS; or leave one nginx",
		}
	}
	return in.complete()
}

// complete returns which secret or certificate is missing.
func (in Input) complete() error {
	for _, name := range []secrets.Name{secrets.ASToken, secrets.HSToken, secrets.RocketChatToken, secrets.CreateTokenSecret, secrets.PostgresPassword} {
		if in.Render.Secrets[name].Reveal() == "" {
			return &RefusedError{Reason: "the secret " + string(name) + " is missing", Advice: "put its file back from a backup: the running services know its old value"}
		}
	}
	a := in.Render.Answers
	if a.TLS != answers.Files && a.TLS != answers.Internal {
		return nil
	}
	for _, host := range a.Hosts() {
		if len(in.Certificates[host]) == 0 {
			return &RefusedError{Reason: "there is no certificate for " + host, Advice: "get it with: appliance up; or set the answer tls to none behind a balancer that ends TLS"}
		}
	}
	return nil
}

// replicas is the number of replicas of a service.
func (in Input) replicas(service string) int {
	if service == "bridge" {
		return max(1, in.Render.Answers.BridgeReplicas)
	}
	return max(1, in.Options.Replicas[service])
}

// singular says why a service runs only once; "" if it may have several replicas.
func (in Input) singular(service string) string {
	a := in.Render.Answers
	switch {
	case service == "bridge" && a.BridgeDatabase == answers.SQLite:
		return "its SQLite database is on one node"
	case service == "nginx" && a.TLS == answers.ACME:
		return "its certificates are on one node"
	}
	return single[service]
}

// pinned reports whether a service runs where the data is.
func (in Input) pinned(service string) bool {
	return slices.Contains(stateful, service) || service != "synapse-admin" && in.singular(service) != ""
}
