#!/bin/sh
# Builds a Debian image with systemd and PostgreSQL as an OCI layout from the
# distribution's packages. It needs neither an image registry nor a container engine.
#
#   debian-systemd.sh OUTDIR        # then: image = "oci:OUTDIR:debian"
#
# The script keeps an existing layout that is newer than itself.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
. "$here/common.sh"

suite=bookworm

[ $# = 1 ] || die "usage: $0 OUTDIR" "pass the directory for the layout"
if up_to_date "$1"; then
	say "$1 is up to date"
	exit 0
fi
need mmdebstrap mmdebstrap
need go golang-go

begin_layout "$1"

# With an empty machine-id, systemd does not treat the boot as a first boot. With a missing
# one it would enable every unit by its presets, but the project file decides which run.
#
# The masked units have no use here: a machine has no screen to log in on, its disk is not
# on LVM, and a boot does not need to update packages.
rootfs "$work/root.tar" \
	systemd,systemd-sysv,dbus,kmod,sudo,postgresql,iproute2,iputils-ping,procps,less,bash,ca-certificates \
	--essential-hook='echo LANG=C.UTF-8 >"$1"/etc/default/locale' \
	--customize-hook='chroot "$1" systemctl disable postgresql' \
	--customize-hook='chroot "$1" systemctl mask getty.target console-getty.service e2scrub_reap.service e2scrub_all.timer fstrim.timer apt-daily.timer apt-daily-upgrade.timer' \
	--customize-hook='rm -f "$1"/var/lib/dbus/machine-id; : >"$1"/etc/machine-id'

add_image "$new" debian "$work/root.tar" -zstd \
	-env PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
	-env LANG=C.UTF-8 \
	-stop-signal SIGRTMIN+3
finish_layout
