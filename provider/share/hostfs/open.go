//go:build linux

package hostfs

import (
	"context"
	"errors"
	"syscall"

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

// errNotRegular says that a file is not a regular one. No honest kernel sends an open for one.
const errNotRegular = unix.EPERM

// openRegular opens the file of path, a descriptor opened with O_PATH, if it is a regular
// file: opening a fifo would block, and opening a device has side effects.
func (t *tree) openRegular(path int, flags uint32) (int, *unix.Statx_t, error) {
	st, err := stat(path, "")
	if err != nil {
		return -1, nil, err
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG {
		return -1, nil, errNotRegular
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
	e = errno(n.use(n.toOpen, func(path int) error {
		fd, st, err := n.tree.openRegular(path, flags)
		if err != nil {
			return err
		}
		if flags&unix.O_TRUNC != 0 {
			n.untell()
		} else if fuseFlags, err = n.agree(st); err != nil {
			return errors.Join(err, unix.Close(fd))
		}
		f, more, err := n.open(fd, st)
		if err != nil {
			return err
		}
		fh, fuseFlags = f, fuseFlags|more
		if n.opened(f, st) && flags&unix.O_TRUNC == 0 {
			fuseFlags |= fuse.FOPEN_KEEP_CACHE
		}
		return nil
	}))
	return fh, fuseFlags, e
}

// open returns a handle and flags for an open regular file, of which it takes ownership.
func (n *node) open(fd int, st *unix.Statx_t) (*file, uint32, error) {
	flags := n.unflushed(fd, st)
	f, err := n.hold(fd)
	if err != nil {
		return nil, 0, err
	}
	f.unflushed = flags != 0
	return f, flags, nil
}

// toOpen returns the descriptor of the file to open: the one that has the inode's name or, if the
// host has moved that and the guest insists, one that the guest has open.
func (n *node) toOpen() (*descriptor, error) {
	d, err := n.openByName(0)
	if err == unix.ESTALE && n.moved.Swap(true) {
		if open := n.openFile(); open != nil {
			return open, nil
		}
	}
	return d, err
}

// Create creates and opens a file. It opens a file that already exists on the host without
// the guest's knowledge.
func (n *node) Create(ctx context.Context, name string, flags, mode uint32, out *fuse.EntryOut) (child *fs.Inode, fh fs.FileHandle, fuseFlags uint32, e syscall.Errno) {
	if err := n.tree.census.admit(); err != nil {
		return nil, nil, 0, errno(err)
	}
	e = n.in(func(dir int) error {
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
		child, fh, fuseFlags, err = n.adopt(ctx, fd, name, out)
		return err
	})
	return child, fh, fuseFlags, e
}

// openChild opens a regular file that is new to the guest. Whatever else has the name, such as a
// directory or a link, the guest's kernel must look up first.
func (n *node) openChild(dir int, name string, flags uint32) (int, error) {
	path, err := beneath(dir, name, unix.O_PATH)
	if err != nil {
		return -1, asStale(err)
	}
	defer func() { _ = unix.Close(path) }()
	fd, _, err := n.tree.openRegular(path, flags)
	if err == errNotRegular {
		err = unix.ESTALE
	}
	return fd, err
}

// adopt returns inode, handle and flags for fd, the file name in n that is new to the guest.
func (n *node) adopt(ctx context.Context, fd int, name string, out *fuse.EntryOut) (*fs.Inode, fs.FileHandle, uint32, error) {
	st, err := stat(fd, "")
	if err != nil {
		return nil, nil, 0, errors.Join(err, closeFD(fd))
	}
	child := n.child(ctx, name, st, out)
	owner := child.Operations().(*node)
	f, flags, err := owner.open(fd, st)
	if err != nil {
		return nil, nil, 0, err
	}
	owner.opened(f, st)
	return child, f, flags, nil
}

// Tmpfile creates a file without a name.
func (n *node) Tmpfile(ctx context.Context, flags, mode uint32, out *fuse.EntryOut) (child *fs.Inode, fh fs.FileHandle, fuseFlags uint32, e syscall.Errno) {
	if err := n.tree.census.admit(); err != nil {
		return nil, nil, 0, errno(err)
	}
	e = n.in(func(dir int) error {
		fd, err := unix.Openat(dir, ".", hostFlags(flags)|unix.O_TMPFILE, mode&0o7777&^privileges)
		if err == nil {
			err = n.tree.give(ctx, dir, fd, "")
		}
		if err != nil {
			return errors.Join(err, closeFD(fd))
		}
		child, fh, fuseFlags, err = n.adopt(ctx, fd, "", out)
		return err
	})
	return child, fh, fuseFlags, e
}
