package doctor

import (
	"context"
	"slices"
	"strings"

	"appliance/provision/finding"
)

// Homeserver is the Server of a refusal by the homeserver.
const Homeserver = "the homeserver"

// A Refusal is a secret on disk that its server does not accept.
type Refusal struct {
	Secret   string   // as appliance secrets rotate names it
	File     string   // below the installation
	Server   string   // who refuses it
	Explains []string // services that do not work with it
	Fix      string   // when a new secret does not help
}

// signIn checks whether each secret on disk is the one that its server has. A secret that was
// changed by hand, or comes from another installation, is noticed here rather than at the next
// restart.
func signIn(ctx context.Context, t Target) finding.Finding {
	refused := t.Refused(ctx)
	if len(refused) == 0 {
		return finding.Good("the servers accept the secrets on disk")
	}
	var files, why, keys, explained []string
	for _, r := range refused {
		files, why, explained = append(files, r.File), append(why, r.Server+" refuses it"), append(explained, r.Explains...)
		if r.Fix != "" {
			f := finding.Failure(r.File+" does not sign in", r.Server+" refuses it", r.Fix)
			return f.Explaining(r.Explains...)
		}
		keys = append(keys, r.Secret)
	}
	verb := " does not sign in"
	if len(files) > 1 {
		verb = " do not sign in"
	}
	f := finding.Failure(joined(files)+verb, joined(why), "replace it with: appliance secrets rotate "+strings.Join(keys, " ")).Explaining(explained...)
	if !slices.ContainsFunc(refused, func(r Refusal) bool { return r.Server != Homeserver }) {
		return f.Without("homeserver", "postgres") // which refuses everyone when it cannot read its database
	}
	return f
}
