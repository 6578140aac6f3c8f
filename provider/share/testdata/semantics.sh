#!/bin/bash
# Checks that a directory behaves like a Linux file system. Run it in a mounted
# share, in an empty writable directory (default: a new one in the working
# directory).
#
#   semantics.sh [DIRECTORY]
# Needs bash, coreutils, util-linux and perl-base. Prints the failed checks. Exits
# with 1 if a check failed, otherwise with 0.

set -u
work=${1:-$PWD/semantics.$$}
mkdir -p "$work" && cd "$work" || exit 1
failures=0

fail() {
	echo "FAIL: $*"
	failures=$((failures + 1))
}

# expect WANT GOT WHAT
expect() {
	[ "$1" = "$2" ] || fail "$3: want '$1', got '$2'"
}

content() {
	printf 'hello\n' >plain
	expect hello "$(cat plain)" "reading what was written"
	printf 'more\n' >>plain
	expect 'hello more' "$(tr '\n' ' ' <plain | sed 's/ $//')" "appending"
	truncate -s 3 plain
	expect hel "$(cat plain)" "truncating"
	head -c 9000000 /dev/urandom >big
	cp big copy
	cmp -s big copy || fail "a copy of 9 MB differs"
	dd if=big bs=4093 status=none | cmp -s - big || fail "reading in odd pieces"
	dd if=big of=direct bs=1M oflag=direct status=none 2>/dev/null || cp big direct
	cmp -s big direct || fail "a copy by direct writes differs"
	: >big && expect 0 "$(stat -c %s big)" "size after opening with O_TRUNC"
}

parallel_writers() {
	local j i
	for j in 1 2 3 4 5 6 7 8; do
		(for i in {1..60}; do echo "writer $j file $i" >"par.$j.$i"; done) &
	done
	wait
	expect 480 "$(find . -name 'par.*' | wc -l)" "files of parallel writers"
	for j in 1 4 8; do
		for i in 1 30 60; do
			expect "writer $j file $i" "$(cat "par.$j.$i")" "content of par.$j.$i"
		done
	done
	rm par.*
}

appending_together() {
	local j i
	: >log
	for j in 1 2 3 4; do
		(for i in {1..100}; do echo "line $j.$i of a log"; done >>log) &
	done
	wait
	expect 400 "$(wc -l <log)" "lines of four appending processes"
	expect 400 "$(grep -c '^line [1-4]\.[0-9]* of a log$' log)" "whole lines of four appending processes"
}

only_one_creates() {
	local i
	for i in 1 2 3 4 5 6 7 8; do
		(set -C && echo "$i" >exclusive) 2>/dev/null && echo won >>winners &
	done
	wait
	expect 1 "$(wc -l <winners)" "winners of an O_EXCL race"
}

# System calls by number, because perl-base has no names for them.
case $(uname -m) in
x86_64) sys_read=0 sys_write=1 sys_mmap=9 sys_msync=26 sys_setx=188 sys_getx=191 sys_listx=194 sys_remx=197 ;;
aarch64) sys_read=63 sys_write=64 sys_mmap=222 sys_msync=227 sys_setx=5 sys_getx=8 sys_listx=11 sys_remx=14 ;;
*) fail "no system call numbers for $(uname -m)" && exit 1 ;;
esac

# The kernel copies into and out of the mapping, so that a script can use one.
shared_mmap() {
	head -c 16384 /dev/zero >map
	perl -e '
		my ($read, $write, $mmap, $msync) = @ARGV;
		open my $f, "+<", "map" or die "open: $!";
		my $at = syscall($mmap, 0, 16384, 3, 1, fileno $f, 0);
		die "mmap: $!" if $at == -1;
		pipe my $r, my $w or die;
		syswrite $w, "through a mapping";
		syscall($read, fileno $r, $at + 5000, 17) == 17 or die "storing: $!";
		syscall($msync, $at, 16384, 4) == 0 or die "msync: $!";
		sysseek $f, 5000, 0; sysread $f, my $got, 17;
		die "read() sees <$got>" if $got ne "through a mapping";
		sysseek $f, 9000, 0; syswrite $f, "by write";
		syscall($write, fileno $w, $at + 9000, 8) == 8 or die "loading: $!";
		sysread $r, $got, 8;
		die "the mapping sees <$got>" if $got ne "by write";
	' $sys_read $sys_write $sys_mmap $sys_msync || fail "shared mapping"
	expect "through a mapping" "$(dd if=map bs=1 skip=5000 count=17 status=none)" "mapping seen by another process"
}

