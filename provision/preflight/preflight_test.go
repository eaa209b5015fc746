package preflight_test

import (
	"context"
	"errors"
	"io/fs"
	"net"
	"strings"
	"testing"
	"testing/fstest"

	"appliance/provision/answers"
	"appliance/provision/finding"
	"appliance/provision/preflight"
	"appliance/provision/stack"
)

// droplet is a fresh host that is just large enough.
func droplet() preflight.Host {
	return preflight.Host{
		Root: fstest.MapFS{
			"proc/meminfo":              file("MemTotal: 2014312 kB\nSwapTotal: 2097148 kB\n"),
			"proc/cpuinfo":              file("flags\t\t: fpu sse avx avx2\n"),
			"proc/sys/kernel/osrelease": file("6.8.0-45-generic\n"),
			"proc/net/tcp":              file("  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n   0: 00000000:0050 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4711 1\n"),
			"proc/812/comm":             file("apache2\n"),
			"proc/812/fd/4":             {Data: []byte("socket:[4711]"), Mode: fs.ModeSymlink},
		},
		Arch: "amd64", CPUs: 2,
		FreeBytes: func(string) (uint64, uint64, error) { return 21 << 30, 24 << 30, nil },
		Listen:    func(int) error { return nil },
		Resolve:   func(context.Context, string) ([]net.IP, error) { return []net.IP{net.IPv4(203, 0, 113, 7)}, nil },
		Versions: func(context.Context) (stack.Versions, error, error) {
			return stack.Versions{Docker: "27.5.1", API: "1.47", Compose: "2.24.0", Root: "/var/lib/docker"}, nil, nil
		},
		Published: func(context.Context) (map[int]stack.Publisher, error) { return nil, nil },
	}
}

func file(text string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(text)} }

