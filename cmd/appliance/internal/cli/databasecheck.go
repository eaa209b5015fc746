package cli

import (
	"cmp"
	"context"

	"appliance/bridge/store"
	"appliance/provision/answers"
	"appliance/provision/finding"
	"appliance/provision/render"
)

// databaseChecks examine the operator's own database before anything is changed: whether
// it answers, as whom, with which certificate, and whether the bridge can use it.
func databaseChecks(a answers.Answers) []finding.Check {
	if !answers.IsURL(a.BridgeDatabase) {
		return nil
	}
	address := render.ExternalDatabase(a, a.BridgeDatabaseCAFile)
	return []finding.Check{{Name: "bridge-database", Run: func(ctx context.Context) finding.Finding {
		if err := store.Look(ctx, address); err != nil {
			fact, hint := store.Advice(err)
			return finding.Failure("the bridge cannot use the PostgreSQL of bridge_database", fact, cmp.Or(hint, "correct bridge_database, or let this host reach it: appliance config edit"))
		}
		return finding.Good("the PostgreSQL of bridge_database can be used")
	}}}
}
