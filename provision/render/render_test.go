package render_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/compose-spec/compose-go/v2/cli"
	"go.yaml.in/yaml/v3"

	"appliance/bridge/config"
	"appliance/bridge/secret"
	"appliance/provision/answers"
	"appliance/provision/certs"
	"appliance/provision/homeserver"
	"appliance/provision/render"
	"appliance/provision/secrets"
)

// scenarios are installations that differ as much as possible.
var scenarios = map[string]struct {
	set    []string
	memory int
	newer  bool // a Docker Engine that can check a starting container often
	ca     string
}{
	"minimal":   {set: []string{"domain=chat.example.org"}, memory: 1967, newer: true},
	"delegated": {set: []string{"domain=chat.example.org", "server_name=example.org", "tls=internal", "federation_private_networks=true", "http_port=8080", "https_port=8443", "federation_port=8448", "docker_subnet=10.213.0.0/24"}, memory: 8000},
	"attached": { // to an external Synapse and an external Rocket.Chat
		set: []string{
			"domain=bridge.example.org", "homeserver=external", "homeserver_url=https://matrix.example.org", "server_name=example.org",
			"rocketchat=external", "rocketchat_url=https://chat.example.org/", "rocketchat_user_id=aobEdbYhXfu5hkeqG",
			"rocketchat_token_file=/root/token", "rocketchat_create_token_secret_file=/root/secret",
		}, memory: 1967, newer: true,
	},
	"attached-homeserver": {
		set: []string{"domain=chat.example.org", "homeserver=external", "homeserver_kind=dendrite", "homeserver_url=http://10.0.0.7:8008", "server_name=example.org", "https_port=8443", "tls=internal"}, memory: 4000, newer: true,
	},
	"attached-generic": {
		set: []string{"domain=chat.example.org", "homeserver=external", "homeserver_kind=generic", "ghost_prefix=acme_", "homeserver_url=https://matrix.example.org", "server_name=example.org"}, memory: 1967, newer: true,
	},
	"proxied": { // behind another web server, with a server name whose website lives elsewhere
		set: []string{
			"domain=chat.example.org", "server_name=example.org", "delegation=well-known", "tls=none", "listen_address=127.0.0.1", "http_port=8080", "trusted_proxies=127.0.0.1, 192.0.2.0/24",
		}, memory: 1967, newer: true,
	},
	"replicas": { // two bridge processes in the homeserver's PostgreSQL
		set: []string{"domain=chat.example.org", "bridge_database=bundled", "bridge_replicas=2"}, memory: 8000, newer: true,
	},
	"synapse": {
		set: []string{
			"domain=chat.example.org", "homeserver=synapse", "synapse_admin=true", "metrics=true", "monitoring=true", "traces_endpoint=http://collector:4318/v1/traces", "traces_headers_file=/etc/headers", "namespace=prefixed", "mongo_url=mongodb://u:p@db.example.org/rc?replicaSet=rs0",
			"acme_directory=https://ca.example.org/dir", "acme_ca_file=/etc/ca.pem", "email=ops@example.org", "acme_eab_key_id=customer-7", "acme_eab_hmac_file=/etc/hmac",
		}, memory: 64000, newer: true, ca: "-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n",
	},
}

