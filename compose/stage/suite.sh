#!/usr/bin/env bash
# Runs `go test` beside servers whose faults are not ours to correct. A test that fails
# runs once more, alone. What passes then is printed with what it said at first, and is
# named in the cache's unsteady.txt. More than three failures, a data race or a process
# that dies are never tried again.
#
#   suite.sh PACKAGES [ARGUMENTS...]   PACKAGES is one word, with spaces if need be; ARGUMENTS are those of
#                                      `go test`. SUITE_FORMAT is one of gotestsum's.
. "$(dirname "$0")/lib.sh"
cd "$root"
packages=$1
shift
tool gotestsum gotest.tools/gotestsum
again=$(mktemp)
trap 'rm -f "$again"' EXIT
"$cache/bin/gotestsum" --format "${SUITE_FORMAT:-standard-quiet}" --hide-summary skipped --rerun-fails=1 --rerun-fails-max-failures=3 \
	--rerun-fails-run-root-test --rerun-fails-abort-on-data-race --rerun-fails-report "$again" \
	--packages "$packages" -- "$@"
cat "$again" >>"$unsteady"
