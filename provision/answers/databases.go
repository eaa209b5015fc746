package answers

import (
	"cmp"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strings"
)

// DatabaseAnswers are the answers about where the servers and the bridge keep their data.
type DatabaseAnswers struct {
	HomeserverDatabase       string `yaml:"homeserver_database"`
	HomeserverDatabaseCAFile string `yaml:"homeserver_database_ca_file"`
	BridgeDatabase           string `yaml:"bridge_database"`
	BridgeDatabaseCAFile     string `yaml:"bridge_database_ca_file"`
	MongoURL                 string `yaml:"mongo_url"`
	MongoCAFile              string `yaml:"mongo_ca_file"`
}

// IsURL reports whether the answer about a database is the URL of one of the operator's.
func IsURL(database string) bool { return database != SQLite && database != Bundled && database != "" }

// BundledPostgres reports whether the stack brings its own PostgreSQL.
func (a Answers) BundledPostgres() bool { return a.BundledHomeserver() && !IsURL(a.HomeserverDatabase) }

// HomeserverDatabaseAt returns where a bundled homeserver keeps its data, without the
// user and the password: bundled, or host:port/name.
func (d DatabaseAnswers) HomeserverDatabaseAt() string {
	u, err := url.Parse(d.HomeserverDatabase)
	if !IsURL(d.HomeserverDatabase) || err != nil {
		return Bundled
	}
	return net.JoinHostPort(u.Hostname(), cmp.Or(u.Port(), "5432")) + u.Path
}

// checkHomeserverDatabase accepts bundled, or a PostgreSQL URL that both homeservers
// understand: the drivers of Dendrite and Synapse share few parameters.
func checkHomeserverDatabase(s string) error {
	if s == Bundled {
		return nil
	}
	u, err := url.Parse(s)
	if err != nil || u.Scheme != "postgres" && u.Scheme != "postgresql" || u.Hostname() == "" || strings.Trim(u.Path, "/") == "" || u.User.Username() == "" {
		return fmt.Errorf("must be bundled or a URL such as postgres://user:password@host/name")
	}
	if strings.ContainsAny(s, " '\"\n") {
		return fmt.Errorf("must not contain spaces or quotes")
	}
	if ip := net.ParseIP(u.Hostname()); u.Hostname() == "localhost" || ip != nil && ip.IsLoopback() {
		return fmt.Errorf("must be an address that a container reaches: %s would be the container itself", u.Hostname())
	}
	for key, values := range u.Query() {
		switch {
		case key == "sslrootcert":
			return fmt.Errorf("must not have sslrootcert, which the container of the homeserver does not see: name the file as homeserver_database_ca_file")
		case key == "sslmode" && !slices.Contains(sslModes, values[0]):
			return fmt.Errorf("must have one of these as sslmode: %s", strings.Join(sslModes, ", "))
		case !slices.Contains([]string{"sslmode", "connect_timeout", "application_name"}, key) || len(values) > 1:
			return fmt.Errorf("must have no parameter %s: only sslmode, connect_timeout and application_name, each once", key)
		}
	}
	return nil
}

// sslModes are those for a homeserver's database: the ones that every driver treats alike.
var sslModes = []string{"verify-full", "verify-ca", "require", "disable"}

// consistent checks the answers about databases against each other and the rest. The
// certificate of an external homeserver database is verified unless its URL turns that off.
func (d DatabaseAnswers) consistent(a Answers) []Problem {
	const key, ca = "homeserver_database", "homeserver_database_ca_file"
	problems := d.mongo()
	report := func(key, value, reason string) {
		problems = append(problems, Problem{Key: key, Value: value, Reason: reason})
	}
	if d.BridgeDatabaseCAFile != "" && !IsURL(d.BridgeDatabase) {
		report("bridge_database_ca_file", d.BridgeDatabaseCAFile, "applies only if bridge_database is the URL of a PostgreSQL")
	}
	if d.BridgeDatabase == Bundled && !a.BundledHomeserver() {
		report("bridge_database", Bundled, "needs a bundled homeserver, whose PostgreSQL it uses: with homeserver: external give the URL of a PostgreSQL")
	}
	switch {
	case IsURL(d.HomeserverDatabase) && !a.BundledHomeserver():
		report(key, "", "is for a bundled homeserver: with homeserver: external it has its own")
		return problems
	case d.HomeserverDatabaseCAFile != "" && !IsURL(d.HomeserverDatabase):
		report(ca, d.HomeserverDatabaseCAFile, "applies only if homeserver_database is the URL of a PostgreSQL")
		return problems
	case !IsURL(d.HomeserverDatabase):
		return problems
	}
	if d.BridgeDatabase == Bundled {
		report("bridge_database", Bundled, "needs the PostgreSQL of the installation, and homeserver_database names another: give a URL here too, or sqlite")
	}
	mode := ""
	if u, err := url.Parse(d.HomeserverDatabase); err == nil {
		mode = u.Query().Get("sslmode")
	}
	switch verified := mode == "" || strings.HasPrefix(mode, "verify-"); {
	case verified && d.HomeserverDatabaseCAFile == "":
		report(ca, "", "is required with the URL of a PostgreSQL: it holds the authorities for its certificate. To skip verification add ?sslmode=require to the URL, to go without TLS ?sslmode=disable")
	case !verified && d.HomeserverDatabaseCAFile != "":
		report(ca, d.HomeserverDatabaseCAFile, "goes with sslmode=verify-full or verify-ca, and the URL in homeserver_database says sslmode="+mode)
	}
	return problems
}
