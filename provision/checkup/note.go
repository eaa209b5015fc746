package checkup

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"os"
	"syscall"
	"time"

	"appliance/bridge/hoststatus"
	"appliance/provision/finding"
	"appliance/provision/internal/atomicfile"
	"appliance/provision/plan"
	"appliance/provision/render"
	"appliance/provision/site"
)

// noteFile holds what the bridge's console shows about the host.
const noteFile = "data/bridge/" + hoststatus.FileName

// note leaves the findings for the console. If there is no bridge, or this user may not write
// there, it does nothing: the console shows when the file was written.
func note(ctx context.Context, s *site.Site, findings []finding.Finding, now time.Time) error {
	return change(ctx, s, now, func(st *hoststatus.Status) {
		st.Examined, st.Findings = now.UTC(), []hoststatus.Finding{}
		for _, f := range findings {
			st.Findings = append(st.Findings, hoststatus.Finding{Check: f.Check, Severity: f.Severity.String(), Summary: f.Summary, Why: f.Why, Fix: f.Fix})
		}
	})
}

// Saved records for the console that the installation was backed up.
func Saved(ctx context.Context, s *site.Site) error {
	return change(ctx, s, time.Now(), func(*hoststatus.Status) {})
}

// Drilled records for the console that a backup was restored beside the installation, or why it
// could not be.
func Drilled(ctx context.Context, s *site.Site, failed error) error {
	now := time.Now()
	return change(ctx, s, now, func(st *hoststatus.Status) {
		st.Drill, st.DrillProblem = now.UTC(), ""
		if failed != nil {
			st.DrillProblem = failed.Error()
		}
	})
}

// Released records for the console what is known of the newest release of this program, found
// at the address in the answers; failed is why nothing is known.
func Released(ctx context.Context, s *site.Site, have, newest string, newer bool, failed error) error {
	now := time.Now()
	return change(ctx, s, now, func(st *hoststatus.Status) {
		st.Release = hoststatus.Release{Asked: now.UTC(), From: s.Answers.Releases, Have: have, Version: newest, Newer: newer}
		if failed != nil {
			st.Release.Failed = failed.Error()
		}
	})
}

// LastDrill returns when a backup was last restored beside the installation, zero if never.
func LastDrill(s *site.Site) time.Time {
	st, err := hoststatus.Read(s.Path(noteFile))
	if err != nil || st == nil {
		return time.Time{}
	}
	return st.Drill
}

// change rewrites the file, for the bridge's user alone.
func change(ctx context.Context, s *site.Site, now time.Time, do func(*hoststatus.Status)) error {
	name := s.Path(noteFile)
	if info, err := os.Lstat(s.Path("data/bridge")); errors.Is(err, os.ErrNotExist) || err == nil && !info.IsDir() {
		return nil // not installed yet
	}
	st, err := hoststatus.Read(name)
	if st == nil || err != nil { // what cannot be read is replaced
		st = &hoststatus.Status{}
	}
	do(st)
	st.Written, st.Backup, st.Alarms = now.UTC(), LastBackup(s).UTC(), s.Answers.AlarmWays()
	if LastBackup(s).IsZero() {
		st.Backup = time.Time{}
	}
	if services, err := s.Stack.Services(ctx); err == nil {
		st.Images = map[string]string{}
		for service, state := range services {
			st.Images[service] = state.Image
		}
	}
	st.Updates = updates(s)
	if st.Release.From != s.Answers.Releases {
		st.Release = hoststatus.Release{} // the address was removed or changed
	}
	data, err := json.Marshal(st)
	if err != nil {
		return err
	}
	return ignorePermission(atomicfile.WriteOwned(name, data, 0o600, render.ApplianceUser, render.ApplianceUser))
}

// updates returns what `appliance upgrade` would change: it compares the images of the
// installation with those that this program pins.
func updates(s *site.Site) (out []hoststatus.Update) {
	env, err := os.ReadFile(s.Path(".env"))
	if err != nil {
		return nil // not installed yet, or not for this user
	}
	for _, c := range plan.Offered(env, render.Chosen(s.Answers, render.Images())) {
		out = append(out, hoststatus.Update{Service: c.Service, From: c.From, To: c.To, Caution: cmp.Or(c.Refused, c.Breaking)})
	}
	return out
}

func ignorePermission(err error) error {
	if errors.Is(err, os.ErrPermission) || errors.Is(err, syscall.EROFS) {
		return nil
	}
	return err
}
