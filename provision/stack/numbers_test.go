package stack

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"

	"appliance/bridge/mustrun"
	"appliance/provision/render"
)

// TestTheNumbersAreForThisHostOnly requests metrics, health and Prometheus from the real web
// server: on the ports of this host, under names that a foreign page may claim, and from the
// internet.
func TestTheNumbersAreForThisHostOnly(t *testing.T) {
	t.Parallel()
	d := openDoor(t, "metrics=true", "monitoring=true")
	for _, c := range []struct {
		port, host, path string
		want             int
		at               *behind // which one gets the request; nil for none
	}{
		{"9464", "127.0.0.1:9464", "/metrics", http.StatusOK, d.bridge},
		{"9464", "localhost:9464", "/readyz", http.StatusOK, d.bridge},
		{"9464", "127.0.0.1:9464", "/livez", http.StatusOK, d.bridge},
		{"9464", "127.0.0.1:9464", "/status", http.StatusNotFound, nil},
		{"9464", "127.0.0.1:9464", "/_appliance/", http.StatusNotFound, nil},
		{"9464", "evil.example:9464", "/metrics", http.StatusMisdirectedRequest, nil},
		{"9090", "127.0.0.1:9090", "/api/v1/query?query=up", http.StatusOK, d.prometheus},
		{"9090", "evil.example:9090", "/api/v1/query?query=up", http.StatusMisdirectedRequest, nil},
	} {
		before := d.bridge.requests.Load() + d.prometheus.requests.Load()
		asked := int64(0)
		if c.at != nil {
			asked = c.at.requests.Load()
		}
		if got := d.onThisHost(c.port, c.host, c.path); got != c.want {
			t.Errorf("http://%s%s answers %d, want %d", c.host, c.path, got, c.want)
		}
		switch now := d.bridge.requests.Load() + d.prometheus.requests.Load(); {
		case c.at == nil && now != before, c.at != nil && c.at.requests.Load() != asked+1:
			t.Errorf("http://%s%s was passed on to another one", c.host, c.path)
		}
	}
	// A stranger gets Rocket.Chat's own responses, and nothing of the bridge.
	bridge, prometheus := d.bridge.requests.Load(), d.prometheus.requests.Load()
	if res := d.attack(http.MethodGet, "/metrics", 0); res.StatusCode != http.StatusNotFound {
		t.Errorf("the internet's /metrics: %d", res.StatusCode)
	}
	for _, path := range []string{"/livez", "/readyz", "/health", "/ready", "/api/v1/targets", "/-/ready", "/graph"} {
		said, _ := io.ReadAll(d.attack(http.MethodGet, path, 0).Body)
		if strings.Contains(string(said), "[+]") || d.bridge.requests.Load() != bridge || d.prometheus.requests.Load() != prometheus {
			t.Errorf("%s from the internet leads inside: %s", path, said)
		}
	}
}

// onThisHost sends a request to a port that is open on this host only.
func (d *door) onThisHost(port, host, path string) int {
	d.t.Helper()
	address, _, _ := strings.Cut(docker(d.t, "port", d.container, port+"/tcp"), "\n")
	r, err := http.NewRequestWithContext(d.t.Context(), http.MethodGet, "http://"+address+path, http.NoBody)
	if err != nil {
		d.t.Fatal(err)
	}
	r.Host = host
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		d.t.Fatal(err)
	}
	_ = res.Body.Close()
	return res.StatusCode
}

// A composed is a service of compose.yaml.
type composed struct {
	Image               string
	Entrypoint, Command []string
	User                string
	Profiles, Networks  []string
	Ports, Volumes      []string
	ReadOnly            bool     `yaml:"read_only"`
	CapDrop             []string `yaml:"cap_drop"`
	SecurityOpt         []string `yaml:"security_opt"`
	Memory              string   `yaml:"mem_limit"`
	Healthcheck         struct{ Test []string }
}

