package doctor

import (
	"context"
	"slices"
	"strings"

	"appliance/provision/finding"
	"appliance/provision/plan"
	"appliance/provision/render"
)

// ill returns the wanted services that are not healthy, sorted.
func ill(t Target, have map[string]plan.Service) []string {
	var out []string
	for _, name := range render.Services(t.Answers) {
		if !have[name].OK() {
			out = append(out, name)
		}
	}
	return out
}

// disabled returns the services that are of no use even if they run.
func disabled(findings []finding.Finding) []string {
	var out []string
	for _, f := range findings {
		if f.Severity == finding.Fail && f.Disables {
			out = append(out, f.Explains...)
		}
	}
	return out
}

// all stands for every service.
const all = "*"

// root returns the check that explains why services are down, or "services" if none does.
func root(findings []finding.Finding, down []string) string {
	for _, f := range findings {
		explained := func(service string) bool {
			return slices.Contains(f.Explains, service) || slices.Contains(f.Explains, all)
		}
		if f.Severity == finding.Fail && len(down) > 0 && !slices.ContainsFunc(down, func(service string) bool { return !explained(service) }) {
			return f.Check
		}
	}
	return "services"
}

// fold marks a finding that follows from another with its cause, and puts causes first: when a
// service is down, so is everything that needs it.
func fold(ctx context.Context, t Target, findings []finding.Finding) []finding.Finding {
	have, err := t.Services(ctx)
	down := append(ill(t, have), disabled(findings)...)
	cause := root(findings, down)
	for i, f := range findings {
		if f.Check == "services" && cause != f.Check && f.Severity > finding.OK {
			findings[i].Because = cause
		}
		if f.Check == "services" || f.Check == cause || f.Severity == finding.OK || f.Needs == "" {
			continue
		}
		for name := range strings.FieldsSeq(f.Needs) {
			if err != nil || slices.Contains(down, name) {
				findings[i].Because = cause
			}
		}
	}
	return first(findings)
}

// first puts findings that explain others before them, and leaves the rest in place.
func first(findings []finding.Finding) []finding.Finding {
	causes := map[string]bool{}
	for _, f := range findings {
		if f.Because != "" {
			causes[f.Because] = true
		}
	}
	if len(causes) == 0 {
		return findings
	}
	rank := func(f finding.Finding) int {
		if causes[f.Check] && f.Severity > finding.OK {
			return 0
		}
		return 1
	}
	slices.SortStableFunc(findings, func(a, b finding.Finding) int { return rank(a) - rank(b) })
	return findings
}
