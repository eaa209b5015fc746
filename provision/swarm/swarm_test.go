package swarm_test

import (
	"bytes"
	"errors"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"appliance/bridge/mustrun"
	"appliance/bridge/secret"
	"appliance/provision/answers"
	"appliance/provision/render"
	"appliance/provision/secrets"
	"appliance/provision/swarm"
)

// scenarios are the stacks that have golden files.
var scenarios = map[string]struct {
	set  []string
	o    swarm.Options
	cert bool
}{
	"minimal": {set: []string{"domain=chat.example.org", "email=ops@example.org"}},
	"replicas": {
		set:  []string{"domain=chat.example.org", "tls=files", "tls_cert_file=/c", "tls_key_file=/k", "bridge_database=bundled", "bridge_replicas=3", "metrics=true", "docker_subnet=10.90.0.0/16"},
		o:    swarm.Options{Replicas: map[string]int{"nginx": 2, "rocketchat": 2}},
		cert: true,
	},
	"plain": { // for kernels without IPVS and ESP, behind a balancer
		set: []string{"domain=chat.example.org", "tls=none", "homeserver=synapse", "synapse_admin=true", "monitoring=true", "bridge_database=bundled", "bridge_replicas=2", "rocketchat_settings.Site_Name=Only $5"},
		o:   swarm.Options{DNSRR: true, Plain: true, Image: "registry.example.org/appliance:v1", State: "/srv/chat"},
	},
}

func input(t *testing.T, name string) swarm.Input {
	t.Helper()
	s := scenarios[name]
	d := answers.NewDraft()
	for _, a := range s.set {
		d.Assign(a)
	}
	a, err := d.Finish()
	if err != nil {
		t.Fatal(err)
	}
	o := s.o
	o.Stack = "chat"
	if o.State == "" {
		o.State = "/var/lib/appliance"
	}
	in := swarm.Input{Options: o, Render: render.Input{Answers: a, Secrets: fixed(), Project: "appliance", Image: "appliance-program:0123456789ab", Host: render.Host{MemoryMB: 8000, StartInterval: true}}}
	if s.cert {
		in.Certificates = map[string][]byte{}
		for _, host := range a.Hosts() {
			in.Certificates[host] = []byte("CERTIFICATE OF " + host + "\n")
		}
	}
	return in
}

// fixed returns secrets that are the same every time.
func fixed() secrets.Set {
	set := secrets.Set{}
	for _, n := range []secrets.Name{
		secrets.AdminPassword, secrets.PostgresPassword, secrets.RegistrationSecret, secrets.MacaroonSecret, secrets.FormSecret,
		secrets.MongoRootPassword, secrets.MongoPassword, secrets.MongoKeyfile, secrets.HSToken, secrets.ASToken, secrets.RocketChatToken, secrets.CreateTokenSecret,
	} {
		set[n] = secret.New("SECRET-" + string(n))
	}
	set[secrets.MatrixKey] = secret.New("-----BEGIN MATRIX PRIVATE KEY-----\nKey-ID: ed25519:abc123\n\nAAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n-----END MATRIX PRIVATE KEY-----\n")
	return set
}

