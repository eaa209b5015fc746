# Starts or unpacks the servers that tests and benchmarks of the bridge need, and exports
# where they are: Dendrite, Synapse, PostgreSQL. To be sourced after lib.sh and
# versions.env; the database ends with the script.
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
# Docker's proxy for published ports takes a third of the time of a test; where the
# container itself cannot be reached, as in rootless Docker, the proxy is used.
address=$(docker inspect --format '{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}' "$database"):5432
if ! (exec 3<>"/dev/tcp/${address/://}") 2>/dev/null; then
	address=$(docker port "$database" 5432/tcp | head -n 1)
fi
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
