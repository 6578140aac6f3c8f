//go:build linux

package sshd

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// answerTime bounds how long a file system may take to describe a file: a share's file server
	// that is busy answers within it.
	answerTime = 5 * time.Second
	// maxLooks is how many looks at files may be under way. Each takes a thread, and one at a file
	// system that hangs keeps it until the file system answers or the machine ends.
	maxLooks = 16
)

var (
	errHangs    = errors.New("does not answer: its file system hangs")
	errAllHang  = fmt.Errorf("was not looked at: %d looks at other files do not end, as their file system hangs", maxLooks)
	errHangedUp = errors.New("the client has closed the session")
)

// looks looks at files that a file system which hangs may have.
type looks struct {
	limit time.Duration
	slots chan struct{} // one for each look under way
	late  atomic.Int32  // looks under way that have taken longer than the limit
}

func newLooks() *looks {
	return &looks{limit: answerTime, slots: make(chan struct{}, maxLooks)}
}

// look reports whether path is a directory. It returns errHangs or errAllHang if its file system does
// not say so in time, errHangedUp at the end of ctx.
func (l *looks) look(ctx context.Context, path string) (dir bool, err error) {
	if dir, ok := lookAtRoot(path); ok {
		return dir, nil
	}
	if int(l.late.Load()) == cap(l.slots) {
		return false, errAllHang
	}
	timer := time.NewTimer(l.limit)
	defer timer.Stop()
	select {
	case l.slots <- struct{}{}:
	case <-timer.C:
		return false, errAllHang
	case <-ctx.Done():
		return false, errHangedUp
	}
	done := make(chan struct{})
	var found bool
	var failure error
	go func() {
		defer close(done)
		found, failure = stat(path)
	}()
	select {
	case <-done:
		<-l.slots
		return found, failure
	case <-timer.C:
		err = errHangs
	case <-ctx.Done():
		err = errHangedUp
	}
	l.late.Add(1)
	go func() {
		<-done
		l.late.Add(-1)
		<-l.slots
	}()
	return false, err
}

// lookAtRoot looks at a path that is on the root file system with all of its parents. That one is a
// disk and cannot hang alone, so that there always is a directory in which sessions start.
func lookAtRoot(path string) (dir, ok bool) {
	// RESOLVE_NO_XDEV ends a look-up before it asks the file system of another mount.
	fd, err := unix.Openat2(unix.AT_FDCWD, path, &unix.OpenHow{Flags: unix.O_PATH | unix.O_CLOEXEC, Resolve: unix.RESOLVE_NO_XDEV})
	if err != nil {
		return false, false
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if unix.Fstat(fd, &st) != nil {
		return false, false
	}
	return st.Mode&unix.S_IFMT == unix.S_IFDIR, true
}

// stat asks the file system itself: what the kernel knows of a share is up to a second old.
func stat(path string) (dir bool, err error) {
	var st unix.Statx_t
	if err := unix.Statx(unix.AT_FDCWD, path, unix.AT_STATX_FORCE_SYNC, unix.STATX_TYPE, &st); err != nil {
		return false, &fs.PathError{Op: "stat", Path: path, Err: err}
	}
	return st.Mode&unix.S_IFMT == unix.S_IFDIR, nil
}

// hangs reports whether a look ended without an answer of the file system.
func hangs(err error) bool {
	return errors.Is(err, errHangs) || errors.Is(err, errAllHang) || errors.Is(err, errHangedUp)
}

// answer returns an error if the fork for a program must not touch its directory or file.
//
// Go's fork stops a thread of the agent until the child has changed its directory and executed the
// program (CLONE_VFORK). If either hangs, so does the agent: at once for other forks, and as a whole
// at the next garbage collection. This check leaves two gaps. The file system may begin to hang
// between the check and the fork; mostly the kernel still knows what the fork needs then, for the
// second that the answer is good for. And a FUSE mount of the user may be closed to root.
func (l *looks) answer(ctx context.Context, dir, program string) error {
	if _, err := l.look(ctx, dir); hangs(err) {
		return fmt.Errorf(`working directory %s %w; use another one, as in "stead run -w / CMD"`, dir, err)
	}
	if _, err := l.look(ctx, program); hangs(err) {
		return fmt.Errorf(`program %s %w; use another shell, as in "stead run --root -w / CMD"`, program, err)
	}
	return nil
}
