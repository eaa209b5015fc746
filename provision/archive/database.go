package archive

import "appliance/provision/answers"

// A database is one that is saved as a dump.
type database struct {
	service string
	data    []string // its directories
	dump    []string // writes a dump to standard output
	early   bool     // the dump reflects its beginning, not its end
	load    []string // reads one into an empty server
	count   []string // prints how many tables or collections there are
}

// databases returns the databases of the stack. The addresses are inside their containers,
// where the server's owner may connect without a password.
func databases(a answers.Answers) []database {
	var out []database
	if a.BundledPostgres() {
		out = append(out, database{
			service: "postgres", data: []string{"data/postgres"}, early: true,
			dump:  []string{"pg_dump", "-U", "homeserver", "-d", "homeserver", "--format=custom", "--compress=0", "--no-owner", "--no-acl"},
			load:  []string{"pg_restore", "-U", "homeserver", "-d", "homeserver", "--no-owner", "--no-acl", "--exit-on-error", "--single-transaction"},
			count: []string{"psql", "-U", "homeserver", "-d", "homeserver", "-Atc", "SELECT count(*) FROM information_schema.tables WHERE table_schema NOT IN ('pg_catalog', 'information_schema')"},
		})
	}
	if a.BundledMongo() {
		out = append(out, database{
			service: "mongo", data: []string{"data/mongo/db", "data/mongo/configdb"},
			dump: mongoTool("mongodump", "--oplog"),
			load: mongoTool("mongorestore", "--oplogReplay", "--drop"),
			count: []string{"sh", "-c", `set -eu; umask 077; f=$(mktemp); trap 'rm -f "$f"' EXIT
printf 'db.getSiblingDB("admin").auth("root", "%s"); print(db.getMongo().getDBNames().filter(n => !["admin", "config", "local"].includes(n)).reduce((n, d) => n + db.getSiblingDB(d).getCollectionNames().length, 0))' "$(cat /run/secrets/mongo_root_password)" >"$f"
mongosh --quiet --norc "mongodb://127.0.0.1:27017/?directConnection=true" --file "$f" | tail -1`},
		})
	}
	return out
}

// mongoTool runs one of MongoDB's tools as root of the server. The password goes
// from its file into another that only the tool reads, never onto a command line.
func mongoTool(tool string, more ...string) []string {
	return append([]string{"sh", "-c", `set -eu; umask 077; f=$(mktemp); trap 'rm -f "$f"' EXIT
printf 'password: "%s"\n' "$(cat /run/secrets/mongo_root_password)" >"$f"
tool=$1; shift; "$tool" --quiet --config "$f" --host 127.0.0.1 --username root --authenticationDatabase admin --archive "$@"`, "sh", tool}, more...)
}
