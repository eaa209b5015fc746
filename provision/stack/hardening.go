package stack

import (
	"slices"
	"strings"

	"github.com/docker/docker/api/types/container"
)

// unconfined are the services whose image decides on its own user or files.
var unconfined = map[string][]string{
	"rocketchat":    {"user", "files"}, // its Apps engine writes beside the program
	"synapse-admin": {"user"},
}

// loose lists what a running container may do although compose.yaml forbids it. The reason may
// be an override, another version of Docker or a container created by hand.
func loose(service string, c container.InspectResponse) []string {
	var out []string
	host := c.HostConfig
	if host.Privileged {
		out = append(out, "is privileged")
	}
	if !slices.ContainsFunc(host.CapDrop, func(c string) bool { return strings.EqualFold(c, "ALL") }) {
		out = append(out, "keeps capabilities")
	}
	if len(host.CapAdd) > 0 {
		out = append(out, "has the capabilities "+strings.Join(host.CapAdd, ", "))
	}
	if !slices.ContainsFunc(host.SecurityOpt, func(o string) bool { return o == "no-new-privileges" || o == "no-new-privileges:true" }) {
		out = append(out, "may gain privileges")
	}
	if !host.ReadonlyRootfs && !slices.Contains(unconfined[service], "files") {
		out = append(out, "can write to its own program")
	}
	if user := c.Config.User; !slices.Contains(unconfined[service], "user") && (user == "" || user == "root" || strings.HasPrefix(user+":", "0:")) {
		out = append(out, "runs as root")
	}
	for _, m := range c.Mounts {
		if strings.HasSuffix(m.Source, "docker.sock") {
			out = append(out, "has Docker's socket")
		}
	}
	return out
}
