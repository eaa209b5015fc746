#!/usr/bin/env bash
# Prepares this machine for the demo and the tests: Docker Engine with a
# running daemon, the Compose plugin, and the few Debian packages that build the
# local images. Changes nothing that is already there. Needs root, apt and Go.
. "$(dirname "$0")/lib.sh"

command -v go >/dev/null || die "Go is not installed" "install Go 1.26 or newer: https://go.dev/dl/"
need_root

# Two at once, from two terminals, would install into one another's directories.
exec 8>>"$cache/setup.lock"
flock -n 8 || { say "another set-up is at work: this one goes on when that has ended"; flock 8; }

packages=()
command -v dockerd >/dev/null || packages+=(docker.io)
command -v iptables >/dev/null || packages+=(iptables)
command -v mmdebstrap >/dev/null || packages+=(mmdebstrap)
command -v sslscan >/dev/null || packages+=(sslscan)
command -v openssl >/dev/null || packages+=(openssl)
command -v cc >/dev/null || packages+=(gcc libc6-dev)
command -v curl >/dev/null || packages+=(curl)
command -v node >/dev/null || packages+=(nodejs)
command -v npm >/dev/null || packages+=(npm)
command -v chromium >/dev/null || packages+=(chromium)
services=() # that packages start and the tests do not want
command -v promtool >/dev/null || { services+=(prometheus); packages+=(prometheus); }
[ -x /usr/sbin/pgbouncer ] || { services+=(pgbouncer); packages+=(pgbouncer); }
[ -x /usr/bin/busybox ] || [ -x /bin/busybox ] || packages+=(busybox-static)
dpkg-query -W -f '${Status}' debian-archive-keyring 2>/dev/null | grep -q 'ok installed' || packages+=(debian-archive-keyring)
if [ ${#packages[@]} -gt 0 ]; then
	command -v apt-get >/dev/null || die "missing: ${packages[*]}, and there is no apt-get to install them with" "install them with this system's own package manager"
	say "installing ${packages[*]}"
	export DEBIAN_FRONTEND=noninteractive
	quietly apt-update apt-get update -q -o DPkg::Lock::Timeout=300
	# Without the daemon's service scripts: some machines have no service manager.
	quietly apt-install apt-get install -y -q --no-install-recommends -o DPkg::Lock::Timeout=300 "${packages[@]}"
	# Tests start a Prometheus and a PgBouncer of their own; the packages start one for good.
	if [ ${#services[@]} -gt 0 ] && [ -d /run/systemd/system ]; then
		systemctl disable --now "${services[@]}" >/dev/null 2>&1 || true
	fi
fi

if ! docker version >/dev/null 2>&1; then
	say "starting the Docker daemon"
	if [ -d /run/systemd/system ]; then
		quietly docker-start systemctl start docker
	else
		rm -f /var/run/docker.pid
		setsid dockerd >"$cache/dockerd.log" 2>&1 </dev/null 8>&- &
		# Without a service manager all containers together get as much of the processor as one process
		# outside. With tests beside them, a homeserver would be minutes behind.
		shares=/sys/fs/cgroup/cpu/docker
		[ ! -f "${shares%/*}/cpu.shares" ] || { mkdir -p "$shares" && echo 8192 >"$shares/cpu.shares"; } || true
	fi
	for _ in $(seq 100); do
		docker version >/dev/null 2>&1 && break
		sleep 0.3
	done
	docker version >/dev/null 2>&1 || die "the Docker daemon does not answer: $(tail -n 3 "$cache/dockerd.log" 2>/dev/null)" "run dockerd by hand and see what it says"
fi

if ! docker compose version >/dev/null 2>&1; then
	tool compose github.com/docker/compose/v5/cmd
	say "installing the Compose plugin"
	mkdir -p ~/.docker/cli-plugins
	install -m 755 "$cache/bin/compose" ~/.docker/cli-plugins/docker-compose
	docker compose version >/dev/null 2>&1 || die "docker does not find the Compose plugin in ~/.docker/cli-plugins" "see: docker info"
fi

# Another web server for the tests of docs/proxy.md: its program alone, no service.
if [ ! -x "$cache/bin/caddy" ] && command -v apt-get >/dev/null; then
	say "fetching Caddy"
	away=$(mktemp -d)
	chmod 755 "$away"
	(cd "$away" && apt-get download -q caddy >/dev/null 2>&1 && dpkg -x caddy_*.deb . && install -m 755 usr/bin/caddy "$cache/bin/caddy") || say "Caddy is not in this system's packages: its test is left out"
	rm -rf "$away"
fi

npm_packages parsers
npm_packages axe
npm_packages official "$root/bridge/rocketchat/rctest/official"
