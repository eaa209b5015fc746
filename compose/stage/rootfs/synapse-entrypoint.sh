#!/bin/sh
# Stands in for the entry point of ghcr.io/element-hq/synapse: runs the server
# with the file SYNAPSE_CONFIG_PATH names, as the account UID:GID when it was
# started as root. Words after it go to the server (`generate` is not known here).
set -eu
config=${SYNAPSE_CONFIG_PATH:-${SYNAPSE_CONFIG_DIR:-/data}/homeserver.yaml}
[ "${1:-run}" = run ] && { [ $# -eq 0 ] || shift; }
if [ "$(id -u)" = 0 ]; then
	exec setpriv --reuid="${UID:-991}" --regid="${GID:-991}" --clear-groups /usr/bin/python3 -m synapse.app.homeserver --config-path "$config" "$@"
fi
exec /usr/bin/python3 -m synapse.app.homeserver --config-path "$config" "$@"
