#!/usr/bin/env bash
# Measures what one, two and four bridge processes carry between servers that answer at once, on a
# PostgreSQL that counts its statements. See docs/scale.md. APPLIANCE_SIMULATE_PEOPLE, _ROOMS,
# _MESSAGES and _RATE make it larger or smaller. Called by `make simulate`.
. "$(dirname "$0")/lib.sh"
cd "$root"
set -a
. "$root/compose/versions.env"
set +a

name=appliance-simulate-$$
password=$(mktemp)
printf 'only-for-tests' >"$password"
chmod 644 "$password"
cleanup() {
	docker rm -f "$name" >/dev/null 2>&1 || true
	rm -f "$password"
}
trap cleanup EXIT
docker run -d --rm --name "$name" --user 999:999 -p 127.0.0.1::5432 --tmpfs /var/lib/postgresql/data:uid=999,gid=999 --shm-size 256m \
	-e POSTGRES_PASSWORD_FILE=/password -v "$password:/password:ro" \
	"$POSTGRES_IMAGE" postgres -c fsync=off -c synchronous_commit=off -c max_connections=300 -c shared_preload_libraries=pg_stat_statements >/dev/null
for _ in $(seq 100); do
	docker exec "$name" pg_isready -q -h 127.0.0.1 && break
	sleep 0.2
done
docker exec "$name" psql -q -U postgres -d template1 -c 'CREATE EXTENSION IF NOT EXISTS pg_stat_statements'
address=$(docker inspect --format '{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}' "$name"):5432
if ! (exec 3<>"/dev/tcp/${address/://}") 2>/dev/null; then
	address=$(docker port "$name" 5432/tcp | head -n 1)
fi
export APPLIANCE_TEST_POSTGRES="postgres://postgres:only-for-tests@$address/postgres?sslmode=disable"
APPLIANCE_SIMULATE=1 APPLIANCE_MUST_RUN=TestSimulate go test -v -count=1 -timeout 30m -run '^TestSimulate$' ./bridge | grep -v '^=== '
