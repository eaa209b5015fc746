#!/usr/bin/env bash
# Makes a release for this host and installs it on a fresh Debian, in containers without a network: the Debian
# package, the RPM package, and install.sh from a web server, all at once. Each must leave nothing behind when it is removed.
. "$(dirname "$0")/lib.sh"
need_root
cd "$root"

image=appliance-stage/debian
debian_image $image man-db,curl,openssl,rpm,busybox & # mostly waits for the network
building=$!

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
chmod 755 "$work"
go run ./cmd/appliance/internal/release keygen "$work/key" >/dev/null
VERSION=v0.0.1 KEY=$work/key DIST=$work/release ARCHES=$(go env GOARCH) compose/stage/release.sh >/dev/null
wait "$building"
tests=()

# on_debian NAME: runs what it reads on a fresh Debian with the release in /release.
on_debian() {
	{ cat <<-'COMMON' && cat; } >"$work/$1.sh"
		set -eu
		fail() { echo "failed: $*" >&2; exit 1; }
		# everything that is there, but what the package managers themselves remember
		files() { find / -xdev \( -path /proc -o -path /release -o -path /var/lib/dpkg -o -path /var/lib/rpm -o -path /root/.rpmdb -o -path /var/cache -o -path /var/log -o -path /tmp \) -prune -o -print | sort; }
		files >/tmp/before
		clean() { files >/tmp/after; diff /tmp/before /tmp/after || fail "that is left"; }
		name=$(basename /release/*.deb .deb)
	COMMON
	docker run --rm --network none -v "$work/release:/release:ro" -v "$work/$1.sh:/test.sh:ro" "$image" bash /test.sh >"$cache/install-$1.log" 2>&1 ||
		{ tail -n 25 "$cache/install-$1.log" >&2; die "the test of $1 failed" "the whole output is in $cache/install-$1.log"; }
	say "ok: $1"
}

on_debian deb <<'E2' &
dpkg -i "/release/$name.deb"
[ "$(command -v appliance)" = /usr/bin/appliance ] || fail "it is not in the path"
appliance version | grep -F 'appliance v0.0.1 ' || fail "it is another version"
[ "$(man -w appliance)" = /usr/share/man/man1/appliance.1.gz ] || fail "it has no manual"
man appliance-backup | grep -q 'appliance backup' || fail "the manual cannot be read"
[ -f /usr/lib/systemd/system/appliance.service ] || fail "it has no units"
[ -z "$(find /etc/systemd -name 'appliance*')" ] || fail "units are enabled"
bash -c '. /usr/share/bash-completion/completions/appliance && complete -p appliance' || fail "it has no completion"
appliance self-update https://127.0.0.1/release 2>&1 | grep -F 'was installed as a package' || fail "it replaces what belongs to the package"
! sh /release/install.sh --no-docker 2>/tmp/said || fail "install.sh went over the package"
grep -F 'is installed here as a package' /tmp/said || fail "install.sh does not say why"
dpkg -i "/release/$name.deb" # again, as an upgrade does
dpkg -r appliance
dpkg -P appliance
clean
E2
tests+=($!)

on_debian rpm <<'E2' &
mkdir -p /usr/share/fish/vendor_completions.d /usr/share/zsh/site-functions && files >/tmp/before # which Fedora has
rpm -i --nodeps "/release/$name.rpm"
appliance version | grep -F 'appliance v0.0.1 ' || fail "it is another version"
[ -n "$(man -w appliance)" ] || fail "it has no manual"
rpm -qi appliance | grep -E '^License *: Apache-2.0' || fail "it has no licence"
rpm -e appliance
clean
E2
tests+=($!)

on_debian install.sh <<'E2' &
cp -r /release /tmp/served && busybox httpd -p 127.0.0.1:80 -h /tmp/served
address=http://127.0.0.1
run() { curl -fsSL $address/install.sh | sh -s -- --from $address "$@" 2>&1 | tee /tmp/said; }
run --no-docker | grep -F 'signature and checksum' || fail "it verifies nothing"
[ "$(command -v appliance)" = /usr/local/bin/appliance ] && appliance version | grep -F 'appliance v0.0.1 ' || fail "it installs nothing"
man -w appliance | grep -F /usr/local/ || fail "it has no manual"
run --no-docker | grep -F 'is here already' || fail "a second run does more than nothing"
run | grep -F 'there is no terminal to ask on' || fail "it installs Docker unasked"
sh /release/install.sh --no-docker | grep -F 'is here already' || fail "it does not install from a directory"
chmod 755 /tmp/served && su nobody -s /bin/sh -c 'sh /tmp/served/install.sh --no-docker' 2>&1 | grep -F 'cannot write to /usr/local/bin' || fail "it installs without being root"
rm -r /usr/local/bin/appliance /usr/local/share/man/man1 /usr/local/share/bash-completion /usr/local/share/zsh /usr/local/share/fish
clean
head -c 5000000 "/release/$name.tar.gz" >"/tmp/served/$name.tar.gz"
run --no-docker | grep -F 'does not have the checksum' || fail "it takes half an archive"
head -c 4000 /release/install.sh | sh -s -- --from $address --no-docker || true
echo "0000  $name.tar.gz" >/tmp/served/SHA256SUMS
run --no-docker | grep -F 'is not signed with the key' || fail "it takes sums without a signature of ours"
clean
E2
tests+=($!)

for test in "${tests[@]}"; do wait "$test"; done
