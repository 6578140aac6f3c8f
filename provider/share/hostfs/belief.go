//go:build linux

package hostfs

import (
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

// What a guest's kernel believes about a file, and for how long, decides what a program reads
// there after an edit on the host. As with NFS, an open by name gets the file as it is at that
// moment (close-to-open consistency): the kernel asks for the name again, and the server refuses
// to open a file whose size is not the one that it has told. The kernel cuts what it reads at the
// size that it knows, even if the content is new.

// glance is how long a guest may believe that a name is the regular file that it has just looked
// up: until the same program has opened or removed it. Linux rounds it up to a tick of its clock,
// of 1 to 10 ms. An open does not rely on it.
const glance = time.Millisecond

// entryTimeout is how long a guest may believe that a name that it has looked up, or read in a
// directory, is the file of this type. A link is never believed, because the server learns of no
// open that follows it.
func entryTimeout(mode uint32, listed bool) time.Duration {
	switch {
	case mode == unix.S_IFDIR, mode == unix.S_IFREG && listed:
		return Timeout
	case mode == unix.S_IFREG:
		return glance
	}
	return 0
}

// briefly is how long a guest may believe the attributes of a regular file. For so long, a program
// that has it open may miss a change by the host.
const briefly = 100 * time.Millisecond

// attrTimeout is how long a guest may believe the attributes of n. With those that are no longer
// believed, its kernel asks before it reads from its cache. If programs of the guest lock parts of
// the file, it must always ask: who has the lock must read what the last one has written.
func (n *node) attrTimeout(mode uint32, listed bool) time.Duration {
	if mode != unix.S_IFREG {
		return Timeout
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.locked {
		return 0
	}
	validity := briefly
	if listed {
		validity = Timeout
	}
	if now := time.Now(); now.Add(validity).After(n.until) {
		n.until, n.validity = now.Add(validity), validity
	}
	return validity
}

// delivery is how long an answer may take to the guest's kernel, which counts the time from then.
const delivery = time.Second

// distrust records that a program of the guest locks parts of the file, and returns when the guest
// no longer believes the attributes that it has. Until then, no lock is granted.
func (n *node) distrust() time.Time {
	n.mu.Lock()
	defer n.mu.Unlock()
	if now := time.Now(); !n.locked {
		n.locked = true
		n.tree.locks.files.Store(n.StableAttr(), n)
		n.settled = now.Add(briefly) // the guest may just have looked it up by another name
		if now.Before(n.until.Add(delivery)) {
			n.settled = now.Add(n.validity)
		}
	}
	return n.settled
}

// tick is longer than a tick of the clock with which the host's kernel marks changes. Within one,
// two changes look the same.
const tick = 20 * time.Millisecond

// stir alters the nanoseconds of a locked file's modification time, as the guest is told it, if the
// file was modified so recently that the next change could have the same time. The guest then reads
// the file again.
func (n *node) stir(a *fuse.Attr) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.locked && time.Since(time.Unix(int64(a.Mtime), int64(a.Mtimensec))) < tick {
		n.stirred++
		a.Mtimensec ^= n.stirred & 0xff
	}
}

// belief is what the guest was last told about a regular file.
type belief struct {
	known bool // false: the guest asks before it reads
	size  uint64
	mtime unix.StatxTimestamp
}

// tell records the attributes that an answer to the guest has.
func (n *node) tell(st *unix.Statx_t) {
	if st.Mode&unix.S_IFMT != unix.S_IFREG {
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.told = belief{known: true, size: st.Size, mtime: st.Mtime}
}

// untell records that the guest changes the file: its kernel then knows the size itself, and asks
// for the rest.
func (n *node) untell() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.told = belief{}
}

// agree prepares an open of a file with the attributes st. If the guest knows others, the result
// is ESTALE, with which its kernel looks the name up again. If the file changes faster than that,
// the result is a flag with which the guest does without its cache, and so without the size.
func (n *node) agree(st *unix.Statx_t) (flags uint32, err error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	same := !n.told.known || n.told == belief{known: true, size: st.Size, mtime: st.Mtime}
	again := n.disagreed
	n.disagreed = !same && !again
	switch {
	case same:
		return 0, nil
	case again:
		return fuse.FOPEN_DIRECT_IO, nil
	}
	return 0, unix.ESTALE
}

// stamp identifies a state of a file's content.
type stamp struct {
	mtime, ctime unix.StatxTimestamp
	ino, size    uint64
}

// opened records that f is open, and reports whether the guest's cache of the file is still
// valid: the file did not change since it was last opened. Two changes within a tick of the
// host's clock look the same, so a state counts only if it was old when it was recorded.
func (n *node) opened(f *file, st *unix.Statx_t) bool {
	now := stamp{mtime: st.Mtime, ctime: st.Ctime, ino: st.Ino, size: st.Size}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.files = append(n.files, f)
	same := n.seen == now
	n.seen = stamp{}
	if time.Since(time.Unix(st.Ctime.Sec, int64(st.Ctime.Nsec))) > Timeout {
		n.seen = now
	}
	return same
}
