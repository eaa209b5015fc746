package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/johannesboyne/gofakes3"
	"github.com/johannesboyne/gofakes3/backend/s3mem"

	"appliance/cmd/internal/manual"
	"appliance/compose"
)

const (
	hostImage = "appliance-stage/host" // a Debian with systemd and Docker, see compose/stage/life.sh
	hostName  = project + "-host"
	bucket    = "backups"
)

// A lifetime is the whole life of an installation on hosts that are fresh Debians, each a container
// in which systemd and a Docker of its own run: from install.sh to the purge of the package.
type lifetime struct {
	*demo
	release string // a directory with a signed release
	servers *lifeServers
	sum     string // of the bundle
	talk    *talk
	before  string // the files of the second host when it was new
}

// lifeServers are the servers elsewhere: the web server of the release, and storage.
type lifeServers struct {
	release, storage string // their addresses
	objects          gofakes3.Backend
	stop             func()
}

// live goes through that whole life. It leaves nothing behind.
func (d *lifetime) live(ctx context.Context, messages int) (err error) {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Minute)
	defer cancel()
	if _, err := d.command(ctx, "docker", "network", "inspect", network); err == nil {
		return errors.New("a demo is here, and has the names that this needs: type first: make demo-down")
	}
	d.at = front
	defer func() { err = errors.Join(err, d.leave(context.WithoutCancel(ctx))) }()
	for _, step := range []struct {
		what string
		do   func(context.Context) error
	}{
		{"the world around: an authority, " + remoteName + ", a web server with the release, S3 storage", d.prepare},
		{"a bundle", d.pack},
		{"a fresh Debian", d.host},
		{"install.sh from the web server", d.installByScript},
		{"bundle load", d.load},
		{"appliance up", d.install1},
		{"a conversation", func(ctx context.Context) error { return d.begin(ctx, messages) }},
		{"reboot, and the conversation goes on", func(ctx context.Context) error { return errors.Join(d.reboot(ctx), d.goOn(ctx, messages)) }},
		{"the timer fires, and the backup is in the storage", d.timer},
		{"the host is lost; another fresh Debian", func(ctx context.Context) error { return errors.Join(d.loseHost(ctx), d.host(ctx)) }},
		{"the Debian package, bundle load", func(ctx context.Context) error { return errors.Join(d.installPackage(ctx), d.load(ctx)) }},
		{"fetch and restore", d.restore},
		{"the conversation goes on there", func(ctx context.Context) error { return d.goOn(ctx, messages) }},
		{"an upgrade of one image", d.upgradeOne},
		{"the conversation goes on", func(ctx context.Context) error { return d.goOn(ctx, messages) }},
		{"uninstall, and purge of the package", d.remove},
	} {
		start := time.Now()
		if err := step.do(ctx); err != nil {
			return fmt.Errorf("%s: %w", step.what, err)
		}
		d.say("ok    %6.1f s  %s", seconds(start), step.what)
	}
	return nil
}

// on runs a script as root on the host, and returns its output.
func (d *lifetime) on(ctx context.Context, script string) (string, error) {
	out, err := d.command(ctx, "docker", "exec", hostName, "sh", "-euc", "exec 2>&1; cd /root; "+script)
	if err != nil {
		err = fmt.Errorf("%w\n%s", err, out[max(0, len(out)-3000):])
	}
	return out, err
}

// says runs a script whose output must match want.
func (d *lifetime) says(ctx context.Context, want, script string) error {
	out, err := d.on(ctx, script)
	if err == nil && !regexp.MustCompile(want).MatchString(out) {
		err = fmt.Errorf("%s: it does not say %q:\n%s", script, want, out)
	}
	return err
}

// documented is a line of the manual that is executed only here.
func documented(line string) string {
	if manual.NeedsContainers[line] == "" {
		panic("the manual has no command " + line)
	}
	return line
}

