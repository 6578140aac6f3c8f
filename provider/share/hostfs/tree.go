//go:build linux

package hostfs

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

// Timeout is the longest time for which a guest believes names and attributes. See belief.go for
// which ones.
const Timeout = time.Second

// FS is one mount of a host's directory in a guest. Its methods are the FUSE operations.
// They are safe for concurrent use.
type FS struct {
	fuse.RawFileSystem
	tree *tree
}

// tree is the state that the nodes of one mount share.
type tree struct {
	root   *descriptor // the directory
	dev    uint64
	asRoot bool

	folders *folders
	onClose sync.Map // device to bool: whether a close there may report an error

	// moving is held by a rename until both the host and the inode tree are changed, and
	// read-locked while an inode is resolved to a path.
	moving sync.RWMutex

	mu   sync.Mutex
	open map[*file]struct{} // everything that the guest has open

	locks *locks

	dirs   atomic.Int32 // open directories
	census census
}

// Options describe a file system.
type Options struct {
	ReadOnly bool         // refuse every change with EROFS
	MaxNodes int          // how many files and directories the guest may know; default: MaxNodes
	Log      *slog.Logger // default: discard
}

// New returns a file system for dir.
func New(dir string, o Options) (*FS, error) {
	root, err := unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: dir, Err: err}
	}
	st, err := stat(root, "")
	if err != nil {
		_ = unix.Close(root)
		return nil, &os.PathError{Op: "stat", Path: dir, Err: err}
	}
	if err := probeOpenat2(root); err != nil {
		_ = unix.Close(root)
		return nil, err
	}
	folders, err := newFolders()
	if err != nil {
		_ = unix.Close(root)
		return nil, err
	}
	log := cmp.Or(o.Log, slog.New(slog.DiscardHandler))
	t := &tree{
		root: newDescriptor(root), dev: devOf(st), folders: folders, asRoot: os.Geteuid() == 0,
		open: map[*file]struct{}{}, locks: newLocks(log),
		census: census{max: int64(cmp.Or(o.MaxNodes, MaxNodes)), log: log},
	}
	id := t.identity(st)
	raw := fs.NewNodeFS(&node{tree: t}, &fs.Options{
		NullPermissions: true,
		RootStableAttr:  &id,
	})
	raw = &guard{RawFileSystem: raw, tree: t}
	if o.ReadOnly {
		raw = &readOnlyFS{raw}
	}
	return &FS{RawFileSystem: raw, tree: t}, nil
}

func probeOpenat2(root int) error {
	fd, err := beneath(root, ".", unix.O_PATH)
	if err != nil {
		return fmt.Errorf("sharing a directory needs the system call openat2 (Linux 5.6 or newer, not blocked by a sandbox): %w", err)
	}
	return unix.Close(fd)
}

// Interrupt makes the requests that wait for a lock fail with EINTR.
func (f *FS) Interrupt() { f.tree.locks.interruptAll() }

// Close closes everything that the guest has open, including locks. Operations that still
// run fail with EBADF.
func (f *FS) Close() error {
	f.Interrupt()
	f.tree.mu.Lock()
	open := f.tree.open
	f.tree.open = nil
	f.tree.mu.Unlock()
	for h := range open {
		h.close()
	}
	f.tree.folders.close()
	f.tree.root.release()
	return nil
}

// beneath opens path inside root. It does not follow symbolic links, neither within the path
// nor at its end.
func beneath(root int, path string, flags uint64) (int, error) {
	for {
		fd, err := unix.Openat2(root, path, &unix.OpenHow{
			Flags:   flags | unix.O_NOFOLLOW | unix.O_CLOEXEC,
			Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_MAGICLINKS,
		})
		// EAGAIN: a concurrent rename kept the kernel from resolving the path safely.
		if err != unix.EINTR && err != unix.EAGAIN {
			return fd, err
		}
	}
}

// procPath returns a path of an open descriptor, for calls that do not accept a descriptor
// opened with O_PATH. It resolves to the descriptor's file, even if that is a symbolic link.
func procPath(fd int) string { return fmt.Sprintf("/proc/self/fd/%d", fd) }

func stat(fd int, name string) (*unix.Statx_t, error) {
	var st unix.Statx_t
	flags := unix.AT_SYMLINK_NOFOLLOW | unix.AT_NO_AUTOMOUNT
	if name == "" {
		flags |= unix.AT_EMPTY_PATH
	}
	err := unix.Statx(fd, name, flags, unix.STATX_BASIC_STATS|unix.STATX_BTIME, &st)
	return &st, err
}

func devOf(st *unix.Statx_t) uint64 { return unix.Mkdev(st.Dev_major, st.Dev_minor) }

// identity returns attributes that are unique to a file, even if a later file reuses its
// inode number. Files on other devices inside the directory get other numbers.
func (t *tree) identity(st *unix.Statx_t) fs.StableAttr {
	dev := devOf(st) ^ t.dev
	gen := uint64(st.Btime.Sec)*1e9 + uint64(st.Btime.Nsec)
	return fs.StableAttr{
		Mode: uint32(st.Mode) & unix.S_IFMT,
		Ino:  st.Ino ^ dev<<32 ^ dev>>32,
		Gen:  max(gen, 1),
	}
}

func fillAttr(a *fuse.Attr, st *unix.Statx_t) {
	*a = fuse.Attr{
		Ino: st.Ino, Size: st.Size, Blocks: st.Blocks, Blksize: st.Blksize,
		Atime: uint64(st.Atime.Sec), Atimensec: st.Atime.Nsec,
		Mtime: uint64(st.Mtime.Sec), Mtimensec: st.Mtime.Nsec,
		Ctime: uint64(st.Ctime.Sec), Ctimensec: st.Ctime.Nsec,
		Mode: uint32(st.Mode), Nlink: st.Nlink,
		Owner: fuse.Owner{Uid: st.Uid, Gid: st.Gid},
		Rdev:  uint32(unix.Mkdev(st.Rdev_major, st.Rdev_minor)),
	}
}

// errno returns err as the guest's error number.
func errno(err error) syscall.Errno {
	var e syscall.Errno
	switch {
	case err == nil:
		return 0
	case errors.As(err, &e):
		return e
	}
	return syscall.EIO
}
