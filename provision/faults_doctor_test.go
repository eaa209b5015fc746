package provision_test

import (
	"cmp"
	"context"
	"crypto/ed25519"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"appliance/bridge/secret"
	"appliance/provision/answers"
	"appliance/provision/certs"
	"appliance/provision/doctor"
	"appliance/provision/finding"
	"appliance/provision/plan"
	"appliance/provision/stack"
)

// An installation is healthy until a test breaks something: it has a front door
// with real certificates, and a bridge that answers.
type installation struct {
	doctor.Target
	t        *testing.T
	door     map[string]string // path -> body
	bridge   map[string]string
	services map[string]plan.Service
	runtimes map[string]doctor.Runtime
	files    doctor.Files
	override error
	stale    map[string][]string
	free     uint64
	samples  []doctor.Sample
	now      time.Duration // offset from the real time
	last     time.Time     // backup
	formats  doctor.Databases
	units    doctor.Units
	chores   map[string]doctor.ChoreFailure
	refused  []doctor.Refusal
	carries  string // whether messages are carried, as bridge.yaml says
	key      ed25519.PrivateKey
	trust    *x509.CertPool
}

// installations counts the installations created so far.
var installations atomic.Int32

// insideAddress returns the address of an installation's bridge. No other bridge uses it, in
// this run of the tests or in a concurrent one.
func insideAddress() string {
	v := os.Getpid()<<8 | int(installations.Add(1))&255
	return fmt.Sprintf("127.%d.%d.%d", 64+v>>16&63, v>>8&255, v&255)
}

func newInstallation(t *testing.T) world {
	p := &installation{
		t: t, door: map[string]string{}, services: map[string]plan.Service{}, runtimes: map[string]doctor.Runtime{}, free: 50 << 30,
		bridge: map[string]string{"/ready": "ok", "/status": `{"enabled":true}`}, carries: "on", last: time.Now().Add(-time.Hour), trust: x509.NewCertPool(),
	}
	inside := insideAddress()
	for _, name := range []string{"bridge", "homeserver", "nginx", "postgres", "rocketchat"} {
		p.services[name] = plan.Service{Name: name, State: "running", Health: "healthy", Address: inside}
		p.runtimes[name] = doctor.Runtime{Image: "sha256:a", Pinned: "sha256:a", MemoryMB: 384}
	}
	d := answers.NewDraft()
	for _, set := range []string{"domain=chat.example.test", "server_name=example.test", "tls=internal", "mongo_url=mongodb://db/x"} {
		d.Assign(set)
	}
	a, err := d.Finish()
	if err != nil {
		t.Fatal(err)
	}
	p.Target = doctor.Target{
		Answers: a, Dir: "/opt/appliance", CertsDir: t.TempDir(), Address: "127.0.0.1", Now: func() time.Time { return time.Now().Add(p.now) },
		Services:  func(context.Context) (map[string]plan.Service, error) { return p.services, nil },
		Runtimes:  func(context.Context) (map[string]doctor.Runtime, error) { return p.runtimes, nil },
		FreeBytes: func(string) (uint64, uint64, error) { return p.free, 80 << 30, nil },
		Samples:   func() []doctor.Sample { return p.samples },
		Operator:  func() (secret.String, error) { return secret.New("operator"), nil },
		Account:   func() (string, secret.String, error) { return "rcmxbridge0000001", secret.New("token"), nil },
		Files:     func() doctor.Files { return p.files },
		Override:  func(context.Context) error { return p.override },
		NotLoaded: func(context.Context) (map[string][]string, error) { return p.stale, nil },
		Resolve:   func(context.Context, string) ([]net.IP, error) { return []net.IP{net.IPv4(127, 0, 0, 1)}, nil },
		Addresses: func() ([]net.IP, error) {
			return []net.IP{net.IPv4(127, 0, 0, 1), net.IPv4(127, 0, 0, 3), net.IPv6loopback}, nil
		},
		Databases: func(context.Context) doctor.Databases { return p.formats },
		Units:     func(context.Context) doctor.Units { return p.units },
		Chores:    func() map[string]doctor.ChoreFailure { return p.chores },
		Refused:   func(context.Context) []doctor.Refusal { return p.refused },
		Backups:   func() (began, last time.Time) { return time.Now().Add(-30 * 24 * time.Hour), p.last },

		Federation: func() string { return p.carries },
	}
	p.openDoor()
	p.openBridge(inside)
	return p
}

