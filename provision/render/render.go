// Package render turns answers and secrets into the files of an installation.
// It is pure: it reads nothing but its arguments and the embedded templates, and
// the same input gives the same bytes.
package render

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io/fs"
	"net/netip"
	"path"
	"slices"
	"strings"
	"text/template"

	"appliance/bridge/config"
	"appliance/compose"
	"appliance/nginx"
	"appliance/provision/answers"
	"appliance/provision/secrets"
	"appliance/templates"
)

// Users inside the containers.
const (
	Root          = 0
	NginxUser     = 101   // nginx and certs
	DatabaseUser  = 999   // postgres and mongo
	ApplianceUser = 10500 // homeserver and bridge
)

// Input is everything that a rendered file may depend on.
type Input struct {
	Answers answers.Answers
	Secrets secrets.Set
	Host    Host
	Project string            // name of the Compose project
	Image   string            // our own image
	Images  map[string]string // names of the others, as in versions.env; nil for those pinned there
	Roots   []byte            // the authorities that this host trusts
	CA      []byte            // content of acme_ca_file
	EABKey  []byte            // content of acme_eab_hmac_file
	// Bootstrapped says that Rocket.Chat has its administrator.
	Bootstrapped bool
	Live         *config.Live // what the operator wrote into bridge.yaml; nil for the defaults
}

// Host is what has been observed of the machine.
type Host struct {
	MemoryMB int
	// StartInterval says that the Docker Engine can check a starting container
	// more often than a running one (API 1.44).
	StartInterval bool
}

// A File is what belongs at a path below the installation directory.
type File struct {
	Mode     fs.FileMode
	UID, GID int
	Data     []byte
}

// Files maps paths to files.
type Files map[string]File

// Tree renders every file of the installation.
func Tree(in Input) (Files, error) {
	files := Files{}
	put := func(name string, mode fs.FileMode, user int, data []byte) {
		files[name] = File{Mode: mode, UID: user, GID: user, Data: data}
	}
	bridge := Bridge(in)
	steps := []func() error{
		func() error { return renderAll(put, nginx.FS, "config/nginx/", nginxData(in), 0o644, NginxUser) },
		func() error { return in.homeserver(put) },
		func() error {
			data, err := execute(templates.FS, "bridge.yaml.tmpl", bridge)
			put("config/bridge/bridge.yaml", 0o644, ApplianceUser, data)
			return err
		},
		func() error { return in.certs(put) },
		func() error { return in.attach(put) },
	}
	for _, step := range steps {
		if err := step(); err != nil {
			return nil, err
		}
	}
	if len(in.CA) > 0 {
		put("config/ca/acme-ca.pem", 0o644, Root, in.CA)
		if in.Answers.Homeserver == answers.Synapse {
			put(synapseRoots, 0o644, Root, slices.Concat(in.Roots, in.CA))
		}
	}
	put("config/mongo/ready.js", 0o644, DatabaseUser, compose.MongoReady)
	put("compose.yaml", 0o644, Root, in.compose())
	put("rocketchat.env", 0o600, Root, in.rocketchatEnv())
	env, err := in.env(files, bridge)
	if err != nil {
		return nil, err
	}
	put(".env", 0o600, Root, env)
	return files, nil
}

// synapseRoots are all authorities in one file: OpenSSL finds none in a directory
// unless files are named after their hashes, and Synapse's own setting for more
// of them reads the first of each file and forgets those of the system.
const synapseRoots = "config/ca/roots.pem"

// homeserverRoots is where the homeserver finds the authorities to trust.
func (in Input) homeserverRoots() string {
	if in.Answers.Homeserver == answers.Synapse && len(in.CA) > 0 {
		return "/etc/appliance-ca/" + path.Base(synapseRoots)
	}
	return "/etc/ssl/certs/ca-certificates.crt"
}

// compose is compose.yaml, without what this host's Docker Engine cannot do.
// It has the networks and ports that only some answers ask for: Compose takes no
// empty value for them.
func (in Input) compose() []byte {
	a := in.Answers
	ports, subnets := morePorts(a), cut(a.DockerSubnet)
	var out []string
	for line := range strings.Lines(string(compose.File)) {
		switch field := strings.TrimSpace(line); {
		case strings.HasPrefix(field, "ports:") && strings.Contains(field, "HTTPS_PORT"):
			line = strings.Replace(line, "]", ports+"]", 1)
		case subnets[field] != "":
			line = strings.Replace(line, field, subnets[field], 1)
		case in.Host.StartInterval:
		case strings.HasPrefix(field, "start_interval:"):
			continue
		case field == "interval: 10s": // quick enough to start, slow enough to keep
			line = strings.Replace(line, "10s", "2s", 1)
		}
		out = append(out, line)
	}
	return []byte(strings.Join(out, ""))
}

// morePorts are those of nginx that only some answers ask for.
func morePorts(a answers.Answers) (list string) {
	if a.FederationPort != 0 && a.FederationPort != a.HTTPSPort {
		list += fmt.Sprintf(`, "%d:443"`, a.FederationPort)
	}
	if a.SynapseAdmin {
		list += fmt.Sprintf(`, "127.0.0.1:%d:8009"`, a.SynapseAdminPort)
	}
	return list
}

// cut gives each network a quarter of a subnet, as what takes the place of its
// line in compose.yaml; one remains.
func cut(subnet string) map[string]string {
	whole, err := netip.ParsePrefix(subnet)
	if err != nil {
		return nil
	}
	part := func(n uint32) netip.Prefix {
		bits := whole.Bits() + 2
		at := binary.BigEndian.Uint32(whole.Masked().Addr().AsSlice()) + n<<(32-bits)
		return netip.PrefixFrom(netip.AddrFrom4([4]byte(binary.BigEndian.AppendUint32(nil, at))), bits)
	}
	return map[string]string{
		"edge: {}":       fmt.Sprintf("edge: {ipam: {config: [{subnet: %s}]}}", part(0)),
		"app: {}":        fmt.Sprintf("app: {ipam: {config: [{subnet: %s}]}}", part(1)),
		"internal: true": fmt.Sprintf("internal: true\n    ipam: {config: [{subnet: %s}]}", part(2)),
	}
}

type putter func(name string, mode fs.FileMode, user int, data []byte)

// renderAll renders every template of a directory under its own name.
func renderAll(put putter, from fs.FS, to string, data any, mode fs.FileMode, user int) error {
	names, err := fs.Glob(from, "*.tmpl")
	if err != nil {
		return err
	}
	for _, name := range names {
		text, err := execute(from, name, data)
		if err != nil {
			return err
		}
		put(to+strings.TrimSuffix(name, ".tmpl"), mode, user, text)
	}
	return nil
}

var functions = template.FuncMap{
	"quote": func(s string) string { return fmt.Sprintf("%q", s) },
	"join":  strings.Join,
	"keys":  keys,
}

func execute(from fs.FS, name string, data any) ([]byte, error) {
	t, err := template.New(name).Option("missingkey=error").Funcs(functions).ParseFS(from, name)
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	if err := t.Execute(&b, data); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}
