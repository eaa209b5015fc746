#!/usr/bin/env bash
# Runs the contract of the Rocket.Chat client and the end-to-end tests on a server
# that they do not start themselves: the one that ROCKETCHAT_URL names, which they empty, or
# else rocketsim, as a separate process, in each version that it supports. Called by
# `make test-real`, and by test.sh for some of them. See docs/testing.md.
#
#   real.sh [NAMES]   NAMES is an expression for `go test -run`: the end-to-end tests
#                     to run. Without it: all. REAL_VERSIONS says which versions of
#                     rocketsim.
. "$(dirname "$0")/lib.sh"
cd "$root"
names=${1:-.}
if [ -z "${APPLIANCE_TEST_POSTGRES:-}" ]; then
	set -a
	. "$root/compose/versions.env"
	set +a
	. "$stage/servers.sh"
fi
log="$cache/real.log"

# counts prints what failed or was skipped, and why, and how much there was of each.
counts() {
	awk '
		/^=== / { now = $3; next }
		/^ +[a-z_]+_test\.go:[0-9]+: / { said[now] = said[now] $0 "\n" }
		/^ *--- PASS: / { passed++ }
		/^ *--- SKIP: / { skipped++; print $0; printf "%s", said[$3] }
		/^ *--- FAIL: / { failed++; print $0; printf "%s", said[$3] }
		/^(panic:|FAIL|\*\*\*)/ { print }
		END { printf "%d passed, %d skipped, %d failed\n", passed, skipped, failed }'
}

# suites RUNNER...: one package after the other, because there is one server.
suites() {
	local suite failed=0
	for suite in "./bridge/rocketchat -run=." "./bridge/rocketchat/ddp -run=." "./bridge -run=$names"; do
		say "${suite%% *} on ${RUNNING_ON:-$ROCKETCHAT_URL}"
		# shellcheck disable=SC2086 # the words are meant to be split
		SUITE_FORMAT=standard-verbose "$@" "$stage/suite.sh" $suite -count=1 -timeout 120m >"$log" 2>&1 || failed=1
		counts <"$log" >&2
		[ $failed = 0 ] || die "tests have failed" "the whole output is in $log"
	done
}

if [ -n "${ROCKETCHAT_URL:-}" ]; then
	suites env
	exit
fi
for version in ${REAL_VERSIONS:-7.2 8.3 8.6}; do
	RUNNING_ON="rocketsim $version" suites "$stage/rocketsim.sh" "$version"
done
