//go:build linux

package hostfs

import (
	"context"
	"sync"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

var (
	_ fs.NodeOpendirHandler = (*node)(nil)
	_ fs.FileReaddirenter   = (*dir)(nil)
	_ fs.FileSeekdirer      = (*dir)(nil)
	_ fs.FileLookuper       = (*dir)(nil)
	_ fs.FileFsyncdirer     = (*dir)(nil)
	_ fs.FileReleasedirer   = (*dir)(nil)
)

const (
	// dirBuffer is how much of a directory is read at once, in bytes.
	dirBuffer = 8 << 10
	// batch is how many entries are returned at once. go-fuse keeps them until the directory is
	// read again or closed.
	batch = 256
)

// dir is an open directory of the guest.
type dir struct {
	*file
	mu   sync.Mutex
	buf  []byte
	todo []byte // the part of buf that was not returned yet
	sent int    // entries since the last pause
}

// OpendirHandle opens the directory.
func (n *node) OpendirHandle(context.Context, uint32) (fh fs.FileHandle, flags uint32, e syscall.Errno) {
	if n.tree.dirs.Add(1) > maxDirs {
		n.tree.dirs.Add(-1)
		return nil, 0, syscall.ENFILE
	}
	var f *file
	e = n.in(func(dir int) error {
		fd, err := beneath(dir, ".", unix.O_RDONLY|unix.O_DIRECTORY)
		if err == nil {
			f, err = n.hold(fd)
		}
		return err
	})
	if e != 0 {
		n.tree.dirs.Add(-1)
		return nil, 0, e
	}
	return &dir{file: f}, 0, 0
}

// Readdirent returns the next entry, or nil at the end. It also returns nil once after each
// batch. This is never the first entry of an answer, which would end the listing: go-fuse asks
// until its answer is full or it gets nil.
func (d *dir) Readdirent(context.Context) (*fuse.DirEntry, syscall.Errno) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.sent == batch {
		d.sent = 0
		return nil, 0
	}
	if len(d.todo) == 0 {
		if d.buf == nil {
			d.buf = make([]byte, dirBuffer)
		}
		e := d.with(func(fd int) error {
			n, err := unix.Getdents(fd, d.buf)
			d.todo = d.buf[:max(n, 0)]
			return err
		})
		if e != 0 || len(d.todo) == 0 {
			return nil, e
		}
	}
	var entry fuse.DirEntry
	n := entry.Parse(d.todo)
	d.todo = d.todo[n:]
	d.sent++
	return &entry, 0
}

// Seekdir continues at the offset of an earlier entry.
func (d *dir) Seekdir(_ context.Context, off uint64) syscall.Errno {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.todo, d.sent = nil, 0
	return d.with(func(fd int) error {
		_, err := unix.Seek(fd, int64(off), unix.SEEK_SET)
		return err
	})
}

// Lookup saves a listing with attributes from resolving the directory for each entry.
func (d *dir) Lookup(ctx context.Context, name string, out *fuse.EntryOut) (child *fs.Inode, e syscall.Errno) {
	e = d.with(func(fd int) (err error) {
		child, err = d.node.find(ctx, fd, name, out)
		if err == nil {
			mode := out.Attr.Mode & unix.S_IFMT
			out.SetEntryTimeout(entryTimeout(mode, true))
			if out.AttrTimeout() > 0 { // not locked
				out.SetAttrTimeout(child.Operations().(*node).attrTimeout(mode, true))
			}
		}
		return err
	})
	return child, e
}

// Fsyncdir syncs the directory to the host's disk.
func (d *dir) Fsyncdir(context.Context, uint32) syscall.Errno {
	return d.with(unix.Fsync)
}

// Releasedir closes the directory.
func (d *dir) Releasedir(context.Context, uint32) {
	d.node.tree.dirs.Add(-1)
	d.close()
}
