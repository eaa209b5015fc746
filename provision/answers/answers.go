// Package answers holds the operator's decisions, and nothing that is generated or
// observed. Fields is the single list of the answers: the wizard walks it, files and Set
// fill it, Validate checks it and the documentation is generated from it. An Answers is a
// value; only the functions of load.go and keep.go touch files.
package answers

import (
	"fmt"
	"net"
	"strconv"
	"strings"

	"appliance/provision/homeserver"
)

// Answers is every decision of the operator, as written in appliance.yaml.
type Answers struct {
	Domain                    string `yaml:"domain"`
	ServerName                string `yaml:"server_name"`
	Email                     string `yaml:"email"`
	Homeserver                string `yaml:"homeserver"`
	HomeserverURL             string `yaml:"homeserver_url"`
	HomeserverKind            string `yaml:"homeserver_kind"`
	RocketChat                string `yaml:"rocketchat"`
	RocketChatURL             string `yaml:"rocketchat_url"`
	RocketChatUserID          string `yaml:"rocketchat_user_id"`
	RocketChatTokenFile       string `yaml:"rocketchat_token_file"`
	RocketChatSecretFile      string `yaml:"rocketchat_create_token_secret_file"`
	BridgeURL                 string `yaml:"bridge_url"`
	BridgeReplicas            int    `yaml:"bridge_replicas"`
	Namespace                 string `yaml:"namespace"`
	GhostPrefix               string `yaml:"ghost_prefix"`
	AppServiceID              string `yaml:"appservice_id"`
	AppServiceBot             string `yaml:"appservice_bot"`
	AdminUsername             string `yaml:"admin_username"`
	AdminEmail                string `yaml:"admin_email"`
	TLS                       string `yaml:"tls"`
	TLSCertFile               string `yaml:"tls_cert_file"`
	TLSKeyFile                string `yaml:"tls_key_file"`
	ACMEDirectory             string `yaml:"acme_directory"`
	ACMECAFile                string `yaml:"acme_ca_file"`
	SynapseAdmin              bool   `yaml:"synapse_admin"`
	SynapseAdminPort          int    `yaml:"synapse_admin_port"`
	Metrics                   bool   `yaml:"metrics"`
	MetricsPort               int    `yaml:"metrics_port"`
	Monitoring                bool   `yaml:"monitoring"`
	MonitoringPort            int    `yaml:"monitoring_port"`
	TracesEndpoint            string `yaml:"traces_endpoint"`
	TracesHeadersFile         string `yaml:"traces_headers_file"`
	ACMEEABKeyID              string `yaml:"acme_eab_key_id"`
	ACMEEABHMACFile           string `yaml:"acme_eab_hmac_file"`
	FederationPrivateNetworks bool   `yaml:"federation_private_networks"`
	Presence                  bool   `yaml:"presence"`
	HTTPPort                  int    `yaml:"http_port"`
	HTTPSPort                 int    `yaml:"https_port"`
	FederationPort            int    `yaml:"federation_port"`
	SMTPHost                  string `yaml:"smtp_host"`
	SMTPPort                  int    `yaml:"smtp_port"`
	SMTPUsername              string `yaml:"smtp_username"`
	SMTPPasswordFile          string `yaml:"smtp_password_file"`
	SMTPFrom                  string `yaml:"smtp_from"`
	RegistrationTokenFile     string `yaml:"rocketchat_registration_token_file"`
	RocketChatSettings        string `yaml:"rocketchat_settings"` // JSON
	ListenAddress             string `yaml:"listen_address"`
	TrustedProxies            string `yaml:"trusted_proxies"`
	Delegation                string `yaml:"delegation"`
	DockerSubnet              string `yaml:"docker_subnet"`
	MemoryLimits              string `yaml:"memory_limits"`
	MinCPUs                   int    `yaml:"min_cpus"`
	MinMemoryMB               int    `yaml:"min_memory_mb"`
	MinDiskGB                 int    `yaml:"min_disk_gb"`

	Systemd  bool   `yaml:"systemd"`
	SwapFile string `yaml:"swap_file"`

	DatabaseAnswers `yaml:",inline"`
	AlarmAnswers    `yaml:",inline"`
	OffsiteAnswers  `yaml:",inline"`
	UploadAnswers   `yaml:",inline"`
}

// Values of SwapFile.
const (
	SwapAsk = "ask"
	SwapYes = "yes"
	SwapNo  = "no"
)

