package doctor

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"

	"appliance/provision/answers"
	"appliance/provision/finding"
)

// delegation checks what a server name that points to another host says about this one, as
// other servers read it (Matrix server-server API, "Resolving server names").
func delegation(ctx context.Context, t Target) finding.Finding {
	if t.Answers.Delegation == answers.DelegationSRV {
		return srvRecord(ctx, t)
	}
	name, want := t.Answers.ServerName, t.Answers.FederationAddress()
	url := "https://" + name + "/.well-known/matrix/server"
	fix := fmt.Sprintf("make the web server of %s answer %s with %s; see docs/proxy.md", name, url, t.Answers.WellKnown())
	status, body, err := fetch(ctx, t.Outside, url)
	var answer struct {
		Server string `json:"m.server"`
	}
	switch {
	case err != nil || status != http.StatusOK:
		return finding.Failure("other servers cannot find "+name, url+": "+outcome(status, err), fix)
	case json.Unmarshal(body, &answer) != nil || answer.Server == "":
		return finding.Failure("other servers cannot find "+name, url+" does not answer with the JSON that they expect", fix)
	case answer.Server != want && answer.Server != strings.TrimSuffix(want, ":8448"):
		return finding.Failure(name+" points to "+answer.Server, "it should point to "+want, fix)
	}
	return finding.Good("%s points to %s", name, answer.Server)
}

// srvRecord looks up the DNS record that points from the server name to this host.
func srvRecord(ctx context.Context, t Target) finding.Finding {
	name, want := t.Answers.ServerName, t.Answers.FederationAddress()
	record := "_matrix-fed._tcp." + name
	found, err := t.LookupSRV(ctx, record)
	host, port, _ := strings.Cut(want, ":")
	fix := fmt.Sprintf("create the DNS record: %s. SRV 10 5 %s %s.", record, port, host)
	if err != nil || len(found) == 0 {
		why := "there is no record " + record
		if err != nil {
			why = cmp.Or(err.Error(), why)
		}
		return finding.Failure("other servers cannot find "+name, why, fix)
	}
	if got := fmt.Sprintf("%s:%d", strings.TrimSuffix(found[0].Target, "."), found[0].Port); got != want {
		return finding.Failure(name+" points to "+got, "it should point to "+want, fix)
	}
	return finding.Good("%s points to %s", name, want)
}