func serve(bodies map[string]string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, ok := bodies[r.URL.Path]
		if !ok {
			w.WriteHeader(http.StatusNotFound)
		}
		_, _ = fmt.Fprint(w, body)
	})
}

// openDoor serves what the internet sees, with the certificates on disk.
func (p *installation) openDoor() {
	srv := httptest.NewUnstartedServer(serve(p.door))
	srv.TLS = &tls.Config{MinVersion: tls.VersionTLS12}
	for _, host := range p.Answers.Hosts() {
		if err := certs.IssueInternal(p.CertsDir, host); err != nil {
			p.t.Fatal(err)
		}
		name := certs.LivePath(p.CertsDir, host)
		pair, err := tls.LoadX509KeyPair(name, name)
		if err != nil {
			p.t.Fatal(err)
		}
		srv.TLS.Certificates = append(srv.TLS.Certificates, pair)
	}
	srv.Config.ErrorLog = log.New(io.Discard, "", 0) // of clients that do not trust it
	srv.StartTLS()
	p.t.Cleanup(srv.Close)
	addr, _ := srv.Listener.Addr().(*net.TCPAddr)
	p.Answers.HTTPSPort = addr.Port
	ca, err := os.ReadFile(certs.InternalCA(p.CertsDir))
	if err != nil || !p.trust.AppendCertsFromPEM(ca) {
		p.t.Fatal(err)
	}
	p.Outside = &http.Client{Transport: &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: p.trust, MinVersion: tls.VersionTLS12}, DisableKeepAlives: true,
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, network, addr.String())
		},
	}}
	_, p.key, _ = ed25519.GenerateKey(nil)
	p.door["/api/info"] = `{"version":"8.6","success":true}`
	p.door["/_matrix/federation/v1/version"] = `{"server":{"name":"Dendrite","version":"0.15.2"}}`
	p.door["/.well-known/matrix/server"] = fmt.Sprintf(`{"m.server":"chat.example.test:%d"}`, addr.Port)
	p.door["/_matrix/key/v2/server"] = p.keys("example.test", time.Hour)
}

// keys returns a homeserver's response to a request for its keys.
func (p *installation) keys(name string, valid time.Duration) string {
	public, _ := p.key.Public().(ed25519.PublicKey)
	doc := map[string]any{
		"server_name": name, "valid_until_ts": time.Now().Add(valid).UnixMilli(), "old_verify_keys": map[string]any{},
		"verify_keys": map[string]any{"ed25519:1": map[string]string{"key": base64.RawStdEncoding.EncodeToString(public)}},
	}
	data, _ := json.Marshal(doc)
	doc["signatures"] = map[string]any{name: map[string]string{"ed25519:1": base64.RawStdEncoding.EncodeToString(ed25519.Sign(p.key, data))}}
	data, _ = json.Marshal(doc)
	return string(data)
}

func (p *installation) openBridge(address string) {
	ln, err := net.Listen("tcp", address+":29328")
	if err != nil {
		p.t.Fatal(err)
	}
	answers := serve(p.bridge)
	srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/status" && r.Header.Get("Authorization") != "Bearer operator" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		answers.ServeHTTP(w, r)
	})}
	go func() { _ = srv.Serve(ln) }()
	p.t.Cleanup(func() { _ = srv.Close() })
}

func (p *installation) look(by string) (verdict, bool) {
	return judge(doctor.Run(p.t.Context(), p.Target), by)
}

// readOnlyOn matches a date that changes from day to day.
var readOnlyOn = regexp.MustCompile(`(read-only on )\d{4}-\d\d-\d\d`)

func (p *installation) plain(text string) string {
	text = readOnlyOn.ReplaceAllString(text, "${1}2026-01-05")
	text = strings.ReplaceAll(text, p.CertsDir, "/opt/appliance/data/certs")
	return strings.ReplaceAll(text, fmt.Sprintf(":%d", p.Answers.HTTPSPort), "")
}

// failed records that a chore failed at its last run.
func (p *installation) failed(chore, reason string) func() {
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	return set(&p.chores, map[string]doctor.ChoreFailure{chore: {At: at, Reason: reason}})
}

// value changes an entry of a map and returns the undo; nil removes the entry.
func value[V any](m map[string]V, key string, v *V) func() {
	was, existed := m[key]
	delete(m, key)
	if v != nil {
		m[key] = *v
	}
	return func() {
		delete(m, key)
		if existed {
			m[key] = was
		}
	}
}

