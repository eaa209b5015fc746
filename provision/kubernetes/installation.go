package kubernetes

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"strings"

	"go.yaml.in/yaml/v3"

	"appliance/bridge/config"
	"appliance/provision/answers"
	"appliance/provision/render"
	"appliance/provision/secrets"
)

// Names of the files that are written.
const (
	NamespaceFile    = "namespace.yaml"
	SecretsFile      = "secrets.yaml"      // mode 0600: the only one with secrets besides the next
	RegistrationFile = "registration.yaml" // mode 0600: a Secret for the namespace of a separate homeserver
	ManifestsFile    = "manifests.yaml"
	ValuesFile       = "values.yaml" // the same for Helm
)

// An Installation is what is rendered.
type Installation struct {
	Render  render.Input // the answers, the secrets and the live keys
	Release Release
	Image   string // of the bridge, in a registry that the cluster can reach
	// HomeserverDatabase is the address of Dendrite's PostgreSQL, with the password; ""
	// if Dendrite does not move to the cluster.
	HomeserverDatabase string
	// HomeserverDatabaseCA are the authorities of that PostgreSQL, in PEM; nil means those
	// that Dendrite's image trusts.
	HomeserverDatabaseCA []byte
	// Settings are chart values beyond what the answers say; later ones take precedence.
	Settings []map[string]any
}

// Files renders every file. Only SecretsFile and RegistrationFile have secrets in them.
func (in Installation) Files() (render.Files, error) {
	base, err := Defaults()
	if err != nil {
		return nil, err
	}
	said := map[string]any{}
	for _, more := range in.Settings {
		if _, err := Merge(base, more); err != nil { // a key that the chart does not have
			return nil, err
		}
		said = overlay(said, more)
	}
	c := cluster{Installation: in, said: said}
	if c.full, err = fullName(in.Release, overlay(base, said)); err != nil {
		return nil, err
	}
	own, pgpass, err := c.values()
	if err != nil {
		return nil, err
	}
	own = overlay(own, said)
	manifests, err := Manifests(in.Release, overlay(base, own))
	if err != nil {
		return nil, err
	}
	if err := checkBridge(manifests); err != nil {
		return nil, err
	}
	files, err := c.secrets(pgpass)
	if err != nil {
		return nil, err
	}
	if files[NamespaceFile], err = file(0o644, namespace(in.Release.Namespace)); err != nil {
		return nil, err
	}
	files[ManifestsFile] = render.File{Mode: 0o644, Data: append([]byte(writtenBy), manifests...)}
	files[ValuesFile], err = file(0o644, own)
	return files, err
}

// A cluster is an installation plus what follows from its settings.
type cluster struct {
	Installation

	said map[string]any // all settings together
	full string         // prefix of the names of all objects
}

const writtenBy = "# Written by appliance render kubernetes: change the answers or the values, and write it again.\n"

// overlay overlays one set of values on another: maps are merged, everything else is replaced.
func overlay(under, over map[string]any) map[string]any {
	out := map[string]any{}
	for k, v := range under {
		out[k] = v
	}
	for k, v := range over {
		inner, isMap := v.(map[string]any)
		if was, ok := out[k].(map[string]any); ok && isMap {
			v = overlay(was, inner)
		}
		out[k] = v
	}
	return out
}

// ownHomeserver reports whether Dendrite moves to the cluster too.
func (in Installation) ownHomeserver() bool { return in.HomeserverDatabase != "" }

// authoritiesKey is the key of the database's authorities in their Secret.
const authoritiesKey = "ca.crt"

// ownAuthorities reports whether the bridge's database uses the authorities of the
// answers, and not others from the settings.
func (in cluster) ownAuthorities() bool {
	database, _ := in.said["database"].(map[string]any)
	ca, _ := database["ca"].(map[string]any)
	return len(in.Render.DatabaseCA) > 0 && ca["secret"] == nil
}

