// Package finding holds the result of a check of the host or the installation: ok, or
// what is wrong, why, and what to type. It checks nothing itself; preflight and doctor
// supply the checks.
package finding

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"time"
)

// A Severity orders findings.
type Severity int

// Severities, mildest first.
const (
	OK Severity = iota
	Warn
	Fail
)

func (s Severity) String() string { return [...]string{"ok", "warn", "fail"}[s] }

// MarshalJSON writes the word.
func (s Severity) MarshalJSON() ([]byte, error) { return json.Marshal(s.String()) }

// A Finding is the result of one check. Why and Fix are empty when Severity is OK.
type Finding struct {
	Check    string   `json:"check"` // kebab-case, stable: scripts match on it
	Severity Severity `json:"severity"`
	Summary  string   `json:"summary"` // one line, names the thing
	Why      string   `json:"why,omitempty"`
	Fix      string   `json:"fix,omitempty"` // a command or a sentence in the imperative
	// Because is the check whose finding explains this one: once its cause is fixed, this
	// one goes away too.
	Because  string   `json:"because,omitempty"`
	Explains []string `json:"-"` // services that cannot run because of it
	Disables bool     `json:"-"` // the services in Explains may run, but are of no use
	Needs    string   `json:"-"` // services, separated by spaces; while one is down, this finding says nothing of its own
}

// Good is a finding without a problem.
func Good(format string, args ...any) Finding {
	return Finding{Severity: OK, Summary: fmt.Sprintf(format, args...)}
}

// Warning is a finding that does not prevent anything.
func Warning(summary, why, fix string) Finding {
	return Finding{Severity: Warn, Summary: summary, Why: why, Fix: fix}
}

// Failure is a finding that prevents the installation or an upgrade.
func Failure(summary, why, fix string) Finding {
	return Finding{Severity: Fail, Summary: summary, Why: why, Fix: fix}
}

// Counted is a number of things: "1 item waits", "2 items wait".
func Counted[N int | int64](n N, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

// Without adds services without which no better result can be expected.
func (f Finding) Without(services ...string) Finding {
	f.Needs = strings.Join(services, " ")
	return f
}

// Explaining adds services that cannot run because of a failure.
func (f Finding) Explaining(services ...string) Finding {
	f.Explains = services
	return f
}

// Disabling adds services that may run but are of no use because of a failure.
func (f Finding) Disabling(services ...string) Finding {
	f.Explains, f.Disables = services, true
	return f
}

// A Check looks at one thing and changes nothing.
type Check struct {
	Name string
	Run  func(context.Context) Finding
}

// Run runs the checks concurrently, each for at most limit, and returns their findings in
// the order of checks.
func Run(ctx context.Context, limit time.Duration, checks []Check) []Finding {
	findings := make([]Finding, len(checks))
	var wg sync.WaitGroup
	for i, c := range checks {
		wg.Go(func() { findings[i] = one(ctx, limit, c) })
	}
	wg.Wait()
	return findings
}

func one(ctx context.Context, limit time.Duration, c Check) Finding {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	f := c.Run(ctx)
	f.Check = c.Name
	return f
}

// Worst returns the highest severity.
func Worst(findings []Finding) Severity {
	worst := OK
	for _, f := range findings {
		worst = max(worst, f.Severity)
	}
	return worst
}

// Failures returns the findings that are failures and have no cause among the others.
func Failures(findings []Finding) []Finding {
	var out []Finding
	for _, f := range findings {
		if f.Severity == Fail && f.Because == "" {
			out = append(out, f)
		}
	}
	return out
}

// Consequences returns the names of the checks whose findings are explained by that of check.
func Consequences(findings []Finding, check string) []string {
	var out []string
	for _, f := range findings {
		if f.Because == check {
			out = append(out, f.Check)
		}
	}
	return out
}
