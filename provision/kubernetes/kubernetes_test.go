package kubernetes_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"appliance/bridge/config"
	"appliance/bridge/secret"
	"appliance/provision/answers"
	"appliance/provision/kubernetes"
	"appliance/provision/render"
	"appliance/provision/secrets"
	"appliance/templates"
)

// secretValues are recognised by their common prefix.
var secretValues = secrets.Set{
	secrets.HSToken: secret.New("hidden-hs"), secrets.ASToken: secret.New("hidden-as"), secrets.RocketChatToken: secret.New("hidden-rc"),
	secrets.CreateTokenSecret: secret.New("hidden-create"), secrets.MatrixKey: secret.New("hidden-key"), secrets.PostgresPassword: secret.New("hidden-pg"),
	secrets.RegistrationSecret: secret.New("hidden-registration"),
}

// installation returns an installation with the given answers and values of the chart.
func installation(t testing.TB, set []string, settings ...string) kubernetes.Installation {
	t.Helper()
	d := answers.NewDraft()
	for _, s := range append([]string{"domain=chat.example.org", "bridge_database=postgres://bridge:hidden%3Adb@db.example.org:5433/bridge?sslmode=require"}, set...) {
		d.Assign(s)
	}
	a, err := d.Finish()
	if err != nil {
		t.Fatal(err)
	}
	in := kubernetes.Installation{
		Image: "registry.example.org/appliance:v1.2.3", Release: kubernetes.Release{Name: "appliance", Namespace: "chat", Version: "v1.2.3"},
		Render: render.Input{Answers: a, Secrets: secretValues, Project: "appliance", Image: "x", Host: render.Host{MemoryMB: 8192}},
	}
	for _, s := range settings {
		v, err := kubernetes.ParseSetting(s)
		if err != nil {
			t.Fatal(err)
		}
		in.Settings = append(in.Settings, v)
	}
	return in
}

// beside is an installation in the same cluster as Rocket.Chat's chart and Element's.
func beside(t testing.TB, more ...string) kubernetes.Installation {
	return installation(t, []string{"homeserver=external", "homeserver_url=http://ess-synapse.ess.svc:8008", "server_name=example.org"},
		append([]string{"rocketchat.url=http://rocketchat-rocketchat.rocketchat.svc"}, more...)...)
}

// whole is an installation with Dendrite and everything that the chart can add.
func whole(t testing.TB) kubernetes.Installation {
	in := installation(t, nil, "rocketchat.url=http://rocketchat-rocketchat.rocketchat.svc", "ingress.enabled=true", "ingress.className=nginx", "ingress.tlsSecret=chat-tls",
		"ingress.annotations={cert-manager.io/cluster-issuer: letsencrypt}", "gateway.enabled=true", "gateway.parentRefs=[{name: public, namespace: gateways}]",
		"monitoring.serviceMonitor.enabled=true", "monitoring.rules.enabled=true", "networkPolicy.ingressController=[{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: ingress}}}]",
		"database.ca.secret=postgres-ca", "trust.configMap=company-ca", "imagePullSecrets=[registry]", "bridge.live={log_level: debug, servers: {allow: [\"*.example.org\"]}}", "bridge.nodeSelector={disk: ssd}")
	in.HomeserverDatabase = "postgres://dendrite:hidden-dendrite@db.example.org/dendrite"
	return in
}

