package answers

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"appliance/bridge/ids"
	"appliance/provision/homeserver"
)

// A Kind says what values an answer has, so that the wizard can choose a prompt.
type Kind string

// Kinds of answers.
const (
	Text   Kind = "text"
	Choice Kind = "choice"
	Bool   Kind = "bool"
	Int    Kind = "int"
	// Settings are IDs with values: a mapping in the file, JSON elsewhere.
	Settings Kind = "settings"
)

// A Field describes one answer: how to ask for it, where it is kept and what is
// wrong with a value.
type Field struct {
	Key       string   // as in the answers file, --set and, in upper case, the environment
	Ask       string   // the question
	Help      string   // what it is for, in a sentence
	Kind      Kind     //
	Choices   []string // the values of a Choice
	Default   string   // the value when nothing is said; for some keys another answer, see Normalize
	Required  bool     // there is no default: the operator has to say
	Permanent bool     // cannot change once the installation exists
	Advanced  bool     // the wizard does not ask
	Note      string   // what the wizard says beside the question, in at most 58 characters
	Means     []string // what each of Choices means, in a few words
	Secret    bool     // may hold a password: not to be shown or kept anywhere else
	// If says whether the answer matters, given the others; nil when it always
	// does. One that does not is neither asked for nor required.
	If    func(Answers) bool
	Get   func(*Answers) string
	Set   func(*Answers, string) error
	Check func(string) error // nil when every value will do
	// Normal is the value that is meant by what was typed; nil when that is the same.
	Normal func(string) string
}

