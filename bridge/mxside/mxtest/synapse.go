package mxtest

import (
	"crypto/rand"
	"encoding/base64"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// synapse is Synapse from the root file system of its image, which
// APPLIANCE_SYNAPSE names. It runs on this host with the libraries found there and
// without a container, so that it ends with the test whatever happens.
type synapse struct{}

func (synapse) needs() []string { return []string{"APPLIANCE_SYNAPSE"} }

func (synapse) program() string {
	return filepath.Join(os.Getenv("APPLIANCE_SYNAPSE"), "usr/lib/python3/dist-packages/synapse/__init__.py")
}

func (synapse) unsettled() string { return "SELECT COUNT(*) FROM background_updates" }

func (synapse) files(s *Server, registration string) map[string]string {
	seed := make([]byte, 32)
	_, _ = rand.Read(seed)
	registrations := "[]"
	if registration != "" {
		registrations = "[registration.yaml]"
	}
	version := ""
	if s.RoomVersion != "" {
		version = "default_room_version: " + strconv.Quote(s.RoomVersion)
	}
	db, _ := url.Parse(s.database) // made by us: parses
	password, _ := db.User.Password()
	return map[string]string{
		"signing.key": "ed25519 test1 " + base64.RawStdEncoding.EncodeToString(seed) + "\n",
		"log.yaml":    "version: 1\ndisable_existing_loggers: false\nhandlers: {out: {class: logging.StreamHandler, formatter: timed}}\nroot: {level: WARNING, handlers: [out]}\nformatters: {timed: {format: '%(asctime)s %(name)s %(message)s'}}\nloggers: {synapse.util.check_dependencies: {level: ERROR}, synapse.appservice.scheduler: {level: INFO}}\n",
		"homeserver.yaml": strings.NewReplacer("NAME", s.Name, "SECRET", sharedSecret, "FILES", registrations, "VERSION", version,
			"CLIENT", strconv.Itoa(s.ports[0]), "FEDERATION", strconv.Itoa(s.ports[1]), "DBUSER", db.User.Username(), "DBPASSWORD", password,
			"DBHOST", db.Hostname(), "DBPORT", db.Port(), "DBNAME", strings.TrimPrefix(db.Path, "/"), "URL", s.URL).Replace(synapseConfiguration),
	}
}

// Few database connections, and no rate limits.
const synapseConfiguration = `server_name: "NAME"
public_baseurl: "URL"
pid_file: homeserver.pid
signing_key_path: signing.key
log_config: log.yaml
tls_certificate_path: tls.crt
tls_private_key_path: tls.key
listeners:
  - {port: CLIENT, type: http, tls: false, bind_addresses: [127.0.0.1], resources: [{names: [client], compress: false}]}
  - {port: FEDERATION, type: http, tls: true, bind_addresses: [127.0.0.1], resources: [{names: [federation], compress: false}]}
database:
  name: psycopg2
  args: {user: "DBUSER", password: "DBPASSWORD", dbname: "DBNAME", host: "DBHOST", port: DBPORT, cp_min: 2, cp_max: 5}
media_store_path: media
max_upload_size: 4194304
registration_shared_secret: SECRET
macaroon_secret_key: SECRET
form_secret: SECRET
enable_registration: false
background_updates: {sleep_enabled: false}
bcrypt_rounds: 4
report_stats: false
suppress_key_server_warning: true
trusted_key_servers: []
federation_verify_certificates: false
ip_range_blacklist: []
federation_ip_range_blacklist: []
app_service_config_files: FILES
VERSION
allow_public_rooms_over_federation: true
room_list_publication_rules: [{action: allow}]
presence: {enabled: true}
caches: {global_factor: 0.5}
federation: {client_timeout: 10s, max_short_retry_delay: 1s, destination_min_retry_interval: 1s, destination_max_retry_interval: 2s}
rc_message: {per_second: 10000, burst_count: 10000}
rc_registration: {per_second: 10000, burst_count: 10000}
rc_login: {address: {per_second: 10000, burst_count: 10000}, account: {per_second: 10000, burst_count: 10000}}
rc_admin_redaction: {per_second: 10000, burst_count: 10000}
rc_joins: {local: {per_second: 10000, burst_count: 10000}, remote: {per_second: 10000, burst_count: 10000}}
rc_joins_per_room: {per_second: 10000, burst_count: 10000}
rc_invites: {per_room: {per_second: 10000, burst_count: 10000}, per_user: {per_second: 10000, burst_count: 10000}, per_issuer: {per_second: 10000, burst_count: 10000}}
rc_presence: {per_user: {per_second: 10000, burst_count: 10000}}
rc_federation: {window_size: 10, sleep_limit: 10000, sleep_delay: 1, reject_limit: 100000, concurrent: 100}
`
