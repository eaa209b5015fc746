// Package preflight checks whether a host is fit for the installation, before
// anything is changed. Checks are read-only. Host is what they look at, so that tests
// can present any machine.
package preflight

import (
	"context"
	"fmt"
	"io/fs"
	"net"
	"path"
	"slices"
	"strings"
	"time"

	"appliance/provision/answers"
	"appliance/provision/external"
	"appliance/provision/finding"
	"appliance/provision/stack"
)

// Host is the machine as the checks see it.
type Host struct {
	Root      fs.FS // "/"
	Arch      string
	CPUs      int
	FreeBytes func(path string) (free, total uint64, err error)
	Listen    func(port int) error // nil when the port is free
	Resolve   func(ctx context.Context, host string) ([]net.IP, error)
	Versions  func(ctx context.Context) (v stack.Versions, dockerErr, composeErr error)
	Published func(ctx context.Context) (map[int]stack.Publisher, error)
	EUID      int
	Settle    time.Duration // how long Docker may take to list the ports of a container that it starts

	FreeInodes func(path string) (free, total uint64, err error)
	ClockAhead func(ctx context.Context, url string) (time.Duration, error) // of this host, compared with a web server's
	Reach      func(ctx context.Context, address string) error              // nil when a connection can be opened
	CAA        func(ctx context.Context, host string) (issuers []string, err error)
	Addresses  func() ([]net.IP, error) // of this host
	DNS        *DNS                     // of the internet; nil to ask nobody
	Networking func(ctx context.Context) (stack.Networking, error)
	NoSwap     func() string // why the disk or the system takes no swap file; "" when it does
}

// limit is how long one check may take.
const limit = 15 * time.Second

// Run runs the checks of the host, and more checks with them, and returns the findings in a
// stable order.
func Run(ctx context.Context, h Host, a answers.Answers, dir string, more ...finding.Check) []finding.Finding {
	return finding.Run(ctx, limit, append(Checks(h, a, dir), more...))
}

// Checks lists the checks that the answers call for.
func Checks(h Host, a answers.Answers, dir string) []finding.Check {
	docker := once(h)
	checks := []finding.Check{
		{Name: "root", Run: h.root},
		{Name: "architecture", Run: h.architecture},
		{Name: "cpus", Run: func(context.Context) finding.Finding { return h.cpus(a) }},
		{Name: "memory", Run: func(context.Context) finding.Finding { return h.memory(a) }},
		{Name: "disk", Run: func(ctx context.Context) finding.Finding { return h.disk(ctx, a, dir, docker) }},
		{Name: "docker", Run: docker.check},
		{Name: "compose", Run: func(ctx context.Context) finding.Finding { return docker.compose(ctx, h) }},
		{Name: "http-port", Run: func(ctx context.Context) finding.Finding { return httpPort(ctx, h, a) }},
		{Name: "address-pool", Run: func(ctx context.Context) finding.Finding { return h.addressPool(ctx, a) }},
	}
	if a.TLS != answers.NoTLS {
		checks = append(checks,
			finding.Check{Name: "https-port", Run: func(ctx context.Context) finding.Finding { return h.port(ctx, a.HTTPSPort) }},
			finding.Check{Name: "federation-port", Run: func(ctx context.Context) finding.Finding { return h.federationPort(ctx, a) }})
	}
	checks = append(checks, localPorts(h, a)...)
	checks = append(checks,
		finding.Check{Name: "inodes", Run: func(context.Context) finding.Finding { return h.inodes(dir) }},
		finding.Check{Name: "virtualization", Run: func(context.Context) finding.Finding { return h.virtualization() }},
		finding.Check{Name: "installers", Run: func(context.Context) finding.Finding { return h.installers() }})
	if a.BundledMongo() {
		checks = append(checks,
			processor(h),
			finding.Check{Name: "kernel", Run: func(context.Context) finding.Finding { return h.kernel() }})
	}
	if a.BundledRocketChat() {
		checks = append(checks, finding.Check{Name: "collector", Run: func(ctx context.Context) finding.Finding { return collector(ctx, h) }})
	}
	for i, host := range a.Hosts() {
		name := []string{"dns-domain", "dns-server-name"}[i]
		checks = append(checks, finding.Check{Name: name, Run: func(ctx context.Context) finding.Finding { return h.dns(ctx, a, host) }})
	}
	checks = append(checks, finding.Check{Name: "public-dns", Run: func(ctx context.Context) finding.Finding { return publicDNS(ctx, h, a) }})
	checks = append(append(checks, attached(a)...), external.Checks(a)...)
	if h.installed(dir) {
		return checks // it has already passed the rest
	}
	checks = append(checks, finding.Check{Name: "egress", Run: func(ctx context.Context) finding.Finding { return h.egress(ctx, a) }})
	if a.TLS == answers.ACME {
		checks = append(checks, finding.Check{Name: "clock", Run: func(ctx context.Context) finding.Finding { return h.clock(ctx, a) }})
	}
	if a.TLS == answers.ACME && a.ACMEDirectory == answers.LetsEncrypt {
		checks = append(checks, finding.Check{Name: "caa", Run: func(ctx context.Context) finding.Finding { return h.caa(ctx, a) }})
	}
	return checks
}

// localPorts checks the ports that are for this host only. Other software may have a good
// reason to hold them: a Prometheus of the host's own has 9090.
func localPorts(h Host, a answers.Answers) []finding.Check {
	var checks []finding.Check
	add := func(name, key string, port int) {
		checks = append(checks, finding.Check{Name: name, Run: func(ctx context.Context) finding.Finding {
			f := h.port(ctx, port)
			if f.Severity != finding.OK {
				f.Fix = fmt.Sprintf("choose another port: appliance up --set %s=%d", key, port+1)
			}
			return f
		}})
	}
	if a.Metrics {
		add("metrics-port", "metrics_port", a.MetricsPort)
	}
	if a.Monitoring {
		add("monitoring-port", "monitoring_port", a.MonitoringPort)
	}
	return checks
}

// Lasting lists the checks that stay relevant after the installation, because the
// host and its network may change.
func Lasting(h Host, a answers.Answers, dir string) []finding.Check {
	lasting := []string{"address-pool", "collector", "federation-port", "inodes", "public-dns"}
	for _, c := range external.Checks(a) {
		lasting = append(lasting, c.Name)
	}
	return slices.DeleteFunc(Checks(h, a, dir), func(c finding.Check) bool { return !slices.Contains(lasting, c.Name) })
}

// installed reports whether dir holds an installation already.
func (h Host) installed(dir string) bool {
	_, err := fs.Stat(h.Root, path.Join(strings.TrimPrefix(dir, "/"), "manifest.json"))
	return err == nil
}
