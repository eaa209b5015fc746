package ui

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"

	"appliance/provision"
	"appliance/provision/attach"
	"appliance/provision/certs"
	"appliance/provision/finding"
	"appliance/provision/plan"
	"appliance/provision/upgrade"
)

// Report prints the outcome of up.
func Report(w io.Writer, c Colours, r provision.Report) {
	if !r.Changed {
		fmt.Fprintln(w, "nothing to do")
	}
	fmt.Fprintf(w, "\nRocket.Chat     %s\n", r.ChatURL)
	fmt.Fprintf(w, "Matrix name     %s\n", r.ServerName)
	if r.Admin.Username != "" {
		fmt.Fprintf(w, "administrator   %s, with the password in %s\n", r.Admin.Username, r.Admin.PasswordFile)
	}
	if r.CAFile != "" {
		fmt.Fprintf(w, "authority       %s: browsers have to trust it\n", r.CAFile)
	}
	fmt.Fprintf(w, "files           %s\n", r.Dir)
	if r.Changed {
		fmt.Fprintln(w, "\nThings to try:")
		for i, try := range r.Try {
			fmt.Fprintf(w, "  %d. %s\n", i+1, try)
		}
	}
	Attachments(w, r.Attach)
	if finding.Worst(r.Findings) > finding.OK {
		fmt.Fprintln(w, "\nSome checks need attention:")
		Warnings(w, c, r.Findings)
	}
}

// Attachments prints what to add to external servers.
func Attachments(w io.Writer, list []attach.Attachment) {
	for _, a := range list {
		fmt.Fprintf(w, "\n%s", a.Text)
		if a.File != "" {
			fmt.Fprintf(w, "\nThe registration is in %s.\n", a.File)
		}
	}
}

// Findings prints the doctor's report: causes first, with what follows from them.
func Findings(w io.Writer, c Colours, findings []finding.Finding) {
	width := 0
	for _, f := range findings {
		width = max(width, len(f.Check))
	}
	var count [3]int
	follow := 0
	for _, f := range findings {
		if f.Because != "" {
			follow++
			continue
		}
		count[f.Severity]++
		one(w, c, f, width, findings)
	}
	fmt.Fprintf(w, "\n%s: %d ok, %d warn, %d fail", finding.Counted(len(findings), "check", "checks"), count[finding.OK], count[finding.Warn], count[finding.Fail])
	if follow > 0 {
		fmt.Fprintf(w, ", and %d caused by another", follow)
	}
	fmt.Fprintln(w)
}

// Warnings prints the findings that are not ok.
func Warnings(w io.Writer, c Colours, findings []finding.Finding) {
	for _, f := range findings {
		if f.Severity > finding.OK && f.Because == "" {
			one(w, c, f, 0, findings)
		}
	}
}

func one(w io.Writer, c Colours, f finding.Finding, width int, all []finding.Finding) {
	fmt.Fprintf(w, "%s  %-*s %s\n", c.severity(f.Severity), width, f.Check, f.Summary)
	if f.Severity == finding.OK {
		return
	}
	if f.Why != "" {
		fmt.Fprintf(w, "      %s  %s\n", c.faint("why"), f.Why)
	}
	fmt.Fprintf(w, "      %s  %s\n", c.faint("fix"), f.Fix)
	if names := finding.Consequences(all, f.Check); len(names) > 0 {
		fmt.Fprintf(w, "      also %s: because of this\n", strings.Join(names, ", "))
	}
}

// PlanJSON prints a plan and its findings for scripts.
func PlanJSON(w io.Writer, p plan.Plan, findings []finding.Finding) error {
	type step struct {
		ID    string   `json:"id"`
		Title string   `json:"title"`
		Cause string   `json:"cause"`
		After []string `json:"after,omitempty"`
	}
	out := struct {
		Steps    []step            `json:"steps"`
		Findings []finding.Finding `json:"findings"`
	}{[]step{}, findings}
	for _, s := range p.Steps {
		out.Steps = append(out.Steps, step{s.ID, s.Title, s.Cause, s.After})
	}
	return json.NewEncoder(w).Encode(out)
}

// Status prints what is running.
func Status(w io.Writer, st provision.Status) {
	switch st.Federation {
	case "off":
		fmt.Fprintln(w, "federation   off: messages wait in both directions; switch it on with: appliance federation enable")
	case "unknown":
		fmt.Fprintln(w, "federation   unknown: config/bridge/bridge.yaml cannot be read; see: appliance doctor")
	}
	if st.Problem != "" {
		fmt.Fprintf(w, "error        %s\n", st.Problem)
	}
	fmt.Fprintf(w, "Rocket.Chat  %s\nMatrix name  %s\nfiles        %s\n\n", st.ChatURL, st.ServerName, st.Dir)
	if len(st.Services) == 0 {
		fmt.Fprintln(w, "no service is running; start the services with: appliance up")
	}
	for _, s := range st.Services {
		fmt.Fprintf(w, "%-13s %-32s %s\n", s.Name, s.Status, s.Image)
	}
	fmt.Fprintln(w)
	Certificates(w, st.Certificates)
}

// Certificates prints the certificate of every name.
func Certificates(w io.Writer, list []certs.Status) {
	for _, c := range list {
		switch {
		case !c.Exists:
			fmt.Fprintf(w, "%s  no certificate\n", c.Host)
		case c.Placeholder:
			fmt.Fprintf(w, "%s  self-signed, until the authority issues one\n", c.Host)
		default:
			fmt.Fprintf(w, "%s  until %s, from %s\n", c.Host, c.NotAfter.UTC().Format(time.DateOnly), c.Issuer)
		}
		if c.Failure != nil {
			fmt.Fprintf(w, "    refused on %s: %s\n", c.Failure.At.UTC().Format(time.RFC3339), strings.TrimSpace(c.Failure.Problem.Detail))
		}
	}
}

// Changes prints what an upgrade would change, with warnings.
func Changes(w io.Writer, u *upgrade.Upgrade) {
	for _, c := range u.Changes {
		fmt.Fprintln(w, c)
		for _, note := range []string{c.Breaking, c.Refused} {
			if note != "" {
				fmt.Fprintf(w, "             %s\n", note)
			}
		}
	}
	fmt.Fprintf(w, "\n%s\n", u.Plan)
}

// Plan prints the steps before the operator confirms them.
func Plan(w io.Writer, p plan.Plan) {
	width := cmp.Or(Width(w), 80)
	fmt.Fprintln(w)
	for i, s := range p.Steps {
		line := fmt.Sprintf("%2d. %s", i+1, s.Title)
		if whole := line + cause(s); len(whole) < width {
			line = whole
		}
		fmt.Fprintln(w, line)
	}
	fmt.Fprintln(w)
}

// Host prints the findings about the host before the first question.
func Host(w io.Writer, c Colours, findings []finding.Finding) {
	if finding.Worst(findings) == finding.OK {
		fmt.Fprintf(w, "This host is ready: %s, all good.\n\n", finding.Counted(len(findings), "check", "checks"))
		return
	}
	fmt.Fprintln(w, "Problems with this host:")
	Warnings(w, c, findings)
	fmt.Fprintln(w)
}
