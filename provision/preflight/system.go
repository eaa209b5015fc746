package preflight

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"path"
	"slices"
	"strings"
	"sync"
	"time"

	"appliance/provision/answers"
	"appliance/provision/finding"
)

// inodes run out before bytes on a disk that is full of small files, and media are small files.
func (h Host) inodes(dir string) finding.Finding {
	free, total, err := h.FreeInodes(dir)
	switch {
	case err != nil || total == 0: // some file systems have no such limit
		return finding.Good("the file system of %s does not count inodes", dir)
	case free < total/20 || free < 50_000:
		return finding.Failure(fmt.Sprintf("%s has %d of %d inodes left", dir, free, total),
			"every file needs an inode; without any, writes fail although there is space", "find what has so many files with: du --inodes -x -d2 / | sort -n | tail")
	}
	return finding.Good("%d inodes free", free)
}

// virtualization matters because containers in containers need more than most
// providers allow.
func (h Host) virtualization() finding.Finding {
	if _, err := fs.Stat(h.Root, "proc/vz"); err == nil {
		if _, err := fs.Stat(h.Root, "proc/bc"); err != nil {
			return finding.Failure("this host is an OpenVZ or Virtuozzo container", "it shares the kernel of its provider, which Docker cannot use", "use a host with a kernel of its own, such as a KVM droplet")
		}
	}
	data, _ := fs.ReadFile(h.Root, "run/systemd/container")
	if kind := strings.TrimSpace(string(data)); kind != "" {
		return finding.Warning("this host is a container ("+kind+")", "Docker inside a container needs nesting, and its limits may not hold",
			"use a virtual machine, or in Proxmox switch on nesting and keyctl for the container")
	}
	return finding.Good("this host is not a container")
}

// installers finds package managers that are running now.
func (h Host) installers() finding.Finding {
	comms, _ := fs.Glob(h.Root, "proc/[0-9]*/comm")
	for _, name := range comms {
		data, _ := fs.ReadFile(h.Root, name)
		comm := strings.TrimSpace(string(data))
		if slices.Contains([]string{"apt-get", "apt", "dpkg", "unattended-upgr", "aptitude"}, comm) {
			return finding.Warning(fmt.Sprintf("%s (pid %s) is running", comm, path.Base(path.Dir(name))),
				"it may restart Docker while services start", "wait until it is done: while pgrep -x "+comm+"; do sleep 5; done")
		}
	}
	_, began := fs.Stat(h.Root, "run/cloud-init")
	_, ended := fs.Stat(h.Root, "run/cloud-init/result.json")
	if began == nil && ended != nil {
		return finding.Warning("cloud-init has not finished", "it may still install packages and restart services", "wait for it with: cloud-init status --wait")
	}
	return finding.Good("no package manager is running")
}

// clock compares the clock of this host with the authority's: certificates, tokens and the
// signatures of other servers are all judged by it.
func (h Host) clock(ctx context.Context, a answers.Answers) finding.Finding {
	ahead, err := h.ClockAhead(ctx, a.ACMEDirectory)
	const fix = "synchronise it with: timedatectl set-ntp true"
	switch off := ahead.Abs(); {
	case err != nil:
		return finding.Good("no clock to compare with") // egress says why
	case off > time.Hour:
		return finding.Failure(fmt.Sprintf("the clock is %s wrong", off.Round(time.Minute)), "the certificate authority and other Matrix servers would reject what this host signs", fix)
	case off > 30*time.Second:
		return finding.Warning(fmt.Sprintf("the clock is %s wrong", off.Round(time.Second)), "times of messages are wrong too, and beyond a few minutes other servers reject what this host signs", fix)
	}
	return finding.Good("the clock is right")
}

// egress connects to the authority and the registries that an installation needs.
func (h Host) egress(ctx context.Context, a answers.Answers) finding.Finding {
	if a.TLS == answers.ACME {
		if err := h.Reach(ctx, hostPort(a.ACMEDirectory)); err != nil {
			return finding.Failure("the certificate authority cannot be reached", err.Error(),
				"allow connections to "+hostPort(a.ACMEDirectory)+", or choose another source of certificates with the answer tls")
		}
	}
	registries := []string{"registry-1.docker.io:443", "ghcr.io:443"}
	errs := make([]error, len(registries))
	var wg sync.WaitGroup
	for i, registry := range registries {
		wg.Go(func() { errs[i] = h.Reach(ctx, registry) })
	}
	wg.Wait()
	var deaf []string
	for i, err := range errs {
		if err != nil {
			deaf = append(deaf, registries[i])
		}
	}
	if len(deaf) > 0 {
		return finding.Warning("cannot reach "+strings.Join(deaf, " and "), "missing images are pulled from there",
			"allow connections to it, or configure a proxy for Docker: https://docs.docker.com/engine/daemon/proxy/")
	}
	return finding.Good("the authority and the registries can be reached")
}