func (p *installation) faults() []fault {
	runtime := func(name string, change func(*doctor.Runtime)) func() {
		r := p.runtimes[name]
		change(&r)
		return value(p.runtimes, name, &r)
	}
	body := func(path, text string) func() { return value(p.door, path, &text) }
	gone := func(path string) func() { return value(p.door, path, nil) }
	left := func(days int) func() {
		return body("/api/v1/settings.public", fmt.Sprintf(`{"settings":[{"_id":"Cloud_Workspace_AirGapped_Restrictions_Remaining_Days","value":%d}],"success":true}`, days))
	}
	status := func(text string) func() { return value(p.bridge, "/status", &text) }
	return []fault{
		{"a service that ended", "services", func() func() {
			return value(p.services, "homeserver", &plan.Service{Name: "homeserver", State: "exited", Status: "Exited (1) 2 minutes ago"})
		}, "1 of 5 services are not healthy", "appliance up"},
		{"a service that was removed", "services", func() func() { return value(p.services, "postgres", nil) }, "1 of 5 services are not healthy", "appliance up"},
		{"no certificate", "certificate", func() func() { return set(&p.CertsDir, filepath.Join(p.CertsDir, "none")) }, "chat.example.test has no certificate", "appliance up"},
		{"an expired certificate", "certificate", func() func() { return set(&p.now, 400*24*time.Hour) }, "the certificate of chat.example.test expired 3 days ago", "appliance up"},
		{"a certificate that was not renewed", "certificate-server-name", func() func() { return set(&p.now, 350*24*time.Hour) }, "the certificate of example.test expires in 46 days", "appliance logs certs"},
		{"a renewed certificate that is not shown", "certificate", func() func() {
			name := certs.LivePath(p.CertsDir, "chat.example.test")
			was, _ := os.ReadFile(name)
			if err := certs.IssueInternal(p.CertsDir, "chat.example.test"); err != nil {
				p.t.Fatal(err)
			}
			return func() { _ = os.WriteFile(name, was, 0o600) }
		}, "chat.example.test serves another certificate than the one on disk", "wait a minute"},
		{"Rocket.Chat does not answer", "rocketchat", func() func() { return gone("/api/info") }, "Rocket.Chat does not answer at ", "appliance logs rocketchat"},
		{"a workspace that is read-only", "workspace", func() func() { return left(0) }, "Rocket.Chat is read-only", "collector.rocket.chat:443"},
		{"a workspace that will be read-only", "workspace", func() func() { return left(3) }, "Rocket.Chat becomes read-only on 2", "collector.rocket.chat:443"},
		{"a token that has not registered the workspace", "registration", func() func() {
			a := set(&p.Answers.RegistrationTokenFile, "/root/registration")
			b := body("/api/v1/cloud.registrationStatus", `{"registrationStatus":{"workspaceRegistered":false,"workspaceId":"","uniqueId":"u","token":"","email":"a@example.test"},"success":true}`)
			return func() { a(); b() }
		}, "the workspace is not registered, although there is a token", "write it to /root/registration and run: appliance up"},
		{"no well-known", "well-known", func() func() { return gone("/.well-known/matrix/server") }, "other servers cannot find example.test", "appliance up"},
		{"a well-known that leads elsewhere", "well-known", func() func() { return body("/.well-known/matrix/server", `{"m.server":"old.example.test:443"}`) }, "example.test points to old.example.test:443", "appliance up"},
		{"no federation", "federation", func() func() { return gone("/_matrix/federation/v1/version") }, "the homeserver does not answer other servers", "appliance logs homeserver"},
		{"an open door", "closed-doors", func() func() { return body("/metrics", "go_goroutines 1") }, "1 internal paths are open", "--overwrite"},
		{"an untrusted certificate", "federation-outside", func() func() {
			return set(&p.Outside, &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: x509.NewCertPool(), MinVersion: tls.VersionTLS12}, DialContext: dialer(p)}})
		}, "other servers may not find example.test", "the certificate of example.test"},
		{"a firewall in front", "federation-outside", func() func() {
			return set(&p.Outside, &http.Client{Transport: &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) {
				return nil, fmt.Errorf("dial tcp 203.0.113.7:443: i/o timeout")
			}}})
		}, "other servers may not find example.test", "DNS record"},
		{"keys of another server", "federation-outside", func() func() { return body("/_matrix/key/v2/server", p.keys("old.example.test", time.Hour)) }, "other servers would reject the keys of example.test", "appliance logs homeserver"},
		{"keys that have expired", "federation-outside", func() func() { return body("/_matrix/key/v2/server", p.keys("example.test", -time.Hour)) }, "other servers would reject the keys of example.test", "appliance logs homeserver"},
		{"keys that were altered", "federation-outside", func() func() {
			return body("/_matrix/key/v2/server", strings.Replace(p.keys("example.test", time.Hour), `"old_verify_keys":{}`, `"old_verify_keys":{"x":1}`, 1))
		}, "other servers would reject the keys of example.test", "appliance logs homeserver"},
		{"the bridge is off", "bridge", func() func() { return value(p.services, "bridge", nil) }, "the bridge is not running", "appliance up"},
		{"the bridge is alone", "bridge", func() func() { return value(p.bridge, "/ready", nil) }, "the bridge is not connected to both sides", "appliance logs bridge"},
		{"messages that wait", "queue", func() func() {
			return status(fmt.Sprintf(`{"enabled":true,"waiting":7,"oldest_waiting":%q}`, time.Now().Add(-3*time.Hour).Format(time.RFC3339)))
		}, "7 items wait, the oldest for 3h0m0s", "appliance logs bridge"},
		{"dead letters", "queue", func() func() { return status(`{"enabled":true,"dead_letters":2,"buried":2}`) }, "2 dead letters", "appliance queue dead"},
		{"dead letters, says a bridge of an earlier release", "queue", func() func() { return status(`{"enabled":true,"buried":2}`) }, "2 dead letters", "appliance queue dead"},
		{"federation is switched off", "enabled", func() func() { return status(`{"enabled":false,"waiting":3}`) }, "federation is off, 3 items wait", "appliance federation enable"},
		{"federation is switched off, and the bridge is down", "enabled", func() func() {
			a, b := set(&p.carries, "off"), value(p.services, "bridge", nil)
			return func() { a(); b() }
		}, "federation is off", "appliance federation enable"},
		{"federation is switched off, and bridge.yaml was broken since", "enabled", func() func() {
			a, b := set(&p.carries, "unknown"), status(`{"enabled":false,"config_error":"line 4: colour: unknown key"}`)
			return func() { a(); b() }
		}, "federation is off, 0 items wait", "appliance federation enable"},
		{"a password that does not sign in", "sign-in", func() func() {
			return set(&p.refused, []doctor.Refusal{{Secret: "postgres-password", File: "secrets/postgres_password", Server: "PostgreSQL", Explains: []string{"homeserver", "bridge"}}})
		}, "secrets/postgres_password does not sign in", "appliance secrets rotate postgres-password"},
		{"tokens that do not sign in", "sign-in", func() func() {
			return set(&p.refused, []doctor.Refusal{{Secret: "rocketchat-token", File: "secrets/bridge/rocketchat_token", Server: "Rocket.Chat"}, {Secret: "as-token", File: "secrets/bridge/as_token", Server: "the homeserver"}})
		}, "secrets/bridge/rocketchat_token; secrets/bridge/as_token do not sign in", "appliance secrets rotate rocketchat-token as-token"},
		{"an account that the bridge did not create", "queue", func() func() { return status(`{"enabled":true,"doubtful_puppets":["@bob:example.org"]}`) }, "the bridge did not create the account of @bob:example.org", "give it the role bot"},
		{"a broken bridge.yaml", "queue", func() func() { return status(`{"enabled":true,"config_error":"line 4: colour: unknown key"}`) }, "the bridge keeps its old configuration", "fix config/bridge/bridge.yaml"},
		{"a service that restarts again and again", "restarts", func() func() {
			return runtime("rocketchat", func(r *doctor.Runtime) { r.Restarts, r.Started = 12, time.Now() })
		}, "rocketchat was restarted 12 times", "appliance logs rocketchat"},
		{"a service without enough memory", "restarts", func() func() { return runtime("homeserver", func(r *doctor.Runtime) { r.OOMKilled = true }) }, "homeserver was OOM-killed", "appliance config set memory_limits=homeserver=576"},
		{"a container with privileges", "hardening", func() func() {
			return runtime("homeserver", func(r *doctor.Runtime) { r.Loose = []string{"is privileged", "runs as root"} })
		}, "containers have more privileges than they need", "compose.override.yaml"},
		{"an image that was replaced", "images", func() func() { return runtime("nginx", func(r *doctor.Runtime) { r.Pinned = "sha256:b" }) }, "nginx runs an older image", "appliance up"},
		{"an image that is not the locked one", "images", func() func() {
			return runtime("postgres", func(r *doctor.Runtime) { r.Stranger = "postgres:17" })
		}, "postgres does not run the image that postgres:17 is locked to", "rm /opt/appliance/images.lock && appliance up"},
		{"a disk that fills up", "disk", func() func() { return set(&p.free, 2<<30) }, "the disk has 2 GB left of 80", "docker image prune"},
		{"media that fill the disk in two weeks", "growth", func() func() { return set(&p.samples, growing("media", 3<<30)) }, "the disk will be full in 16 days", "appliance config set remote_media_days=30 && appliance media prune"},
		{"backups that fill the disk in two days", "growth", func() func() {
			a, b := set(&p.samples, growing("backups", 3<<30)), set(&p.free, 8<<30)
			return func() { a(); b() }
		}, "the disk will be full in 2 days", "appliance backup --keep 7"},
		{"something else that fills the disk", "growth", func() func() { return set(&p.samples, growing("", 4<<30)) }, "the disk will be full in 12 days", "use a larger disk"},
		{"a disk that is full", "disk", func() func() { return set(&p.free, 100<<20) }, "the disk has 100 MB left", "docker image prune"},
		{"a service that does not run what is on disk", "loaded", func() func() { return set(&p.stale, map[string][]string{"nginx": {"config/nginx/nginx.conf"}}) }, "nginx was started before config/nginx/nginx.conf was changed", "appliance up"},
		{"a file changed by hand", "files", func() func() { return set(&p.files.Edited, []string{"config/nginx/nginx.conf"}) }, "config/nginx/nginx.conf was edited by hand", "--accept-edits"},
		{"a secret that was edited by hand", "secrets", func() func() { return set(&p.files.Changed, []string{"secrets/postgres_password"}) }, "secrets/postgres_password was edited by hand", "appliance up --dry-run"},
		{"an override that Compose cannot use", "override", func() func() {
			return set[error](&p.override, &stack.OverrideError{File: "/opt/appliance/compose.override.yaml", Line: 3, Reason: "services.nginx.imag false schema"})
		}, "compose.override.yaml cannot be used", "correct it, or move it away"},
		{"a Compose file that is gone", "files", func() func() { return set(&p.files.Missing, []string{"compose.yaml"}) }, "compose.yaml is missing", "appliance up"},
		{"a secret that is gone", "secrets", func() func() { return set(&p.files.Lost, []string{"secrets/form_secret"}) }, "secrets/form_secret is missing", "appliance up"},
		{"a secret without which a database cannot be read", "secrets", func() func() {
			lost := []string{"secrets/postgres_password"}
			a, b := set(&p.files.Lost, lost), set(&p.files.Kept, lost)
			return func() { a(); b() }
		}, "secrets/postgres_password is missing", "put it back from a backup; while the services run, do not restart them"},
		{"a secret without which a database cannot be read, and another one", "secrets", func() func() {
			a, b := set(&p.files.Lost, []string{"secrets/form_secret", "secrets/postgres_password"}), set(&p.files.Kept, []string{"secrets/postgres_password"})
			return func() { a(); b() }
		}, "secrets/form_secret; secrets/postgres_password are missing", "put secrets/postgres_password back from a backup; while the services run, do not restart them; then make the others again with: appliance up"},
		{"the administrator's password is gone", "secrets", func() func() { return set(&p.files.Lost, []string{"secrets/admin_password"}) }, "secrets/admin_password is missing", "appliance up"},
		{"answers that cannot be used", "answers", func() func() {
			return set(&p.Unusable, errors.New("colour: unknown key in /opt/appliance/appliance.yaml line 110"))
		}, "appliance.yaml cannot be used", "correct /opt/appliance/appliance.yaml and run: appliance up"},
		{"a secret that everybody can read", "secrets", func() func() { return set(&p.files.Exposed, []string{"/opt/appliance/secrets/admin_password"}) }, "/opt/appliance/secrets/admin_password can be read by others", "chmod 600"},
		{"an interrupted upgrade", "unfinished", func() func() {
			return set(&p.files, doctor.Files{Half: "an upgrade", HalfFix: "continue with: appliance upgrade; or go back with: appliance upgrade --rollback"})
		}, "an upgrade was interrupted", "appliance upgrade --rollback"},
		{"a database of another major version", "databases", func() func() {
			return set(&p.formats, doctor.Databases{PostgresFiles: "16", PostgresMajor: 17, PostgresImage: "postgres:17", VersionsFile: "/opt/appliance/versions.env"})
		}, "data/postgres has files of PostgreSQL 16", "echo POSTGRES_IMAGE=postgres:16 >>/opt/appliance/versions.env && appliance up"},
		{"a MongoDB whose format was not raised", "databases", func() func() {
			return set(&p.formats, doctor.Databases{MongoServer: "8.2.1", MongoFormat: "8.0", MongoBehind: true})
		}, "MongoDB 8.2.1 keeps its data in the format of 8.0", "appliance upgrade --finish"},
		{"units of systemd that are missing", "timers", func() func() { return set(&p.units.Lacking, "appliance-backup.timer is missing") }, "appliance-backup.timer is missing", "appliance up"},
		{"a timer that is switched off", "timers", func() func() { return set(&p.units.Idle, []string{"appliance-doctor.timer"}) }, "appliance-doctor.timer is not active", "systemctl enable --now appliance-doctor.timer"},
		{"a renewal that was killed", "timers", func() func() { return set(&p.units.Failed, []string{"appliance-certs.service"}) }, "the last run of appliance-certs.service failed", "journalctl -n 50 -u appliance-certs.service"},
		{"a backup that failed at night", "backup", func() func() { return p.failed(doctor.ChoreBackup, "the disk that holds backups is full") }, "the backup on 2026-01-02 03:04 UTC failed", "appliance backup"},
		{"a backup that does not leave the host", "offsite", func() func() {
			return p.failed(doctor.ChoreOffsite, "s3.example.org: QuotaExceeded")
		}, "the backup on 2026-01-02 03:04 UTC was not sent off-site", "appliance backup"},
		{"a restore drill that failed", "drill", func() func() { return p.failed(doctor.ChoreDrill, "the database postgres is empty") }, "the restore drill on 2026-01-02 03:04 UTC failed", "appliance backup drill"},
		{"no backup although a timer makes them", "backup", func() func() {
			a, b := set(&p.units.Nightly, true), set(&p.last, time.Now().Add(-3*24*time.Hour))
			return func() { a(); b() }
		}, "the last backup is 3 days old", "appliance service status"},
		{"never a backup", "backup", func() func() { return set(&p.last, time.Time{}) }, "there has never been a backup", "appliance backup"},
		{"an old backup", "backup", func() func() { return set(&p.last, time.Now().Add(-20*24*time.Hour)) }, "the last backup is 20 days old", "appliance backup"},
	}
}