// values returns the chart values that follow from the answers, and the password of the
// bridge's database as a line of pgpass.
func (in cluster) values() (values map[string]any, pgpass string, err error) {
	a, bridge := in.Render.Answers, render.Bridge(in.Render)
	repository, tag, digest := splitImage(in.Image)
	database, pgpass, err := withoutPassword(render.Verified(bridgeDatabase(a), a.BridgeDatabaseCAFile))
	if err != nil {
		return nil, "", err
	}
	live, err := liveValues(bridge.Live)
	if err != nil {
		return nil, "", err
	}
	homeserver := map[string]any{"kind": a.Software()}
	if !a.BundledHomeserver() {
		homeserver["url"] = bridge.Homeserver.URL
	}
	values = map[string]any{
		"image":      map[string]any{"repository": repository, "tag": tag, "digest": digest},
		"serverName": a.ServerName, "siteUrl": a.ChatURL(),
		"rocketchat": map[string]any{"userId": bridge.RocketChat.UserID},
		"homeserver": homeserver,
		"database":   map[string]any{"url": database, "secret": map[string]any{"name": in.full + "-database"}},
		"secret":     map[string]any{"name": in.full + "-bridge"},
		"bridge": map[string]any{
			"replicas": float64(max(2, a.BridgeReplicas)), "namespace": bridge.Namespace, "ghostPrefix": bridge.GhostPrefix,
			"appserviceId": bridge.AppService.ID, "bot": bridge.AppService.Bot, "live": live,
		},
		"front": map[string]any{"image": render.Images()["NGINX_IMAGE"]},
	}
	if in.ownAuthorities() {
		values["database"] = overlay(values["database"].(map[string]any), map[string]any{"ca": map[string]any{"secret": in.full + "-database", "key": authoritiesKey}}) //nolint:errcheck // made above
	}
	if in.ownHomeserver() {
		secret := map[string]any{"name": in.full + "-homeserver"}
		if len(in.HomeserverDatabaseCA) > 0 {
			secret["databaseCA"] = authoritiesKey
		}
		values["dendrite"] = map[string]any{"enabled": true, "host": a.Domain, "secret": secret}
	} else if own, _ := in.said["homeserver"].(map[string]any); a.BundledHomeserver() && own["url"] == nil {
		return nil, "", in.needHomeserver()
	}
	return values, pgpass, nil
}

func (in Installation) needHomeserver() error {
	return &ValueError{
		Reason: "the homeserver of this installation is a container of this host, which a cluster does not reach",
		Fix:    "name the Service of one in the cluster, --value homeserver.url=http://ess-synapse.ess.svc:8008; or, for Dendrite, let it go along: --homeserver-database FILE",
	}
}

// splitImage splits "registry/name:tag@sha256:...".
func splitImage(image string) (repository, tag, digest string) {
	image, digest, _ = strings.Cut(image, "@")
	if n := strings.LastIndex(image, ":"); n > strings.LastIndex(image, "/") {
		return image[:n], image[n+1:], digest
	}
	return image, "", digest
}

// bridgeDatabase is the address in the answers, or "" if the data is on this host.
func bridgeDatabase(a answers.Answers) string {
	if a.BridgeDatabase == answers.SQLite || a.BridgeDatabase == answers.Bundled {
		return ""
	}
	return a.BridgeDatabase
}

