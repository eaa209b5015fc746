package swarm

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"appliance/provision/render"
)

// A mapping is a YAML mapping.
type mapping = map[string]any

// A translation is one run over a Compose file.
type translation struct {
	in      Input
	files   render.Files
	env     map[string]string
	objects map[string]map[string]any // configs and secrets of the stack
	left    map[string]bool
	out     Stack
}

// header goes above a stack file.
const header = `# Written by appliance from appliance.yaml. Hand it to a manager of the Swarm:
#   docker stack deploy --detach=true --prune -c %s %s
# Write it again instead of editing it.

`

// stack translates a Compose file.
func (t *translation) stack(compose []byte) ([]byte, error) {
	var doc struct {
		Services map[string]mapping `yaml:"services"`
		Networks map[string]mapping `yaml:"networks"`
	}
	if err := yaml.Unmarshal(compose, &doc); err != nil { // it resolves anchors
		return nil, fmt.Errorf("compose.yaml: %w", err)
	}
	services := mapping{}
	for _, name := range render.Services(t.in.Render.Answers) {
		if doc.Services[name] == nil {
			return nil, fmt.Errorf("compose.yaml has no service %s", name)
		}
		service, err := t.service(name, doc.Services[name])
		if err != nil {
			return nil, fmt.Errorf("service %s: %w", name, err)
		}
		services[name] = service
	}
	t.identity(services)
	out := mapping{"version": "3.9", "services": services, "networks": t.networks(doc.Networks)}
	for kind, objects := range t.objects {
		if len(objects) > 0 {
			out[kind] = objects
		}
	}
	var b strings.Builder
	fmt.Fprintf(&b, header, StackFile, t.out.Name)
	enc := yaml.NewEncoder(&b)
	enc.SetIndent(2)
	err := enc.Encode(out)
	return []byte(b.String()), err
}

// identity keeps a second installation from taking over a stack of the same name: a Swarm
// does not let the content of an object change under its name.
func (t *translation) identity(services mapping) {
	const name = "identity"
	file := "config/" + name
	t.out.Files[file] = render.File{Mode: 0o644, Data: []byte(t.in.Render.Answers.ServerName + "\n")}
	t.objects["configs"][name] = mapping{"name": t.out.Name + "-" + name, "file": "./" + file}
	bridge, _ := services["bridge"].(mapping)
	list, _ := bridge["configs"].([]any)
	bridge["configs"] = append(list, mapping{"source": name, "target": "/etc/appliance-identity"})
}

// networks turns the networks of the Compose file into overlays between the nodes.
func (t *translation) networks(in map[string]mapping) mapping {
	out := mapping{}
	for name, network := range in {
		to := mapping{"driver": "overlay"}
		maps.Copy(to, network)
		if !t.in.Options.Plain {
			to["driver_opts"] = mapping{"encrypted": "true"}
		}
		out[name] = to
	}
	return out
}

// kept are the keys that mean the same in both formats.
var kept = []string{"image", "entrypoint", "command", "user", "read_only", "cap_drop", "environment", "healthcheck", "logging", "networks"}

// leftOut are the keys that a Swarm does not support, with the consequence of each.
var leftOut = map[string]string{
	"security_opt":   `no-new-privileges is a setting of each engine in a Swarm: "no-new-privileges": true in its daemon.json`,
	"depends_on":     "no service waits for another one to start: each tries again until the others answer",
	"pull_policy":    "",
	"labels":         "", // digests, which the names of objects replace
	"scale":          "",
	"profiles":       "",
	"restart":        "",
	"container_name": "",
	"build":          "",
}

// service translates one service. It fails on an unknown key, so that nothing is left out
// by accident.
func (t *translation) service(name string, from mapping) (mapping, error) {
	to, limits := mapping{}, mapping{}
	for _, key := range slices.Sorted(maps.Keys(from)) {
		value := t.interpolate(from[key])
		switch {
		case slices.Contains(kept, key):
			to[key] = value
		case key == "mem_limit":
			limits["memory"] = value
		case key == "pids_limit":
			limits["pids"] = value
		case key == "ports":
			to[key] = t.ports(value)
		case key == "env_file":
			to["env_file"] = t.envFiles(value)
		case key == "tmpfs", key == "shm_size", key == "volumes": // below
		default:
			text, known := leftOut[key]
			if !known {
				return nil, fmt.Errorf("%s has no counterpart in a Swarm", key)
			}
			if text != "" {
				t.left[text] = true
			}
		}
	}
	if err := t.mounts(name, from, to); err != nil {
		return nil, err
	}
	to["deploy"] = t.deploy(name, limits)
	image, _ := to["image"].(string)
	t.out.Services = append(t.out.Services, Service{Name: name, Image: image, Replicas: t.in.replicas(name), Single: t.in.singular(name)})
	return to, nil
}