func dialer(p *installation) func(context.Context, string, string) (net.Conn, error) {
	address := net.JoinHostPort("127.0.0.1", fmt.Sprint(p.Answers.HTTPSPort))
	return func(ctx context.Context, network, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, network, address)
	}
}

// growing returns samples of a week in which a part of the installation, or something
// else if part is "", grew by perDay bytes a day, and in which a large image was pulled.
func growing(part string, perDay int64) []doctor.Sample {
	var out []doctor.Sample
	for n := range int64(7 * 6) {
		s := doctor.Sample{At: time.Now().Add(time.Duration(n-41) * 4 * time.Hour), Used: 20<<30 + n*perDay/6, Parts: map[string]int64{"databases": 1 << 30, "media": 2 << 30, "backups": 0}}
		if n > 30 {
			s.Used += 5 << 30
		}
		if part != "" {
			s.Parts[part] += n * perDay / 6
		}
		out = append(out, s)
	}
	return out
}

// A stopped stack is reported as one failure, with everything else as its consequence. A
// service that was restarted often but has settled since is not a failure.
func TestOneCauseAndItsConsequences(t *testing.T) {
	p, _ := newInstallation(t).(*installation)
	p.runtimes["rocketchat"] = doctor.Runtime{Image: "sha256:a", Pinned: "sha256:a", Restarts: 6, Started: time.Now().Add(-time.Hour)}
	for name := range p.services {
		p.services[name] = plan.Service{Name: name, State: "exited", Status: "Exited (0)"}
	}
	p.Address = "127.0.0.2" // where nothing listens
	p.Outside.Transport = &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) { return nil, errors.New("connection refused") }}
	findings := doctor.Run(t.Context(), p.Target)
	if bad := finding.Failures(findings); len(bad) != 1 || bad[0].Check != "services" || findings[0].Check != "services" {
		t.Errorf("the cause is not the one failure, and the first: %+v", findings)
	}
	got := strings.Join(finding.Consequences(findings, "services"), " ")
	if want := "certificate certificate-server-name rocketchat well-known federation federation-outside closed-doors bridge queue"; got != want {
		t.Errorf("what follows:\n%s\nwant\n%s", got, want)
	}
	for _, f := range findings {
		if f.Severity > finding.OK && (strings.TrimSpace(f.Why) == "" || f.Check == "restarts") {
			t.Errorf("%+v", f)
		}
	}
}

