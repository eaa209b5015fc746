package answers_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"appliance/provision/answers"
	"appliance/provision/homeserver"
)

func TestFieldsAreExactlyTheKeysOfTheFile(t *testing.T) {
	var keys, tags []string
	for _, f := range answers.Fields {
		keys = append(keys, f.Key)
	}
	for _, f := range reflect.VisibleFields(reflect.TypeFor[answers.Answers]()) {
		if !f.Anonymous { // its fields are listed too
			tags = append(tags, f.Tag.Get("yaml"))
		}
	}
	slices.Sort(keys)
	slices.Sort(tags)
	if !slices.Equal(keys, tags) {
		t.Errorf("fields %v\nkeys   %v", keys, tags)
	}
}

func TestEveryFieldIsExplainedAndHasAGoodDefault(t *testing.T) {
	for _, f := range answers.Fields {
		if f.Ask == "" || f.Help == "" {
			t.Errorf("%s has no question or no help", f.Key)
		}
		var a answers.Answers
		if f.Default == "" {
			continue
		}
		if err := f.Set(&a, f.Default); err != nil || f.Get(&a) != f.Default {
			t.Errorf("%s: default %q: %v", f.Key, f.Default, err)
		}
		if f.Check != nil && f.Check(f.Default) != nil {
			t.Errorf("%s: default %q is refused", f.Key, f.Default)
		}
	}
}

func TestOneAnswerIsEnough(t *testing.T) {
	d := answers.NewDraft()
	d.Assign("domain=chat.example.org")
	a, err := d.Finish()
	if err != nil {
		t.Fatal(err)
	}
	if a.ServerName != "chat.example.org" || a.AdminEmail != "admin@chat.example.org" || a.Homeserver != homeserver.Bundled()[0] ||
		a.TLS != answers.ACME || a.HTTPSPort != 443 || a.SiteURL() != "https://chat.example.org" || len(a.Hosts()) != 1 {
		t.Errorf("%+v", a)
	}
}

