#!/usr/bin/env bash
# Makes the release twice, from two directories and with different umasks and time zones, and compares it byte
# for byte: programs, archives, packages, bills of materials and the signature. Called by `make reproducible`.
. "$(dirname "$0")/lib.sh"
cd "$root"

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export APPLIANCE_CACHE=$cache SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || echo 0)} VERSION=v0.0.0
go run ./cmd/appliance/internal/release keygen "$work/key" >/dev/null
export KEY=$work/key
mkdir -p "$work/elsewhere/deeper"
git ls-files -co --exclude-standard | tar -cT - | tar -xC "$work/elsewhere/deeper"

(umask 077 && TZ=Asia/Tokyo DIST=$work/one compose/stage/release.sh >/dev/null)
(umask 022 && TZ=UTC DIST=$work/two "$work/elsewhere/deeper/compose/stage/release.sh" >/dev/null)
diff -rq "$work/one" "$work/two" || die "the release is another one every time" "unpack what differs and compare it"
echo "the build is reproducible: $(find "$work/one" -type f | wc -l) files"
