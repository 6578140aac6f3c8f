//go:build linux

package hostfs

import (
	"context"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

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
	holds []hold           // the ranges that these have locked; guarded by tree.locks
	seen  stamp            // the state of the file in the guest's page cache
	told  belief           // the attributes in the guest's cache

	locked   bool          // a program of the guest has locked a part of it
	until    time.Time     // when the guest's time to believe the attributes ends,
	validity time.Duration // and how long that was
	settled  time.Time     // when the first lock may be granted
	stirred  uint32

	disagreed bool        // the last open found other attributes than told
	moved     atomic.Bool // the host has moved the file, and the guest got ESTALE for that
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

// with calls op with a descriptor of the inode, which may be opened with O_PATH only.
func (n *node) with(op func(fd int) error) syscall.Errno {
	return errno(n.use(func() (*descriptor, error) { return n.descriptor() }, op))
}

// in calls op with a descriptor of the directory n, for an operation on a name in it.
func (n *node) in(op func(dir int) error) syscall.Errno {
	return errno(n.use(func() (*descriptor, error) { return n.folder(byName) }, op))
}

func (n *node) use(find func() (*descriptor, error), op func(fd int) error) error {
	n.tree.moving.RLock()
	d, err := find()
	n.tree.moving.RUnlock()
	if err != nil {
		return err
	}
	defer d.release()
	return op(d.fd)
}

// descriptor returns one of the inode: of the directory, of the open file, or of the file that
// has the inode's name. The caller must release it.
func (n *node) descriptor() (*descriptor, error) {
	if n.IsDir() {
		return n.folder(byHandle)
	}
	if d := n.openFile(); d != nil {
		return d, nil
	}
	return n.openByName(0)
}

// openFile returns the descriptor of a file that the guest has open, acquired, or nil.
func (n *node) openFile() *descriptor {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, f := range n.files {
		if f.d.acquire() {
			return f.d
		}
	}
	return nil
}

// child returns the inode for st, the file name in n.
func (n *node) child(ctx context.Context, name string, st *unix.Statx_t, out *fuse.EntryOut) *fs.Inode {
	fillAttr(&out.Attr, st)
	id := n.tree.identity(st)
	out.SetEntryTimeout(entryTimeout(id.Mode, false))
	if known := n.known(name, id); known != nil {
		known := known.Operations().(*node)
		known.tell(st)
		known.stir(&out.Attr)
		out.SetAttrTimeout(known.attrTimeout(id.Mode, false))
		return known.EmbeddedInode()
	}
	child := &node{tree: n.tree}
	same := child
	if locked, ok := n.tree.locks.files.Load(id); ok { // by another name
		same = locked.(*node)
	}
	same.tell(st)
	same.stir(&out.Attr)
	out.SetAttrTimeout(same.attrTimeout(id.Mode, false))
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
	e = n.in(func(fd int) (err error) {
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
			n.tell(st)
			fillAttr(&out.Attr, st)
			n.stir(&out.Attr)
			out.SetTimeout(n.attrTimeout(n.Mode(), false))
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
			if err := n.setMode(fd, mode); err != nil {
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
		n.tell(st)
		fillAttr(&out.Attr, st)
		out.Ino = n.StableAttr().Ino
		out.SetTimeout(n.attrTimeout(n.Mode(), false))
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