// Values for the homeserver, Rocket.Chat, the namespace and the source of certificates.
// External is a server that exists already and is managed elsewhere.
const (
	Dendrite = homeserver.Dendrite
	Synapse  = homeserver.Synapse
	External = "external"
	Bundled  = "bundled"

	SQLite = "sqlite" // a file of the bridge's own

	Native   = "native"
	Prefixed = "prefixed"

	ACME     = "acme"
	Internal = "internal"
	Files    = "files"
	NoTLS    = "none" // a web server in front terminates TLS

	DelegationHere      = "here"       // this host answers for the server name
	DelegationElsewhere = "well-known" // another web server does, with the well-known
	DelegationSRV       = "srv"        // a DNS record points here
)

// LetsEncrypt is the ACME directory that is used unless another is named.
const LetsEncrypt = "https://acme-v02.api.letsencrypt.org/directory"

// Hosts returns the names that need a certificate: the one where people sign in and, if
// it differs and is ours, the one at the end of every Matrix identifier.
func (a Answers) Hosts() []string {
	if a.TLS == NoTLS {
		return nil
	}
	if a.ServerName == "" || a.ServerName == a.Domain || !a.BundledHomeserver() || a.Delegation == DelegationElsewhere {
		return []string{a.Domain}
	}
	return []string{a.Domain, a.ServerName}
}

// SiteURL is the front door of this host.
func (a Answers) SiteURL() string { return "https://" + a.Domain + portSuffix(a.publicPort()) }

// publicPort is the port that people connect to: with a web server in front, the port of that.
func (a Answers) publicPort() int {
	if a.TLS == NoTLS {
		return 443
	}
	return a.HTTPSPort
}

// Listen returns an address and a port of this host as Docker publishes them.
func (a Answers) Listen(port int) string {
	if a.ListenAddress == "" {
		return strconv.Itoa(port)
	}
	return net.JoinHostPort(a.ListenAddress, strconv.Itoa(port))
}

// Trusted returns the networks that are believed about a visitor's address. A web server
// on this host reaches the container from Docker's own networks, as nothing else does
// while only this host can connect.
func (a Answers) Trusted() []string {
	var out []string
	for one := range strings.SplitSeq(a.TrustedProxies, ",") {
		one = strings.TrimSpace(one)
		if p, err := parseNetwork(one); err == nil && p.Addr().IsLoopback() {
			out = append(out, "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10")
			continue
		}
		if one != "" {
			out = append(out, one)
		}
	}
	return out
}

// WellKnown is the response that the web server of the server name must give at
// /.well-known/matrix/server.
func (a Answers) WellKnown() string { return fmt.Sprintf(`{"m.server":%q}`, a.FederationAddress()) }

// FederationAddress is where other Matrix servers are sent.
func (a Answers) FederationAddress() string {
	if a.FederationPort == 0 {
		return fmt.Sprintf("%s:%d", a.Domain, a.publicPort())
	}
	return fmt.Sprintf("%s:%d", a.Domain, a.FederationPort)
}

// ChatURL is where people point their browser.
func (a Answers) ChatURL() string {
	if !a.BundledRocketChat() {
		return strings.TrimRight(a.RocketChatURL, "/")
	}
	return a.SiteURL()
}

// PublicBridgeURL is where external servers reach the bridge.
func (a Answers) PublicBridgeURL() string {
	if a.BridgeURL != "" {
		return strings.TrimRight(a.BridgeURL, "/")
	}
	return a.SiteURL()
}

// BundledHomeserver reports whether the stack brings its own homeserver.
func (a Answers) BundledHomeserver() bool { return a.Homeserver != External }

// Software is the kind of the homeserver, bundled or external.
func (a Answers) Software() string {
	if a.BundledHomeserver() {
		return a.Homeserver
	}
	return a.HomeserverKind
}

// BundledRocketChat reports whether the stack brings its own Rocket.Chat.
func (a Answers) BundledRocketChat() bool { return a.RocketChat != External }

// BundledMongo reports whether the stack brings its own MongoDB.
func (a Answers) BundledMongo() bool { return a.BundledRocketChat() && a.MongoURL == "" }

// LocalpartPrefix is the prefix of the localparts of Rocket.Chat users: "" if they have
// the homeserver to themselves.
func (a Answers) LocalpartPrefix() string {
	if a.Namespace != Prefixed {
		return ""
	}
	return a.GhostPrefix
}

// Permanent returns the answers that can never change once an installation exists,
// because identifiers that other servers have stored contain them.
func (a Answers) Permanent() map[string]string {
	out := map[string]string{}
	for _, f := range Fields {
		if f.Permanent {
			out[f.Key] = f.Get(&a)
		}
	}
	return out
}
