#!/usr/bin/env bash
# Puts every image of the stack on this machine, under the names that
# compose/versions.env pins: pulled where a registry answers, otherwise built
# from Debian packages and Go modules. Writes which to .cache/images.json.
# In place of Rocket.Chat a build has only the simulator, and says so.
. "$(dirname "$0")/lib.sh"
need_root
set -a
. "$root/compose/versions.env"
set +a

declare -A origin
stamp() { docker image inspect --format '{{index .Config.Labels "appliance.stage"}}' "$1" 2>/dev/null || true; }
digest() { cat "$@" | sha256sum | cut -c1-16; }
label() { printf 'LABEL appliance.stage=%s' "$1"; }
busybox=$(command -v busybox)

# static DIR: a root file system with a shell, wget and certificate roots.
static() {
	mkdir -p "$1"/{bin,etc/ssl/certs,tmp,usr/bin}
	chmod 1777 "$1/tmp"
	cp "$busybox" "$1/bin/busybox"
	for a in sh wget cat ls; do ln -sf busybox "$1/bin/$a"; done
	cp /etc/ssl/certs/ca-certificates.crt "$1/etc/ssl/certs/" 2>/dev/null || true
	printf 'root:x:0:0::/:/bin/sh\nappliance:x:10500:10500::/:/bin/sh\n' >"$1/etc/passwd"
}

