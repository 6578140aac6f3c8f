#!/bin/sh
# Builds images and a kernel for arm64 machines from the distribution's packages. It runs
# on a host of any architecture, as it executes no program for arm64.
#
#   arm64.sh OUTDIR        # then: stead machine create --arch arm64 \
#                          #   --kernel OUTDIR/kernel/boot/vmlinuz-… oci:OUTDIR:debian
#
#   debian    Debian with systemd: the script unpacks the packages and does the part of
#             their installation that a boot needs
#   busybox   one static program; its init reads /etc/inittab
#
# OUTDIR/kernel has a kernel with its modules. OUTDIR/rosetta has a program "rosetta" that
# runs programs for amd64: QEMU's, in place of Apple's.
#
# The script keeps an existing layout that is newer than itself.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
. "$here/common.sh"

suite=bookworm
path=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
PATH=$PATH:/usr/sbin:/sbin # for depmod: the PATH of an ordinary user may lack these

# fetch and settle run on the host while mmdebstrap creates the root file system $1. fetch
# downloads packages that are not part of it. settle does what packages do when they are
# installed.
fetch='
	set -eu
	export APT_CONFIG="$MMDEBSTRAP_APT_CONFIG"
	mkdir "$1/debs"
	cd "$1/debs"
	kernel=$(apt-cache depends linux-image-cloud-arm64 | sed -n "s/.*Depends: \(linux-image-[^ ]*\)$/\1/p")
	apt-get -qq -o APT::Sandbox::User=root download "$kernel" busybox-static qemu-user-static
'
settle='
	set -eu
	cd "$1"
	rm -rf debs etc/hostname etc/resolv.conf
	for list in passwd group; do
		sed "s/:\*:/:x:/" usr/share/base-passwd/$list.master >etc/$list
	done
	sed "s/:.*/:*:19000:0:99999:7:::/" etc/passwd >etc/shadow
	chmod 640 etc/shadow
	cp usr/share/libc-bin/nsswitch.conf etc/nsswitch.conf
	echo /bin/bash >etc/shells
	rm -rf var/run var/lock
	ln -s /run var/run
	ln -s /run/lock var/lock
	: >etc/machine-id
	for unit in getty.target console-getty.service fstrim.timer e2scrub_reap.service \
		ldconfig.service systemd-hwdb-update.service systemd-journal-catalog-update.service; do
		ln -s /dev/null etc/systemd/system/$unit
	done
'

# unpacked FILE writes a root file system of packages that are only unpacked. It leaves the
# packages of kernel, busybox and translator in $work/debs.
unpacked() {
	bootstrap "$1" --architectures=arm64 --variant=extract \
		--include=base-files,base-passwd,bash,dash,coreutils,grep,sed,procps,mount,util-linux,kmod,libc-bin,systemd,systemd-sysv \
		--extract-hook="$fetch" \
		--extract-hook="copy-out /debs $work" \
		--extract-hook="$settle"
}

# unpack PACKAGE DIR unpacks a package of $work/debs (a pattern) without its usr/share.
unpack() {
	mkdir -p "$2"
	for deb in "$work"/debs/${1}_*.deb; do
		dpkg-deb --fsys-tarfile "$deb" | tar -x -C "$2" --exclude=./usr/share
	done
}

# kernel_tree DIR installs a kernel and its modules, with the index that a boot reads.
kernel_tree() {
	unpack 'linux-image-*' "$1"
	for tree in "$1"/lib/modules/*; do
		depmod -b "$1" "${tree##*/}"
	done
}

# busybox_root DIR installs the busybox for arm64. The list of applets is fixed, as the
# host cannot run the program to ask for it.
busybox_root() {
	unpack busybox-static "$work/deb"
	mkdir -p "$1/bin" "$1/sbin" "$1/usr/bin" "$1/usr/sbin"
	cp -p "$work/deb/bin/busybox" "$1/bin/busybox"
	for applet in bin/sh bin/cat bin/ls bin/cp bin/mv bin/rm bin/ln bin/mkdir bin/mount bin/umount bin/uname \
		bin/sync bin/df bin/dd bin/ps bin/kill bin/sleep bin/touch bin/grep bin/sed bin/hostname bin/echo \
		sbin/reboot sbin/poweroff sbin/ip usr/bin/id usr/bin/awk usr/bin/head usr/bin/tail usr/bin/md5sum; do
		ln -s /bin/busybox "$1/$applet"
	done
}

[ $# = 1 ] || die "usage: $0 OUTDIR" "pass the directory for the layout"
if up_to_date "$1"; then
	say "$1 is up to date"
	exit 0
fi
need mmdebstrap mmdebstrap
need go golang-go
need depmod kmod
umask 022
begin_layout "$1"

unpacked "$work/debian.tar"
busybox_root "$work/busybox"
busybox_init "$work/busybox"
pack "$work/busybox" "$work/busybox.tar"
add_image "$new" debian "$work/debian.tar" -arch arm64 -zstd -env PATH="$path" -env LANG=C.UTF-8 -stop-signal SIGRTMIN+3
add_image "$new" busybox "$work/busybox.tar" -arch arm64 -zstd -env PATH="$path"
kernel_tree "$new/kernel"
unpack qemu-user-static "$work/qemu"
mkdir "$new/rosetta"
cp -p "$work/qemu/usr/bin/qemu-x86_64-static" "$new/rosetta/rosetta"
finish_layout
