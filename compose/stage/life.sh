#!/usr/bin/env bash
# The whole life of an installation on hosts that are fresh Debians, as `make life`: install.sh from
# a web server, a conversation, a reboot, the nightly timer, a backup in S3 storage, the loss of the
# host, the restore on another one, an upgrade, uninstall and the purge of the package. Each host is
# a container in which systemd and a Docker of its own run. See cmd/demo/life.go.
. "$(dirname "$0")/lib.sh"
need_root
cd "$root"

debian_image appliance-stage/host curl,openssl,ca-certificates,systemd-sysv,docker.io,iptables

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
chmod 755 "$work"
go run ./cmd/appliance/internal/release keygen "$work/key" >/dev/null
VERSION=v0.0.1 KEY=$work/key DIST=$work/release ARCHES=$(go env GOARCH) compose/stage/release.sh >/dev/null
bin/demo -dir .life -release "$work/release" -messages "${APPLIANCE_BURST:-50}" life
