// Package settings reads and changes what the operator may set: the answers, and the
// live keys of bridge.yaml, which take effect without a restart.
package settings

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"syscall"

	"go.yaml.in/yaml/v3"

	"appliance/bridge/config"
	"appliance/bridge/config/configfile"
	"appliance/provision/answers"
	"appliance/provision/internal/atomicfile"
	"appliance/provision/plan"
	"appliance/provision/site"
)

// LivePrefix is the prefix of the names of bridge.yaml's live keys where they are listed
// beside answers.
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
		if f.Key == answers.RocketChatSettingsKey {
			for _, one := range s.Answers.ForcedSettings() {
				out = append(out, Setting{Key: f.Key + "." + one.ID, Value: one.Value, Help: "A setting of Rocket.Chat."})
			}
		}
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

// Get returns one setting of List.
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

// SetLive changes live keys of bridge.yaml and returns the keys that changed. A list may
// be given as YAML or separated by commas, any other value as it is; the rest of the
// file, including comments, is preserved. An invalid value changes nothing. The bridge
// watches the file.
func SetLive(s *site.Site, values map[string]string) (changed []string, err error) {
	unlock, err := s.Stack.Lock()
	if err != nil {
		return nil, err
	}
	defer unlock()
	name := s.Path(plan.BridgeFile)
	release, err := configfile.Lock(name) // the bridge may change it too
	if err != nil {
		return nil, err
	}
	defer release()
	data, err := configfile.Read(name)
	if err != nil {
		return nil, err
	}
	if _, err := config.Parse(name, data); err != nil {
		return nil, err
	}
	out, changed, err := config.Set(name, data, values)
	if invalid, ok := errors.AsType[*config.InvalidError](err); ok {
		problems := &answers.InvalidError{}
		for _, p := range invalid.Problems {
			key := p.Key
			if key != "" {
				key = LivePrefix + key
			}
			value := values[p.Key]
			if strings.Contains(p.Reason, "(got ") {
				value = "" // the reason has it already
			}
			problems.Problems = append(problems.Problems, answers.Problem{Key: cmp.Or(key, "bridge.yaml"), Value: value, Reason: p.Reason})
		}
		return nil, problems
	}
	if err != nil || len(changed) == 0 {
		return nil, err
	}
	return changed, replace(name, out)
}

// replace writes a file with the same owner and mode as before.
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

// Check returns why bridge.yaml cannot be used, with the location of each mistake.
func Check(s *site.Site) error {
	_, err := bridge(s)
	return err
}

// Reload makes all processes of the bridge read bridge.yaml again. Usually they do so on
// their own; this is for file systems that do not report changes.
func Reload(ctx context.Context, s *site.Site) error { return s.Stack.Signal(ctx, "bridge", "HUP") }