func (d *lifetime) prepare(ctx context.Context) error {
	if err := (world{d.demo}).elsewhere(ctx); err != nil {
		return err
	}
	storage := s3mem.New()
	if err := storage.CreateBucket(bucket); err != nil {
		return err
	}
	var stops []func()
	serve := func(h http.Handler) (string, error) {
		srv := httptest.NewUnstartedServer(h)
		_ = srv.Listener.Close()
		l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", net.JoinHostPort(gateway, "0"))
		if err != nil {
			return "", err
		}
		srv.Listener = l
		srv.Start()
		stops = append(stops, srv.Close)
		return srv.URL, nil
	}
	release, err := serve(http.FileServer(http.Dir(d.release)))
	if err != nil {
		return err
	}
	address, err := serve(gofakes3.New(storage).Server())
	d.servers = &lifeServers{release: release, storage: "s3+http://" + strings.TrimPrefix(address, "http://") + "/" + bucket + "/night", objects: storage, stop: func() {
		for _, stop := range stops {
			stop()
		}
	}}
	return errors.Join(err, d.files())
}

// files writes the files that the operator brings to every host.
func (d *lifetime) files() error {
	_, simulated, err := d.images()
	if err != nil {
		return err
	}
	answers := fmt.Sprintf("domain: %s\nserver_name: %s\nacme_directory: %s\nacme_ca_file: /root/ca.pem\nfederation_private_networks: true\nbackup_offsite: %s\nbackup_offsite_key_file: /root/keys\n",
		chatHost, serverName, directory(), d.servers.storage)
	override := fmt.Sprintf("# The names of the demo's world.\nservices:\n  homeserver:\n    extra_hosts: [\"%s:%s\", \"%s:%s\"]\n  certs:\n    extra_hosts: [\"%s:%s\"]\n",
		remoteName, remoteIP, remoteHost, remoteIP, acmeHost, gateway)
	if simulated {
		answers += "mongo_url: mongodb://" + standIn + "/rocketchat?replicaSet=rs0\n"
		override += "  rocketchat:\n    volumes: [\"./data/rocketsim:/data\"]\n"
	}
	roots, err := os.ReadFile(d.path("ca.pem"))
	return errors.Join(err, d.write("media/ca.pem", roots, 0o644), d.write("media/answers.yaml", []byte(answers), 0o600),
		d.write("media/compose.override.yaml", []byte(override), 0o644), d.write("media/keys", []byte("AKIA1\ns3cret\n"), 0o600))
}

// pack makes the bundle with the program of the release, as docs/closed-networks.md says.
func (d *lifetime) pack(ctx context.Context) error {
	names, err := filepath.Glob(filepath.Join(d.release, "appliance_linux_*.deb"))
	if err != nil || len(names) != 1 {
		return fmt.Errorf("%s has %d packages, want one", d.release, len(names))
	}
	program := strings.TrimSuffix(names[0], ".deb")
	if err := os.Chmod(program, 0o755); err != nil { //nolint:gosec // a program
		return err
	}
	if mongo := imageOf("MONGO_IMAGE"); mongo != "" {
		if _, err := d.command(ctx, "docker", "image", "inspect", mongo); err != nil { // nothing starts it: mongo_url says so
			d.say("(there is no image %s here: another one takes its name in the bundle)", mongo)
			if _, err := d.command(ctx, "docker", "tag", "appliance-stage/pebble", mongo); err != nil {
				return err
			}
			defer func() { _, _ = d.command(context.WithoutCancel(ctx), "docker", "rmi", mongo) }()
		}
	}
	line := documented("appliance bundle create appliance-bundle.tar")
	out, err := d.command(ctx, "sh", "-euc", `cd "$1"; shift; exec "$@"`, "sh", d.path("media"), program, strings.Fields(line)[1], strings.Fields(line)[2], strings.Fields(line)[3])
	if err != nil {
		return err
	}
	m := regexp.MustCompile(`SHA-256 (\w+)`).FindStringSubmatch(out)
	if m == nil {
		return fmt.Errorf("no checksum in %q", out)
	}
	d.sum = m[1]
	return nil
}

// imageOf is the name of an image in versions.env.
func imageOf(key string) string {
	for l := range strings.Lines(string(compose.Versions)) {
		if name, ok := strings.CutPrefix(strings.TrimSpace(l), key+"="); ok {
			return name
		}
	}
	return ""
}

