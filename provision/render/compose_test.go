package render

import (
	"strings"
	"testing"

	"appliance/compose"
	"appliance/provision/answers"
)

// An edit that matches nothing is an error that names what is missing: a port or a
// subnet that was requested must not be dropped silently.
func TestEditingComposeFailsWhereNothingMatches(t *testing.T) {
	asked := Input{Answers: answers.Answers{FederationPort: 8448, HTTPSPort: 443, DockerSubnet: "10.213.0.0/24"}}
	for want, change := range map[string][2]string{
		"services.nginx.ports is not written":          {`"${HTTPS_PORT:?}:443"]`, "\"${HTTPS_PORT:?}:443\",\n      ]"},
		"no services.nginx.ports":                      {`    ports: ["${HTTP_PORT:?}:80", "${HTTPS_PORT:?}:443"]` + "\n", ""},
		"no networks.edge":                             {"  edge: {}\n", ""},
		"networks.app is not written":                  {"  app: {}\n", "  app: {internal: false}\n"},
		"no networks.data.internal":                    {"    internal: true\n", "    attachable: true\n"},
		"no services.nginx.healthcheck.start_interval": {"      start_interval: 500ms\n", ""},
		"no services.nginx.healthcheck.interval":       {"      interval: 10s\n", ""},
		"compose.yaml: yaml: line":                     {`"${HTTPS_PORT:?}:443"]`, `"${HTTPS_PORT:?}:443"`},
	} {
		text := strings.Replace(string(compose.File), change[0], change[1], 1)
		if text == string(compose.File) {
			t.Fatalf("%s: %q is not in compose.yaml", want, change[0])
		}
		if _, err := asked.compose([]byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want %q, got %v", want, err)
		}
	}
}
