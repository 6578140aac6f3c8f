//go:build linux

package hostfs

import (
	"cmp"
	"log/slog"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"

	"github.com/stead-vm/stead/provider/guest/lockwait"
)

const (
	// attention is how long the guest's agent may be silent before waits for locks fail: without
	// it, programs that wait could not be killed. The agent asks once per second, but a busy guest
	// may let it wait.
	attention = 30 * time.Second
	// maxHolds is how many ranges the guest's processes may have locked.
	maxHolds = 64 << 10
)

// locks is what the guest's processes have locked, and what they wait for.
type locks struct {
	log   *slog.Logger
	files sync.Map // identity to node, of the files of which parts were locked

	mu    sync.Mutex // guards what follows, and each node's holds
	holds int
	waits map[uint64]*wait
	last  uint64    // number of the last wait
	asked time.Time // when the agent last asked for the waits
}

// hold is a range of a file that a process of the guest has locked with fcntl(2), from start to
// end, both included.
type hold struct {
	owner      uint64
	pid        uint32
	typ        uint32
	start, end uint64
}

// wait is a request that waits for a lock.
type wait struct {
	lockwait.Wait
	node  *node
	owner uint64
	lock  fuse.FileLock
	flock bool
	end   chan struct{} // closed when the wait is to end
}

func newLocks(log *slog.Logger) *locks {
	return &locks{log: log, waits: map[uint64]*wait{}, asked: time.Now()}
}

// conflicts reports whether the lock of another owner keeps owner from taking lk.
func (h hold) conflicts(owner uint64, lk *fuse.FileLock) bool {
	return h.owner != owner && h.start <= lk.End && lk.Start <= h.end && (h.typ == unix.F_WRLCK || lk.Typ == unix.F_WRLCK)
}

// room reports whether owners may lock further ranges.
func (l *locks) room() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.holds < maxHolds
}

// record replaces what owner holds in a range of n.
func (l *locks) record(n *node, owner uint64, lk *fuse.FileLock) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.holds -= len(n.holds)
	var left []hold
	for _, h := range n.holds {
		if h.owner != owner || h.end < lk.Start || lk.End < h.start {
			left = append(left, h)
			continue
		}
		if before := h; h.start < lk.Start {
			before.end = lk.Start - 1
			left = append(left, before)
		}
		if after := h; h.end > lk.End {
			after.start = lk.End + 1
			left = append(left, after)
		}
	}
	if lk.Typ != unix.F_UNLCK {
		left = append(left, hold{owner: owner, pid: lk.Pid, typ: lk.Typ, start: lk.Start, end: lk.End})
	}
	n.holds = left
	l.holds += len(n.holds)
}

// drop forgets what the owners hold of n; all owners, if there are none given.
func (l *locks) drop(n *node, owners ...uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.holds -= len(n.holds)
	n.holds = slices.DeleteFunc(n.holds, func(h hold) bool { return len(owners) == 0 || slices.Contains(owners, h.owner) })
	l.holds += len(n.holds)
}

// holder returns the lock of another process of the guest that keeps owner from taking lk.
func (l *locks) holder(n *node, owner uint64, lk *fuse.FileLock) (hold, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	i := slices.IndexFunc(n.holds, func(h hold) bool { return h.conflicts(owner, lk) })
	if i < 0 {
		return hold{}, false
	}
	return n.holds[i], true
}

// begin registers a wait. The caller must end it.
func (l *locks) begin(w *wait) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.last++
	w.ID, w.end = l.last, make(chan struct{})
	l.waits[w.ID] = w
}

func (l *locks) remove(w *wait) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.waits, w.ID)
}

// check returns why w must not go on: EDEADLK if it waits, in the end, for its own owner, or
// ENOLCK if no agent could end it. EDEADLK also removes the wait, so that the others in the
// circle go on.
func (l *locks) check(w *wait) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !w.flock && l.reaches(w.owner, w, map[uint64]bool{}) {
		delete(l.waits, w.ID)
		return syscall.EDEADLK
	}
	if time.Since(l.asked) > attention {
		l.log.Warn("a program's wait for a file lock ends with an error: the agent in the machine does not ask for waits", "duration", attention)
		return syscall.ENOLCK
	}
	return nil
}

// reaches reports whether a holder of what w waits for is owner, or waits for owner. seen are the
// holders that were tried.
func (l *locks) reaches(owner uint64, w *wait, seen map[uint64]bool) bool {
	for _, h := range w.node.holds {
		if !h.conflicts(w.owner, &w.lock) {
			continue
		}
		if h.owner == owner {
			return true
		}
		if seen[h.owner] {
			continue
		}
		seen[h.owner] = true
		for _, next := range l.waits {
			if next.owner == h.owner && !next.flock && l.reaches(owner, next, seen) {
				return true
			}
		}
	}
	return false
}

// list returns the waits for the agent.
func (l *locks) list() (waits []lockwait.Wait) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.asked = time.Now()
	for _, w := range l.waits {
		waits = append(waits, w.Wait)
	}
	slices.SortFunc(waits, func(a, b lockwait.Wait) int { return cmp.Compare(a.ID, b.ID) })
	return waits
}

// interrupt ends one wait. It reports whether there is such a wait.
func (l *locks) interrupt(id uint64) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	w := l.waits[id]
	if w == nil {
		return false
	}
	delete(l.waits, id)
	close(w.end)
	return true
}

// interruptAll ends all waits.
func (l *locks) interruptAll() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, w := range l.waits {
		close(w.end)
	}
	clear(l.waits)
}

// attribute answers the agent, which reads an attribute of the root. handled is false for every
// other attribute.
func (l *locks) attribute(name string, dest []byte) (size uint32, status fuse.Status, handled bool) {
	if id, ok := lockwait.ParseInterrupt(name); ok {
		l.interrupt(id) // it may just have ended
		return 0, fuse.OK, true
	}
	if name != lockwait.Attribute {
		return 0, fuse.OK, false
	}
	value := lockwait.Encode(l.list())
	if len(dest) > 0 && copy(dest, value) < len(value) {
		return uint32(len(value)), fuse.ERANGE, true
	}
	return uint32(len(value)), fuse.OK, true
}
