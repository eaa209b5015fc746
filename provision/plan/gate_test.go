package plan_test

import (
	"fmt"
	"strings"
	"testing"

	"appliance/provision/plan"
)

// An upgrade is rolled back with the backup that it makes first, which does not include an
// external database: the operator must know that beforehand.
func TestAnUpgradeOnADatabaseElsewhereIsAskedFor(t *testing.T) {
	for _, c := range []struct{ env, key, from, to, says string }{
		{"COMPOSE_PROFILES=acme,homeserver\nPOSTGRES_IMAGE=none\n", "HOMESERVER_IMAGE", "x/dendrite:v0.15.2", "x/dendrite:v0.15.3", "homeserver_database: back that up first"},
		{"COMPOSE_PROFILES=acme,homeserver\nPOSTGRES_IMAGE=none\n", "HOMESERVER_IMAGE", "x/dendrite:v0.15.2", "x/dendrite:v0.15.1", "cannot be downgraded"},
		{"COMPOSE_PROFILES=acme,homeserver\nPOSTGRES_IMAGE=postgres:17\n", "HOMESERVER_IMAGE", "x/dendrite:v0.15.2", "x/dendrite:v0.15.3", ""},
		{"COMPOSE_PROFILES=rocketchat\n", "ROCKETCHAT_IMAGE", "rocketchat/rocket.chat:8.6.1", "rocketchat/rocket.chat:8.6.2", "mongo_url: back that up first"},
		{"COMPOSE_PROFILES=mongo,rocketchat\n", "ROCKETCHAT_IMAGE", "rocketchat/rocket.chat:8.6.1", "rocketchat/rocket.chat:8.6.2", ""},
	} {
		severe := plan.Severe(plan.Changes([]byte(c.env+c.key+"="+c.from+"\n"), []byte(c.env+c.key+"="+c.to+"\n")))
		if c.says == "" && len(severe) > 0 || c.says != "" && (len(severe) != 1 || !strings.HasSuffix(strings.Split(severe[0].Breaking+severe[0].Refused, ", it has")[0], c.says)) {
			t.Errorf("%s -> %s: %+v; want %q", c.from, c.to, severe, c.says)
		}
	}
}

func TestTheGate(t *testing.T) {
	env := func(key, image string) []byte {
		return fmt.Appendf(nil, "# comment\nCOMPOSE_PROFILES=acme,mongo\n%s=%s\n", key, image)
	}
	for _, c := range []struct{ key, from, to, breaking, refused string }{
		{"POSTGRES_IMAGE", "postgres:17", "postgres:17.6", "", ""},
		{"POSTGRES_IMAGE", "postgres:17", "postgres:18-alpine", "recreated from its dump", ""},
		{"POSTGRES_IMAGE", "postgres:17", "postgres:19", "", "go to version 18 first"},
		{"POSTGRES_IMAGE", "postgres:17", "postgres:16", "", "cannot be downgraded"},
		{"MONGO_IMAGE", "mongo:8.0", "mongo:9.0", "cannot be converted back", ""},
		{"MONGO_IMAGE", "mongo:8.0", "mongo:8.2", "MongoDB 8.2 is another series than 8.0", ""},
		{"MONGO_IMAGE", "mongo:8.2.1", "mongo:8.0.30", "", "cannot be downgraded"},
		{"MONGO_IMAGE", "mongo:8.0.28", "mongo:8.0.30", "", ""},
		{"MONGO_IMAGE", "mongo:8.0", "mongo:8", "", ""},
		{"MONGO_IMAGE", "mongo:7.0", "mongo:9.0", "", "go to version 8 first"},
		{"ROCKETCHAT_IMAGE", "rocketchat/rocket.chat:8.6.1", "rocketchat/rocket.chat:8.6.2", "", ""},
		{"ROCKETCHAT_IMAGE", "rocketchat/rocket.chat:8.6.1", "rocketchat/rocket.chat:9.0.0", "release notes", ""},
		{"ROCKETCHAT_IMAGE", "rocketchat/rocket.chat:8.6.1", "rocketchat/rocket.chat:8.5.9", "", "cannot be downgraded"},
		{"ROCKETCHAT_IMAGE", "rocketchat/rocket.chat:7.13.0", "rocketchat/rocket.chat:9.0.0", "", "go to version 8 first"},
		{"HOMESERVER_IMAGE", "ghcr.io/x/dendrite:v0.15.2", "ghcr.io/x/dendrite:v0.15.3@sha256:ab", "", ""},
		{"HOMESERVER_IMAGE", "ghcr.io/x/dendrite:v0.15.2", "ghcr.io/x/dendrite:v0.14.9", "", "cannot be downgraded"},
		{"NGINX_IMAGE", "nginx:1.29", "nginx:1.28", "", ""},
		{"ROCKETCHAT_IMAGE", "registry:5000/rocket.chat", "registry:5000/rocket.chat:mine", "", ""},
	} {
		got := plan.Changes(env(c.key, c.from), env(c.key, c.to))
		if len(got) != 1 || got[0].From != c.from || got[0].To != c.to {
			t.Errorf("%s -> %s: %v", c.from, c.to, got)
			continue
		}
		if g := got[0]; !strings.Contains(g.Breaking, c.breaking) || !strings.Contains(g.Refused, c.refused) ||
			(g.Breaking == "") != (c.breaking == "") || (g.Refused == "") != (c.refused == "") {
			t.Errorf("%s -> %s: breaking %q, refused %q", c.from, c.to, g.Breaking, g.Refused)
		}
		if severe := len(plan.Severe(got)) == 1; severe != (c.breaking+c.refused != "") {
			t.Errorf("%s -> %s: severe %v", c.from, c.to, severe)
		}
	}
	if got := plan.Changes(nil, env("NGINX_IMAGE", "nginx:1.29")); len(got) != 0 {
		t.Errorf("a new installation changes %v", got)
	}
	if got := plan.Changes([]byte("MONGO_IMAGE=mongo:5\n"), []byte("MONGO_IMAGE=mongo:8.0\nCOMPOSE_PROFILES=acme\n")); len(got) != 0 {
		t.Errorf("an external MongoDB changes %v", got)
	}
}
