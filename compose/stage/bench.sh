#!/usr/bin/env bash
# Measures, with a real Dendrite beside it, and writes one table: dist/bench.md and
# dist/bench.json. Called by `make bench`, after setup.sh and images.sh. PARTS chooses what
# is measured. Compare figures of one run only: machines differ, and are busy.
. "$(dirname "$0")/lib.sh"
cd "$root"
parts=${PARTS:-rooms dendrite portals large drain file console small}
out=$root/dist/bench.txt
mkdir -p "$root/dist"
: >"$out"

# bench TITLE PACKAGES FLAGS...: no part takes longer than it may.
bench() {
	say "$1"
	# shellcheck disable=SC2086 # a list of packages
	go test -run '^$' "${@:3}" $2 2>&1 | tee -a "$out" | grep -E '^(Benchmark|FAIL|---)' || true
	if grep -q '^FAIL' "$out"; then
		printf 'this part failed; all it said is in %s\n' "$out" >&2
		exit 1
	fi
}

for part in $parts; do
	case $part in
	rooms) bench "delay, throughput, calls and cost in 1, 8 and 64 rooms, and straight to the far server" ./bridge -bench '^BenchmarkRooms$' -benchtime 3000x -timeout 8m ;;
	dendrite)
		set -a
		. "$root/compose/versions.env"
		set +a
		. "$root/compose/stage/servers.sh"
		bench "beside a real Dendrite, in turns with sending straight to it" ./bridge -bench '^BenchmarkDendrite$' -benchtime 10x -timeout 8m
		;;
	portals) bench "what a message costs as portals grow" ./bridge -bench '^BenchmarkPortals$' -benchtime 5000x -timeout 6m ;;
	large) bench "start and memory, also with 1,000,000 links" ./bridge -bench '^BenchmarkLargeInstallation$' -benchtime 1x -timeout 8m ;;
	drain) bench "100,000 items that waited for eight hours" ./bridge -bench '^BenchmarkDrain$' -benchtime 1x -timeout 12m ;;
	file) bench "a file of 200 MB" ./bridge -bench '^BenchmarkFile$' -benchtime 3x -timeout 5m ;;
	console) bench "the pages of the console, and live ones" ./bridge -bench 'Console$' -benchtime 1x -timeout 5m ;;
	small) bench "what one conversion and one write cost" "./bridge/convert ./bridge/store ./bridge/queue" -bench . -benchmem -benchtime 200ms -timeout 5m ;;
	*)
		printf 'there is no part %s; the parts are: rooms dendrite portals large drain file console small\n' "$part" >&2
		exit 1
		;;
	esac
done
go run ./cmd/internal/benchtable -json dist/bench.json -version "$(git describe --tags --always --dirty 2>/dev/null || true)" <"$out" | tee dist/bench.md
