package preflight_test

import (
	"context"
	"errors"
	"io/fs"
	"net"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"appliance/provision/answers"
	"appliance/provision/external"
	"appliance/provision/finding"
	"appliance/provision/preflight"
	"appliance/provision/stack"
)

// droplet returns a fresh host that is just large enough.
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
		NoSwap:     func() string { return "" },
		Networking: func(context.Context) (stack.Networking, error) { return stack.Networking{}, nil },
		Published:  func(context.Context) (map[int]stack.Publisher, error) { return nil, nil },
		FreeInodes: func(string) (uint64, uint64, error) { return 1 << 20, 1 << 21, nil },
		ClockAhead: func(context.Context, string) (time.Duration, error) { return time.Second, nil },
		Reach:      func(context.Context, string) error { return nil },
		CAA:        func(context.Context, string) ([]string, error) { return nil, nil },
		Addresses:  func() ([]net.IP, error) { return []net.IP{net.IPv4(203, 0, 113, 7)}, nil },
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

// TestAPortOfAContainerThatStartsIsOurs: containers left by an interrupted start may still be
// coming up while the next start checks the ports.
func TestAPortOfAContainerThatStartsIsOurs(t *testing.T) {
	h := droplet()
	h.Root.(fstest.MapFS)["proc/812/comm"] = file("docker-proxy\n")
	h.Settle = time.Minute
	h.Listen = func(int) error { return errors.New("address already in use") }
	asked := 0
	h.Published = func(context.Context) (map[int]stack.Publisher, error) {
		if asked++; asked < 3 {
			return nil, nil
		}
		return map[int]stack.Publisher{80: {Container: "chat-nginx-1", Ours: true}, 443: {Container: "chat-nginx-1", Ours: true}}, nil
	}
	for _, c := range preflight.Checks(h, ask(t), "/opt/appliance") {
		if c.Name == "http-port" {
			if f := c.Run(t.Context()); f.Severity != finding.OK {
				t.Errorf("%+v", f)
			}
		}
	}
}

// The faults of hosts are tested in package provision; here is what looks wrong
// but is not.
func TestWhatOnlyLooksWrong(t *testing.T) {
	proc := func(name, text string) func(*preflight.Host) {
		return func(h *preflight.Host) {
			m, _ := h.Root.(fstest.MapFS)
			m[name] = file(text)
		}
	}
	leads := func(ips ...string) func(*preflight.Host) {
		return func(h *preflight.Host) {
			h.Resolve = func(context.Context, string) ([]net.IP, error) {
				var out []net.IP
				for _, ip := range ips {
					out = append(out, net.ParseIP(ip))
				}
				return out, nil
			}
		}
	}
	small := func(h *preflight.Host) {
		h.FreeBytes = func(string) (uint64, uint64, error) { return 8 << 30, 10 << 30, nil }
	}
	for name, c := range map[string]struct {
		change func(*preflight.Host)
		set    []string
		check  string
		want   string // severity and summary
	}{
		"one CPU is enough":    {func(h *preflight.Host) { h.CPUs = 1 }, []string{"min_cpus=1"}, "cpus", "ok 1 CPUs"},
		"1 GB is enough":       {proc("proc/meminfo", "MemTotal: 1014312 kB\nSwapTotal: 2097148 kB\n"), []string{"min_memory_mb=900"}, "memory", "ok 990 MB of memory"},
		"a small disk will do": {small, []string{"min_disk_gb=10"}, "disk", "ok 8 GB free"},
		"no inodes to count": {func(h *preflight.Host) {
			h.FreeInodes = func(string) (uint64, uint64, error) { return 0, 0, nil }
		}, nil, "inodes", "ok the file system of /opt/appliance does not count inodes"},
		"Compose from source": {func(h *preflight.Host) {
			h.Versions = func(context.Context) (stack.Versions, error, error) {
				return stack.Versions{API: "1.47", Compose: "dev"}, nil, nil
			}
		}, nil, "compose", "warn Compose does not say its version"},
		"a web server nobody can see": {func(h *preflight.Host) { h.Listen = func(int) error { return errors.New("address already in use") } }, nil, "https-port",
			"fail port 443 cannot be used"},
		"our own nginx": {func(h *preflight.Host) {
			h.Listen = func(int) error { return errors.New("address already in use") }
			h.Published = func(context.Context) (map[int]stack.Publisher, error) {
				return map[int]stack.Publisher{80: {Container: "appliance-nginx-1", Ours: true}}, nil
			}
		}, nil, "http-port", "ok port 80 is ours"},
		"no DNS in a closed network": {func(h *preflight.Host) {
			h.Resolve = func(context.Context, string) ([]net.IP, error) { return nil, errors.New("no such host") }
		}, []string{"tls=internal", "server_name=example.org"}, "dns-server-name", "warn example.org does not resolve here"},
		"another address and no ACME": {leads("198.51.100.9"), []string{"tls=internal"}, "dns-domain", "ok chat.example.org resolves to 198.51.100.9"},
		"behind a router": {func(h *preflight.Host) {
			leads("198.51.100.9")(h)
			h.Addresses = func() ([]net.IP, error) { return []net.IP{net.IPv4(192, 168, 1, 2)}, nil }
		}, nil, "dns-domain", "ok chat.example.org resolves to 198.51.100.9"},
		"a CAA record for Let's Encrypt": {func(h *preflight.Host) {
			h.CAA = func(context.Context, string) ([]string, error) { return []string{"pki.goog", "letsencrypt.org"}, nil }
		}, nil, "caa", "ok no CAA record forbids Let's Encrypt"},
	} {
		t.Run(name, func(t *testing.T) {
			h := droplet()
			c.change(&h)
			for _, f := range preflight.Run(t.Context(), h, ask(t, c.set...), "/opt/appliance") {
				if f.Check == c.check {
					if got := f.Severity.String() + " " + f.Summary; got != c.want {
						t.Errorf("got  %s\nwant %s", got, c.want)
					}
					return
				}
			}
			t.Error("not checked")
		})
	}
}

