#!/bin/sh
# Before the package is removed (and not before it is replaced by another version): units
# of the package that are enabled are disabled. Units in /etc are the installation's,
# which stays as it is and is removed with `appliance uninstall`; containers keep running.
case "$1" in upgrade | 1) exit 0 ;; esac
for unit in appliance.service appliance-doctor.timer appliance-backup.timer appliance-drill.timer; do
	[ -e "/etc/systemd/system/$unit" ] || systemctl disable "$unit" 2>/dev/null || true
done
