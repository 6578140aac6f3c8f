//go:build linux

package hostfs

import (
	"sync/atomic"

	lru "github.com/hashicorp/golang-lru/v2"
	"golang.org/x/sys/unix"
)

// A directory keeps the descriptor with which it was first reached, so that it stays the
// directory that it was when the host renames or replaces it, and so that what is in it can be
// reached however long its path is. Only the last used directories keep theirs, because a home
// has more of them than a process may have open. The others are reached from their parent by
// name again; if another file is there now, the guest gets ESTALE, with which its kernel looks
// the whole path up again.

const (
	// leastFolders and mostFolders limit how many directories keep a descriptor. Between them,
	// it is folderShare of the descriptors that the process may open.
	leastFolders = 16
	mostFolders  = 8 << 10
	folderShare  = 8
	// maxDepth bounds the search for the root from a directory that was moved.
	maxDepth = 64 << 10
)

// descriptor is an open file, opened with O_PATH, which several operations may use at once.
type descriptor struct {
	fd   int
	refs atomic.Int32 // operations that use it, and one for the cache; closed at 0
}

func newDescriptor(fd int) *descriptor {
	d := &descriptor{fd: fd}
	d.refs.Store(1)
	return d
}

// acquire reports whether d is still open. If so, the caller must release it.
func (d *descriptor) acquire() bool {
	for {
		n := d.refs.Load()
		if n == 0 {
			return false
		}
		if d.refs.CompareAndSwap(n, n+1) {
			return true
		}
	}
}

func (d *descriptor) release() {
	if d.refs.Add(-1) == 0 {
		_ = unix.Close(d.fd)
	}
}

// folders are the descriptors of the directories that were used last.
type folders struct {
	cache *lru.Cache[*node, *descriptor]
}

func newFolders() (*folders, error) {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return nil, err
	}
	size := min(max(limit.Cur/folderShare, leastFolders), mostFolders)
	cache, err := lru.NewWithEvict(int(size), func(_ *node, d *descriptor) { d.release() })
	return &folders{cache}, err
}

// get returns the descriptor of n, acquired, or nil.
func (f *folders) get(n *node) *descriptor {
	if d, ok := f.cache.Get(n); ok && d.acquire() {
		return d
	}
	return nil
}

// put keeps d for n and acquires it for the caller.
func (f *folders) put(n *node, d *descriptor) *descriptor {
	d.refs.Add(1)
	if old, found, _ := f.cache.PeekOrAdd(n, d); found && old.acquire() {
		d.release()
		d.release()
		return old
	}
	return d
}

func (f *folders) forget(n *node) { f.cache.Remove(n) }

func (f *folders) close() { f.cache.Purge() }

// OnForget closes the descriptor of a directory that the guest has forgotten.
func (n *node) OnForget() {
	n.tree.folders.forget(n)
	n.tree.locks.files.CompareAndDelete(n.StableAttr(), n)
}

// parent returns the directory in which the guest last saw n, and n's name there, or nil.
func (n *node) parent() (*node, string) {
	name, p := n.Parent()
	if p == nil {
		return nil, ""
	}
	return p.Operations().(*node), name
}

// by tells what a caller found a directory with.
type by bool

const (
	byName   by = true  // it may be looked up again
	byHandle by = false // it is the caller's own: its current directory, or one that it has open
)

// folder returns the descriptor of the directory n. The caller must release it.
//
// If the host has moved the directory, the first operation that uses a name in it gets ESTALE.
// A guest's program that came by path then finds what is at that path now. One that is in the
// directory tries again, and gets the directory that it is in.
func (n *node) folder(how by) (*descriptor, error) {
	if n.IsRoot() {
		if root := n.tree.root; root.acquire() {
			return root, nil
		}
		return nil, unix.EBADF
	}
	known := n.tree.folders.get(n)
	d, err := n.inPlace(known)
	if known == nil || err == nil {
		return d, err
	}
	if !n.moved.Swap(true) && how == byName {
		known.release()
		return nil, unix.ESTALE
	}
	if !n.tree.contains(known.fd) {
		known.release()
		return nil, unix.ESTALE
	}
	return known, nil
}

// inPlace returns the descriptor of the directory n if n is where the guest last saw it: known,
// or a new one if known is nil.
func (n *node) inPlace(known *descriptor) (*descriptor, error) {
	if known != nil {
		return known, n.inParent(n.checkAt)
	}
	d, err := n.openByName(unix.O_DIRECTORY)
	if err != nil {
		return nil, err
	}
	return n.tree.folders.put(n, d), nil
}

// openByName opens n with O_PATH where the guest last saw it. If another file is there, it returns
// ESTALE. The caller must release the descriptor.
func (n *node) openByName(flags uint64) (d *descriptor, err error) {
	err = n.inParent(func(dir int, name string) error {
		fd, err := beneath(dir, name, unix.O_PATH|flags)
		if err != nil {
			return asStale(err)
		}
		if err := n.checkAt(fd, ""); err != nil {
			_ = unix.Close(fd)
			return err
		}
		d = newDescriptor(fd)
		return nil
	})
	return d, err
}

// inParent calls op, which finds n or fails, with the directory in which the guest last saw n, and
// n's name there.
func (n *node) inParent(op func(dir int, name string) error) error {
	up, name := n.parent()
	if up == nil {
		return unix.ESTALE
	}
	parent, err := up.folder(byName)
	if err != nil {
		return err
	}
	defer parent.release()
	if err := op(parent.fd, name); err != nil {
		return err
	}
	n.moved.Store(false)
	return nil
}

// checkAt returns ESTALE unless n is name in a directory, or the open file itself if name is empty.
func (n *node) checkAt(dir int, name string) error {
	st, err := stat(dir, name)
	if err == nil && n.tree.identity(st) != n.StableAttr() {
		err = unix.ESTALE
	}
	return asStale(err)
}

// asStale returns ESTALE for an error that says that a file is no longer where the guest saw it.
func asStale(err error) error {
	switch err {
	case unix.ENOENT, unix.ENOTDIR, unix.ELOOP:
		return unix.ESTALE
	}
	return err
}

// contains reports whether a directory is inside the shared one.
func (t *tree) contains(dir int) bool {
	root, err := stat(t.root.fd, "")
	if err != nil {
		return false
	}
	at := -1
	defer func() { _ = closeFD(at) }()
	for range maxDepth {
		st, err := stat(dir, "")
		if err != nil {
			return false
		}
		if st.Ino == root.Ino && devOf(st) == devOf(root) {
			return true
		}
		up, err := unix.Openat(dir, "..", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		if err != nil {
			return false
		}
		_ = closeFD(at)
		at, dir = up, up
	}
	return false
}