func rendered(t *testing.T, in swarm.Input) swarm.Stack {
	t.Helper()
	out, err := swarm.Render(in)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestGolden(t *testing.T) {
	for name := range scenarios {
		t.Run(name, func(t *testing.T) {
			got := rendered(t, input(t, name)).Files[swarm.StackFile].Data
			file := filepath.Join("testdata", name+".yaml")
			if os.Getenv("UPDATE_GOLDEN") != "" {
				if err := os.WriteFile(file, got, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			if want, err := os.ReadFile(file); err != nil || !bytes.Equal(want, got) {
				t.Errorf("the stack differs from %s; see the difference with: make golden && git diff (%v)", file, err)
			}
		})
	}
}

// docker stack accepts every stack, and ignores no part of it.
func TestDockerTakesTheStack(t *testing.T) {
	if _, err := exec.LookPath("docker"); err != nil {
		mustrun.Skip(t, "docker is not installed")
	}
	for name := range scenarios {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			for file, f := range rendered(t, input(t, name)).Files {
				at := filepath.Join(dir, file)
				if err := os.MkdirAll(filepath.Dir(at), 0o700); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(at, f.Data, f.Mode); err != nil {
					t.Fatal(err)
				}
			}
			cmd := exec.CommandContext(t.Context(), "docker", "stack", "config", "-c", swarm.StackFile)
			cmd.Dir = dir
			out, err := cmd.CombinedOutput()
			if err != nil || bytes.Contains(bytes.ToLower(out), []byte("ignoring")) || bytes.Contains(out, []byte("variable is not set")) {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
}

// The CA certificates of the databases are included, where the services look for them.
func TestTheAuthoritiesOfTheDatabaseGoAlong(t *testing.T) {
	in := input(t, "minimal")
	in.Render.Answers.BridgeDatabase, in.Render.Answers.BridgeDatabaseCAFile = "postgres://bridge:p@db.example.org/bridge", "/root/ca.pem"
	in.Render.Answers.HomeserverDatabase, in.Render.Answers.HomeserverDatabaseCAFile = "postgres://home:p@db.example.org/home", "/root/home.pem"
	in.Render.DatabaseCA, in.Render.HomeserverDatabaseCA = []byte("AUTHORITIES\n"), []byte("OTHERS\n")
	in.Render.Answers.MongoURL, in.Render.Answers.MongoCAFile, in.Render.MongoCA = "mongodb://u:p@db.example.org/rc", "/root/mongo.pem", []byte("THIRD\n")
	out := rendered(t, in)
	var doc stackOf
	if err := yaml.Unmarshal(out.Files[swarm.StackFile].Data, &doc); err != nil {
		t.Fatal(err)
	}
	if _, own := doc.Services["postgres"]; own {
		t.Error("there is a PostgreSQL of ours, which nothing uses")
	}
	const mongo = "/etc/appliance/mongo_ca.pem"
	if env := string(out.Files["rocketchat.env"].Data); !strings.Contains(env, "\nMONGO_URL=mongodb://u:p@db.example.org/rc?tls=true&tlsCAFile="+mongo+"\n") {
		t.Errorf("Rocket.Chat is not told of its authorities:\n%s", env)
	}
	for _, c := range []struct{ service, config, target, want string }{
		{"rocketchat", "", mongo, "THIRD\n"},
		{"bridge", "config/bridge/bridge.yaml", "/etc/appliance/database_ca.pem", "AUTHORITIES\n"},
		{"homeserver", "config/homeserver/dendrite.yaml", "/etc/dendrite/database_ca.pem", "OTHERS\n"},
	} {
		if text := string(out.Files[c.config].Data); c.config != "" && (!strings.Contains(text, "sslrootcert="+url.QueryEscape(c.target)) || !strings.Contains(text, "sslmode=verify-full")) {
			t.Errorf("%s does not name the authorities:\n%s", c.config, text)
		}
		n := slices.IndexFunc(doc.Services[c.service].Configs, func(m mount) bool { return m.Target == c.target })
		if n < 0 {
			t.Errorf("%s has no config at %s: %+v", c.service, c.target, doc.Services[c.service].Configs)
			continue
		}
		if got := string(out.Files[clean(doc.Configs[doc.Services[c.service].Configs[n].Source].File)].Data); got != c.want {
			t.Errorf("the authorities of %s are %q", c.service, got)
		}
	}
}

// A mount is the place where a service has a config.
type mount struct{ Source, Target string }

// stackOf is a parsed stack file.
type stackOf struct {
	Services map[string]struct {
		Environment map[string]string
		Deploy      struct {
			Replicas     int
			EndpointMode string `yaml:"endpoint_mode"`
			Placement    struct{ Constraints []string }
			Update       struct {
				Failure string `yaml:"failure_action"`
				Order   string
			} `yaml:"update_config"`
			Resources struct{ Limits map[string]string }
		}
		Healthcheck map[string]any
		Configs     []mount
		Ports       []struct {
			Target int
			Mode   string
		}
	}
	Secrets, Configs map[string]struct{ Name, File string }
	Networks         map[string]struct {
		Driver  string
		Options map[string]string `yaml:"driver_opts"`
	}
}

func read(t *testing.T, out swarm.Stack) (s stackOf) {
	t.Helper()
	if err := yaml.Unmarshal(out.Files[swarm.StackFile].Data, &s); err != nil {
		t.Fatal(err)
	}
	return s
}

// Only a changed secret gets another name, so that the Swarm replaces the services that use it.
func TestAChangedSecretHasAnotherName(t *testing.T) {
	was := read(t, rendered(t, input(t, "replicas")))
	in := input(t, "replicas")
	in.Render.Secrets[secrets.HSToken] = secret.New("another")
	is := read(t, rendered(t, in))
	var changed []string
	for key := range is.Secrets {
		if was.Secrets[key].Name != is.Secrets[key].Name {
			changed = append(changed, key)
		}
	}
	slices.Sort(changed)
	if want := []string{"bridge-hs-token", "homeserver-rocketchat-registration.yaml"}; !slices.Equal(changed, want) {
		t.Errorf("%v have other names, and not %v", changed, want)
	}
	name := regexp.MustCompile(`^[a-zA-Z0-9._-]{1,64}$`)
	for _, o := range is.Secrets {
		if !name.MatchString(o.Name) {
			t.Errorf("%q is no name in a Swarm", o.Name)
		}
	}
}

// No secret is in the stack file, in an object that is not a secret, or in a file that others can read.
func TestSecretsAreInSecretsOnly(t *testing.T) {
	for name := range scenarios {
		out := rendered(t, input(t, name))
		s := read(t, out)
		hidden := map[string]bool{"rocketchat.env": true}
		for _, o := range s.Secrets {
			hidden[clean(o.File)] = true
		}
		for file, f := range out.Files {
			if bytes.Contains(f.Data, []byte("SECRET-")) && (!hidden[file] || f.Mode&0o077 != 0) {
				t.Errorf("%s: %s with mode %v has a secret", name, file, f.Mode)
			}
		}
	}
}

func clean(name string) string { return strings.TrimPrefix(name, "./") }

// Each service has resource limits and a health check, and a bad version is rolled back.
func TestEveryServiceIsRolledAndLimited(t *testing.T) {
	for name := range scenarios {
		for service, s := range read(t, rendered(t, input(t, name))).Services {
			if s.Deploy.Resources.Limits["memory"] == "" || s.Deploy.Resources.Limits["pids"] == "" || s.Healthcheck["test"] == nil || s.Deploy.Update.Failure != "rollback" {
				t.Errorf("%s: %s: %+v", name, service, s.Deploy)
			}
		}
	}
}

// Services with data run on the labelled node; those that may have replicas run anywhere.
func TestDataIsOnOneNode(t *testing.T) {
	for name, want := range map[string][]string{
		"minimal": {"bridge", "certs", "homeserver", "mongo", "nginx", "postgres"}, "replicas": {"homeserver", "mongo", "postgres"},
		"plain": {"homeserver", "mongo", "postgres", "prometheus"},
	} {
		var pinned []string
		for service, s := range read(t, rendered(t, input(t, name))).Services {
			if len(s.Deploy.Placement.Constraints) > 0 {
				pinned = append(pinned, service)
			}
		}
		slices.Sort(pinned)
		if !slices.Equal(pinned, want) {
			t.Errorf("%s: %v have their data on one node, and not %v", name, pinned, want)
		}
	}
}

// In a Swarm a tmpfs belongs to root, so what PostgreSQL and MongoDB write beside their data is on disk.
func TestWhatAUserMayWriteIsTheirs(t *testing.T) {
	var owned []string
	for _, d := range rendered(t, input(t, "replicas")).Dirs {
		if d.User == 999 {
			owned = append(owned, d.Path)
		}
	}
	for _, want := range []string{"/var/lib/appliance/run/postgres", "/var/lib/appliance/run/mongo", "/var/lib/appliance/postgres", "/var/lib/appliance/mongo/db"} {
		if !slices.Contains(owned, want) {
			t.Errorf("%s is not theirs: %v", want, owned)
		}
	}
}

func TestNetworksAreEncryptedUnlessToldOtherwise(t *testing.T) {
	for name, want := range map[string]string{"replicas": "true", "plain": ""} {
		s := read(t, rendered(t, input(t, name)))
		for network, n := range s.Networks {
			if n.Driver != "overlay" || n.Options["encrypted"] != want {
				t.Errorf("%s: the network %s: %+v", name, network, n)
			}
		}
		mode := map[string]string{"replicas": "vip", "plain": "dnsrr"}[name]
		if got := s.Services["bridge"].Deploy.EndpointMode; got != mode {
			t.Errorf("%s: the bridge's name leads to %s", name, got)
		}
	}
}

// Values reach a container as they are in the answers, although docker stack interpolates $
// and takes quotes in an environment file as part of the value.
func TestValuesArriveAsTheyAre(t *testing.T) {
	env := string(rendered(t, input(t, "plain")).Files["rocketchat.env"].Data)
	if !strings.Contains(env, "\nOVERWRITE_SETTING_Site_Name=Only $5\n") || !strings.Contains(env, "\nMONGO_URL=mongodb://rocketchat:SECRET-") {
		t.Errorf("the environment of Rocket.Chat is\n%s", env)
	}
	if strings.Contains(env, "='") {
		t.Errorf("a quote is left in\n%s", env)
	}
}

func TestRefusals(t *testing.T) {
	for _, c := range []struct {
		name, scenario string
		change         func(*swarm.Input)
		reason         string
	}{
		{"SQLite", "minimal", func(in *swarm.Input) { in.Options.Replicas = map[string]int{"bridge": 2} }, "cannot share an SQLite database"},
		{"secret", "replicas", func(in *swarm.Input) { delete(in.Render.Secrets, secrets.ASToken) }, "the secret bridge/as_token is missing"},
		{"single", "replicas", func(in *swarm.Input) { in.Options.Replicas["postgres"] = 2 }, "postgres stays single"},
		{"unknown", "replicas", func(in *swarm.Input) { in.Options.Replicas["nginxx"] = 2 }, "no service nginxx"},
		{"many", "replicas", func(in *swarm.Input) { in.Options.Replicas["nginx"] = 900 }, "from 1 to 8"},
		{"name", "replicas", func(in *swarm.Input) { in.Options.Stack = "My Chat" }, "not a stack name"},
		{"state", "replicas", func(in *swarm.Input) { in.Options.State = "data" }, "no directory for data"},
		{"certificate", "replicas", func(in *swarm.Input) { in.Certificates = nil }, "no certificate for chat.example.org"},
		{"ACME", "minimal", func(in *swarm.Input) { in.Options.Replicas = map[string]int{"nginx": 2} }, "tls: acme"},
	} {
		t.Run(c.name, func(t *testing.T) {
			in := input(t, c.scenario)
			in.Options.Replicas = map[string]int{}
			c.change(&in)
			_, err := swarm.Render(in)
			refused, ok := errors.AsType[*swarm.RefusedError](err)
			if !ok || !strings.Contains(refused.Reason, c.reason) || refused.Hint() == "" {
				t.Errorf("%v", err)
			}
		})
	}
}
