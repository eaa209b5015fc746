#!/bin/sh
# Stands in for the entry point of the official postgres image, as far as our
# Compose file uses it: POSTGRES_USER, POSTGRES_PASSWORD_FILE, POSTGRES_DB,
# POSTGRES_INITDB_ARGS and /docker-entrypoint-initdb.d on an empty PGDATA.
set -eu
: "${PGDATA:=/var/lib/postgresql/data}" "${POSTGRES_USER:=postgres}"
: "${POSTGRES_DB:=$POSTGRES_USER}" "${POSTGRES_INITDB_ARGS:=}"
export PGDATA
if [ "$1" != postgres ]; then exec "$@"; fi
if [ ! -s "$PGDATA/PG_VERSION" ]; then
	mkdir -p "$PGDATA" && chmod 700 "$PGDATA"
	# shellcheck disable=SC2086 # the arguments are meant to be split
	initdb --username="$POSTGRES_USER" --pwfile="$POSTGRES_PASSWORD_FILE" --auth-local=trust --auth-host=scram-sha-256 $POSTGRES_INITDB_ARGS
	printf 'host all all all scram-sha-256\n' >>"$PGDATA/pg_hba.conf"
	pg_ctl -w -o "-c listen_addresses='' -c unix_socket_directories=/var/run/postgresql" start
	if [ "$POSTGRES_DB" != postgres ]; then
		printf 'CREATE DATABASE :"db";\n' | psql -v ON_ERROR_STOP=1 -v db="$POSTGRES_DB" -U "$POSTGRES_USER" -h /var/run/postgresql -d postgres
	fi
	for f in /docker-entrypoint-initdb.d/*; do
		case "$f" in
		*.sh) sh "$f" ;;
		*.sql) psql -v ON_ERROR_STOP=1 -U "$POSTGRES_USER" -h /var/run/postgresql -d "$POSTGRES_DB" -f "$f" ;;
		esac
	done
	pg_ctl -w -m fast stop
fi
exec "$@" -c listen_addresses='*'
