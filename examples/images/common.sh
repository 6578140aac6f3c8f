# Functions that turn a root file system into an OCI layout on a Debian host. The scripts
# in this directory source this file. It expects `set -eu` and the variable here, the
# directory of the scripts.

say() { printf '%s\n' "$*" >&2; }

die() {
	say "$(basename "$0"): $1"
	say "hint: $2"
	exit 1
}

need() {
	command -v "$1" >/dev/null || die "$1 is not installed" "apt-get install $2"
}

# up_to_date DIR succeeds if the layout is newer than the scripts that create it.
# finish_layout only moves complete layouts to DIR, so checking the index is enough.
up_to_date() {
	[ -f "$1/index.json" ] || return 1
	for made_by in "$0" "$here/common.sh" "$here/ocilayout/main.go"; do
		[ "$1/index.json" -nt "$made_by" ] || return 1
	done
}

# suite_sources prints the host's Debian sources of the suite, so that the image uses the
# same mirror (or snapshot) as the host. It prints nothing on a host that is not Debian:
# mmdebstrap then uses its default.
suite_sources() {
	keyring=/usr/share/keyrings/debian-archive-keyring.gpg
	signed=
	[ ! -f "$keyring" ] || signed="[signed-by=$keyring] "
	apt-get indextargets --format '$(ORIGIN) $(CODENAME) $(REPO_URI) $(RELEASE) $(COMPONENT)' \
		'Created-By: Packages' 2>/dev/null |
		while read -r origin codename uri release component; do
			case "$origin $codename" in
			"Debian $suite" | "Debian $suite-updates" | "Debian $suite-security")
				say_source "$signed$uri $release $component" ;;
			esac
		done | sort -u
}

say_source() { printf 'deb %s\n' "$1"; }

# rootfs FILE INCLUDE OPTION... writes a Debian root file system as a tar.
rootfs() {
	file=$1 include=$2
	shift 2
	bootstrap "$file" --variant=minbase --include="$include" \
		"$@" \
		--customize-hook='rm -f "$1"/etc/hostname "$1"/etc/resolv.conf "$1"/var/log/apt/* "$1"/var/log/*.log'
}

# bootstrap FILE OPTION... writes the output of mmdebstrap as a tar. This shell writes the
# file, so that it belongs to the user who runs the script, even if mmdebstrap runs with sudo.
bootstrap() {
	file=$1
	shift
	sources=$(suite_sources)
	set -- --quiet --format=tar \
		--aptopt='APT::Install-Recommends "false"' \
		--aptopt='Acquire::Languages "none"' \
		--dpkgopt='path-exclude=/usr/share/man/*' \
		--dpkgopt='path-exclude=/usr/share/info/*' \
		--dpkgopt='path-exclude=/usr/share/locale/*' \
		--dpkgopt='path-exclude=/usr/share/doc/*' \
		--dpkgopt='path-include=/usr/share/doc/*/copyright' \
		"$@" \
		"$suite" -
	if [ -n "$sources" ]; then
		printf '%s\n' "$sources" | as_root mmdebstrap "$@" - >"$file"
	else
		as_root mmdebstrap "$@" >"$file" </dev/null
	fi
}

# as_root mmdebstrap ARG... runs mmdebstrap with the privileges to create all owners and
# modes. It prefers ways that do not ask for a password.
as_root() {
	command=$1
	shift
	if [ "$(id -u)" = 0 ]; then
		"$command" --mode=root "$@"
	elif sudo -n true 2>/dev/null; then
		sudo -n "$command" --mode=root "$@"
	elif command -v newuidmap >/dev/null && grep -qs "^$(id -un):" /etc/subuid; then
		"$command" --mode=unshare "$@"
	elif command -v sudo >/dev/null; then
		sudo "$command" --mode=root "$@"
	else
		die "cannot create an image as $(id -un): no root privileges and no user namespaces" \
			"run this script as root, install sudo, or install uidmap and add $(id -un) to /etc/subuid and /etc/subgid"
	fi
}

# busybox_init DIR adds the files that init and a login need.
busybox_init() {
	ln -s /bin/busybox "$1/sbin/init"
	mkdir -p "$1/etc/init.d" "$1/proc" "$1/sys" "$1/dev" "$1/run" "$1/tmp" "$1/root" "$1/home" "$1/var/log"
	chmod 1777 "$1/tmp"
	chmod 700 "$1/root"
	ln -s ../run "$1/var/run"
	echo 'root:x:0:0:root:/root:/bin/sh' >"$1/etc/passwd"
	echo 'root:x:0:' >"$1/etc/group"
	echo 'root:*:19000:0:99999:7:::' >"$1/etc/shadow"
	chmod 640 "$1/etc/shadow"
	echo /bin/sh >"$1/etc/shells"
	cat >"$1/etc/inittab" <<-'INITTAB'
		::sysinit:/etc/init.d/rcS
		::ctrlaltdel:/sbin/reboot
		::shutdown:/bin/umount -a -r
	INITTAB
	cat >"$1/etc/init.d/rcS" <<-'RCS'
		#!/bin/sh
		# Starts what is in this folder by order of its number.
		for script in /etc/init.d/S[0-9][0-9]*; do
			[ ! -x "$script" ] || "$script" start
		done
	RCS
	chmod 755 "$1/etc/init.d/rcS"
}

# pack DIR FILE writes a tar. All files belong to root and have the time of the program in
# $work/deb, so that the same program gives the same image.
pack() {
	tar --create --file "$2" --directory "$1" --owner=0 --group=0 --numeric-owner --sort=name \
		--mtime="$work/deb/bin/busybox" .
}

# add_image LAYOUT TAG FILE OPTION... adds a root file system to an OCI layout.
add_image() {
	layout=$1 tag=$2 file=$3
	shift 3
	(cd "$here" && go run ./ocilayout -o "$layout" -tag "$tag" "$@" "$file")
}

# begin_layout DIR sets out (the absolute path of DIR), work (a scratch directory) and new
# (the layout to fill). finish_layout moves the complete layout to DIR.
begin_layout() {
	mkdir -p "$(dirname "$1")"
	out=$(cd "$(dirname "$1")" && pwd)/$(basename "$1")
	work=$(mktemp -d "$out.XXXXXX")
	new=$work/layout
	trap 'rm -rf "$work"' EXIT
	trap 'exit 130' INT
	trap 'exit 143' TERM HUP
}

finish_layout() {
	chmod -R a+rX "$new" # the tests run as another user too
	touch "$new/index.json"
	rm -rf "$out"
	mv "$new" "$out"
	say "$out: $(du -sh "$out" | cut -f1)"
}
