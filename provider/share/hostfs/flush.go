//go:build linux

package hostfs

import (
	"context"
	"slices"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

// When a program closes a file, its kernel sends FLUSH and waits. That costs as much as the read
// of a small file, and has two uses only: to report an error that some file systems report then,
// and to release the POSIX locks of the program. So a file on a disk of the host is opened
// without it (FOPEN_NOFLUSH), unless programs of the guest have locked parts of it before. The
// program that does so first loses its locks with RELEASE: when the file is closed by all who
// have inherited it.

// unflushed returns the flags for an open of the file fd.
func (n *node) unflushed(fd int, st *unix.Statx_t) uint32 {
	n.mu.Lock()
	locked := n.locked
	n.mu.Unlock()
	if locked || n.tree.reportsOnClose(fd, devOf(st)) {
		return 0
	}
	return fuse.FOPEN_NOFLUSH
}

// reportsOnClose reports whether close(2) may fail on the file system of fd, because only then it
// is known whether a server has stored what was written.
func (t *tree) reportsOnClose(fd int, dev uint64) bool {
	if known, ok := t.onClose.Load(dev); ok {
		return known.(bool)
	}
	var st unix.Statfs_t
	if err := unix.Fstatfs(fd, &st); err != nil {
		return true
	}
	local := []int64{
		unix.EXT4_SUPER_MAGIC, unix.XFS_SUPER_MAGIC, unix.BTRFS_SUPER_MAGIC, unix.F2FS_SUPER_MAGIC, zfsSuperMagic,
		unix.TMPFS_MAGIC, unix.OVERLAYFS_SUPER_MAGIC, unix.ECRYPTFS_SUPER_MAGIC, unix.BCACHEFS_SUPER_MAGIC,
	}
	reports := !slices.Contains(local, int64(st.Type))
	t.onClose.Store(dev, reports)
	return reports
}

// zfsSuperMagic is the type of a file system that is not in the kernel; see OpenZFS'
// include/sys/fs/zfs.h.
const zfsSuperMagic = 0x2fc12fc1

// locking records that a program with the given owner locks parts of the file.
func (f *file) locking(owner uint64) {
	f.node.mu.Lock()
	defer f.node.mu.Unlock()
	if f.unflushed && !slices.Contains(f.owners, owner) {
		f.owners = append(f.owners, owner)
	}
}

// Flush closes a duplicate of the descriptor: some file systems report a failed write only on
// close.
func (f *file) Flush(context.Context) syscall.Errno {
	return f.with(func(fd int) error {
		copied, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
		if err != nil {
			return err
		}
		return unix.Close(copied)
	})
}