func input(t *testing.T, name string) render.Input {
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
	return render.Input{
		Answers: a, Secrets: fixed(), Project: "appliance", Image: "appliance-program:0123456789ab", CA: []byte(s.ca), EABKey: []byte("c2VjcmV0\n"), TraceHeaders: []byte("Authorization: Bearer x\n"),
		Host: render.Host{MemoryMB: s.memory, StartInterval: s.newer},
	}
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

func tree(t *testing.T, name string) render.Files {
	t.Helper()
	files, err := render.Tree(input(t, name))
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func TestGolden(t *testing.T) {
	for name := range scenarios {
		t.Run(name, func(t *testing.T) {
			files := tree(t, name)
			dir := filepath.Join("testdata", name)
			if os.Getenv("UPDATE_GOLDEN") != "" {
				update(t, dir, files)
			}
			for path, f := range files {
				want, err := os.ReadFile(filepath.Join(dir, golden(path)))
				if err != nil || !bytes.Equal(want, f.Data) {
					t.Errorf("%s differs from %s; see the difference with: make golden && git diff (%v)", path, dir, err)
				}
			}
			entries, _ := os.ReadDir(dir)
			if len(entries) != len(files) {
				t.Errorf("%d golden files, %d rendered", len(entries), len(files))
			}
		})
	}
}

// golden returns the flat name of a golden file, without a leading dot that would hide it.
func golden(path string) string { return strings.ReplaceAll(strings.TrimPrefix(path, "."), "/", "_") }

func update(t *testing.T, dir string, files render.Files) {
	t.Helper()
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for path, f := range files {
		if err := os.WriteFile(filepath.Join(dir, golden(path)), f.Data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func TestTheSameInputGivesTheSameBytes(t *testing.T) {
	for name := range scenarios {
		if !reflect.DeepEqual(tree(t, name), tree(t, name)) {
			t.Errorf("%s differs from itself", name)
		}
	}
}

func TestTheBridgeReadsWhatIsRendered(t *testing.T) {
	in := input(t, "minimal")
	live := config.Default().Live
	live.Enabled, live.LogLevel = false, "debug"
	live.Servers = config.Servers{Allow: []string{"*.example.org"}, Deny: []string{"bad.example.org"}}
	live.Users.Deny = []string{"@bad:example.org"}
	in.Live = &live
	files, err := render.Tree(in)
	if err != nil {
		t.Fatal(err)
	}
	got, err := config.Parse("bridge.yaml", files["config/bridge/bridge.yaml"].Data)
	if err != nil {
		t.Fatal(err)
	}
	if want := render.Bridge(in); !reflect.DeepEqual(got, want) {
		t.Errorf("rendered %+v\n    read %+v", want, got)
	}
}

func TestTheCertificateServiceReadsWhatIsRendered(t *testing.T) {
	name := filepath.Join(t.TempDir(), "certs.yaml")
	if err := os.WriteFile(name, tree(t, "synapse")["config/certs/certs.yaml"].Data, 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := certs.LoadConfig(name)
	if err != nil || c.CAFile != "/etc/appliance-ca/acme-ca.pem" || c.Rehearse != "" || !slices.Equal(c.Hosts, []string{"chat.example.org"}) {
		t.Errorf("%+v, %v", c, err)
	}
}

func TestEveryYAMLFileHasNoKeyTwice(t *testing.T) {
	for name := range scenarios {
		for path, f := range tree(t, name) {
			if filepath.Ext(path) != ".yaml" {
				continue
			}
			var v map[string]any
			if err := yaml.Unmarshal(f.Data, &v); err != nil || len(v) == 0 {
				t.Errorf("%s: %s: %v", name, path, err)
			}
		}
	}
}

func TestComposeReadsWhatIsRendered(t *testing.T) {
	for name := range scenarios {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			files := tree(t, name)
			for _, path := range []string{"compose.yaml", ".env", "rocketchat.env"} {
				if err := os.WriteFile(filepath.Join(dir, path), files[path].Data, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			o, err := cli.NewProjectOptions([]string{filepath.Join(dir, "compose.yaml")}, cli.WithWorkingDirectory(dir), cli.WithEnvFiles(), cli.WithDotEnv,
				cli.WithDefaultProfiles(render.Profiles(input(t, name).Answers)...))
			if err != nil {
				t.Fatal(err)
			}
			p, err := o.LoadProject(context.WithoutCancel(t.Context()))
			if err != nil {
				t.Fatal(err)
			}
			for service, c := range p.Services {
				if c.Restart != "unless-stopped" || c.HealthCheck == nil || c.MemLimit == 0 || !slices.Contains(c.CapDrop, "ALL") ||
					!slices.Contains(c.SecurityOpt, "no-new-privileges:true") || c.Logging == nil || c.Privileged ||
					!c.ReadOnly && service != "rocketchat" { // whose image writes to its own directories
					t.Errorf("%s is not guarded as all services are", service)
				}
				if len(c.Ports) > 0 != (service == "nginx") {
					t.Errorf("%s publishes %v", service, c.Ports)
				}
				for _, v := range c.Volumes {
					if strings.Contains(v.Source, "docker.sock") {
						t.Errorf("%s mounts the Docker socket", service)
					}
				}
			}
			if want := render.Services(input(t, name).Answers); !slices.Equal(slices.Sorted(maps.Keys(p.Services)), want) {
				t.Errorf("services %v, want %v", slices.Sorted(maps.Keys(p.Services)), want)
			}
			if !input(t, name).Answers.BundledRocketChat() {
				return
			}
			account := *p.Services["rocketchat"].Environment["INITIAL_USER"]
			if !json.Valid([]byte(account)) || !strings.Contains(account, `"_id":"rcmxbridge0000001"`) {
				t.Errorf("INITIAL_USER came out as %s", account)
			}
		})
	}
}

func TestOnlyRootAndItsReaderSeeASecret(t *testing.T) {
	for name := range scenarios {
		for path, f := range tree(t, name) {
			if bytes.Contains(f.Data, []byte("SECRET-")) && f.Mode&0o077 != 0 {
				t.Errorf("%s: %s holds a secret and has mode %v", name, path, f.Mode)
			}
		}
	}
}

func TestLiveKeysDoNotRestartTheBridge(t *testing.T) {
	in := input(t, "minimal")
	before, _ := render.Tree(in)
	in.Live = &config.Live{Enabled: false, LogLevel: "debug"}
	after, _ := render.Tree(in)
	if !bytes.Equal(before[".env"].Data, after[".env"].Data) {
		t.Error("a live key changed .env, so Compose would restart the bridge")
	}
	in.Answers.Domain = "other.example.org"
	other, _ := render.Tree(in)
	if bytes.Equal(before[".env"].Data, other[".env"].Data) {
		t.Error("another domain did not change .env")
	}
}

func TestPresenceReachesTheHomeserverAndTheBridge(t *testing.T) {
	there := regexp.MustCompile(`presence:\n +(enabled|enable_inbound): true\n`)
	for _, kind := range homeserver.Bundled() {
		in := input(t, "minimal")
		in.Answers.Homeserver = kind
		in.Live = &config.Live{Enabled: true, LogLevel: "info"} // a bridge.yaml that was there before
		for _, want := range []bool{false, true} {
			in.Answers.Presence = want
			files, err := render.Tree(in)
			if err != nil {
				t.Fatal(err)
			}
			on := false
			for name, f := range files {
				on = on || strings.HasPrefix(name, "config/homeserver/") && there.Match(f.Data)
			}
			bridge := bytes.Contains(files["config/bridge/bridge.yaml"].Data, fmt.Appendf(nil, "\npresence: %v\n", want))
			if on != want || !bridge {
				t.Errorf("%s, presence %v: the homeserver has %v, the bridge the right one: %v", kind, want, on, bridge)
			}
		}
	}
}

// A memory limit set by the operator reaches the service and the runtime inside it; the other
// services keep their shares.
func TestMemoryLimitsReachTheServices(t *testing.T) {
	in := input(t, "minimal")
	plain, err := render.Tree(in)
	if err != nil {
		t.Fatal(err)
	}
	in.Answers.MemoryLimits = "homeserver=1000,rocketchat=2000"
	files, err := render.Tree(in)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"\nHOMESERVER_MEMORY=1000m\n", "\nHOMESERVER_GOMEMLIMIT=900MiB\n", "\nROCKETCHAT_MEMORY=2000m\n"} {
		if !bytes.Contains(files[".env"].Data, []byte(want)) {
			t.Errorf("no %q in\n%s", want, files[".env"].Data)
		}
	}
	if !bytes.Contains(files["rocketchat.env"].Data, []byte("max-old-space-size=1500")) {
		t.Errorf("the heap of Rocket.Chat:\n%s", files["rocketchat.env"].Data)
	}
	mongo := regexp.MustCompile(`\nMONGO_MEMORY=.*\n`)
	if have := mongo.Find(files[".env"].Data); have == nil || !bytes.Equal(have, mongo.Find(plain[".env"].Data)) {
		t.Errorf("MongoDB has %q", have)
	}
}

func TestMailAndRegistrationReachRocketChat(t *testing.T) {
	in := input(t, "minimal")
	plain, err := render.Tree(in)
	if err != nil || bytes.Contains(plain["rocketchat.env"].Data, []byte("SMTP")) || bytes.Contains(plain["rocketchat.env"].Data, []byte("REG_TOKEN")) {
		t.Errorf("what nobody asked for: %v", err)
	}
	in.Answers.SMTPHost, in.Answers.SMTPPort, in.Answers.SMTPUsername = "mail.example.org", 465, "chat"
	in.SMTPPassword, in.RegistrationToken = []byte("pa$$ #word"), []byte("dG9rZW4=")
	files, err := render.Tree(in)
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{
		"REG_TOKEN='dG9rZW4='", "OVERWRITE_SETTING_SMTP_Protocol=smtps", "OVERWRITE_SETTING_SMTP_Host=mail.example.org", "OVERWRITE_SETTING_SMTP_Port=465",
		"OVERWRITE_SETTING_SMTP_Username='chat'", "OVERWRITE_SETTING_SMTP_Password='pa$$ #word'", "OVERWRITE_SETTING_From_Email='admin@chat.example.org'",
	} {
		if !strings.Contains(string(files["rocketchat.env"].Data), "\n"+line+"\n") {
			t.Errorf("no %s in\n%s", line, files["rocketchat.env"].Data)
		}
	}
}

func TestTheFirstPasswordIsNotKept(t *testing.T) {
	in := input(t, "minimal")
	for bootstrapped, want := range map[bool]bool{false: true, true: false} {
		in.Bootstrapped = bootstrapped
		files, err := render.Tree(in)
		if err != nil {
			t.Fatal(err)
		}
		if got := bytes.Contains(files["rocketchat.env"].Data, []byte("ADMIN_PASS")); got != want {
			t.Errorf("bootstrapped %v: the password is there: %v", bootstrapped, got)
		}
	}
}

func TestAllServicesFitASmallHost(t *testing.T) {
	total := 0
	for line := range strings.Lines(string(tree(t, "minimal")[".env"].Data)) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		if strings.HasSuffix(key, "_MEMORY") {
			n := 0
			for _, c := range strings.TrimSuffix(value, "m") {
				n = n*10 + int(c-'0')
			}
			total += n
		}
	}
	if total == 0 || total > 2048+1024 {
		t.Errorf("limits add up to %d MB", total)
	}
}

// As the manual says, homeservers report to nobody, and Rocket.Chat's report is left on, because a
// workspace without it becomes read-only.
func TestOnlyRocketChatReports(t *testing.T) {
	seen := map[string]bool{}
	for name := range scenarios {
		files := tree(t, name)
		var dendrite struct {
			Global struct {
				Report struct{ Enabled *bool } `yaml:"report_stats"`
			}
		}
		var synapse struct {
			Report *bool `yaml:"report_stats"`
		}
		for file, c := range map[string]struct {
			to      any
			reports func() *bool
		}{
			"config/homeserver/dendrite.yaml":   {&dendrite, func() *bool { return dendrite.Global.Report.Enabled }},
			"config/homeserver/homeserver.yaml": {&synapse, func() *bool { return synapse.Report }},
		} {
			f, there := files[file]
			if !there {
				continue
			}
			seen[file] = true
			if err := yaml.Unmarshal(f.Data, c.to); err != nil {
				t.Fatal(err)
			}
			if on := c.reports(); on == nil || *on {
				t.Errorf("%s: %s does not switch off that the homeserver reports", name, file)
			}
		}
		for line := range strings.Lines(string(files["rocketchat.env"].Data)) {
			if strings.Contains(line, "Statistics") {
				t.Errorf("%s: the report of Rocket.Chat is decided here: %s", name, line)
			}
		}
	}
	if len(seen) != 2 {
		t.Errorf("only %v was looked at", seen)
	}
}

// TestHomeserversAskNoNeighbours reads the list as Dendrite does: another server chooses
// its own address, so no address of a closed network may be contacted.
func TestHomeserversAskNoNeighbours(t *testing.T) {
	var dendrite struct {
		Federation struct {
			Deny []string `yaml:"deny_networks"`
		} `yaml:"federation_api"`
	}
	var synapse struct {
		Deny []string `yaml:"ip_range_blacklist"`
	}
	for file, to := range map[string]any{"config/homeserver/dendrite.yaml": &dendrite, "config/homeserver/homeserver.yaml": &synapse} {
		name := map[bool]string{true: "minimal", false: "synapse"}[to == any(&dendrite)]
		if err := yaml.Unmarshal(tree(t, name)[file].Data, to); err != nil {
			t.Fatal(err)
		}
	}
	for server, list := range map[string][]string{"Dendrite": dendrite.Federation.Deny, "Synapse": synapse.Deny} {
		denied := func(address string) bool {
			return slices.ContainsFunc(list, func(network string) bool {
				_, n, err := net.ParseCIDR(network)
				return err == nil && n.Contains(net.ParseIP(address))
			})
		}
		for _, closed := range []string{
			"0.0.0.0", "0.1.2.3", "10.1.1.1", "127.0.0.1", "127.9.9.9", "172.18.0.2", "192.168.1.1", "169.254.169.254", "100.64.0.1", "198.18.0.1", "198.19.255.1",
			"224.0.0.1", "240.0.0.1", "255.255.255.255", "::", "::1", "fe80::1", "fe80:0:0:1::1", "febf::1", "fd00::1", "ff02::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1",
		} {
			if !denied(closed) {
				t.Errorf("%s asks %s", server, closed)
			}
		}
		for _, open := range []string{"1.1.1.1", "198.17.0.1", "198.20.0.1", "172.32.0.1", "2606:4700::1111", "64:ff9b::101:101"} {
			if denied(open) {
				t.Errorf("%s does not ask %s", server, open)
			}
		}
	}
}

// Two bridges on one homeserver, or one beside an older bridge, can have distinct names.
func TestTheBridgeIsCalledWhatTheAnswersSay(t *testing.T) {
	for _, c := range []struct{ set, id, bot string }{
		{"", "rocketchat", "rocket.cat"},
		{"ghost_prefix=acme_", "acme_rocketchat", "acme_rocket.cat"},
		{"ghost_prefix=acme_ appservice_id=chat-2", "chat-2", "acme_rocket.cat"},
		{"appservice_id=chat-2 appservice_bot=chatbot", "chat-2", "chatbot"},
	} {
		d := answers.NewDraft()
		for _, set := range append(strings.Fields(c.set), "domain=chat.example.org", "homeserver=external", "homeserver_url=https://matrix.example.org", "server_name=example.org") {
			d.Assign(set)
		}
		a, err := d.Finish()
		if err != nil {
			t.Fatal(err)
		}
		set, _, err := secrets.Prepare(t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		files, err := render.Tree(render.Input{Answers: a, Secrets: set, Project: "p", Image: "i", Host: render.Host{MemoryMB: 2000}})
		if err != nil {
			t.Fatal(err)
		}
		registration, bridge := string(files[render.Registration].Data), string(files["config/bridge/bridge.yaml"].Data)
		for _, line := range []string{"id: \"" + c.id + "\"\n", "sender_localpart: \"" + c.bot + "\"\n"} {
			if !strings.Contains(registration, line) {
				t.Errorf("%q: the registration lacks %s:\n%s", c.set, line, registration)
			}
		}
		for _, line := range []string{"  id: " + c.id + "\n", "  bot: " + c.bot + "\n"} {
			if !strings.Contains(bridge, line) {
				t.Errorf("%q: bridge.yaml lacks %s", c.set, line)
			}
		}
	}
}

// If the certificate of an external MongoDB is from the operator's own authority, Rocket.Chat gets
// the CA file, is configured to use it, and is recreated when the file changes.
func TestAMongoDBWithAnAuthorityOfItsOwn(t *testing.T) {
	in := input(t, "minimal")
	in.Answers.MongoCAFile = "/root/ca.pem"
	labels := map[string]bool{}
	for _, authorities := range []string{"ONE\n", "TWO\n"} {
		for address, want := range map[string]string{
			"mongodb://u:p@db.example.org":                               "mongodb://u:p@db.example.org/?tls=true&tlsCAFile=/etc/appliance/mongo_ca.pem",
			"mongodb://u:p@db.example.org/rc":                            "mongodb://u:p@db.example.org/rc?tls=true&tlsCAFile=/etc/appliance/mongo_ca.pem",
			"mongodb://u:p%40x@a:1,b:2/rc?replicaSet=rs0":                "mongodb://u:p%40x@a:1,b:2/rc?replicaSet=rs0&tls=true&tlsCAFile=/etc/appliance/mongo_ca.pem",
			"mongodb://u:p@db.example.org/rc?replicaSet=rs0&ssl=true":    "mongodb://u:p@db.example.org/rc?replicaSet=rs0&ssl=true&tlsCAFile=/etc/appliance/mongo_ca.pem",
			"mongodb+srv://u:p@db.example.org/rc?authSource=admin&w=all": "mongodb+srv://u:p@db.example.org/rc?authSource=admin&w=all&tlsCAFile=/etc/appliance/mongo_ca.pem",
		} {
			in.Answers.MongoURL, in.MongoCA = address, []byte(authorities)
			files, err := render.Tree(in)
			if err != nil {
				t.Fatal(err)
			}
			if env := string(files["rocketchat.env"].Data); !strings.Contains(env, "\nMONGO_URL='"+want+"'\n") {
				t.Errorf("%s: not %s in\n%s", address, want, env)
			}
			if f := files["config/rocketchat/mongo_ca.pem"]; string(f.Data) != authorities || f.Mode != 0o644 {
				t.Errorf("the authorities are %q with mode %o", f.Data, f.Mode)
			}
			var doc struct {
				Services map[string]struct {
					Volumes []string
					Labels  map[string]string
				}
			}
			if err := yaml.Unmarshal(files["compose.yaml"].Data, &doc); err != nil {
				t.Fatal(err)
			}
			if rc := doc.Services["rocketchat"]; !slices.Equal(rc.Volumes, []string{"./config/rocketchat:/etc/appliance:ro"}) || rc.Labels["appliance.config"] != "${ROCKETCHAT_CONFIG:?}" {
				t.Errorf("Rocket.Chat has %+v", rc)
			}
			_, label, _ := strings.Cut(string(files[".env"].Data), "\nROCKETCHAT_CONFIG=")
			label, _, _ = strings.Cut(label, "\n")
			labels[label] = true
		}
	}
	if len(labels) != 2 || labels[""] {
		t.Errorf("other authorities do not recreate it: %v", labels)
	}
}

// Rocket.Chat is configured to use the operator's storage for files, and serves them itself.
// With bundled it uses its database, and without an answer it decides itself.
func TestWhereFilesGoReachesRocketChat(t *testing.T) {
	in := input(t, "minimal")
	settings := func() string {
		t.Helper()
		files, err := render.Tree(in)
		if err != nil {
			t.Fatal(err)
		}
		for name, f := range files {
			if strings.Contains(string(f.Data), "s3cret") && (name != "rocketchat.env" || f.Mode != 0o600) {
				t.Errorf("the secret key is in %s with mode %o", name, f.Mode)
			}
		}
		var out []string
		for line := range strings.Lines(string(files["rocketchat.env"].Data)) {
			if strings.Contains(line, "_FileUpload_") || strings.HasPrefix(line, "NODE_EXTRA") {
				out = append(out, strings.TrimPrefix(strings.TrimSpace(line), "OVERWRITE_SETTING_FileUpload_"))
			}
		}
		return strings.Join(out, " ")
	}
	if got := settings(); got != "" {
		t.Errorf("without an answer: %s", got)
	}
	in.Answers.Uploads = "bundled"
	if got := settings(); got != "Storage_Type=GridFS" {
		t.Errorf("bundled: %s", got)
	}
	in.Answers.Uploads, in.UploadsAccessKey, in.UploadsSecretKey, in.UploadsCA = "s3://s3.example.org:9000/files", "AKIA1", secret.New("s3cret"), []byte("AUTHORITIES\n")
	want := "Storage_Type=AmazonS3 S3_Bucket='files' S3_BucketURL='https://s3.example.org:9000' S3_Region='us-east-1' S3_ForcePathStyle=true S3_SignatureVersion=v4 " +
		"S3_AWSAccessKeyId='AKIA1' S3_AWSSecretAccessKey='s3cret' S3_Proxy_Uploads=true S3_Proxy_Avatars=true S3_Proxy_UserDataFiles=true NODE_EXTRA_CA_CERTS=/etc/appliance/uploads_ca.pem"
	if got := settings(); got != want {
		t.Errorf("S3:\n%s, want\n%s", got, want)
	}
	files, err := render.Tree(in)
	if err != nil || string(files["config/rocketchat/uploads_ca.pem"].Data) != "AUTHORITIES\n" || !strings.Contains(string(files["compose.yaml"].Data), "./config/rocketchat:/etc/appliance:ro") {
		t.Errorf("its authorities do not go along: %v", err)
	}
}
