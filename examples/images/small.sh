#!/bin/sh
# Builds three images with other inits than systemd, as one OCI layout:
#
#   small.sh OUTDIR        # then: image = "oci:OUTDIR:openrc", …:busybox or …:noinit
#
#   openrc   Debian with sysvinit and OpenRC, sudo, a service "heartbeat" that is in no
#            runlevel (services = ["heartbeat"] starts it), and programs that test file
#            systems
#   busybox  one static program; its init reads /etc/inittab
#   noinit   the same program without an init and without /etc
#
# The script keeps an existing layout that is newer than itself.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
. "$here/common.sh"

suite=bookworm
path=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin

# openrc_root FILE writes the root file system with OpenRC. It removes the gettys, as a
# machine has no screen to log in on. It also removes services for disks, network file
# systems and hardware clocks: a machine does not have them, and on an emulated machine
# these services take half a minute.
openrc_root() {
	mkdir -p "$work/overlay/etc/init.d"
	cat >"$work/overlay/etc/init.d/heartbeat" <<-'SERVICE'
		#!/sbin/openrc-run
		description="Does nothing, reliably"
		command=/bin/sleep
		command_args=infinity
		command_background=yes
		pidfile=/run/heartbeat.pid
	SERVICE
	chmod 755 "$work/overlay/etc/init.d/heartbeat"
	rootfs "$1" sysvinit-core,openrc,sudo,procps,iproute2,bash,stress-ng,fio,dbench,git,sqlite3 \
		--customize-hook="copy-in $work/overlay/etc/init.d/heartbeat /etc/init.d" \
		--customize-hook='sed -i "/getty/d" "$1"/etc/inittab' \
		--customize-hook='cd "$1"/etc/runlevels/sysinit && for s in *; do
			case $s in mountkernfs.sh | mountdevsubfs.sh | hostname.sh) ;; *) rm "$s" ;; esac; done'
}

# busybox_root DIR installs the distribution's static busybox and links for its applets.
busybox_root() {
	mkdir -p "$work/deb" "$1/bin" "$1/sbin" "$1/usr/bin" "$1/usr/sbin"
	if [ ! -d "$work/deb/bin" ]; then
		(cd "$work/deb" && apt-get -qq -o APT::Sandbox::User=root download busybox-static &&
			dpkg-deb -x busybox-static_*.deb .)
	fi
	cp -p "$work/deb/bin/busybox" "$1/bin/busybox"
	for applet in $("$1/bin/busybox" --list-full); do
		case $applet in
		linuxrc | sbin/init | bin/busybox) ;;
		*) ln -s /bin/busybox "$1/$applet" ;;
		esac
	done
}

[ $# = 1 ] || die "usage: $0 OUTDIR" "pass the directory for the layout"
if up_to_date "$1"; then
	say "$1 is up to date"
	exit 0
fi
need mmdebstrap mmdebstrap
need go golang-go
umask 022
begin_layout "$1"

openrc_root "$work/openrc.tar"
busybox_root "$work/busybox"
busybox_init "$work/busybox"
busybox_root "$work/noinit"
pack "$work/busybox" "$work/busybox.tar"
pack "$work/noinit" "$work/noinit.tar"

for tag in openrc busybox noinit; do
	add_image "$new" "$tag" "$work/$tag.tar" -zstd -env PATH="$path"
done
finish_layout
