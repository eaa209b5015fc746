package render

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"appliance/bridge/config"
	"appliance/compose"
	"appliance/provision/answers"
	"appliance/provision/homeserver"
)

// A variables is the content of an environment file, in order.
type variables struct{ text strings.Builder }

func (v *variables) set(name, value string)                { fmt.Fprintf(&v.text, "%s=%s\n", name, value) }
func (v *variables) setf(name, format string, args ...any) { v.set(name, fmt.Sprintf(format, args...)) }
func (v *variables) quoted(name, value string)             { v.setf(name, "'%s'", value) }
func (v *variables) comment(text string)                   { fmt.Fprintf(&v.text, "\n# %s\n", text) }
func (v *variables) bytes() []byte                         { return []byte(v.text.String()) }

// env renders .env, the variables of compose.yaml.
func (in Input) env(files Files, bridge config.Config) ([]byte, error) {
	images := in.Images
	if images == nil {
		images = Images()
	}
	a, m := in.Answers, in.memory()
	v := &variables{}
	v.text.WriteString("# Written by appliance from appliance.yaml.\n")
	v.set("COMPOSE_PROJECT_NAME", in.Project)
	v.set("COMPOSE_PROFILES", strings.Join(Profiles(a), ","))

	v.comment("Images.")
	v.set("APPLIANCE_IMAGE", in.Image)
	command := homeserver.Of(answers.Dendrite).Stack.Command // of a service that does not run
	if stack := homeserver.Of(a.Homeserver).Stack; stack != nil {
		command = stack.Command
	}
	chosen := Chosen(a, images)
	for _, name := range []string{"HOMESERVER_IMAGE", "NGINX_IMAGE", "ROCKETCHAT_IMAGE", "MONGO_IMAGE", "POSTGRES_IMAGE", "SYNAPSE_ADMIN_IMAGE", "PROMETHEUS_IMAGE"} {
		v.set(name, chosen[name])
	}
	v.set("HOMESERVER_COMMAND", command)
	v.set("HOMESERVER_ROOTS", in.homeserverRoots())

	v.comment("Ports on this host.")
	v.set("HTTP_PORT", a.Listen(a.HTTPPort))
	v.set("HTTPS_PORT", a.Listen(a.HTTPSPort))

	v.comment("Memory, by the size of this host.")
	m.write(v)

	v.comment("A service is recreated when its configuration changes.")
	v.set("NGINX_CONFIG", digest(files, "config/nginx/"))
	if in.rocketChatHasFiles() {
		v.set("ROCKETCHAT_CONFIG", digest(files, rocketChatConfig+"/"))
	}
	v.set("HOMESERVER_CONFIG", digest(files, "config/homeserver/", "config/ca/"))
	v.set("PROMETHEUS_CONFIG", digest(files, "config/prometheus/"))
	v.set("CERTS_CONFIG", digest(files, "config/certs/", "config/ca/"))
	fixed, err := yaml.Marshal(bridge.Fixed)
	if err != nil {
		return nil, err
	}
	ca := digest(files, "config/ca/")
	foreign := digest(files, "config/bridge/rocketchat_")
	if a.BundledRocketChat() {
		foreign = ""
	}
	if a.TracesHeadersFile != "" {
		foreign += digest(files, traceHeaders)
	}
	if len(in.DatabaseCA) > 0 {
		foreign += digest(files, databaseCA)
	}
	if a.BridgeReplicas > 1 { // Compose itself does not notice
		fixed = fmt.Appendf(fixed, "replicas: %d\n", a.BridgeReplicas)
	}
	v.set("BRIDGE_CONFIG", short(append(append(fixed, ca...), foreign...)))
	return v.bytes(), nil
}

// Profiles returns the optional services that the answers ask for.
func Profiles(a answers.Answers) []string {
	var out []string
	if a.TLS == answers.ACME {
		out = append(out, "acme")
	}
	if a.BundledHomeserver() {
		out = append(out, "homeserver")
	}
	if a.BundledMongo() {
		out = append(out, "mongo")
	}
	if a.BundledPostgres() {
		out = append(out, "postgres")
	}
	if a.BundledRocketChat() {
		out = append(out, "rocketchat")
	}
	if a.SynapseAdmin {
		out = append(out, "synapse-admin")
	}
	if a.Monitoring {
		out = append(out, "monitoring")
	}
	return out
}

// Services returns the names of all services that the answers ask for, sorted.
func Services(a answers.Answers) []string {
	out := []string{"bridge", "nginx"}
	for _, profile := range Profiles(a) {
		out = append(out, OfProfile[profile]...)
	}
	slices.Sort(out)
	return out
}

// OfProfile are the services that exist only with a profile.
var OfProfile = map[string][]string{
	"acme": {"certs"}, "homeserver": {"homeserver"}, "postgres": {"postgres"}, "mongo": {"mongo"}, "rocketchat": {"rocketchat"}, "synapse-admin": {"synapse-admin"},
	"monitoring": {"prometheus"},
}

// Images returns the names in versions.env.
func Images() map[string]string { return ParseVersions(compose.Versions) }

// ParseVersions reads a file such as versions.env.
func ParseVersions(data []byte) map[string]string {
	out := map[string]string{}
	for line := range strings.Lines(string(data)) {
		if key, value, ok := strings.Cut(strings.TrimSpace(line), "="); ok && !strings.HasPrefix(key, "#") {
			out[strings.TrimSpace(key)] = strings.TrimSpace(value)
		}
	}
	return out
}

// Chosen returns the images of an installation by their variables in .env, out of those that
// versions.env names; for an external service that is none.
func Chosen(a answers.Answers, images map[string]string) map[string]string {
	const none = "none"
	out := map[string]string{"HOMESERVER_IMAGE": none, "POSTGRES_IMAGE": none, "ROCKETCHAT_IMAGE": none}
	for _, name := range []string{"NGINX_IMAGE", "MONGO_IMAGE", "SYNAPSE_ADMIN_IMAGE"} {
		out[name] = images[name]
	}
	out["PROMETHEUS_IMAGE"] = cmp.Or(images["PROMETHEUS_IMAGE"], none) // versions.env of an earlier release has none
	if stack := homeserver.Of(a.Homeserver).Stack; stack != nil {
		out["HOMESERVER_IMAGE"] = images[stack.ImageKey]
	}
	if a.BundledPostgres() {
		out["POSTGRES_IMAGE"] = images["POSTGRES_IMAGE"]
	}
	if a.BundledRocketChat() {
		out["ROCKETCHAT_IMAGE"] = images["ROCKETCHAT_IMAGE"]
	}
	return out
}

// digest identifies the content of all files below the given directories.
func digest(files Files, dirs ...string) string {
	var names []string
	for name := range files {
		if slices.ContainsFunc(dirs, func(d string) bool { return strings.HasPrefix(name, d) }) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	var all []byte
	for _, name := range names {
		all = fmt.Appendf(all, "%s %d\n%s", name, len(files[name].Data), files[name].Data)
	}
	return short(all)
}

func short(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:6])
}
