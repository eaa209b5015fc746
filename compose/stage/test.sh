#!/usr/bin/env bash
# Runs every test of the project: the Go tests with real homeservers and a real
# database beside them, then the demo with everything that can be checked from
# outside. Called by `make test`, after setup.sh and images.sh. A demo that was
# running before goes on running.
. "$(dirname "$0")/lib.sh"
cd "$root"
set -a
. "$root/compose/versions.env"
set +a

messages=${APPLIANCE_BURST:-200}
tool dendrite github.com/element-hq/dendrite/cmd/dendrite

# A database server for the tests, which keeps nothing.
database=appliance-test-$$
password=$(mktemp)
printf 'only-for-tests' >"$password"
chmod 644 "$password"
cleanup() {
	docker rm -f "$database" >/dev/null 2>&1 || true
	rm -f "$password"
}
trap cleanup EXIT
docker run -d --rm --name "$database" --user 999:999 -p 127.0.0.1::5432 --tmpfs /var/lib/postgresql/data:uid=999,gid=999 \
	-e POSTGRES_PASSWORD_FILE=/password -v "$password:/password:ro" \
	"$POSTGRES_IMAGE" postgres -c fsync=off -c synchronous_commit=off -c max_connections=300 >/dev/null
for _ in $(seq 100); do
	docker exec "$database" pg_isready -q -h 127.0.0.1 && break
	sleep 0.2
done
address=$(docker port "$database" 5432/tcp | head -n 1)
export APPLIANCE_TEST_POSTGRES="postgres://postgres:only-for-tests@$address/postgres?sslmode=disable"
export APPLIANCE_DENDRITE="$cache/bin/dendrite"
# Synapse, out of its image.
if [ "$(cat "$cache/synapse.image" 2>/dev/null)" != "$(docker image inspect --format '{{.Id}}' "$SYNAPSE_IMAGE")" ]; then
	say "unpacking Synapse"
	rm -rf "$cache/synapse.root" && mkdir -p "$cache/synapse.root"
	container=$(docker create "$SYNAPSE_IMAGE")
	docker export "$container" | tar -x -C "$cache/synapse.root"
	docker rm "$container" >/dev/null
	docker image inspect --format '{{.Id}}' "$SYNAPSE_IMAGE" >"$cache/synapse.image"
fi
export APPLIANCE_SYNAPSE="$cache/synapse.root"
# These may not be skipped here: their needs are met.
export APPLIANCE_MUST_RUN=TestQueue,TestASecondProcessIsRefused,TestNothingIsLost,TestAConversation,TestADirectMessage,TestARoom,TestFeature

say "the Go tests, with Dendrite and PostgreSQL beside them"
go test -timeout 20m ./...

say "the bridge with Synapse in place of Dendrite"
APPLIANCE_TEST_HOMESERVER=synapse go test -timeout 20m ./bridge

say "the same promises under the race detector"
CGO_ENABLED=1 go test -race -timeout 20m ./bridge/queue/... ./bridge/relay/... ./bridge/config/... ./bridge/ids/... ./bridge/convert/...
CGO_ENABLED=1 go test -race -timeout 20m -run 'TestAConversation|TestADirect|TestARoom|TestTheConf' ./bridge

say "the demo, and what can be seen of it from outside"
running=false
[ -f .demo/summary.json ] && running=true
make --no-print-directory demo
bin/demo check
for disturbance in "" "-kill bridge" "-kill rocketchat" "-kill homeserver" "-reload"; do
	# shellcheck disable=SC2086 # the words are meant to be split
	bin/demo -messages "$messages" $disturbance burst
done
bin/demo -messages "$((messages / 2))" lose
bin/demo -messages 30 upgrade
bin/demo interrupt
bin/demo renew
bin/appliance doctor --dir .demo/install
$running || bin/demo -appliance bin/appliance down
say "all tests passed"