// Fields lists the answers in the order in which they are asked.
var Fields = slices.Concat([]Field{
	text("domain", func(a *Answers) *string { return &a.Domain }, Field{
		Ask: "Which name will people open in their browser?", Required: true, Check: checkHost, Normal: normalHost,
		Note: "A DNS name that points to this host: chat.example.org.",
		Help: "A DNS name of yours with an A or AAAA record for this host, such as chat.example.org.",
	}),
	text("server_name", func(a *Answers) *string { return &a.ServerName }, Field{
		Ask: "Which name should Matrix addresses end in?", Permanent: true, Check: optional(checkHost), Normal: normalHost,
		Note: "It follows the colon in @alice:example.org.",
		Help: "The part after the colon in @alice:example.org. It can never change. Empty means the same as domain.",
	}),
	text("email", func(a *Answers) *string { return &a.Email }, Field{
		Ask: "E-mail address for the certificate authority?", Check: optional(checkEmail), Normal: normalEmail,
		Note: "Optional. Only the certificate authority receives it.",
		Help: "Given to the certificate authority only. Let's Encrypt no longer sends warnings; others do.",
	}),
	choice("homeserver", func(a *Answers) *string { return &a.Homeserver }, Dendrite, append(homeserver.Bundled(), External), Field{
		Ask: "Which Matrix homeserver should run?", Permanent: true,
		Means: []string{"needs the least memory", "the reference server; needs more memory", "one that you already run"},
		Help:  "Dendrite needs less memory; Synapse is the reference implementation; external is your existing homeserver. It cannot be changed later.",
	}),
	text("homeserver_url", func(a *Answers) *string { return &a.HomeserverURL }, Field{
		Ask: "Where does the bridge reach your homeserver?", Required: true, If: externalHomeserver, Check: optional(checkElsewhere), Normal: normalURL,
		Note: "Its client API: https://matrix.example.org.",
		Help: "Its client API, from inside a container, such as https://matrix.example.org. Only with homeserver: external.",
	}),
	choice("homeserver_kind", func(a *Answers) *string { return &a.HomeserverKind }, Synapse, []string{Synapse, Dendrite, homeserver.Generic}, Field{
		Ask: "What does your homeserver run?", If: externalHomeserver,
		Means: []string{"by Element", "by matrix.org", "any other one that follows the specification"},
		Help:  "What the external homeserver runs; generic is any other one that follows the Matrix specification. Only with homeserver: external.",
	}),
	text("homeserver_database", func(a *Answers) *string { return &a.HomeserverDatabase }, Field{
		Ask: "Where should the homeserver keep its data?", Default: Bundled, Advanced: true, Check: optional(checkHomeserverDatabase), If: Answers.BundledHomeserver, Secret: true,
		Help: "bundled: the PostgreSQL of this installation. Or the URL of your own PostgreSQL, postgres://user:password@host/name, which backups leave out. To change it, copy the data first; see docs/external.md.",
	}),
	text("homeserver_database_ca_file", func(a *Answers) *string { return &a.HomeserverDatabaseCAFile }, Field{
		Ask: "Which file holds the certificate authorities for that PostgreSQL?", Advanced: true, Check: optional(checkAbsolute), If: Answers.BundledHomeserver,
		Help: "PEM. Only with the URL of a PostgreSQL as homeserver_database. One of them must have issued its certificate, for its name, or for any name with sslmode=verify-ca in the URL.",
	}),
	text("namespace", func(a *Answers) *string { return &a.Namespace }, Field{
		Kind: Choice, Choices: []string{Native, Prefixed}, Check: optional(oneOf([]string{Native, Prefixed})),
		Ask: "How should Matrix addresses of Rocket.Chat users look?", Permanent: true, Advanced: true,
		Help: "native: @alice:server_name. prefixed: @rc_alice:server_name, for a homeserver with its own users. Empty means native, and prefixed with homeserver: external.",
	}),
	text("ghost_prefix", func(a *Answers) *string { return &a.GhostPrefix }, Field{
		Ask: "What should the addresses of Rocket.Chat users begin with?", Default: ids.DefaultPrefix, Permanent: true, Advanced: true, Check: ids.CheckPrefix,
		Help: "With namespace: prefixed. Installations that share a homeserver need different ones, none of which is a prefix of another.",
	}),
	text("appservice_id", func(a *Answers) *string { return &a.AppServiceID }, Field{
		Ask: "What is the bridge called in its registration?", Permanent: true, Advanced: true, Check: optional(checkAppServiceID),
		Help: "The ID of the application service at the homeserver, where each needs its own. Empty means rocketchat, preceded by your ghost_prefix if you set one.",
	}),
	text("appservice_bot", func(a *Answers) *string { return &a.AppServiceBot }, Field{
		Ask: "What is the name of the bridge's own Matrix user?", Permanent: true, Advanced: true, Check: optional(checkBot),
		Help: "Its localpart. No user of Rocket.Chat and no other bridge of the homeserver may have it. Empty means rocket.cat, preceded by your ghost_prefix if you set one.",
	}),
	choice("rocketchat", func(a *Answers) *string { return &a.RocketChat }, Bundled, []string{Bundled, External}, Field{
		Ask: "Which Rocket.Chat?", Advanced: true,
		Help: "bundled: part of this installation. external: your existing Rocket.Chat. One installation serves one workspace.",
	}),
	text("rocketchat_url", func(a *Answers) *string { return &a.RocketChatURL }, Field{
		Ask: "Where is your Rocket.Chat?", Required: true, If: externalRocketChat, Check: optional(checkElsewhere), Normal: normalURL,
		Note: "As people open it: https://chat.example.org.",
		Help: "Its address as people open it, such as https://chat.example.org. Only with rocketchat: external.",
	}),
	text("rocketchat_user_id", func(a *Answers) *string { return &a.RocketChatUserID }, Field{
		Ask: "Which user ID does the bridge's account have there?", Required: true, If: externalRocketChat, Check: optional(checkUserID),
		Note: "Rocket.Chat shows it beside the personal access token.",
		Help: "Shown beside its personal access token; the account needs the roles admin and bot. Only with rocketchat: external.",
	}),
	text("rocketchat_token_file", func(a *Answers) *string { return &a.RocketChatTokenFile }, Field{
		Ask: "Which file holds that account's personal access token?", Required: true, If: externalRocketChat, Check: optional(checkAbsolute),
		Note: "An absolute path on this host.",
		Help: "Create it with 'ignore two factor authentication'. Only with rocketchat: external.",
	}),
	text("rocketchat_create_token_secret_file", func(a *Answers) *string { return &a.RocketChatSecretFile }, Field{
		Ask: "Which file holds its CREATE_TOKENS_FOR_USERS_SECRET?", Required: true, If: externalRocketChat, Check: optional(checkAbsolute),
		Note: "An absolute path on this host.",
		Help: "The value of that variable in the environment of your Rocket.Chat. Only with rocketchat: external.",
	}),
	text("bridge_url", func(a *Answers) *string { return &a.BridgeURL }, Field{
		Ask: "Where do your servers reach the bridge?", Advanced: true, Check: optional(checkElsewhere), Normal: normalURL,
		Help: "Empty means the front door of this host. Only with homeserver: external or rocketchat: external.",
	}),
	text("bridge_database", func(a *Answers) *string { return &a.BridgeDatabase }, Field{
		Ask: "Where should the bridge keep its data?", Default: SQLite, Advanced: true, Check: checkBridgeDatabase, Secret: true,
		Help: "sqlite: a file of its own. bundled: a schema in the homeserver's PostgreSQL. Or the URL of a PostgreSQL, postgres://user:password@host/name, which backups leave out. To change it, move the bridge's data with: appliance bridge migrate-database; see docs/external.md.",
	}),
	text("bridge_database_ca_file", func(a *Answers) *string { return &a.BridgeDatabaseCAFile }, Field{
		Ask: "Which file holds the certificate authorities for that PostgreSQL?", Advanced: true, Check: optional(checkAbsolute),
		Help: "PEM. Only with the URL of a PostgreSQL, whose certificate must then be issued by one of them and match its name (sslmode=verify-full), unless the URL has another sslmode.",
	}),
	integer("bridge_replicas", func(a *Answers) *int { return &a.BridgeReplicas }, 1, Field{
		Ask: "How many bridge processes should share the work?", Advanced: true, Check: checkReplicas,
		Help: "From 1 to 8. When one dies, another one takes over within 15 seconds. More than 1 needs bridge_database: bundled or a URL.",
	}),
	text("admin_username", func(a *Answers) *string { return &a.AdminUsername }, Field{
		Ask: "What is the administrator's username?", Default: "admin", Check: checkUsername, Normal: strings.ToLower, If: Answers.BundledRocketChat,
		Note: "The first Rocket.Chat user. The password is generated.",
		Help: "The first Rocket.Chat administrator. The password is generated.",
	}),
	text("admin_email", func(a *Answers) *string { return &a.AdminEmail }, Field{
		Ask: "What is the administrator's e-mail address?", Check: optional(checkEmail), Normal: normalEmail, If: Answers.BundledRocketChat,
		Note: "Rocket.Chat requires one. It can change at any time.",
		Help: "Required by Rocket.Chat. Empty means the administrator's username at domain.",
	}),
	choice("tls", func(a *Answers) *string { return &a.TLS }, ACME, []string{ACME, Internal, Files, NoTLS}, Field{
		Ask:   "Where should certificates come from?",
		Means: []string{"Let's Encrypt or another ACME authority", "an authority of this host, for closed networks", "you have a certificate", "a web server in front has one"},
		Help:  "acme: Let's Encrypt or another authority. internal: a private authority of this host, for closed networks. files: your own certificate. none: a web server in front of this one terminates TLS, see docs/proxy.md.",
	}),
	text("tls_cert_file", func(a *Answers) *string { return &a.TLSCertFile }, Field{
		Ask: "Which file holds the certificate and its chain?", Required: true, If: ownCertificate, Check: optional(checkAbsolute),
		Note: "PEM, an absolute path on this host.",
		Help: "PEM, valid for every name. Only with tls: files.",
	}),
	text("tls_key_file", func(a *Answers) *string { return &a.TLSKeyFile }, Field{
		Ask: "Which file holds the private key?", Required: true, If: ownCertificate, Check: optional(checkAbsolute),
		Note: "PEM, an absolute path on this host.",
		Help: "PEM. Only with tls: files.",
	}),
	text("acme_directory", func(a *Answers) *string { return &a.ACMEDirectory }, Field{
		Ask: "Which ACME directory?", Default: LetsEncrypt, Advanced: true, Check: checkHTTPS,
		Help: "The address of the certificate authority's directory.",
	}),
	text("acme_ca_file", func(a *Answers) *string { return &a.ACMECAFile }, Field{
		Ask: "Which file holds the private authority's root certificates?", Advanced: true, Check: optional(checkAbsolute),
		Help: "PEM. Trusted when speaking to the certificate authority and, in federation, to other servers.",
	}),
	text("acme_eab_key_id", func(a *Answers) *string { return &a.ACMEEABKeyID }, Field{
		Ask: "Which key ID did the certificate authority give you?", Advanced: true, Check: optional(checkKeyID),
		Help: "For authorities that require external account binding.",
	}),
	text("acme_eab_hmac_file", func(a *Answers) *string { return &a.ACMEEABHMACFile }, Field{
		Ask: "Which file holds the HMAC key that belongs to it?", Advanced: true, Check: optional(checkAbsolute),
		Help: "The HMAC key of acme_eab_key_id in base64, readable by its owner only.",
	}),
	text("mongo_url", func(a *Answers) *string { return &a.MongoURL }, Field{
		Ask: "Which MongoDB?", Advanced: true, Check: optional(checkMongo), Secret: true,
		Help: "URL of an external MongoDB replica set, mongodb://user:password@host/rocketchat?authSource=admin. Empty means a bundled one.", If: Answers.BundledRocketChat,
	}),
	text("mongo_ca_file", func(a *Answers) *string { return &a.MongoCAFile }, Field{
		Ask: "Which file holds the CA certificates for that MongoDB?", Advanced: true, Check: optional(checkAbsolute), If: Answers.BundledRocketChat,
		Help: "PEM. Only with mongo_url, whose connections then use TLS: the certificate must be issued by one of these authorities and match its name.",
	}),
	boolean("synapse_admin", func(a *Answers) *bool { return &a.SynapseAdmin }, Field{
		Ask: "Should there be a web page to administer Synapse?", Advanced: true,
		Help: "Only with homeserver: synapse. It listens on 127.0.0.1 only; see: appliance synapse-admin.",
	}),
	integer("synapse_admin_port", func(a *Answers) *int { return &a.SynapseAdminPort }, 8009, Field{
		Ask: "Which port for that page?", Advanced: true, Check: checkPort,
		Help: "The port on 127.0.0.1.",
	}),
	boolean("metrics", func(a *Answers) *bool { return &a.Metrics }, Field{
		Ask: "Should the bridge's metrics be published for Prometheus?", Advanced: true,
		Help: "At http://127.0.0.1:9464/metrics, on this host only; see docs/metrics.md.",
	}),
	integer("metrics_port", func(a *Answers) *int { return &a.MetricsPort }, 9464, Field{
		Ask: "Which port for these metrics?", Advanced: true, Check: checkPort,
		Help: "The port on 127.0.0.1.",
	}),
	boolean("monitoring", func(a *Answers) *bool { return &a.Monitoring }, Field{
		Ask: "Should Prometheus run here to store the bridge's metrics and raise alarms?", Advanced: true,
		Help: "At http://127.0.0.1:9090, on this host only, with 256 MB of memory and at most 1 GB of disk; see docs/monitoring.md.",
	}),
	integer("monitoring_port", func(a *Answers) *int { return &a.MonitoringPort }, 9090, Field{
		Ask: "Which port for Prometheus?", Advanced: true, Check: checkPort,
		Help: "The port on 127.0.0.1.",
	}),
	text("traces_endpoint", func(a *Answers) *string { return &a.TracesEndpoint }, Field{
		Ask: "Which OpenTelemetry collector should receive traces of messages?", Advanced: true, Check: optional(checkCollector),
		Help: "Its address for traces by OTLP over HTTP, as the bridge's container reaches it: http://collector:4318/v1/traces. Empty means none; see docs/monitoring.md.",
	}),
	text("traces_headers_file", func(a *Answers) *string { return &a.TracesHeadersFile }, Field{
		Ask: "Which file holds headers for that collector?", Advanced: true, Check: optional(checkAbsolute),
		Help: "One per line, such as Authorization: Bearer x. Readable by its owner only. Goes with traces_endpoint.",
	}),
	boolean("federation_private_networks", func(a *Answers) *bool { return &a.FederationPrivateNetworks }, Field{
		Ask: "May other Matrix servers have private addresses?", Advanced: true,
		Help: "Only for closed networks and tests: lets federation reach 10.0.0.0/8 and the like.",
	}),
	boolean("presence", func(a *Answers) *bool { return &a.Presence }, Field{
		Ask: "Show people who is online on the other side?", Advanced: true,
		Help: "Switches presence on in the homeserver and in the bridge. It costs CPU for every server that shares a room. true also sets the live key presence of the bridge to true, whatever was written there by hand. false turns it off in the homeserver and leaves the live key as it is.",
	}),
	integer("http_port", func(a *Answers) *int { return &a.HTTPPort }, 80, Field{
		Ask: "Which port for HTTP?", Advanced: true, Check: checkPort,
		Help: "Certificate authorities connect to port 80 and to no other.",
	}),
	integer("https_port", func(a *Answers) *int { return &a.HTTPSPort }, 443, Field{
		Ask: "Which port for HTTPS?", Advanced: true, Check: checkPort,
		Help: "Where people and other Matrix servers connect.",
	}),
	integer("federation_port", func(a *Answers) *int { return &a.FederationPort }, 0, Field{
		Ask: "Which port for other Matrix servers?", Advanced: true, Check: checkFederationPort,
		Help: "0 means https_port. Set 8448 if a proxy in front of https_port blocks other servers.",
	}),
	text("smtp_host", func(a *Answers) *string { return &a.SMTPHost }, Field{
		Ask: "Which mail server should Rocket.Chat use?", Advanced: true, Check: optional(checkHost), If: Answers.BundledRocketChat,
		Help: "The name of an SMTP server. Empty means that Rocket.Chat sends no mail: users cannot reset a forgotten password themselves.",
	}),
	integer("smtp_port", func(a *Answers) *int { return &a.SMTPPort }, 587, Field{
		Ask: "Which port of the mail server?", Advanced: true, Check: checkPort,
		Help: "587 starts without TLS and switches to it; 465 uses TLS from the start.",
	}),
	text("smtp_username", func(a *Answers) *string { return &a.SMTPUsername }, Field{
		Ask: "Which user signs in to the mail server?", Advanced: true, Check: checkPlain,
		Help: "Empty for a mail server that asks for none.",
	}),
	text("smtp_password_file", func(a *Answers) *string { return &a.SMTPPasswordFile }, Field{
		Ask: "Which file holds that user's password?", Advanced: true, Check: optional(checkAbsolute),
		Help: "Readable by its owner only. Goes with smtp_username.",
	}),
	text("smtp_from", func(a *Answers) *string { return &a.SMTPFrom }, Field{
		Ask: "Which address should mail come from?", Advanced: true, Check: optional(checkEmail),
		Help: "Empty means the administrator's e-mail address.",
	}),
	text("rocketchat_registration_token_file", func(a *Answers) *string { return &a.RegistrationTokenFile }, Field{
		Ask: "Which file holds the workspace's registration token?", Advanced: true, Check: optional(checkAbsolute), If: Answers.BundledRocketChat,
		Help: "From cloud.rocket.chat. A registered workspace can send push notifications, and use a licence.",
	}),
	rocketchatSettingsField,
	text("listen_address", func(a *Answers) *string { return &a.ListenAddress }, Field{
		Ask: "On which address should the ports be open?", Advanced: true, Check: optional(checkAddress),
		Help: "Empty means every address of this host; 127.0.0.1 is for a web server in front of this one on the same host.",
	}),
	text("trusted_proxies", func(a *Answers) *string { return &a.TrustedProxies }, Field{
		Ask: "Which web servers in front of this one say where visitors come from?", Advanced: true, Check: checkProxies,
		Help: "Addresses or networks, separated by commas, whose X-Forwarded-For counts, such as 127.0.0.1 or 10.0.0.5; see docs/proxy.md. What others say is ignored.",
	}),
	choice("delegation", func(a *Answers) *string { return &a.Delegation }, DelegationHere, []string{DelegationHere, DelegationElsewhere, DelegationSRV}, Field{
		Ask: "How do other servers get from the server name to this host?", Advanced: true,
		Help: "Only when server_name differs from domain. here: the server name leads to this host too. well-known: its own web server answers one path. srv: a DNS record, with tls: files. See docs/proxy.md.",
	}),
	text("docker_subnet", func(a *Answers) *string { return &a.DockerSubnet }, Field{
		Ask: "Which addresses should the containers have?", Advanced: true, Check: optional(checkSubnet),
		Help: "Such as 10.213.0.0/24, if Docker's addresses overlap with a VPN or another network. Empty means that Docker chooses.",
	}),
	text("memory_limits", func(a *Answers) *string { return &a.MemoryLimits }, Field{
		Ask: "How much memory may the services have?", Advanced: true, Check: optional(checkMemoryLimits),
		Help: "In MB, such as homeserver=1024,rocketchat=2048. A service that is not named gets a share of this host's memory. Cache and heap sizes follow.",
	}),
	integer("min_cpus", func(a *Answers) *int { return &a.MinCPUs }, 2, Field{
		Ask: "How many CPUs are enough?", Advanced: true, Check: checkNatural,
		Help: "Set lower to install on a smaller host at your own risk.",
	}),
	integer("min_memory_mb", func(a *Answers) *int { return &a.MinMemoryMB }, 2048, Field{
		Ask: "How many MB of memory are enough?", Advanced: true, Check: checkNatural,
		Help: "Set lower to install on a smaller host at your own risk.",
	}),
	integer("min_disk_gb", func(a *Answers) *int { return &a.MinDiskGB }, 20, Field{
		Ask: "How many GB of disk are enough?", Advanced: true, Check: checkNatural,
		Help: "Set lower to install on a smaller host at your own risk.",
	}),
	choice("swap_file", func(a *Answers) *string { return &a.SwapFile }, SwapAsk, []string{SwapAsk, SwapYes, SwapNo}, Field{
		Ask: "Should this host get a swap file where its memory is small?", Advanced: true, // asked where it is small
		Help: "On a host with less than 3.5 GB of memory and 1 GB of swap, up adds a swap file of 2 GB, which uninstall removes. ask: up asks on a terminal and otherwise adds none.",
	}),
}, alarmFields, offsiteFields, uploadFields)

