package doctor

import (
	"context"
	"fmt"
	"strconv"

	"appliance/provision/finding"
)

// Databases are the formats of the data, and the versions that have to read them; "" and 0 are
// unknown.
type Databases struct {
	PostgresFiles string // major version of the files
	PostgresMajor int    // of the image
	PostgresImage string
	VersionsFile  string // where to name another image
	MongoServer   string // version that runs
	MongoFormat   string // featureCompatibilityVersion of its data
	MongoBehind   bool   // the format is of an earlier series
}

// databases compares the formats of the data with the versions that have to read it.
func databases(ctx context.Context, t Target) finding.Finding {
	d := t.Databases(ctx)
	if d.PostgresFiles != "" && d.PostgresMajor != 0 && d.PostgresFiles != strconv.Itoa(d.PostgresMajor) {
		return finding.Failure("data/postgres has files of PostgreSQL "+d.PostgresFiles, d.PostgresImage+" cannot open them",
			fmt.Sprintf("use the version that wrote them: echo POSTGRES_IMAGE=postgres:%s >>%s && appliance up; then upgrade it with: appliance upgrade", d.PostgresFiles, d.VersionsFile)).
			Explaining("postgres", "homeserver")
	}
	if d.MongoBehind {
		return finding.Warning(fmt.Sprintf("MongoDB %s keeps its data in the format of %s", d.MongoServer, d.MongoFormat),
			"its featureCompatibilityVersion was not raised, so the next upgrade would skip a version and is refused", "raise it with: appliance upgrade --finish")
	}
	return finding.Good("the data has the formats of the databases that run")
}
