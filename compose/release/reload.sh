#!/bin/sh
# After the package was installed or removed: systemd reads the units again.
if [ -d /run/systemd/system ]; then systemctl daemon-reload || true; fi
