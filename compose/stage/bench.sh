#!/usr/bin/env bash
# Measures, with a real Dendrite beside it, and writes one table: dist/bench.md and
# dist/bench.json. Called by `make bench`, after setup.sh and images.sh. PARTS chooses what
# is measured. Compare figures of one run only: machines differ, and are busy. OTHER are the
# addresses of two rooms that some other bridge connects: see docs/performance.md.
. "$(dirname "$0")/lib.sh"
[ -z "${OTHER_ACCOUNTS:-}" ] || OTHER_ACCOUNTS=$(realpath -m "$OTHER_ACCOUNTS")
cd "$root"
all="rooms dendrite other members backfill busy portals large drain file console replicas small"
parts=${PARTS:-$all}
[ -z "${OTHER:-}" ] || parts="${PARTS:-} pair"
[[ ${OTHER_NAME:-other} =~ ^[A-Za-z0-9._-]+$ ]] || die "OTHER_NAME is ${OTHER_NAME}: letters, digits and . _ - make a name in the table" "type: make bench OTHER_NAME=other-1.0 and the rest"
out=$root/dist/bench.txt
mkdir -p "$root/dist"
if [ "$parts" = " pair" ] && [ -f "$out" ]; then # its rows join those of the last run
	sed -i -E "/^(BenchmarkPair\/${OTHER_NAME:-other},|FAIL|---)|\\b(error|hint): /d" "$out"
else
	: >"$out"
fi

# bench TITLE PACKAGES FLAGS... runs benchmarks and appends their results.
bench() {
	say "$1"
	# shellcheck disable=SC2086 # a list of packages
	go test -run '^$' "${@:3}" $2 2>&1 | tee -a "$out" | grep -E '^(Benchmark|FAIL|---)' || true
	if grep -q '^FAIL' "$out"; then
		grep -oE '\b(error|hint): .*' "$out" | sed 's/^/stage: /' >&2 || true
		printf 'this part failed; all it said is in %s\n' "$out" >&2
		exit 1
	fi
}

# servers starts a database and exports where Dendrite is, once.
servers() {
	[ -z "${database:-}" ] || return 0
	set -a
	. "$root/compose/versions.env"
	set +a
	. "$root/compose/stage/servers.sh"
}

# matterbridge builds matterbridge, for the two networks that it connects here.
matterbridge() {
	local without
	without=$(printf ',no%s' api discord gitter harmony irc keybase mattermost msteams mumble nctalk slack sshchat steam telegram vk whatsapp xmpp zulip)
	GOFLAGS="${GOFLAGS:-} -tags=${without#,}" tool matterbridge github.com/42wim/matterbridge
	export APPLIANCE_MATTERBRIDGE=$cache/bin/matterbridge
}

for part in $parts; do
	case $part in
	rooms) bench "delay, throughput, calls and cost in 1, 8 and 64 rooms, and straight to the far server" ./bridge -bench '^BenchmarkRooms$' -benchtime 3000x -timeout 8m ;;
	dendrite)
		servers
		bench "beside a real Dendrite, in turns with sending straight to it" ./bridge -bench '^BenchmarkDendrite$' -benchtime 10x -timeout 8m
		;;
	other)
		servers
		matterbridge
		bench "the same load through this bridge, through matterbridge and straight, in turns" ./bridge -bench '^BenchmarkOther$' -benchtime 1x -timeout 40m
		;;
	pair)
		[ -n "${OTHER:-}" ] || die "the part pair needs two rooms" "type: make bench OTHER='https://chat.example.org/channel/general #general:example.org' OTHER_ACCOUNTS=accounts.yaml"
		export OTHER OTHER_ACCOUNTS="${OTHER_ACCOUNTS:-}" OTHER_NAME="${OTHER_NAME:-}" OTHER_PID="${OTHER_PID:-}"
		bench "the same load through two rooms that another bridge connects" ./bridge -bench '^BenchmarkPair$' -benchtime 1x -timeout 20m
		;;
	members)
		servers
		bench "a room of 1,000 members, in turns with joins alone" ./bridge -bench '^BenchmarkMembers$' -benchtime 1x -timeout 30m
		;;
	backfill) bench "10,000 messages of the past" ./bridge -bench '^BenchmarkBackfill$' -benchtime 1x -timeout 6m ;;
	busy) bench "memory with 64 rooms, before and while people talk" ./bridge -bench '^BenchmarkBusy$' -benchtime 1x -timeout 5m ;;
	portals) bench "what a message costs as portals grow" ./bridge -bench '^BenchmarkPortals$' -benchtime 5000x -timeout 6m ;;
	large) bench "start and memory, also with 1,000,000 links" ./bridge -bench '^BenchmarkLargeInstallation$' -benchtime 1x -timeout 8m ;;
	drain) bench "100,000 items that waited for eight hours" ./bridge -bench '^BenchmarkDrain$' -benchtime 1x -timeout 12m ;;
	file) bench "a file of 200 MB" ./bridge -bench '^BenchmarkFile$' -benchtime 3x -timeout 5m ;;
	console) bench "the pages of the console, and live ones" ./bridge -bench 'Console$' -benchtime 1x -timeout 5m ;;
	replicas)
		servers
		bench "one and two processes on one PostgreSQL" ./bridge/store -bench '^BenchmarkReplicas$' -benchtime 20000x -timeout 5m
		;;
	small) bench "what one conversion and one write cost" "./bridge/convert ./bridge/store ./bridge/queue" -bench . -skip '^BenchmarkReplicas$' -benchmem -benchtime 200ms -timeout 5m ;;
	*)
		printf 'there is no part %s; the parts are: %s, and pair\n' "$part" "$all" >&2
		exit 1
		;;
	esac
done
go run ./cmd/internal/benchtable -json dist/bench.json -version "$(git describe --tags --always --dirty 2>/dev/null || true)" <"$out" | tee dist/bench.md