// Whatever keeps services from running is the only failure; that they are down is its consequence.
func TestTheRootCauseComesFirst(t *testing.T) {
	down := func(p *installation, names ...string) {
		for _, name := range names {
			p.services[name] = plan.Service{Name: name, State: "restarting", Status: "Restarting (1) 3 seconds ago"}
		}
	}
	for _, c := range []struct {
		cause       string
		make        func(*installation)
		consequence string // "" means that services are down
	}{
		{"databases", func(p *installation) {
			down(p, "postgres", "homeserver")
			p.formats = doctor.Databases{PostgresFiles: "16", PostgresMajor: 17, PostgresImage: "postgres:17"}
			delete(p.door, "/_matrix/federation/v1/version")
		}, ""},
		{"disk", func(p *installation) { down(p, "postgres", "homeserver", "bridge"); p.free = 20 << 20 }, ""},
		{"files", func(p *installation) { down(p, "nginx"); p.files.Missing = []string{"compose.yaml"} }, ""},
		{"override", func(p *installation) {
			down(p, "rocketchat")
			p.override = errors.New("services.rocketchat.imag: unknown")
		}, ""},
		{"homeserver-database", func(p *installation) { // the homeserver runs but refuses every sign-in
			p.Host = append(p.Host, finding.Check{Name: "homeserver-database", Run: func(context.Context) finding.Finding {
				return finding.Failure("the homeserver cannot use the PostgreSQL of homeserver_database", "nothing listens", "start it").Disabling("homeserver", "bridge")
			}})
			p.refused = []doctor.Refusal{{Secret: "as-token", File: "secrets/bridge/as_token", Server: doctor.Homeserver, Explains: []string{"bridge"}}}
		}, "sign-in"},
		{"mongo", func(p *installation) { // Rocket.Chat keeps restarting
			down(p, "rocketchat")
			p.Host = append(p.Host, finding.Check{Name: "mongo", Run: func(context.Context) finding.Finding {
				return finding.Failure("Rocket.Chat cannot use the MongoDB of mongo_url", "nothing listens", "start it").Disabling("rocketchat", "bridge")
			}})
		}, ""},
		{"services", func(p *installation) { // the disk does not explain that nginx is down
			down(p, "nginx")
			p.free = 20 << 20
		}, ""},
	} {
		t.Run(c.cause, func(t *testing.T) {
			p, _ := newInstallation(t).(*installation)
			c.make(p)
			findings := doctor.Run(t.Context(), p.Target)
			bad := finding.Failures(findings)
			if c.cause == "services" {
				if len(bad) != 2 {
					t.Errorf("the failures are %+v", bad)
				}
			} else if len(bad) != 1 || bad[0].Check != c.cause || findings[0].Check != c.cause || !slices.Contains(finding.Consequences(findings, c.cause), cmp.Or(c.consequence, "services")) {
				t.Errorf("the failures are %+v, the first finding is %+v", bad, findings[0])
			}
		})
	}
}