func TestBadAnswers(t *testing.T) {
	for answer, want := range map[string]string{
		"domain=ftp://chat.example.org":     `domain: must be a bare name, without ftp:// (got "ftp://chat.example.org") in --set`,
		"domain=https://Chat.example.org/x": `domain: must be a bare name, without https:// (got "https://Chat.example.org/x") in --set`,
		"domain=203.0.113.7":                `domain: must be a DNS name, not an IP address: certificates and Matrix addresses need a name (got "203.0.113.7") in --set`,
		"domain=[2001:db8::1]":              `domain: must be a DNS name, not an IP address: certificates and Matrix addresses need a name (got "[2001:db8::1]") in --set`,
		"domain=chat.example.org:8443":      `domain: must be a bare name, without a port (got "chat.example.org:8443") in --set`,
		"domain=chat.example.org/x":         `domain: must be a bare name, without a path (got "chat.example.org/x") in --set`,
		"domain=@alice:example.org":         `domain: must be a name, not an address with @ (got "@alice:example.org") in --set`,
		"domain=localhost":                  `domain: must have at least two parts, such as chat.example.org (got "localhost") in --set`,
		"domain=chat..example.org":          `domain: has one dot too many (got "chat..example.org") in --set`,
		"domain=":                           `domain: is required in --set`,
		"email=nobody":                      `email: is not an e-mail address (got "nobody") in --set`,
		"homeserver=conduit":                `homeserver: must be one of dendrite, synapse, external (got "conduit") in --set`,
		"admin_username=rocket.cat":         `admin_username: is reserved (got "rocket.cat") in --set`,
		"admin_username=Bob Smith":          `admin_username: must be lower-case letters, digits, dots, dashes and underscores, starting with a letter or digit (got "Bob Smith") in --set`,
		"tls=files":                         `tls_cert_file: is required with tls: files; tls_key_file: is required with tls: files`,
		"acme_directory=http://x":           `acme_directory: must be an https URL (got "http://x") in --set`,
		"acme_ca_file=ca.pem":               `acme_ca_file: must be an absolute path (got "ca.pem") in --set`,
		"mongo_url=postgres://x":            `mongo_url: must start with mongodb:// or mongodb+srv:// (got "postgres://x") in --set`,
		"mongo_url=mongodb://db/rc?x='y'":   `mongo_url: must not contain spaces or quotes (got "mongodb://db/rc?x='y'") in --set`,
		"federation_port=80":                `federation_port: must differ from http_port (got "80") in --set`,
		"docker_subnet=10.213.0.1/24":       `docker_subnet: must be the first address of the network: 10.213.0.0/24 (got "10.213.0.1/24") in --set`,
		"docker_subnet=8.8.8.0/24":          `docker_subnet: must be in a private network, such as 10.0.0.0/8 (got "8.8.8.0/24") in --set`,
		"acme_eab_key_id=x":                 `acme_eab_hmac_file: is required too: a key ID and its key belong together`,
		"synapse_admin=true":                `synapse_admin: is for homeserver: synapse only: others have no such interface (got "true") in --set`,
		"http_port=443":                     `https_port: must differ from http_port (got "443")`,
		"http_port=web":                     `http_port: must be a whole number (got "web") in --set`,
		"http_port=0":                       `http_port: must be a port between 1 and 65535 (got "0") in --set`,
		"federation_private_networks=si":    `federation_private_networks: must be true or false (got "si") in --set`,
		"traces_endpoint=collector:4318":    `traces_endpoint: must be an http or https URL such as http://collector:4318/v1/traces (got "collector:4318") in --set`,
		"traces_endpoint=http://c:4318/":    `traces_endpoint: must not end in a slash: collectors of OpenTelemetry expect /v1/traces at its end (got "http://c:4318/") in --set`,
		"traces_headers_file=/root/headers": `traces_headers_file: belongs to traces_endpoint: set both or neither (got "/root/headers") in --set`,
		"colour=red":                        `colour: unknown key in --set`,
		"memory_limits=certs=64":            `memory_limits: must be services and MB, such as homeserver=1024,rocketchat=2048; the services are bridge, homeserver, mongo, nginx, postgres, rocketchat (got "certs=64") in --set`,
		"memory_limits=bridge=1g":           `memory_limits: must give bridge a number of MB, at least 128 (got "bridge=1g") in --set`,
		"memory_limits=bridge=9,mongo=900":  `memory_limits: must give bridge a number of MB, at least 128 (got "bridge=9,mongo=900") in --set`,
		"memory_limits=mongo=900,mongo=901": `memory_limits: names mongo twice (got "mongo=900,mongo=901") in --set`,
		"server-name=example.org":           `server-name: unknown key, did you mean server_name? in --set`,
		"domain":                            `domain: must be written as key=value in --set`,
	} {
		d := answers.NewDraft()
		d.Set("domain", "chat.example.org", "--set")
		d.Assign(answer)
		_, err := d.Finish()
		if err == nil || err.Error() != want {
			t.Errorf("%s:\n got %v\nwant %s", answer, err, want)
		}
	}
}

// The error about an answer that may hold a password does not show the password.
func TestABadAnswerDoesNotShowItsPassword(t *testing.T) {
	for answer, want := range map[string]string{
		"bridge_database=postgres://bridge:hush@db.example.org": `(got "postgres://bridge:xxxxx@db.example.org")`,
		"bridge_database=postgres:bridge:hush":                  `postgres://user:password@host/name in --set`,
		"bridge_database=postgres://b:hush%@db.example.org/x":   `postgres://user:password@host/name in --set`,
		"bridge_database=mysql":                                 `(got "mysql")`,
		"homeserver_database=postgres://h:hush@127.0.0.1/x":     `(got "postgres://h:xxxxx@127.0.0.1/x")`,
		"mongo_url=https://rc:hush@db.example.org/rc":           `(got "https://rc:xxxxx@db.example.org/rc")`,
		"rocketchat_settings={\"SMTP_Password\":\"hush\"":       `rocketchat_settings: `,
		"rocketchat_settings.SMTP_Password={hush":               `rocketchat_settings: `,
	} {
		d := answers.NewDraft()
		d.Set("domain", "chat.example.org", "--set")
		d.Assign(answer)
		_, err := d.Finish()
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "hush") {
			t.Errorf("%s: %v; want %q", answer, err, want)
		}
	}
}