func externalHomeserver(a Answers) bool { return !a.BundledHomeserver() }
func externalRocketChat(a Answers) bool { return !a.BundledRocketChat() }
func ownCertificate(a Answers) bool     { return a.TLS == Files }

// Asked reports whether the wizard asks for f, given the other answers.
func (f Field) Asked(a Answers) bool { return !f.Advanced && f.matters(a) }

func (f Field) matters(a Answers) bool { return f.If == nil || f.If(a) }

// Meant returns the value meant by what was typed: without surrounding spaces, in lower case where
// case does not matter, names in the form that DNS uses. Unusable input stays as it was typed.
func (f Field) Meant(typed string) string {
	typed = strings.TrimSpace(typed)
	if f.Normal == nil || typed == "" {
		return typed
	}
	if meant := f.Normal(typed); f.Check == nil || f.Check(meant) == nil {
		return meant
	}
	return typed
}

// Lookup returns the field with the given key.
func Lookup(key string) (Field, bool) {
	for _, f := range Fields {
		if f.Key == key {
			return f, true
		}
	}
	return Field{}, false
}

func text(key string, at func(*Answers) *string, f Field) Field {
	f.Key = key
	if f.Kind == "" {
		f.Kind = Text
	}
	f.Get = func(a *Answers) string { return *at(a) }
	f.Set = func(a *Answers, v string) error { *at(a) = v; return nil }
	return f
}

func choice(key string, at func(*Answers) *string, def string, of []string, f Field) Field {
	f = text(key, at, f)
	f.Kind, f.Choices, f.Default, f.Check, f.Normal = Choice, of, def, oneOf(of), strings.ToLower
	return f
}

func boolean(key string, at func(*Answers) *bool, f Field) Field {
	f.Key, f.Kind, f.Default = key, Bool, "false"
	f.Get = func(a *Answers) string { return strconv.FormatBool(*at(a)) }
	f.Set = func(a *Answers, v string) error {
		b, err := strconv.ParseBool(v)
		if err != nil {
			return fmt.Errorf("must be true or false")
		}
		*at(a) = b
		return nil
	}
	return f
}

func integer(key string, at func(*Answers) *int, def int, f Field) Field {
	f.Key, f.Kind, f.Default = key, Int, strconv.Itoa(def)
	f.Get = func(a *Answers) string { return strconv.Itoa(*at(a)) }
	f.Set = func(a *Answers, v string) error {
		n, err := strconv.Atoi(v)
		if err != nil {
			return fmt.Errorf("must be a whole number")
		}
		*at(a) = n
		return nil
	}
	return f
}
