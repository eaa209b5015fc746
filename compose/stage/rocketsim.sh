#!/usr/bin/env bash
# A Rocket.Chat for tests to use as a real one: rocketsim, as a process of its own.
#
#   rocketsim.sh VERSION COMMAND...   runs the command with the variables that name it
#   rocketsim.sh stop | start         kills it, starts it again with its data: see
#                                     ROCKETCHAT_CONTROL in docs/testing.md
set -euo pipefail

start() {
	# One that was just killed may hold its data a moment longer.
	flock -w 10 "$ROCKETSIM_DIR/data.lock" true
	setsid "$ROCKETSIM_DIR/rocketsim" --version "$ROCKETSIM_VERSION" --data "$ROCKETSIM_DIR/data" \
		>>"$ROCKETSIM_DIR/log" 2>&1 </dev/null &
	disown
	echo $! >"$ROCKETSIM_DIR/pid"
	for _ in $(seq 100); do
		curl -fs --max-time 5 -o "$ROCKETSIM_DIR/info" "$ROOT_URL/api/info" && return
		sleep 0.1
	done
	echo "rocketsim does not answer:" >&2
	tail "$ROCKETSIM_DIR/log" >&2
	return 1
}

stop() {
	[ ! -f "$ROCKETSIM_DIR/pid" ] || kill -9 "$(cat "$ROCKETSIM_DIR/pid")" 2>/dev/null || true
	rm -f "$ROCKETSIM_DIR/pid"
}

case ${1:-} in
start | stop)
	"$1"
	exit
	;;
esac
export ROCKETSIM_VERSION=$1
shift
export ROCKETSIM_DIR
ROCKETSIM_DIR=$(mktemp -d)
trap 'stop; rm -rf "$ROCKETSIM_DIR"' EXIT
root=$(cd "$(dirname "$0")/../.." && pwd)
(cd "$root" && CGO_ENABLED=0 go build -o "$ROCKETSIM_DIR/rocketsim" ./cmd/rocketsim)
while export PORT=$((20000 + RANDOM % 10000)) && (exec 3<>"/dev/tcp/127.0.0.1/$PORT") 2>/dev/null; do :; done
export ROOT_URL=http://127.0.0.1:$PORT ADMIN_USERNAME=admin ADMIN_PASS=admin-password ADMIN_EMAIL=admin@example.invalid
export CREATE_TOKENS_FOR_USERS=true CREATE_TOKENS_FOR_USERS_SECRET=create-token-secret
export ROCKETCHAT_URL=$ROOT_URL ROCKETCHAT_ADMIN=$ADMIN_USERNAME ROCKETCHAT_PASSWORD=$ADMIN_PASS
export ROCKETCHAT_CREATE_TOKENS_SECRET=$CREATE_TOKENS_FOR_USERS_SECRET ROCKETCHAT_CONTROL=$root/compose/stage/rocketsim.sh
start
"$@"