// withoutPassword moves the password of a PostgreSQL address to a line of pgpass.
func withoutPassword(address string) (rest, pgpass string, err error) {
	const example = "postgres://user:password@host/name"
	if address == "" {
		return "", "", &ValueError{
			Reason: "bridge_database is on this host, and several processes in a cluster need a PostgreSQL that all of them reach",
			Fix:    "name one, once the bridge's data is there: appliance config set bridge_database=" + example,
		}
	}
	u, err := url.Parse(address)
	password, has := "", false
	if err == nil && u.User != nil {
		password, has = u.User.Password()
	}
	if err != nil || !has {
		return "", "", &ValueError{Reason: "bridge_database has no user and password", Fix: "give both: appliance config set bridge_database=" + example}
	}
	u.User = url.User(u.User.Username())
	escape := strings.NewReplacer(`\`, `\\`, `:`, `\:`)
	return u.String(), "*:*:*:" + escape.Replace(u.User.Username()) + ":" + escape.Replace(password) + "\n", nil
}

// liveValues are the live keys that differ from the defaults.
func liveValues(live config.Live) (map[string]any, error) {
	asMap := func(v config.Live) (map[string]any, error) {
		data, err := yaml.Marshal(v)
		if err != nil {
			return nil, err
		}
		return ParseValues("bridge.yaml", data)
	}
	now, err := asMap(live)
	if err != nil {
		return nil, err
	}
	usual, err := asMap(config.Default().Live)
	for key, v := range usual {
		if same(v, now[key]) {
			delete(now, key)
		}
	}
	return now, err
}

func same(a, b any) bool {
	x, errX := json.Marshal(a)
	y, errY := json.Marshal(b)
	return errors.Join(errX, errY) == nil && bytes.Equal(x, y)
}

// checkBridge reads the rendered bridge.yaml as the bridge does.
func checkBridge(manifests []byte) error {
	dec := yaml.NewDecoder(bytes.NewReader(manifests))
	for {
		var object struct {
			Kind string            `yaml:"kind"`
			Data map[string]string `yaml:"data"`
		}
		if err := dec.Decode(&object); err != nil {
			return fmt.Errorf("no bridge.yaml was rendered: %w", err)
		}
		if text, ok := object.Data["bridge.yaml"]; ok && object.Kind == "ConfigMap" {
			_, err := config.Parse("bridge.yaml", []byte(text))
			if invalid, ok := errors.AsType[*config.InvalidError](err); ok {
				return &ValueError{Reason: invalid.Error()}
			}
			return err
		}
	}
}

// secrets renders the files with the Secrets that the manifests name.
func (in cluster) secrets(pgpass string) (render.Files, error) {
	value := func(n secrets.Name) string { return in.Render.Secrets[n].Reveal() }
	database := map[string]string{"pgpass": pgpass}
	if in.ownAuthorities() {
		database[authoritiesKey] = string(in.Render.DatabaseCA)
	}
	list := []any{
		in.secret("bridge", map[string]string{
			"hs_token": value(secrets.HSToken), "as_token": value(secrets.ASToken),
			"rocketchat_token": value(secrets.RocketChatToken), "create_token_secret": value(secrets.CreateTokenSecret),
		}, true),
		in.secret("database", database, true),
	}
	tree, err := render.Tree(in.Render)
	if err != nil {
		return nil, err
	}
	registration, err := rewrite(tree[render.Registration].Data, fmt.Sprintf("http://%s-bridge.%s.svc:29328", in.full, in.Release.Namespace), "url")
	if err != nil {
		return nil, err
	}
	files := render.Files{}
	if in.ownHomeserver() {
		homeserver, err := in.homeserver(tree, registration)
		if err != nil {
			return nil, err
		}
		list = append(list, in.secret("homeserver", homeserver, true))
	} else if files[RegistrationFile], err = file(0o600, in.secret("registration", map[string]string{"registration.yaml": string(registration)}, false)); err != nil {
		return nil, err
	}
	files[SecretsFile], err = file(0o600, list...)
	return files, err
}

// homeserver returns the files of Dendrite, by their names in its Secret.
func (in cluster) homeserver(tree render.Files, registration []byte) (map[string]string, error) {
	const dir = "config/homeserver/"
	address, key := in.HomeserverDatabase, tree[dir+"matrix_key.pem"].Data
	files := map[string]string{"matrix_key.pem": string(key), "rocketchat-registration.yaml": string(registration)}
	if len(in.HomeserverDatabaseCA) > 0 {
		const name = "/etc/dendrite/database_ca.pem" // the chart puts it there
		address = render.WithCA(address, name, name)
		files[authoritiesKey] = string(in.HomeserverDatabaseCA)
	}
	dendrite, err := rewrite(tree[dir+"dendrite.yaml"].Data, address, "global", "database", "connection_string")
	files["dendrite.yaml"] = string(dendrite)
	return files, err
}

// rewrite replaces one value of a YAML document.
func rewrite(data []byte, value string, path ...string) ([]byte, error) {
	var doc yaml.Node
	if err := yaml.Unmarshal(data, &doc); err != nil {
		return nil, err
	}
	n := &doc
	if len(doc.Content) > 0 {
		n = doc.Content[0]
	}
	for _, key := range path {
		found := false
		for k := 0; k+1 < len(n.Content); k += 2 {
			if n.Content[k].Value == key {
				n, found = n.Content[k+1], true
				break
			}
		}
		if !found {
			return nil, fmt.Errorf("no %s is in what was rendered", strings.Join(path, "."))
		}
	}
	n.SetString(value)
	n.Style = yaml.DoubleQuotedStyle
	var out bytes.Buffer
	enc := yaml.NewEncoder(&out)
	enc.SetIndent(2)
	err := enc.Encode(&doc)
	return out.Bytes(), err
}

func (in cluster) labels() map[string]string {
	return map[string]string{"app.kubernetes.io/name": "appliance", "app.kubernetes.io/instance": in.Release.Name, "app.kubernetes.io/managed-by": "appliance"}
}

// secret is a Secret of the release; here says that it belongs in the namespace.
func (in cluster) secret(name string, values map[string]string, here bool) any {
	data := map[string][]byte{}
	for k, v := range values {
		data[k] = []byte(v)
	}
	meta := map[string]any{"name": in.full + "-" + name, "labels": in.labels()}
	if here {
		meta["namespace"] = in.Release.Namespace
	}
	return map[string]any{"apiVersion": "v1", "kind": "Secret", "metadata": meta, "type": "Opaque", "data": data}
}

// namespace is the namespace, which admits only pods that meet the restricted standard.
func namespace(name string) any {
	const standard = "pod-security.kubernetes.io/"
	return map[string]any{"apiVersion": "v1", "kind": "Namespace", "metadata": map[string]any{
		"name": name, "labels": map[string]string{standard + "enforce": "restricted", standard + "warn": "restricted", standard + "audit": "restricted"},
	}}
}

// file encodes documents.
func file(mode fs.FileMode, documents ...any) (render.File, error) {
	out := bytes.NewBufferString(writtenBy)
	for i, doc := range documents {
		data, err := json.Marshal(doc) // bytes become base64, as a Secret has them
		if err != nil {
			return render.File{}, err
		}
		var v any
		if err := json.Unmarshal(data, &v); err != nil {
			return render.File{}, err
		}
		text, err := toYAML(v)
		if err != nil {
			return render.File{}, err
		}
		if i > 0 {
			out.WriteString("---\n")
		}
		out.WriteString(text + "\n")
	}
	return render.File{Mode: mode, Data: out.Bytes()}, nil
}
