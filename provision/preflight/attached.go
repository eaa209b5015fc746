package preflight

import (
	"context"
	"errors"

	"appliance/provision/answers"
	"appliance/provision/attach"
	"appliance/provision/finding"
)

// attached checks the external servers.
func attached(a answers.Answers) []finding.Check {
	var checks []finding.Check
	servers := attach.Of(a)
	if hs := servers.Homeserver; hs != nil {
		checks = append(checks, finding.Check{Name: "homeserver", Run: func(ctx context.Context) finding.Finding {
			if err := hs.Reach(ctx); err != nil {
				return bad(err)
			}
			return finding.Good("a homeserver answers at %s", hs.URL)
		}})
	}
	if rc := servers.RocketChat; rc != nil {
		checks = append(checks, finding.Check{Name: "rocketchat", Run: func(ctx context.Context) finding.Finding {
			version, err := rc.Reach(ctx)
			if err != nil {
				return bad(err)
			}
			return finding.Good("Rocket.Chat %s answers at %s and knows the bridge's account", version, rc.URL)
		}})
	}
	return checks
}

func bad(err error) finding.Finding {
	if e, ok := errors.AsType[*attach.Error](err); ok {
		return finding.Failure(e.Summary, e.Why, e.Fix)
	}
	return finding.Failure("a server cannot be checked", err.Error(), "try again")
}
