#!/usr/bin/env bash
# Makes everything that belongs to a release, in dist/ (or DIST): called by `make release`.
# VERSION, KEY, PUBLIC_KEY and NEXT_KEY are those of docs/release.md. What it makes is
# the same byte for byte wherever and whenever it is made from a commit; times are the commit's.
. "$(dirname "$0")/lib.sh"
cd "$root"

dist=${DIST:-$root/dist}
version=${VERSION:-$(git describe --tags --always --dirty 2>/dev/null || echo devel)}
export SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || echo 0)} TZ=UTC LC_ALL=C
umask 022

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
flags=(-trimpath -buildvcs=false)
go build "${flags[@]}" -o "$work/release" ./cmd/appliance/internal/release

public=${PUBLIC_KEY:-}
if [ -n "${KEY:-}" ]; then
	public=$("$work/release" pubkey "$KEY") || die "the key $KEY cannot be used" "make one with: bin/release keygen FILE"
fi
[ -n "$public" ] || say "without KEY= or PUBLIC_KEY= the release is not signed, and its program refuses to update itself"
link="-s -w -X main.version=$version -X main.releaseKey=$public -X main.nextReleaseKey=${NEXT_KEY:-}"

rm -rf "$dist"
mkdir -p "$dist"
for arch in amd64 arm64; do
	say "appliance $version for linux/$arch"
	GOOS=linux GOARCH=$arch go build "${flags[@]}" -ldflags "$link" -o "$dist/appliance_linux_$arch" ./cmd/appliance
done

(cd "$dist" && sha256sum -- * >"$work/SHA256SUMS")
mv "$work/SHA256SUMS" "$dist/"
if [ -n "${KEY:-}" ]; then
	"$work/release" sign "$KEY" "$version" "$SOURCE_DATE_EPOCH" <"$dist/SHA256SUMS" >"$dist/SHA256SUMS.minisig"
	"$work/release" verify "$public" "$dist/SHA256SUMS" "$dist/SHA256SUMS.minisig" >/dev/null
fi
cat "$dist/SHA256SUMS"
