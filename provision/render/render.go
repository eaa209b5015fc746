// Package render turns answers and secrets into the files of an installation.
// It is pure: it reads nothing but its arguments and the embedded templates, and
// the same input gives the same bytes.
package render

import (
	"bytes"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
	"text/template"

	"appliance/bridge/config"
	"appliance/bridge/secret"
	"appliance/compose"
	"appliance/nginx"
	"appliance/provision/answers"
	"appliance/provision/homeserver"
	"appliance/provision/secrets"
	"appliance/templates"
)

// Users inside the containers.
const (
	Root          = 0
	NginxUser     = 101   // nginx and certs
	DatabaseUser  = 999   // postgres and mongo
	ApplianceUser = 10500 // homeserver and bridge
	Nobody        = 65534 // prometheus
)

// Input is everything that a rendered file may depend on.
type Input struct {
	Answers              answers.Answers
	Secrets              secrets.Set
	Host                 Host
	Project              string            // name of the Compose project
	Image                string            // our own image
	Images               map[string]string // names of the others, as in versions.env; nil for those pinned there
	Roots                []byte            // the authorities that this host trusts
	CA                   []byte            // content of acme_ca_file
	EABKey               []byte            // content of acme_eab_hmac_file
	SMTPPassword         []byte            // content of smtp_password_file
	RegistrationToken    []byte            // content of rocketchat_registration_token_file
	TraceHeaders         []byte            // content of traces_headers_file
	DatabaseCA           []byte            // content of bridge_database_ca_file
	HomeserverDatabaseCA []byte            // content of homeserver_database_ca_file
	MongoCA              []byte            // content of mongo_ca_file
	UploadsCA            []byte            // content of uploads_ca_file
	UploadsAccessKey     string            // the first line of uploads_key_file
	UploadsSecretKey     secret.String     // the second
	// Bootstrapped says that Rocket.Chat has its administrator.
	Bootstrapped bool
	Live         *config.Live // what the operator wrote into bridge.yaml; nil for the defaults
}

// Host is what was observed of the machine.
type Host struct {
	MemoryMB int
	// StartInterval says that the Docker Engine can check a starting container
	// more often than a running one (API 1.44).
	StartInterval bool
}

// A File is the wanted file at a path below the installation directory.
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
			mode := fs.FileMode(0o644)
			if in.Answers.BridgeDatabase != answers.SQLite {
				mode = 0o600 // the address contains a password
			}
			put("config/bridge/bridge.yaml", mode, ApplianceUser, data)
			return err
		},
		func() error {
			if in.Answers.TracesHeadersFile != "" {
				put(traceHeaders, 0o600, ApplianceUser, in.TraceHeaders)
			}
			if len(in.DatabaseCA) > 0 {
				put(databaseCA, 0o644, ApplianceUser, in.DatabaseCA)
			}
			if len(in.MongoCA) > 0 {
				put(mongoCA, 0o644, Root, in.MongoCA)
			}
			if len(in.UploadsCA) > 0 {
				put(uploadsCA, 0o644, Root, in.UploadsCA)
			}
			return nil
		},
		func() error { return in.monitoring(put) },
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
		if in.needsRoots() {
			put(allRoots, 0o644, Root, slices.Concat(in.Roots, in.CA))
		}
	}
	put("config/mongo/ready.js", 0o644, DatabaseUser, compose.MongoReady)
	file, err := in.compose(compose.File)
	if err != nil {
		return nil, err
	}
	put("compose.yaml", 0o644, Root, file)
	put("rocketchat.env", 0o600, Root, in.rocketchatEnv())
	env, err := in.env(files, bridge)
	if err != nil {
		return nil, err
	}
	put(".env", 0o600, Root, env)
	return files, nil
}

// needsRoots reports whether the homeserver needs all authorities in one file.
func (in Input) needsRoots() bool {
	stack := homeserver.Of(in.Answers.Homeserver).Stack
	return stack != nil && stack.NeedsRoots
}

// allRoots are all authorities in one file.
const allRoots = "config/ca/roots.pem"

// homeserverRoots returns where the homeserver finds the authorities to trust.
func (in Input) homeserverRoots() string {
	if in.needsRoots() && len(in.CA) > 0 {
		return "/etc/appliance-ca/" + path.Base(allRoots)
	}
	return "/etc/ssl/certs/ca-certificates.crt"
}

// monitoring renders the configuration of Prometheus, if the answers ask for it.
func (in Input) monitoring(put putter) error {
	if !in.Answers.Monitoring {
		return nil
	}
	config, err := execute(templates.FS, "prometheus.yml.tmpl", in.Answers.BridgeReplicas)
	if err != nil {
		return err
	}
	rules, err := fs.ReadFile(templates.FS, "alerts.yml")
	put("config/prometheus/prometheus.yml", 0o644, Root, config)
	put("config/prometheus/alerts.yml", 0o644, Root, rules)
	return err
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