func files(t testing.TB, in kubernetes.Installation) render.Files {
	t.Helper()
	f, err := in.Files()
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// The manifests and the values of two installations match the golden files.
func TestManifestsAreThoseThatWereLookedAt(t *testing.T) {
	for name, in := range map[string]kubernetes.Installation{"beside": beside(t), "whole": whole(t)} {
		all := files(t, in)
		for _, file := range []string{kubernetes.ManifestsFile, kubernetes.ValuesFile} {
			golden := filepath.Join("testdata", name+"-"+file)
			if os.Getenv("UPDATE_GOLDEN") != "" {
				if err := os.WriteFile(golden, all[file].Data, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(all[file].Data, want) {
				t.Errorf("%s is not what is written; if it is meant, type: UPDATE_GOLDEN=1 go test ./provision/kubernetes", golden)
			}
		}
	}
}

// Secrets are in the two files named after them, with mode 0600, and in no other text.
func TestSecretsAreInFilesOfTheirOwn(t *testing.T) {
	for name, in := range map[string]kubernetes.Installation{"beside": beside(t), "whole": whole(t)} {
		all := files(t, in)
		hold := []string{kubernetes.SecretsFile}
		if in.HomeserverDatabase == "" {
			hold = append(hold, kubernetes.RegistrationFile)
		}
		for file, f := range all {
			secretHere := slices.Contains(hold, file)
			if secretHere != (f.Mode == 0o600) {
				t.Errorf("%s: %s has mode %o", name, file, f.Mode)
			}
			if found := bytes.Contains(decoded(f.Data), []byte("hidden")); found != secretHere {
				t.Errorf("%s: a secret is in %s: %v", name, file, found)
			}
		}
		if len(hold)+3 != len(all) {
			t.Errorf("%s: %d files", name, len(all))
		}
	}
}

// decoded returns a text, followed by the same text with its base64 decoded.
func decoded(text []byte) []byte {
	return append(slices.Clone(text), regexp.MustCompile(`[A-Za-z0-9+/=]{8,}`).ReplaceAllFunc(text, func(b []byte) []byte {
		out, _ := base64.StdEncoding.DecodeString(string(b))
		return out
	})...)
}

// The Secrets hold the files that the processes read: the password as a line of pgpass, and the
// registration and Dendrite's configuration with the addresses of the cluster.
func TestSecretsHoldWhatIsRead(t *testing.T) {
	data := secretData(t, files(t, whole(t))[kubernetes.SecretsFile].Data)
	if got, want := data["appliance-database"]["pgpass"], `*:*:*:bridge:hidden\:db`+"\n"; got != want {
		t.Errorf("pgpass is %q, and not %q", got, want)
	}
	if got := data["appliance-bridge"]["rocketchat_token"]; got != "hidden-rc" {
		t.Errorf("the token is %q", got)
	}
	dendrite, registration := data["appliance-homeserver"]["dendrite.yaml"], data["appliance-homeserver"]["rocketchat-registration.yaml"]
	if !strings.Contains(dendrite, `connection_string: "postgres://dendrite:hidden-dendrite@db.example.org/dendrite"`) || strings.Contains(dendrite, "@postgres:5432") {
		t.Errorf("Dendrite's configuration:\n%s", dendrite)
	}
	if want := `url: "http://appliance-bridge.chat.svc:29328"`; !strings.Contains(registration, want) {
		t.Errorf("the registration lacks %s:\n%s", want, registration)
	}
	other := secretData(t, files(t, beside(t))[kubernetes.RegistrationFile].Data)
	if !strings.Contains(other["appliance-registration"]["registration.yaml"], "hidden-as") {
		t.Error("the registration for a homeserver elsewhere has no token")
	}
}

// The CA certificates of the database are included, and the bridge is told to verify against
// them. The settings may name others.
func TestTheAuthoritiesOfTheDatabaseGoAlong(t *testing.T) {
	const authorities = "-----BEGIN CERTIFICATE-----\nof the database\n-----END CERTIFICATE-----\n"
	with := func(more ...string) render.Files {
		in := installation(t, []string{
			"homeserver=external", "homeserver_url=http://s:8008",
			"bridge_database=postgres://bridge:hidden@db.example.org/bridge", "bridge_database_ca_file=/root/ca.pem",
		}, append([]string{"rocketchat.url=http://rc"}, more...)...)
		in.Render.DatabaseCA = []byte(authorities)
		return files(t, in)
	}
	own := with()
	if got := secretData(t, own[kubernetes.SecretsFile].Data)["appliance-database"]["ca.crt"]; got != authorities {
		t.Errorf("the Secret has %q", got)
	}
	manifests := string(own[kubernetes.ManifestsFile].Data)
	for _, want := range []string{
		"bridge?sslmode=verify-full&passfile=/run/secrets/bridge/pgpass&sslrootcert=/run/secrets/bridge/postgres_ca.crt",
		"path: postgres_ca.crt",
	} {
		if !strings.Contains(manifests, want) {
			t.Errorf("the manifests lack %s", want)
		}
	}
	others := with("database.ca.secret=postgres-ca")
	if got, ok := secretData(t, others[kubernetes.SecretsFile].Data)["appliance-database"]["ca.crt"]; ok {
		t.Errorf("the settings name others, and the Secret has %q", got)
	}
	if !strings.Contains(string(others[kubernetes.ManifestsFile].Data), "name: postgres-ca") {
		t.Error("the Secret of the settings is not mounted")
	}
}

// The CA certificates of Dendrite's database are in its Secret and mounted where its address
// names them; without any, neither is there.
func TestTheAuthoritiesOfDendritesDatabaseGoAlong(t *testing.T) {
	in := whole(t)
	without := files(t, in)
	if manifests := string(without[kubernetes.ManifestsFile].Data); strings.Contains(manifests, "database_ca.pem") {
		t.Error("authorities are mounted, and there are none")
	}
	const authorities = "-----BEGIN CERTIFICATE-----\nof the database\n-----END CERTIFICATE-----\n"
	in.HomeserverDatabaseCA = []byte(authorities)
	all := files(t, in)
	homeserver := secretData(t, all[kubernetes.SecretsFile].Data)["appliance-homeserver"]
	if homeserver["ca.crt"] != authorities {
		t.Errorf("the Secret has %q", homeserver["ca.crt"])
	}
	if want := `dendrite?sslmode=verify-full&sslrootcert=%2Fetc%2Fdendrite%2Fdatabase_ca.pem"`; !strings.Contains(homeserver["dendrite.yaml"], want) {
		t.Errorf("Dendrite's configuration lacks %s:\n%s", want, homeserver["dendrite.yaml"])
	}
	if manifests := string(all[kubernetes.ManifestsFile].Data); !strings.Contains(manifests, "key: ca.crt\n            path: database_ca.pem") && !strings.Contains(manifests, "{key: ca.crt, path: database_ca.pem}") {
		t.Error("the authorities are not mounted")
	}
}

func secretData(t *testing.T, text []byte) map[string]map[string]string {
	t.Helper()
	out := map[string]map[string]string{}
	for dec := yaml.NewDecoder(bytes.NewReader(text)); ; {
		var s struct {
			Metadata struct{ Name string }
			Data     map[string]string
		}
		if dec.Decode(&s) != nil {
			return out
		}
		out[s.Metadata.Name] = map[string]string{}
		for k, v := range s.Data {
			plain, err := base64.StdEncoding.DecodeString(v)
			if err != nil {
				t.Fatal(err)
			}
			out[s.Metadata.Name][k] = string(plain)
		}
	}
}

// Settings that cannot work are refused before anything is written, with what to do.
func TestWhatCannotWorkIsRefused(t *testing.T) {
	dendrite := func(set ...string) kubernetes.Installation {
		return installation(t, set, "rocketchat.url=http://rc")
	}
	for name, c := range map[string]struct {
		in   kubernetes.Installation
		want string
	}{
		"unknown value":           {beside(t, "bridge.replica=3"), "bridge.replica is not a value of the chart; its values are affinity, appserviceId"},
		"unknown section":         {beside(t, "brigde.replicas=3"), "brigde is not a value"},
		"another type":            {beside(t, "bridge.replicas=many"), "bridge.replicas must be a number, and is text"},
		"unknown live key":        {beside(t, "bridge.live={typping: true}"), "typping: unknown key"},
		"wrong live value":        {beside(t, "bridge.live={log_level: loud}"), "log_level: must be one of debug, info, warn, error"},
		"Rocket.Chat unknown":     {installation(t, []string{"homeserver=external", "homeserver_url=http://s:8008"}), "rocketchat.url is missing"},
		"Rocket.Chat by its name": {beside(t, "rocketchat.url=https://chat.example.org"), "what the bridge passes on would come back"},
		"SQLite":                  {installation(t, []string{"bridge_database=sqlite", "homeserver=external", "homeserver_url=http://s:8008"}), "several processes in a cluster need a PostgreSQL"},
		"no password":             {installation(t, []string{"bridge_database=postgres://bridge@db/b", "homeserver=external", "homeserver_url=http://s:8008"}), "has no user and password"},
		"homeserver of the host":  {dendrite(), "is a container of this host"},
		"Synapse of the host":     {dendrite("homeserver=synapse"), "is a container of this host"},
	} {
		all, err := c.in.Files()
		refused, ok := errors.AsType[*kubernetes.ValueError](err)
		if !ok || !strings.Contains(refused.Error(), c.want) || refused.Hint() == "" {
			t.Errorf("%s: %v, and not %q", name, err, c.want)
		}
		if len(all) > 0 {
			t.Errorf("%s: %d files", name, len(all))
		}
	}
}

// The chart has the same images as Compose, and the same alerts as Prometheus on a single
// host; only the commands to type differ.
func TestTheChartIsUpToDate(t *testing.T) {
	values, err := kubernetes.Defaults()
	if err != nil {
		t.Fatal(err)
	}
	for section, key := range map[string]string{"front": "NGINX_IMAGE", "dendrite": "DENDRITE_IMAGE"} {
		if got := values[section].(map[string]any)["image"]; got != render.Images()[key] {
			t.Errorf("%s.image is %v, and compose/versions.env has %s", section, got, render.Images()[key])
		}
	}
	type rules struct {
		Groups []struct {
			Name  string
			Rules []struct {
				Alert, Expr, For string
				Labels           map[string]string
				Annotations      struct{ Summary string }
			}
		}
	}
	var here, there rules
	host, err := templates.FS.ReadFile("alerts.yml")
	if err != nil {
		t.Fatal(err)
	}
	chart, err := templates.Kubernetes.ReadFile("kubernetes/files/alerts.yml")
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(yaml.Unmarshal(host, &here), yaml.Unmarshal(chart, &there)); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(here, there) || strings.Contains(string(chart), "appliance doctor") {
		t.Error("templates/kubernetes/files/alerts.yml is not templates/alerts.yml with commands of a cluster")
	}
}

// The schema has the same keys as the values, so that no existing key is refused, and the
// live keys of the bridge.
func TestTheSchemaKnowsEveryKey(t *testing.T) {
	data, err := templates.Kubernetes.ReadFile("kubernetes/values.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	var schema map[string]any
	if err := json.Unmarshal(data, &schema); err != nil {
		t.Fatal(err)
	}
	values, err := kubernetes.Defaults()
	if err != nil {
		t.Fatal(err)
	}
	values["global"] = map[string]any{} // Helm's own
	known(t, "values", values, schema)
	live := map[string]any{}
	text, err := yaml.Marshal(config.Default().Live)
	if err != nil {
		t.Fatal(err)
	}
	if err := yaml.Unmarshal(text, &live); err != nil {
		t.Fatal(err)
	}
	bridge := schema["properties"].(map[string]any)["bridge"].(map[string]any)["properties"].(map[string]any)
	known(t, "values.bridge.live", live, bridge["live"].(map[string]any))
}

func known(t *testing.T, at string, values, schema map[string]any) {
	t.Helper()
	properties, ok := schema["properties"].(map[string]any)
	if !ok { // any key is allowed here
		return
	}
	if schema["additionalProperties"] != false {
		t.Errorf("%s takes keys that it does not know", at)
	}
	for key := range properties {
		if _, ok := values[key]; !ok {
			t.Errorf("%s.%s is in the schema only", at, key)
		}
	}
	for key, v := range values {
		p, ok := properties[key].(map[string]any)
		if !ok {
			t.Errorf("%s.%s is not in the schema", at, key)
			continue
		}
		if inner, isMap := v.(map[string]any); isMap && len(inner) > 0 {
			known(t, at+"."+key, inner, p)
		}
	}
}

// Files can be written again over earlier ones, and nobody else can read the secrets.
func TestWriteReplacesItsFiles(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "new", "kubernetes")
	for range 2 {
		written, err := kubernetes.Write(dir, files(t, beside(t)))
		if err != nil || len(written) != 5 {
			t.Fatal(written, err)
		}
	}
	info, err := os.Stat(filepath.Join(dir, kubernetes.SecretsFile))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Error(info, err)
	}
}
