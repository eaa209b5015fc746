package render

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"strings"

	"go.yaml.in/yaml/v3"

	"appliance/provision/answers"
)

// compose renders compose.yaml from its text: without what this host's Docker Engine does not
// support, and with the networks and ports that only some answers ask for, because Compose
// accepts no empty value for them.
func (in Input) compose(text []byte) ([]byte, error) {
	f, err := parseCompose(text)
	if err != nil {
		return nil, err
	}
	if in.Answers.TLS == answers.NoTLS {
		f.edit(func(string) (string, bool) { return `["${HTTP_PORT:?}:80"]`, true }, "services", "nginx", "ports")
	}
	if more := morePorts(in.Answers); more != "" {
		f.extend(more, "services", "nginx", "ports")
	}
	if in.rocketChatHasFiles() {
		f.follow("volumes: [\"./"+rocketChatConfig+":"+rocketChatFiles+":ro\"]\n    labels: {appliance.config: \"${ROCKETCHAT_CONFIG:?}\"}", "services", "rocketchat", "env_file")
	}
	if n := in.Answers.BridgeReplicas; n > 1 {
		f.follow(fmt.Sprintf("scale: %d", n), "services", "bridge", "mem_limit")
	}
	if in.Answers.BridgeDatabase == answers.Bundled {
		f.extend(", data", "services", "bridge", "networks")
	}
	if subnets := quarters(in.Answers.DockerSubnet); subnets != nil {
		f.fill(ipam(subnets[0]), "networks", "edge")
		f.fill(ipam(subnets[1]), "networks", "app")
		f.follow("ipam: "+ipam(subnets[2]), "networks", "data", "internal")
	}
	if !in.Host.StartInterval {
		f.withoutStartIntervals()
	}
	return []byte(strings.Join(f.lines, "")), f.err
}

// morePorts returns the ports of nginx that only some answers ask for.
func morePorts(a answers.Answers) (list string) {
	if a.FederationPort != 0 && a.FederationPort != a.HTTPSPort && a.TLS != answers.NoTLS {
		list += fmt.Sprintf(`, "%s:443"`, a.Listen(a.FederationPort))
	}
	if a.SynapseAdmin {
		list += fmt.Sprintf(`, "127.0.0.1:%d:8009"`, a.SynapseAdminPort)
	}
	if a.Metrics {
		list += fmt.Sprintf(`, "127.0.0.1:%d:9464"`, a.MetricsPort)
	}
	if a.Monitoring {
		list += fmt.Sprintf(`, "127.0.0.1:%d:9090"`, a.MonitoringPort)
	}
	return list
}

// quarters splits a subnet for the three networks; one part is left over. It returns nil if
// subnet is not valid.
func quarters(subnet string) []netip.Prefix {
	whole, err := netip.ParsePrefix(subnet)
	if err != nil {
		return nil
	}
	var out []netip.Prefix
	bits := whole.Bits() + 2
	for n := range uint32(3) {
		at := binary.BigEndian.Uint32(whole.Masked().Addr().AsSlice()) + n<<(32-bits)
		out = append(out, netip.PrefixFrom(netip.AddrFrom4([4]byte(binary.BigEndian.AppendUint32(nil, at))), bits))
	}
	return out
}

func ipam(subnet netip.Prefix) string { return fmt.Sprintf("{config: [{subnet: %s}]}", subnet) }

// A composeFile is the text of a Compose file, edited where the parser locates a value, so that
// comments, anchors and the layout stay. Its first error is kept, and nothing is edited after
// it; a path that does not exist is an error.
type composeFile struct {
	root  *yaml.Node
	lines []string // an edited line may hold several, or none
	err   error
}

func parseCompose(text []byte) (*composeFile, error) {
	var doc yaml.Node
	if err := yaml.Unmarshal(text, &doc); err != nil {
		return nil, fmt.Errorf("compose.yaml: %w", err)
	}
	if len(doc.Content) == 0 {
		return nil, fmt.Errorf("compose.yaml is empty")
	}
	return &composeFile{root: doc.Content[0], lines: strings.SplitAfter(string(text), "\n")}, nil
}

// lookUp returns the key and the value at a path, or nil.
func lookUp(n *yaml.Node, path ...string) (key, value *yaml.Node) {
	for _, name := range path {
		key, value = nil, nil
		for k := 0; k+1 < len(n.Content) && n.Kind == yaml.MappingNode; k += 2 {
			if n.Content[k].Value == name {
				key, value = n.Content[k], n.Content[k+1]
			}
		}
		if value == nil {
			return nil, nil
		}
		n = value
	}
	return key, value
}

// edit replaces the text from a value to the end of its line. It fails if the path does not
// exist or the text is not as do expects it.
func (f *composeFile) edit(do func(text string) (string, bool), path ...string) {
	if f.err != nil {
		return
	}
	_, value := lookUp(f.root, path...)
	if value == nil {
		f.err = fmt.Errorf("compose.yaml has no %s", strings.Join(path, "."))
		return
	}
	line := f.lines[value.Line-1]
	before, text := line[:value.Column-1], strings.TrimSuffix(line[value.Column-1:], "\n")
	text, ok := do(text)
	if !ok {
		f.err = fmt.Errorf("compose.yaml, line %d: %s is not written as expected", value.Line, strings.Join(path, "."))
		return
	}
	f.lines[value.Line-1] = before + text + "\n"
}

// extend appends items to a list that is written on one line.
func (f *composeFile) extend(items string, path ...string) {
	f.edit(func(text string) (string, bool) {
		list, ok := strings.CutSuffix(text, "]")
		return list + items + "]", ok && strings.HasPrefix(text, "[")
	}, path...)
}

// fill puts an ipam section into an empty network.
func (f *composeFile) fill(ipam string, path ...string) {
	f.edit(func(text string) (string, bool) { return "{ipam: " + ipam + "}", text == "{}" }, path...)
}

// follow adds a line below a single-line value, as the next key of its mapping.
func (f *composeFile) follow(line string, path ...string) {
	key, _ := lookUp(f.root, path...)
	f.edit(func(text string) (string, bool) {
		return text + "\n" + strings.Repeat(" ", key.Column-1) + line, true
	}, path...)
}

// withoutStartIntervals makes health checks frequent enough for starting and rare enough for
// running, for an engine that supports only one interval.
func (f *composeFile) withoutStartIntervals() {
	_, services := lookUp(f.root, "services")
	if services == nil {
		f.err = fmt.Errorf("compose.yaml has no services")
		return
	}
	for k := 0; k+1 < len(services.Content); k += 2 {
		name := services.Content[k].Value
		if _, check := lookUp(services.Content[k+1], "healthcheck"); check == nil {
			continue
		}
		f.edit(func(text string) (string, bool) {
			if text == "10s" {
				text = "2s"
			}
			return text, true
		}, "services", name, "healthcheck", "interval")
		f.drop("services", name, "healthcheck", "start_interval")
	}
}

// drop removes a key whose value is on the same line.
func (f *composeFile) drop(path ...string) {
	f.edit(func(text string) (string, bool) { return text, true }, path...)
	if key, _ := lookUp(f.root, path...); f.err == nil {
		f.lines[key.Line-1] = ""
	}
}
