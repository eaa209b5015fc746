// Package doctor diagnoses a running installation and says how to fix it. Checks examine it
// from outside, through the front door, and from inside, at the services; they never change
// anything.
package doctor

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"maps"
	"net"
	"net/http"
	"path/filepath"
	"slices"
	"time"

	"appliance/bridge/secret"
	"appliance/provision/answers"
	"appliance/provision/attach"
	"appliance/provision/certs"
	"appliance/provision/finding"
	"appliance/provision/plan"
	"appliance/provision/render"
)

// limit is how long one check may take.
const limit = 10 * time.Second

// Target is an installation as the checks see it.
type Target struct {
	Answers  answers.Answers
	Unusable error // why the answers on disk cannot be used; then Answers are what could be read of them
	CertsDir string
	Services func(context.Context) (map[string]plan.Service, error)
	Address  string // where the front door is: "127.0.0.1"
	Now      func() time.Time

	Dir       string // of the installation
	Runtimes  func(context.Context) (map[string]Runtime, error)
	FreeBytes func(path string) (free, total uint64, err error)
	Samples   func() []Sample                                        // of how full the disk was, oldest first
	Operator  func() (secret.String, error)                          // the bearer token of the bridge's operator API
	Account   func() (userID string, token secret.String, err error) // of the bridge in Rocket.Chat
	Files     func() Files
	Override  func(context.Context) error                        // what is wrong with compose.override.yaml; nil with none
	NotLoaded func(context.Context) (map[string][]string, error) // services started before the files on disk changed, and these files
	Backups   func() (began, last time.Time)                     // of the installation, and the last backup or zero
	Databases func(context.Context) Databases
	Units     func(context.Context) Units
	Refused   func(context.Context) []Refusal                          // secrets on disk that their servers do not accept
	Chores    func() map[string]ChoreFailure                           // those whose last run failed
	Host      []finding.Check                                          // of the host
	Attached  attach.Servers                                           // external servers
	Resolve   func(ctx context.Context, host string) ([]net.IP, error) // through the public DNS, if it can be reached
	Addresses func() ([]net.IP, error)                                 // of this host
	LookupSRV func(ctx context.Context, name string) ([]*net.SRV, error)
	// Federation is whether messages are forwarded, according to bridge.yaml: "on", "off" or "unknown".
	Federation func() string
	Outside    *http.Client // connects as other servers do: by public names, trusting known authorities
}

// Run runs all checks and returns the findings, in a stable order.
func Run(ctx context.Context, t Target) []finding.Finding {
	return fold(ctx, t, finding.Run(ctx, limit, Checks(t)))
}

// Checks lists the checks.
func Checks(t Target) []finding.Check {
	checks := []finding.Check{
		{Name: "answers", Run: func(context.Context) finding.Finding { return usable(t) }}, {Name: "services", Run: t.services},
	}
	if t.Answers.Domain == "" { // the answers lack even that
		return append(append(checks, inside(t)...), t.Host...)
	}
	for i, host := range t.Answers.Hosts() {
		name := []string{"certificate", "certificate-server-name"}[i]
		checks = append(checks, finding.Check{Name: name, Run: func(ctx context.Context) finding.Finding { return t.certificate(ctx, host) }})
	}
	if t.Attached.RocketChat != nil {
		checks = append(checks, finding.Check{Name: "rocketchat", Run: t.externalRocketChat})
	} else {
		checks = append(checks, finding.Check{Name: "rocketchat", Run: t.rocketchat},
			finding.Check{Name: "workspace", Run: func(ctx context.Context) finding.Finding { return workspace(ctx, t) }},
			finding.Check{Name: "registration", Run: func(ctx context.Context) finding.Finding { return registration(ctx, t) }})
	}
	if t.Attached.Homeserver != nil {
		checks = append(checks, finding.Check{Name: "homeserver", Run: t.homeserver})
	} else {
		checks = append(checks, finding.Check{Name: "well-known", Run: t.wellKnown}, finding.Check{Name: "federation", Run: t.federation},
			finding.Check{Name: "federation-outside", Run: t.outside})
	}
	checks = append(checks, finding.Check{Name: "closed-doors", Run: t.closedDoors},
		finding.Check{Name: "reachable", Run: func(ctx context.Context) finding.Finding { return reach(ctx, t) }})
	return append(append(checks, inside(t)...), t.Host...)
}