// boot is the first program of a host: it makes the control groups of the container writable,
// which Docker mounts read-only, and becomes systemd.
const boot = `for m in $(awk '$3 ~ /^cgroup/ {print $2}' /proc/mounts) /sys/fs/cgroup; do mount -o remount,bind,rw $m 2>/dev/null || true; done; exec /sbin/init`

// host starts a new host at the address of the installation.
func (d *lifetime) host(ctx context.Context) error {
	args := []string{
		"run", "--detach", "--name", hostName, "--hostname", "chat", "--stop-signal", "SIGRTMIN+3", "--cgroupns", "private",
		"--cap-add", "ALL", "--security-opt", "seccomp=unconfined", "--security-opt", "apparmor=unconfined", "--security-opt", "systempaths=unconfined",
		"--tmpfs", "/run:exec", "--tmpfs", "/run/lock", "--volume", "/var/lib/docker",
		"--network", network, "--ip", front, "--network-alias", chatHost, "--network-alias", serverName, "--add-host", acmeHost + ":" + gateway,
		"--volume", d.path("media") + ":/media:ro", "--volume", d.release + ":/release:ro",
	}
	for _, plugins := range []string{os.Getenv("HOME") + "/.docker/cli-plugins", "/usr/libexec/docker/cli-plugins", "/usr/lib/docker/cli-plugins"} {
		if _, err := os.Stat(plugins + "/docker-compose"); err == nil { // Debian 12 has no package for it
			args = append(args, "--volume", plugins+":/usr/libexec/docker/cli-plugins:ro")
			break
		}
	}
	limited, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return err
	}
	if m := regexp.MustCompile(`CapBnd:\s*(\w+)`).FindSubmatch(limited); m != nil && !hasResource(string(m[1])) {
		args = append(args, "--cap-drop", "SYS_RESOURCE") // which this machine lacks
	}
	if _, err := d.command(ctx, "docker", append(args, hostImage, "sh", "-c", boot)...); err != nil {
		return err
	}
	if err := d.booted(ctx); err != nil {
		return err
	}
	d.before, err = d.everything(ctx)
	if err != nil {
		return err
	}
	_, err = d.on(ctx, "cp /media/ca.pem /media/answers.yaml /media/keys /root/; chmod 600 /root/answers.yaml /root/keys")
	return err
}

// hasResource reports whether a set of capabilities includes CAP_SYS_RESOURCE, number 24.
func hasResource(set string) bool {
	var bits uint64
	_, err := fmt.Sscanf(set, "%x", &bits)
	return err != nil || bits>>24&1 == 1
}

// booted waits until systemd has started everything, and Docker answers.
func (d *lifetime) booted(ctx context.Context) error {
	for {
		out, err := d.on(ctx, "systemctl is-system-running --wait || true; docker version >/dev/null && echo up")
		if state := strings.Fields(out); err == nil && len(state) == 2 && (state[0] == "running" || state[0] == "degraded") {
			if state[0] == "degraded" {
				failed, _ := d.on(ctx, "systemctl --failed --no-legend --plain")
				d.say("(systemd: %s)", strings.TrimSpace(failed))
			}
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("systemd does not come up: %s: %w", out, err)
		case <-time.After(300 * time.Millisecond):
		}
	}
}

// everything lists the files of the host, except those that the system itself writes as it runs.
func (d *lifetime) everything(ctx context.Context) (string, error) {
	return d.on(ctx, `find / -xdev \( -path /proc -o -path /sys -o -path /dev -o -path /run -o -path /tmp -o -path /var/tmp -o -path /var/log -o -path /var/cache -o -path /var/lib/dpkg -o -path /var/lib/docker -o -path /var/lib/containerd -o -path /var/lib/systemd -o -path /etc/docker -o -path /root/.docker -o -path /media -o -path /release \) -prune -o -print | sort`)
}

func (d *lifetime) installByScript(ctx context.Context) error {
	return d.says(ctx, `(?s)signature and checksum.*installed appliance v`, "curl -fsSL "+d.servers.release+"/install.sh | sh -s -- --from "+d.servers.release+" --yes")
}

