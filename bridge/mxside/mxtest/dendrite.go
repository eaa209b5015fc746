package mxtest

import (
	"crypto/rand"
	"encoding/pem"
	"os"
	"os/exec"
	"strconv"
	"strings"
)

// dendrite is the server that APPLIANCE_DENDRITE names.
type dendrite struct{}

func (dendrite) needs() []string { return []string{"APPLIANCE_DENDRITE"} }

func (dendrite) program() string { return os.Getenv("APPLIANCE_DENDRITE") }

func (dendrite) unsettled() string { return "" }

func (dendrite) files(s *Server, registration string) map[string]string {
	registrations, version := []string{}, ""
	if registration != "" {
		registrations = append(registrations, "registration.yaml")
	}
	if s.Beside != "" {
		registrations = append(registrations, "beside.yaml")
	}
	if s.RoomVersion != "" {
		version = "default_room_version: " + strconv.Quote(s.RoomVersion)
	}
	return map[string]string{
		"matrix_key.pem": dendriteKey(),
		"dendrite.yaml":  strings.NewReplacer("NAME", s.Name, "SECRET", sharedSecret, "FILES", "["+strings.Join(registrations, ", ")+"]", "VERSION", version, "DATABASE", s.database).Replace(dendriteConfiguration),
	}
}

func (dendrite) start(s *Server, log *os.File) (*process, error) {
	cmd := exec.Command(os.Getenv("APPLIANCE_DENDRITE"), //nolint:gosec,noctx // it ends with Kill
		"--config", "dendrite.yaml", "--tls-cert", "tls.crt", "--tls-key", "tls.key",
		"--http-bind-address", "127.0.0.1:"+strconv.Itoa(s.ports[0]), "--https-bind-address", "127.0.0.1:"+strconv.Itoa(s.ports[1]))
	return spawn(cmd, s.dir, log)
}

const dendriteConfiguration = `version: 2
global:
  server_name: NAME
  private_key: matrix_key.pem
  key_validity_period: 168h0m0s
  database: {connection_string: "DATABASE", max_open_conns: 15, max_idle_conns: 15, conn_max_lifetime: -1}
  cache: {max_size_estimated: 64mb, max_age: 1h}
  trusted_third_party_id_servers: []
  presence: {enable_inbound: true, enable_outbound: true}
  report_stats: {enabled: false}
  jetstream: {storage_path: ./jetstream}
app_service_api: {config_files: FILES}
client_api:
  registration_disabled: true
  guests_disabled: true
  registration_shared_secret: SECRET
  rate_limiting: {enabled: false}
federation_api:
  send_max_retries: 16
  key_perspectives: []
  disable_tls_validation: true
  deny_networks: []
  allow_networks: ["0.0.0.0/0", "::/0"]
media_api: {base_path: ./media, max_file_size_bytes: 4194304}
room_server: {VERSION}
sync_api: {search: {enabled: false}}
user_api: {account_bcrypt_cost: 4}
logging: [{type: std, level: warn}]
`

func dendriteKey() string {
	seed := make([]byte, 32)
	_, _ = rand.Read(seed)
	return string(pem.EncodeToMemory(&pem.Block{Type: "MATRIX PRIVATE KEY", Headers: map[string]string{"Key-ID": "ed25519:test1"}, Bytes: seed}))
}
