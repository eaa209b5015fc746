package render

import (
	"maps"
	"net/url"
	"path"
	"regexp"
	"slices"
	"strings"

	"appliance/bridge/ids"
	"appliance/provision/answers"
	"appliance/provision/homeserver"
	"appliance/provision/secrets"
	"appliance/templates"
)

type homeserverFields struct {
	ServerName, SiteURL, FederationAddress string
	BotUser                                string // the bridge's own Matrix user
	PostgresURL                            string
	PostgresArgs                           [][2]string // the same, as libpq names its parts
	RegistrationSecret                     string
	MacaroonSecret, FormSecret             string
	CacheMB                                int
	PrivateNetworks, Presence              bool
	DenyNetworks                           []string
	RemoteMediaDays                        int
}

// denyNetworks are the addresses that are not public: a server that claims one of
// them would make the homeserver connect to this host's neighbours.
// They are those of the IANA registries for special purposes, RFC 6890.
var denyNetworks = []string{
	"0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24", "192.0.2.0/24",
	"192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4",
	"::/128", "::1/128", "100::/64", "2001:db8::/32", "fc00::/7", "fe80::/10", "fec0::/10", "ff00::/8",
}

func (in Input) homeserver(put putter) error {
	const dir = "config/homeserver/"
	a, reveal := in.Answers, func(n secrets.Name) string { return in.Secrets[n].Reveal() }
	address := in.homeserverDatabase()
	fields := homeserverFields{
		ServerName: a.ServerName, SiteURL: a.SiteURL(),
		FederationAddress: a.FederationAddress(), BotUser: "@" + Bridge(in).AppService.Bot + ":" + a.ServerName,
		PostgresURL: address.String(), PostgresArgs: libpq(address),
		RegistrationSecret: reveal(secrets.RegistrationSecret),
		MacaroonSecret:     reveal(secrets.MacaroonSecret), FormSecret: reveal(secrets.FormSecret),
		CacheMB:         max(64, in.memory().homeserver/4),
		PrivateNetworks: a.FederationPrivateNetworks, Presence: a.Presence, DenyNetworks: denyNetworks, RemoteMediaDays: a.RemoteMediaDays,
	}
	stack := homeserver.Of(a.Homeserver).Stack
	if stack == nil {
		registration, err := execute(templates.FS, "rocketchat-registration.yaml.tmpl", in.registration())
		put(Registration, 0o600, Root, registration)
		return err
	}
	for _, name := range stack.Templates {
		data, err := execute(templates.FS, name+".tmpl", fields)
		if err != nil {
			return err
		}
		put(dir+name, 0o600, ApplianceUser, data)
	}
	if err := in.signingKey(put, dir, stack); err != nil {
		return err
	}
	if len(in.HomeserverDatabaseCA) > 0 {
		put(homeserverDatabaseCA, 0o644, ApplianceUser, in.HomeserverDatabaseCA)
	}
	registration, err := execute(templates.FS, "rocketchat-registration.yaml.tmpl", in.registration())
	put(Registration, 0o600, ApplianceUser, registration)
	return err
}

// homeserverDatabaseCA is where the homeserver finds the authorities of its database.
const homeserverDatabaseCA = "config/homeserver/database_ca.pem"

// homeserverDatabase returns the address of the homeserver's database, as its container reaches it.
func (in Input) homeserverDatabase() url.URL {
	if in.Answers.BundledPostgres() {
		return postgres(in.Secrets, "postgres:5432")
	}
	u, err := url.Parse(HomeserverDatabase(in.Answers, "/etc/dendrite/"+path.Base(homeserverDatabaseCA)))
	if err != nil { // already checked
		return url.URL{}
	}
	return *u
}

// HomeserverDatabase returns the address of the operator's PostgreSQL for the homeserver.
// caFile is the path of its file of authorities for whoever connects.
func HomeserverDatabase(a answers.Answers, caFile string) string {
	return WithCA(a.HomeserverDatabase, a.HomeserverDatabaseCAFile, caFile)
}

// libpq splits an address into the keywords that psycopg2 takes.
func libpq(u url.URL) [][2]string {
	password, _ := u.User.Password()
	out := [][2]string{{"user", u.User.Username()}, {"password", password}, {"dbname", strings.Trim(u.Path, "/")}, {"host", u.Hostname()}}
	if port := u.Port(); port != "" && port != "5432" {
		out = append(out, [2]string{"port", port})
	}
	for _, key := range slices.Sorted(maps.Keys(u.Query())) {
		out = append(out, [2]string{key, u.Query().Get(key)})
	}
	return out
}

// postgres returns the address of the homeserver's database at a host.
func postgres(set secrets.Set, host string) url.URL {
	return url.URL{
		Scheme: "postgresql", User: url.UserPassword("homeserver", set[secrets.PostgresPassword].Reveal()),
		Host: host, Path: "/homeserver", RawQuery: "sslmode=disable",
	}
}

func (in Input) signingKey(put putter, dir string, stack *homeserver.Stack) (err error) {
	key := strings.TrimRight(in.Secrets[secrets.MatrixKey].Reveal(), "\n")
	if stack.TranslatesKey {
		key, err = secrets.SynapseKey(key)
	} else {
		key += "\n"
	}
	put(dir+stack.SigningKey, 0o600, ApplianceUser, []byte(key))
	return err
}

type registrationFields struct {
	ID, URL, ASToken, HSToken, Bot, UserRegex string
	OwnAliases, FreeAliases                   string // FreeAliases is "" if the homeserver has its own users
}

func (in Input) registration() registrationFields {
	b := Bridge(in)
	server := ":" + regexp.QuoteMeta(in.Answers.ServerName) + "$"
	names := ids.Namespace{Server: in.Answers.ServerName, Prefix: in.Answers.LocalpartPrefix(), Bot: b.AppService.Bot}
	local, free := `[^:]+`, "^#[^:]+"+server
	if names.Prefix != "" {
		free = ""
		local = regexp.QuoteMeta(names.Prefix) + `.*`
	}
	address := insideBridge
	if !in.Answers.BundledHomeserver() {
		address = in.Answers.PublicBridgeURL()
	}
	return registrationFields{
		ID: b.AppService.ID, URL: address, Bot: b.AppService.Bot,
		ASToken: in.Secrets[secrets.ASToken].Reveal(), HSToken: in.Secrets[secrets.HSToken].Reveal(),
		UserRegex: "^@" + local + server, OwnAliases: "^#" + regexp.QuoteMeta(names.AliasPrefix()) + "[^:]+" + server, FreeAliases: free,
	}
}
