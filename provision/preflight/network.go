package preflight

import (
	"context"
	"fmt"
	"io/fs"
	"path"
	"strconv"
	"strings"

	"appliance/provision/answers"
	"appliance/provision/finding"
)

// port checks that a port is free, or finds out who uses it.
func (h Host) port(ctx context.Context, port int) finding.Finding {
	published, err := h.Published(ctx)
	if err == nil {
		if p, taken := published[port]; taken && p.Ours {
			return finding.Good("port %d is ours", port)
		} else if taken {
			return finding.Failure(fmt.Sprintf("port %d is used by the container %s", port, p.Container), "the installation needs it",
				"stop it with: docker stop "+p.Container)
		}
	}
	listenErr := h.Listen(port)
	if listenErr == nil {
		return finding.Good("port %d is free", port)
	}
	name, pid := h.holder(port)
	if name == "" {
		return finding.Failure(fmt.Sprintf("port %d cannot be used", port), listenErr.Error(), "find out who uses it with: ss -ltnp")
	}
	return finding.Failure(fmt.Sprintf("port %d is used by %s (pid %d)", port, name, pid), "the installation needs it",
		"stop it, for a service with: systemctl disable --now "+name+", otherwise with: kill "+strconv.Itoa(pid))
}

// holder returns the process that listens on a port, by way of /proc.
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
