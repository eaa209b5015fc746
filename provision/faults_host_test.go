package provision_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"appliance/provision/answers"
	"appliance/provision/preflight"
	"appliance/provision/stack"
)

// A host is a small, healthy droplet.
type host struct {
	preflight.Host
	t        *testing.T
	root     fstest.MapFS
	versions stack.Versions
	docker   error
	compose  error
	ports    map[int]stack.Publisher
	noPorts  error
	busy     error
	names    []net.IP
	deaf     map[string]bool
	ahead    time.Duration
	free     uint64 // bytes
	inodes   uint64
	issuers  []string
	noSwap   string
	subnet   string
	networks stack.Networking
}

func newHost(t *testing.T) world {
	h := &host{
		t: t, versions: stack.Versions{Docker: "27.5.1", API: "1.47", Compose: "2.24.0", Cgroup: "systemd", Root: "/var/lib/docker"},
		names: []net.IP{net.IPv4(203, 0, 113, 7)}, deaf: map[string]bool{}, free: 21 << 30, inodes: 1 << 20,
		root: fstest.MapFS{
			"etc/os-release":            text("ID=ubuntu\nID_LIKE=debian\nVERSION_ID=\"24.04\"\n"),
			"usr/bin/apt-get":           text(""),
			"proc/meminfo":              text("MemTotal: 2014312 kB\nSwapTotal: 2097148 kB\n"),
			"proc/cpuinfo":              text("flags\t\t: fpu sse avx avx2\n"),
			"proc/sys/kernel/osrelease": text("6.8.0-45-generic\n"),
			"proc/net/tcp":              text("  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n   0: 00000000:0050 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4711 1\n"),
			"proc/812/comm":             text("apache2\n"),
			"proc/812/fd/4":             {Data: []byte("socket:[4711]"), Mode: fs.ModeSymlink},
		},
	}
	h.Host = preflight.Host{
		Root: h.root, Arch: "amd64", CPUs: 2,
		FreeBytes:  func(string) (uint64, uint64, error) { return h.free, 24 << 30, nil },
		FreeInodes: func(string) (uint64, uint64, error) { return h.inodes, 1 << 21, nil },
		Listen:     func(int) error { return h.busy },
		Resolve: func(context.Context, string) ([]net.IP, error) {
			if len(h.names) == 0 {
				return nil, errors.New("no such host")
			}
			return h.names, nil
		},
		Versions:   func(context.Context) (stack.Versions, error, error) { return h.versions, h.docker, h.compose },
		Published:  func(context.Context) (map[int]stack.Publisher, error) { return h.ports, h.noPorts },
		ClockAhead: func(context.Context, string) (time.Duration, error) { return h.ahead, nil },
		Reach: func(_ context.Context, address string) error {
			if h.deaf[address] {
				return errors.New("dial tcp " + address + ": i/o timeout")
			}
			return nil
		},
		NoSwap:     func() string { return h.noSwap },
		Networking: func(context.Context) (stack.Networking, error) { return h.networks, nil },
		CAA:        func(context.Context, string) ([]string, error) { return h.issuers, nil },
		Addresses: func() ([]net.IP, error) {
			return []net.IP{net.IPv4(127, 0, 0, 1), net.IPv4(10, 0, 0, 5), net.IPv4(203, 0, 113, 7)}, nil
		},
	}
	return h
}

func text(s string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(s)} }

func (h *host) look(by string) (verdict, bool) {
	d := answers.NewDraft()
	d.Assign("domain=chat.example.org")
	d.Assign("docker_subnet=" + h.subnet)
	a, err := d.Finish()
	if err != nil {
		h.t.Fatal(err)
	}
	return judge(preflight.Run(h.t.Context(), h.Host, a, "/opt/appliance"), by)
}

func (*host) plain(text string) string { return text }

// file replaces a file of the host.
func (h *host) file(name, content string) func() {
	was, existed := h.root[name]
	h.root[name] = text(content)
	return func() {
		delete(h.root, name)
		if existed {
			h.root[name] = was
		}
	}
}