func TestWhatIsMeantIsTaken(t *testing.T) {
	for _, c := range []struct{ key, typed, want string }{
		{"domain", "  Chat.Example.org. ", "chat.example.org"},
		{"domain", "HTTPS://chat.example.org/", "chat.example.org"},
		{"domain", "http://chat.example.org", "chat.example.org"},
		{"domain", "chat.ux.test.", "chat.ux.test"},
		{"domain", "chat.m\u00fcnchen.example", "chat.xn--mnchen-3ya.example"},
		{"domain", "chat.M\u00dcNCHEN.example", "chat.xn--mnchen-3ya.example"},
		{"domain", "\u4f8b\u3048.\u30c6\u30b9\u30c8", "xn--r8jz45g.xn--zckzah"},
		{"server_name", "Example.ORG", "example.org"},
		{"email", "Ops@Example.ORG", "Ops@example.org"},
		{"admin_username", "Admin", "admin"},
		{"homeserver", "Synapse", "synapse"},
		{"homeserver_url", "matrix.example.org/", "https://matrix.example.org"},
		{"homeserver_url", "HTTP://matrix.example.org:8008", "http://matrix.example.org:8008"},
		{"domain", "not a name", "not a name"}, // as it was typed
	} {
		d := answers.NewDraft()
		d.Set(c.key, c.typed, "--set")
		f, _ := answers.Lookup(c.key)
		if got := f.Get(&d.Answers); got != c.want {
			t.Errorf("%s=%s: %q, want %q", c.key, c.typed, got, c.want)
		}
	}
}

// A kept draft holds the answers to questions, but no secrets and nothing that was set elsewhere.
func TestADraftIsKeptForItsOwner(t *testing.T) {
	file := filepath.Join(t.TempDir(), "state", "draft.yaml")
	d := answers.NewDraft()
	d.Set("domain", "chat.example.org", answers.Asked)
	d.Set("admin_username", "chief", "--set")
	d.Set("mongo_url", "mongodb://me:hunter2@db.example.org/rc", answers.Asked)
	d.Set("bridge_database", "postgres://me:hunter2@db.example.org/bridge", answers.Asked)
	if err := d.Keep(file); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(file)
	if err != nil || string(data) != "domain: chat.example.org\n" {
		t.Errorf("%s %v", data, err)
	}
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v %v", info, err)
	}
	again := answers.NewDraft()
	if n := again.Resume(file); n != 1 || again.Domain != "chat.example.org" || !again.Said("domain") {
		t.Errorf("%d %+v", n, again.Answers)
	}
	again = answers.NewDraft()
	again.Assign("domain=other.example.org")
	if n := again.Resume(file); n != 0 || again.Domain != "other.example.org" {
		t.Errorf("%d %+v", n, again.Answers)
	}
	for _, broken := range []string{"domain: [", "domain: https://x/y", "colour: red", ""} {
		if err := os.WriteFile(file, []byte(broken), 0o600); err != nil {
			t.Fatal(err)
		}
		again = answers.NewDraft()
		if n := again.Resume(file); n != 0 || again.Bad() {
			t.Errorf("%q: %d", broken, n)
		}
	}
}

// The wizard's notes fit beside the question on a narrow terminal.
func TestNotesAreShort(t *testing.T) {
	for _, f := range answers.Fields {
		if len(f.Note) > 58 || len(f.Means) > 0 && len(f.Means) != len(f.Choices) || f.Kind == answers.Choice && !f.Advanced && f.Means == nil {
			t.Errorf("%s: %q %q", f.Key, f.Note, f.Means)
		}
		if f.Kind == answers.Text && !f.Advanced && f.Note == "" {
			t.Errorf("%s has no note", f.Key)
		}
		for i, means := range f.Means {
			if n := len(f.Choices[i]) + len(means) + 5; n > 60 {
				t.Errorf("%s: %s: %d characters", f.Key, f.Choices[i], n)
			}
		}
	}
}