// Like other homeservers, the doctor reads the well-known file of the server name, and the DNS
// record that leads here.
func TestTheDoctorChecksWhatLeadsFromTheServerNameToThisHost(t *testing.T) {
	p, _ := newInstallation(t).(*installation)
	check := func(want string) {
		t.Helper()
		v, _ := p.look("well-known")
		if got := strings.Join([]string{v.severity, v.says, v.hint}, "; "); !strings.HasPrefix(got, want) {
			t.Errorf("found %s\nwant %s", got, want)
		}
	}
	p.Answers.Delegation = answers.DelegationElsewhere
	good := p.door["/.well-known/matrix/server"]
	if p.Answers.WellKnown() != good {
		t.Errorf("what is printed is %s, and what other servers want is %s", p.Answers.WellKnown(), good)
	}
	check("ok; example.test points to chat.example.test:")
	p.door["/.well-known/matrix/server"] = `{"m.server":"old.example.test:443"}`
	check("fail; example.test points to old.example.test:443; make the web server of example.test answer https://example.test/.well-known/matrix/server with {")
	p.door["/.well-known/matrix/server"] = "<html>"
	check("fail; other servers cannot find example.test; make the web server")
	delete(p.door, "/.well-known/matrix/server")
	check("fail; other servers cannot find example.test; make the web server")

	p.Answers.Delegation = answers.DelegationSRV
	var records []*net.SRV
	p.LookupSRV = func(_ context.Context, name string) ([]*net.SRV, error) {
		if name != "_matrix-fed._tcp.example.test" {
			t.Errorf("looked up %s", name)
		}
		return records, nil
	}
	check("fail; other servers cannot find example.test; create the DNS record: _matrix-fed._tcp.example.test. SRV 10 5 ")
	records = []*net.SRV{{Target: "old.example.test.", Port: 443}}
	check("fail; example.test points to old.example.test:443; create the DNS record")
	records = []*net.SRV{{Target: "chat.example.test.", Port: uint16(p.Answers.HTTPSPort)}}
	check("ok; example.test points to chat.example.test:")
}

