//go:build linux

package hostfs

import (
	"context"
	"slices"
	"sync/atomic"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

var (
	_ fs.NodeCopyFileRanger = (*node)(nil)
	_ fs.FileReader         = (*file)(nil)
	_ fs.FileWriter         = (*file)(nil)
	_ fs.FileWritever       = (*file)(nil)
	_ fs.FileAllocater      = (*file)(nil)
	_ fs.FileLseeker        = (*file)(nil)
	_ fs.FileFsyncer        = (*file)(nil)
	_ fs.FileFlusher        = (*file)(nil)
	_ fs.FileReleaser       = (*file)(nil)
)

// file is a file or directory that the guest has open.
type file struct {
	node   *node
	d      *descriptor
	closed atomic.Bool

	unflushed bool     // the guest sends no FLUSH for it
	owners    []uint64 // who has locked parts of an unflushed file with it; guarded by the node
}

// hold returns a file for an open descriptor of n and registers it for [FS.Close].
func (n *node) hold(fd int) (*file, error) {
	f := &file{node: n, d: newDescriptor(fd)}
	n.tree.mu.Lock()
	defer n.tree.mu.Unlock()
	err := unix.EBADF
	switch {
	case n.tree.open == nil:
	case len(n.tree.open) >= maxOpen:
		err = unix.ENFILE
	default:
		n.tree.open[f] = struct{}{}
		return f, nil
	}
	f.d.release()
	return nil, err
}

func (f *file) with(op func(fd int) error) syscall.Errno {
	if !f.d.acquire() {
		return syscall.EBADF
	}
	defer f.d.release()
	return errno(op(f.d.fd))
}

func closeFD(fd int) error {
	if fd < 0 {
		return nil
	}
	return unix.Close(fd)
}

// close closes the descriptor after the operations that use it.
func (f *file) close() {
	if f.closed.Swap(true) {
		return
	}
	f.node.tree.mu.Lock()
	delete(f.node.tree.open, f)
	f.node.tree.mu.Unlock()
	f.d.release()
}

// CopyFileRange copies on the host.
func (n *node) CopyFileRange(_ context.Context, fhIn fs.FileHandle, offIn uint64, _ *fs.Inode, fhOut fs.FileHandle, offOut, size, flags uint64) (uint32, syscall.Errno) {
	in, ok := fhIn.(*file)
	out, ok2 := fhOut.(*file)
	if !ok || !ok2 {
		return 0, syscall.EBADF
	}
	var done int
	e := in.with(func(from int) error {
		return out.change(func(to int) (err error) {
			offsetIn, offsetOut := int64(offIn), int64(offOut)
			done, err = unix.CopyFileRange(from, &offsetIn, to, &offsetOut, int(min(size, 1<<30)), int(flags))
			return err
		})
	})
	return uint32(max(done, 0)), e
}

// change calls op, which changes the content of the file.
func (f *file) change(op func(fd int) error) error {
	if e := f.with(func(fd int) error {
		if err := f.node.tree.dropPrivileges(fd); err != nil {
			return err
		}
		defer f.node.untell()
		return op(fd)
	}); e != 0 {
		return e
	}
	return nil
}

// Read returns a result that go-fuse reads directly into guest memory.
func (f *file) Read(_ context.Context, dest []byte, off int64) (fuse.ReadResult, syscall.Errno) {
	return &fileRange{file: f, off: off, size: len(dest)}, 0
}

// fileRange is a pending read. go-fuse calls Readv with the guest's buffers.
type fileRange struct {
	file *file
	off  int64
	size int
}

// Readv reads into the buffers, which are no longer than the range.
func (r *fileRange) Readv(dst [][]byte) (n int, status fuse.Status) {
	e := r.file.with(func(fd int) (err error) {
		n, err = unix.Preadv(fd, dst, r.off)
		n = max(n, 0)
		return err
	})
	return n, fuse.Status(e)
}

// Bytes reads into one buffer.
func (r *fileRange) Bytes(buf []byte) ([]byte, fuse.Status) {
	n, status := r.Readv([][]byte{buf[:min(len(buf), r.size)]})
	return buf[:n], status
}

// Size returns the requested size.
func (r *fileRange) Size() int { return r.size }

// Done does nothing.
func (r *fileRange) Done() {}

// atEnd, as an offset, makes a write an append.
const atEnd = -1

// Write is Writev for one buffer.
func (f *file) Write(ctx context.Context, data []byte, off int64) (uint32, syscall.Errno) {
	return f.Writev(ctx, [][]byte{data}, off)
}

// Writev writes the buffers at off, or at the current end of the file if off is atEnd.
func (f *file) Writev(_ context.Context, data [][]byte, off int64) (written uint32, e syscall.Errno) {
	flags := 0
	if off == atEnd {
		off, flags = 0, unix.RWF_APPEND
	}
	err := f.change(func(fd int) error {
		n, err := unix.Pwritev2(fd, data, off, flags)
		written = uint32(max(n, 0))
		return err
	})
	return written, errno(err)
}

// Allocate calls fallocate(2).
func (f *file) Allocate(_ context.Context, off, size uint64, mode uint32) syscall.Errno {
	return errno(f.change(func(fd int) error { return unix.Fallocate(fd, mode, int64(off), int64(size)) }))
}

// Lseek finds data and holes. The guest implements the rest of lseek(2) itself.
func (f *file) Lseek(_ context.Context, off uint64, whence uint32) (at uint64, e syscall.Errno) {
	if whence != unix.SEEK_DATA && whence != unix.SEEK_HOLE {
		return 0, syscall.EINVAL
	}
	e = f.with(func(fd int) error {
		n, err := unix.Seek(fd, int64(off), int(whence))
		at = uint64(max(n, 0))
		return err
	})
	return at, e
}

// Fsync syncs the file to the host's disk.
func (f *file) Fsync(_ context.Context, flags uint32) syscall.Errno {
	const dataOnly = 1 // FUSE_FSYNC_FDATASYNC
	return f.with(func(fd int) error {
		if flags&dataOnly != 0 {
			return unix.Fdatasync(fd)
		}
		return unix.Fsync(fd)
	})
}

// Release closes the file. With the inode's last file it also closes the locks.
func (f *file) Release(context.Context) syscall.Errno {
	n := f.node
	n.mu.Lock()
	n.files = slices.DeleteFunc(n.files, func(o *file) bool { return o == f })
	owners, locks := f.owners, n.locks
	if len(n.files) == 0 {
		n.locks = nil
	} else {
		locks = nil
	}
	n.mu.Unlock()
	if len(locks) > 0 {
		n.tree.locks.drop(n)
	}
	for _, l := range locks {
		l.close()
	}
	for _, owner := range owners {
		n.forgetOwner(owner)
	}
	f.close()
	return 0
}
