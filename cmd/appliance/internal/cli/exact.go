package cli

import (
	"regexp"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"appliance/provision"
	"appliance/provision/finding"
	"appliance/provision/site"
)

// dirVariable names the installation directory in the environment.
const dirVariable = "APPLIANCE_DIR"

// mentioned finds commands of this program in a text for people. The character before
// distinguishes them from parts of paths and of other words.
var mentioned = regexp.MustCompile(`(^|[^\w/.-])appliance ([a-z][a-z-]*)`)

// A speaker tells the operator what to type.
type speaker struct {
	dir   string   // the installation directory
	names []string // of the commands
}

// exact names the installation directory in every command of this program that a text
// mentions, so that the command works when it is typed.
func (a speaker) exact(text string) string {
	if a.dir == site.DefaultDir || a.dir == "" || !strings.Contains(text, "appliance ") {
		return text
	}
	return mentioned.ReplaceAllStringFunc(text, func(found string) string {
		parts := mentioned.FindStringSubmatch(found)
		if !slices.Contains(a.names, parts[2]) {
			return found
		}
		return parts[1] + site.Command(a.dir, parts[2])
	})
}

// findings returns findings with exact commands.
func (a speaker) findings(list []finding.Finding) []finding.Finding {
	out := slices.Clone(list)
	for i, f := range out {
		out[i].Why, out[i].Fix = a.exact(f.Why), a.exact(f.Fix)
	}
	return out
}

// report is a report with exact commands.
func (a speaker) report(r provision.Report) provision.Report {
	r.Findings = a.findings(r.Findings)
	r.Attach = slices.Clone(r.Attach)
	for i := range r.Attach {
		r.Attach[i].Text = a.exact(r.Attach[i].Text)
	}
	return r
}

// commandNames are the names with which the commands of the program begin.
func commandNames(root *cobra.Command) []string {
	var out []string
	for _, c := range root.Commands() {
		out = append(append(out, c.Name()), c.Aliases...)
	}
	return out
}