func TestEveryProblemIsNamedAtOnceWithItsPlace(t *testing.T) {
	name := filepath.Join(t.TempDir(), "a.yaml")
	if err := os.WriteFile(name, []byte("domain: https://x\nemial: a@b.c\nhttp_port: [80]\nemail: nope\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	d := answers.NewDraft()
	if err := d.File(name); err != nil {
		t.Fatal(err)
	}
	_, err := d.Finish()
	invalid, ok := errors.AsType[*answers.InvalidError](err)
	if !ok || len(invalid.Problems) != 4 {
		t.Fatalf("%v", err)
	}
	for i, want := range []string{"line 2", "line 3", "line 1", "line 4"} {
		if !strings.HasSuffix(invalid.Problems[i].Origin, want) {
			t.Errorf("%v is not from %s", invalid.Problems[i], want)
		}
	}
}

func TestASlipIsNamedWithItsLineAndAHint(t *testing.T) {
	for _, tc := range []struct{ file, want string }{
		{"domain: a.example.org\nemail a@example.org\ntls: internal\n", "line 2 has no colon"},
		{"domain a.example.org\nemail: a@example.org\n", "line 1 has no colon"},
		{"domain a.example.org\n", "line 1 has no colon"},
		{"domain:a.example.org\nemail: a@example.org\n", "line 1 has no space after its colon"},
		{"domain: a.example.org\n\temail: a@example.org\n", "line 2 begins with a tab"},
		{"\tdomain: a.example.org\n", "line 1 begins with a tab"},
		{"# mine\n\ndomain: a.example.org\n  email: a@example.org\ntls: internal\n", "line 4 is not indented as the first one is"},
		{"  domain: a.example.org\nemail: a@example.org\n", "line 2 is not indented as the first one is"},
		{"domain: a.example.org\nemail: [half\ntls: internal\n", "line 2 cannot be read: "},
		{"domain: a.example.org\nemail: \"half\ntls: internal\n", "line 2 cannot be read: "},
		{"- domain\n- email\n", "line 1 has no colon"},
		{strings.Repeat("#\n", 3000) + "domain a\n", "must be a list of lines such as domain: chat.example.org"},
	} {
		_, err := answers.Parse("my answers.yaml", []byte(tc.file))
		invalid, ok := errors.AsType[*answers.InvalidError](err)
		if !ok {
			t.Errorf("%q: %v", tc.file, err)
			continue
		}
		p := invalid.Problems[0]
		if !strings.HasPrefix(p.Reason, "is not YAML: "+tc.want) {
			t.Errorf("%q: it says %q, want %q", tc.file, p.Reason, tc.want)
		}
		if hint := fmt.Sprintf("${EDITOR:-vi} +%d 'my answers.yaml'", p.Line); p.Line > 0 && !strings.HasSuffix(p.Hint, hint) {
			t.Errorf("%q: the hint is %q, want %q", tc.file, p.Hint, hint)
		}
	}
}

func TestTheLastSourceWins(t *testing.T) {
	name := filepath.Join(t.TempDir(), "a.yaml")
	if err := os.WriteFile(name, []byte("domain: a.example.org\nhttp_port: 8080\nemail:\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	d := answers.NewDraft()
	if err := d.File(name); err != nil {
		t.Fatal(err)
	}
	d.Environ([]string{"APPLIANCE_DOMAIN=b.example.org", "APPLIANCE_HTTPS_PORT=8443"})
	d.Assign("domain=c.example.org")
	a, err := d.Finish()
	if err != nil || a.Domain != "c.example.org" || a.HTTPPort != 8080 || a.HTTPSPort != 8443 || a.SiteURL() != "https://c.example.org:8443" {
		t.Errorf("%+v, %v", a, err)
	}
}

func TestWhatIsSavedIsReadBackTheSame(t *testing.T) {
	d := answers.NewDraft()
	d.Assign("domain=chat.example.org")
	d.Assign("federation_private_networks=true")
	d.Assign("min_cpus=1")
	a, err := d.Finish()
	if err != nil {
		t.Fatal(err)
	}
	b, err := answers.Parse("saved", a.Marshal(""))
	if err != nil || a != b {
		t.Errorf("saved %+v\n read %+v, %v", a, b, err)
	}
}

func TestMissingNamesWhatHasNoDefault(t *testing.T) {
	if got := answers.NewDraft().Missing(); !slices.Equal(got, []string{"domain"}) {
		t.Errorf("%v", got)
	}
}

func TestSeveralBridgeProcessesNeedAPostgreSQL(t *testing.T) {
	for _, tc := range []struct {
		set  []string
		want string // "" when it is fine
	}{
		{[]string{"bridge_replicas=2"}, "bridge_replicas: needs bridge_database: bundled"},
		{[]string{"bridge_replicas=2", "bridge_database=bundled"}, ""},
		{[]string{"bridge_replicas=3", "bridge_database=postgres://bridge:pw@db.example.org:5432/bridge?sslmode=require"}, ""},
		{[]string{"bridge_replicas=0"}, "bridge_replicas: must be a number from 1 to 8"},
		{[]string{"bridge_replicas=9", "bridge_database=bundled"}, "bridge_replicas: must be a number from 1 to 8"},
		{[]string{"bridge_database=mysql://db/bridge"}, "bridge_database: must be sqlite, bundled or a URL"},
		{[]string{"bridge_database=postgres://db"}, "bridge_database: must be sqlite, bundled or a URL"},
		{[]string{"bridge_database=bundled", "homeserver=external", "homeserver_url=https://m.example.org", "server_name=example.org"}, "bridge_database: needs a bundled homeserver"},
	} {
		d := answers.NewDraft()
		d.Assign("domain=chat.example.org")
		for _, s := range tc.set {
			d.Assign(s)
		}
		_, err := d.Finish()
		if tc.want == "" && err != nil || tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)) {
			t.Errorf("%v: %v, want %q", tc.set, err, tc.want)
		}
	}
}

func TestAnswersAboutAWebServerInFront(t *testing.T) {
	for _, one := range []struct{ set, bad string }{
		{"tls=none", ""},
		{"tls=none listen_address=10.0.0.4", "trusted_proxies"},
		{"tls=none listen_address=203.0.113.7 trusted_proxies=203.0.113.8", "listen_address"},
		{"tls=none listen_address=127.0.0.1 trusted_proxies=127.0.0.1", ""},
		{"tls=none listen_address=10.0.0.4 trusted_proxies=10.0.0.5,10.0.1.0/24", ""},
		{"trusted_proxies=127.0.0.1", "trusted_proxies"},
		{"trusted_proxies=0.0.0.0/0", "trusted_proxies"},
		{"trusted_proxies=proxy.example.org", "trusted_proxies"},
		{"delegation=srv server_name=example.org", "delegation"},
		{"delegation=srv server_name=example.org tls=files tls_cert_file=/c tls_key_file=/k", ""},
		{"delegation=well-known server_name=example.org", ""},
	} {
		d := answers.NewDraft()
		d.Assign("domain=chat.example.org")
		for set := range strings.FieldsSeq(one.set) {
			d.Assign(set)
		}
		_, err := d.Finish()
		var keys []string
		if invalid, ok := errors.AsType[*answers.InvalidError](err); ok {
			for _, p := range invalid.Problems {
				keys = append(keys, p.Key)
			}
		}
		if got := strings.Join(slices.Compact(keys), " "); got != one.bad {
			t.Errorf("%s: refused %q, want %q (%v)", one.set, got, one.bad, err)
		}
	}
}

func TestNoCertificateForAServerNameOfAnotherWebServer(t *testing.T) {
	for set, want := range map[string]string{
		"delegation=here": "chat.example.org example.org", "delegation=well-known": "chat.example.org",
		"delegation=srv tls=files tls_cert_file=/c tls_key_file=/k":                  "chat.example.org example.org",
		"tls=none listen_address=127.0.0.1 trusted_proxies=127.0.0.1 http_port=8080": "",
	} {
		d := answers.NewDraft()
		for one := range strings.FieldsSeq("domain=chat.example.org server_name=example.org " + set) {
			d.Assign(one)
		}
		a, err := d.Finish()
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.Join(a.Hosts(), " "); got != want || a.WellKnown() != `{"m.server":"chat.example.org:443"}` || a.SiteURL() != "https://chat.example.org" {
			t.Errorf("%s: certificates of %q, want %q; %s, %s", set, got, want, a.WellKnown(), a.SiteURL())
		}
	}
}

// A MongoDB address that Rocket.Chat could not use is refused, and the error does not show
// its password.
func TestTheAddressOfAMongoDB(t *testing.T) {
	const ca = "/root/ca.pem"
	for address, want := range map[string]string{ // "" means accepted
		"mongodb://db.example.org/rc":                                          "",
		"mongodb://u:s3cr%40t@a:27017,b:27018/rc?authSource=admin&tls=true":    "",
		"mongodb://u:s3cret@[2001:db8::1]:27017/rc":                            "",
		"mongodb+srv://u:s3cret@db.example.org/rc":                             "",
		"mongodb://u:s3cret@/rc":                                               "must name a host",
		"mongodb://u:s3c@ret@db.example.org/rc":                                "escaped, such as %40 for @",
		"mongodb://u:s3c/ret@db.example.org/rc":                                "escaped, such as %40 for @",
		"mongodb://u:s3c%ret@db.example.org/rc":                                "write %25 for one",
		"mongodb://u:s3cret@localhost/rc":                                      "localhost would be the container itself",
		"mongodb://u:s3cret@db.example.org,127.0.0.1:27017/rc":                 "127.0.0.1 would be the container itself",
		"mongodb://u:s3cret@[::1]:27017/rc":                                    "::1 would be the container itself",
		"mongodb://u:s3cret@0.0.0.0/rc":                                        "0.0.0.0 would be the container itself",
		"mongodb://u:s3cret@db.example.org/rc?tlsCAFile=/ca.pem":               "name the file as mongo_ca_file",
		"mongodb://u:s3cret@db.example.org/rc?tlscertificatekeyfile=/k.pem":    "must not have tlscertificatekeyfile",
		"mongodb://u:s3cret@db.example.org/rc?tlsAllowInvalidCertificates=1":   "say tlsInsecure=true",
		"mongodb://u:s3cret@db.example.org/rc?tls=yes":                         "must have tls once, as true or false",
		"mongodb://u:s3cret@db.example.org/rc?tls=true&tls=false":              "must have tls once, as true or false",
		"mongodb+srv://u:s3cret@a.example.org,b.example.org/rc":                "must name one host without a port",
		ca + " mongodb://u:s3cret@db.example.org/rc?tls=false":                 "the URL in mongo_url turns it off",
		ca + " mongodb://u:s3cret@db.example.org/rc?tls=true&tlsInsecure=true": "has tlsInsecure=true",
		ca + " mongodb://u:s3cret@db.example.org/rc":                           "",
		ca + " ": "applies only together with mongo_url",
	} {
		d := answers.NewDraft()
		d.Set("domain", "chat.example.org", "--set")
		before, after, two := strings.Cut(address, " ")
		if !two {
			before, after = "", before
		}
		d.Assign("mongo_url=" + after)
		d.Assign("mongo_ca_file=" + before)
		_, err := d.Finish()
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: %v; want %q", address, err, want)
		}
		if err != nil && strings.Contains(err.Error(), "s3c") {
			t.Errorf("the password is shown: %v", err)
		}
	}
}

// Storage for Rocket.Chat's files is configured like that for backups: with the keys in a file.
func TestWhereFilesGo(t *testing.T) {
	const keys = "uploads_key_file=/root/keys"
	for set, want := range map[string]string{ // "" means accepted
		"uploads=bundled": "",
		"uploads=s3://s3.example.org/files " + keys:                                                    "",
		"uploads=s3+http://10.0.0.7:9000/files/ " + keys:                                               "",
		"uploads=s3://s3.example.org/files":                                                            "uploads_key_file: is required with storage in uploads",
		"uploads=s3://s3.example.org " + keys:                                                          "must name the bucket",
		"uploads=s3://s3.example.org/files/night " + keys:                                              "must name a bucket and nothing below it",
		"uploads=s3://s3.example.org/Files " + keys:                                                    "lower-case letters",
		"uploads=s3://AKIA:s3cret@s3.example.org/fi " + keys:                                           "must hold no keys",
		"uploads=https://s3.example.org/files " + keys:                                                 "must be bundled or such as s3://",
		"uploads=s3://localhost:9000/files " + keys:                                                    "localhost would be the container itself",
		"uploads=bundled " + keys:                                                                      "uploads_key_file: needs external storage in uploads",
		"uploads=s3+http://10.0.0.7/files uploads_ca_file=/ca.pem " + keys:                             "s3+http has none",
		"uploads=s3://s3.example.org/files uploads_region=eu_1 " + keys:                                "must be such as eu-central-1",
		"uploads=s3://s3.example.org/files rocketchat_settings.FileUpload_Storage_Type=GridFS " + keys: "has FileUpload_Storage_Type, which the answer uploads decides",
		"uploads=s3://s3.example.org/files rocketchat_settings.FileUpload_MaxFileSize=1000 " + keys:    "",
		"rocketchat_settings.FileUpload_Storage_Type=AmazonS3":                                         "",
	} {
		d := answers.NewDraft()
		d.Set("domain", "chat.example.org", "--set")
		for _, one := range strings.Fields(set) {
			d.Assign(one)
		}
		_, err := d.Finish()
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: %v; want %q", set, err, want)
		}
		if err != nil && strings.Contains(err.Error(), "s3cret") {
			t.Errorf("the keys are shown: %v", err)
		}
	}
	for uploads, region := range map[string]string{"s3://s3.example.org/files": "us-east-1", "s3://s3.eu-central-1.amazonaws.com/files": "eu-central-1", "s3://s3.amazonaws.com/files": "us-east-1"} {
		if got, ok := (answers.UploadAnswers{Uploads: uploads}).Storage(); !ok || got.Region != region {
			t.Errorf("%s is in %+v", uploads, got)
		}
	}
}