// statistics is where Rocket.Chat reports to.
const statistics = "collector.rocket.chat:443"

// collector makes sure that Rocket.Chat can report its statistics: from version 7 on, one
// without a licence becomes read-only about ten days after its last report.
func collector(ctx context.Context, h Host) finding.Finding {
	if err := h.Reach(ctx, statistics); err != nil {
		return finding.Warning("Rocket.Chat cannot report to "+statistics, "without a licence it becomes read-only about ten days after its last report: "+err.Error(),
			"allow connections to "+statistics+", or read in docs/troubleshooting.md what a closed network needs")
	}
	return finding.Good("Rocket.Chat can report to %s", statistics)
}

func hostPort(address string) string {
	rest := strings.TrimPrefix(address, "https://")
	host, _, _ := strings.Cut(rest, "/")
	if _, _, err := net.SplitHostPort(host); err == nil {
		return host
	}
	return net.JoinHostPort(host, "443")
}

// caa checks whether a domain's CAA records allow Let's Encrypt.
func (h Host) caa(ctx context.Context, a answers.Answers) finding.Finding {
	for _, host := range a.Hosts() {
		issuers, err := h.CAA(ctx, host)
		if err != nil || len(issuers) == 0 || slices.Contains(issuers, "letsencrypt.org") {
			continue
		}
		return finding.Failure("CAA records of "+host+" allow "+strings.Join(issuers, ", ")+" only", "Let's Encrypt will refuse to issue",
			`add the record: `+host+`. CAA 0 issue "letsencrypt.org"`)
	}
	return finding.Good("no CAA record forbids Let's Encrypt")
}

// leads compares the addresses of a name with those of this host.
func (h Host) leads(a answers.Answers, host string, ips []net.IP) (finding.Finding, bool) {
	own, err := h.Addresses()
	public := slices.DeleteFunc(slices.Clone(own), func(ip net.IP) bool { return ip.IsPrivate() || !ip.IsGlobalUnicast() })
	if err != nil || a.TLS != answers.ACME {
		return finding.Finding{}, false
	}
	var ours, foreign []string
	for _, ip := range ips {
		switch {
		case cloudflare(ip):
			return finding.Warning(host+" resolves to Cloudflare ("+ip.String()+")", "its proxy ends TLS, limits uploads and sometimes answers other Matrix servers itself",
				"switch the record to \"DNS only\" (the grey cloud)"), true
		case slices.ContainsFunc(own, ip.Equal):
			ours = append(ours, ip.String())
		default:
			foreign = append(foreign, ip.String())
		}
	}
	switch {
	case len(foreign) == 0:
		return finding.Finding{}, false
	case len(ours) > 0:
		return finding.Failure(host+" also resolves to "+strings.Join(foreign, ", ")+", which is not this host", "certificate authorities and people use either address, and an AAAA record first",
			"remove the record with "+foreign[0]+", or give that address to this host"), true
	case len(public) > 0:
		return finding.Failure(host+" resolves to "+strings.Join(foreign, ", ")+", and this host is "+public[0].String(), "certificate authorities and people would reach another host",
			"change the record to "+public[0].String()+" and wait until it has propagated"), true
	}
	return finding.Finding{}, false // behind a router: cannot be determined
}

// cloudflare reports whether an address is in the networks of https://www.cloudflare.com/ips/.
func cloudflare(ip net.IP) bool {
	addr, ok := netip.AddrFromSlice(ip)
	return ok && slices.ContainsFunc(proxies, func(p netip.Prefix) bool { return p.Contains(addr.Unmap()) })
}

var proxies = prefixes("173.245.48.0/20 103.21.244.0/22 103.22.200.0/22 103.31.4.0/22 141.101.64.0/18 108.162.192.0/18 190.93.240.0/20 188.114.96.0/20 " +
	"197.234.240.0/22 198.41.128.0/17 162.158.0.0/15 104.16.0.0/13 104.24.0.0/14 172.64.0.0/13 131.0.72.0/22 " +
	"2400:cb00::/32 2606:4700::/32 2803:f800::/32 2405:b500::/32 2405:8100::/32 2a06:98c0::/29 2c0f:f248::/32")

func prefixes(list string) []netip.Prefix {
	var out []netip.Prefix
	for f := range strings.FieldsSeq(list) {
		out = append(out, netip.MustParsePrefix(f))
	}
	return out
}

// errNoClock says that a server did not send the time.
var errNoClock = errors.New("the server did not say what time it is")