unlinked_but_open() {
	echo first >gone
	exec 3<>gone
	rm gone
	[ -e gone ] && fail "a removed file is still there"
	cat <&3 >/dev/null
	echo second >&3
	expect 'first second' "$(tr '\n' ' ' </proc/self/fd/3 | sed 's/ $//')" "content of a removed file"
	expect 0 "$(stat -L -c %h /proc/self/fd/3)" "links of a removed file"
	perl -e 'open my $f, "+<&=", 3; chmod 0600, $f or die "$!"; truncate $f, 2 or die "$!"' || fail "changing a removed file"
	expect '600 2' "$(stat -L -c '%a %s' /proc/self/fd/3)" "mode and size of a removed file"
	exec 3>&-
}

flocks() {
	: >lock
	exec 4<lock
	flock -x 4
	flock -n -x lock true && fail "an exclusive flock was given twice"
	flock -n -s lock true && fail "a shared flock was given beside an exclusive one"
	flock -u 4
	flock -n -x lock true || fail "a released flock is not free"
	flock -s 4
	flock -n -s lock true || fail "two shared flocks exclude each other"
	exec 4<&-
	flock -n -x lock true || fail "closing does not release a flock"

	local j i
	echo 0 >counter
	for j in 1 2 3 4; do
		(for i in {1..10}; do
			flock lock bash -c 'read -r n <counter; echo $((n + 1)) >counter'
		done) &
	done
	wait
	expect 40 "$(cat counter)" "increments under a flock that is waited for"
}

posix_locks() {
	printf '0123456789' >ranges
	perl -MFcntl -e '
		sub lk { my ($f, $cmd, $type, $start, $len) = @_;
			my $l = pack "s s x4 q q l x4", $type, 0, $start, $len, 0;
			return fcntl($f, $cmd, $l) }
		sub other { my ($type, $start, $len) = @_;      # can another process get it?
			my $pid = fork;
			if (!$pid) { open my $g, "+<", "ranges"; exit(lk($g, F_SETLK, $type, $start, $len) ? 0 : 1) }
			waitpid $pid, 0; return $? == 0 }
		open my $f, "+<", "ranges" or die;
		lk($f, F_SETLK, F_WRLCK, 0, 5) or die "first lock: $!";
		other(F_WRLCK, 2, 1) and die "a range was locked twice";
		other(F_RDLCK, 4, 2) and die "an overlapping range was locked";
		other(F_WRLCK, 5, 5) or die "a free range was refused";
		open my $g, "+<", "ranges" or die;
		lk($g, F_SETLK, F_WRLCK, 0, 5) or die "a process stands in its own way: $!";
		my $pid = fork;                                 # inherits the descriptor, not the lock
		if (!$pid) { exit(lk($f, F_SETLK, F_WRLCK, 0, 5) ? 1 : 0) }
		waitpid $pid, 0; $? == 0 or die "a child has its parent'"'"'s lock";
		lk($f, F_SETLK, F_UNLCK, 0, 2) or die "unlocking a part: $!";
		other(F_WRLCK, 0, 2) or die "an unlocked part is not free";
		other(F_WRLCK, 3, 1) and die "the other part is free";
		close $g;                                       # any close releases all
		other(F_WRLCK, 3, 1) or die "closing does not release";
		lk($f, F_SETLK, F_WRLCK, 0, 0) or die;
		$pid = fork;
		if (!$pid) { open my $h, "+<", "ranges"; exit(lk($h, F_SETLKW, F_WRLCK, 0, 0) ? 0 : 1) }
		select undef, undef, undef, 0.3;
		lk($f, F_SETLK, F_UNLCK, 0, 0);
		waitpid $pid, 0; $? == 0 or die "who waits for a lock does not get it";
	' || fail "POSIX locks"
}

