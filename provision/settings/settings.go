// Package settings reads and changes what the operator may set: the answers, and the
// live keys of bridge.yaml, which take effect without a restart.
package settings

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"syscall"

	"go.yaml.in/yaml/v3"

	"appliance/bridge/config"
	"appliance/provision/answers"
	"appliance/provision/internal/atomicfile"
	"appliance/provision/plan"
	"appliance/provision/site"
)

// LivePrefix begins the names of bridge.yaml's live keys where they stand beside
// answers.
const LivePrefix = "bridge."

// A Setting is one value and where it is kept.
type Setting struct {
	Key       string `json:"key"`
	Value     string `json:"value"`
	Help      string `json:"help,omitempty"`
	Permanent bool   `json:"permanent,omitempty"`
	Live      bool   `json:"live,omitempty"` // takes effect within a second
}

// An UnknownKeyError names a key that does not exist.
type UnknownKeyError struct{ Key string }

func (e *UnknownKeyError) Error() string { return fmt.Sprintf("unknown key %q", e.Key) }

// Hint says what to do.
func (e *UnknownKeyError) Hint() string { return "see all keys with: appliance config list" }

// List lists the answers and the live keys of the bridge.
func List(s *site.Site) ([]Setting, error) {
	var out []Setting
	for _, f := range answers.Fields {
		out = append(out, Setting{Key: f.Key, Value: f.Get(&s.Answers), Help: f.Help, Permanent: f.Permanent})
	}
	c, err := bridge(s)
	if err != nil {
		return out, err
	}
	var doc yaml.Node
	if err := doc.Encode(c.Live); err != nil {
		return out, err
	}
	return append(out, flatten(LivePrefix, &doc)...), nil
}

// flatten lists the values below a mapping by their dotted keys.
func flatten(prefix string, n *yaml.Node) []Setting {
	var out []Setting
	for k := 0; k+1 < len(n.Content); k += 2 {
		key, value := prefix+n.Content[k].Value, n.Content[k+1]
		if value.Kind == yaml.MappingNode && len(value.Content) > 0 {
			out = append(out, flatten(key+".", value)...)
			continue
		}
		value.Style = yaml.FlowStyle
		text, _ := yaml.Marshal(value) // it was just encoded
		out = append(out, Setting{Key: key, Value: strings.TrimSpace(string(text)), Live: true})
	}
	return out
}

// Get returns one of List.
func Get(s *site.Site, key string) (Setting, error) {
	all, err := List(s)
	if n := slices.IndexFunc(all, func(one Setting) bool { return one.Key == key }); n >= 0 {
		return all[n], nil
	}
	return Setting{}, errors.Join(err, &UnknownKeyError{key})
}

// bridge reads bridge.yaml.
func bridge(s *site.Site) (config.Config, error) { return config.Load(s.Path(plan.BridgeFile)) }

// Live returns the live keys of the bridge.
func Live(s *site.Site) (config.Live, error) {
	c, err := bridge(s)
	return c.Live, err
}