func ask(t *testing.T, set ...string) answers.Answers {
	t.Helper()
	d := answers.NewDraft()
	d.Assign("domain=chat.example.org")
	for _, s := range set {
		d.Assign(s)
	}
	a, err := d.Finish()
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func TestASmallDropletWillDo(t *testing.T) {
	for _, f := range preflight.Run(t.Context(), droplet(), ask(t), "/opt/appliance") {
		if f.Severity != finding.OK || f.Why != "" || f.Fix != "" {
			t.Errorf("%+v", f)
		}
	}
}

func TestWhatStandsInTheWay(t *testing.T) {
	old := func(v stack.Versions, docker, compose error) func(*preflight.Host) {
		return func(h *preflight.Host) {
			h.Versions = func(context.Context) (stack.Versions, error, error) { return v, docker, compose }
		}
	}
	proc := func(name, text string) func(*preflight.Host) {
		return func(h *preflight.Host) {
			m, _ := h.Root.(fstest.MapFS)
			m[name] = file(text)
		}
	}
	good := stack.Versions{Docker: "27", API: "1.47", Compose: "2.30.1", Root: "/var/lib/docker"}
	for name, c := range map[string]struct {
		change func(*preflight.Host)
		set    []string
		check  string
		want   string // severity and summary
	}{
		"not root":          {func(h *preflight.Host) { h.EUID = 1000 }, nil, "root", "fail running as user 1000"},
		"another processor": {func(h *preflight.Host) { h.Arch = "riscv64" }, nil, "architecture", "fail riscv64 is not supported"},
		"one CPU":           {func(h *preflight.Host) { h.CPUs = 1 }, nil, "cpus", "fail 1 CPU, 2 required"},
		"one CPU is enough": {func(h *preflight.Host) { h.CPUs = 1 }, []string{"min_cpus=1"}, "cpus", "ok 1 CPUs"},
		"1 GB":              {proc("proc/meminfo", "MemTotal: 1014312 kB\n"), nil, "memory", "fail 990 MB of memory, 2048 required"},
		"1 GB is enough":    {proc("proc/meminfo", "MemTotal: 1014312 kB\nSwapTotal: 2097148 kB\n"), []string{"min_memory_mb=900"}, "memory", "ok 990 MB of memory"},
		"2 GB without swap": {proc("proc/meminfo", "MemTotal: 2014312 kB\n"), nil, "memory", "warn 1967 MB of memory and 0 MB of swap"},
		"a small disk": {func(h *preflight.Host) {
			h.FreeBytes = func(string) (uint64, uint64, error) { return 8 << 30, 10 << 30, nil }
		}, nil, "disk", "fail /opt/appliance has 10 GB, 8 GB of them free; 20 required"},
		"a small disk will do": {func(h *preflight.Host) {
			h.FreeBytes = func(string) (uint64, uint64, error) { return 8 << 30, 10 << 30, nil }
		}, []string{"min_disk_gb=10"}, "disk", "ok 8 GB free"},
		"a full disk": {func(h *preflight.Host) {
			h.FreeBytes = func(string) (uint64, uint64, error) { return 2 << 30, 80 << 30, nil }
		}, nil, "disk", "fail /opt/appliance has 80 GB, 2 GB of them free; 20 required"},
		"no AVX":              {proc("proc/cpuinfo", "flags : fpu sse\n"), nil, "avx", "fail the processor has no AVX"},
		"Ubuntu 26.04":        {proc("proc/sys/kernel/osrelease", "7.0.0-12-generic\n"), nil, "kernel", "fail Linux 7.0.0-12-generic"},
		"no Docker":           {old(stack.Versions{}, errors.New("no such file"), nil), nil, "docker", "fail no Docker daemon answers"},
		"an old Docker":       {old(stack.Versions{Docker: "19.03", API: "1.40"}, nil, nil), nil, "docker", "fail Docker 19.03 speaks API 1.40, 1.41 required"},
		"Docker as a snap":    {old(stack.Versions{Docker: "27", API: "1.47", Root: "/var/snap/docker/common"}, nil, nil), nil, "docker", "fail Docker was installed as a snap"},
		"no Compose":          {old(good, nil, errors.New("exit status 1")), nil, "compose", "fail `docker compose` does not answer"},
		"an old Compose":      {old(stack.Versions{API: "1.47", Compose: "2.17.2"}, nil, nil), nil, "compose", "fail Compose 2.17.2, 2.24 required"},
		"Compose from source": {old(stack.Versions{API: "1.47", Compose: "dev"}, nil, nil), nil, "compose", "warn Compose does not say its version"},
		"a web server": {func(h *preflight.Host) { h.Listen = func(int) error { return errors.New("address already in use") } }, nil, "http-port",
			"fail port 80 is used by apache2 (pid 812)"},
		"a web server nobody can see": {func(h *preflight.Host) { h.Listen = func(int) error { return errors.New("address already in use") } }, nil, "https-port",
			"fail port 443 cannot be used"},
		"another container": {func(h *preflight.Host) {
			h.Published = func(context.Context) (map[int]stack.Publisher, error) {
				return map[int]stack.Publisher{80: {Container: "traefik"}}, nil
			}
		}, nil, "http-port", "fail port 80 is used by the container traefik"},
		"our own nginx": {func(h *preflight.Host) {
			h.Listen = func(int) error { return errors.New("address already in use") }
			h.Published = func(context.Context) (map[int]stack.Publisher, error) {
				return map[int]stack.Publisher{80: {Container: "appliance-nginx-1", Ours: true}}, nil
			}
		}, nil, "http-port", "ok port 80 is ours"},
		"no DNS": {func(h *preflight.Host) {
			h.Resolve = func(context.Context, string) ([]net.IP, error) { return nil, errors.New("no such host") }
		}, nil, "dns-domain", "fail chat.example.org does not resolve"},
		"no DNS in a closed network": {func(h *preflight.Host) {
			h.Resolve = func(context.Context, string) ([]net.IP, error) { return nil, errors.New("no such host") }
		}, []string{"tls=internal", "server_name=example.org"}, "dns-server-name", "warn example.org does not resolve here"},
	} {
		t.Run(name, func(t *testing.T) {
			h := droplet()
			c.change(&h)
			for _, f := range preflight.Run(t.Context(), h, ask(t, c.set...), "/opt/appliance") {
				if f.Severity > finding.OK && (f.Why == "" || f.Fix == "") {
					t.Errorf("no why or no fix: %+v", f)
				}
				if f.Check != c.check {
					continue
				}
				if got := f.Severity.String() + " " + f.Summary; got != c.want {
					t.Errorf("got  %s\nwant %s", got, c.want)
				}
				return
			}
			t.Error("not checked")
		})
	}
}

func TestNoMongoNoProcessorNeeded(t *testing.T) {
	for _, c := range preflight.Checks(droplet(), ask(t, "mongo_url=mongodb://db/x"), "/opt/appliance") {
		if strings.Contains("avx kernel", c.Name) {
			t.Errorf("checks %s though MongoDB is elsewhere", c.Name)
		}
	}
}
