//go:build linux

package hostfs

import (
	"context"
	"errors"
	"syscall"
	"time"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

var (
	_ fs.NodeCreater  = (*node)(nil)
	_ fs.NodeOpener   = (*node)(nil)
	_ fs.NodeTmpfiler = (*node)(nil)
)

// hostFlags returns the guest's flags that apply to the host's file. O_APPEND is handled by
// each write, and O_DIRECT would require aligned guest memory.
func hostFlags(flags uint32) int {
	return int(flags)&(unix.O_ACCMODE|unix.O_TRUNC|unix.O_SYNC|unix.O_DSYNC) | unix.O_CLOEXEC
}

// openRegular opens the file of path, a descriptor opened with O_PATH, if it is a regular
// file: opening a fifo would block, and opening a device has side effects.
func (t *tree) openRegular(path int, flags uint32) (int, *unix.Statx_t, error) {
	st, err := stat(path, "")
	if err != nil {
		return -1, nil, err
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG {
		return -1, nil, unix.EPERM
	}
	if flags&unix.O_TRUNC != 0 {
		if err := t.dropPrivileges(path); err != nil {
			return -1, nil, err
		}
	}
	fd, err := unix.Open(procPath(path), hostFlags(flags), 0)
	return fd, st, err
}

// Open opens a regular file.
func (n *node) Open(_ context.Context, flags uint32) (fh fs.FileHandle, fuseFlags uint32, e syscall.Errno) {
	e = n.with(func(path int) error {
		fd, st, err := n.tree.openRegular(path, flags)
		if err != nil {
			return err
		}
		f, err := n.hold(fd)
		if err != nil {
			return err
		}
		fh = f
		if n.opened(f, st) && flags&unix.O_TRUNC == 0 {
			fuseFlags = fuse.FOPEN_KEEP_CACHE
		}
		return nil
	})
	return fh, fuseFlags, e
}

// stamp identifies a state of a file's content.
type stamp struct {
	mtime, ctime unix.StatxTimestamp
	ino, size    uint64
}

// opened records that f is open, and reports whether the guest's cache of the file is still
// valid: the file did not change since it was last opened. Two changes within a tick of the
// host's clock look the same, so a state counts only if it was old when it was recorded.
func (n *node) opened(f *file, st *unix.Statx_t) bool {
	now := stamp{mtime: st.Mtime, ctime: st.Ctime, ino: st.Ino, size: st.Size}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.files = append(n.files, f)
	same := n.seen == now
	n.seen = stamp{}
	if time.Since(time.Unix(st.Ctime.Sec, int64(st.Ctime.Nsec))) > Timeout {
		n.seen = now
	}
	return same
}

// Create creates and opens a file. It opens a file that already exists on the host without
// the guest's knowledge.
func (n *node) Create(ctx context.Context, name string, flags, mode uint32, out *fuse.EntryOut) (child *fs.Inode, fh fs.FileHandle, fuseFlags uint32, e syscall.Errno) {
	if err := n.tree.census.admit(); err != nil {
		return nil, nil, 0, errno(err)
	}
	e = n.with(func(dir int) error {
		fd, err := unix.Openat(dir, name, hostFlags(flags)|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW, mode&0o7777&^privileges)
		switch {
		case err == nil:
			err = n.tree.give(ctx, dir, fd, "")
		case err == unix.EEXIST && flags&unix.O_EXCL == 0:
			fd, err = n.openChild(dir, name, flags)
		}
		if err != nil {
			return errors.Join(err, closeFD(fd))
		}
		child, fh, err = n.adopt(ctx, fd, name, out)
		return err
	})
	return child, fh, 0, e
}

func (n *node) openChild(dir int, name string, flags uint32) (int, error) {
	path, err := beneath(dir, name, unix.O_PATH)
	if err != nil {
		return -1, err
	}
	defer func() { _ = unix.Close(path) }()
	fd, _, err := n.tree.openRegular(path, flags)
	return fd, err
}

// adopt returns inode and handle for fd, the file name in n that is new to the guest.
func (n *node) adopt(ctx context.Context, fd int, name string, out *fuse.EntryOut) (*fs.Inode, fs.FileHandle, error) {
	st, err := stat(fd, "")
	if err != nil {
		return nil, nil, errors.Join(err, closeFD(fd))
	}
	child := n.child(ctx, name, st, out)
	owner := child.Operations().(*node)
	f, err := owner.hold(fd)
	if err != nil {
		return nil, nil, err
	}
	owner.opened(f, st)
	return child, f, nil
}

// Tmpfile creates a file without a name.
func (n *node) Tmpfile(ctx context.Context, flags, mode uint32, out *fuse.EntryOut) (child *fs.Inode, fh fs.FileHandle, fuseFlags uint32, e syscall.Errno) {
	if err := n.tree.census.admit(); err != nil {
		return nil, nil, 0, errno(err)
	}
	e = n.with(func(dir int) error {
		fd, err := unix.Openat(dir, ".", hostFlags(flags)|unix.O_TMPFILE, mode&0o7777&^privileges)
		if err == nil {
			err = n.tree.give(ctx, dir, fd, "")
		}
		if err != nil {
			return errors.Join(err, closeFD(fd))
		}
		child, fh, err = n.adopt(ctx, fd, "", out)
		return err
	})
	return child, fh, 0, e
}