// SetLive changes live keys of bridge.yaml. A list may be given as YAML or with commas,
// anything else as it is; the rest of the
// file, including comments, stays as it is. An invalid value changes nothing. The
// bridge watches the file. It returns the keys that have
// changed.
func SetLive(s *site.Site, values map[string]string) (changed []string, err error) {
	unlock, err := s.Stack.Lock()
	if err != nil {
		return nil, err
	}
	defer unlock()
	name := s.Path(plan.BridgeFile)
	data, err := os.ReadFile(name) //nolint:gosec // below the installation directory
	if err != nil {
		return nil, err
	}
	was, err := config.Parse(name, data)
	if err != nil {
		return nil, err
	}
	var doc yaml.Node
	if err := yaml.Unmarshal(data, &doc); err != nil {
		return nil, err
	}
	for key, value := range values {
		if err := setYAML(doc.Content[0], key, strings.Split(key, "."), value); err != nil {
			return nil, &answers.InvalidError{Problems: []answers.Problem{{Key: LivePrefix + key, Value: value, Reason: err.Error()}}}
		}
	}
	var out bytes.Buffer
	enc := yaml.NewEncoder(&out)
	enc.SetIndent(2)
	if err := errors.Join(enc.Encode(&doc), enc.Close()); err != nil {
		return nil, err
	}
	now, err := config.Parse(name, out.Bytes())
	if err != nil {
		return nil, &answers.InvalidError{Problems: []answers.Problem{{Key: "bridge.yaml", Reason: strings.TrimPrefix(err.Error(), name+": ")}}}
	}
	if fixed := config.ChangedFixed(was, now); len(fixed) > 0 {
		return nil, &answers.InvalidError{Problems: []answers.Problem{{Key: LivePrefix + fixed[0], Reason: "is not a live key: change the answer that it comes from"}}}
	}
	changed = config.ChangedLive(was, now)
	if len(changed) == 0 {
		return nil, nil
	}
	return changed, replace(name, out.Bytes())
}

// setYAML puts a value at a path of a mapping.
func setYAML(n *yaml.Node, key string, path []string, value string) error {
	for k := 0; k+1 < len(n.Content); k += 2 {
		if n.Content[k].Value != path[0] {
			continue
		}
		if len(path) > 1 {
			return setYAML(n.Content[k+1], key, path[1:], value)
		}
		return setValue(n.Content[k+1], key, value)
	}
	if n.Kind != yaml.MappingNode {
		return errors.New("has no keys below it")
	}
	below := &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map"}
	n.Content = append(n.Content, &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: path[0]}, below)
	if len(path) > 1 {
		return setYAML(below, key, path[1:], value)
	}
	return setValue(below, key, value)
}

func setValue(n *yaml.Node, key, value string) error {
	to, err := valueOf(key, value)
	if err != nil {
		return err
	}
	head, line, foot := n.HeadComment, n.LineComment, n.FootComment
	*n = *to
	n.HeadComment, n.LineComment, n.FootComment = head, line, foot
	return nil
}

// replace writes a file for the same readers as before.
func replace(name string, data []byte) error {
	info, err := os.Stat(name)
	if err != nil {
		return err
	}
	uid, gid := -1, -1
	if owner, ok := info.Sys().(*syscall.Stat_t); ok {
		uid, gid = int(owner.Uid), int(owner.Gid)
	}
	return atomicfile.WriteOwned(name, data, info.Mode().Perm(), uid, gid)
}

// Federate allows or denies servers, given as globs: what is allowed is no
// longer denied, and the other way round.
func Federate(s *site.Site, allow bool, globs []string) ([]string, error) {
	live, err := Live(s)
	if err != nil {
		return nil, err
	}
	servers := live.Servers
	without := func(list []string) []string {
		return slices.DeleteFunc(slices.Clone(list), func(g string) bool { return slices.Contains(globs, g) })
	}
	add := func(list []string) []string {
		for _, g := range globs {
			if !slices.Contains(list, g) {
				list = append(list, g)
			}
		}
		return list
	}
	if allow {
		servers.Deny = without(servers.Deny)
		if !slices.Contains(servers.Allow, "*") {
			servers.Allow = add(servers.Allow)
		}
	} else {
		servers.Deny, servers.Allow = add(servers.Deny), without(servers.Allow)
	}
	return SetLive(s, map[string]string{"servers.allow": list(servers.Allow), "servers.deny": list(servers.Deny)})
}

func list(values []string) string {
	data, _ := yaml.Marshal(values) // strings: cannot fail
	return string(data)
}

// Check returns why bridge.yaml cannot be used, with the place of each mistake.
func Check(s *site.Site) error {
	_, err := bridge(s)
	return err
}

// Reload makes all processes of the bridge read bridge.yaml again. They do so by
// themselves; this is for file systems that do not report changes.
func Reload(ctx context.Context, s *site.Site) error { return s.Stack.Signal(ctx, "bridge", "HUP") }
