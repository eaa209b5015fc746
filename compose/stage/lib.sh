# Shared by the scripts of this directory: paths, messages and tools.
# shellcheck shell=bash
set -euo pipefail
stage=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$stage/../.." && pwd)
cache=${APPLIANCE_CACHE:-$root/.cache}
mkdir -p "$cache/bin"
export CGO_ENABLED=${CGO_ENABLED:-0}

say() { printf '==> %s\n' "$*" >&2; }
# part TEXT: begins a part of a long run, and says how long the run has taken.
part() { printf '==> %d:%02d %s\n' $((SECONDS / 60)) $((SECONDS % 60)) "$*" >&2; }
die() { # fact, hint
	printf 'stage: error: %s\n' "$1" >&2
	[ -n "${2:-}" ] && printf 'stage: hint: %s\n' "$2" >&2
	exit 1
}
need_root() { [ "$(id -u)" = 0 ] || die "this has to run as root" "type: sudo -E $0"; }

# quietly NAME COMMAND...: runs a command with its output in a log, and shows
# the end of the log when it fails.
quietly() {
	local log="$cache/$1.log" started=$SECONDS
	shift
	if ! "$@" >"$log" 2>&1; then
		tail -n 25 "$log" >&2
		die "that failed after $((SECONDS - started)) s: $*" "the whole output is in $log"
	fi
}

# Tests that passed only when they ran again; see suite.sh.
unsteady=$cache/unsteady.txt

# tool NAME PACKAGE: builds a pinned tool from tools/NAME into the cache, once per version.
tool() {
	local name=$1 pkg=$2 want
	want=$(cat "$stage/tools/$name/go.mod" "$stage/tools/$name/go.sum" | sha256sum | cut -c1-16)
	if [ "$(cat "$cache/bin/$name.version" 2>/dev/null)" != "$want" ]; then
		say "building $name (once; a minute or two)"
		quietly "build-$name" go -C "$stage/tools/$name" build -trimpath -buildvcs=false -ldflags '-s -w' -o "$cache/bin/$name" "$pkg"
		echo "$want" >"$cache/bin/$name.version"
	fi
}

# npm_packages NAME [DIR]: installs the pinned packages of DIR/package-lock.json (else of
# NAME/ beside this file) into the cache, once per version. They run in tests and are
# part of nothing that is shipped.
npm_packages() {
	local name=$1 dir=${2:-$stage/$1} want
	want=$(cat "$dir/package.json" "$dir/package-lock.json" | sha256sum | cut -c1-16)
	if [ "$(cat "$cache/$name/version" 2>/dev/null)" != "$want" ]; then
		say "installing the packages of $name from npm"
		mkdir -p "$cache/$name"
		cp "$dir/package.json" "$dir/package-lock.json" "$cache/$name/"
		quietly "npm-$name" npm ci --prefix "$cache/$name" --ignore-scripts --no-audit --no-fund
		echo "$want" >"$cache/$name/version"
	fi
}

# debian_image NAME PACKAGES: builds an image of a fresh Debian with some packages, once.
debian_image() {
	local name=$1 want=bookworm,$2 file=$cache/${1##*/}.tar
	[ "$(docker image inspect --format '{{index .Config.Labels "appliance.stage"}}' "$name" 2>/dev/null)" != "$want" ] || return 0
	say "building the image $name"
	quietly "image-${name##*/}" mmdebstrap --quiet --variant=minbase --keyring=/usr/share/keyrings/debian-archive-keyring.gpg \
		--include="$2" bookworm "$file"
	quietly "import-${name##*/}" docker import -c "LABEL appliance.stage=$want" -c 'ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin' "$file" "$name"
	rm -f "$file"
}