// TestPrometheusReadsTheBridge runs the Prometheus of the stack as compose.yaml says, with
// what is rendered for it, beside a server that stands for a bridge with a queue.
func TestPrometheusReadsTheBridge(t *testing.T) {
	t.Parallel()
	s := onThisMachine(t)
	image := render.Images()["PROMETHEUS_IMAGE"]
	if have, err := s.Images().present(t.Context(), []string{image}); err != nil || !have[image] {
		mustrun.Skip(t, "the image "+image+" is not on this machine: compose/stage/images.sh puts it there")
	}
	l, err := net.Listen("tcp", net.JoinHostPort(hostOfContainers(t), "0"))
	if err != nil {
		mustrun.Skip(t, "containers do not reach this machine: "+err.Error())
	}
	bridge := &http.Server{ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "appliance_bridge_enabled 1\nappliance_bridge_queue_depth{direction=\"to_matrix\"} 7\n")
	})}
	go func() { _ = bridge.Serve(l) }()
	t.Cleanup(func() { _ = bridge.Close() })
	files := rendered(t, "domain="+doorHost, "monitoring=true")
	var all struct{ Services map[string]yaml.Node }
	var c composed
	if err := yaml.Unmarshal(files["compose.yaml"].Data, &all); err != nil {
		t.Fatal(err)
	}
	if node := all.Services["prometheus"]; node.Decode(&c) != nil {
		t.Fatal("compose.yaml has no prometheus, or an odd one")
	}
	if len(c.Ports) != 0 || !slices.Equal(c.Profiles, []string{"monitoring"}) || !slices.Equal(c.Networks, []string{"app"}) || !c.ReadOnly || c.Memory == "" || !slices.Equal(c.CapDrop, []string{"ALL"}) {
		t.Errorf("%+v", c)
	}
	config, data := t.TempDir(), t.TempDir()
	for name, f := range files {
		if below, ok := strings.CutPrefix(name, "config/prometheus/"); ok {
			put(t, filepath.Join(config, below), []byte(strings.NewReplacer("bridge:29328", l.Addr().String(), "_interval: 15s", "_interval: 1s").Replace(string(f.Data))))
		}
	}
	if err := os.Chown(data, render.Nobody, render.Nobody); err != nil {
		mustrun.Skip(t, "only root gives a directory to the user of the container: "+err.Error())
	}
	args := []string{"run", "--detach", "--user", c.User, "--read-only", "--cap-drop", "ALL", "--security-opt", c.SecurityOpt[0], "--memory", c.Memory,
		"--volume", config + ":/etc/appliance:ro", "--volume", data + ":/prometheus", "--entrypoint", c.Entrypoint[0], image}
	id := strings.TrimSpace(docker(t, append(args, c.Command...)...))
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(docker(t, "logs", "--tail", "30", id))
		}
		docker(t, "rm", "--force", id)
	})
	address := strings.TrimSpace(docker(t, "inspect", "--format", "{{.NetworkSettings.IPAddress}}", id)) + ":9090"
	until(t, "a number of the bridge", func() bool {
		return strings.Contains(asked(t, address, "/api/v1/query?query=appliance_bridge_queue_depth"), `"job":"appliance"`)
	})
	var rules struct {
		Data struct {
			Groups []struct {
				Rules []struct{ Name, Health string }
			}
		}
	}
	until(t, "the alarms to be looked at", func() bool {
		if json.Unmarshal([]byte(asked(t, address, "/api/v1/rules")), &rules) != nil || len(rules.Data.Groups) != 1 {
			return false
		}
		return !slices.ContainsFunc(rules.Data.Groups[0].Rules, func(r struct{ Name, Health string }) bool { return r.Health != "ok" })
	})
	if n := len(rules.Data.Groups[0].Rules); n < 7 {
		t.Errorf("%d alarms", n)
	}
	docker(t, append([]string{"exec", id}, c.Healthcheck.Test[1:]...)...)
	if flags := asked(t, address, "/api/v1/status/flags"); !strings.Contains(flags, `"storage.tsdb.retention.size":"1G`) || !strings.Contains(flags, `"storage.tsdb.retention.time":"30d"`) ||
		!strings.Contains(flags, `"web.enable-admin-api":"false"`) || !strings.Contains(flags, `"web.enable-lifecycle":"false"`) || !strings.Contains(flags, `"web.cors.origin":"none"`) {
		t.Errorf("the flags: %s", flags)
	}
}

// asked returns a server's response, or "" if there is none.
func asked(t *testing.T, address, path string) string {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+address+path, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		return ""
	}
	defer func() { _ = res.Body.Close() }()
	said, _ := io.ReadAll(res.Body)
	return string(said)
}

// until waits for a condition, a minute at most.
func until(t *testing.T, what string, done func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for tick := time.NewTicker(100 * time.Millisecond); !done(); {
		select {
		case <-ctx.Done():
			t.Fatalf("waited a minute for %s", what)
		case <-tick.C:
		}
	}
}