// routes returns a /proc/net/route with the given lines: interface, destination and mask.
func routes(lines ...string) string {
	out := "Iface Destination Gateway Flags RefCnt Use Metric Mask MTU Window IRTT\neth0 00000000 0100000A 0003 0 0 0 00000000 0 0 0\n"
	for _, line := range lines {
		f := strings.Fields(line)
		out += fmt.Sprintf("%s\t%s\t00000000\t0001\t0\t0\t0\t%s\t0\t0\t0\n", f[0], f[1], f[2])
	}
	return out
}

func (h *host) faults() []fault {
	taken := errors.New("listen tcp :80: bind: address already in use")
	v := &h.versions
	return []fault{
		{"not root", "root", func() func() { return set(&h.EUID, 1000) }, "running as user 1000", "sudo"},
		{"a processor without images", "architecture", func() func() { return set(&h.Arch, "riscv64") }, "riscv64 is not supported", "amd64 or arm64"},
		{"one CPU", "cpus", func() func() { return set(&h.CPUs, 1) }, "1 CPU, 2 required", "min_cpus"},
		{"1 GB of memory", "memory", func() func() { return h.file("proc/meminfo", "MemTotal: 1014312 kB\n") }, "990 MB of memory, 2048 required", "min_memory_mb"},
		{"2 GB of memory without swap", "memory", func() func() { return h.file("proc/meminfo", "MemTotal: 2014312 kB\n") }, "1967 MB of memory and 0 MB of swap", "appliance up --set swap_file=yes"},
		{"2 GB of memory without swap, in a container", "memory", func() func() {
			a, b := h.file("proc/meminfo", "MemTotal: 2014312 kB\n"), h.file("run/systemd/container", "lxc\n")
			return func() { a(); b() }
		}, "1967 MB of memory and 0 MB of swap", "no swap file can be made here: this host is a container (lxc)"},
		{"2 GB of memory without swap, on btrfs", "memory", func() func() {
			a, b := h.file("proc/meminfo", "MemTotal: 2014312 kB\n"), set(&h.noSwap, "on btrfs a swap file needs a subvolume of its own")
			return func() { a(); b() }
		}, "1967 MB of memory and 0 MB of swap", "no swap file can be made here: on btrfs"},
		{"a full disk", "disk", func() func() { return set(&h.free, 2<<30) }, "/opt/appliance has 24 GB, 2 GB of them free", "min_disk_gb"},
		{"a disk full of small files", "inodes", func() func() { return set(&h.inodes, 900) }, "/opt/appliance has 900 of 2097152 inodes left", "du --inodes"},
		{"an OpenVZ container", "virtualization", func() func() { return h.file("proc/vz/version", "") }, "this host is an OpenVZ", "KVM"},
		{"an LXC container", "virtualization", func() func() { return h.file("run/systemd/container", "lxc\n") }, "this host is a container (lxc)", "nesting"},
		{"unattended upgrades at work", "installers", func() func() { return h.file("proc/77/comm", "unattended-upgr\n") }, "unattended-upgr (pid 77) is running", "wait until"},
		{"cloud-init at work", "installers", func() func() { return h.file("run/cloud-init/status.json", "{}") }, "cloud-init has not finished", "cloud-init status --wait"},
		{"no AVX", "avx", func() func() { return h.file("proc/cpuinfo", "flags : fpu sse\n") }, "the processor has no AVX", "type to host"},
		{"an old arm64 processor", "armv8-2", func() func() {
			set(&h.Arch, "arm64")
			h.file("proc/cpuinfo", "Features\t: fp asimd evtstrm crc32 cpuid\n")
			return func() { h.file("proc/cpuinfo", "Features\t: fp asimd atomics asimdrdm dcpop\n") }
		}, "the processor is older than ARMv8.2-A", "Raspberry Pi 5"},
		{"a kernel on which MongoDB crashes", "kernel", func() func() { return h.file("proc/sys/kernel/osrelease", "7.0.0-12-generic\n") }, "Linux 7.0.0-12-generic", "22.04 or 24.04"},
		{"no Docker", "docker", func() func() { return set(&h.docker, errors.New("dial unix /var/run/docker.sock: no such file")) }, "no Docker daemon answers", "run: appliance prepare; or by hand: apt-get install docker.io"},
		{"Docker that is stopped", "docker", func() func() {
			a, b := set(&h.docker, errors.New("dial unix /var/run/docker.sock: no such file")), h.file("usr/bin/dockerd", "")
			return func() { a(); b() }
		}, "no Docker daemon answers", "systemctl enable --now docker"},
		{"no Compose that a package has", "compose", func() func() {
			a, b := set(&h.compose, errors.New("exit status 1")), h.file("etc/os-release", "ID=debian\nVERSION_ID=\"12\"\n")
			return func() { a(); b() }
		}, "`docker compose` does not answer", "https://docs.docker.com/engine/install/"},
		{"an old Docker", "docker", func() func() { return set(v, stack.Versions{Docker: "19.03", API: "1.40"}) }, "Docker 19.03 speaks API 1.40, 1.41 required", "20.10 or newer"},
		{"Docker as a snap", "docker", func() func() { return set(&v.Root, "/var/snap/docker/common") }, "Docker was installed as a snap", "snap remove docker; then run: appliance prepare"},
		{"Docker without root", "docker", func() func() { return set(&v.Rootless, true) }, "Docker runs without root", "systemctl start docker"},
		{"no control groups", "docker", func() func() { return set(&v.Cgroup, "none") }, "Docker cannot limit memory", "cgroup"},
		{"no Compose", "compose", func() func() { return set(&h.compose, errors.New("exit status 1")) }, "`docker compose` does not answer", "docker-compose-v2"},
		{"Compose 1 only", "compose", func() func() {
			a, b := set(&h.compose, errors.New("exit status 1")), h.file("usr/bin/docker-compose", "")
			return func() { a(); b() }
		}, "only Compose 1 is installed", "docker-compose-v2"},
		{"an old Compose", "compose", func() func() { return set(&v.Compose, "2.17.2") }, "Compose 2.17.2, 2.24 required", "docker-compose-v2"},
		{"another web server", "http-port", func() func() { return set(&h.busy, taken) }, "port 80 is used by apache2 (pid 812)", "systemctl disable --now apache2"},
		{"a port that Docker holds, while Docker does not answer", "https-port", func() func() {
			a, b, c := set(&h.busy, taken), set(&h.noPorts, errors.New("Cannot connect to the Docker daemon")), h.file("proc/812/comm", "docker-proxy\n")
			d := h.file("proc/net/tcp", strings.ReplaceAll(string(h.root["proc/net/tcp"].Data), ":0050", ":01BB"))
			return func() { a(); b(); c(); d() }
		}, "port 443 is held by Docker for a container", "docker ps --filter publish=443"},
		{"another appliance that obtains a certificate", "http-port", func() func() {
			a, b := set(&h.busy, taken), h.file("proc/812/comm", "appliance\n")
			return func() { a(); b() }
		}, "port 80 is used by another appliance process (pid 812)", "wait until it is done"},
		{"another installation of this host", "http-port", func() func() {
			a, b := h.file("srv/chat/manifest.json", "{}"), set(&h.ports, map[int]stack.Publisher{80: {Container: "chat-1a2b3c4d-nginx-1", Dir: "/srv/chat"}})
			return func() { a(); b() }
		}, "port 80 is used by the installation in /srv/chat", "appliance --dir /srv/chat status"},
		{"another container on port 443", "https-port", func() func() { return set(&h.ports, map[int]stack.Publisher{443: {Container: "traefik"}}) }, "port 443 is used by the container traefik", "docker stop traefik"},
		{"a name without record", "dns-domain", func() func() { return set(&h.names, nil) }, "chat.example.org does not resolve", "create an A record"},
		{"a name that leads elsewhere", "dns-domain", func() func() { return set(&h.names, []net.IP{net.IPv4(198, 51, 100, 9)}) }, "chat.example.org resolves to 198.51.100.9, and this host is 203.0.113.7", "change the record to 203.0.113.7"},
		{"an AAAA record of another host", "dns-domain", func() func() {
			return set(&h.names, []net.IP{net.IPv4(203, 0, 113, 7), net.ParseIP("2001:db8::1")})
		}, "chat.example.org also resolves to 2001:db8::1", "remove the record"},
		{"Cloudflare in front", "dns-domain", func() func() { return set(&h.names, []net.IP{net.IPv4(104, 21, 3, 4)}) }, "chat.example.org resolves to Cloudflare (104.21.3.4)", "DNS only"},
		{"a clock that is five minutes wrong", "clock", func() func() { return set(&h.ahead, -5*time.Minute) }, "the clock is 5m0s wrong", "timedatectl set-ntp true"},
		{"a clock that is a day wrong", "clock", func() func() { return set(&h.ahead, 24*time.Hour) }, "the clock is 24h0m0s wrong", "timedatectl set-ntp true"},
		{"no way to the certificate authority", "egress", func() func() {
			h.deaf["acme-v02.api.letsencrypt.org:443"] = true
			return func() { clear(h.deaf) }
		}, "the certificate authority cannot be reached", "allow connections to acme-v02.api.letsencrypt.org:443"},
		{"no way to a registry", "egress", func() func() { h.deaf["ghcr.io:443"] = true; return func() { clear(h.deaf) } }, "cannot reach ghcr.io:443", "proxy"},
		{"no way to Rocket.Chat's collector", "collector", func() func() {
			h.deaf["collector.rocket.chat:443"] = true
			return func() { clear(h.deaf) }
		}, "Rocket.Chat cannot report to collector.rocket.chat:443", "allow connections to collector.rocket.chat:443"},
		{"an old homeserver on port 8448", "federation-port", func() func() { return set(&h.ports, map[int]stack.Publisher{8448: {Container: "synapse"}}) }, "port 8448 is used by the container synapse", "docker stop synapse"},
		{"a VPN that takes all addresses", "address-pool", func() func() {
			return h.file("proc/net/route", routes("tun0 00000000 00000080", "tun0 00000080 00000080"))
		}, "Docker has addresses for 0 more networks, 3 required", "--set docker_subnet=10.213.0.0/24"},
		{"company networks on the addresses of Docker", "address-pool", func() func() {
			return h.file("proc/net/route", routes("wg0 0000000A 000000FF", "eth1 000010AC 0000F0FF", "eth1 0000A8C0 0000FFFF"))
		}, "Docker has addresses for 0 more networks, 3 required", "--set docker_subnet=100.127.213.0/24"},
		{"a Docker full of networks", "address-pool", func() func() {
			pool := netip.MustParsePrefix("172.30.0.0/15")
			return set(&h.networks, stack.Networking{Pools: []stack.Pool{{Base: pool, Size: 16}}, Networks: []stack.Network{{Name: "shop_default", Subnets: []netip.Prefix{pool}}}})
		}, "Docker has addresses for 0 more networks, 3 required", "--set docker_subnet=10.213.0.0/24"},
		{"a docker_subnet that is in use", "address-pool", func() func() {
			a, b := set(&h.subnet, "10.8.0.0/24"), h.file("proc/net/route", routes("wg0 0000080A 0000FFFF"))
			return func() { a(); b() }
		}, "docker_subnet 10.8.0.0/24 is in use", "choose another with: --set docker_subnet=10.213.0.0/24"},
		{"a VPN that came after the containers", "address-pool", func() func() {
			a := set(&h.networks, stack.Networking{Networks: []stack.Network{{Name: "appliance_app", Ours: true, Subnets: []netip.Prefix{netip.MustParsePrefix("172.18.0.0/16")}}}})
			b := h.file("proc/net/route", routes("wg0 00640CAC 00FFFFFF", "wg0 001012AC 00F0FFFF", "br-1 000012AC 0000FFFF"))
			return func() { a(); b() }
		}, "172.18.0.0/16 of the containers overlaps with a network of this host", "appliance config set docker_subnet=10.213.0.0/24"},
		{"a CAA record for another authority", "caa", func() func() { return set(&h.issuers, []string{"pki.goog"}) }, "CAA records of chat.example.org allow pki.goog only", `CAA 0 issue "letsencrypt.org"`},
	}
}

// No hint about a port suggests ending a process of this program or of Docker, or a
// container of another installation.
func TestNoHintEndsWhatIsOurs(t *testing.T) {
	for _, what := range []string{"a port that Docker holds, while Docker does not answer", "another appliance that obtains a certificate", "another installation of this host"} {
		w := newHost(t)
		f := same(t, w.faults(), what)
		f.inflict()
		v, _ := w.look(f.by)
		for _, harm := range []string{"kill ", "docker stop", "systemctl disable"} {
			if strings.Contains(v.hint, harm) {
				t.Errorf("%s: the hint is %q", what, v.hint)
			}
		}
	}
}
