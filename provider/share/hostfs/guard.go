//go:build linux

package hostfs

import (
	"math"
	"strings"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

// guard wraps go-fuse's inode logic. It refuses requests that an honest kernel does not
// send, and handles parts of a request that go-fuse ignores.
type guard struct {
	fuse.RawFileSystem
	tree *tree
}

// checkName refuses names that are paths.
func checkName(name string) fuse.Status {
	switch {
	case name == "" || name == "." || name == ".." || strings.ContainsAny(name, "/\x00"):
		return fuse.EINVAL
	case len(name) > unix.NAME_MAX:
		return fuse.Status(syscall.ENAMETOOLONG)
	}
	return fuse.OK
}

// Lookup checks the name.
func (g *guard) Lookup(cancel <-chan struct{}, h *fuse.InHeader, name string, out *fuse.EntryOut) fuse.Status {
	if s := checkName(name); !s.Ok() {
		return s
	}
	return g.RawFileSystem.Lookup(cancel, h, name, out)
}

// Mknod checks the name.
func (g *guard) Mknod(cancel <-chan struct{}, in *fuse.MknodIn, name string, out *fuse.EntryOut) fuse.Status {
	if s := checkName(name); !s.Ok() {
		return s
	}
	return g.RawFileSystem.Mknod(cancel, in, name, out)
}

// Mkdir checks the name.
func (g *guard) Mkdir(cancel <-chan struct{}, in *fuse.MkdirIn, name string, out *fuse.EntryOut) fuse.Status {
	if s := checkName(name); !s.Ok() {
		return s
	}
	return g.RawFileSystem.Mkdir(cancel, in, name, out)
}

// Unlink checks the name.
func (g *guard) Unlink(cancel <-chan struct{}, h *fuse.InHeader, name string) fuse.Status {
	if s := checkName(name); !s.Ok() {
		return s
	}
	return g.RawFileSystem.Unlink(cancel, h, name)
}

// Rmdir checks the name.
func (g *guard) Rmdir(cancel <-chan struct{}, h *fuse.InHeader, name string) fuse.Status {
	if s := checkName(name); !s.Ok() {
		return s
	}
	return g.RawFileSystem.Rmdir(cancel, h, name)
}

// Link checks the name.
func (g *guard) Link(cancel <-chan struct{}, in *fuse.LinkIn, name string, out *fuse.EntryOut) fuse.Status {
	if s := checkName(name); !s.Ok() {
		return s
	}
	return g.RawFileSystem.Link(cancel, in, name, out)
}

// Symlink checks the name, not the target.
func (g *guard) Symlink(cancel <-chan struct{}, h *fuse.InHeader, target, name string, out *fuse.EntryOut) fuse.Status {
	if s := checkName(name); !s.Ok() {
		return s
	}
	return g.RawFileSystem.Symlink(cancel, h, target, name, out)
}

// Rename checks the names. It holds tree.moving, so that no other request sees the rename
// on the host but not yet in the inode tree.
func (g *guard) Rename(cancel <-chan struct{}, in *fuse.RenameIn, oldName, newName string) fuse.Status {
	for _, name := range []string{oldName, newName} {
		if s := checkName(name); !s.Ok() {
			return s
		}
	}
	g.tree.moving.Lock()
	defer g.tree.moving.Unlock()
	return g.RawFileSystem.Rename(cancel, in, oldName, newName)
}

// Create checks the name.
func (g *guard) Create(cancel <-chan struct{}, in *fuse.CreateIn, name string, out *fuse.CreateOut) fuse.Status {
	if s := checkName(name); !s.Ok() {
		return s
	}
	return g.RawFileSystem.Create(cancel, in, name, out)
}

// Write calls Writev. go-fuse calls it only if there is no Writev.
func (g *guard) Write(cancel <-chan struct{}, in *fuse.WriteIn, data []byte) (uint32, fuse.Status) {
	return g.Writev(cancel, in, [][]byte{data})
}

// Writev appends at the file's current end if the guest's program opened it with O_APPEND:
// the file may have grown on the host. Writes from the guest's page cache keep their offset.
func (g *guard) Writev(cancel <-chan struct{}, in *fuse.WriteIn, data [][]byte) (uint32, fuse.Status) {
	if in.Offset > math.MaxInt64 {
		return 0, fuse.EINVAL
	}
	if in.Flags&unix.O_APPEND != 0 && in.WriteFlags&fuse.WRITE_CACHE == 0 {
		in.Offset = math.MaxUint64 // atEnd
	}
	return g.RawFileSystem.Writev(cancel, in, data)
}

// maxForget is how many lookups one request may undo. A file that the guest looked up more
// often stays known.
const maxForget = 1024

// Forget undoes lookups one at a time: if the guest undoes more than it made, go-fuse panics
// with the inode locked, but knows no inode after the last. An honest kernel never forgets the
// root.
func (g *guard) Forget(node, lookups uint64) {
	if node == fuse.FUSE_ROOT_ID {
		return
	}
	for range min(lookups, maxForget) {
		g.RawFileSystem.Forget(node, 1)
	}
}

// Flush also releases the owner's POSIX locks on the file, as close(2) of any of its
// descriptors does.
func (g *guard) Flush(cancel <-chan struct{}, in *fuse.FlushIn) fuse.Status {
	s := g.RawFileSystem.Flush(cancel, in)
	unlock := fuse.LkIn{InHeader: in.InHeader, Fh: in.Fh, Owner: in.LockOwner}
	unlock.Lk = fuse.FileLock{End: math.MaxInt64, Typ: unix.F_UNLCK}
	g.RawFileSystem.SetLk(cancel, &unlock)
	return s
}

// GetXAttr also answers the guest's agent.
func (g *guard) GetXAttr(cancel <-chan struct{}, h *fuse.InHeader, attr string, dest []byte) (uint32, fuse.Status) {
	if h.NodeId == fuse.FUSE_ROOT_ID {
		if size, status, handled := g.tree.locks.attribute(attr, dest); handled {
			return size, status
		}
	}
	return g.RawFileSystem.GetXAttr(cancel, h, attr, dest)
}

// Ioctl refuses every ioctl: go-fuse would pass pointers from the guest to the host's
// kernel.
func (g *guard) Ioctl(<-chan struct{}, *fuse.IoctlIn, []byte, *fuse.IoctlOut, []byte) fuse.Status {
	return fuse.Status(syscall.ENOTTY)
}
