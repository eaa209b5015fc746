package render

import (
	"cmp"
	"fmt"
	"net/url"
	"path"
	"reflect"
	"strings"

	"go.yaml.in/yaml/v3"

	"appliance/bridge/config"
	"appliance/provision/answers"
	"appliance/provision/secrets"
)

// BridgeUserID is the _id of the bridge's account in Rocket.Chat.
const BridgeUserID = "rcmxbridge0000001"

const insideBridge = "http://bridge:29328"

// Bridge returns the configuration of the bridge for the answers.
func Bridge(in Input) config.Config {
	c := config.Default()
	c.Homeserver = config.Homeserver{URL: "http://homeserver:8008", Domain: in.Answers.ServerName, Kind: in.Answers.Homeserver}
	c.AppService.URL = insideBridge // where Rocket.Chat reaches the bridge
	c.AppService.HSTokenFile = "/run/secrets/bridge/hs_token"
	c.AppService.ASTokenFile = "/run/secrets/bridge/as_token"
	c.RocketChat = config.RocketChat{
		URL: "http://rocketchat:3000", SiteURL: in.Answers.SiteURL(), UserID: BridgeUserID,
		TokenFile: "/run/secrets/bridge/rocketchat_token", CreateTokenSecretFile: "/run/secrets/bridge/create_token_secret",
	}
	c.Database = in.bridgeDatabase()
	c.Namespace, c.GhostPrefix = in.Answers.Namespace, in.Answers.GhostPrefix
	a := in.Answers
	if p := a.LocalpartPrefix(); p != "" && p != config.Default().GhostPrefix { // one of several on a homeserver
		c.AppService.ID, c.AppService.Bot = p+c.AppService.ID, p+c.AppService.Bot
	}
	c.AppService.ID, c.AppService.Bot = cmp.Or(a.AppServiceID, c.AppService.ID), cmp.Or(a.AppServiceBot, c.AppService.Bot)
	if !a.BundledHomeserver() {
		c.Homeserver.URL, c.Homeserver.Kind = strings.TrimRight(a.HomeserverURL, "/"), a.HomeserverKind
	}
	if !a.BundledRocketChat() {
		c.AppService.URL = a.PublicBridgeURL()
		c.RocketChat = config.RocketChat{
			URL: a.ChatURL(), SiteURL: a.ChatURL(), UserID: a.RocketChatUserID,
			TokenFile: "/etc/appliance/" + path.Base(rocketchatToken), CreateTokenSecretFile: "/etc/appliance/" + path.Base(rocketchatSecret),
		}
	}
	c.Traces.Endpoint = a.TracesEndpoint
	if a.TracesHeadersFile != "" {
		c.Traces.HeadersFile = "/etc/appliance/" + path.Base(traceHeaders)
	}
	if in.Live != nil {
		c.Live = *in.Live
	}
	c.Presence = c.Presence || a.Presence
	return c
}

// traceHeaders are the headers for the trace collector.
const traceHeaders = "config/bridge/trace_headers"

// databaseCA is the file of the installation with the authorities of the bridge's database.
const databaseCA = "config/bridge/database_ca.pem"

// bridgeDatabase returns where the bridge keeps its data.
func (in Input) bridgeDatabase() string {
	switch in.Answers.BridgeDatabase {
	case answers.SQLite, "":
		return "sqlite:/data/bridge.db"
	case answers.Bundled:
		return BundledDatabase(in.Secrets, "postgres:5432")
	}
	return ExternalDatabase(in.Answers, "/etc/appliance/"+path.Base(databaseCA))
}

// BundledDatabase returns the address of the bridge's schema in the homeserver's PostgreSQL,
// which is part of the same backups. host is where that server is reached.
func BundledDatabase(set secrets.Set, host string) string {
	u := postgres(set, host)
	q := u.Query()
	q.Set("search_path", "bridge")
	u.RawQuery = q.Encode()
	return u.String()
}

// ExternalDatabase returns the address of the operator's PostgreSQL. With a file of authorities
// the server must have a certificate from one of them for its name, unless the address says
// otherwise. caFile is the path of that file for whoever connects.
func ExternalDatabase(a answers.Answers, caFile string) string {
	return WithCA(a.BridgeDatabase, a.BridgeDatabaseCAFile, caFile)
}

// WithCA adds the file of authorities that an answer names, if it names one, to the
// address of a PostgreSQL.
func WithCA(address, answer, caFile string) string {
	u, err := url.Parse(Verified(address, answer))
	if err != nil || answer == "" {
		return address
	}
	q := u.Query()
	q.Set("sslrootcert", caFile)
	u.RawQuery = q.Encode()
	return u.String()
}

// Verified returns the address of a PostgreSQL, requiring a verified certificate if an answer
// names its authorities and the address does not say otherwise.
func Verified(address, answer string) string {
	u, err := url.Parse(address)
	if err != nil || answer == "" || u.Query().Has("sslmode") {
		return address
	}
	q := u.Query()
	q.Set("sslmode", "verify-full")
	u.RawQuery = q.Encode()
	return u.String()
}

// explanations are the comments above the keys of bridge.yaml.
var explanations = map[string]string{
	"enabled":         "false holds messages back in both directions and delivers them once this is true again.",
	"log_level":       "debug, info, warn or error.",
	"servers":         "Which Matrix servers may federate: patterns such as \"*.example.org\".",
	"public_channels": "Public channels that people on Matrix can find and join by alias: names or patterns such as \"help-*\".",
	"homeserver":      "Where Matrix is. The domain ends every Matrix address and never changes.",
	"appservice":      "The bridge as the homeserver knows it, in rocketchat-registration.yaml.",
	"rocketchat":      "Where Rocket.Chat is and who the bridge is there.",
	"database":        "Where the bridge stores its persistent data.",
	"namespace":       "native: @alice:domain. prefixed: @rc_alice:domain.",
	"trace_percent":   "The percentage of messages that are traced, where traces.endpoint names a collector.",
	"traces":          "The OpenTelemetry collector that receives traces of messages; see docs/monitoring.md.",
	"ghost_prefix":    "What the addresses of Rocket.Chat users begin with, where namespace is prefixed. It never changes.",
}

// keys writes every key of a configuration, each below its explanation. It iterates over the
// type, so a new key of the bridge is never left out.
func keys(v any) (string, error) {
	var b strings.Builder
	value := reflect.ValueOf(v)
	for i := range value.NumField() {
		key := config.KeyOf(value.Type().Field(i))
		if text := explanations[key]; text != "" {
			fmt.Fprintf(&b, "# %s\n", text)
		}
		enc := yaml.NewEncoder(&b)
		enc.SetIndent(2)
		if err := enc.Encode(map[string]any{key: value.Field(i).Interface()}); err != nil {
			return "", err
		}
		b.WriteString("\n")
	}
	return b.String(), nil
}
