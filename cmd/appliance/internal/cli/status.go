package cli

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"appliance/provision"
	"appliance/provision/answers"
	"appliance/provision/archive"
	"appliance/provision/backup"
	"appliance/provision/certs"
	"appliance/provision/external"
	"appliance/provision/finding"
	"appliance/provision/kubernetes"
	"appliance/provision/rotate"
	"appliance/provision/service"
	"appliance/provision/settings"
	"appliance/provision/site"
	"appliance/provision/stack"
	"appliance/provision/synapseadmin"
	"appliance/provision/upgrade"
)

// Exit statuses. They are part of the interface.
const (
	statusDone        = 0
	statusUnexpected  = 1
	statusUsage       = 2
	statusAnswers     = 3
	statusDoctor      = 4
	statusNotReady    = 5
	statusLocked      = 6
	statusCertificate = 7
	statusUnhealthy   = 8
	statusInterrupted = 130
)

var (
	errInterrupted = errors.New("interrupted")
	errDoctor      = errors.New("the doctor found problems") // already printed
)

// A usageError is a mistake on the command line.
type usageError struct {
	err  error
	hint string // "" to refer to the usage
}

func (e *usageError) Error() string { return e.err.Error() }
func (e *usageError) Hint() string  { return cmp.Or(e.hint, "see: appliance --help") }

// statusOf maps an error to the exit status.
func statusOf(err error) int {
	is := func(target any) bool { return errors.As(err, target) }
	switch {
	case err == nil:
		return statusDone
	case errors.Is(err, errInterrupted):
		return statusInterrupted
	case errors.Is(err, errDoctor):
		return statusDoctor
	case is(new(*upgrade.FailedError)):
		return statusUnhealthy
	case is(new(*usageError)), is(new(*settings.UnknownKeyError)):
		return statusUsage
	case is(new(*answers.InvalidError)), is(new(*missingError)), is(new(*provision.PermanentError)), is(new(*provision.MovedDatabaseError)), is(new(*backup.KeyError)), is(new(*archive.PlainError)), is(new(*notInForceError)), is(new(*kubernetes.ValueError)):
		return statusAnswers
	case is(new(*provision.NotReadyError)), is(new(*external.Error)), is(new(*stack.ForeignError)), is(new(*stack.OverrideError)),
		is(new(*archive.NotEmptyError)), is(new(*site.OccupiedError)), is(new(*archive.PendingError)),
		is(new(*provision.GateError)), is(new(*rotate.ChoiceError)), is(new(*archive.InterruptedError)), is(new(*archive.FullDiskError)), is(new(*service.NoSystemdError)), is(new(*synapseadmin.NoPageError)), is(new(*notRootError)):
		return statusNotReady
	case is(new(*stack.LockedError)):
		return statusLocked
	case is(new(*certs.RefusedError)):
		return statusCertificate
	case is(new(*stack.UnhealthyError)):
		return statusUnhealthy
	}
	return statusUnexpected
}

// A complaint is one thing that is wrong and what to do about it.
type complaint struct {
	Error string `json:"error"`
	Hint  string `json:"hint,omitempty"`
}

// complaints splits an error into what the operator should know.
func complaints(err error) []complaint {
	if failed, ok := errors.AsType[*upgrade.FailedError](err); ok {
		return append(complaints(failed.Cause), complaint{failed.Outcome(), failed.Hint()})
	}
	if invalid, ok := errors.AsType[*answers.InvalidError](err); ok {
		var out []complaint
		for _, p := range invalid.Problems {
			out = append(out, complaint{Error: p.String(), Hint: p.Hint})
		}
		return out
	}
	if unready, ok := errors.AsType[*provision.NotReadyError](err); ok {
		var out []complaint
		if n := slices.IndexFunc(unready.Findings, func(f finding.Finding) bool { return f.Check == "root" }); n >= 0 {
			unready.Findings = unready.Findings[n : n+1] // much of the rest may follow from it
		}
		for _, f := range unready.Findings {
			out = append(out, complaint{f.Summary + ": " + f.Why, f.Fix})
		}
		return out
	}
	c := complaint{Error: err.Error()}
	var hinted interface{ Hint() string }
	if errors.As(err, &hinted) {
		c.Hint = hinted.Hint()
	}
	return []complaint{c}
}

// finish prints an error, if any, and returns the exit status.
func (a *app) finish(err error) int {
	status := statusOf(err)
	if a.verbose {
		logOf(a).Debug("done", "status", status, "took", time.Since(a.began).Round(time.Millisecond))
	}
	if err == nil || status == statusDoctor {
		return status
	}
	list := complaints(err)
	for i, c := range list {
		list[i] = complaint{a.exact(c.Error), a.exact(c.Hint)}
	}
	if a.json {
		finishJSON(a, list, status)
		return status
	}
	for _, c := range list {
		fmt.Fprintf(a.env.Stderr, "appliance: error: %s\n", c.Error)
		if c.Hint != "" {
			fmt.Fprintf(a.env.Stderr, "appliance: hint: %s\n", c.Hint)
		}
	}
	return status
}

func finishJSON(a *app, list []complaint, status int) {
	var texts []string
	for _, c := range list {
		texts = append(texts, c.Error)
	}
	problems := list
	if len(list) == 1 {
		problems = nil
	}
	_ = json.NewEncoder(a.env.Stderr).Encode(struct {
		complaint
		Status   int         `json:"status"`
		Problems []complaint `json:"problems,omitempty"`
	}{complaint{strings.Join(texts, "; "), list[0].Hint}, status, problems})
}