// deploy sets how many replicas of a service run where, and how they are replaced.
func (t *translation) deploy(name string, limits mapping) mapping {
	order, after := "start-first", "rollback"
	if name == "nginx" || t.in.pinned(name) { // a port of the host, or data, can be used by one at a time
		order = "stop-first"
	}
	out := mapping{
		"mode": "replicated", "replicas": t.in.replicas(name),
		"update_config":   mapping{"parallelism": 1, "delay": "5s", "order": order, "failure_action": after, "monitor": "20s", "max_failure_ratio": 0},
		"rollback_config": mapping{"parallelism": 1, "delay": "0s", "order": order, "failure_action": "pause", "monitor": "20s", "max_failure_ratio": 0},
		"restart_policy":  mapping{"condition": "any", "delay": "2s"},
		"resources":       mapping{"limits": limits},
		"endpoint_mode":   "vip",
	}
	if t.in.Options.DNSRR {
		out["endpoint_mode"] = "dnsrr"
	}
	if t.in.pinned(name) {
		out["placement"] = mapping{"constraints": []any{"node.labels." + StateLabel + " == true"}}
	} else {
		out["placement"] = mapping{"preferences": []any{mapping{"spread": "node.labels.zone"}}}
	}
	return out
}

// ports are published by the nodes that run the service, not by the whole Swarm: that way
// nginx sees the addresses of visitors, and IPVS is not needed. They are open on every
// address of a node, so ports meant for one host only are left out, except the front door
// itself, which with tls: none is for a balancer that is now elsewhere.
func (t *translation) ports(value any) []any {
	var out []any
	list, _ := value.([]any)
	for _, item := range list {
		parts := strings.Split(fmt.Sprint(item), ":")
		published, _ := strconv.Atoi(parts[len(parts)-2])
		target, _ := strconv.Atoi(parts[len(parts)-1])
		if target != 80 && target != 443 {
			t.left[fmt.Sprintf("port %d of nginx is for the host alone, and a Swarm publishes on every address", published)] = true
			continue
		}
		out = append(out, mapping{"target": target, "published": published, "protocol": "tcp", "mode": "host"})
	}
	return out
}

// envFiles rewrites the environment files as docker stack reads them: without quotes.
func (t *translation) envFiles(value any) []any {
	list, _ := value.([]any)
	for _, name := range list {
		var b strings.Builder
		at := fmt.Sprint(name)
		vars := environment(t.files[at].Data)
		for _, key := range slices.Sorted(maps.Keys(vars)) {
			fmt.Fprintf(&b, "%s=%s\n", key, vars[key])
		}
		t.out.Files[at] = render.File{Mode: 0o600, Data: []byte(b.String())}
	}
	return list
}

// environment reads an environment file.
func environment(data []byte) map[string]string {
	out := map[string]string{}
	for line := range strings.Lines(string(data)) {
		key, value, ok := strings.Cut(strings.TrimRight(line, "\n"), "=")
		if !ok || strings.HasPrefix(key, "#") {
			continue
		}
		if n := len(value); n >= 2 && value[0] == '\'' && value[n-1] == '\'' {
			value = value[1 : n-1]
		}
		out[key] = value
	}
	return out
}

var variable = regexp.MustCompile(`\$\{([A-Z_]+):\?\}`)

// interpolate substitutes the variables of .env in a value. A $ that remains is not a
// variable for docker stack either.
func (t *translation) interpolate(value any) any {
	switch v := value.(type) {
	case string:
		v = variable.ReplaceAllStringFunc(v, func(s string) string { return t.env[variable.FindStringSubmatch(s)[1]] })
		return strings.ReplaceAll(v, "$", "$$")
	case []any:
		out := make([]any, len(v))
		for i := range v {
			out[i] = t.interpolate(v[i])
		}
		return out
	case mapping:
		out := mapping{}
		for key := range v {
			out[key] = t.interpolate(v[key])
		}
		return out
	}
	return value
}

// An object is a file that becomes a config or a secret of the Swarm.
type object struct {
	file   string // among the files of the stack
	data   []byte
	secret bool
}

// attach adds an object to the stack, unless it is there already, and gives it to a service.
func (t *translation) attach(to mapping, o object, target string) {
	kind, mode := "configs", fs.FileMode(0o444)
	if o.secret {
		kind, mode = "secrets", 0o400
	}
	sum := sha256.Sum256(o.data)
	_, below, _ := strings.Cut(o.file, "/")
	key := strings.NewReplacer("/", "-", "_", "-").Replace(below)
	hash := hex.EncodeToString(sum[:6])
	name := t.out.Name + "-" + key
	t.objects[kind][key] = mapping{"name": name[:min(len(name), 63-len(hash))] + "-" + hash, "file": "./" + o.file}
	perm := fs.FileMode(0o644)
	if o.secret {
		perm = 0o600
	}
	t.out.Files[o.file] = render.File{Mode: perm, Data: o.data}
	user, _ := to["user"].(string)
	uid, gid, _ := strings.Cut(user, ":")
	list, _ := to[kind].([]any)
	use := mapping{"source": key, "target": target, "mode": octal(mode)}
	if uid != "" {
		use["uid"], use["gid"] = uid, gid
	}
	to[kind] = append(list, use)
}

// octal writes a mode in octal, as people do.
func octal(mode fs.FileMode) *yaml.Node {
	return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!int", Value: fmt.Sprintf("%#o", uint32(mode.Perm()))}
}

// below returns the names of the files in a directory, sorted.
func below(files render.Files, dir string) []string {
	var out []string
	for name := range files {
		if strings.HasPrefix(name, dir+"/") {
			out = append(out, name)
		}
	}
	slices.Sort(out)
	return out
}

// private reports whether a file is for its owner alone.
func private(f render.File) bool { return f.Mode&0o044 == 0 }

func clean(name string) string { return strings.TrimPrefix(path.Clean(name), "./") }
