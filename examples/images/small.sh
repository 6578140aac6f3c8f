#!/bin/sh
# Makes three small images with other kinds of init than systemd, as one OCI layout:
#
#   small.sh OUTDIR        # then: image = "oci:OUTDIR:openrc", …:busybox or …:noinit
#
#   openrc   Debian with sysvinit and OpenRC, sudo, and a service "heartbeat" that
#            no runlevel has yet: services = ["heartbeat"] starts it
#   busybox  one static program, its init reading /etc/inittab
#   noinit   the same program without an init and without /etc: as bare as images get
#
# A layout that is there and newer than this script is left alone.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
. "$here/common.sh"

suite=bookworm
path=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin

# openrc_root FILE. The gettys go: a machine has no screen to log in on. So do the
# services that look after disks, network file systems and hardware clocks, which a
# machine has not, and which take half a minute to find that out where it is emulated.
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
	rootfs "$1" sysvinit-core,openrc,sudo,procps,iproute2,bash \
		--customize-hook="copy-in $work/overlay/etc/init.d/heartbeat /etc/init.d" \
		--customize-hook='sed -i "/getty/d" "$1"/etc/inittab' \
		--customize-hook='cd "$1"/etc/runlevels/sysinit && for s in *; do
			case $s in mountkernfs.sh | mountdevsubfs.sh | hostname.sh) ;; *) rm "$s" ;; esac; done'
}

# busybox_root DIR: the static busybox of the distribution and links for its applets.
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

[ $# = 1 ] || die "usage: $0 OUTDIR" "name the folder that shall hold the layout"
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
