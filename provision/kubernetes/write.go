package kubernetes

import (
	"bytes"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"slices"

	"appliance/bridge/config"
	"appliance/provision/answers"
	"appliance/provision/attach"
	"appliance/provision/certs"
	"appliance/provision/internal/atomicfile"
	"appliance/provision/render"
	"appliance/provision/secrets"
	"appliance/provision/settings"
	"appliance/provision/site"
)

// needed are the secrets that go into the cluster.
var needed = []secrets.Name{secrets.HSToken, secrets.ASToken, secrets.RocketChatToken, secrets.CreateTokenSecret, secrets.MatrixKey}

// dendriteMB is the memory that Dendrite's limit in the chart is made for.
const dendriteMB = 8192

// Read reads what an installation has: the answers, the secrets and the live keys. It
// changes nothing.
func Read(on *site.Site) (render.Input, error) {
	all, _ := secrets.Missing(on.Dir)
	for _, name := range all {
		if slices.Contains(needed, name) {
			return render.Input{}, &ValueError{
				Reason: fmt.Sprintf("secret %s is missing", secrets.Path(on.Dir, name)),
				Fix:    "put it back from a backup, or complete the installation: appliance up",
			}
		}
	}
	in := render.Input{Answers: on.Answers, Project: "appliance", Host: render.Host{MemoryMB: dendriteMB}}
	var err error
	if in.Secrets, _, err = secrets.Prepare(on.Dir); err != nil {
		return in, err
	}
	if err := attach.Secrets(on.Answers, in.Secrets); err != nil {
		return in, err
	}
	if in.CA, err = optional(on.Answers.ACMECAFile); err != nil {
		return in, answers.Unusable("acme_ca_file", err)
	}
	if in.DatabaseCA, err = certs.Authorities(on.Answers.BridgeDatabaseCAFile); err != nil {
		return in, answers.Unusable("bridge_database_ca_file", err)
	}
	var live config.Live
	if live, err = settings.Live(on); err != nil {
		return in, err
	}
	in.Live = &live
	return in, nil
}

func optional(name string) ([]byte, error) {
	if name == "" {
		return nil, nil
	}
	return os.ReadFile(name)
}

// ReadAddress reads the address of a database from its own file.
func ReadAddress(name string) (string, error) {
	data, err := os.ReadFile(name)
	if err != nil {
		return "", err
	}
	address := string(bytes.TrimSpace(data))
	if u, err := url.Parse(address); err == nil && u.Query().Has("sslrootcert") {
		return "", &ValueError{Reason: name + " holds an address with sslrootcert, a file that no container of the cluster sees", Fix: "take it out, and name the file: --homeserver-database-ca FILE"}
	}
	if _, _, err := withoutPassword(address); err != nil {
		return "", &ValueError{Reason: name + " does not hold the address of a PostgreSQL with user and password", Fix: "write it as postgres://user:password@host/name"}
	}
	return address, nil
}

// ReadValues reads a file of values.
func ReadValues(name string) (map[string]any, error) {
	data, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	return ParseValues(name, data)
}

// Write writes the files to dir, each atomically, and returns their paths in the order in
// which they are used.
func Write(dir string, files render.Files) ([]string, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	var written []string
	for _, name := range []string{NamespaceFile, SecretsFile, RegistrationFile, ManifestsFile, ValuesFile} {
		f, ok := files[name]
		if !ok {
			continue
		}
		target := filepath.Join(dir, name)
		if err := atomicfile.Write(target, f.Data, f.Mode); err != nil {
			return written, err
		}
		written = append(written, target)
	}
	return written, nil
}
