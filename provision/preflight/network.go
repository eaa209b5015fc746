package preflight

import (
	"context"
	"fmt"
	"io/fs"
	"path"
	"strconv"
	"strings"
	"time"

	"appliance/provision/answers"
	"appliance/provision/finding"
	"appliance/provision/stack"
)

// port checks that a port is free, or finds out what uses it. Its advice never ends a process
// of this program or of another installation.
func (h Host) port(ctx context.Context, port int) finding.Finding {
	u := settled(ctx, h, port)
	switch {
	case u.published && u.by.Ours:
		return finding.Good("port %d is ours", port)
	case u.published:
		return foreign(h, port, u.by)
	case u.listenErr == nil:
		return finding.Good("port %d is free", port)
	}
	const needs = "the installation needs it"
	name, pid, listenErr, dockerErr := u.name, u.pid, u.listenErr, u.dockerErr
	switch {
	case name == "":
		return finding.Failure(fmt.Sprintf("port %d cannot be used", port), listenErr.Error(), "find out who uses it with: ss -ltnp")
	case name == "docker-proxy" && dockerErr != nil:
		return finding.Failure(fmt.Sprintf("port %d is held by Docker for a container", port), "Docker does not say for which one: "+dockerErr.Error(),
			fmt.Sprintf("start Docker with: systemctl start docker; then see which container it is: docker ps --filter publish=%d", port))
	case name == "docker-proxy":
		return finding.Failure(fmt.Sprintf("port %d is held by Docker for a container", port), needs,
			fmt.Sprintf("see which container it is: docker ps --filter publish=%d", port))
	case name == "appliance":
		return finding.Failure(fmt.Sprintf("port %d is used by another appliance process (pid %d)", port, pid), "it is installing, or obtaining a certificate", "wait until it is done, then run this again")
	}
	return finding.Failure(fmt.Sprintf("port %d is used by %s (pid %d)", port, name, pid), needs,
		"stop it, for a service with: systemctl disable --now "+name+", otherwise with: kill "+strconv.Itoa(pid))
}

// use describes what uses a port.
type use struct {
	published bool // by a container, the field by
	by        stack.Publisher
	dockerErr error  // Docker cannot say
	listenErr error  // nil when the port is free
	name      string // of the process that listens
	pid       int
}

// settled finds out what uses a port. While Docker starts a container, it already holds the
// ports but does not list them yet, so settled retries for a while.
func settled(ctx context.Context, h Host, port int) use {
	patience := time.NewTimer(h.Settle)
	defer patience.Stop()
	again := time.NewTicker(200 * time.Millisecond)
	defer again.Stop()
	for {
		u := used(ctx, h, port)
		if u.name != "docker-proxy" || u.published || u.dockerErr != nil {
			return u
		}
		select {
		case <-ctx.Done():
			return u
		case <-patience.C:
			return u
		case <-again.C:
		}
	}
}

func used(ctx context.Context, h Host, port int) (u use) {
	published, err := h.Published(ctx)
	u.dockerErr = err
	if u.by, u.published = published[port]; u.published {
		return u
	}
	if u.listenErr = h.Listen(port); u.listenErr != nil {
		u.name, u.pid = h.holder(port)
	}
	return u
}

// httpPort checks the port for HTTP, which may be any free one behind another web server.
func httpPort(ctx context.Context, h Host, a answers.Answers) finding.Finding {
	f := h.port(ctx, a.HTTPPort)
	if f.Severity > finding.OK && a.TLS == answers.NoTLS {
		f.Fix = "give this installation another port, and the web server in front the same one, with: --set http_port=8080"
	}
	return f
}

// foreign advises on a port that another container holds.
func foreign(h Host, port int, p stack.Publisher) finding.Finding {
	if p.Dir != "" && h.installed(p.Dir) {
		return finding.Failure(fmt.Sprintf("port %d is used by the installation in %s", port, p.Dir), "two installations cannot share a port",
			"manage that one with: "+stack.Elsewhere(p.Dir, "status")+"; or give this one other ports with: --set http_port=8080 --set https_port=8443")
	}
	return finding.Failure(fmt.Sprintf("port %d is used by the container %s", port, p.Container), "the installation needs it",
		"if nothing needs that container, stop it with: docker stop "+p.Container+"; or give this installation other ports with: --set http_port=8080 --set https_port=8443")
}

// holder returns the process that listens on a port, according to /proc.
func (h Host) holder(port int) (name string, pid int) {
	inodes := map[string]bool{}
	for _, table := range []string{"proc/net/tcp", "proc/net/tcp6"} {
		data, _ := fs.ReadFile(h.Root, table)
		for line := range strings.Lines(string(data)) {
			f := strings.Fields(line)
			if len(f) > 9 && f[3] == "0A" && strings.HasSuffix(f[1], fmt.Sprintf(":%04X", port)) {
				inodes["socket:["+f[9]+"]"] = true
			}
		}
	}
	links, _ := fs.Glob(h.Root, "proc/[0-9]*/fd/*")
	for _, link := range links {
		target, err := fs.ReadLink(h.Root, link)
		if err != nil || !inodes[target] {
			continue
		}
		process := path.Dir(path.Dir(link))
		comm, _ := fs.ReadFile(h.Root, process+"/comm")
		pid, _ := strconv.Atoi(path.Base(process))
		return strings.TrimSpace(string(comm)), pid
	}
	return "", 0
}

// dns checks that a name resolves. A public authority has to resolve it; in a closed
// network this host may be the only one that does not.
func (h Host) dns(ctx context.Context, a answers.Answers, host string) finding.Finding {
	ips, err := h.Resolve(ctx, host)
	if err == nil && len(ips) > 0 {
		if f, bad := h.leads(a, host, ips); bad {
			return f
		}
		names := make([]string, len(ips))
		for i, ip := range ips {
			names[i] = ip.String()
		}
		return finding.Good("%s resolves to %s", host, strings.Join(names, ", "))
	}
	why := "there is no A or AAAA record"
	if err != nil {
		why = err.Error()
	}
	fix := "create an A record for " + host + " that points to this host, and wait until it has propagated"
	if a.TLS == answers.ACME && a.ACMEDirectory == answers.LetsEncrypt {
		return finding.Failure(host+" does not resolve", why, fix)
	}
	return finding.Warning(host+" does not resolve here", why, fix)
}
