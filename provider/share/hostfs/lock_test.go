//go:build linux

package hostfs

import (
	"math"
	"os"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"

	"github.com/stead-vm/stead/provider/guest/lockwait"
)

// locker requests locks on one open file.
type locker struct {
	t    *testing.T
	fs   *FS
	node uint64
	fh   uint64
}

func (l locker) in(owner uint64, typ uint32, flags uint32, start, end uint64) *fuse.LkIn {
	return &fuse.LkIn{
		InHeader: header(l.node), Fh: l.fh, Owner: owner, LkFlags: flags,
		Lk: fuse.FileLock{Start: start, End: end, Typ: typ},
	}
}

func (l locker) flock(typ uint32) fuse.Status {
	return l.fs.SetLk(nil, l.in(0, typ, fuse.LK_FLOCK, 0, math.MaxInt64))
}

func (l locker) posix(owner uint64, typ uint32, start, end uint64) fuse.Status {
	return l.fs.SetLk(nil, l.in(owner, typ, 0, start, end))
}

func (l locker) want(what string, got, want fuse.Status) {
	l.t.Helper()
	if got != want {
		l.t.Errorf("%s: %v, want %v", what, got, want)
	}
}

func twoOpen(t *testing.T) (a, b locker, dir string) {
	t.Helper()
	fs, dir := mount(t, false)
	write(t, dir+"/file", "0123456789")
	node := lookup(t, fs, root, "file")
	a = locker{t, fs, node, open(t, fs, node, unix.O_RDWR).Fh}
	b = locker{t, fs, node, open(t, fs, node, unix.O_RDWR).Fh}
	return a, b, dir
}