# A program that waits for a lock handles signals and can be killed, and two that wait for each
# other are told.
waits_for_locks() {
	printf '0123456789' >waited
	perl -MFcntl=:DEFAULT,:flock -e '
		sub lk { my ($f, $start) = @_;
			return fcntl($f, F_SETLKW, pack "s s x4 q q l x4", F_WRLCK, 0, $start, 1, 0) }
		sub child { my $run = shift; my $pid = fork; return $pid if $pid; exit($run->() ? 0 : 1) }
		sub pause { select undef, undef, undef, 0.5 }
		open my $f, "+<", "waited" or die;
		lk($f, 0) or die "first lock: $!";
		my $other = child(sub { open my $g, "+<", "waited"; lk($g, 1) or exit 2; lk($g, 0) });
		pause();
		lk($f, 1) and die "two programs wait for each other";
		$!{EDEADLK} or die "a deadlock is reported as: $!";
		kill KILL => $other; waitpid $other, 0;
		$? == 9 or die "a program that waits ended with status $?, not by the signal";
		lk($f, 1) or die "the killed program keeps its lock: $!";
		my $alarmed = child(sub { open my $g, "+<", "waited"; local $SIG{ALRM} = sub {}; alarm 1; !lk($g, 0) && $!{EINTR} });
		waitpid $alarmed, 0; $? == 0 or die "a signal does not interrupt a wait";
		flock($f, LOCK_EX) or die "flock: $!";
		my $flocker = child(sub { open my $g, "+<", "waited"; flock($g, LOCK_EX) });
		pause();
		kill TERM => $flocker; waitpid $flocker, 0;
		$? == 15 or die "a program that waits in flock() ended with status $?, not by the signal";
	' || fail "waiting for locks"
}

extended_attributes() {
	echo x >attributed
	perl -e '
		my ($set, $get, $list, $remove) = @ARGV;
		my ($f, $n, $v) = ("attributed\0", "user.colour\0", "blue");
		if (syscall($set, $f, $n, $v, 4, 0) != 0) {
			if ($! == 95) { print "skipped: the host has no user attributes here\n"; exit 0 }
			die "setting: $!" }
		my $buf = "\0" x 200;
		my $got = syscall($get, $f, $n, $buf, 200);
		die "reading: $!" if $got != 4; die "value" if substr($buf, 0, 4) ne "blue";
		die "size" if syscall($get, $f, $n, 0, 0) != 4;
		$got = syscall($list, $f, $buf, 200);
		die "listing" if index(substr($buf, 0, $got), $n) < 0;
		syscall($remove, $f, $n) == 0 or die "removing: $!";
		syscall($get, $f, $n, $buf, 200) == -1 or die "still there";
	' $sys_setx $sys_getx $sys_listx $sys_remx || fail "extended attributes"
}

links_and_renames() {
	echo one >a
	ln a b
	expect 2 "$(stat -c %h a)" "links of a linked file"
	expect "$(stat -c %i a)" "$(stat -c %i b)" "inode of both names"
	echo two >>b
	expect 'one two' "$(tr '\n' ' ' <a | sed 's/ $//')" "content through the other name"
	rm a
	expect 1 "$(stat -c %h b)" "links after one name is removed"
	ln -s /nowhere/at/all dangling
	expect /nowhere/at/all "$(readlink dangling)" "target of a dangling link"
	[ -e dangling ] && fail "a dangling link leads somewhere"
	ln -s b relative && expect one "$(head -n1 relative)" "reading through a link"
	echo new >c
	mv c b
	expect new "$(cat b)" "a rename onto a file replaces it"
	mkdir -p d1/d2
	echo deep >d1/d2/file
	exec 5<d1/d2/file
	mv d1 e1
	expect deep "$(cat <&5)" "a file open in a renamed directory"
	exec 5<&- && expect deep "$(cat e1/d2/file)" "a file in a renamed directory"
	rmdir e1 2>/dev/null && fail "a full folder was removed"
	mv e1 e1/d2/inside 2>/dev/null && fail "a folder moved into itself"
	(cd e1/d2 && rm file && rmdir ../d2 && [ "$(stat -c %h .)" = 0 ]) || fail "removing the working directory"
	perl -e 'rename "b", "b2" or die; -e "b" and die; rename "b2", "b" or die' || fail "renaming back"
}

special_files() {
	mkfifo pipe
	(echo "through a fifo" >pipe) &
	expect "through a fifo" "$(cat pipe)" "fifo"
	wait
	perl -MSocket -e '
		socket my $s, AF_UNIX, SOCK_STREAM, 0 or die;
		bind $s, sockaddr_un("socket") or die "bind: $!"; listen $s, 1 or die;
		socket my $c, AF_UNIX, SOCK_STREAM, 0 or die;
		connect $c, sockaddr_un("socket") or die "connect: $!"' || fail "unix socket"
	[ -S socket ] || fail "a socket has no name"
}

