//go:build linux

package hostfs

import (
	"context"
	"slices"
	"sync"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

// node is an inode that the guest has cached. The embedded Inode holds its path.
type node struct {
	fs.Inode
	tree *tree

	mu    sync.Mutex
	files []*file          // open files of this inode
	locks map[uint64]*file // POSIX locks: one open file per owner
	seen  stamp            // the state of the file in the guest's page cache
}

var (
	_ fs.NodeLookuper      = (*node)(nil)
	_ fs.NodeGetattrer     = (*node)(nil)
	_ fs.NodeSetattrer     = (*node)(nil)
	_ fs.NodeReadlinker    = (*node)(nil)
	_ fs.NodeStatfser      = (*node)(nil)
	_ fs.NodeGetxattrer    = (*node)(nil)
	_ fs.NodeSetxattrer    = (*node)(nil)
	_ fs.NodeRemovexattrer = (*node)(nil)
	_ fs.NodeListxattrer   = (*node)(nil)
)

// resolve opens the inode with O_PATH.
func (n *node) resolve() (int, error) {
	n.tree.moving.RLock()
	defer n.tree.moving.RUnlock()
	return n.resolveLocked(unix.O_PATH)
}

// resolveLocked is for callers that hold tree.moving.
func (n *node) resolveLocked(flags uint64) (int, error) {
	path := n.Path(n.Root())
	if path == "" {
		path = "."
	}
	return beneath(n.tree.root, path, flags)
}

// with calls op with a descriptor of the inode: one opened with O_PATH or, if the inode no
// longer has a name, one that the guest has open.
func (n *node) with(op func(fd int) error) syscall.Errno {
	fd, err := n.resolve()
	if err == nil {
		defer func() { _ = unix.Close(fd) }()
		return errno(op(fd))
	}
	n.mu.Lock()
	files := slices.Clone(n.files)
	n.mu.Unlock()
	if err != unix.ENOENT || len(files) == 0 {
		return errno(err)
	}
	return files[0].with(op)
}

// child returns the inode for st, the file name in n.
func (n *node) child(ctx context.Context, name string, st *unix.Statx_t, out *fuse.EntryOut) *fs.Inode {
	fillAttr(&out.Attr, st)
	id := n.tree.identity(st)
	if known := n.known(name, id); known != nil {
		return known
	}
	child := &node{tree: n.tree}
	n.tree.census.add(child)
	return n.NewInode(ctx, child, id)
}

// known returns the inode that the guest knows as name in n, or nil.
func (n *node) known(name string, id fs.StableAttr) *fs.Inode {
	if child := n.GetChild(name); child != nil && child.StableAttr() == id {
		return child
	}
	return nil
}

// find returns the inode of name in the directory fd, which is n's.
func (n *node) find(ctx context.Context, fd int, name string, out *fuse.EntryOut) (*fs.Inode, error) {
	st, err := stat(fd, name)
	if err != nil {
		return nil, err
	}
	if n.known(name, n.tree.identity(st)) == nil {
		if err := n.tree.census.admit(); err != nil {
			return nil, err
		}
	}
	return n.child(ctx, name, st, out), nil
}

// Lookup finds name in the directory.
func (n *node) Lookup(ctx context.Context, name string, out *fuse.EntryOut) (child *fs.Inode, e syscall.Errno) {
	e = n.with(func(fd int) (err error) {
		child, err = n.find(ctx, fd, name, out)
		return err
	})
	return child, e
}

// held returns the open file or directory of a handle, or nil.
func held(fh fs.FileHandle) *file {
	switch h := fh.(type) {
	case *file:
		return h
	case *dir:
		return h.file
	}
	return nil
}

// Getattr reads the attributes, through the open file if there is one.
func (n *node) Getattr(_ context.Context, fh fs.FileHandle, out *fuse.AttrOut) syscall.Errno {
	read := func(fd int) error {
		st, err := stat(fd, "")
		if err == nil {
			fillAttr(&out.Attr, st)
		}
		return err
	}
	if f := held(fh); f != nil {
		return f.with(read)
	}
	return n.with(read)
}

// Setattr changes size, owner, mode and times, in this order: a change of the owner clears
// the set-user-ID bits, and a change of the size sets the times.
func (n *node) Setattr(_ context.Context, fh fs.FileHandle, in *fuse.SetAttrIn, out *fuse.AttrOut) syscall.Errno {
	change := func(fd int, size func() error) error {
		if _, ok := in.GetSize(); ok {
			if err := n.tree.dropPrivileges(fd); err != nil {
				return err
			}
			if err := size(); err != nil {
				return err
			}
		}
		if err := setOwner(fd, in); err != nil {
			return err
		}
		if mode, ok := in.GetMode(); ok {
			if err := setMode(fd, mode); err != nil {
				return err
			}
		}
		if err := setTimes(fd, in); err != nil {
			return err
		}
		st, err := stat(fd, "")
		if err != nil {
			return err
		}
		fillAttr(&out.Attr, st)
		out.Ino = n.StableAttr().Ino
		out.SetTimeout(Timeout)
		return nil
	}
	if f, ok := fh.(*file); ok {
		return f.with(func(fd int) error {
			return change(fd, func() error { return unix.Ftruncate(fd, int64(in.Size)) })
		})
	}
	return n.with(func(fd int) error {
		return change(fd, func() error { return unix.Truncate(procPath(fd), int64(in.Size)) })
	})
}

func setOwner(fd int, in *fuse.SetAttrIn) error {
	uid, setUID := in.GetUID()
	gid, setGID := in.GetGID()
	if !setUID && !setGID {
		return nil
	}
	// An id that is not set is -1, which leaves it unchanged.
	return unix.Fchownat(fd, "", int(int32(uid)), int(int32(gid)), unix.AT_EMPTY_PATH)
}

func setTimes(fd int, in *fuse.SetAttrIn) error {
	times := []unix.Timespec{{Nsec: unix.UTIME_OMIT}, {Nsec: unix.UTIME_OMIT}}
	switch {
	case in.Valid&fuse.FATTR_ATIME_NOW != 0:
		times[0].Nsec = unix.UTIME_NOW
	case in.Valid&fuse.FATTR_ATIME != 0:
		times[0] = unix.Timespec{Sec: int64(in.Atime), Nsec: int64(in.Atimensec)}
	}
	switch {
	case in.Valid&fuse.FATTR_MTIME_NOW != 0:
		times[1].Nsec = unix.UTIME_NOW
	case in.Valid&fuse.FATTR_MTIME != 0:
		times[1] = unix.Timespec{Sec: int64(in.Mtime), Nsec: int64(in.Mtimensec)}
	}
	if times[0].Nsec == unix.UTIME_OMIT && times[1].Nsec == unix.UTIME_OMIT {
		return nil
	}
	return unix.UtimesNanoAt(unix.AT_FDCWD, procPath(fd), times, 0)
}

// Readlink reads a symbolic link. Only the guest follows it.
func (n *node) Readlink(context.Context) (target []byte, e syscall.Errno) {
	e = n.with(func(fd int) error {
		buf := make([]byte, unix.PathMax)
		size, err := unix.Readlinkat(fd, "", buf)
		target = buf[:max(size, 0)]
		return err
	})
	return target, e
}

// Statfs describes the host's file system.
func (n *node) Statfs(_ context.Context, out *fuse.StatfsOut) syscall.Errno {
	return n.with(func(fd int) error {
		var st syscall.Statfs_t
		err := syscall.Fstatfs(fd, &st)
		out.FromStatfsT(&st)
		return err
	})
}