func TestFlockBelongsToTheOpenFile(t *testing.T) {
	a, b, dir := twoOpen(t)
	a.want("first", a.flock(unix.F_WRLCK), fuse.OK)
	b.want("second", b.flock(unix.F_WRLCK), fuse.EAGAIN)
	host, err := os.Open(dir + "/file")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = host.Close() }()
	if err := unix.Flock(int(host.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != unix.EWOULDBLOCK {
		t.Errorf("a program on the host: %v, want EWOULDBLOCK", err)
	}
	a.want("unlock", a.flock(unix.F_UNLCK), fuse.OK)
	b.want("when free", b.flock(unix.F_RDLCK), fuse.OK)
	a.want("shared", a.flock(unix.F_RDLCK), fuse.OK)
	a.fs.Release(nil, &fuse.ReleaseIn{InHeader: header(a.node), Fh: a.fh})
	b.want("after the other closed", b.flock(unix.F_WRLCK), fuse.OK)
}

func TestPosixLockBelongsToItsOwner(t *testing.T) {
	a, b, _ := twoOpen(t)
	const parent, child = 1, 2
	a.want("the parent's", a.posix(parent, unix.F_WRLCK, 0, 4), fuse.OK)
	a.want("the child's, through the same file", a.posix(child, unix.F_WRLCK, 2, 2), fuse.EAGAIN)
	b.want("the parent's own, through another", b.posix(parent, unix.F_WRLCK, 0, 9), fuse.OK)
	b.want("unlocking a part", b.posix(parent, unix.F_UNLCK, 0, 1), fuse.OK)
	a.want("the free part", a.posix(child, unix.F_RDLCK, 0, 1), fuse.OK)
	var found fuse.LkOut
	a.want("GETLK", a.fs.GetLk(nil, a.in(child, unix.F_WRLCK, 0, 5, 5), &found), fuse.OK)
	if found.Lk.Typ != unix.F_WRLCK || found.Lk.Start != 2 || found.Lk.End != 9 {
		t.Errorf("GETLK found %+v, want a write lock on 2 to 9", found.Lk)
	}
	flush := fuse.FlushIn{InHeader: header(b.node), Fh: b.fh, LockOwner: parent}
	b.want("FLUSH", b.fs.Flush(nil, &flush), fuse.OK)
	a.want("after any close of the owner", a.posix(child, unix.F_WRLCK, 0, 9), fuse.OK)
}

// waiting reports whether a goroutine waits in Setlkw. Its stack is the only difference
// between a request that waits and one that has not begun.
func waiting() bool {
	stacks := make([]byte, 1<<20)
	for stack := range strings.SplitSeq(string(stacks[:runtime.Stack(stacks, true)]), "\n\n") {
		if state, _, _ := strings.Cut(stack, "\n"); strings.Contains(state, "[select") && strings.Contains(stack, "(*node).Setlkw(") {
			return true
		}
	}
	return false
}

func TestWaitingForALock(t *testing.T) {
	wait := func(l locker) <-chan fuse.Status {
		got := make(chan fuse.Status, 1)
		go func() { got <- l.fs.SetLkw(nil, l.in(0, unix.F_WRLCK, fuse.LK_FLOCK, 0, math.MaxInt64)) }()
		for !waiting() {
			select {
			case s := <-got:
				l.t.Fatalf("did not wait: %v", s)
			case <-time.After(time.Millisecond):
			}
		}
		return got
	}
	t.Run("ends with the lock", func(t *testing.T) {
		a, b, _ := twoOpen(t)
		a.flock(unix.F_WRLCK)
		got := wait(b)
		a.flock(unix.F_UNLCK)
		b.want("waiting", <-got, fuse.OK)
	})
	t.Run("ends with EINTR when the guest is reset", func(t *testing.T) {
		a, b, _ := twoOpen(t)
		a.flock(unix.F_WRLCK)
		got := wait(b)
		b.fs.Interrupt()
		b.want("waiting", <-got, fuse.EINTR)
	})
	t.Run("ends when the file is closed", func(t *testing.T) {
		a, b, _ := twoOpen(t)
		a.flock(unix.F_WRLCK)
		got := wait(b)
		b.fs.Release(nil, &fuse.ReleaseIn{InHeader: header(b.node), Fh: b.fh})
		b.want("waiting", <-got, fuse.EBADF)
	})
}

func TestCloseReleasesWhatTheGuestHeld(t *testing.T) {
	a, _, dir := twoOpen(t)
	a.flock(unix.F_WRLCK)
	a.posix(7, unix.F_WRLCK, 0, 4)
	if err := a.fs.Close(); err != nil {
		t.Fatal(err)
	}
	host, err := os.OpenFile(dir+"/file", os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = host.Close() }()
	if err := unix.Flock(int(host.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		t.Errorf("flock: %v", err)
	}
	lk := syscall.Flock_t{Type: unix.F_WRLCK}
	if err := syscall.FcntlFlock(host.Fd(), unix.F_OFD_SETLK, &lk); err != nil {
		t.Errorf("POSIX lock: %v", err)
	}
	a.want("using the closed file", a.flock(unix.F_WRLCK), fuse.EBADF)
}

// agentReads reads an attribute of the root as the guest's agent does.
func agentReads(t *testing.T, fs *FS, attribute string) []byte {
	t.Helper()
	h := header(root)
	value := make([]byte, lockwait.MaxSize)
	n, s := fs.GetXAttr(nil, &h, attribute, value)
	ok(t, "GETXATTR "+attribute, s)
	return value[:n]
}

func waitsOf(t *testing.T, fs *FS) []lockwait.Wait {
	t.Helper()
	waits, err := lockwait.Decode(agentReads(t, fs, lockwait.Attribute))
	if err != nil {
		t.Fatal(err)
	}
	return waits
}

// awaitWaits waits until n requests wait for locks.
func awaitWaits(t *testing.T, fs *FS, n int) []lockwait.Wait {
	t.Helper()
	for range 10_000 {
		if waits := waitsOf(t, fs); len(waits) == n {
			return waits
		}
		time.Sleep(time.Millisecond)
	}
	t.Fatalf("no %d requests wait for locks, but %v", n, waitsOf(t, fs))
	return nil
}

// setlkw waits for a POSIX lock of one byte.
func (l locker) setlkw(owner uint64, thread uint32, at uint64) <-chan fuse.Status {
	got := make(chan fuse.Status, 1)
	in := l.in(owner, unix.F_WRLCK, 0, at, at)
	in.Pid = thread
	go func() { got <- l.fs.SetLkw(nil, in) }()
	return got
}

func TestAgentEndsAWait(t *testing.T) {
	a, b, _ := twoOpen(t)
	a.want("the first lock", a.posix(1, unix.F_WRLCK, 0, 9), fuse.OK)
	one, two := b.setlkw(2, 222, 1), b.setlkw(3, 333, 2)
	for _, w := range awaitWaits(t, a.fs, 2) {
		if w.Thread == 333 {
			agentReads(t, a.fs, lockwait.Interrupt(w.ID))
		}
	}
	b.want("the wait of the thread with a signal", <-two, fuse.EINTR)
	if waits := awaitWaits(t, a.fs, 1); waits[0].Thread != 222 {
		t.Errorf("the waits are %v, want the one of thread 222", waits)
	}
	agentReads(t, a.fs, lockwait.Interrupt(1<<40)) // one that has just ended
	a.want("unlock", a.posix(1, unix.F_UNLCK, 0, 9), fuse.OK)
	b.want("the other wait", <-one, fuse.OK)
}

func TestWaitWithoutAnAgentFails(t *testing.T) {
	a, b, _ := twoOpen(t)
	a.want("the first lock", a.posix(1, unix.F_WRLCK, 0, 9), fuse.OK)
	l := a.fs.tree.locks
	l.mu.Lock()
	l.asked = time.Now().Add(-2 * attention)
	l.mu.Unlock()
	b.want("a wait that nobody could end", <-b.setlkw(2, 222, 1), fuse.Status(syscall.ENOLCK))
}

// Each of three processes waits for the next one's lock.
func TestDeadlockIsFound(t *testing.T) {
	a, b, _ := twoOpen(t)
	for owner := range uint64(3) {
		a.want("a free lock", a.posix(owner+1, unix.F_WRLCK, owner, owner), fuse.OK)
	}
	one, two := a.setlkw(1, 1, 1), b.setlkw(2, 2, 2)
	awaitWaits(t, a.fs, 2)
	a.want("the wait that closes the circle", <-a.setlkw(3, 3, 0), fuse.Status(syscall.EDEADLK))
	awaitWaits(t, a.fs, 2)
	a.want("unlock", a.posix(3, unix.F_UNLCK, 2, 2), fuse.OK)
	b.want("the second wait", <-two, fuse.OK)
	// A part of what it has locked is enough.
	a.want("unlock", a.posix(2, unix.F_UNLCK, 1, 1), fuse.OK)
	a.want("the first wait", <-one, fuse.OK)
}

func TestHolderOfALockIsNamed(t *testing.T) {
	a, b, _ := twoOpen(t)
	in := a.in(1, unix.F_WRLCK, 0, 10, 19)
	in.Lk.Pid = 4711
	a.want("lock", a.fs.SetLk(nil, in), fuse.OK)
	a.want("unlock the middle", a.posix(1, unix.F_UNLCK, 13, 15), fuse.OK)
	for at, held := range map[uint64]bool{9: false, 10: true, 12: true, 13: false, 15: false, 16: true, 19: true, 20: false} {
		var out fuse.LkOut
		b.want("GETLK", b.fs.GetLk(nil, b.in(2, unix.F_RDLCK, 0, at, at), &out), fuse.OK)
		if got := out.Lk.Typ != unix.F_UNLCK; got != held {
			t.Errorf("byte %d is locked: %v, want %v", at, got, held)
		}
		if held && out.Lk.Pid != 4711 {
			t.Errorf("byte %d is locked by process %d, want 4711", at, out.Lk.Pid)
		}
	}
	a.fs.Flush(nil, &fuse.FlushIn{InHeader: header(a.node), Fh: a.fh, LockOwner: 1})
	if l := a.fs.tree.locks; l.holds != 0 {
		t.Errorf("after the file was closed, %d ranges are locked", l.holds)
	}
}
