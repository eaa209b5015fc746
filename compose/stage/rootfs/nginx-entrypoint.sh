#!/bin/sh
# Stands in for the entry point of nginxinc/nginx-unprivileged: runs its command.
exec "$@"
