package bridge

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"appliance/bridge/config"
	"appliance/bridge/config/configfile"
	"appliance/bridge/console"
)

// consoleLists shows and changes whom people may talk with: the lists in bridge.yaml.
type consoleLists struct{ *service }

// Patterns implements console.Lists.
func (c consoleLists) Patterns(list string) console.Patterns {
	live := c.current.Load().Live
	if list == console.ListUsers {
		return console.Patterns(live.Users)
	}
	return console.Patterns(live.Servers)
}

// changesTried bounds how often a change is attempted when others change the file at the
// same time.
const changesTried = 3

// Permit implements console.Lists.
func (c consoleLists) Permit(_ context.Context, list, pattern string, allow bool) error {
	for range changesTried {
		data, err := configfile.Read(c.ConfigFile)
		if err != nil {
			return err
		}
		cfg, err := config.Parse(c.ConfigFile, data)
		if err != nil {
			return listRefusal(err)
		}
		values, err := permitted(cfg.Live, list, pattern, allow)
		if err != nil {
			return err
		}
		out, changed, err := config.Set(c.ConfigFile, data, values)
		if err != nil {
			return listRefusal(err)
		}
		if len(changed) > 0 {
			if err = configfile.Save(c.ConfigFile, configfile.Hash(data), out); errors.Is(err, configfile.ErrChanged) {
				continue
			}
		}
		if err != nil {
			return listRefusal(err)
		}
		c.reload()
		if why := c.refused.Load(); why != nil {
			return &console.RefusedError{Saved: true, Text: "the change is saved in bridge.yaml, but not in force: " + *why}
		}
		return nil
	}
	return &console.RefusedError{Text: "others change bridge.yaml at the same time; please try again"}
}

// permitted returns the keys of bridge.yaml that allow or deny a pattern, as people type
// them. It is an error if another pattern still denies what is to be allowed.
func permitted(live config.Live, list, pattern string, allow bool) (map[string]string, error) {
	lists, prefix := live.Users.Permit(pattern, allow), "users."
	still := lists.DeniedBy(pattern)
	if list == console.ListServers {
		servers := live.Servers.Permit(pattern, allow)
		lists, prefix, still = config.People(servers), "servers.", servers.DeniedBy(pattern)
	}
	if allow && still != "" && !strings.ContainsAny(pattern, `*?[\`) {
		return nil, &console.RefusedError{Text: fmt.Sprintf("%s is denied by the pattern %s, which may deny others too; allow that pattern, or leave it", pattern, still)}
	}
	allowed, _ := json.Marshal(append([]string{}, lists.Allow...)) // strings cannot fail
	denied, _ := json.Marshal(append([]string{}, lists.Deny...))
	return map[string]string{prefix + "allow": string(allowed), prefix + "deny": string(denied)}, nil
}

// listRefusal explains why a list cannot be changed.
func listRefusal(err error) error {
	if invalid, ok := errors.AsType[*config.InvalidError](err); ok {
		return &console.RefusedError{Text: invalid.Problems[0].String()}
	}
	if errors.Is(err, fs.ErrPermission) || strings.Contains(err.Error(), "read-only") {
		return &console.RefusedError{Text: "the bridge may not write its own configuration here; use appliance config or appliance federation"}
	}
	return err
}