func (d *lifetime) load(ctx context.Context) error {
	line := strings.NewReplacer("appliance-bundle.tar", "/media/appliance-bundle.tar", "THE-PRINTED-ONE", d.sum).Replace(documented("appliance bundle load appliance-bundle.tar --sha256 THE-PRINTED-ONE"))
	return d.says(ctx, "verified and loaded", line)
}

func (d *lifetime) install1(ctx context.Context) error {
	_, err := d.on(ctx, "mkdir -p /opt/appliance/data/rocketsim; chown 65533:65533 /opt/appliance/data/rocketsim; cp /media/compose.override.yaml /opt/appliance/")
	if err != nil {
		return err
	}
	if err := d.says(ctx, "start at boot, back up every night", "appliance up --answers answers.yaml --yes"); err != nil {
		return err
	}
	for from, to := range map[string]string{"secrets/admin_password": "install/secrets/admin_password", "backup.key": "media/backup.key"} { // the operator's copies
		text, err := d.on(ctx, "cat /opt/appliance/"+from)
		if err := errors.Join(err, d.write(to, []byte(text), 0o600)); err != nil {
			return err
		}
	}
	return nil
}

func (d *lifetime) begin(ctx context.Context, messages int) error {
	t, err := d.converse(ctx, "life")
	if err != nil {
		return err
	}
	d.talk = t
	return d.goOn(ctx, messages)
}

// goOn sends messages both ways and compares everything that was ever said.
func (d *lifetime) goOn(ctx context.Context, messages int) error {
	wait, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	if err := d.talk.flood(wait, messages); err != nil {
		return err
	}
	return d.talk.settle(wait)
}

func (d *lifetime) reboot(ctx context.Context) error {
	if _, err := d.command(ctx, "docker", "restart", "--time", "120", hostName); err != nil {
		return err
	}
	if err := d.booted(ctx); err != nil {
		return err
	}
	return d.says(ctx, "^active", "systemctl is-active appliance.service")
}

// timer brings the nightly run forward, and waits for what systemd does then.
func (d *lifetime) timer(ctx context.Context) error {
	if err := d.says(ctx, `appliance-backup\.timer`, "systemctl list-timers --no-pager"); err != nil {
		return err
	}
	_, err := d.on(ctx, `dir=/etc/systemd/system/appliance-backup.timer.d; mkdir $dir
		printf '[Timer]\nOnCalendar=\nOnCalendar=%s\nRandomizedDelaySec=0\nAccuracySec=1\n' "$(date -d '+4 seconds' '+%F %T')" >$dir/now.conf
		systemctl daemon-reload; systemctl restart appliance-backup.timer`)
	if err != nil {
		return err
	}
	for {
		out, err := d.on(ctx, "systemctl show appliance-backup.service -p ActiveState -p Result -p ExecMainStartTimestampMonotonic")
		if err != nil {
			return err
		}
		list, err := d.servers.objects.ListBucket(bucket, nil, gofakes3.ListBucketPage{})
		if err != nil {
			return err
		}
		ran := strings.Contains(out, "ActiveState=inactive") && !strings.Contains(out, "Monotonic=0")
		if ran && len(list.Contents) == 1 && strings.Contains(out, "Result=success") {
			d.say("(%s, %.1f MB)", list.Contents[0].Key, float64(list.Contents[0].Size)/1e6)
			return nil
		}
		if ran || strings.Contains(out, "ActiveState=failed") {
			log, _ := d.on(ctx, "journalctl --no-pager -u appliance-backup.service | tail -n 20")
			return fmt.Errorf("%s, and %d files in the storage:\n%s", out, len(list.Contents), log)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(500 * time.Millisecond):
		}
	}
}

func (d *lifetime) loseHost(ctx context.Context) error {
	_, err := d.command(ctx, "docker", "rm", "--force", "--volumes", hostName)
	return err
}

func (d *lifetime) installPackage(ctx context.Context) error {
	if err := d.says(ctx, "", "dpkg -i /release/appliance_linux_*.deb"); err != nil {
		return err
	}
	return d.says(ctx, "^/usr/bin/appliance", "command -v appliance")
}

