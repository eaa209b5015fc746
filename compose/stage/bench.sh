#!/usr/bin/env bash
# Measures, with a real Dendrite beside it. Called by `make bench`, after setup.sh
# and images.sh. Compare figures of one run only: machines differ, and are busy.
. "$(dirname "$0")/lib.sh"
cd "$root"
set -a
. "$root/compose/versions.env"
set +a
. "$root/compose/stage/servers.sh"

say "what one message, one file and one conversion cost"
go test -run '^$' -bench . -benchmem -timeout 30m ./bridge/convert ./bridge/store ./bridge/queue
say "the whole bridge: servers that answer at once, a large installation"
go test -run '^$' -bench . -skip Dendrite -benchtime 5s -timeout 60m ./bridge
say "the whole bridge beside a real Dendrite, in turns with sending straight to it"
go test -run '^$' -bench Dendrite -benchtime 25x -timeout 60m ./bridge
