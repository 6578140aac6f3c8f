//go:build linux

package hostfs

import (
	"testing"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

// Without FLUSH, the kernel cannot tell when a program closes a file.
func TestLocksEndWithoutFlush(t *testing.T) {
	fs, _ := mount(t, false)
	node := create(t, fs, "file", 0o644).NodeId
	openWith := func() (locker, bool) {
		out := open(t, fs, node, unix.O_RDWR)
		return locker{t: t, fs: fs, node: node, fh: out.Fh}, out.OpenFlags&fuse.FOPEN_NOFLUSH != 0
	}
	first, unflushed := openWith()
	if !unflushed {
		t.Skip("the temporary directory is on a file system that reports errors on close, but CI's is not")
	}
	second, unflushed := openWith()
	if !unflushed {
		t.Error("the guest flushes although nothing is locked")
	}
	first.want("lock", first.posix(1, unix.F_WRLCK, 0, 9), fuse.OK)
	if _, unflushed := openWith(); unflushed {
		t.Error("the guest does not flush a file with locks")
	}
	second.want("conflicting lock", second.posix(2, unix.F_WRLCK, 0, 9), fuse.EAGAIN)
	fs.Release(nil, &fuse.ReleaseIn{InHeader: header(node), Fh: first.fh})
	second.want("lock of a program whose file is closed", second.posix(2, unix.F_WRLCK, 0, 9), fuse.OK)
}

func TestFlushOnAFileSystemThatReportsErrorsThen(t *testing.T) {
	fs, dir := mount(t, false)
	write(t, dir+"/file", "")
	st, err := stat(fs.tree.root.fd, "")
	if err != nil {
		t.Fatal(err)
	}
	fs.tree.onClose.Store(devOf(st), true)
	if out := open(t, fs, lookup(t, fs, root, "file"), unix.O_RDONLY); out.OpenFlags&fuse.FOPEN_NOFLUSH != 0 {
		t.Errorf("OPEN has flags %#x, want no FOPEN_NOFLUSH", out.OpenFlags)
	}
}