// The ports for this host only are checked if something will listen there. The hint is to choose
// another port, because the service that has this one may be wanted.
func TestThePortsForThisHostOnly(t *testing.T) {
	taken := droplet()
	taken.Listen = func(int) error { return errors.New("address already in use") }
	for key, check := range map[string]string{"metrics": "metrics-port", "monitoring": "monitoring-port"} {
		number := map[string]string{"metrics": "9464", "monitoring": "9090"}[key]
		seen := map[string]finding.Finding{}
		for _, f := range preflight.Run(t.Context(), taken, ask(t, key+"=true"), "/opt/appliance") {
			seen[f.Check] = f
		}
		if f := seen[check]; f.Severity != finding.Fail || !strings.Contains(f.Summary, "port "+number+" ") || !strings.Contains(f.Fix, "appliance up --set "+key+"_port=") {
			t.Errorf("%s: %+v", key, f)
		}
		for _, f := range preflight.Run(t.Context(), taken, ask(t), "/opt/appliance") {
			if f.Check == check {
				t.Errorf("%s is looked at although nobody wants it", check)
			}
		}
	}
}

// An existing installation has already passed the network checks, and up on it
// should be quick.
func TestAnInstalledHostIsNotAskedAboutTheInternetAgain(t *testing.T) {
	h := droplet()
	m, _ := h.Root.(fstest.MapFS)
	m["opt/appliance/manifest.json"] = file("{}")
	for _, c := range preflight.Checks(h, ask(t), "/opt/appliance") {
		if slices.Contains([]string{"egress", "clock", "caa"}, c.Name) {
			t.Errorf("checks %s", c.Name)
		}
	}
}

// External services are checked by the doctor too, under the same names.
func TestExternalServicesAreCheckedForGood(t *testing.T) {
	a := ask(t)
	a.HomeserverDatabase, a.MongoURL, a.Uploads = "postgres://db.example.org/dendrite", "mongodb://db.example.org/rocketchat", "s3://s3.example.org/files"
	var lasting []string
	for _, c := range preflight.Lasting(droplet(), a, "/opt/appliance") {
		lasting = append(lasting, c.Name)
	}
	checks := external.Checks(a)
	if len(checks) != 3 {
		t.Fatalf("%d checks of external services, want 3", len(checks))
	}
	for _, c := range checks {
		if !slices.Contains(lasting, c.Name) {
			t.Errorf("the doctor does not check %s: it checks %v", c.Name, lasting)
		}
	}
}

func TestNoMongoNoProcessorNeeded(t *testing.T) {
	for _, arch := range []string{"amd64", "arm64"} {
		h := droplet()
		h.Arch = arch
		for _, c := range preflight.Checks(h, ask(t, "mongo_url=mongodb://db/x"), "/opt/appliance") {
			if slices.Contains([]string{"avx", "armv8-2", "kernel"}, c.Name) {
				t.Errorf("checks %s though MongoDB is elsewhere", c.Name)
			}
		}
	}
}

// Processors that MongoDB is not built for are recognised by their /proc/cpuinfo.
func TestTheProcessorIsOneThatMongoDBIsBuiltFor(t *testing.T) {
	for name, want := range map[string]string{
		"amd64 droplet":       "ok the processor has AVX",
		"amd64 qemu64":        "fail the processor has no AVX",
		"amd64 pentium-g4560": "fail the processor has no AVX",
		"arm64 neoverse-n1":   "ok the processor is an ARMv8.2-A or later",
		"arm64 cortex-a55":    "ok the processor is an ARMv8.2-A or later",
		"arm64 cortex-a72":    "fail the processor is older than ARMv8.2-A: the processor lacks atomics and dcpop",
		"arm64 thunderx2":     "fail the processor is older than ARMv8.2-A: the processor lacks dcpop",
		"arm64 mixed":         "fail the processor is older than ARMv8.2-A: the processor lacks atomics and dcpop",
		"arm64 droplet":       "warn cannot tell whether the processor is an ARMv8.2-A or later",
	} {
		arch, cpu, _ := strings.Cut(name, " ")
		h := droplet()
		h.Arch = arch
		m, _ := h.Root.(fstest.MapFS)
		files := []string{cpu}
		if cpu == "mixed" {
			files = []string{"cortex-a55", "cortex-a72"}
		}
		text := ""
		for _, f := range files {
			data, err := os.ReadFile("testdata/cpuinfo/" + f + ".txt")
			if err != nil {
				t.Fatal(err)
			}
			text += string(data)
		}
		m["proc/cpuinfo"] = file(text)
		got := "not checked"
		for _, f := range preflight.Run(t.Context(), h, ask(t), "/opt/appliance") {
			if f.Check == "avx" || f.Check == "armv8-2" {
				got = f.Severity.String() + " " + f.Summary
				if _, lacks, ok := strings.Cut(f.Why, ": "); ok {
					got += ": " + lacks
				}
				if f.Severity == finding.Fail && !strings.Contains(f.Fix, "mongo_url") {
					t.Errorf("%s: what to do is %q", name, f.Fix)
				}
			}
		}
		if got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
}
