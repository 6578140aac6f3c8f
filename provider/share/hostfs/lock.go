//go:build linux

package hostfs

import (
	"context"
	"math"
	"syscall"
	"time"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

// Locks are taken on the host, so that they also work between the host's programs and all
// machines that share the directory.
//
// A flock belongs to an open file, in the guest as on the host. A POSIX lock belongs to a
// process, but for the host all processes of the guest are this one process. So each owner
// gets an open file of its own, and its locks are open file description locks
// (F_OFD_SETLK) on that file. The host's kernel does not find deadlocks between such locks, so
// that the server does.
//
// A waiting request polls: a thread that blocks in the host's kernel could not be interrupted.
// The guest's agent says which of the guest's waits must end; see package lockwait.

var (
	_ fs.NodeGetlker  = (*node)(nil)
	_ fs.NodeSetlker  = (*node)(nil)
	_ fs.NodeSetlkwer = (*node)(nil)
)

const (
	lockFirstPause   = time.Millisecond
	lockLongestPause = 25 * time.Millisecond
)

// Getlk returns the lock that conflicts with lk.
func (n *node) Getlk(_ context.Context, fh fs.FileHandle, owner uint64, lk *fuse.FileLock, _ uint32, out *fuse.FileLock) syscall.Errno {
	f, ok := fh.(*file)
	if !ok {
		return syscall.EBADF
	}
	if h, held := n.tree.locks.holder(n, owner, lk); held {
		*out = fuse.FileLock{Start: h.start, End: h.end, Typ: h.typ, Pid: h.pid}
		return 0
	}
	n.mu.Lock()
	if own := n.locks[owner]; own != nil {
		f = own
	}
	n.mu.Unlock()
	var flk syscall.Flock_t
	lk.ToFlockT(&flk)
	e := f.with(func(fd int) error { return syscall.FcntlFlock(uintptr(fd), unix.F_OFD_GETLK, &flk) })
	out.FromFlockT(&flk)
	out.Pid = 0 // the kernel reports -1 for a lock of an open file
	return e
}

// Setlk takes or releases a lock, or fails with EAGAIN.
func (n *node) Setlk(_ context.Context, fh fs.FileHandle, owner uint64, lk *fuse.FileLock, flags uint32) syscall.Errno {
	f, ok := fh.(*file)
	if !ok {
		return syscall.EBADF
	}
	if lk.Typ == unix.F_UNLCK {
		return n.setlk(f, owner, lk, flags)
	}
	settled := n.distrust()
	e := n.setlk(f, owner, lk, flags)
	if e == 0 {
		time.Sleep(time.Until(settled))
	}
	return e
}

func (n *node) setlk(f *file, owner uint64, lk *fuse.FileLock, flags uint32) syscall.Errno {
	if flags&fuse.LK_FLOCK != 0 {
		return f.flock(lk.Typ)
	}
	if lk.Typ == unix.F_UNLCK && lk.Start == 0 && lk.End >= math.MaxInt64 {
		n.forgetOwner(owner)
		return 0
	}
	f.locking(owner)
	own, err := n.lockFile(f, owner)
	if err != nil {
		return errno(err)
	}
	if lk.Typ != unix.F_UNLCK && !n.tree.locks.room() {
		return syscall.ENOLCK
	}
	var flk syscall.Flock_t
	lk.ToFlockT(&flk)
	e := own.with(func(fd int) error { return syscall.FcntlFlock(uintptr(fd), unix.F_OFD_SETLK, &flk) })
	if e == 0 {
		n.tree.locks.record(n, owner, lk)
	}
	return e
}

// Setlkw waits for a lock until the agent or [FS.Interrupt] ends the wait.
func (n *node) Setlkw(ctx context.Context, fh fs.FileHandle, owner uint64, lk *fuse.FileLock, flags uint32) syscall.Errno {
	w := &wait{node: n, owner: owner, lock: *lk, flock: flags&fuse.LK_FLOCK != 0}
	if caller, ok := fuse.FromContext(ctx); ok {
		w.Thread = int(caller.Pid)
	}
	n.tree.locks.begin(w)
	defer n.tree.locks.remove(w)
	for pause := lockFirstPause; ; pause = min(2*pause, lockLongestPause) {
		if e := n.Setlk(ctx, fh, owner, lk, flags); e != syscall.EAGAIN {
			return e
		}
		if err := n.tree.locks.check(w); err != nil {
			return errno(err)
		}
		select {
		case <-time.After(pause):
		case <-w.end:
			return syscall.EINTR
		case <-ctx.Done():
			return syscall.EINTR
		}
	}
}

func (f *file) flock(typ uint32) syscall.Errno {
	how := map[uint32]int{unix.F_RDLCK: unix.LOCK_SH, unix.F_WRLCK: unix.LOCK_EX, unix.F_UNLCK: unix.LOCK_UN}
	op, ok := how[typ]
	if !ok {
		return syscall.EINVAL
	}
	return f.with(func(fd int) error { return unix.Flock(fd, op|unix.LOCK_NB) })
}

// lockFile returns the open file that holds owner's locks.
func (n *node) lockFile(f *file, owner uint64) (*file, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if own := n.locks[owner]; own != nil {
		return own, nil
	}
	var own *file
	e := f.with(func(fd int) error {
		opened, err := unix.Open(procPath(fd), unix.O_RDWR|unix.O_CLOEXEC, 0)
		if err != nil {
			// A reader may take shared locks only, for which this is enough.
			opened, err = unix.Open(procPath(fd), unix.O_RDONLY|unix.O_CLOEXEC, 0)
		}
		if err != nil {
			return err
		}
		own, err = n.hold(opened)
		return err
	})
	if e != 0 {
		return nil, e
	}
	if n.locks == nil {
		n.locks = map[uint64]*file{}
	}
	n.locks[owner] = own
	return own, nil
}

// forgetOwner releases all locks of owner on the inode.
func (n *node) forgetOwner(owner uint64) {
	n.mu.Lock()
	own := n.locks[owner]
	delete(n.locks, owner)
	n.mu.Unlock()
	n.tree.locks.drop(n, owner)
	if own != nil {
		own.close()
	}
}