space() {
	fallocate -l 1048576 room
	expect 1048576 "$(stat -c %s room)" "size after fallocate"
	fallocate -n -o 1048576 -l 4096 room
	expect 1048576 "$(stat -c %s room)" "size after fallocate --keep-size"
	printf 'x%.0s' {1..8192} | dd of=room conv=notrunc status=none
	if fallocate -p -o 0 -l 4096 room 2>/dev/null; then
		expect 4096 "$(tr -d '\0' <room | wc -c)" "bytes left after a hole was punched"
	fi
	truncate -s 1G sparse
	printf end >>sparse
	expect 1073741827 "$(stat -c %s sparse)" "size of a sparse file"
	[ "$(du -k sparse | cut -f1)" -lt 1000 ] || fail "a sparse file is full"
	[ "$(df --output=size . | tail -n1)" -gt 0 ] || fail "the file system has no size"
	rm sparse room
}

attributes() {
	(umask 077 && : >private && mkdir closed)
	expect '600 700' "$(stat -c %a private closed | tr '\n' ' ' | sed 's/ $//')" "umask 077"
	(umask 0 && : >open && mkdir -m 1777 sticky)
	expect '666 1777' "$(stat -c %a open sticky | tr '\n' ' ' | sed 's/ $//')" "umask 0 and a sticky directory"
	chmod 0 private
	expect 0 "$(stat -c %a private)" "mode 000"
	touch -d '2001-02-03 04:05:06.123456789 UTC' private
	expect 981173106.123456789 "$(stat -c %.9Y private)" "a set time"
	chmod 644 private && sleep 0.02 && touch private
	[ "$(($(date +%s) - $(stat -c %Y private)))" -lt 3600 ] || fail "touch does not set the present time"
	# The share of an ordinary user contains only files of that user.
	expect "$(stat -c %u .)" "$(stat -c %u private)" "owner of a new file"
	chown "$(stat -c %u:%g private)" private || fail "giving a file to its owner"
}

names() {
	local long
	long=$(printf 'n%.0s' {1..255})
	: >"$long" || fail "a name of 255 bytes"
	: 2>/dev/null >"${long}x" && fail "a name of 256 bytes was accepted"
	: >$'line\nbreak' && : >'späße ☃' && : >'*' && : >'-rf'
	[ -e $'line\nbreak' ] && [ -e 'späße ☃' ] || fail "odd names"
	rm -- "$long" $'line\nbreak' 'späße ☃' '*' '-rf'
}

# The path from the root is longer than the 4,096 bytes that one system call takes.
deep_folders() {
	perl -e '
		mkdir "deep" or die; chdir "deep" or die;
		my $name = "d" x 200;
		for (1..30) { mkdir $name or die "mkdir $_: $!"; chdir $name or die "chdir $_: $!" }
		open my $f, ">", "file" or die "create: $!"; print $f "deep"; close $f or die;
		rename "file", "renamed" or die "rename: $!";
		open $f, "<", "renamed" or die "open: $!"; <$f> eq "deep" or die "another content";
		opendir my $d, "." or die "opendir: $!"; my @names = grep !/^\./, readdir $d;
		"@names" eq "renamed" or die "the directory has: @names";
		unlink "renamed" or die "unlink: $!";
		for (1..30) { chdir ".." or die "leave $_: $!"; rmdir $name or die "rmdir $_: $!" }
	' || fail "folders with a long path"
	rmdir deep || fail "removing the folders"
}

many_files() {
	local i
	mkdir many
	for i in {1..1000}; do : >"many/file-$i"; done
	expect 1000 "$(find many -type f | sort -u | wc -l)" "different names in a directory of 1,000"
	rm many/file-*5
	expect 900 "$(ls many | wc -l)" "after 100 were removed"
	rm -r many || fail "removing a folder of 900 files"
}

for check in content parallel_writers appending_together only_one_creates shared_mmap unlinked_but_open \
	flocks posix_locks waits_for_locks extended_attributes links_and_renames special_files space attributes names deep_folders many_files; do
	before=$failures
	"$check"
	[ "$failures" = "$before" ] && echo "ok: $check"
done

cd / && rm -rf "$work" || fail "cleaning up"
[ "$failures" = 0 ] || { echo "$failures failures"; exit 1; }
echo "all as it should be"
