#!/usr/bin/env bash
# Makes everything that belongs to a release, in dist/ (or DIST): called by `make release`.
# VERSION, KEY, PUBLIC_KEY, NEXT_KEY and RELEASE_URL are those of docs/release.md; tests build for a single architecture (ARCHES). The result is
# the same byte for byte wherever and whenever it is built from a commit; times are the commit's.
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

# The packages compare versions in their own way: 1.2.3, 1.2.3~rc.1, and below all of them a commit.
case $version in
v[0-9]*) packaged=${version#v} ;;
*) packaged=0.0.0-g${version//[^0-9A-Za-z.]/.} ;;
esac

rm -rf "$dist"
mkdir -p "$dist"
tool nfpm github.com/goreleaser/nfpm/v2/cmd/nfpm
"$work/release" files "$work" "$version" "$SOURCE_DATE_EPOCH"
gzip -n9 "$work"/share/man/man1/*
sed "s|^key=.*|key=$public|; s|^from=.*|from=${RELEASE_URL:-}|" "$root/compose/release/install.sh" >"$dist/install.sh"
chmod 755 "$dist/install.sh"

for arch in ${ARCHES:-amd64 arm64}; do
	say "appliance $version for linux/$arch"
	name=appliance_linux_$arch
	GOOS=linux GOARCH=$arch go build "${flags[@]}" -ldflags "$link" -o "$dist/$name" ./cmd/appliance
	size=$(stat -c %s "$dist/$name")
	[ "$size" -le 43000000 ] || die "the program for $arch has $size bytes, and people download it over slow lines: at most 43000000" "see which modules are in it: go version -m $dist/$name"
	"$work/release" sbom "$dist/$name" "$version" "$SOURCE_DATE_EPOCH" >"$dist/$name.cdx.json"

	mkdir -p "$work/$arch/$name"
	cp -r "$work"/{share,systemd} LICENSE "$dist/install.sh" "$work/$arch/$name/"
	cp "$dist/$name" "$work/$arch/$name/appliance"
	find "$work/$arch" -exec touch -h -d "@$SOURCE_DATE_EPOCH" {} +
	tar -C "$work/$arch" --sort=name --owner=0 --group=0 --numeric-owner --format=ustar -c "$name" | gzip -n9 >"$dist/$name.tar.gz"

	cp -r compose/release "$work/$arch/$name/package"
	echo 'This program belongs to a package: self-update and install.sh leave it alone.' >"$work/$arch/$name/package/marker"
	for kind in deb rpm; do
		(cd "$work/$arch/$name" && ARCH=$arch VERSION=$packaged SBOM=$dist/$name.cdx.json \
			quietly "package-$arch-$kind" "$cache/bin/nfpm" package --config "$root/compose/release/nfpm.yaml" --packager "$kind" --target "$dist/$name.$kind")
	done
done

(cd "$dist" && sha256sum -- * >"$work/SHA256SUMS")
mv "$work/SHA256SUMS" "$dist/"
if [ -n "${KEY:-}" ]; then
	"$work/release" sign "$KEY" "$version" "$SOURCE_DATE_EPOCH" <"$dist/SHA256SUMS" >"$dist/SHA256SUMS.minisig"
	"$work/release" verify "$public" "$dist/SHA256SUMS" "$dist/SHA256SUMS.minisig" >/dev/null
fi
cat "$dist/SHA256SUMS"
