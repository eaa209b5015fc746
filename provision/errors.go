package provision

import (
	"fmt"
	"strings"

	"appliance/provision/answers"
	"appliance/provision/finding"
)

// A NotReadyError says why a host is not fit for the installation.
type NotReadyError struct{ Findings []finding.Finding }

func (e *NotReadyError) Error() string {
	parts := make([]string, len(e.Findings))
	for i, f := range e.Findings {
		parts[i] = f.Summary
	}
	return strings.Join(parts, "; ")
}

// A PermanentError says that an answer can no longer change.
type PermanentError struct{ Key, Was, Now, Dir string }

func (e *PermanentError) Error() string {
	return fmt.Sprintf("%s: cannot change from %q to %q: other servers know this one by it", e.Key, e.Was, e.Now)
}

// Hint says what to do.
func (e *PermanentError) Hint() string {
	return fmt.Sprintf("set %s back to %q, or start from scratch with: appliance down --purge", e.Key, e.Was)
}

// A MovedDatabaseError says that the answers name a homeserver database other than the one that
// holds its data.
type MovedDatabaseError struct{ Was, Now string }

func (e *MovedDatabaseError) Error() string {
	return fmt.Sprintf("homeserver_database: the homeserver has its data in %s, and would start from scratch in %s", place(e.Was), place(e.Now))
}

// Hint says what to do.
func (e *MovedDatabaseError) Hint() string {
	return "set homeserver_database to what it was, or copy the data first and run: appliance up --homeserver-database-copied; see docs/external.md"
}

func place(database string) string {
	if database == answers.Bundled {
		return "the PostgreSQL of this installation"
	}
	return database
}

// A GateError says why an upgrade is refused.
type GateError struct {
	Reasons []string
	Advice  string
}

func (e *GateError) Error() string { return strings.Join(e.Reasons, "; ") }

// Hint says what to do.
func (e *GateError) Hint() string { return e.Advice }
