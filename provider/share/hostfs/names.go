//go:build linux

package hostfs

import (
	"context"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

var (
	_ fs.NodeMknoder   = (*node)(nil)
	_ fs.NodeMkdirer   = (*node)(nil)
	_ fs.NodeSymlinker = (*node)(nil)
	_ fs.NodeLinker    = (*node)(nil)
	_ fs.NodeUnlinker  = (*node)(nil)
	_ fs.NodeRmdirer   = (*node)(nil)
	_ fs.NodeRenamer   = (*node)(nil)
)

// make calls op with the directory's descriptor to create name, gives the new file to the
// guest's user if the server may, and returns its inode.
func (n *node) make(ctx context.Context, name string, out *fuse.EntryOut, op func(dir int) error) (child *fs.Inode, e syscall.Errno) {
	if err := n.tree.census.admit(); err != nil {
		return nil, errno(err)
	}
	e = n.in(func(dir int) error {
		if err := op(dir); err != nil {
			return err
		}
		if err := n.tree.give(ctx, dir, dir, name); err != nil {
			return err
		}
		st, err := stat(dir, name)
		if err == nil {
			child = n.child(ctx, name, st, out)
		}
		return err
	})
	return child, e
}

// give changes the owner of the new file name in fd (fd itself if name is empty) to the
// guest's user. In a directory with the set-group-ID bit, the group stays the directory's.
func (t *tree) give(ctx context.Context, dir, fd int, name string) error {
	if !t.asRoot {
		return nil
	}
	caller, ok := fuse.FromContext(ctx)
	if !ok {
		return nil
	}
	st, err := stat(dir, "")
	if err != nil {
		return err
	}
	gid := int(caller.Gid)
	if st.Mode&unix.S_ISGID != 0 {
		gid = -1
	}
	flags := unix.AT_SYMLINK_NOFOLLOW
	if name == "" {
		flags = unix.AT_EMPTY_PATH
	}
	return unix.Fchownat(fd, name, int(caller.Uid), gid, flags)
}

// Mknod creates files, fifos and sockets. It refuses devices, because the guest would
// choose who may use them on the host, except for an overlay's whiteout (0:0), which any
// user may create.
func (n *node) Mknod(ctx context.Context, name string, mode, rdev uint32, out *fuse.EntryOut) (*fs.Inode, syscall.Errno) {
	switch mode & unix.S_IFMT {
	case unix.S_IFREG, unix.S_IFIFO, unix.S_IFSOCK:
	case unix.S_IFCHR:
		if rdev != 0 {
			return nil, syscall.EPERM
		}
	default:
		return nil, syscall.EPERM
	}
	mode &^= privileges
	return n.make(ctx, name, out, func(dir int) error { return unix.Mknodat(dir, name, mode, int(rdev)) })
}

// Mkdir creates a directory.
func (n *node) Mkdir(ctx context.Context, name string, mode uint32, out *fuse.EntryOut) (*fs.Inode, syscall.Errno) {
	return n.make(ctx, name, out, func(dir int) error { return unix.Mkdirat(dir, name, mode&0o7777) })
}

// Symlink creates a symbolic link with any target.
func (n *node) Symlink(ctx context.Context, target, name string, out *fuse.EntryOut) (*fs.Inode, syscall.Errno) {
	return n.make(ctx, name, out, func(dir int) error { return unix.Symlinkat(target, dir, name) })
}

// Link creates a hard link. For a file created with O_TMPFILE it is the first name.
func (n *node) Link(ctx context.Context, target fs.InodeEmbedder, name string, out *fuse.EntryOut) (child *fs.Inode, e syscall.Errno) {
	old, ok := target.(*node)
	if !ok {
		return nil, syscall.EXDEV
	}
	if err := n.tree.census.admit(); err != nil {
		return nil, errno(err)
	}
	e = n.in(func(dir int) error {
		linked := old.with(func(fd int) error {
			return unix.Linkat(unix.AT_FDCWD, procPath(fd), dir, name, unix.AT_SYMLINK_FOLLOW)
		})
		if linked != 0 {
			return linked
		}
		st, err := stat(dir, name)
		if err == nil {
			child = n.child(ctx, name, st, out)
		}
		return err
	})
	return child, e
}

// Unlink removes a name.
func (n *node) Unlink(_ context.Context, name string) syscall.Errno {
	return n.in(func(dir int) error { return unix.Unlinkat(dir, name, 0) })
}

// Rmdir removes an empty directory.
func (n *node) Rmdir(_ context.Context, name string) syscall.Errno {
	return n.in(func(dir int) error { return unix.Unlinkat(dir, name, unix.AT_REMOVEDIR) })
}

// Rename is called with tree.moving held.
func (n *node) Rename(_ context.Context, name string, newParent fs.InodeEmbedder, newName string, flags uint32) syscall.Errno {
	to, ok := newParent.(*node)
	if !ok {
		return syscall.EXDEV
	}
	oldDir, err := n.folder(byName)
	if err != nil {
		return errno(err)
	}
	defer oldDir.release()
	newDir, err := to.folder(byName)
	if err != nil {
		return errno(err)
	}
	defer newDir.release()
	return errno(unix.Renameat2(oldDir.fd, name, newDir.fd, newName, uint(flags)))
}
