package plan

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// A Change is the switch of a service to another image.
type Change struct {
	Service string `json:"service"`
	From    string `json:"from"`
	To      string `json:"to"`
	// Breaking is what to know before the change; "" if there is nothing.
	Breaking string `json:"breaking,omitempty"`
	// Refused is why the change cannot be made; "" if it can.
	Refused string `json:"refused,omitempty"`
}

// String is one line for people.
func (c Change) String() string { return fmt.Sprintf("%-12s %s -> %s", c.Service, c.From, c.To) }

// imageKeys are the variables of .env that name images, by service.
var imageKeys = map[string]string{
	"bridge": "APPLIANCE_IMAGE", "homeserver": "HOMESERVER_IMAGE", "mongo": "MONGO_IMAGE",
	"nginx": "NGINX_IMAGE", "postgres": "POSTGRES_IMAGE", "rocketchat": "ROCKETCHAT_IMAGE", "synapse-admin": "SYNAPSE_ADMIN_IMAGE",
	"prometheus": "PROMETHEUS_IMAGE",
}

// Changes compares the images of two versions of .env. There are none when
// nothing is installed.
func Changes(have, want []byte) []Change { return changes(variables(have), variables(want)) }

// Offered returns what an upgrade would change in an installation: it compares its .env with
// other images, given by their variables there.
func Offered(have []byte, images map[string]string) []Change {
	from := variables(have)
	to := maps.Clone(from)
	maps.Copy(to, images)
	return changes(from, to)
}

func changes(from, to map[string]string) []Change {
	unused := func(service string) bool {
		profile, optional := map[string]string{"mongo": "mongo", "synapse-admin": "synapse-admin", "prometheus": "monitoring"}[service]
		return optional && !slices.Contains(strings.Split(to["COMPOSE_PROFILES"], ","), profile)
	}
	var out []Change
	for _, service := range slices.Sorted(maps.Keys(imageKeys)) {
		c := Change{Service: service, From: from[imageKeys[service]], To: to[imageKeys[service]]}
		if c.From == "" || c.From == c.To || c.To == none || unused(service) {
			continue
		}
		c.judge()
		if key := elsewhere(service, to); key != "" && c.Breaking == "" && c.Refused == "" {
			c.Breaking = "it may change its database permanently, and the backup for a rollback does not contain the one in " + key + ": back that up first"
		}
		out = append(out, c)
	}
	return out
}

// elsewhere returns the answer that names the database of a service, "" for one in this stack.
func elsewhere(service string, env map[string]string) string {
	switch {
	case service == "homeserver" && env["POSTGRES_IMAGE"] == none:
		return "homeserver_database"
	case service == "rocketchat" && !slices.Contains(strings.Split(env["COMPOSE_PROFILES"], ","), "mongo"):
		return "mongo_url"
	}
	return ""
}

// none is the image of a service that the stack does not have.
const none = "none"

// Between returns the change of a service from one image to another.
func Between(service, from, to string) Change {
	c := Change{Service: service, From: from, To: to}
	c.judge()
	return c
}

// Major returns the first number of an image's tag; ok is false if the tag is not a version.
func Major(image string) (major int, ok bool) {
	v, ok := versionOf(image)
	if !ok {
		return 0, false
	}
	return v[0], true
}

// Image returns the image of a service in .env.
func Image(env []byte, service string) string { return variables(env)[imageKeys[service]] }

// judge determines what a change means. Images whose tags are not versions are left to the
// operator.
func (c *Change) judge() {
	from, fromOK := versionOf(c.From)
	to, toOK := versionOf(c.To)
	if !fromOK || !toOK || c.Service == "bridge" {
		return
	}
	back := slices.Compare(to, from) < 0
	major := to[0] - from[0]
	switch c.Service {
	case "postgres", "mongo":
		switch {
		case major < 0:
			c.Refused = "a database cannot be downgraded: restore a backup instead"
		case major > 1:
			c.Refused = fmt.Sprintf("upgrade databases one major version at a time: go to version %d first", from[0]+1)
		case major == 1 && c.Service == "postgres":
			c.Breaking = "the database is recreated from its dump"
		case major == 1:
			c.Breaking = "MongoDB converts its files, and they cannot be converted back"
		case c.Service == "mongo":
			c.series(from, to)
		}
	case "rocketchat":
		switch {
		case back:
			c.Refused = "Rocket.Chat cannot be downgraded, it has migrated its database: restore a backup instead"
		case major > 1:
			c.Refused = fmt.Sprintf("upgrade Rocket.Chat one major version at a time: go to version %d first", from[0]+1)
		case major == 1:
			c.Breaking = "a new major version of Rocket.Chat: read its release notes; apps and phones may have to be updated"
		}
	case "homeserver":
		if back {
			c.Refused = "a homeserver cannot be downgraded, it has migrated its database: restore a backup instead"
		}
	}
}

// series judges a change between series of MongoDB such as 8.0 and 8.2, which differ like major
// versions: each has its own feature compatibility version.
func (c *Change) series(from, to []int) {
	if len(from) < 2 || len(to) < 2 {
		return
	}
	switch {
	case to[1] < from[1]:
		c.Refused = "a database cannot be downgraded: restore a backup instead"
	case to[1] > from[1]:
		c.Breaking = fmt.Sprintf("MongoDB %d.%d is another series than %d.%d, and its files cannot be converted back", to[0], to[1], from[0], from[1])
	}
}

// Severe returns the changes that must not happen as a side effect.
func Severe(changes []Change) []Change {
	return slices.DeleteFunc(slices.Clone(changes), func(c Change) bool { return c.Breaking == "" && c.Refused == "" })
}

// Refused returns the changes that cannot be made.
func Refused(changes []Change) []Change {
	return slices.DeleteFunc(slices.Clone(changes), func(c Change) bool { return c.Refused == "" })
}

// versionOf reads the numbers of an image's tag: "8.6.1", "v0.15.2", "1.29-alpine".
func versionOf(image string) ([]int, bool) {
	image, _, _ = strings.Cut(image, "@")
	i := strings.LastIndex(image, ":")
	if i < 0 || strings.Contains(image[i:], "/") {
		return nil, false
	}
	tag, _, _ := strings.Cut(strings.TrimPrefix(image[i+1:], "v"), "-")
	var out []int
	for part := range strings.SplitSeq(tag, ".") {
		n, err := strconv.Atoi(part)
		if err != nil {
			return nil, false
		}
		out = append(out, n)
	}
	return out, true
}

// variables reads an environment file as render writes it.
func variables(env []byte) map[string]string {
	out := map[string]string{}
	for line := range strings.Lines(string(env)) {
		if key, value, ok := strings.Cut(strings.TrimSpace(line), "="); ok && !strings.HasPrefix(key, "#") {
			out[key] = value
		}
	}
	return out
}