// inside lists the checks behind the front door.
func inside(t Target) []finding.Check {
	return []finding.Check{
		{Name: "bridge", Run: t.bridge},
		{Name: "enabled", Run: func(ctx context.Context) finding.Finding { return enabled(ctx, t) }},
		{Name: "queue", Run: t.queue},
		{Name: "databases", Run: func(ctx context.Context) finding.Finding { return databases(ctx, t) }},
		{Name: "restarts", Run: t.restarts},
		{Name: "images", Run: t.images},
		{Name: "hardening", Run: func(ctx context.Context) finding.Finding { return hardening(ctx, t) }},
		{Name: "disk", Run: t.room},
		{Name: "growth", Run: t.growth},
		{Name: "files", Run: t.drift},
		{Name: "override", Run: func(ctx context.Context) finding.Finding { return override(ctx, t) }},
		{Name: "loaded", Run: t.notLoaded},
		{Name: "secrets", Run: t.modes},
		{Name: "sign-in", Run: func(ctx context.Context) finding.Finding { return signIn(ctx, t) }},
		{Name: "unfinished", Run: t.unfinished},
		{Name: ChoreBackup, Run: t.backups},
		chore(t, ChoreOffsite, "no backup failed to be sent off-site"),
		chore(t, ChoreDrill, "no restore drill has failed"),
		{Name: "timers", Run: func(ctx context.Context) finding.Finding { return timers(ctx, t) }},
	}
}

// usable checks whether the answers on disk can be used. All other checks go by what could be
// read of them.
func usable(t Target) finding.Finding {
	if t.Unusable != nil {
		return finding.Failure("appliance.yaml cannot be used", t.Unusable.Error(), "correct "+filepath.Join(t.Dir, "appliance.yaml")+" and run: appliance up")
	}
	return finding.Good("appliance.yaml can be used")
}

func (t Target) services(ctx context.Context) finding.Finding {
	have, err := t.Services(ctx)
	if err != nil {
		return finding.Failure("cannot list the services", err.Error(), "start Docker with: systemctl start docker")
	}
	var bad []string
	have = maps.Clone(have)
	for _, name := range render.Services(t.Answers) {
		if _, ok := have[name]; !ok {
			have[name] = plan.Service{Name: name, Status: "not there"}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(have)) {
		if !have[name].OK() {
			bad = append(bad, fmt.Sprintf("%s: %s", name, have[name].Status))
		}
	}
	if len(bad) > 0 {
		return finding.Failure(fmt.Sprintf("%d of %d services are not healthy", len(bad), len(have)), joined(bad), "run: appliance up")
	}
	return finding.Good("all %d services are healthy", len(have))
}

// certificate compares the certificate on disk with the one that the front door shows.
func (t Target) certificate(ctx context.Context, host string) finding.Finding {
	status, err := certs.Inspect(t.CertsDir, host)
	if err != nil {
		return finding.Failure("cannot read the certificate of "+host, err.Error(), "run: appliance up")
	}
	days := status.Days(t.Now())
	switch {
	case !status.Exists, status.Placeholder:
		return finding.Failure(host+" has no certificate", lastWords(status), "run: appliance up")
	case days < 0:
		return finding.Failure(fmt.Sprintf("the certificate of %s expired %s ago", host, finding.Counted(-days, "day", "days")), lastWords(status), "run: appliance up")
	}
	shows, err := served(ctx, t, host)
	switch {
	case err != nil:
		return finding.Failure(host+" cannot be reached over TLS", err.Error(), "run: appliance status").Without("nginx")
	case shows.SerialNumber.Text(16) != status.Serial:
		return finding.Warning(fmt.Sprintf("%s serves another certificate than the one on disk", host),
			"a renewed certificate is served within a minute; after that something is wrong", "wait a minute, then run: appliance doctor")
	case status.Failure != nil:
		return finding.Warning(fmt.Sprintf("%s has a certificate for %s but the last renewal failed", host, finding.Counted(days, "more day", "more days")), lastWords(status), "fix that; the renewal is retried automatically")
	case days < lifetime(status)/6:
		return finding.Warning(fmt.Sprintf("the certificate of %s expires in %s", host, finding.Counted(days, "day", "days")), "it should have been renewed by now", "see: appliance logs certs")
	}
	return finding.Good("%s is good for %s", host, finding.Counted(days, "day", "days"))
}

func lifetime(s certs.Status) int { return int(s.NotAfter.Sub(s.NotBefore).Hours() / 24) }

func lastWords(s certs.Status) string {
	if s.Failure == nil {
		return "the authority has not been asked since"
	}
	return "the authority said on " + s.Failure.At.Format(time.RFC3339) + ": " + s.Failure.Problem.Detail
}

// served returns the certificate that the front door shows.
func served(ctx context.Context, t Target, host string) (*x509.Certificate, error) {
	return shown(ctx, host, door(t))
}

func door(t Target) string {
	port := t.Answers.HTTPSPort
	if t.Answers.TLS == answers.NoTLS {
		port = t.Answers.HTTPPort
	}
	return net.JoinHostPort(t.Address, fmt.Sprint(port))
}

// clientFor returns a client that connects to the front door, whatever DNS says.
func clientFor(t Target) *http.Client {
	return &http.Client{Timeout: limit, Transport: &http.Transport{
		DisableKeepAlives: true,
		TLSClientConfig:   &tls.Config{InsecureSkipVerify: true}, //nolint:gosec // certificates have a check of their own
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, network, door(t))
		},
	}}
}