# debian SUITE DIR PACKAGES: a Debian root file system in DIR.tar.
debian() {
	local suite=$1 out=$2 packages=$3 key=/usr/share/keyrings/debian-archive-keyring.gpg
	shift 3
	mmdebstrap --quiet --variant=essential --aptopt='Acquire::Check-Valid-Until "false"' --keyring="$key" \
		--dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/locale/*' --dpkgopt='path-exclude=/usr/share/man/*' \
		--include="$packages" "$@" "$suite" "$out"
}

build_nginx() {
	debian sid "$cache/nginx.tar" nginx,busybox-static,ca-certificates \
		--customize-hook="copy-in $stage/rootfs/nginx-entrypoint.sh /" \
		--customize-hook='mv "$1/nginx-entrypoint.sh" "$1/docker-entrypoint.sh"; chmod 755 "$1/docker-entrypoint.sh"; ln -sf busybox "$1/bin/wget"' &&
	docker import -c "$(label "$2")" -c 'ENTRYPOINT ["/docker-entrypoint.sh"]' -c 'CMD ["nginx","-g","daemon off;"]' \
		-c 'USER 101' -c 'EXPOSE 8080' "$cache/nginx.tar" "$1"
	rm -f "$cache/nginx.tar"
}

build_postgres() {
	local major=${1##*:} suite=sid
	[ "$major" = 17 ] && suite=trixie
	debian "$suite" "$cache/postgres.tar" "postgresql-$major,ca-certificates" \
		--essential-hook='echo postgres:x:999: >>"$1/etc/group"; echo postgres:x:999:999::/var/lib/postgresql:/bin/sh >>"$1/etc/passwd"' \
		--customize-hook="copy-in $stage/rootfs/postgres-entrypoint.sh /" \
		--customize-hook='mv "$1/postgres-entrypoint.sh" "$1/usr/local/bin/docker-entrypoint.sh"; chmod 755 "$1/usr/local/bin/docker-entrypoint.sh"; rm -rf "$1"/var/lib/postgresql/[0-9]* "$1"/etc/postgresql/[0-9]*; mkdir -p "$1/var/lib/postgresql/data"; chown 999:999 "$1/var/lib/postgresql" "$1/var/lib/postgresql/data"' &&
	# mmdebstrap leaves /run empty, and the server's socket lives there.
	install -d -o 999 -g 999 "$cache/run/postgresql" && tar --append -C "$cache" -f "$cache/postgres.tar" ./run/postgresql && rm -r "$cache/run" &&
	docker import -c "$(label "$2")" -c 'ENTRYPOINT ["docker-entrypoint.sh"]' -c 'CMD ["postgres"]' \
		-c 'ENV PATH=/usr/local/bin:/usr/lib/postgresql/'"$major"'/bin:/usr/bin:/bin PGDATA=/var/lib/postgresql/data LANG=C.UTF-8' \
		-c 'EXPOSE 5432' "$cache/postgres.tar" "$1"
	rm -f "$cache/postgres.tar"
}

build_dendrite() {
	local dir=$cache/dendrite.root
	rm -rf "$dir" && static "$dir" && cp "$cache/bin/dendrite" "$dir/usr/bin/dendrite" && mkdir -p "$dir/etc/dendrite" &&
	tar -C "$dir" -c . | docker import -c "$(label "$2")" -c 'ENTRYPOINT ["/usr/bin/dendrite"]' -c 'ENV PATH=/usr/bin:/bin' -c 'WORKDIR /etc/dendrite' -c 'EXPOSE 8008' - "$1"
	rm -rf "$dir"
}

# Synapse is a Python program of about a hundred packages, so the whole suite comes along.
build_synapse() {
	debian sid "$cache/synapse.tar" matrix-synapse,python3-psycopg2,ca-certificates,curl \
		--dpkgopt='path-exclude=/usr/share/javascript/*' --dpkgopt='path-exclude=/usr/share/fonts/*' \
		--essential-hook='printf "matrix-synapse matrix-synapse/server-name string stage.invalid\nmatrix-synapse matrix-synapse/report-stats boolean false\n" | chroot "$1" debconf-set-selections' \
		--customize-hook="copy-in $stage/rootfs/synapse-entrypoint.sh /" \
		--customize-hook='mv "$1/synapse-entrypoint.sh" "$1/start.sh"; chmod 755 "$1/start.sh"; rm -rf "$1/etc/matrix-synapse" "$1/var/lib/matrix-synapse"; echo synapse:x:991: >>"$1/etc/group"; echo synapse:x:991:991::/data:/bin/sh >>"$1/etc/passwd"; mkdir -p "$1/data"; chown 991:991 "$1/data"' &&
	docker import -c "$(label "$2")" -c 'ENTRYPOINT ["/start.sh"]' -c 'EXPOSE 8008' -c 'ENV LANG=C.UTF-8 PATH=/usr/bin:/bin:/usr/sbin:/sbin' \
		-c 'HEALTHCHECK --start-period=5s --interval=15s --timeout=5s CMD curl -fSs http://localhost:8008/health' "$cache/synapse.tar" "$1"
	rm -f "$cache/synapse.tar"
}

build_prometheus() {
	debian sid "$cache/prometheus.tar" prometheus,busybox-static,ca-certificates \
		--customize-hook='ln -sf busybox "$1/bin/wget"; rm -rf "$1/etc/prometheus" "$1/var/lib/prometheus"; mkdir -p "$1/prometheus"; chown 65534:65534 "$1/prometheus"' &&
	docker import -c "$(label "$2")" -c 'ENTRYPOINT ["/usr/bin/prometheus"]' -c 'USER 65534' -c 'ENV PATH=/usr/bin:/bin' -c 'EXPOSE 9090' "$cache/prometheus.tar" "$1"
	rm -f "$cache/prometheus.tar"
}

build_rocketsim() {
	local dir=$cache/rocketsim.root
	rm -rf "$dir" && static "$dir" && cp "$cache/bin/rocketsim" "$dir/usr/bin/rocketsim" && mkdir -p "$dir/data" && chown 65533:65533 "$dir/data" &&
	tar -C "$dir" -c . | docker import -c "$(label "$2")" -c 'ENTRYPOINT ["/usr/bin/rocketsim"]' -c 'CMD ["--data","/data/rocketsim.journal"]' -c 'ENV PATH=/usr/bin:/bin' -c 'USER 65533' -c 'EXPOSE 3000' - "$1"
	rm -rf "$dir"
}

build_pebble() {
	local dir=$cache/pebble.root
	rm -rf "$dir" && static "$dir" && cp "$cache/bin/pebble" "$dir/usr/bin/pebble" &&
	tar -C "$dir" -c . | docker import -c "$(label "$2")" -c 'ENTRYPOINT ["/usr/bin/pebble"]' -c 'ENV PATH=/usr/bin:/bin' - "$1"
	rm -rf "$dir"
}

# image NAME BUILDER STAMP: leaves NAME on this machine. What has to be built is built
# in the background, since most of it waits for a package mirror; built waits for it.
declare -A building wanted
image() {
	local name=$1 builder=$2 want=$3 have
	have=$(stamp "$name")
	if [ "$have" = "$want" ]; then
		origin[$name]=built
	elif [ "$builder" != build_pebble ] && $registry && { docker image inspect "$name" >/dev/null 2>&1 || docker pull -q "$name" >/dev/null 2>&1; } && [ -z "$(stamp "$name")" ]; then
		origin[$name]=pulled
	else
		say "building the image $name"
		quietly "image-$builder" "$builder" "$name" "$want" &
		building[$name]=$!
		wanted[$name]=$want
	fi
}

# built: waits for every image that is being built.
built() {
	local name failed=''
	for name in "${!building[@]}"; do
		if ! wait "${building[$name]}" || [ "$(stamp "$name")" != "${wanted[$name]}" ]; then
			failed+=" $name"
		fi
		origin[$name]=built
	done
	[ -z "$failed" ] || die "not built:$failed" "the whole output is in $cache/image-*.log"
}

registry=false
if [ "${APPLIANCE_PULL:-auto}" != never ] && timeout 20 docker pull -q "$NGINX_IMAGE" >/dev/null 2>&1; then registry=true; fi

image "$NGINX_IMAGE" build_nginx "$(digest "$stage/images.sh" "$stage/rootfs/nginx-entrypoint.sh")"
image "$POSTGRES_IMAGE" build_postgres "$(digest "$stage/images.sh" "$stage/rootfs/postgres-entrypoint.sh")"
# The next major version, for the tests of upgrades: images.sh next.
if [ "${1:-}" = next ]; then
	built # both are built in the same place
	image "${POSTGRES_IMAGE%:*}:$((${POSTGRES_IMAGE##*:} + 1))" build_postgres "$(digest "$stage/images.sh" "$stage/rootfs/postgres-entrypoint.sh")"
fi
image "$SYNAPSE_IMAGE" build_synapse "$(digest "$stage/rootfs/synapse-entrypoint.sh" <(declare -f debian build_synapse))"

$registry || tool dendrite github.com/element-hq/dendrite/cmd/dendrite
tool pebble github.com/letsencrypt/pebble/v2/cmd/pebble
if ! $registry && ls "$root"/cmd/rocketsim/*.go >/dev/null 2>&1; then
	quietly build-rocketsim go -C "$root" build -trimpath -buildvcs=false -ldflags '-s -w' -o "$cache/bin/rocketsim" ./cmd/rocketsim
fi
image "$DENDRITE_IMAGE" build_dendrite "$(cat "$cache/bin/dendrite.version" 2>/dev/null || echo none)"
image "$PROMETHEUS_IMAGE" build_prometheus "$(digest <(declare -f debian build_prometheus))"
[ -d "$root/cmd/rocketsim" ] && image "$ROCKETCHAT_IMAGE" build_rocketsim "$(digest "$cache/bin/rocketsim" 2>/dev/null || echo none)"
image appliance-stage/pebble build_pebble "$(cat "$cache/bin/pebble.version")"
if $registry; then image "$MONGO_IMAGE" build_none none; fi
built

{
	printf '{'
	sep=''
	for name in "${!origin[@]}"; do
		printf '%s"%s": "%s"' "$sep" "$name" "${origin[$name]}"
		sep=', '
	done
	printf '}\n'
} >"$cache/images.json"