// The doctor connects to every address in the records, and distinguishes a firewall, a router
// without hairpin NAT, and another host.
func TestTheDoctorTellsWhoAnswersAtThePublicName(t *testing.T) {
	for _, one := range []struct {
		what    string
		records []string
		want    string
	}{
		{"this host", []string{"127.0.0.1"}, "ok chat.example.test leads to this host at 127.0.0.1"},
		{"a second address behind a router", []string{"127.0.0.1", "127.0.0.9"}, "warn this host cannot reach chat.example.test at 127.0.0.9"},
		{"a closed port of this host", []string{"127.0.0.3"}, "warn chat.example.test cannot be reached at 127.0.0.3"},
		{"version 6 of this host, closed", []string{"127.0.0.1", "::1"}, "warn chat.example.test cannot be reached at ::1"},
		{"another host", []string{"127.0.0.4"}, "warn another host answers for chat.example.test at 127.0.0.4"},
		{"another host with our serial number", []string{"127.0.0.4"}, "warn another host answers for chat.example.test at 127.0.0.4"},
		{"no record", nil, "warn chat.example.test does not resolve here"},
	} {
		t.Run(one.what, func(t *testing.T) {
			p, _ := newInstallation(t).(*installation)
			p.Resolve = func(context.Context, string) (ips []net.IP, err error) {
				for _, r := range one.records {
					ips = append(ips, net.ParseIP(r))
				}
				return ips, nil
			}
			if strings.HasPrefix(one.what, "another host") {
				other := httptest.NewUnstartedServer(http.NotFoundHandler())
				l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.4", fmt.Sprint(p.Answers.HTTPSPort)))
				if err != nil {
					t.Fatal(err)
				}
				_ = other.Listener.Close()
				other.Listener = l
				if one.what != "another host" {
					other.TLS = &tls.Config{Certificates: []tls.Certificate{sameSerial(t, fmt.Sprint("127.0.0.1:", p.Answers.HTTPSPort))}, MinVersion: tls.VersionTLS12}
				}
				other.StartTLS()
				defer other.Close()
			}
			v, _ := p.look("reachable")
			if got := v.severity + " " + v.says; !strings.HasPrefix(got, one.want) || v.severity != "ok" && v.hint == "" {
				t.Errorf("found %+v, want %q", v, one.want)
			}
			if hairpin := strings.Contains(v.hint, "hairpin"); hairpin != strings.Contains(one.what, "router") {
				t.Errorf("hairpin NAT is no cause, or the cause: %+v", v)
			}
		})
	}
}

// sameSerial creates a certificate with the serial number of the one that a server presents.
func sameSerial(t *testing.T, address string) tls.Certificate {
	t.Helper()
	d := tls.Dialer{Config: &tls.Config{ServerName: "chat.example.test", InsecureSkipVerify: true}} //nolint:gosec // to copy it
	conn, err := d.DialContext(t.Context(), "tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	shown := conn.(*tls.Conn).ConnectionState().PeerCertificates[0]
	public, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	copied := x509.Certificate{SerialNumber: shown.SerialNumber, Subject: shown.Subject, NotBefore: shown.NotBefore, NotAfter: shown.NotAfter, DNSNames: shown.DNSNames}
	der, err := x509.CreateCertificate(nil, &copied, &copied, public, private)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: private}
}