// restore brings the installation back with what docs/backup.md names: the keys to the storage
// and the copy of the key to the backups.
func (d *lifetime) restore(ctx context.Context) error {
	if err := d.says(ctx, "fetched ", "cp /media/backup.key .; appliance backup fetch --from "+d.servers.storage+" --key-file keys --output newest"); err != nil {
		return err
	}
	if err := d.says(ctx, "Rocket.Chat ", "appliance restore newest --identity backup.key --accept-overrides"); err != nil {
		return err
	}
	return d.says(ctx, "", "appliance doctor; test -f /etc/systemd/system/appliance-backup.timer")
}

// upgradeOne follows docs/upgrade.md, "One image". Without a registry the next version is
// the same image under its name.
func (d *lifetime) upgradeOne(ctx context.Context) error {
	text, err := os.ReadFile(filepath.Join(filepath.Dir(d.dir), "docs/upgrade.md"))
	if err != nil {
		return err
	}
	m := regexp.MustCompile(`(?m)^ +(echo ROCKETCHAT_IMAGE=(\S+) >versions.env)$`).FindStringSubmatch(string(text))
	if m == nil {
		return errors.New("docs/upgrade.md does not say what is in versions.env")
	}
	if _, simulated, err := d.images(); err != nil {
		return err
	} else if simulated {
		if _, err := d.on(ctx, "docker tag "+imageOf("ROCKETCHAT_IMAGE")+" "+m[2]); err != nil {
			return err
		}
	}
	if _, err := d.on(ctx, m[1]+"; "+documented("appliance upgrade --versions versions.env")+" --yes"); err != nil {
		return err
	}
	return d.says(ctx, regexp.QuoteMeta(m[2]), "docker ps --format '{{.Image}}'")
}

// remove leaves what docs/leaving.md says: the backups and their key.
func (d *lifetime) remove(ctx context.Context) error {
	if _, err := d.on(ctx, "appliance uninstall --yes; dpkg -P appliance; rm -r ca.pem answers.yaml keys newest backup.key versions.env"); err != nil {
		return err
	}
	after, err := d.everything(ctx)
	if err != nil {
		return err
	}
	had, stays, left := strings.Split(d.before, "\n"), []string{"/opt/appliance", "/opt/appliance/.made", "/opt/appliance/.purged", "/opt/appliance/backup.key", "/opt/appliance/backups"}, []string{}
	for _, name := range strings.Split(after, "\n") {
		if slices.Contains(had, name) || strings.HasPrefix(name, "/opt/appliance/backups/") {
			continue
		}
		if left = append(left, name); !slices.Contains(stays, name) {
			return fmt.Errorf("%s is left, which docs/leaving.md does not name", name)
		}
	}
	if !slices.Contains(left, "/opt/appliance/backup.key") || !slices.Contains(left, "/opt/appliance/backups") {
		return fmt.Errorf("the backups or their key are gone: %q", left)
	}
	out, err := d.on(ctx, "docker ps -aq; docker network ls -q --filter type=custom; docker volume ls -q; { systemctl list-unit-files --no-legend 'appliance*' || true; }; docker images --format '{{.Repository}}:{{.Tag}}' | sort | sed 's/^/image /'")
	if err != nil {
		return err
	}
	for line := range strings.Lines(out) {
		if !strings.HasPrefix(line, "image ") {
			return fmt.Errorf("that is left:\n%s", out)
		}
	}
	d.say("(what stays: %s; of the images, those that did not run at the end: %s)", strings.Join(left, ", "), strings.Join(strings.Fields(strings.ReplaceAll(out, "image ", "")), ", "))
	return nil
}

// leave removes what was started.
func (d *lifetime) leave(ctx context.Context) error {
	if d.servers != nil {
		d.servers.stop()
	}
	var errs []error
	if err := d.loseHost(ctx); err != nil && !strings.Contains(err.Error(), "No such container") {
		errs = append(errs, err)
	}
	if _, err := os.Stat(d.path("elsewhere/compose.yaml")); err == nil {
		errs = append(errs, world{d.demo}.composeElsewhere(ctx, "down", "--volumes", "--remove-orphans"))
	} else if !errors.Is(err, fs.ErrNotExist) {
		errs = append(errs, err)
	}
	return errors.Join(append(errs, world{d.demo}.hosts(false), os.RemoveAll(d.dir))...)
}
