// Package databases determines the format in which the databases of an installation keep
// their data, and raises MongoDB's. A server of a different major version than the format
// must not open the data. The package reads files and the output of MongoDB's health
// check; it starts and stops nothing.
package databases

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"

	"appliance/compose"
	"appliance/provision/site"
)

// Services that have data.
const (
	Postgres = "postgres"
	Mongo    = "mongo"
)

// Formats are the formats of the existing data; "" is unknown.
type Formats struct {
	Postgres string // major version of the files: "17"
	Server   string // version of the running MongoDB: "8.2.1"
	Mongo    string // its featureCompatibilityVersion: "8.0"
}

// Look reads the formats. It never fails: what cannot be read is unknown.
func Look(ctx context.Context, s *site.Site) (f Formats) {
	if s.Answers.BundledPostgres() {
		f.Postgres = FilesOf(s)
	}
	if s.Answers.BundledMongo() {
		if said, err := s.Stack.Engine().HealthOutput(ctx, Mongo); err == nil {
			f.Server, f.Mongo = parse(said)
		}
	}
	return f
}

// FilesOf is the major version of PostgreSQL that created the files, or "" if there are none.
func FilesOf(s *site.Site) string {
	data, err := os.ReadFile(s.Path("data/postgres/PG_VERSION"))
	if err != nil || len(data) > 16 {
		return ""
	}
	return strings.TrimSpace(string(data))
}

// parse reads the last line of what the scripts for MongoDB print.
func parse(said string) (server, format string) {
	lines := strings.Split(strings.TrimSpace(said), "\n")
	var last struct {
		Version string `json:"version"`
		Format  string `json:"featureCompatibilityVersion"`
	}
	if json.Unmarshal([]byte(lines[len(lines)-1]), &last) != nil {
		return "", ""
	}
	return last.Version, last.Format
}

// Series is the part of a version of MongoDB that its format is named after: "8.2".
func Series(version string) string {
	parts := strings.SplitN(version, ".", 3)
	if len(parts) < 2 {
		return ""
	}
	return parts[0] + "." + parts[1]
}

// Behind reports whether MongoDB keeps its data in the format of an earlier series. It
// can run like that indefinitely, but the next upgrade would skip a version.
func (f Formats) Behind() bool { return f.Mongo != "" && f.Server != "" && f.Mongo != Series(f.Server) }

// ErrUnchanged says that MongoDB answered and kept its format.
var ErrUnchanged = errors.New("MongoDB did not change its featureCompatibilityVersion") //nolint:staticcheck // a name

// Raise moves MongoDB's data to the format of the running series. The series before it
// cannot open files of that format, so the new one should have proved itself. Raising the
// format again changes nothing.
func Raise(ctx context.Context, s *site.Site) (Formats, error) {
	var out bytes.Buffer
	err := s.Stack.Exec(ctx, Mongo, bytes.NewReader(compose.MongoRaise), &out, "sh", "-c", `set -eu; umask 077; f=$(mktemp); trap 'rm -f "$f"' EXIT
cat >"$f"; mongosh --quiet --norc "mongodb://127.0.0.1:27017/admin?directConnection=true" --file "$f"`)
	if err != nil {
		return Formats{}, fmt.Errorf("raise the format of MongoDB's data: %w", err)
	}
	f := Formats{}
	f.Server, f.Mongo = parse(out.String())
	if f.Mongo == "" || f.Behind() {
		return f, ErrUnchanged
	}
	return f, nil
}
